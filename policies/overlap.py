"""Somebody speaks while the agent is audible: is it meant for the agent? Pure functions of what was heard so far.

The agent has paused already, within a block of the onset. What remains is to go on from the same sample (a backchannel,
a cough) or to yield for good. A stop word never comes here: the reflex has cut by then.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from policies.backchannels import is_backchannel, spoken_backchannels
from policies.transcript import UserTurn
from streams.clock import MS

Verdict: TypeAlias = Literal["interruption", "backchannel", "noise", "undecided"]


TELLING = 3  # partial words, from which on they are more than a recogniser's flicker


class Overlap(Struct):
    """The agent (turn `agent`) has paused because the person speaks.

    short_ns: speech shorter than this that was not understood is no interruption
    words_ns: from when on several partial words decide;  latest_ns: when it is decided at the latest
    listener_ns: the same while what is heard is a backchannel;  next_ns: the next of the three
    """

    agent: int
    short_ns: int
    words_ns: int
    latest_ns: int
    listener_ns: int
    next_ns: int

    @classmethod
    def begin(cls, agent: int, now: int, *, decide_ms: int, max_ms: int, murmur_ms: int) -> "Overlap":
        """The agent pauses `now`. The bounds are those of `TurnConfig`."""
        words_ns, latest_ns = now + decide_ms * MS, now + max_ms * MS
        return cls(agent, murmur_ms * MS, words_ns, latest_ns, latest_ns + decide_ms * MS, words_ns)

    def classify(self, turn: UserTurn, now: int, *, language: str, asked: bool, last: bool) -> Verdict:
        """What the speech of `turn` over the agent is, as far as it is known at `now`.

        asked: the agent is asking something, so that a "yes" is an answer and no backchannel
        last: nothing more will be heard
        """
        heard = turn.transcript()
        listener = bool(heard.text) and not asked and _backchannel(heard.text, language, not turn.speaking)
        last = last or now >= (self.listener_ns if listener else self.latest_ns)
        if not turn.speaking and (turn.final or last):
            if heard.text:
                return "backchannel" if listener else "interruption"
            # Short and not understood: no wish for the floor. Whoever has one goes on speaking.
            return "noise" if not heard.guess or turn.spoken_ns < self.short_ns else "interruption"
        # Partial words come and go. The agent is silent already, so nothing is lost by hearing some more of them.
        if not listener and now >= self.words_ns and len(heard.words) >= TELLING:
            return "interruption"
        if last:  # somebody has spoken over the agent for longer than any backchannel takes
            return "interruption"
        self.next_ns = next((t for t in (self.words_ns, self.latest_ns) if t > now), self.listener_ns)
        return "undecided"


def _backchannel(text: str, language: str, whole: bool) -> bool:
    """Whether `text` is (or, while it is not `whole`, may become) a backchannel."""
    if is_backchannel(text, language):
        return True
    return not whole and any(phrase.startswith(text.lower()) for phrase in spoken_backchannels(language))

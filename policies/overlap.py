"""Somebody speaks while the agent is audible: is it meant for the agent? Pure functions of what was heard so far.

The agent has paused already, within a block of the onset. What remains is to go on from the same sample (a backchannel,
a cough, its own echo, a word to somebody else) or to yield for good. A stop word never comes here: the reflex has cut
by then.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from policies.backchannels import is_backchannel, spoken_backchannels
from policies.endpointing import EndpointingConfig
from policies.transcript import UserTurn
from streams.clock import MS
from streams.types import Probability

Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]

Verdict: TypeAlias = Literal["interruption", "backchannel", "noise", "echo", "aside", "undecided"]
Evidence: TypeAlias = dict[str, float | str]


LOOKS = 2  # of the canceller, before the agent's own voice is believed to be that
TELLING = 3  # partial words, from which on they are more than a recogniser's flicker


class OverlapConfig(EndpointingConfig, frozen=True, forbid_unknown_fields=True):
    """Bars and bounds of what is said over the agent, besides those of the wait. Milliseconds count from its pause.

    overlap_decide_ms: how long partial words are only listened to
    overlap_max_ms: how long it may take at all: whoever speaks longer over the agent interrupts it (one who says
        nothing but backchannels has another `overlap_decide_ms`)
    murmur_ms: speech shorter than this that was not understood was no wish for the floor
    echo_similarity: what is heard is the agent itself if no `Echo.similarity` in its beginning is below this
    aside_db: speech that was not understood and is this much softer than that of who talks with the agent is meant for
        somebody else, or comes from a television; 0 to take it for an interruption all the same
    """

    overlap_decide_ms: Milliseconds = 400
    overlap_max_ms: Milliseconds = 1000
    murmur_ms: Milliseconds = 800
    echo_similarity: Probability = 0.5
    aside_db: Annotated[float, Meta(ge=0, le=60)] = 9.0


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
    def begin(cls, agent: int, now: int, config: OverlapConfig) -> "Overlap":
        """The agent pauses `now`."""
        words_ns, latest_ns = now + config.overlap_decide_ms * MS, now + config.overlap_max_ms * MS
        listener_ns = latest_ns + config.overlap_decide_ms * MS
        return cls(agent, config.murmur_ms * MS, words_ns, latest_ns, listener_ns, words_ns)

    def classify(self, turn: UserTurn, now: int, *, hearing: "Hearing", last: bool) -> Verdict:
        """What the speech of `turn` over the agent is, as far as it is known at `now`.

        last: nothing more will be heard
        """
        heard = turn.transcript()
        if turn.is_echo(hearing.config.echo_similarity, looks=1 if last else LOOKS):
            return "echo"
        listener = bool(heard.text) and not hearing.asked and _backchannel(heard.text, hearing.language, turn.speaking)
        last = last or now >= (self.listener_ns if listener else self.latest_ns)
        aside = not heard.complete and hearing.is_aside(turn)
        if not turn.speaking and (turn.final or last):
            if heard.text:
                return "backchannel" if listener else "aside" if aside and not heard.complete else "interruption"
            # Short and not understood: no wish for the floor. Whoever has one goes on speaking.
            if not heard.guess or turn.spoken_ns < self.short_ns:
                return "noise"
            return "aside" if aside else "interruption"
        # Partial words come and go. The agent is silent already, so nothing is lost by hearing some more of them.
        if now >= self.words_ns and aside and (last or not heard.text):
            return "aside"
        if not listener and not aside and now >= self.words_ns and len(heard.words) >= TELLING:
            return "interruption"
        if last:  # somebody has spoken over the agent for longer than any backchannel takes
            return "interruption"
        self.next_ns = next((t for t in (self.words_ns, self.latest_ns) if t > now), self.listener_ns)
        return "undecided"


class Hearing(Struct, frozen=True):
    """What it takes to judge an overlap besides the overlap itself.

    config: bars;  language: of the words;  asked: the agent is asking something, so that a "yes" is an answer
    usual_db: how loud those who talk with the agent have been, None before anybody has
    """

    config: OverlapConfig
    language: str
    asked: bool
    usual_db: float | None

    def is_aside(self, turn: UserTurn) -> bool:
        """Whether `turn` is so much softer than what is said to the agent that it is meant for somebody else."""
        level = turn.level_db()
        bar = self.config.aside_db
        return bool(bar) and level is not None and self.usual_db is not None and level < self.usual_db - bar

    def evidence(self, turn: UserTurn, now: int) -> Evidence:
        """What a decision on `turn` rests on, by name."""
        heard, level = turn.transcript(), turn.level_db()
        end = now if turn.speaking else turn.end_ns
        found: Evidence = {"spoken_ms": (end - turn.start_ns) / MS}
        if heard.text or heard.guess:
            found["text"] = heard.text or heard.guess
        if heard.text:
            found["confidence"] = round(heard.confidence, 3)
        if level is not None:
            found["level_db"] = round(level, 1)
            if self.usual_db is not None:
                found["usual_db"] = round(self.usual_db, 1)
        echo = [each for stretch in turn.stretches for each in stretch.echo]
        if echo:
            found["echo"] = round(min(echo), 3)
        return found


def _backchannel(text: str, language: str, growing: bool) -> bool:
    """Whether `text` is (or, while it is `growing`, may become) a backchannel."""
    if is_backchannel(text, language):
        return True
    return growing and any(phrase.startswith(text.lower()) for phrase in spoken_backchannels(language))

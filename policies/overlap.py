"""Somebody speaks while the agent is audible: is it meant for the agent? Pure functions of what was heard so far.

The agent has paused already, within a block of the onset. What remains is to go on from the same sample (a backchannel,
a cough, its own echo, a word to somebody else) or to yield for good. A stop word never comes here: the reflex has cut
by then.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from policies.backchannels import is_backchannel, spoken_backchannels
from policies.endpointing import EndpointingConfig
from policies.transcript import Transcript, UserTurn
from streams.clock import MS
from streams.types import Probability

Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]

Verdict: TypeAlias = Literal["interruption", "backchannel", "noise", "echo", "aside", "undecided"]
Evidence: TypeAlias = dict[str, float | str]


LOOKS = 2  # of the canceller, before the agent's own voice is believed to be that
TELLING = 3  # partial words, from which on they are more than a recogniser's flicker
SURE_HOPS = 8  # voiced hops, after which it is known how loud somebody speaks
FEW_HOPS = 2  # the same, if there will not be more of them
CLEAR = 0.8  # confidence from which a short or soft sentence is believed


class OverlapConfig(EndpointingConfig, frozen=True, forbid_unknown_fields=True):
    """Bars and bounds of what is said over the agent, besides those of the wait. Milliseconds count from its pause.

    overlap_decide_ms: how long partial words are only listened to
    overlap_max_ms: how long it may take: whoever speaks longer over the agent interrupts it (one who says nothing but
        backchannels, or speaks with less than the usual voice, has twice `overlap_decide_ms` more)
    murmur_ms: who was voiced for so long wants the floor, understood or not;  raised_ms: the same for a raised voice;
        for a murmur it is `overlap_max_ms`
    raised_db: so much louder than usual is a raised voice;  murmur_db: so much softer is a murmur
    echo_similarity: what is heard is the agent itself if no `Echo.similarity` in its beginning is below this
    aside_db: speech that is this much softer than that of who talks with the agent is meant for somebody else, or
        comes from a television, unless it is a clear sentence; 0 to take it for an interruption all the same
    """

    overlap_decide_ms: Milliseconds = 400
    overlap_max_ms: Milliseconds = 1000
    murmur_ms: Milliseconds = 700
    raised_ms: Milliseconds = 450
    raised_db: Annotated[float, Meta(ge=0, le=60)] = 2.0
    murmur_db: Annotated[float, Meta(ge=0, le=60)] = 1.5
    echo_similarity: Probability = 0.5
    aside_db: Annotated[float, Meta(ge=0, le=60)] = 5.0


class Overlap(Struct):
    """The agent (turn `agent`) has paused because the person speaks.

    words_ns: from when on several partial words decide;  latest_ns: when it is decided at the latest
    listener_ns: the same while it may be a listener's murmur;  next_ns: the next of the three
    """

    agent: int
    words_ns: int
    latest_ns: int
    listener_ns: int
    next_ns: int

    @classmethod
    def begin(cls, agent: int, now: int, config: OverlapConfig) -> "Overlap":
        """The agent pauses `now`."""
        words_ns, latest_ns = now + config.overlap_decide_ms * MS, now + config.overlap_max_ms * MS
        return cls(agent, words_ns, latest_ns, latest_ns + 2 * config.overlap_decide_ms * MS, words_ns)

    def classify(self, turn: UserTurn, now: int, *, hearing: "Hearing", last: bool) -> Verdict:
        """What the speech of `turn` over the agent is, as far as it is known at `now`.

        last: nothing more will be heard
        """
        config, heard = hearing.config, turn.transcript()
        if turn.is_echo(config.echo_similarity, looks=1 if last else LOOKS):
            return "echo"
        listener = bool(heard.text) and not hearing.asked and _backchannel(heard.text, hearing.language, turn.speaking)
        rise, voiced_ns = hearing.rise_db(turn), turn.voiced_ns
        soft = rise is not None and rise < -config.murmur_db
        last = last or now >= (self.listener_ns if listener or soft else self.latest_ns)
        if not turn.speaking and (turn.final or last):
            return self._ended(turn, hearing, listener)
        if hearing.is_aside(turn, FEW_HOPS if last else SURE_HOPS):
            return "aside"
        if voiced_ns is not None and hearing.usual_db is not None and rise is None:  # hardly a voice
            return "noise" if last else self._later(now)
        # It goes on. The agent is silent already, so nothing is lost by hearing some more: partial words come and go,
        # and what a grammar makes of other speech are words too. That somebody goes on and on is no murmur.
        if last:
            return "interruption"
        if not listener and (rise is None or rise >= 0) and now >= self.words_ns and len(heard.words) >= TELLING:
            return "interruption"
        if voiced_ns is not None and not listener and voiced_ns >= hearing.murmur_ns(rise):
            return "interruption"
        return self._later(now)

    def _later(self, now: int) -> Verdict:
        """Look again when time is another argument."""
        self.next_ns = next((t for t in (self.words_ns, self.latest_ns) if t > now), self.listener_ns)
        return "undecided"

    def _ended(self, turn: UserTurn, hearing: "Hearing", listener: bool) -> Verdict:
        """The stretch is over, and its last words are there or will not come."""
        heard, rise, aside = turn.transcript(), hearing.rise_db(turn, FEW_HOPS), hearing.is_aside(turn, FEW_HOPS)
        known = turn.voiced_ns is not None and hearing.usual_db is not None
        voiced_ns = turn.spoken_ns if turn.voiced_ns is None else turn.voiced_ns
        short = voiced_ns < hearing.murmur_ns(rise)
        if listener:
            return "backchannel"
        if heard.text:
            sure = hearing.rise_db(turn)  # a cough is a word too, to a grammar
            aloud = not known if sure is None else sure >= -hearing.config.murmur_db
            if aloud or is_clear(heard):
                return "interruption"
            return "aside" if aside else "backchannel" if short else "interruption"
        # Short and not understood: no wish for the floor. Whoever has one goes on speaking, or raises the voice.
        if not heard.guess or short:
            return "noise"
        return "aside" if aside else "interruption"


def is_clear(heard: Transcript) -> bool:
    """Whether these words can be taken at their word, however soft or short: a sentence, of which one can be sure."""
    return heard.complete and heard.confidence >= CLEAR and len(heard.words) >= 2


class Hearing(Struct, frozen=True):
    """What it takes to judge an overlap besides the overlap itself.

    config: bars;  language: of the words;  asked: the agent is asking something, so that a "yes" is an answer
    usual_db: how loud those who talk with the agent have been, None before anybody has
    """

    config: OverlapConfig
    language: str
    asked: bool
    usual_db: float | None

    def rise_db(self, turn: UserTurn, hops: int = 5) -> float | None:
        """How much louder `turn` is than what is said to the agent; None before `hops` voiced hops of it are known."""
        level = turn.level_db(hops)
        return None if level is None or self.usual_db is None else level - self.usual_db

    def is_aside(self, turn: UserTurn, hops: int = 5) -> bool:
        """Whether `turn` is so much softer than what is said to the agent that it is meant for somebody else."""
        rise = self.rise_db(turn, hops)
        return bool(self.config.aside_db) and rise is not None and rise < -self.config.aside_db

    def murmur_ns(self, rise: float | None) -> int:
        """How long somebody may speak, that much louder than usual, without having the floor."""
        config = self.config
        if rise is None:
            return config.murmur_ms * MS
        if rise >= config.raised_db:
            return config.raised_ms * MS
        return (config.murmur_ms if rise >= -config.murmur_db else config.overlap_max_ms) * MS

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

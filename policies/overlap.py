"""Somebody speaks while the agent is audible: is it meant for the agent? Pure functions of what was heard so far.

The agent has paused already, within a block of the onset. What remains is to go on from the same sample (a backchannel,
a cough, its own echo, a word to somebody else) or to yield for good. A stop word never comes here: the reflex has cut
by then.

The agent does not stay silent until everything is known. Where it is not known in time it goes on, in doubt, and the
speech is judged further: who keeps speaking, or turns out to have said something, interrupts it then.
"""

import math
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from policies.backchannels import is_backchannel, spoken_backchannels
from policies.endpointing import EndpointingConfig
from policies.transcript import WEAK_DB, Transcript, UserTurn, power
from streams.clock import MS
from streams.types import Probability, Voice

Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]

Verdict: TypeAlias = Literal["interruption", "backchannel", "noise", "echo", "aside", "doubt", "undecided"]
Evidence: TypeAlias = dict[str, float | str]


LOOKS = 2  # of the canceller, before the agent's own voice is believed to be that
TELLING = 3  # partial words, from which on they are more than a recogniser's flicker
SURE_HOPS = 8  # voiced hops, after which it is known how loud somebody speaks
FEW_HOPS = 2  # the same, if there will not be more of them
CLEAR = 0.8  # confidence from which a short or soft sentence is believed
QUIET = 0.35  # probability of voice below which a hop is silent, however loud
LATE_HOPS = 3  # newest hops, the loudest of which tells how loud somebody is now: within words there are pauses of two
LULL_HOPS = 10  # so many hops, one after the other, that are silent or `LULL_DB` below the loudest one are a lull
LULL_DB = 12.0
SOME = 2  # partial words, by which a voice that is not raised is known to be one: of laughter few are made


class OverlapConfig(EndpointingConfig, frozen=True, forbid_unknown_fields=True):
    """Bars and bounds of what is said over the agent, besides those of the wait. Milliseconds count from its pause.

    overlap_words_ms: how long partial words are only listened to, and a voice that is not raised
    overlap_decide_ms: how long the agent is silent for it: what is not known then to be an interruption is in doubt
    overlap_max_ms: how long it may take: whoever speaks longer over the agent interrupts it (one who says nothing but
        backchannels, or speaks with less than the usual voice, has twice `overlap_words_ms` more)
    murmur_ms: who was voiced for so long wants the floor, understood or not: for a murmur it is `overlap_max_ms`, for
        a raised voice `burst_ms`, and `raised_ms` if it is still as loud as usual
    raised_db: so much louder than usual is a raised voice;  murmur_db: so much softer is a murmur
    aloud_db: so far above usual, all of it and its newest hops added up, is who has not finished after `raised_ms`
    echo_similarity: what is heard is the agent itself if no `Echo.similarity` in its beginning is below this
    aside_db: speech that is this much softer than that of who talks with the agent is meant for somebody else, or
        comes from a television, unless it is a clear sentence; 0 to take it for an interruption all the same
    """

    overlap_words_ms: Milliseconds = 400
    overlap_decide_ms: Milliseconds = 1000
    overlap_max_ms: Milliseconds = 1000
    murmur_ms: Milliseconds = 700
    raised_ms: Milliseconds = 288
    burst_ms: Milliseconds = 450
    raised_db: Annotated[float, Meta(ge=0, le=60)] = 2.5
    murmur_db: Annotated[float, Meta(ge=0, le=60)] = 1.5
    aloud_db: Annotated[float, Meta(ge=0, le=60)] = 2.0
    echo_similarity: Probability = 0.5
    aside_db: Annotated[float, Meta(ge=0, le=60)] = 5.0


class Overlap(Struct):
    """The agent (turn `agent`) has paused because the person speaks.

    words_ns: from when on several partial words decide;  doubt_ns: when the agent goes on, unless it is decided
    latest_ns: when it is decided at the latest;  listener_ns: the same while it may be a listener's murmur
    next_ns: the next of the four;  doubtful: the agent has gone on, and may still be interrupted by this speech
    newest: levels of the newest hops, in dB of full scale, without the room;  loudest: of all hops
    """

    agent: int
    words_ns: int
    doubt_ns: int
    latest_ns: int
    listener_ns: int
    next_ns: int
    doubtful: bool = False
    newest: list[float] = field(default_factory=list)
    loudest: float = WEAK_DB

    @classmethod
    def begin(cls, agent: int, now: int, config: OverlapConfig) -> "Overlap":
        """The agent pauses `now`."""
        words_ns, latest_ns = now + config.overlap_words_ms * MS, now + config.overlap_max_ms * MS
        doubt_ns, listener_ns = now + config.overlap_decide_ms * MS, latest_ns + 2 * config.overlap_words_ms * MS
        return cls(agent, words_ns, doubt_ns, latest_ns, listener_ns, min(words_ns, doubt_ns))

    def hear(self, voice: Voice, room: float) -> None:
        """Take in one hop; `room` is the power of the room."""
        new = power(voice.level_db) - room if voice.probability >= QUIET else 0.0
        level = max(WEAK_DB, 10 * math.log10(new)) if new > 0 else WEAK_DB
        self.newest, self.loudest = [*self.newest[1 - LULL_HOPS :], level], max(level, self.loudest)

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
            return "noise" if last else self._later(now, hearing, known=True)
        # It goes on. That somebody goes on and on is no murmur. Partial words come and go, and what a grammar makes of
        # other speech are words too: by themselves they say little.
        if last:
            return "interruption"
        if not listener and (rise is None or rise >= 0) and now >= self.words_ns and len(heard.words) >= TELLING:
            return "interruption"
        if voiced_ns is not None and not listener:
            words = len(heard.words)
            aloud = (
                rise is not None and voiced_ns >= config.raised_ms * MS and self._is_aloud(rise, words, now, hearing)
            )
            if aloud or voiced_ns >= hearing.murmur_ns(rise):
                return "interruption"
        if listener and hearing.quiet and not self.doubtful and not is_backchannel(heard.text, hearing.language):
            return self._later(now, hearing, known=False)  # the recogniser is in the middle of it
        return self._later(now, hearing, known=voiced_ns is not None, soft=rise is not None and rise < 0)

    def _is_aloud(self, rise: float, words: int, now: int, hearing: "Hearing") -> bool:
        """Whether somebody speaks as those do who have more to say: a murmur is not raised, and fades."""
        config, late = hearing.config, max(self.newest[-LATE_HOPS:], default=WEAK_DB) - (hearing.usual_db or 0.0)
        if rise >= config.raised_db:
            return late >= 0 or now >= self.doubt_ns
        if self.doubtful or now < self.words_ns:
            return False
        if rise >= 0 and rise + late >= config.aloud_db and words >= SOME:
            return True
        # In a quiet room a word is a word, and who grows louder at the end of the wait begins another syllable.
        grows = len(self.newest) >= LATE_HOPS and self.newest[-1] > self.newest[-LATE_HOPS]
        return hearing.quiet and words > 0 and grows and rise >= -config.murmur_db and now >= self.doubt_ns

    def _later(self, now: int, hearing: "Hearing", *, known: bool, soft: bool = True) -> Verdict:
        """Look again when time is another argument.

        known: hops of voice are;  soft: the voice is less than usual, or hardly one
        """
        times = (self.words_ns, self.latest_ns) if self.doubtful or not known else (self.words_ns, self.doubt_ns)
        self.next_ns = next((t for t in times if t > now), self.listener_ns)
        if self.doubtful or not known or (soft and not hearing.config.aside_db):
            return "undecided"
        lull = len(self.newest) == LULL_HOPS and max(self.newest) < self.loudest - LULL_DB
        return "doubt" if now >= self.doubt_ns or (lull and soft and not hearing.asked) else "undecided"

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
    quiet: the room is so much softer than they that partial words can be believed
    """

    config: OverlapConfig
    language: str
    asked: bool
    usual_db: float | None
    quiet: bool = False

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
            return config.burst_ms * MS
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

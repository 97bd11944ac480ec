"""What was said in one turn, put together from the words of its stretches of speech."""

import math
from collections import deque
from dataclasses import dataclass, field

from msgspec import Struct

from streams.clock import MS
from streams.types import Voice, Word, Words

VOICED = 0.6
"""Probability from which a hop counts as speech when its loudness is measured."""
SILENT = 0.2
"""Probability below which a hop is nothing but the room."""
NEW = 0.05  # share of the newest hop in what the room sounds like: about 0.6 s
WEAK_DB = -100.0
HOP_NS = 32 * MS
LOUD_HOPS = 20  # about what is known of an interruption when it is decided
CLEAR_NS = 60 * MS  # a look that ends before this is of the sound before the speech
ECHO_NS = 450 * MS


class Loudness:
    """How loud speech is: the mean power of its voiced hops, less that of the room.

    What matters is how loud somebody speaks, not how loud it is: a television in a noisy room is still far away.
    keep: how many of the newest voiced hops count, None for all
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._newest: deque[float] = deque()
        self._sum, self._hops = 0.0, 0

    def hear(self, voice: Voice, room: float) -> None:
        """Take in one hop; `room` is the power of the room."""
        if voice.probability < VOICED:
            return
        new = max(0.0, power(voice.level_db) - room)
        self._sum, self._hops = self._sum + new, self._hops + 1
        if self._keep is not None:
            self._newest.append(new)
            if self._hops > self._keep:
                self._sum, self._hops = self._sum - self._newest.popleft(), self._keep

    def level_db(self, hops: int = 5) -> float | None:
        """dB of full scale; None before there are `hops` voiced ones."""
        if self._hops < hops:
            return None
        mean = self._sum / self._hops
        return max(WEAK_DB, 10 * math.log10(mean)) if mean > 0 else WEAK_DB


class Room:
    """The power of what is heard while nobody speaks. power: 1 is full scale"""

    def __init__(self) -> None:
        self.power = 0.0
        self._known = False

    def hear(self, voice: Voice) -> None:
        """Take in one hop."""
        if voice.probability < SILENT:
            new = power(voice.level_db)
            self.power = self.power + NEW * (new - self.power) if self._known else new
            self._known = True


def power(level_db: float) -> float:
    """1 is full scale."""
    return float(10 ** (level_db / 10))


@dataclass
class Stretch:
    """One stretch of speech between two silences, as far as it is known.

    number: the detector's `segment`;  decided_ns: when its end became known
    model: newest P(end) of the turn model
    voiced_ns: how long it was voiced, as far as hops are known;  loudness: of its voiced hops
    loudest_db: its loudness where it was loudest, over `LOUD_HOPS`
    echo: what `Echo.similarity` was in its first `ECHO_NS` (after a pause the agent's voice says nothing any more)
    """

    number: int
    start_ns: int
    end_ns: int | None = None
    decided_ns: int = 0
    words: Words | None = None
    model: float | None = None
    echo: list[float] = field(default_factory=list)
    voiced_ns: int | None = None
    loudness: Loudness = field(default_factory=Loudness)
    loudest_db: float | None = None
    _newest: Loudness = field(default_factory=lambda: Loudness(LOUD_HOPS))
    _hop_ns: int | None = None  # where the newest hop ended

    def hear(self, voice: Voice, t: int, room: float) -> None:
        """Take in one hop of voice activity that ends at `t`; `room` is the power of the room."""
        length = HOP_NS if self._hop_ns is None else min(t - self._hop_ns, 2 * HOP_NS)
        self._hop_ns = t
        self.voiced_ns = (self.voiced_ns or 0) + (length if voice.probability >= VOICED else 0)
        self.loudness.hear(voice, room)
        self._newest.hear(voice, room)
        newest = self._newest.level_db(LOUD_HOPS)
        if newest is not None:
            self.loudest_db = newest if self.loudest_db is None else max(newest, self.loudest_db)

    def hear_echo(self, similarity: float, t: int) -> None:
        """Take in what an `Echo` up to `t` said."""
        if self.start_ns + CLEAR_NS <= t <= self.start_ns + ECHO_NS:
            self.echo.append(similarity)

    def is_echo(self, bar: float, looks: int = 1) -> bool:
        """Whether it sounds like the agent's own voice and nothing else, in at least `looks` looks at it.

        Of a person, at least one look in the beginning is clear; of an echo none is.
        """
        return len(self.echo) >= looks and min(self.echo) >= bar

    @property
    def final(self) -> bool:
        """The recogniser has said its last word on it."""
        return self.words is not None and self.words.final


class Transcript(Struct, frozen=True):
    """The words of a turn so far."""

    text: str
    words: tuple[Word, ...]
    confidence: float
    complete: bool
    guess: str


@dataclass
class UserTurn:
    """A person's turn: one or more stretches of speech that belong together.

    until_ns: when it is committed unless something new comes (None while the person speaks)
    grace_ns: how long the recogniser is waited for if its final words are still missing then
    stopped: the reflex has answered a stop word in it;  evidence: of the last judgement
    """

    number: int
    stretches: list[Stretch] = field(default_factory=list)
    until_ns: int | None = None
    grace_ns: int = 0
    stopped: bool = False
    evidence: dict[str, float | str] = field(default_factory=dict)

    @property
    def speaking(self) -> bool:
        """A stretch of it is still open."""
        return any(stretch.end_ns is None for stretch in self.stretches)

    @property
    def final(self) -> bool:
        """Every stretch has its final words."""
        return all(stretch.final for stretch in self.stretches)

    @property
    def start_ns(self) -> int:
        """Where it began."""
        return self.stretches[0].start_ns

    @property
    def end_ns(self) -> int:
        """The end of its last voiced sound."""
        last = self.stretches[-1]
        return last.start_ns if last.end_ns is None else last.end_ns

    @property
    def spoken_ns(self) -> int:
        """How long it was voiced, silences left out."""
        return sum((s.end_ns if s.end_ns is not None else s.start_ns) - s.start_ns for s in self.stretches)

    @property
    def voiced_ns(self) -> int | None:
        """How long it was voiced, pauses left out; None if no hop is known."""
        known = [s.voiced_ns for s in self.stretches if s.voiced_ns is not None]
        return sum(known) if known else None

    @property
    def loudest_db(self) -> float | None:
        """How loud it was where it was loudest; None if too little was heard."""
        known = [each for s in self.stretches if (each := s.loudest_db) is not None]
        return max(known, default=None) if known else self.level_db()

    def level_db(self, hops: int = 5) -> float | None:
        """How loud its loudest stretch was; None if less than `hops` voiced hops of any were heard."""
        return max((level for s in self.stretches if (level := s.loudness.level_db(hops)) is not None), default=None)

    def is_echo(self, bar: float, looks: int = 1) -> bool:
        """Whether all of it was the agent's own voice, as far as is known."""
        return all(stretch.is_echo(bar, looks) for stretch in self.stretches)

    def stretch(self, number: int) -> Stretch | None:
        """Its stretch `number`, if it is one of this turn's."""
        return next((stretch for stretch in self.stretches if stretch.number == number), None)

    def transcript(self) -> Transcript:
        """The words of all stretches in order of audio time.

        A recogniser may hear a later stretch together with an earlier one; its words then reach back, and take the
        place of the earlier ones that they overlap. Text is bound by audio time, never by arrival.
        """
        words: list[Word] = []
        confidence, complete, guess = 1.0, False, ""
        for stretch in self.stretches:
            heard = stretch.words
            if heard is None:
                continue
            if not heard.text:
                if heard.guess:  # something was said here that nobody understood
                    guess = heard.guess
                    if words:
                        confidence, complete = min(confidence, heard.confidence), False
                continue
            end = stretch.start_ns if stretch.end_ns is None else stretch.end_ns
            spoken = heard.words or (Word(heard.text, stretch.start_ns, end, heard.confidence),)
            kept = [word for word in words if word.end_ns <= spoken[0].start_ns]
            complete = heard.complete and not kept
            confidence = min(confidence, heard.confidence) if kept else heard.confidence
            words = [*kept, *spoken]
            guess = guess if kept else ""
        text = " ".join(word.text for word in words)
        return Transcript(text, tuple(words), confidence if words else 0.0, complete, guess)

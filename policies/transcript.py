"""What was said in one turn, put together from the words of its stretches of speech."""

from dataclasses import dataclass, field

from msgspec import Struct

from streams.clock import MS
from streams.types import Voice, Word, Words

VOICED = 0.6
"""Probability from which a hop counts as speech when its loudness is measured."""
CLEAR_NS = 60 * MS  # a look that ends before this is of the sound before the speech
ECHO_NS = 450 * MS


@dataclass
class Stretch:
    """One stretch of speech between two silences, as far as it is known.

    number: the detector's `segment`;  decided_ns: when its end became known
    model: newest P(end) of the turn model
    echo: what `Echo.similarity` was in its first `ECHO_NS` (after a pause the agent's voice says nothing any more)
    """

    number: int
    start_ns: int
    end_ns: int | None = None
    decided_ns: int = 0
    words: Words | None = None
    model: float | None = None
    echo: list[float] = field(default_factory=list)
    _level_sum: float = 0.0
    _hops: int = 0

    def hear(self, voice: Voice) -> None:
        """Take in one hop of voice activity."""
        if voice.probability >= VOICED:
            self._level_sum += voice.level_db
            self._hops += 1

    def level_db(self, hops: int = 5) -> float | None:
        """How loud it is, mean of its voiced hops in dB of full scale; None before there are `hops` of them."""
        return self._level_sum / self._hops if self._hops >= hops else None

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

    def level_db(self) -> float | None:
        """How loud its loudest stretch was; None if too little was heard."""
        return max((level for s in self.stretches if (level := s.level_db()) is not None), default=None)

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

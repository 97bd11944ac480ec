"""The port of a speech recogniser: what `streams/encoders/speech.py` asks of one.

Two objects, as everywhere: a `RecogniserModel` is what was loaded (shared between sessions where the library allows),
a `Recogniser` is one session's stream on it. Neither knows the bus, a clock or where sound comes from: time is a count
of samples at 16 kHz. The recognisers are `grammar.py` (pocketsphinx, the default), `sherpa.py` and `moonshine.py`
(optional extras).
"""

from typing import NamedTuple, Protocol, runtime_checkable

from streams.audio.blocks import RATE as RATE
from streams.errors import GrammarInvalid as GrammarInvalid
from streams.types import Samples


class HeardWord(NamedTuple):
    """One word. start, end: samples since `Recogniser.start`; confidence in [0, 1]."""

    text: str
    start: int
    end: int
    confidence: float = 1.0


class Hypothesis(NamedTuple):
    """What a recogniser makes of what it was fed since `start`.

    text: "" when nothing was recognised or the speech is rejected; words: its words, in order
    confidence: calibrated in [0, 1] (1.0 where a library gives none: see docs/speech.md)
    complete: a whole sentence of the grammar (False for open dictation)
    guess: the nearest sentence to speech that was rejected, "" otherwise
    half: plausible as (the beginning of) a sentence, so that speech that follows soon may belong to it
    """

    text: str = ""
    words: tuple[HeardWord, ...] = ()
    confidence: float = 0.0
    complete: bool = False
    guess: str = ""
    half: bool = False


@runtime_checkable
class Recogniser(Protocol):
    """One session's stream. Synchronous; called from one thread at a time.

    feed_cost: declared ns of computing per second of sound fed;  finish_cost: declared ns of `finish`
    joins: rejected speech is worth decoding once more together with the stretch before it (grammars: a pause in the
        middle of a sentence makes two halves of which neither is one)
    """

    feed_cost: int
    finish_cost: int
    joins: bool

    def start(self) -> None:
        """A stretch of speech begins; what was open is forgotten."""

    def feed(self, samples: Samples) -> None:
        """The next int16[samples] of the stretch."""

    def partial(self) -> Hypothesis:
        """What it sounds like so far. May be revised; quick."""

    def finish(self) -> Hypothesis:
        """The stretch has ended: the last word on it."""

    def reset(self) -> None:
        """Forget the session (what was learnt of channel and speaker too); as new."""


@runtime_checkable
class Bursty(Protocol):
    """A recogniser whose computing does not come evenly with the sound, and that can say when it comes."""

    def due(self, samples: int, *, last: bool) -> int:
        """Declared ns of `feed` of so many more samples and of the `partial`, or (`last`) the `finish`, after it."""


@runtime_checkable
class Renewable(Protocol):
    """A recogniser that learns the channel of a session and can forget it: noise makes a channel of its own."""

    def renew(self) -> None:
        """Forget what was learnt of the channel; not while a stretch is open."""


@runtime_checkable
class RecogniserModel(Protocol):
    """What was loaded. `name` says which, for logs and reports."""

    name: str

    def recogniser(self) -> Recogniser:
        """A stream of its own for one session."""

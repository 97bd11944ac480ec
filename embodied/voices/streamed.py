"""Sound that a model makes, as it comes: written on the event loop, taken by the speech actuator in its thread.

A model that speaks gives sound and text, and never the times of its words. They are estimated: letters are spread over
that part of the sound in which there is a voice, at the pace of this speaker while sound still comes, and evenly over
the whole once it is complete. The estimate is slow rather than quick, so that no word counts as heard too early.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import numpy as np

from embodied.errors import VoiceError
from embodied.ports import Chunk, Mark
from embodied.voices.spread import Spread
from streams.types import Samples

SPARE = 32
"""Sounds that are remembered after they are over, for the places of their words."""
MOMENT_S = 0.05
_NOTHING: Samples = np.zeros(0, np.int16)


class Resampling(Protocol):
    """Changes the rate of sound, as a stream (`streams.audio.resample.Resampler` is one)."""

    def push(self, samples: Samples) -> Samples:
        """Take int16[samples] in, give what is ready."""

    def finish(self) -> Samples:
        """The rest."""


Resample: TypeAlias = Callable[[int, int], Resampling]
"""Makes one: from, to (Hertz). It is given from outside, for it belongs to the streams."""


class StreamedSound:
    """One sound under way. `write`, `say` and `end` are called on the event loop, by whoever has it from the model.

    marks: of the words that were given out so far
    """

    def __init__(self, source: int, target: int, resample: Resample, spread: Spread, patience_s: float) -> None:
        self.marks: list[Mark] = []
        self._resampler = resample(source, target)
        self._spread, self._patience = spread, patience_s
        self._changed = threading.Condition()
        self._pieces: list[Samples] = []
        self._waiting = 0  # samples
        self._given = 0
        self._over = self._cancelled = False

    def write(self, samples: Samples) -> None:
        """More sound, int16[samples] at the model's rate; dropped if nobody wants it any more."""
        if not self._over and not self._cancelled:
            self._add(self._resampler.push(samples))

    def say(self, text: str) -> None:
        """More of what is said, wherever in the sound."""
        with self._changed:
            self._spread.say(text)
            self._changed.notify()

    def end(self, whole: bool = True) -> None:
        """Nothing more will come. whole: sound and text are complete, so that each may be spread over the other

        Idempotent.
        """
        if self._over:
            return
        self._add(self._resampler.finish())
        with self._changed:
            self._over = True
            if whole:
                self._spread.end()
            self._changed.notify()

    def cancel(self) -> None:
        """Nobody wants more of it: what waits is dropped, and so is what still comes."""
        with self._changed:
            self._cancelled = True
            self._pieces, self._waiting = [], 0
            self._changed.notify()

    def cancelled(self) -> bool:
        """Asked anew after every wait, for it may have happened meanwhile."""
        return self._cancelled

    def chunks(self, rate: int, lead: int, wait: bool) -> Iterator[Chunk]:
        """See `embodied.ports.Sound`. lead: samples that are there before the first is given

        While the sound is not complete it is given three times as fast as it will be played, and no faster: the times
        of words that have been given out are final, and they are known best when all is there.
        """
        wanted, piece = lead, round(3 * MOMENT_S * rate)
        while True:
            with self._changed:
                ready = self._changed.wait_for(
                    lambda: self._waiting >= wanted or self._over or self._cancelled,  # noqa: B023 - called here
                    self._patience if wait else 0,
                )
                if self.cancelled():
                    return
                if not ready and (wait or not self._waiting):
                    raise VoiceError(f"the model gave no more sound for {self._patience:g} s" if wait else _LATE)
                if wait and wanted == 1:  # perhaps it is whole in a moment
                    self._changed.wait_for(lambda: self._over or self._cancelled, MOMENT_S)
                    if self.cancelled():
                        return
                samples = self._take(lead if wanted == lead else piece)
                wanted = 1
                marks = self._spread.marks(self._given)
                self.marks += marks
                over = self._over and not self._waiting
            if len(samples) or marks:
                yield Chunk(samples, tuple(marks))
            if over:
                return

    def _take(self, most: int) -> Samples:
        """What waits: `most` samples at most, unless it is complete."""
        waiting = np.concatenate(self._pieces) if self._pieces else _NOTHING
        count = len(waiting) if self._over else min(most, len(waiting))
        self._pieces, self._waiting = [waiting[count:]], len(waiting) - count
        self._given += count
        return waiting[:count]

    def _add(self, samples: Samples) -> None:
        with self._changed:
            if len(samples) and not self._cancelled and not self._over:
                self._pieces.append(samples)
                self._waiting += len(samples)
                self._spread.hear(samples)
                self._changed.notify()


_LATE = "the model's sound is not there yet, and virtual time does not wait for a server"


class StreamedSounds:
    """All sounds of a session: `embodied.ports.Sound` for the speech actuator, and the place where a model puts them.

    rate: Hertz, of the speaker;  virtual: nobody waits
    lead_ms: sound that is there before any is played, for a server that sends no faster than one speaks
    patience_s: how long more sound is waited for;  most: names in progress; the oldest is forgotten
    """

    def __init__(
        self,
        rate: int,
        resample: Resample,
        *,
        virtual: bool = False,
        lead_ms: int = 400,
        patience_s: float = 20.0,
        most: int = SPARE,
    ) -> None:
        self.rate = rate
        self._resample, self._virtual, self._patience, self._most = resample, virtual, patience_s, most
        self._lead = rate * lead_ms // 1000
        self._pace: float | None = None  # of this speaker, once one answer was whole
        self._sounds: OrderedDict[str, StreamedSound] = OrderedDict()
        self._taken: set[str] = set()

    def begin(self, name: str, rate: int) -> StreamedSound:
        """A new sound `name` (of a name that was never used), which will be written at `rate` Hertz."""
        spread = Spread(self.rate, self._pace, self._learn)
        sound = self._sounds[name] = StreamedSound(rate, self.rate, self._resample, spread, self._patience)
        while len(self._sounds) > self._most:
            old, forgotten = self._sounds.popitem(last=False)
            self._taken.discard(old)
            forgotten.cancel()
        return sound

    def chunks(self, name: str) -> Iterator[Chunk]:
        """See `embodied.ports.Sound`."""
        sound = self._sounds.get(name)
        if sound is None or name in self._taken:
            raise VoiceError(f"there is no sound {name!r}" + (" any more" if sound else ": the model gave none"))
        self._taken.add(name)
        return sound.chunks(self.rate, self._lead, not self._virtual)

    def cancel(self, name: str) -> None:
        """See `embodied.ports.Sound`."""
        if name in self._sounds:
            self._sounds[name].cancel()

    def place_ms(self, name: str, words: int) -> int:
        """Where in the sound `name` its first `words` words have ended, ms; 0 for none, or where nothing is known."""
        sound = self._sounds.get(name)
        if sound is None or not words or not sound.marks:
            return 0
        return sound.marks[min(words, len(sound.marks)) - 1].end * 1000 // self.rate

    def _learn(self, pace: float) -> None:
        self._pace = pace if self._pace is None else 0.5 * (self._pace + pace)

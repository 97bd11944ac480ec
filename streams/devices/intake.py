"""From what a microphone delivers to blocks on the session's sample clock: counted, timed, and whole. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from streams.audio.resample import Resampler
from streams.clock import MS, SECOND
from streams.devices.stream_clock import StreamClock
from streams.types import Audio, Samples

LATE_MS = 20
LATE_FOR_MS = 1500
"""Sound that comes this much later than it should, for so long, has lost as many samples before it."""
XRUN_MS = 8
XRUN_FOR_MS = 3000
"""This much is enough for so long after the library has told of a loss."""
LIVELY_MS = 10_000
PAUSE_MS = 100
SILENCE_MS = 5_000
"""A device that gave no exact zeros for so long, but for pauses as short as this, is suspect after so much of them."""


class Arrival(NamedTuple):
    """What a device delivered: int16 of one block, whether it says that something before was lost, and when (ns)."""

    data: bytes
    lossy: bool
    at: int


class Intake:
    """Cuts the sound of a device into blocks of `block` samples at `rate` Hertz, each with its time.

    lost: samples that were lost since it was last asked for (`take_lost`)
    clock: the time of the samples, and the drift of the device
    """

    def __init__(self, rate: int, block: int) -> None:
        self.rate, self.block = rate, block
        self.clock = StreamClock(rate)
        self._start = 0  # of the next block
        self._count = 0.0  # samples that the device has given, lost or been silent for, at `rate`
        self._step = 1.0  # samples at `rate` for one of the device
        self._resampler: Resampler | None = None
        self._pending: Samples = np.zeros(0, np.int16)
        self._stamped = 0
        self._lossy_until = 0
        self._late_since: int | None = None
        self._lost = 0

    def begin(self, device_rate: int, now: int) -> None:
        """A device has been opened, at `device_rate` Hertz, and delivers from session time `now` (ns) on."""
        self._resampler = None if device_rate == self.rate else Resampler(device_rate, self.rate)
        self._step = self.rate / device_rate
        if not self._start:
            self._stamped = now

    def put(self, arrivals: Iterable[Arrival], now: int) -> list[tuple[int, Audio]]:
        """Take what has come by session time `now` (ns), and give the blocks that are whole: (t, block)."""
        pieces = [self._pending]
        for data, lossy, at in arrivals:
            samples = np.frombuffer(data, np.int16)
            self._count += len(samples) * self._step
            self.clock.observe(self._count, at)
            pieces.append(samples if self._resampler is None else self._resampler.push(samples))
            if lossy:
                self._lossy_until = at + XRUN_FOR_MS * MS
        if len(pieces) == 1:
            return []
        self._find_lost(now)
        joined = np.concatenate(pieces)
        blocks = []
        for place in range(0, len(joined) - self.block + 1, self.block):
            blocks.append(self._stamp(joined[place : place + self.block], now))
        self._pending = joined[len(blocks) * self.block :].copy()
        return blocks

    def take_lost(self) -> int:
        """How many samples have been found lost since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost

    def outage(self) -> None:
        """The device has gone: `silence` goes on in its place until `begin`. What was not whole is silence too."""
        self._pending = self._pending[:0]
        self._late_since = None
        self._lossy_until = 0
        self._count = self._start
        self.clock.anchor()

    def silence(self) -> tuple[int, Audio]:
        """The next block of silence, and when it is due."""
        if not self._start:  # nothing has ever come
            self.clock.pin(0, self._stamped)
        self._count += self.block
        return self._stamp(np.zeros(self.block, np.int16), None)

    def _stamp(self, samples: Samples, now: int | None) -> tuple[int, Audio]:
        audio = Audio(samples, self.rate, self._start)
        self._start += self.block
        t = self.clock.time(self._start)
        if now is not None:
            t = min(t, now)  # nothing is heard before it happens
        self._stamped = max(t, self._stamped + 1)
        return self._stamped, audio

    def _find_lost(self, now: int) -> None:
        late = self.clock.late_ns
        if late <= (XRUN_MS if now < self._lossy_until else LATE_MS) * MS:
            self._late_since = None
            return
        if self._late_since is None:
            self._late_since = now
        if now < self._lossy_until or now - self._late_since >= LATE_FOR_MS * MS:
            lost = round(late * self.rate / SECOND)
            self._lost += lost
            self._start += lost
            self._count += lost
            self.clock.skip(lost)
            self._lossy_until, self._late_since = 0, None


class DeadSilence:
    """Notices a device that was never silent and now gives nothing but zeros: muted in hardware, or broken."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lively = self._zeros = 0  # samples
        self.dead = False

    def put(self, samples: Samples) -> bool:
        """Take the next block; True if `dead` has changed with it."""
        if samples.any():
            if self._zeros * 1000 >= PAUSE_MS * self._rate:
                self._lively = 0
            self._zeros = 0
            self._lively += len(samples)
            changed, self.dead = self.dead, False
            return changed
        self._zeros += len(samples)
        if not self.dead and self._lively * 1000 >= LIVELY_MS * self._rate:
            self.dead = self._zeros * 1000 >= SILENCE_MS * self._rate
            return self.dead
        return False

"""Sound on its way to a loudspeaker: each block is either taken by the device or taken back, never both, and no lock.

The event loop appends blocks at the right end of a deque, and takes them back from there; the device's thread takes
them from the left. Each of these is one atomic operation of `collections.deque`, so neither side ever waits, and who
got a block has it alone.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from streams.audio.resample import Resampler
from streams.types import Samples

FADE_MS = 5
SETTLE_MS = 60
"""A device that has just been opened fills its buffer faster than it plays: nothing is given to it until it plays."""


class Piece(NamedTuple):
    """At most one block for the device, and which samples of what was written it stands for: `begin` up to `end`."""

    samples: Samples
    begin: int
    end: int


class Taken(NamedTuple):
    """A block that the device has taken.

    position: its first sample, counted from the first the device ever took;  at: when it did, ns
    samples: int16[block], None for silence;  speech: how many of them were written;  end: index after these
    """

    position: int
    at: int
    samples: Samples | None
    speech: int
    end: int


class Outlet:
    """What is written, cut into blocks of the device. Used on the event loop only, but for `pop`.

    rate: Hertz of what is written;  device_rate, block: Hertz of the device and samples it takes at once
    paused: nothing is to be taken
    """

    def __init__(self, rate: int, device_rate: int, block: int) -> None:
        self.rate, self.device_rate, self.block = rate, device_rate, block
        self.paused = False
        self._queue: deque[Piece] = deque()
        self._written = 0  # index after the last sample written
        self._begin(0)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def written(self) -> int:
        """Index after the last sample written, and not taken back."""
        return self._written

    def write(self, samples: Samples) -> int:
        """Queue int16[samples]; returns the index of the first."""
        begin = self._written
        self._written += len(samples)
        self._lay(samples if self._resampler is None else self._resampler.push(samples))
        return begin

    def settle(self) -> None:
        """Little is left: what the resampler holds back for what may follow goes out too."""
        if self._resampler is not None and self._end < self._written and len(self._queue) <= 2:
            self._lay(self._resampler.finish())
            self._begin(self._written)

    def flush(self) -> int:
        """Take back all that has not been taken; returns the index after the last sample that has."""
        end = self._end
        while (piece := self._pop_right()) is not None:
            end = piece.begin
        self._written = end
        self._begin(end)
        return end

    def change(self, device_rate: int, block: int) -> None:
        """Another device takes over, while none takes anything."""
        if (device_rate, block) == (self.device_rate, self.block):
            return
        pieces = list(self._queue)
        self._queue.clear()
        rest = self._resampler.finish() if self._resampler is not None else np.zeros(0, np.int16)
        joined = np.concatenate([*(piece.samples for piece in pieces), rest])
        if device_rate != self.device_rate and len(joined):
            between = Resampler(self.device_rate, device_rate)
            joined = np.concatenate([between.push(joined), between.finish()])
        self.device_rate, self.block = device_rate, block
        self._begin(pieces[0].begin if pieces else self._end)
        self._lay(joined)
        self._begin(self._written)

    def pop(self) -> Piece | None:
        """The next block for the device, unless paused. Also in the device's thread."""
        if self.paused:
            return None
        try:
            return self._queue.popleft()
        except IndexError:
            return None

    def _pop_right(self) -> Piece | None:
        try:
            return self._queue.pop()
        except IndexError:
            return None

    def _begin(self, index: int) -> None:
        """What is laid from now on stands for what is written from `index` on."""
        self._base, self._laid, self._end = index, 0, index
        self._resampler = None if self.rate == self.device_rate else Resampler(self.rate, self.device_rate)

    def _lay(self, samples: Samples) -> None:
        """Append `samples` of the device, and fill the last block up if nobody has taken it yet."""
        if not len(samples):
            return
        begin = self._end
        last = self._pop_right()
        if last is not None:
            if len(last.samples) == self.block:
                self._queue.append(last)
            else:
                samples = np.concatenate([last.samples, samples])
                begin = last.begin
                self._laid -= len(last.samples)
        for place in range(0, len(samples), self.block):
            part = samples[place : place + self.block]
            self._laid += len(part)
            self._end = min(self._written, self._base + round(self._laid * self.rate / self.device_rate))
            self._queue.append(Piece(part, begin, self._end))
            begin = self._end


class Feed:
    """The device's side, for one opening of it: called in its thread, once per block.

    taken: what it has taken, for the event loop to read;  dry: how often it ran out of sound
    """

    def __init__(self, outlet: Outlet, rate: int, block: int) -> None:
        self.taken: deque[Taken] = deque()
        self.dry = 0
        self.live = True
        self.block = block
        self._outlet = outlet
        self._fade = np.cos(np.linspace(0, np.pi / 2, rate * FADE_MS // 1000 + 2)[1:-1]) ** 2
        self._settle = rate * SETTLE_MS // 1000
        self._position = 0
        self._edge = 0  # the last sample, where speech broke off

    def take(self, now: int, dry: bool) -> bytes | None:
        """The next block; None for silence. Where speech breaks off, 5 ms lead from its last sample to zero: no click,
        and no sample of speech is changed."""
        position = self._position
        self._position += self.block
        settled = self.live and position >= self._settle
        if dry and settled:
            self.dry += 1
        piece = self._outlet.pop() if settled else None
        if piece is None:
            samples = self._lead_out(np.zeros(0, np.int16)) if self._edge else None
            self._edge = 0
            self.taken.append(Taken(position, now, samples, 0, 0))
        else:
            samples = piece.samples
            self._edge = int(samples[-1])
            if len(samples) < self.block:
                samples = self._lead_out(samples)
                self._edge = 0
            self.taken.append(Taken(position, now, samples, len(piece.samples), piece.end))
        return None if samples is None else samples.tobytes()

    def _lead_out(self, samples: Samples) -> Samples:
        block = np.zeros(self.block, np.int16)
        block[: len(samples)] = samples
        rest = block[len(samples) :]
        fade = self._fade[: len(rest)]
        rest[: len(fade)] = self._edge * fade
        return block

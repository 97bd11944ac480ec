"""A speaker that exists only in time: it plays nothing aloud and keeps the playout clock of a real one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np

from streams.clock import SECOND, Clock
from streams.ports import Listener, Publisher
from streams.topics import PLAYBACK
from streams.types import Audio, Samples

_NOTHING: Samples = np.zeros(0, np.int16)


class _Block(NamedTuple):
    """A block handed to the device: its place on the grid, its sound, and how many of its samples are speech."""

    place: int
    samples: Samples
    speech: int
    played: int  # count of `played` once it has sounded


class SimulatedSpeaker:
    """`streams.ports.Speaker` in session time, real or virtual.

    Time is cut into blocks of `block_ms` from session time 0, counted in samples: block k sounds from sample
    k·n to (k+1)·n. At the start of a block the device takes it from the queue; what is taken sounds
    `latency_blocks` later and cannot be taken back. Each block that carried speech is published as `Audio` on
    PLAYBACK at the end of its sound, `start` being its place on the sample clock of the session: blocks laid at `start`
    into silence are the recording. Idle or paused, it sets no timer and publishes nothing.

    `flush` ends speech without a click: the last 5 ms that are still to sound are faded out. With no latency and less
    than 5 ms of the current block left, what is missing is taken from the queue. Faded samples are counted in the
    value it tells: that, and not one sample more, will have been heard. `pause` and `resume` fade
    nothing, so that the samples played are exactly those written.

    The listener is called after each such block with the time at which its last sample of speech left.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        rate: int,
        *,
        block_ms: int = 20,
        latency_blocks: int = 0,
        fade_ms: int = 5,
    ) -> None:
        self.rate = rate
        self.block = max(1, rate * block_ms // 1000)
        self._publisher = publisher
        self._clock = clock
        self._latency = latency_blocks
        self._fade = min(self.block, rate * fade_ms // 1000)
        self._queue: deque[Samples] = deque()
        self._queued = 0
        self._handed: deque[_Block] = deque()
        self._taken = 0  # samples of speech handed to the device
        self._played = 0
        self._paused = False
        self._next = 0  # place on the grid of the next block to hand
        self._tail: Samples = _NOTHING  # the faded end of something flushed: goes first, and no pause holds it
        self._wake = asyncio.Event()
        self._listeners: list[Listener] = []

    @property
    def played(self) -> int:
        """Samples that have left the device since the start (never counts silence, nor flushed ones)."""
        return self._played

    def write(self, samples: Samples) -> int:
        """Queue int16[samples]; returns the index (in the count of `played`) at which they will begin."""
        self._catch_up()
        begin = self._taken + len(self._tail) + self._queued
        if len(samples):
            self._queue.append(samples)
            self._queued += len(samples)
            self._arm()
        return begin

    def flush(self, told: Callable[[int], None]) -> None:
        """Drop what is queued and not yet handed to the device; `told` is called at once."""
        self._catch_up()
        if self._queued:
            if not self._paused and not len(self._tail):
                self._tail = self._fade_out()
            self._queue.clear()
            self._queued = 0
        told(self._taken + len(self._tail))

    def pause(self) -> None:
        """Hold the queue; silence from the next block on."""
        self._catch_up()
        self._paused = True

    def resume(self) -> None:
        """Go on from the very sample that was next."""
        if self._paused:
            self._paused = False
            self._arm()

    def listen(self, listener: Listener, gone: Callable[[], None] | None = None) -> None:
        """Call `listener` after every block that carried speech. It is never gone."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Sound plays while this context is open; what is queued when it closes is never heard."""
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(self._play(), name="speaker")
            try:
                yield
            finally:
                playing.cancel()

    # --- the device

    @property
    def _ready(self) -> bool:
        return len(self._tail) > 0 or (self._queued > 0 and not self._paused)

    def _time(self, place: int) -> int:
        """Session time (ns) of the start of block `place`."""
        return round(place * self.block * SECOND / self.rate)

    def _arm(self) -> None:
        """Something is to be played after silence: from the next block that begins now or later."""
        if self._ready:
            if not self._wake.is_set():
                now = self._clock.now()
                place = now * self.rate // (SECOND * self.block)
                while self._time(place) < now:
                    place += 1
                self._next = max(self._next, place)
            self._wake.set()

    async def _play(self) -> None:
        while True:
            if not self._handed and not self._ready:
                self._wake.clear()
                await self._wake.wait()
            place = self._next
            await self._clock.sleep_until(self._time(place))
            if self._next <= place:
                self._turn(place)
            self._sounded(place)

    def _catch_up(self) -> None:
        """Hand what the device has taken by now, however late the loop is; so a cut acts at its own instant."""
        if self._wake.is_set():
            now = self._clock.now()
            while (self._ready or self._handed) and self._time(self._next) < now:
                self._turn(self._next)

    def _turn(self, place: int) -> None:
        """The start of block `place`: the device takes what is ready."""
        self._next = place + 1
        if not self._ready:
            return
        block = np.zeros(self.block, np.int16)
        filled = len(self._tail)
        if filled:
            block[:filled] = self._tail
            self._tail = _NOTHING
        else:
            while filled < self.block and self._queue:
                piece = self._queue.popleft()
                part = piece[: self.block - filled]
                block[filled : filled + len(part)] = part
                filled += len(part)
                if len(part) < len(piece):
                    self._queue.appendleft(piece[len(part) :])
            self._queued -= filled
        self._taken += filled
        self._handed.append(_Block(place, block, filled, self._taken))

    def _sounded(self, place: int) -> None:
        """The start of block `place`: publish what has sounded by now."""
        while self._handed and self._handed[0].place + 1 + self._latency <= place:
            done = self._handed.popleft()
            at = done.place + self._latency
            self._played = done.played
            self._publisher.publish(
                PLAYBACK, self._time(at + 1), Audio(samples=done.samples, rate=self.rate, start=at * self.block)
            )
            spoken = round((at * self.block + done.speech) * SECOND / self.rate)
            for listener in self._listeners:
                listener(done.played, spoken)

    def _fade_out(self) -> Samples:
        """Fade what is still to sound; returns the samples of the queue that are needed for it."""
        if self._handed:
            block = self._handed[-1]
            gone = round(self._clock.now() * self.rate / SECOND) - (block.place + self._latency) * self.block
            left = max(0, min(self._fade, block.speech - max(0, gone)))
            if block.speech < self.block:
                return _NOTHING  # it ended by itself
        else:
            return _NOTHING  # nothing of it was heard: nothing to fade
        fade = np.linspace(1, 0, self._fade + 2)[1:-1]
        if left:
            end = self._handed[-1].speech
            piece = self._handed[-1].samples[end - left : end]
            piece[:] = (piece * fade[:left]).astype(np.int16)
        wanted = self._fade - left
        if not wanted:
            return _NOTHING
        rest = np.concatenate(self._queue)[:wanted]
        return (rest * fade[left : left + len(rest)]).astype(np.int16)

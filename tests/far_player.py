"""A player far away, in session time: behind a network that jitters, with a clock of its own; it knows what sounded."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from streams.clock import MS, SECOND, Clock
from streams.devices.remote_speaker import RemoteSpeaker
from streams.types import Samples

QUANTUM = 128


class FarPlayer:
    """What a page does: quanta of 128 samples, a jitter buffer at the start of speech, reports every 40 ms, 5 ms fades.

    heard: (index, session time at which it left) of every sample that really sounded, in order
    """

    def __init__(self, speaker: RemoteSpeaker, clock: Clock, seed: int, *, latency_ms: float, jitter_ms: float) -> None:
        self.speaker, self.clock = speaker, clock
        self.heard: list[tuple[int, int, int]] = []
        self.connected = True
        self.deaf = False
        self._random = random.Random(seed)
        self._latency, self._jitter = latency_ms * MS, jitter_ms * MS
        self._there = self._back = 0
        self._queue: deque[tuple[int, int]] = deque()
        self._paused = False
        self._zero = self._random.randrange(-(10**12), 10**12)
        self._fading: deque[tuple[int, int]] = deque()
        self._waits = 0  # quanta of the jitter buffer
        self._index = 0

    # --- the way there and back: in order, late

    def _later(self, last: int, act: Callable[..., Any], *args: Any) -> int:
        due = max(last, self.clock.now() + round(self._latency + self._random.random() * self._jitter))
        self.clock.call_at(due, self._arrive, act, args)
        return due

    def _arrive(self, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.connected:
            act(*args)

    def _send(self, act: Callable[..., Any], *args: Any) -> None:
        if not self.deaf:
            self._back = self._later(self._back, act, *args)

    def play(self, samples: Samples, rate: int, index: int) -> None:
        self._there = self._later(self._there, self._take, samples, index)

    def pause(self) -> None:
        self._there = self._later(self._there, self._hold, True)

    def resume(self) -> None:
        self._there = self._later(self._there, self._hold, False)

    def flush(self, number: int) -> None:
        self._there = self._later(self._there, self._drop, number)

    # --- there

    def _take(self, samples: Samples, index: int) -> None:
        if not self._queue:
            self._waits = 4
        self._queue.extend((index + place, int(value)) for place, value in enumerate(samples))

    def _hold(self, paused: bool) -> None:
        self._paused = paused

    def _drop(self, number: int) -> None:
        fade = 5 * self.speaker.rate // 1000
        if not self._paused and not self._waits:
            while self._queue and len(self._fading) < fade:
                self._fading.append(self._queue.popleft())
        self._queue.clear()
        index = self._fading[-1][0] + 1 if self._fading else self._index
        self._send(self.speaker.flushed, number, index)

    async def run(self) -> None:
        """Sound until cancelled."""
        begin, quanta, told = self.clock.now(), 0, 0
        while True:
            for _ in range(QUANTUM):
                source = self._fading or (self._queue if not self._paused and not self._waits else None)
                if source:
                    index, value = source.popleft()
                    self._index = index + 1
                    if self.connected:
                        self.heard.append((index, self.clock.now(), value))
            self._waits = max(0, self._waits - 1)
            quanta += 1
            await self.clock.sleep_until(begin + quanta * QUANTUM * SECOND // self.speaker.rate)
            if quanta % 4 == 0 and self._index != told:
                told = self._index
                self._send(self.speaker.report, told, self.clock.now() + self._zero)

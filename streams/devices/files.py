"""Sources that are no devices: sound files and arrays, played at the pace of the session clock as if live."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streams.clock import SECOND, Clock
from streams.errors import DependencyMissing, SourceError
from streams.ports import Publisher
from streams.topics import AUDIO, Topic
from streams.types import Audio, Samples
from streams.worker import Worker

if TYPE_CHECKING:
    from streams.audio.decode import Decoder

TAIL_MS = 2000
"""A microphone does not end with the last word: that much digital silence follows."""


async def play(
    read: Callable[[int], Awaitable[Samples]], bus: Publisher, clock: Clock, topic: Topic[Audio], *, rate: int,
    block_ms: int, tail_ms: int,
) -> None:  # fmt: skip
    """Publish what `read` gives in blocks of exactly `block_ms`, each when its last sample ends in session time.

    read: `await read(n)` gives the next int16[n], fewer at the end and none after it; it is asked for whole blocks
    Then `tail_ms` of silence; the last block is filled up with silence. Sample 0 begins at session time 0.
    """
    block = block_samples(rate, block_ms)
    step = max(1, rate // block) * block
    tail = rate * tail_ms // 1000
    start = 0
    while True:
        samples = await read(step)
        ended = len(samples) < step
        if ended:
            silence = tail + -(len(samples) + tail) % block
            samples = np.concatenate([samples, np.zeros(silence, np.int16)])
        for begin in range(0, len(samples), block):
            t = (start + block) * SECOND // rate
            await clock.sleep_until(t)
            bus.publish(topic, t, Audio(samples[begin : begin + block], rate, start))
            start += block
        if ended:
            return


def block_samples(rate: int, block_ms: int) -> int:
    """Samples in a block. Raises `SourceError` unless that is a whole number above 0."""
    samples, rest = divmod(rate * block_ms, 1000)
    if samples <= 0 or rest:
        raise SourceError(f"blocks of {block_ms} ms at {rate} Hz are not a whole number of samples: use 10 or 20 ms.")
    return samples


class AudioFile:
    """A sound or video file as a microphone: anything FFmpeg reads, and `.raw` (int16 little-endian mono 16 kHz).

    block_ms: length of the blocks;  rate: Hertz they come in;  tail_ms: silence after the end
    channel: which channel of the file to take, from 0; None mixes all down to one
    A sound track that begins later than its file, and gaps in its time stamps, are silence of that length. Which
    samples come out does not depend on `block_ms`. Entering raises `SourceError` (no such file, no sound in it, ...) or
    `DependencyMissing`; `run` raises `SourceLost` if the file breaks off with a read error. Live, it is decoded in a
    thread, about a second ahead; cancelling `run` stops it at once, and leaving waits for the piece in work (some ms),
    off the loop and bounded.

    damaged: packets of the file that could not be decoded, so far
    """

    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        block_ms: int = 20,
        rate: int = 16_000,
        tail_ms: int = TAIL_MS,
        channel: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.rate = rate
        self.block_ms = block_ms
        self.tail_ms = tail_ms
        self.channel = channel
        self._decoder: Decoder | None = None
        self._worker: Worker | None = None
        self._ahead: asyncio.Future[Samples] | None = None
        block_samples(rate, block_ms)

    @property
    def damaged(self) -> int:
        """Packets of the file that could not be decoded, so far."""
        return self._decoder.damaged if self._decoder else 0

    async def __aenter__(self) -> "AudioFile":
        try:
            from streams.audio.decode import Decoder  # noqa: PLC0415 - PyAV is an extra, and heavy
        except ModuleNotFoundError as error:
            if error.name != "av":
                raise
            raise DependencyMissing("av", "files", f"reading {self.path}") from error
        self._decoder = Decoder(self.path, self.rate, self.channel)
        self._worker = self._ahead = None
        return self

    async def __aexit__(self, *exc: Any) -> None:
        ahead = self._ahead
        if ahead is not None and not ahead.cancelled() and not ahead.cancel():
            ahead.exception()  # it came too late to be raised: nobody reads on
        if self._decoder is not None:
            if self._worker is None:
                self._decoder.close()
            elif not self._worker.closed:
                self._worker.begin(self._decoder.close)  # behind the piece in work
                await self._worker.aclose()

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish the file, then the silence."""
        if self._decoder is None:
            raise RuntimeError("enter the source before running it: `async with source`")
        self._worker = self._worker or Worker(clock, "file")
        await play(
            partial(self._read, self._worker, self._decoder), bus, clock, AUDIO,
            rate=self.rate, block_ms=self.block_ms, tail_ms=self.tail_ms,
        )  # fmt: skip

    async def _read(self, worker: Worker, decoder: "Decoder", count: int) -> Samples:
        """The next piece, while the one after it is being decoded. `count` is the same every time."""
        samples = await (self._ahead or worker.begin(decoder.read, count))
        self._ahead = worker.begin(decoder.read, count) if len(samples) == count else None
        return samples


class ArraySource:
    """Samples that are already there, as a microphone: for tests and examples.

    samples: int16[samples], mono;  rate: Hertz;  topic: where they go;  else as `AudioFile`
    """

    def __init__(
        self,
        samples: Samples,
        rate: int = 16_000,
        *,
        block_ms: int = 20,
        tail_ms: int = TAIL_MS,
        topic: Topic[Audio] = AUDIO,
        name: str = "array",
    ) -> None:
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise SourceError(f"samples are {samples.dtype}{list(samples.shape)}: they must be int16[samples], mono.")
        self.name = name
        self.writes: tuple[Topic[Any], ...] = (topic,)
        self._samples, self._rate, self._topic = samples, rate, topic
        self._block_ms, self._tail_ms = block_ms, tail_ms
        self._next = 0
        block_samples(rate, block_ms)

    async def __aenter__(self) -> "ArraySource":
        self._next = 0
        return self

    async def __aexit__(self, *exc: Any) -> None:
        pass

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish the samples, then the silence."""
        await play(
            self._read, bus, clock, self._topic, rate=self._rate, block_ms=self._block_ms, tail_ms=self._tail_ms
        )  # fmt: skip

    async def _read(self, count: int) -> Samples:
        piece = self._samples[self._next : self._next + count]
        self._next += count
        return piece

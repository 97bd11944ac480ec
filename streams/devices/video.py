"""A video file as microphone and camera at once: its pictures at their true times, in step with its own sound."""

import asyncio
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streams.clock import Clock
from streams.devices.files import TAIL_MS, AudioFile, block_samples, play
from streams.errors import DependencyMissing
from streams.pictures import opencv
from streams.ports import Publisher
from streams.topics import AUDIO, IMAGE, Topic
from streams.types import Image, Samples
from streams.worker import Worker

if TYPE_CHECKING:
    from streams.devices.film import Film


class VideoFile:
    """A `Source` of AUDIO and IMAGE: any video file that FFmpeg reads.

    The sound is exactly that of `AudioFile`, silence after it included; a file without sound is silent as long as its
    pictures last. Pictures are JPEGs, at most `rate_hz` a second and `width` pixels across, each at the session time at
    which it is shown; a file without pictures has none. Entering raises `SourceError` as `AudioFile` does, or
    `DependencyMissing`; `run` raises `SourceLost` if the file breaks off with a read error. Live, it is decoded in
    threads, and a picture whose time has passed before it is decoded is left out. Cancelling `run` stops it at once;
    leaving waits for the piece in work, off the loop and bounded.

    rate_hz, width, quality: of the pictures;  block_ms, rate, tail_ms: of the sound
    late: pictures left out so far;  damaged: packets of the file that could not be decoded, so far
    """

    writes: tuple[Topic[Any], ...] = (AUDIO, IMAGE)

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        rate_hz: float = 10.0,
        width: int = 640,
        quality: int = 85,
        block_ms: int = 20,
        rate: int = 16_000,
        tail_ms: int = TAIL_MS,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._pictures = (rate_hz, width, quality)
        self._rate, self._block_ms, self._tail_ms = rate, block_ms, tail_ms
        self._film: Film | None = None
        self._sound: AudioFile | None = None
        self._worker: Worker | None = None
        self._ahead: asyncio.Future[tuple[int, Image] | None] | None = None
        self._silent = 0  # samples of silence left, in a file without sound
        block_samples(rate, block_ms)

    @property
    def damaged(self) -> int:
        """Packets of the file that could not be decoded, so far."""
        return (self._film.damaged if self._film else 0) + (self._sound.damaged if self._sound else 0)

    @property
    def late(self) -> int:
        """Pictures so far that were left out because they were decoded too late."""
        return self._film.late if self._film else 0

    async def __aenter__(self) -> "VideoFile":
        opencv(f"reading the pictures of {self.path}")
        try:
            from streams.devices.film import Film  # noqa: PLC0415 - PyAV is an extra, and heavy
        except ModuleNotFoundError as error:
            if error.name != "av":
                raise
            raise DependencyMissing("av", "files", f"reading {self.path}") from error
        self._worker = self._ahead = self._sound = None
        film = Film(self.path, *self._pictures)
        try:
            if film.has_sound:
                self._sound = AudioFile(self.path, block_ms=self._block_ms, rate=self._rate, tail_ms=self._tail_ms)
                await self._sound.__aenter__()
            else:
                self._silent = round(film.length_s() * self._rate)
        except BaseException:
            film.close()
            raise
        self._film = film
        return self

    async def __aexit__(self, *exc: Any) -> None:
        ahead = self._ahead
        if ahead is not None and not ahead.cancelled() and not ahead.cancel():
            ahead.exception()  # it came too late to be raised: nobody reads on
        if self._sound is not None:
            await self._sound.__aexit__(*exc)
        if self._film is not None:
            if self._worker is None:
                self._film.close()
            elif not self._worker.closed:
                self._worker.begin(self._film.close)  # behind the picture in work
                await self._worker.aclose()

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish the file, then the silence."""
        if self._film is None:
            raise RuntimeError("enter the source before running it: `async with source`")
        self._worker = self._worker or Worker(clock, "video")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._show(self._film, self._worker, bus, clock), name=f"{self.name} pictures")
                group.create_task(self._hear(bus, clock), name=f"{self.name} sound")
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _hear(self, bus: Publisher, clock: Clock) -> None:
        if self._sound is not None:
            await self._sound.run(bus, clock)
        else:
            await play(
                self._silence, bus, clock, AUDIO, rate=self._rate, block_ms=self._block_ms, tail_ms=self._tail_ms
            )  # fmt: skip

    async def _silence(self, count: int) -> Samples:
        count = min(count, self._silent)
        self._silent -= count
        return np.zeros(count, np.int16)

    async def _show(self, film: "Film", worker: Worker, bus: Publisher, clock: Clock) -> None:
        """One picture waits for its time while the one after it is being decoded."""
        self._ahead = worker.begin(film.next)
        while (shown := await self._ahead) is not None:
            t, image = shown
            # In virtual time nothing is late, whatever it takes.
            self._ahead = worker.begin(film.next, 0 if clock.virtual else clock.now())
            await clock.sleep_until(t)
            bus.publish(IMAGE, t, image)
        self._ahead = None

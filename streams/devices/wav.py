"""The tap that writes what was heard to a WAV file, on the time base of the session: sample 0 is session time 0."""

from collections.abc import Callable
from os import PathLike
from typing import Any, Literal

import numpy as np

from streams.audio.resample import Resampler
from streams.audio.wav import WavFile
from streams.bus import Lane
from streams.clock import MS, SECOND, Clock
from streams.errors import SourceError
from streams.packet import Packet
from streams.topics import AUDIO, PLAYBACK, Topic
from streams.types import Audio, Fault, Samples
from streams.worker import Worker

BOTH_RATE = 24_000
JITTER = 20 * MS
"""Blocks that follow on by their sample clock stay together unless their times say otherwise by more than this."""
SLACK = SECOND
"""A speaker that is silent publishes nothing: what it has not said a second later was silence."""


class WavTap:
    """Writes PLAYBACK (the agent's voice), or person left and agent right, to a WAV file as the session goes.

    what: "playback" (mono) | "both" (stereo);  rate: Hertz of the file (None: that of the first block for "playback",
        24 kHz for "both")
    Silence stands where nothing was heard. An existing file is replaced when this is made; raises `SourceError` if it
    cannot be written, `DependencyMissing` if sound has to be resampled and PyAV is not there. A failing write (full
    disk) is one `Fault`; the session goes on without the file. Live, the disk is written to in a thread. Cancelling
    `run` completes the file, and waits for that off the loop and bounded.
    """

    name = "wav"

    def __init__(
        self,
        path: str | PathLike[str],
        what: Literal["playback", "both"] = "playback",
        rate: int | None = None,
    ) -> None:
        topics = (PLAYBACK,) if what == "playback" else (AUDIO, PLAYBACK)
        self.reads: tuple[Topic[Any], ...] = topics
        self._rate = rate if rate or what == "playback" else BOTH_RATE
        if self._rate is not None:
            Resampler(self._rate, self._rate)  # is PyAV there? Better said now than with the first word
        self._file = WavFile(path, len(topics), self._rate or 16_000)
        self._tracks = {topic: _Track(self._rate) for topic in topics}
        self._told = False

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Write until `lane` ends; closes it and returns early after a failure, which it reports."""
        worker = Worker(clock, self.name)
        try:
            async for packet in lane:
                frames = self._take(packet)
                if len(frames):
                    await worker.work(0, self._append, frames)
        except (OSError, SourceError) as error:
            self._failed(error, report)
        finally:
            lane.close()
            finished = worker.begin(self._finish)  # behind the write it may be at
            try:
                if not await worker.aclose():
                    raise SourceError("the disk does not answer")
                finished.result()
            except (OSError, SourceError) as error:
                self._failed(error, report)

    def _failed(self, error: OSError | SourceError, report: Callable[[Fault], None]) -> None:
        if not self._told:  # closing a file that could not be written fails for the same reason
            self._told = True
            report(self._fault(error))

    def _fault(self, error: OSError | SourceError) -> Fault:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        message = f"writing {self._file.path} has stopped: {reason}; what was written until then can be played."
        return Fault(self.name, type(error).__name__, message)

    def _take(self, packet: Packet[Audio]) -> Samples:
        """Take a block in; int16[frames, channels] once there is a second of them."""
        self._tracks[packet.topic].put(packet)
        for track in self._tracks.values():
            track.fill(packet.t - SLACK)
        return self._frames(min(len(track) for track in self._tracks.values()), at_least=SECOND)

    def _frames(self, count: int, at_least: int = 0) -> Samples:
        rate = next((track.rate for track in self._tracks.values() if track.rate), 0)
        if not count or count * SECOND < at_least * rate:
            return np.empty((0, len(self._tracks)), np.int16)
        return np.stack([track.take(count) for track in self._tracks.values()], axis=1)

    def _append(self, frames: Samples) -> None:
        rate = next(iter(self._tracks.values())).rate
        if self._file.frames == 0 and rate:
            self._file.set_rate(rate)
        self._file.append(frames)

    def _finish(self) -> None:
        try:
            if not self._file.failed:
                for track in self._tracks.values():
                    track.finish()
                frames = self._frames(max(len(track) for track in self._tracks.values()))
                if len(frames):
                    self._append(frames)
        finally:
            self._file.close()


class _Track:
    """One channel: blocks in, an unbroken stream of samples at `rate` from session time 0 out."""

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self._resampler: Resampler | None = None
        self._source = rate or 0
        self._laid = 0  # samples at the source's rate, from session time 0
        self._next_start: int | None = None
        self._ready: list[Samples] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, packet: Packet[Audio]) -> None:
        """Lay the block where it belongs."""
        audio = packet.data
        if audio.rate != self._source or self.rate is None:
            self._change(audio.rate)
        place = (packet.t * audio.rate + SECOND // 2) // SECOND - len(audio.samples)
        late = place - self._laid
        follows = audio.start == self._next_start and abs(late) * SECOND <= JITTER * audio.rate
        if late > 0 and not follows:
            self._silence(late)
        self._lay(audio.samples[max(0, -place) if self._laid == 0 else 0 :])
        self._next_start = audio.end

    def fill(self, t: int) -> None:
        """Nothing more will be heard of before session time `t`: what is missing is silence."""
        if self._source:
            self._silence(t * self._source // SECOND - self._laid)

    def take(self, count: int) -> Samples:
        """The next int16[count], filled up with silence."""
        joined = np.concatenate([np.empty(0, np.int16), *self._ready])
        rest = joined[count:]
        self._ready, self._length = [rest], len(rest)
        return np.concatenate([joined[:count], np.zeros(max(0, count - len(joined)), np.int16)])

    def finish(self) -> None:
        """What a resampler still holds."""
        if self._resampler is not None:
            self._out(self._resampler.finish())

    def _change(self, rate: int) -> None:
        """The source has another rate from now on."""
        self.finish()
        self._laid = self._laid * rate // self._source if self._source else 0
        self.rate = self.rate or rate
        self._source = rate
        self._resampler = None if rate == self.rate else Resampler(rate, self.rate)

    def _silence(self, count: int) -> None:
        while count > 0:
            piece = min(count, self._source)
            self._lay(np.zeros(piece, np.int16))
            count -= piece

    def _lay(self, samples: Samples) -> None:
        self._laid += len(samples)
        self._out(samples if self._resampler is None else self._resampler.push(samples))

    def _out(self, samples: Samples) -> None:
        if len(samples):
            self._ready.append(samples)
            self._length += len(samples)

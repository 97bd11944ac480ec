"""Any sound or video file as mono int16 at one rate, on the time line of the file. Synchronous; reads as asked.

FFmpeg (through PyAV) reads the container, takes off what the encoder put in front (MP3 and AAC priming, Opus pre-skip),
and resamples. This module keeps the sample clock true: what the time stamps leave out becomes silence, and each stretch
has exactly `round(samples * rate / source rate)` samples. It knows nothing of session time.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from streams.errors import SourceError, SourceLost
from streams.types import Samples

RAW_RATE = 16_000
RAW = {".raw": "s16le"}
"""Files without any header, by suffix: little-endian int16, mono, 16 kHz."""

# A container's time line begins at 0, and sound that begins later begins later. Elsewhere the first time stamp is
# arbitrary (MPEG-TS) or only says what was taken off in front (MP3).
_BEGINS_AT_ZERO = {"mov", "mp4", "matroska", "webm", "ogg"}
_ARBITRARY_S = 60.0  # nobody starts a minute late: a piece cut out of a longer stream
# Time stamps in Matroska are rounded to 1 ms, and the shortest packets in use last 20 ms.
_JITTER_S = 0.010
_LONGEST_GAP_S = 600.0  # beyond that, the time stamps are broken, not the sound
_BACK_S = 1.0


class Decoder:
    """The sound of one file.

    path: of a regular file;  rate: Hertz of what comes out
    channel: which channel to take, from 0; None mixes all down to one
    damaged: packets so far that FFmpeg could not decode (the time they took is silence)
    Raises `SourceError` if there is no sound to be had from the file.
    """

    def __init__(self, path: Path, rate: int, channel: int | None = None) -> None:
        self.path = path
        self.rate = rate
        self.damaged = 0
        self._channel = channel
        check_file(path)
        options = {"protocol_whitelist": "file"}  # a play list may not make us read anything else
        form = RAW.get(path.suffix.lower())
        if form:
            options |= {"sample_rate": str(RAW_RATE), "ch_layout": "mono"}
        try:
            self._container = av.open(str(path), format=form, options=options)
        except FFmpegError as error:
            raise SourceError(f"cannot read {path}: it is no sound or video file ({reason(error)}).") from error
        try:
            if not self._container.streams.audio:
                raise SourceError(f"cannot read {path}: there is no sound in it.")
            self._stream = self._container.streams.audio[0]
            if channel is not None and not 0 <= channel < self._stream.codec_context.channels:
                raise SourceError(
                    f"cannot read channel {channel} of {path}: it has {self._stream.codec_context.channels}, from 0."
                )
            self._pieces = self._resampled()
            self._kept = next((piece for piece in self._pieces if len(piece)), np.empty(0, np.int16))
            if not len(self._kept):
                broken = (
                    f"{self.damaged} of its packets are damaged and none is whole" if self.damaged else "it is empty"
                )
                raise SourceError(f"cannot read {path}: {broken}.")
        except BaseException:
            self._container.close()
            raise

    def read(self, count: int) -> Samples:
        """The next int16[count]; fewer at the end, none after it. Raises `SourceLost` if the file cannot be read on."""
        parts, have = [self._kept], len(self._kept)
        while have < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        joined = np.concatenate(parts)
        self._kept = joined[count:]
        return joined[:count]

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._pieces.close()
        self._container.close()

    # --- inside

    def _frames(self) -> Iterator["av.AudioFrame"]:
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    self.damaged += 1
                    continue
                for frame in frames:
                    if isinstance(frame, av.AudioFrame) and frame.samples:
                        yield frame
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise SourceLost(f"cannot read {self.path} to its end: {reason(error)}.") from error
            self.damaged += 1  # a file that was cut off

    def _timed(self) -> Iterator[tuple["av.AudioFrame", float]]:
        """Frames with the seconds of silence that belong before each."""
        stream, container = self._stream, self._container
        names = set(container.format.name.split(","))
        origin = origin_s(container)
        # Only MP4 says exactly where the sound ends, which is inside the last frame.
        end = None
        if "mp4" in names and stream.duration and stream.start_time is not None and stream.time_base:
            end = float((stream.start_time + stream.duration) * stream.time_base) - origin
        position = 0.0
        for frame in self._frames():
            gap = 0.0
            if frame.pts is not None and frame.time_base:
                late = float(frame.pts * frame.time_base) - origin - position
                if late > _LONGEST_GAP_S or late < -_BACK_S:
                    origin += late
                elif late > _JITTER_S:
                    gap = late
            length = frame.samples / frame.sample_rate
            over = 0.0 if end is None else position + gap + length - end
            if 0.0 < over < length:
                frame = _shortened(frame, frame.samples - round(over * frame.sample_rate))  # noqa: PLW2901
            position += gap + length
            yield frame, gap

    def _resampled(self) -> Generator[Samples, None, None]:
        """The sound at `rate`, stretch by stretch of one source format."""
        stretch: _Stretch | None = None
        for frame, gap in self._timed():
            if stretch is None or not stretch.fits(frame):
                if stretch is not None:
                    yield stretch.finish()
                stretch = _Stretch(frame, self.rate, self._channel)
            missing = round(gap * frame.sample_rate)
            while missing > 0:
                count = min(missing, frame.sample_rate)
                yield stretch.push(_silence(frame, count))
                missing -= count
            yield stretch.push(frame)
        if stretch is not None:
            yield stretch.finish()


class _Stretch:
    """A stretch of sound whose format stays the same, on its way through one resampler."""

    def __init__(self, frame: "av.AudioFrame", rate: int, channel: int | None) -> None:
        self._shape = _shape(frame)
        self._rate, self._source, self._channel = rate, frame.sample_rate, channel
        self._taken = self._given = 0
        self._planes = None if channel is None else av.AudioResampler("fltp", frame.layout.name, frame.sample_rate)
        self._resampler = av.AudioResampler("s16", "mono", rate)

    def fits(self, frame: "av.AudioFrame") -> bool:
        return _shape(frame) == self._shape

    def push(self, frame: "av.AudioFrame") -> Samples:
        self._taken += frame.samples
        frame.pts = None  # the resampler is to count samples, not to look at the clock
        frames = [frame] if self._planes is None else self._planes.resample(frame)
        return self._give([out for one in frames for out in self._resampler.resample(self._pick(one))])

    def finish(self) -> Samples:
        """What the resampler still holds, cut or filled up to the exact number of samples."""
        want = (self._taken * self._rate * 2 + self._source) // (2 * self._source) - self._given
        rest = self._give(self._resampler.resample(None))[:want]
        return np.concatenate([rest, np.zeros(want - len(rest), np.int16)])

    def _pick(self, frame: "av.AudioFrame") -> "av.AudioFrame":
        if self._channel is None:
            return frame
        plane = np.ascontiguousarray(frame.to_ndarray()[self._channel : self._channel + 1])
        return _frame(plane, "fltp", "mono", frame.sample_rate)

    def _give(self, frames: "list[av.AudioFrame]") -> Samples:
        samples = [frame.to_ndarray()[0] for frame in frames]
        joined: Samples = np.concatenate(samples) if samples else np.empty(0, np.int16)
        self._given += len(joined)
        return joined


def origin_s(container: Any) -> float:
    """Which time stamp of an open file, in s, is the beginning of its sound and pictures."""
    begin: float = (container.start_time or 0) / av.time_base
    return 0.0 if set(container.format.name.split(",")) & _BEGINS_AT_ZERO and begin < _ARBITRARY_S else begin


def check_file(path: Path) -> None:
    """Raises `SourceError` unless `path` is a file that may be read and has something in it."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise SourceError(f"cannot read {path}: there is no such file.") from error
    except IsADirectoryError as error:
        raise SourceError(f"cannot read {path}: it is a folder, not a sound file.") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}.") from error
    if empty:
        raise SourceError(f"cannot read {path}: it is empty.")


def reason(error: FFmpegError) -> str:
    """What FFmpeg says went wrong, for the middle of a sentence."""
    return str(error.strerror or type(error).__name__).lower()


def _shape(frame: "av.AudioFrame") -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _frame(array: np.ndarray, form: str, layout: str, rate: int) -> "av.AudioFrame":
    frame = av.AudioFrame.from_ndarray(array, format=form, layout=layout)
    frame.sample_rate = rate
    return frame


def _silence(like: "av.AudioFrame", count: int) -> "av.AudioFrame":
    frame = av.AudioFrame(like.format.name, like.layout.name, count)
    frame.sample_rate = like.sample_rate
    zero = 0x80 if like.format.name.startswith("u8") else 0
    for plane in frame.planes:
        plane.update(bytes([zero]) * plane.buffer_size)
    return frame


def _shortened(frame: "av.AudioFrame", count: int) -> "av.AudioFrame":
    array = frame.to_ndarray()
    width = 1 if frame.format.is_planar else len(frame.layout.channels)
    cut = np.ascontiguousarray(array[:, : count * width])
    return _frame(cut, frame.format.name, frame.layout.name, frame.sample_rate)

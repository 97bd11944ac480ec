"""The pictures of one video file, at their true times on the file's time line. Synchronous; reads as asked.

The time line is that of the sound (`streams/audio/decode.py`), so that the two keep step. It knows no session time.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from streams.audio.decode import check_file, origin_s, reason
from streams.clock import SECOND
from streams.errors import SourceError, SourceLost
from streams.pictures import Pixels, compress
from streams.types import Image


class Film:
    """The first pictures of `path` that are no cover of a record.

    rate_hz: at most so many a second;  width, quality: see `streams.pictures.compress`
    has_sound, has_pictures: what the file holds;  length_s: where its last packet ends
    damaged: packets so far that FFmpeg could not decode;  late: pictures passed over because their time had gone
    Raises `SourceError` if the file cannot be read as one of sound or pictures.
    """

    def __init__(self, path: Path, rate_hz: float, width: int, quality: int) -> None:
        self.path = path
        self.damaged = self.late = 0
        self._every, self._width, self._quality = round(SECOND / rate_hz), width, quality
        self._container = _opened(path)
        self._origin = origin_s(self._container)
        self.has_sound = bool(self._container.streams.audio)
        moving = [each for each in self._container.streams.video if not _cover(each)]
        self.has_pictures = bool(moving)
        if not self.has_pictures and not self.has_sound:
            self._container.close()
            raise SourceError(f"cannot read {path}: there is neither sound nor a picture in it.")
        self._stream = moving[0] if moving else None
        self._frames = self._decoded()
        self._due = self._last = -1

    def next(self, now: int = 0) -> tuple[int, Image] | None:
        """The next picture that is due by the rate, with its time in ns from the beginning; None after the last.

        now: pictures before this are too late to be shown. Raises `SourceLost` if the file cannot be read on.
        """
        for t, frame in self._frames:
            if t <= self._last or t < self._due:
                continue
            self._last = t
            # On average the rate, on the file's own grid; after a gap it begins anew.
            due = max(self._due, 0) + self._every
            self._due = due if t < due else t + self._every
            if t < now:
                self.late += 1
                continue
            return t, compress(_upright(frame), self._width, self._quality)
        return None

    def length_s(self) -> float:
        """Where the last picture ends, in s from the beginning. Reads the file through, decoding nothing."""
        end = 0.0
        try:
            with _opened(self.path) as container:
                stream = next(each for each in container.streams.video if not _cover(each))
                for packet in container.demux(stream):
                    if packet.pts is not None and packet.time_base:
                        end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._origin)
        except FFmpegError:
            self.damaged += 1  # a file that was cut off: so far, then
        return end

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._frames.close()  # type: ignore[attr-defined] # a generator
        self._container.close()

    def _decoded(self) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Every picture with its time, in the order in which they are shown, but those before the beginning."""
        stream = self._stream
        if stream is None:
            return
        last = -1.0
        step = 1 / float(stream.average_rate or 25)
        try:
            for packet in self._container.demux(stream):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    self.damaged += 1
                    continue
                for frame in frames:
                    seconds = last + step
                    if frame.pts is not None and frame.time_base:
                        seconds = float(frame.pts * frame.time_base) - self._origin
                    last = seconds
                    if seconds > -step / 2:
                        yield max(0, round(seconds * SECOND)), frame
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise SourceLost(f"cannot read {self.path} to its end: {reason(error)}.") from error
            self.damaged += 1  # a file that was cut off


def _opened(path: Path) -> "av.container.InputContainer":
    check_file(path)
    try:
        # A play list may not make us read anything else.
        return av.open(str(path), options={"protocol_whitelist": "file"})
    except FFmpegError as error:
        raise SourceError(f"cannot read {path}: it is no sound or video file ({reason(error)}).") from error


def _upright(frame: "av.VideoFrame") -> Pixels:
    """The pixels as they are to be shown: a telephone held upright films lying on its side, and says so."""
    pixels = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _cover(stream: "av.VideoStream") -> bool:
    """Whether this is the one picture on the sleeve of a sound file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)

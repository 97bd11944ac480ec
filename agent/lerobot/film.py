"""Pictures of a recording, and the MP4 that they become. The one file here that imports PyAV."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import av
import numpy as np
from numpy.typing import NDArray

from agent.lerobot.errors import ExportError
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import IMAGE
from streams.types import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8[height, width, 3], RGB."""
Codec: TypeAlias = Literal["h264", "av1"]
# Every second picture is whole, as LeRobot has it: training jumps about in the file.
_ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"g": "2", "crf": "23", "bf": "0", "preset": "veryfast"}),
    "av1": ("libsvtav1", {"g": "2", "crf": "30", "preset": "11", "svtav1-params": "lp=1"}),
}


def open_aside(encoder: Any) -> None:
    """Open it without becoming more urgent, nor letting its workers be.

    As root, SVT-AV1 makes the thread that opens it, and each worker of its own, `SCHED_FIFO` 99. That is above what
    drives a robot, and each process started later inherits it. So a thread that ends then opens it: the calling one
    could not be put back, for the C library remembers what it was told, and starts threads by that. Its workers are
    put back (Linux), which start none.
    """
    with ThreadPoolExecutor(1) as aside:
        before = _tasks()
        aside.submit(encoder.open).result()
        workers = _tasks() - before
    if workers:
        policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
        for worker in workers & _tasks():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(worker, policy, parameters)


def _tasks() -> set[int]:
    """The threads of this process, as Linux numbers them; elsewhere none."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if hasattr(os, "sched_getscheduler") else set()


class Pictures:
    """Those of a recording. Read once for their times, and again for what is in them.

    times: int64[pictures], when each was taken (ns)
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.times = np.array([packet.t for packet in recording.packets([IMAGE])], np.int64)
        self._order = np.argsort(self.times, kind="stable")
        self._read: Iterator[Packet[Image]] = iter(())
        self._at, self._pixels = -1, np.zeros((0, 0, 3), np.uint8)
        self.damaged = 0

    def newest(self, times: NDArray[np.int64], age: int) -> NDArray[np.int64] | None:
        """For each of `times` the number of the newest picture not later; None if one of them is older than `age`."""
        places = np.searchsorted(self.times[self._order], times, side="right") - 1
        if not len(self.times) or (places < 0).any():
            return None
        numbers = self._order[places]
        return None if (times - self.times[numbers] > age).any() else numbers

    def pixels(self, number: int) -> Pixels:
        """Of picture `number`, in width and height even; of one that is damaged that of the one before."""
        if number < self._at or self._at < 0:
            self._read, self._at = self._recording.packets([IMAGE]), -1
        while self._at < number:
            packet = next(self._read, None)
            if packet is None:
                raise ExportError(f"{self._recording.path}: a picture is gone: the file has changed meanwhile.")
            self._at += 1
            if self._at == number:
                self._decode(packet.data)
        return self._pixels

    def _decode(self, image: Image) -> None:
        try:
            decoder: Any = av.CodecContext.create("png" if image.format == "png" else "mjpeg", "r")
            found = decoder.decode(av.Packet(image.data))[0].to_ndarray(format="rgb24")
        except (av.error.FFmpegError, IndexError) as error:
            self.damaged += 1
            if not self._pixels.size:
                raise ExportError(f"{self._recording.path}: its first picture that is needed is damaged.") from error
            return
        self._pixels = np.ascontiguousarray(found[: found.shape[0] // 2 * 2, : found.shape[1] // 2 * 2])


class Film:
    """One MP4. Raises `OSError` if it cannot be written."""

    def __init__(self, path: Path, fps: int, shape: Sequence[int], codec: Codec) -> None:
        name, options = _ENCODERS[codec]
        os.environ.setdefault("SVT_LOG", "1")  # only errors: it would tell the terminal of its settings
        if name not in av.codecs_available:
            raise ExportError(f"this PyAV has no {name}: choose another --codec.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = cast(Any, av.open(str(path), "w"))
        self._stream = self._file.add_stream(name, rate=fps, options=options)
        self._stream.height, self._stream.width = shape[0], shape[1]
        self._stream.pix_fmt = "yuv420p"
        open_aside(self._stream.codec_context)
        self._fps = fps
        self.frames = 0

    def add(self, pixels: Pixels) -> None:
        """One frame more."""
        frame: Any = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self._fps)
        self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Complete it. Once only."""
        self._file.mux(self._stream.encode(None))
        self._file.close()

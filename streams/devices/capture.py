"""One connection to a camera: a thread that reads all and keeps the newest picture.

OpenCV's `VideoCapture` blocks, for up to 30 s by default when a stream freezes, and nothing can interrupt it: so it
lives in a thread of its own, which is left behind if it does not come back, and ends by itself when it does.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

from streams.clock import MS, SECOND
from streams.pictures import compress, opencv
from streams.types import Image

EXIT_S = 2.0
"""How long the process waits at its end for connections that were left behind, together."""
RTSP = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"  # 80 ms from a server instead of 160, the first picture new
# An address may come from a robot: what is there names no other address in turn, so no play lists (HLS, DASH, concat).
FORMATS = "rtsp,mpjpeg,mjpeg,jpeg_pipe,png_pipe,mov,matroska,webm,mpegts,flv,avi,ogg,h264,hevc"
NARROW = f"|format_whitelist;{FORMATS}"
VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # the only way in; read whenever something is opened


class Capture:
    """A connection, opened at once in its thread. Made on the event loop.

    source: a number, a device, an address, a file;  rate_hz, width, quality, open_ms, read_ms: see `CameraConfig`

    opened: set when the first picture has come, or none will;  news: set when there is something to `take`
    gone: set when the thread has ended;  ended: why no more will come ("" = the end of a file), None while it lives
    arrived: session time of the newest picture (1 before `begin`);  frames: arrived since `begin`
    dropped: pictures taken that a newer one replaced before they were fetched
    """

    def __init__(
        self, source: str, *, rate_hz: float, width: int, quality: int, open_ms: int, read_ms: int
    ) -> None:  # fmt: skip
        self.opened, self.news, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ended: str | None = None
        self.arrived = self.frames = self.dropped = 0
        self._source, self._width, self._quality = source, width, quality
        self._every = round(SECOND / rate_hz)
        self._times = (open_ms, read_ms)
        self._loop = asyncio.get_running_loop()
        self._now: Callable[[], int] | None = None
        self._begun, self._leave = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._newest: tuple[int, Image] | None = None
        _leaving[:] = [thread for thread in _leaving if thread.is_alive()]
        self._thread = threading.Thread(target=self._serve, name="visavis-camera", daemon=True)
        self._thread.start()

    # --- on the loop

    def begin(self, now: Callable[[], int]) -> None:
        """Keep pictures from now on. now: session time in ns; it is called in the thread."""
        if self._now is None:
            self._now = now
            self._begun.set()

    def take(self) -> tuple[int, Image] | None:
        """The newest picture that has not been taken, with its session time in ns."""
        with self._lock:
            newest, self._newest = self._newest, None
        return newest

    def leave(self) -> None:
        """End, as soon as the call in progress comes back. Idempotent, returns at once."""
        if not self._leave.is_set():
            self._leave.set()
            self._begun.set()
            _leaving.append(self._thread)

    # --- in the thread

    def _serve(self) -> None:
        why = "it broke"
        try:
            why = self._read()
        finally:
            self.ended = why
            self._tell(self.opened, self.news, self.gone)

    def _read(self) -> str:
        cv2 = opencv("a camera")
        capture, file = _open(cv2, self._source, *self._times)
        try:
            if not capture.isOpened():
                return "it does not open"
            if not capture.grab():
                return "it opens but brings no picture"
            self.arrived = 1
            self._tell(self.opened)
            if file:
                self._begun.wait()
            return self._follow(cv2, capture, file)
        except cv2.error as error:
            return f"OpenCV failed: {' '.join(str(error).split())[:200]}"
        finally:
            capture.release()

    def _follow(self, cv2: Any, capture: Any, file: bool) -> str:
        """Take every picture that is due, until there are no more."""
        begin = due = 0
        while not self._leave.is_set():
            if self._now is not None:
                if file:
                    begin = begin or self._now()
                    wait = begin + round(capture.get(cv2.CAP_PROP_POS_MSEC) * MS) - self._now()
                    if wait > 0 and self._leave.wait(wait / SECOND):
                        break
                self.arrived = now = self._now()
                self.frames += 1
                if now >= due:
                    good, picture = capture.retrieve()
                    if good:
                        self._keep(now, compress(picture, self._width, self._quality))
                    # On average the rate, whatever the camera's own is; but nothing is caught up with.
                    due = now + self._every if now > due + self._every else due + self._every
            if not capture.grab():
                return "" if file else "the stream has ended, or brings nothing any more"
        return "it was left"

    def _keep(self, now: int, image: Image) -> None:
        with self._lock:
            self.dropped += self._newest is not None
            self._newest = (now, image)
        self._tell(self.news)

    def _tell(self, *events: asyncio.Event) -> None:
        for event in events:
            try:
                self._loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return


def _open(cv2: Any, source: str, open_ms: int, read_ms: int) -> tuple[Any, bool]:
    """OpenCV's capture of `source`, and whether it is a file, which is to be paced."""
    device = source.removeprefix("/dev/video")
    if device.isdecimal():
        capture = cv2.VideoCapture(int(device))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture, False
    given = os.environ.get(VARIABLE, "").removesuffix(NARROW)  # somebody's own, perhaps
    if "://" in source:
        os.environ[VARIABLE] = given if "format_whitelist" in given else (given or RTSP) + NARROW
    elif given in ("", RTSP):
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = given
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, open_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, read_ms]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits), "://" not in source


_leaving: list[threading.Thread] = []  # left behind, and perhaps still in a call


@atexit.register
def _part() -> None:
    """Native code that comes back to an ending interpreter may abort it: give it the moment it takes at most."""
    left = [thread for thread in _leaving if thread.is_alive()]
    for thread in left:
        thread.join(EXIT_S / len(left))

"""A camera as a source of pictures: by its number, or as a stream over the network (HTTP MJPEG, RTSP).

A thread reads it as fast as it delivers, so that no queue inside the driver or the network library can age, and keeps
only the newest picture, compressed there and stamped on arrival. What goes wrong is noticed within two seconds, told,
and mended by opening it again.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from streams.clock import MS, SECOND, Clock
from streams.devices.capture import Capture
from streams.errors import RealIOError, SourceError, SourceLost
from streams.pictures import anonymous, opencv
from streams.ports import Publisher
from streams.topics import FEEDBACK, IMAGE, Topic
from streams.types import Fault, Gauge, Recovered

AGAIN_MS = 500
"""First wait before a lost camera is opened again; it doubles up to `AGAIN_MOST_MS`."""
AGAIN_MOST_MS = 2000
GAUGE_MS = 5000
LEAVE_S = 0.5
STUCK = 3  # connections that do not come back from a call, before no more are tried


class CameraConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The eye.

    source: "" for none, a number ("0" is the first camera of the machine), a device (/dev/video0), an address
        (http:// of an MJPEG stream, rtsp://), or a video file (without its sound; it ends with the file)
    rate_hz: pictures taken a second at most;  width: pixels across at most;  quality: of the JPEGs, from 1 to 100
    fov_deg: horizontal field of view, from which the direction of what is seen is computed
    open_ms: how long opening may take;  read_ms: how long a picture may take to come
    lost_ms: without a picture for this long, the camera is lost
    """

    source: str = ""
    rate_hz: Annotated[float, Meta(gt=0, le=120)] = 10.0
    width: Annotated[int, Meta(ge=64, le=4096)] = 640
    quality: Annotated[int, Meta(ge=10, le=100)] = 85
    fov_deg: Annotated[float, Meta(gt=1, lt=179)] = 60.0
    open_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5000
    read_ms: Annotated[int, Meta(ge=100, le=60_000)] = 1500
    lost_ms: Annotated[int, Meta(ge=200, le=60_000)] = 2000


class Camera:
    """A `Source` of IMAGE: JPEGs of at most `width` pixels across, each at the session time at which it arrived.

    Entering raises `DependencyMissing` without OpenCV and `SourceError` if no picture comes. `run` in real time only
    (else `RealIOError`): a camera that is lost is a `Fault` on FEEDBACK (where "camera", error "SourceLost"), and
    `Recovered` when it is back; it returns at the end of a file. Cancelling `run` stops it at once; leaving waits half
    a second for the thread, which otherwise ends by itself when its call comes back.

    Every 5 s a `Gauge` each: "dropped" (pictures so far that a newer one replaced before the loop took them), "age_ms"
    (the oldest picture since the last gauge, from its arrival to its publication) and "arriving_hz".
    """

    name = "camera"
    writes: tuple[Topic[Any], ...] = (IMAGE,)

    def __init__(self, config: CameraConfig) -> None:
        if not config.source:
            raise SourceError('no camera is named: set camera.source, for instance to "0" or "rtsp://ADDRESS"')
        self.config = config
        self._shown = repr(anonymous(config.source))  # messages go far
        self._capture: Capture | None = None
        self._left: list[Capture] = []
        self._dropped = 0  # by connections that are closed

    @property
    def dropped(self) -> int:
        """Pictures so far that a newer one replaced before the loop took them."""
        return self._dropped + (self._capture.dropped if self._capture else 0)

    async def __aenter__(self) -> "Camera":
        opencv(f"the camera {self._shown}")
        self._dropped, self._left = 0, []
        capture = self._connect()
        try:
            arrived = await self._arrives(capture)
        except asyncio.CancelledError:
            await self.__aexit__()
            raise
        if not arrived:
            await self.__aexit__()
            why = capture.ended or f"no picture came within {(self.config.open_ms + self.config.read_ms) / 1000:g} s"
            raise SourceError(f"cannot open the camera {self._shown}: {why}. {self._advice()}")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            self._dropped += capture.dropped
            capture.leave()
            try:
                async with asyncio.timeout(LEAVE_S):
                    await capture.gone.wait()
            except TimeoutError:
                pass

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish pictures until the file ends, or for ever."""
        if self._capture is None:
            raise RuntimeError("enter the source before running it: `async with source`")
        if clock.virtual:
            raise RealIOError("a camera does not wait for virtual time: run live, or give a video file as --video")
        while True:
            capture = self._capture
            capture.begin(clock.now)
            why = await self._watch(capture, bus, clock)
            if not why:
                return
            message = f"the camera {self._shown} is lost: {why}; it is opened again until it is back"
            bus.publish(FEEDBACK, clock.now(), Fault(self.name, SourceLost.__name__, message))
            await self._again(clock)
            bus.publish(FEEDBACK, clock.now(), Recovered(self.name, f"the camera {self._shown} is back"))

    # --- inside

    def _connect(self) -> Capture:
        config = self.config
        self._capture = capture = Capture(
            config.source, rate_hz=config.rate_hz, width=config.width, quality=config.quality,
            open_ms=config.open_ms, read_ms=config.read_ms,
        )  # fmt: skip
        return capture

    async def _arrives(self, capture: Capture) -> bool:
        """Whether a first picture comes in time."""
        try:
            async with asyncio.timeout((self.config.open_ms + self.config.read_ms) / 1000):
                await capture.opened.wait()
        except TimeoutError:
            return False
        return capture.ended is None or capture.arrived > 0

    async def _watch(self, capture: Capture, bus: Publisher, clock: Clock) -> str:
        """Publish what `capture` brings until it ends. Returns why, "" for the end of a file."""
        begun = clock.now()
        gauged, frames, age = begun, capture.frames, 0
        while True:
            capture.news.clear()
            newest = capture.take()
            now = clock.now()
            if newest is not None:
                t, image = newest
                bus.publish(IMAGE, t, image)
                age = max(age, now - t)
            elif capture.ended is not None:
                return capture.ended
            elif now >= max(begun, capture.arrived) + self.config.lost_ms * MS:
                return f"no picture for {self.config.lost_ms / 1000:g} s"
            else:
                due = max(begun, capture.arrived) + self.config.lost_ms * MS
                try:
                    async with asyncio.timeout_at(clock.deadline(due)):
                        await capture.news.wait()
                except TimeoutError:
                    pass
            if now - gauged >= GAUGE_MS * MS:
                hz = (capture.frames - frames) * SECOND / (now - gauged)
                for name, value in (("dropped", self.dropped), ("age_ms", age / MS), ("arriving_hz", hz)):
                    bus.publish(FEEDBACK, now, Gauge(self.name, name, round(float(value), 1)))
                gauged, frames, age = now, capture.frames, 0

    async def _again(self, clock: Clock) -> None:
        """Open it again, and again, until a picture comes."""
        wait = AGAIN_MS * MS
        while True:
            if self._capture is not None:
                self._dropped += self._capture.dropped
                self._capture.leave()
                self._left.append(self._capture)
                self._capture = None
            self._left = [each for each in self._left if not each.gone.is_set()]
            await clock.sleep_until(clock.now() + wait)
            wait = min(2 * wait, AGAIN_MOST_MS * MS)
            if len(self._left) < STUCK and await self._arrives(self._connect()):
                return

    def _advice(self) -> str:
        source = self.config.source
        if source.isdecimal() or source.startswith("/dev/"):
            return "Is it plugged in, used by no other program, and may you read it (ls -l /dev/video*)?"
        if "://" in source:
            return "Does the address open in a video player, and does the stream need a name and a password?"
        return "Is it a video file?" if Path(source).is_file() else "There is no such file."

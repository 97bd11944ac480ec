"""The camera of a robot whose pictures come as small messages. Knows nothing of robots: who hears them calls `feed`.

The message of a picture is {"jpeg": BASE64}, of at most 32 kB before base64, five a second or fewer: a network for
commands is no network for video. A robot with more to show gives the address of a stream (`streams.devices.camera`).
"""

import asyncio
import binascii
from collections.abc import Mapping
from typing import Any

from streams.clock import MS, SECOND, Clock
from streams.devices.absence import AWAY
from streams.devices.jpeg import jpeg_size
from streams.devices.remote import RemoteCamera
from streams.errors import SourceError
from streams.ports import Publisher
from streams.topics import IMAGE, Topic

LIMIT = 32_000
"""Bytes of a JPEG."""
MOST_HZ = 6.0
"""Five a second are meant; some come early."""
LOOK_MS = 100


class RobotCamera:
    """`streams.ports.Source` of IMAGE: the JPEGs that are fed, each at the session time of its taking.

    That is `mono_ms` of the robot's clock, laid along the least delayed messages (`FarClock`): it never compares two
    clocks. Nothing is queued: a picture is published at once or dropped. What is no picture is counted and passed over.
    Without a picture for `lost_ms`, or after `gone`, it is a `Fault` "SourceAway", "SourceLost" if it is not back
    within `away_ms` more, and `Recovered` with the next picture. All say where="camera". Cancelling `run` ends it.

    from_whom: for messages to people
    malformed: messages that were no picture;  dropped: pictures that came too fast, or while no session ran
    """

    name = "camera"
    writes: tuple[Topic[Any], ...] = (IMAGE,)

    def __init__(
        self, from_whom: str = "the robot", *, lost_ms: int = 2000, away_ms: int = AWAY // MS, max_hz: float = MOST_HZ
    ) -> None:
        self.malformed = 0
        self._who, self._lost = from_whom, lost_ms * MS
        self._camera = RemoteCamera(max_hz=max_hz, limit=LIMIT, away_ms=away_ms)
        self._clock: Clock | None = None
        self._seen_at = 0
        self._taken_ms = -1
        self._missing = False

    @property
    def dropped(self) -> int:
        """Pictures that came too fast, or while no session ran."""
        return self._camera.dropped

    def feed(self, values: Mapping[str, Any], mono_ms: int) -> bool:
        """A message as it came: `values` {"jpeg": BASE64}, sent at `mono_ms` of the robot's clock. On the loop.

        False if it was dropped. Never waits, never raises.
        """
        data = decoded(values.get("jpeg"), LIMIT)
        try:
            jpeg_size(data or b"")
        except SourceError:
            self.malformed += 1
            return False
        assert data is not None
        if not self._camera.attached or mono_ms < self._taken_ms:  # another clock: the robot has started anew
            self._camera.attach()
        self._taken_ms, self._missing = mono_ms, False
        if self._clock is not None:
            self._seen_at = self._clock.now()
        try:
            return self._camera.push(data, mono_ms * MS)
        except SourceError:  # too many pixels
            self.malformed += 1
            return False

    def gone(self, why: str) -> None:
        """The robot cannot be heard any more: why, in a sentence."""
        if not self._missing:
            self._missing = True
            if not self._camera.attached:
                self._camera.attach()
            self._camera.detach(why)

    async def __aenter__(self) -> "RobotCamera":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._camera.__aexit__(*exc)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what is fed until cancelled."""
        self._clock, self._seen_at, self._missing = clock, clock.now(), False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._camera.run(bus, clock), name="pictures of a robot")
                while True:
                    await clock.sleep_until(clock.now() + LOOK_MS * MS)
                    if clock.now() - self._seen_at >= self._lost:
                        self.gone(f"no picture has come from {self._who} for {self._lost / SECOND:g} s.")
        finally:
            self._clock = None


def decoded(text: Any, limit: int) -> bytes | None:
    """The bytes of base64 `text`, at least one and at most `limit`; None if it is something else."""
    if not isinstance(text, str) or not 0 < len(text) <= (limit + 2) // 3 * 4:
        return None
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        return None
    return data if 0 < len(data) <= limit else None

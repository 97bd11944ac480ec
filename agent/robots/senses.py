"""The senses of a robot as those of the agent: its camera and its microphone, by address or out of its telemetry."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from embodied.link.port import LinkError
from embodied.remote.client import RobotClient
from embodied.remote.media import media
from embodied.remote.settings import RobotConfig
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Happening, Telemetry
from streams.devices.robot_camera import RobotCamera
from streams.devices.robot_microphone import RobotMicrophone
from streams.devices.robot_stream import StreamedMicrophone


class SenseMissing(LinkError):
    """A robot has not the sense that was asked for: which, and what it has."""


class Feed(NamedTuple):
    """A source and the channel of telemetry that it is fed from."""

    channel: str
    source: RobotCamera | RobotMicrophone


class Senses(NamedTuple):
    """What of a robot the agent sees and hears with.

    feeds: sources that its telemetry feeds;  camera_url: "" unless by address;  stream: the ear, if by address
    """

    feeds: tuple[Feed, ...] = ()
    camera_url: str = ""
    fov_deg: float | None = None
    stream: StreamedMicrophone | None = None

    @property
    def microphone(self) -> RobotMicrophone | StreamedMicrophone | None:
        """The ear, if it is the robot's."""
        fed = (each.source for each in self.feeds if isinstance(each.source, RobotMicrophone))
        return self.stream or next(fed, None)

    @property
    def camera(self) -> RobotCamera | None:
        """The eye, if it is the robot's and comes by telemetry."""
        return next((each.source for each in self.feeds if isinstance(each.source, RobotCamera)), None)


OWN = Senses()
"""Those of the agent's own machine."""


def senses(settings: RobotConfig, robot: str, sheet: Factsheet) -> Senses:
    """Those that `settings` ask for. Raises `SenseMissing`."""
    found = media(sheet)
    why = f" ({'; '.join(found.passed_over)})" if found.passed_over else ""
    feeds: list[Feed] = []
    url, fov, stream = "", None, None
    if settings.camera:
        eye = found.eye()
        if eye is None:
            raise SenseMissing(f"{robot} tells of no camera that can be used{why}: leave out --robot-camera")
        url, fov = eye.url, eye.fov_deg
        if eye.channel:
            feeds.append(Feed(eye.channel, RobotCamera(robot)))
    if settings.microphone:
        ear = found.ear
        if ear is None:
            raise SenseMissing(f"{robot} tells of no microphone that can be used{why}: leave out --robot-microphone")
        if ear.url:
            stream = StreamedMicrophone(ear.url, robot)
        else:
            feeds.append(Feed(ear.channel, RobotMicrophone(robot, rate=ear.rate)))
    return Senses(tuple(feeds), url, fov, stream)


class Feeding:
    """Listens to a robot's client, and feeds the sources with what it tells."""

    def __init__(self, client: RobotClient, feeds: Sequence[Feed]) -> None:
        self._client, self._feeds = client, feeds
        self._last: dict[str, Telemetry] = {}
        client.listen(self)

    def ticked(self, now: int) -> None:
        """See `embodied.remote.client.Listener`."""
        for feed in self._feeds:
            told: Any = self._client.telemetry.get(feed.channel)
            if told is not None and told is not self._last.get(feed.channel):
                self._last[feed.channel] = told
                feed.source.feed(told.values, told.mono_ms)

    def fault(self, error: str, message: str) -> None:
        """The same."""
        if error == "RobotSilent":
            for feed in self._feeds:
                feed.source.gone(message)

    def attached(self, factsheet: Factsheet) -> None:
        """The same."""

    def happened(self, event: Happening) -> None:
        """The same."""

    def recovered(self, message: str) -> None:
        """The same."""

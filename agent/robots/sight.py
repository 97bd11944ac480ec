"""What a chunk policy sees: the newest picture of each camera that it looks through, if it is young enough."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from agent import remembered
from agent.errors import ConfigError
from embodied.remote.media import media
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Telemetry
from policies.chunks.description import ChunkSpec
from policies.chunks.errors import DoesNotFit
from policies.models.pictures import Pictures
from streams.clock import MS
from streams.devices.jpeg import jpeg_size
from streams.devices.robot_camera import LIMIT, decoded
from streams.errors import SourceError
from streams.types import Image

SIDE = 2048
NO_CAMERA = "needs to see ({}), and there is no camera: --robot-camera, or --camera 0"


class Seen(NamedTuple):
    """A picture. t: session time (ns) of its taking, as far as that is known here"""

    image: Image
    t: int


class Eyes:
    """Where the pictures of one policy come from: the session's camera, or channels of the robot's telemetry.

    telemetry: of a channel, with the session time at which it was heard; None if nothing was
    camera: the session's own; None if it has none
    stale: how often there was a picture, but one too old;  malformed: messages that were no picture
    """

    def __init__(self, spec: ChunkSpec, telemetry: Callable[[str], tuple[Telemetry, int] | None]) -> None:
        self.camera: Pictures | None = None
        self.stale = self.malformed = 0
        self._spec, self._telemetry = spec, telemetry
        self._last: dict[str, tuple[Telemetry, Image | None]] = {}  # by channel: what was decoded, and its picture

    def missing(self) -> str:
        """What the policy lacks here whatever comes, for the middle of a sentence; "" if nothing."""
        wants = [feature for feature, each in self._spec.pictures.items() if not each.channel]
        return NO_CAMERA.format(", ".join(wants)) if wants and self.camera is None else ""

    def look(self, now: int) -> dict[str, Seen] | str:
        """By feature, the newest pictures; or why one of them cannot be had, in a sentence."""
        found: dict[str, Seen] = {}
        for feature, each in self._spec.pictures.items():
            seen = self._heard(each.channel) if each.channel else self._taken()
            if seen is None:
                return f"no picture has come for {feature}"
            age = now - seen.t
            if age > each.oldest_ms * MS:
                self.stale += 1
                return f"the newest picture for {feature} is {age / 1e9:.1f} s old; {each.oldest_ms:g} ms are allowed"
            found[feature] = seen
        return found

    def _taken(self) -> Seen | None:
        newest = None if self.camera is None else self.camera.newest
        return None if newest is None else Seen(newest.data, newest.t)

    def _heard(self, channel: str) -> Seen | None:
        found = self._telemetry(channel)
        if found is None:
            return None
        told, at = found
        last = self._last.get(channel)
        if last is None or last[0] is not told:
            last = self._last[channel] = told, picture(told.values)
            self.malformed += last[1] is None
        return None if last[1] is None else Seen(last[1], at)


def picture(values: Mapping[str, Any]) -> Image | None:
    """The JPEG of a message of telemetry, whose head alone was looked at; None if it is something else."""
    data = decoded(values.get("jpeg"), LIMIT)
    if data is None:
        return None
    try:
        width, height = jpeg_size(data)
    except SourceError:
        return None
    return Image(data, "jpeg", width, height) if max(width, height) <= SIDE else None


def fits(spec: ChunkSpec, sheet: Factsheet) -> None:
    """Raises `DoesNotFit` for a policy that looks through cameras which robot and session together do not have."""
    own = [feature for feature, each in spec.pictures.items() if not each.channel]
    if len(own) > 1:
        raise DoesNotFit(
            f"{spec.name} looks at {', '.join(own)}, and a session has one camera: name the channels of the robot's "
            "other cameras in its policy.json."
        )
    channels = {eye.channel for eye in media(sheet).eyes if eye.channel}
    for feature, each in spec.pictures.items():
        if each.channel and each.channel not in channels:
            has = ", ".join(sorted(channels)) or "none"
            raise DoesNotFit(
                f"{spec.name} observes {feature} on the channel {each.channel!r}; of cameras this robot sends {has}."
            )


def check(specs: Sequence[ChunkSpec], *, camera: bool) -> None:
    """Raises `ConfigError` if one of them needs the session's camera and there will be none."""
    for spec in specs:
        own = [feature for feature, each in spec.pictures.items() if not each.channel]
        if own and not camera:
            raise ConfigError(f"--skill: {spec.name} {NO_CAMERA.format(', '.join(own))}")


def own_camera(arguments: argparse.Namespace) -> str:
    """The camera of this machine that a live session would open, "" = none: of `--camera`, the settings, or last time.

    Raises `ConfigError` as `visavis live` does.
    """
    chosen = {name: value for name in remembered.KEYS if (value := getattr(arguments, name)) is not None}
    return remembered.configured(arguments, chosen).camera.source

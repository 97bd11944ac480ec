"""What a strange robot says of itself, read by a mapping into `Sensed`. What cannot be read is unknown: no error."""

import math
from typing import Any

from embodied.node.adapters.mapping import MISSING, Inlet, Source, number, walk
from embodied.robot.decisions import Sensed, Velocity

_MODES = ("automatic", "manual", "teach", "charging", "service")
_ERRORS_MAX = 10


class Readings:
    """The newest value of each channel. unread: how many values had another form than the mapping says"""

    def __init__(self, inlets: tuple[Inlet, ...]) -> None:
        self._inlets = {inlet.topic: _sources(inlet) for inlet in inlets}
        self._values: dict[str, Any] = {}
        self.heard: int | None = None
        self.placed: int | None = None
        self.unread = 0

    def take(self, topic: str, body: Any, now: int) -> bool:
        """Read a decoded message; whether its topic is one of the mapping. now: ns, when it came"""
        sources = self._inlets.get(topic)
        if sources is None:
            return False
        self.heard = now
        for channel, source in sources.items():
            if source.given and walk(body, source.given) is not True:
                self._values.pop(channel, None)
                continue
            found = walk(body, source.path)
            if found is MISSING:
                continue
            made = _made(channel, found, source)
            if made is None:
                self.unread += 1
                if channel == "hardware_stop":
                    made = True  # what says something else than that all is well is no reason to drive
                else:
                    self._values.pop(channel, None)
                    continue
            self._values[channel] = made
            if channel.startswith("pose."):
                self.placed = now
        return True

    def forget(self) -> None:
        """What was known counts no more: the robot is not there."""
        self._values.clear()
        self.placed = None

    def sensed(self, *, errors: tuple[str, ...] = ()) -> Sensed:
        """All of it. errors: of the adapter's own, which come first"""
        get = self._values.get
        yaw = get("pose.yaw", get("pose.orientation"))
        x, y = get("pose.x"), get("pose.y")
        pose = None if x is None or y is None or yaw is None else (x, y, yaw)
        return Sensed(
            odom_t=None if pose is None else self.placed, pose=pose,
            velocity=Velocity(get("velocity.vx", 0.0), get("velocity.vy", 0.0), get("velocity.wz", 0.0)),
            bumper=get("bumper", ""), near_people=get("near_people", False),
            joints={name[7:]: value for name, value in self._values.items() if name.startswith("joints.")},
            mode=get("mode", "automatic"), hardware_stop=get("hardware_stop", False), battery=get("battery"),
            errors=(*errors, *get("errors", ()))[:_ERRORS_MAX],
        )  # fmt: skip


def _sources(inlet: Inlet) -> dict[str, Source]:
    return {channel: Source(each) if isinstance(each, str) else each for channel, each in inlet.read.items()}


def _made(channel: str, value: Any, source: Source) -> Any:
    """`value` as `channel` wants it, or None if it is nothing of the kind."""
    if source.values:
        word = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool | int) else None
        value = source.values.get(word) if word is not None else None
    if channel == "errors":
        return _texts(value)
    if channel == "mode":
        return value if value in _MODES else None
    if channel in ("hardware_stop", "near_people"):
        return value if isinstance(value, bool) else None
    if channel == "bumper":
        return (
            value
            if value in ("", "front", "rear", "any")
            else "any"
            if value is True
            else ""
            if value is False
            else None
        )
    if channel == "pose.orientation":
        return _yaw(value)
    made = number(value, source)
    if made is not None and channel == "pose.yaw":
        return math.remainder(made, math.tau)
    return None if made is None or (channel == "battery" and not 0 <= made <= 1) else made


def _texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value[:200],) if value else ()
    if isinstance(value, list):
        return tuple(each[:200] for each in value if isinstance(each, str))[:_ERRORS_MAX]
    return None


def _yaw(value: Any) -> float | None:
    """Of a quaternion {x, y, z, w}: the turn about z."""
    parts = [number(walk(value, name), Source("")) for name in "xyzw"]
    if any(part is None for part in parts):
        return None
    x, y, z, w = (float(part) for part in parts if part is not None)
    length = math.hypot(x, y, z, w)
    if not 0.5 < length < 2.0:
        return None
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

"""What a driver's `sense` gave, looked at before the guards see it: nothing checks a `Sensed` when it is made."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, get_args

import numpy as np
from msgspec import structs

from embodied.robot.decisions import Scan, Sensed, Velocity

_CHOICES: dict[str, tuple[str, ...]] = {
    each.name: get_args(each.type) for each in structs.fields(Sensed) if each.name in ("bumper", "mode")
}


class Checked(NamedTuple):
    """What can be trusted of it, and what is wrong with the sensors, in words."""

    sensed: Sensed
    faults: tuple[str, ...]


def checked(given: Any) -> Checked:
    """`given` with plain Python types, or why it is none: raises `TypeError` for a driver's mistake, naming the field.

    A mistake is a field of another type or length, and a speed that is not finite. A pose, a joint or a battery that is
    not finite is a sensor's fault: it is left out, and without its pose the robot has no odometry at all.
    """
    if not isinstance(given, Sensed):
        raise TypeError(f"sense gave {_shown(given)}: a Sensed is needed")
    faults: list[str] = []
    odom_t = given.odom_t
    pose: Any = given.pose
    if odom_t is not None:
        odom_t = _instant("odom_t", odom_t)
    if pose is not None:
        if not isinstance(pose, tuple | list | np.ndarray) or len(pose) != 3:
            _wrong("pose", pose, "x, y and yaw are needed, or None")
        x, y, yaw = (_number("pose", each) for each in pose)
        pose = (x, y, yaw)
        if not all(map(math.isfinite, pose)):
            faults.append(f"the pose is not finite: {pose}")
            odom_t = pose = None
    battery = None if given.battery is None else _number("battery", given.battery)
    if battery is not None and not math.isfinite(battery):
        faults.append(f"the battery is not finite: {battery}")
        battery = None
    sensed = Sensed(
        odom_t, pose, _velocity(given.velocity), _scan(given.scan), _choice("bumper", given.bumper),
        _flag("near_people", given.near_people), _joints(given.joints, faults), _choice("mode", given.mode),
        _flag("hardware_stop", given.hardware_stop), battery, _texts(given.errors),
    )  # fmt: skip
    return Checked(sensed, tuple(faults))


def _velocity(given: Any) -> Velocity:
    if not isinstance(given, Velocity):
        _wrong("velocity", given, "a Velocity is needed")
    made = Velocity(_number("velocity", given.vx), _number("velocity", given.vy), _number("velocity", given.wz))
    if not (math.isfinite(made.vx) and math.isfinite(made.vy) and math.isfinite(made.wz)):
        _wrong("velocity", given, "finite numbers are needed")
    return made


def _scan(given: Any) -> Scan | None:
    if given is None:
        return None
    if not isinstance(given, Scan):
        _wrong("scan", given, "a Scan is needed, or None")
    first, step = _number("scan.first_rad", given.first_rad), _number("scan.step_rad", given.step_rad)
    if not (math.isfinite(first) and math.isfinite(step)):
        _wrong("scan", (first, step), "angles that are finite are needed")
    ranges: Any = given.ranges
    if not isinstance(ranges, Iterable):
        _wrong("scan.ranges", ranges, "distances in a tuple are needed")
    plain = tuple(far if type(far) is float else _number("scan.ranges", far) for far in ranges)
    return Scan(_instant("scan.t", given.t), first, step, plain)


def _joints(given: Any, faults: list[str]) -> dict[str, float]:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        _wrong("joints", given, "a dict of names and positions is needed")
    found = {name: _number(f"joints[{name!r}]", at) for name, at in given.items()}
    if lost := [name for name, at in found.items() if not math.isfinite(at)]:
        faults.append(f"positions of joints are not finite: {', '.join(lost)}")
    return {name: at for name, at in found.items() if math.isfinite(at)}


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, tuple | list) or not all(isinstance(each, str) for each in given):
        _wrong("errors", given, "a tuple of str is needed")
    return tuple(given)


def _number(field: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        _wrong(field, given, "a number is needed")
    return float(given)


def _instant(field: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, Integral):
        _wrong(field, given, "ns of the clock are needed, as an int")
    return int(given)


def _flag(field: str, given: Any) -> bool:
    if not isinstance(given, Integral | np.bool_):  # a pin that is read gives 0 or 1
        _wrong(field, given, "True or False is needed")
    return bool(given)


def _choice(field: str, given: Any) -> Any:
    if not isinstance(given, str) or given not in _CHOICES[field]:
        _wrong(field, given, f"one of {', '.join(map(repr, _CHOICES[field]))} is needed")
    return given


def _wrong(field: str, given: Any, needed: str) -> NoReturn:
    raise TypeError(f"sense gave {field}={_shown(given)}: {needed}")


def _shown(given: Any) -> str:
    shown = repr(given)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."

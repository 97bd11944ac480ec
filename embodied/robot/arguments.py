"""Arguments against the schema and the limits: the same questions on both sides of the network."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from embodied.robot.decisions import Sensed
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.fences import allowed
from embodied.robot.params import Params
from embodied.robot.vocabulary import Reason

_NEAR = 1e-9


class Refusal(NamedTuple):
    """guard: which said no;  reason: of the closed list;  detail: in words"""

    guard: str
    reason: Reason
    detail: str


class Arguments:
    """The checks of all capabilities of one factsheet."""

    def __init__(self, factsheet: Factsheet, params: Mapping[str, Params]) -> None:
        self._factsheet, self._params = factsheet, params

    def refusal(self, args: dict[str, Any], capability: Capability, sensed: Sensed) -> Refusal | None:
        """None if a guard has nothing against `args`. What a stream exceeds is clamped later, not refused."""
        only_bound, wrong = self._params[capability.name].wrong(args)
        if wrong and not (only_bound and capability.kind == "stream"):  # a stream's speed is clamped, not refused
            return Refusal("limits" if only_bound else "schema", "limit" if only_bound else "schema", wrong)
        if capability.kind == "goal":
            return self._quantities(args, capability, sensed)
        return None

    def _quantities(self, args: dict[str, Any], capability: Capability, sensed: Sensed) -> Refusal | None:
        limits = self._factsheet.limits
        speed = min(limits.v_max, limits.v_near) if sensed.near_people else limits.v_max
        most = {
            "speed": speed, "vx": speed, "vy": speed, "wz": limits.w_max, "turn_rate": limits.w_max,
            "distance": limits.distance_max_m, "duration": capability.timeout_s,
        }  # fmt: skip
        meant: dict[str, Any] = {}
        for name, quantity in capability.quantities.items():
            if name not in args:
                continue
            value = meant[quantity] = args[name]
            if quantity == "joints":
                if found := self._joints(name, value):
                    return found
            elif not isinstance(value, int | float) or not math.isfinite(value):
                return Refusal("schema", "schema", f"args.{name} is not a finite number")
            elif quantity in most and abs(value) > most[quantity] + _NEAR:
                return Refusal("limits", "limit", f"args.{name} = {value} is beyond {most[quantity]:g}")
        return self._fence(meant, sensed)

    def _joints(self, name: str, value: Any) -> Refusal | None:
        joints = self._factsheet.limits.joints
        named = value if isinstance(value, dict) else dict(zip(joints, value)) if isinstance(value, list) else None
        if named is None or (isinstance(value, list) and len(value) != len(joints)):
            return Refusal("schema", "schema", f"args.{name} is neither an object of joints nor one number for each")
        for joint, at in named.items():
            limits = joints.get(joint)
            if limits is None or not isinstance(at, int | float) or not math.isfinite(at):
                return Refusal("schema", "schema", f"args.{name}.{joint} is no joint, or no finite number")
            if not limits.min <= at <= limits.max:
                return Refusal("limits", "limit", f"args.{name}.{joint} = {at} is outside {limits.min} to {limits.max}")
        return None

    def _fence(self, meant: dict[str, Any], sensed: Sensed) -> Refusal | None:
        fence = self._factsheet.limits.geofence
        if fence is None:
            return None
        target: tuple[float, float] | None = None
        if "x" in meant and "y" in meant:
            target = (meant["x"], meant["y"])
        elif "distance" in meant and sensed.pose is not None:
            x, y, yaw = sensed.pose
            target = (x + meant["distance"] * math.cos(yaw), y + meant["distance"] * math.sin(yaw))
        if target is not None and not allowed(target, fence, fence.margin_m + self._factsheet.limits.radius_m):
            return Refusal("geofence", "geofence", f"({target[0]:.2f}, {target[1]:.2f}) is not inside the fence")
        return None

"""What a robot can be asked to do for a trial, read from its factsheet: little, gently, and within its limits."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.params import Params
from embodied.robot.vocabulary import RESERVED

_DISTANCE, _ANGLE = 0.3, 0.6  # m, rad: of a goal
_FAR, _ROUND = 0.8, 2.6  # the same, of one that has to last


class Errand(NamedTuple):
    """A goal with arguments. args: of this many m or rad, to one side (+1, -1)"""

    capability: Capability
    args: Callable[[float, int], dict[str, Any]]
    little: float
    much: float


class Means:
    """speed: of the base in trials, m/s."""

    def __init__(self, factsheet: Factsheet, speed: float) -> None:
        self.factsheet = factsheet
        self.speed = min(speed, factsheet.limits.v_max)
        self.stream = self._stream()
        self.errand = self._errand()
        self.instant = self._instant()

    def drive(self, speed: float) -> dict[str, Any]:
        """Arguments of the base's stream for going straight at `speed` m/s."""
        if self.stream is None:
            return {}
        names = {quantity: name for name, quantity in self.stream.quantities.items()}
        args: dict[str, Any] = dict.fromkeys(self.stream.params.get("required", ()), 0.0)
        return {**args, names["vx"]: speed}

    def _stream(self) -> Capability | None:
        for each in self.factsheet.capabilities:
            if each.kind == "stream" and "vx" in each.quantities.values() and not each.action_features:
                return each
        return None

    def _errand(self) -> Errand | None:
        """The gentlest goal: one that turns on the spot before one that goes somewhere."""
        found: list[tuple[tuple[int, int], Errand]] = []
        for each in self.factsheet.capabilities:
            if each.kind != "goal" or each.risk > 2 or each.confirm == "always":
                continue
            for place, (quantity, little, much) in enumerate(
                (("angle", _ANGLE, _ROUND), ("distance", _DISTANCE, _FAR), ("joints", 0.1, 0.4))
            ):
                name = next((n for n, q in each.quantities.items() if q == quantity), None)
                if name is not None and (errand := self._with(each, name, quantity, little, much)) is not None:
                    found.append(((place, each.risk), errand))
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def _with(self, each: Capability, name: str, quantity: str, little: float, much: float) -> Errand | None:
        properties = each.params.get("properties", {})
        schema = properties.get(name, {})
        others = {n: _plain(properties.get(n, {})) for n in each.params.get("required", ()) if n != name}
        if None in others.values():
            return None
        joints = self.factsheet.limits.joints

        def args(size: float, side: int) -> dict[str, Any]:
            if quantity == "joints":
                # Towards the middle of each joint's range: always allowed, from wherever it is.
                values: Any = {n: (j.min + j.max) / 2 + side * size * min(1.0, j.max - j.min) / 2
                               for n, j in joints.items()}  # fmt: skip
                return {**others, name: list(values.values()) if schema.get("type") == "array" else values}
            most = min(schema.get("maximum", math.inf), self.factsheet.limits.distance_max_m)
            least = schema.get("minimum", -math.inf)
            value = side * size if least < 0 else max(size, least)
            return {**others, name: min(value, most)}

        if Params(each.params, each.name, strict=False).wrong(args(little, 1))[1]:
            return None
        return Errand(each, args, little, much)

    def _instant(self) -> tuple[Capability, dict[str, Any]] | None:
        """Something that is done at once and cannot harm."""
        for each in self.factsheet.capabilities:
            if each.kind != "instant" or each.risk or each.name in RESERVED:
                continue
            properties = each.params.get("properties", {})
            args = {name: _plain(properties.get(name, {})) for name in each.params.get("required", ())}
            if None not in args.values() and not Params(each.params, each.name, strict=False).wrong(args)[1]:
                return each, args
        return None


def _plain(schema: dict[str, Any]) -> Any:
    """A harmless value for an argument that is needed; None if there is none to be sure of."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "boolean":
            return False
        case "number" | "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 0)
            return min(max(0, low), high) if high >= low else low
        case "string":
            return "x" if schema.get("minLength", 0) <= 1 else None
    return None

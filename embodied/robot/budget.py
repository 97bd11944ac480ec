"""How much a model may set in motion for one turn of a person: a runaway plan ends here, at the agent."""

import math
from typing import Any

from msgspec import Struct

from embodied.robot.factsheet import Capability
from embodied.robot.vocabulary import SECOND


class PlanLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """For each turn of a person: metres in all, seconds from the first motion on, and motions."""

    distance_m: float = 5.0
    seconds: float = 60.0
    goals: int = 5


class Budget:
    """What is left of the present turn's plan."""

    def __init__(self, limits: PlanLimits | None = None) -> None:
        self.limits = limits or PlanLimits()
        self._turn = ""
        self._metres = 0.0
        self._goals = 0
        self._began: int | None = None

    def take(
        self, turn: str, capability: Capability, args: dict[str, Any], at: tuple[float, float] | None, now: int
    ) -> str:
        """Count a goal of `turn`; or say, in words, why it is too much: then nothing is counted. at: x, y of it"""
        if turn != self._turn:
            self._turn, self._metres, self._goals, self._began = turn, 0.0, 0, None
        metres = self._metres + abs(_metres(capability, args, at))
        if self._goals + 1 > self.limits.goals:
            return f"that is more than {self.limits.goals} motions for one wish; ask the person before going on"
        if not metres <= self.limits.distance_m + 1e-9:
            return f"that is {metres:.1f} m for one wish, and {self.limits.distance_m:g} m are allowed; ask the person"
        if self._began is not None and now - self._began > self.limits.seconds * SECOND:
            return f"the plan is older than {self.limits.seconds:g} s; ask the person before going on"
        self._metres, self._goals = metres, self._goals + 1
        self._began = now if self._began is None else self._began
        return ""


def _metres(capability: Capability, args: dict[str, Any], at: tuple[float, float] | None) -> float:
    """How far a goal goes: told, or as the crow flies; a speed for a duration counts, too."""
    meant = {
        quantity: float(args[name])
        for name, quantity in capability.quantities.items()
        if quantity != "joints" and isinstance(args.get(name), int | float)
    }
    if "distance" in meant:
        return meant["distance"]
    if "x" in meant and "y" in meant:
        return math.dist(at, (meant["x"], meant["y"])) if at is not None else 0.0
    speed = meant.get("speed", meant.get("vx", 0.0))
    return speed * meant.get("duration", 0.0)

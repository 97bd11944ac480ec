"""Driving by hand: what a person holds down in a console becomes setpoints under a lease of rank "teleop".

The agent asks for its own lease at the higher rank, which ends what it was doing under the lower one; when the hand
lets go, it stands, and goes back to its rank. Whoever is of rank "teleop" or above already is not taken over.
"""

import math
from typing import Any, Protocol

from embodied.remote.leasing import Leasehold
from embodied.robot.arguments import Refusal
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.vocabulary import MS, RANKS, Rank, Source

EVERY = 50 * MS
TTL_MS = 250
"""Of each setpoint: what is fast may live for no longer."""
SILENCE = 500 * MS
"""Without news of the hand it has let go."""
VELOCITY = "base.velocity"


class SteerWire(Protocol):
    """What driving needs of the robot's client."""

    factsheet: Factsheet | None
    lease: Leasehold
    rank: Rank

    def setpoint(
        self, name: str, args: dict[str, Any], *, ttl_ms: int | None = None, source: Source = "policy"
    ) -> Refusal | None:  # fmt: skip
        """Send one."""

    def loud(self, error: str, message: str) -> None:
        """Tell a person."""

    def calm(self, message: str) -> None:
        """What was told is over."""


class Steering:
    """The hand of one robot. active: somebody has hold of it; goals of the agent have to wait."""

    def __init__(self, wire: SteerWire, where: str) -> None:
        self.active = False
        self._wire, self._where = wire, where
        self._wanted = (0.0, 0.0, 0.0)
        self._touched = self._next = self._began = 0
        self._before: Rank | None = None
        self._told = self._barred = False

    def steer(self, vx: float, vy: float, wz: float, now: int) -> None:
        """Drive so (m/s, m/s, rad/s) from now on, for half a second at most; all zero lets go. See `stop`, too."""
        if not all(map(math.isfinite, (vx, vy, wz))) or (vx, vy, wz) == (0.0, 0.0, 0.0):
            self.end(now)
            self._barred = False
            return
        held, self._touched = now - self._touched < SILENCE, now
        if self._barred and held:
            return
        self._barred = False
        if not self.active:
            self.active, self._began, self._next = True, now, now
            self._before = self._wire.lease.wanted
            self._wire.lease.want(_higher(self._wire.rank))
        self._wanted = vx, vy, wz
        self.step(now)

    def step(self, now: int) -> None:
        """Do what is due."""
        if not self.active:
            return
        if now - self._touched >= SILENCE:
            self.end(now)
        elif now >= self._next:
            self._next = now + EVERY
            why = self._why() or self._send(self._wanted)
            if why and not self._told and now - self._began >= SILENCE // 2:
                self._told = True
                self._wire.loud("SteerRefused", f"{self._where} cannot be driven by hand: {why}.")
            elif not why and self._told:
                self._told = False
                self._wire.calm(f"{self._where} can be driven by hand again.")

    def end(self, now: int) -> None:
        """Let go: it comes to rest, and the agent has its own rank again."""
        if not self.active:
            return
        self.active = False
        if self._wire.lease.held:
            self._send((0.0, 0.0, 0.0))
        self._wire.lease.want(self._before)

    def stop(self, now: int, *, held: bool = False) -> None:
        """It is being stopped: a hand that holds on moves nothing until it has let go. held: it does, as is told now"""
        if self.active or held:
            self._barred, self._touched = True, now
        self.end(now)

    def _why(self) -> str:
        if self._wire.factsheet is None:
            return "it has not been found"
        if stream_of(self._wire.factsheet) is None:
            return "it has no stream of velocities for its base"
        return "" if self._wire.lease.held else self._wire.lease.why or "the lease was not granted yet"

    def _send(self, wanted: tuple[float, float, float]) -> str:
        sheet = self._wire.factsheet
        stream = None if sheet is None else stream_of(sheet)
        if sheet is None or stream is None:
            return "it cannot be driven"
        refusal = self._wire.setpoint(stream.name, arguments(stream, sheet, wanted), ttl_ms=TTL_MS, source="operator")
        return "" if refusal is None else refusal.detail


def stream_of(factsheet: Factsheet) -> Capability | None:
    """The stream with which its base is driven."""
    found = [
        each
        for each in factsheet.capabilities
        if each.kind == "stream" and "base" in each.resources and {"vx", "vy", "wz"} & set(each.quantities.values())
    ]
    return next((each for each in found if each.name == VELOCITY), found[0] if found else None)


def arguments(stream: Capability, factsheet: Factsheet, wanted: tuple[float, float, float]) -> dict[str, Any]:
    """`wanted` as the stream's arguments, within the limits; the direction of driving stays as it is."""
    limits = factsheet.limits
    vx, vy, wz = wanted[0], wanted[1] if limits.holonomic else 0.0, wanted[2]
    speed = math.hypot(vx, vy)
    slower = min(1.0, limits.v_max / speed) if speed > 0 else 1.0
    meant = {"vx": vx * slower, "vy": vy * slower, "wz": max(-limits.w_max, min(limits.w_max, wz))}
    properties = stream.params.get("properties", {})
    made: dict[str, Any] = {}
    for name, quantity in stream.quantities.items():
        if quantity in meant and name in properties:
            low, high = properties[name].get("minimum", -math.inf), properties[name].get("maximum", math.inf)
            made[name] = round(max(low, min(high, meant[quantity])), 4)
    return made


def _higher(rank: Rank) -> Rank:
    return max(rank, "teleop", key=RANKS.index)

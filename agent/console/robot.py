"""Hands on a robot: what pages steer, and the stop that stays, told to the session as percepts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.console.protocol import ProtocolError, Steer
from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, Topic
from streams.types import Attached, Steered, StopPressed

SILENCE_NS = 500 * MS
"""Who steers and is not heard for so long has let go."""
LATE_NS = 300 * MS
"""A wish to steer that was under way for longer is not obeyed."""
BY = "console"
_TICK = 50 * MS


class _Hold(NamedTuple):
    """viewer: who steers;  at: when they were last heard (ns)"""

    viewer: int
    at: int


class Hands:
    """`streams.ports.Source` of `Steered`, and of `StopPressed` that latches: percepts, so that replays have them.

    One page at a time steers one robot, from its first wish that moves until it lets go: by a wish that is all zero,
    by leaving, by half a second of silence, or because a stop came. Then a zero is published, once. After a stop a
    page must let go before it can steer again: a key that is still held moves nothing.

    Never ends by itself; cancelling `run` ends it, and forgets who steered: the body is halted with its session.

    let_go: told (viewer, reason) when somebody's wish is not obeyed, and will not be until they let go
    """

    name = "hands"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, let_go: Callable[[int, str], None] = lambda viewer, reason: None) -> None:
        self._let_go = let_go
        self._out: tuple[Publisher, Clock] | None = None
        self._speeds: dict[str, tuple[float, float]] = {}  # by robot, the first first
        self._holds: dict[str, _Hold] = {}  # by robot
        self._barred: set[int] = set()  # viewers who must let go first

    def forget(self) -> None:
        """Another session: no robot is attached, and nobody steers."""
        self._speeds.clear()
        self._holds.clear()
        self._barred.clear()

    def attached(self, told: Attached) -> None:
        """A robot was found, or told of itself anew."""
        self._speeds[told.where] = told.speeds

    # --- what pages wish

    def steer(self, viewer: int, wish: Steer, late_ns: int = 0) -> None:
        """Somebody steers, held to the robot's own speeds. late_ns: how long that was under way

        Raises `ProtocolError`.
        """
        if not (wish.vx or wish.vy or wish.wz):
            self._barred.discard(viewer)
            self._rest(viewer)
            return
        if viewer in self._barred or late_ns > LATE_NS or self._out is None:
            return
        robot = wish.robot or next(iter(self._speeds), "")
        if robot not in self._speeds:
            raise ProtocolError(f'no robot "{wish.robot}" is attached: there is nothing to steer.')
        vx, vy, wz = held_to(wish, *self._speeds[robot])
        if not (vx or vy or wz):
            raise ProtocolError(f"{robot} cannot be steered so: {_within(*self._speeds[robot])}.")
        hold = self._holds.get(robot)
        if hold is not None and hold.viewer != viewer:
            self._bar(viewer, f"somebody else steers {robot} (viewer {hold.viewer})")
            return
        self._rest(viewer, but=robot)
        bus, clock = self._out
        self._holds[robot] = _Hold(viewer, clock.now())
        bus.publish(PERCEPT, clock.now(), Steered(vx, vy, wz, BY, robot))

    def left(self, viewer: int) -> None:
        """A page has gone: what it steered rests."""
        self._barred.discard(viewer)
        self._rest(viewer)

    def stop(self) -> None:
        """Somebody wants every robot stopped until an operator resets it."""
        if self._out is not None:
            bus, clock = self._out
            bus.publish(PERCEPT, clock.now(), StopPressed(BY, latch=True))

    def halted(self) -> None:
        """Everything was told to stop: whoever steers must let go, and press again."""
        for viewer in {hold.viewer for hold in self._holds.values()}:
            self._rest(viewer)
            self._bar(viewer, "everything was stopped")

    def _bar(self, viewer: int, reason: str) -> None:
        self._barred.add(viewer)
        self._let_go(viewer, reason)

    def _rest(self, viewer: int, but: str = "") -> None:
        """What `viewer` steers (but one) rests."""
        for robot in [robot for robot, hold in self._holds.items() if hold.viewer == viewer and robot != but]:
            del self._holds[robot]
            if self._out is not None:
                bus, clock = self._out
                bus.publish(PERCEPT, clock.now(), Steered(by=BY, robot=robot))

    # --- the source

    async def __aenter__(self) -> "Hands":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._out = None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what pages wish, until cancelled."""
        self._out = (bus, clock)
        try:
            while True:
                await clock.sleep_until(clock.now() + _TICK)
                silent = clock.now() - SILENCE_NS
                for viewer in {hold.viewer for hold in self._holds.values() if hold.at < silent}:
                    self._rest(viewer)
        finally:
            self._out = None
            self._holds.clear()


def held_to(wish: Steer, speed: float, turning: float) -> tuple[float, float, float]:
    """vx, vy, wz of `wish` within `speed` (m/s, of both together: the direction stays) and `turning` (rad/s)."""
    asked = math.hypot(wish.vx, wish.vy)
    share = min(1.0, speed / asked) if asked else 0.0
    return wish.vx * share, wish.vy * share, max(-turning, min(turning, wish.wz))


def _within(speed: float, turning: float) -> str:
    return f"its highest speeds are {speed:g} m/s and {turning:g} rad/s"

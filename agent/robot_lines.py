"""What robots do, told in lines from packets: for `agent.narration`. No terminal, no clock."""

import math
from typing import Any, NamedTuple

from msgspec import Struct

from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import Attached, BodyState, Halt, Outcome, Progress, Steered, Tripped

REST_MPS, REST_RADPS = 0.02, 0.05
"""A robot that is slower stands."""
STALE = SECOND
"""Of a robot that moves there is news several times a second: who had none for so long has missed some of its way."""


class RobotLine(NamedTuple):
    """text: what;  alarming: it must not be overlooked"""

    text: str
    alarming: bool = False


class _Robot(Struct):
    """What is known of one.

    gone (m), turned (rad): since it was attached;  halting: when it was told to stop, and gone by then
    gaps: how often it was not known where it is;  seen: when it was told last where it is, None while that is not known
    heard: it has been heard at all
    """

    told: Attached | None = None
    state: BodyState | None = None
    gone: float = 0.0
    turned: float = 0.0
    gaps: int = 0
    seen: int | None = None
    halting: tuple[int, float] | None = None
    heard: bool = False


class _Deed(Struct):
    """A command at a robot: how far the robot had gone and turned when it was sent, and its gaps by then."""

    where: str
    sent: int
    gone: float
    turned: float
    gaps: int
    state: str = ""
    progress: float | None = None


class RobotLines:
    """Feed it every packet of PERCEPT, ACTION and FEEDBACK; it returns what there is to tell, oldest first."""

    def __init__(self) -> None:
        self._robots: dict[str, _Robot] = {}
        self._deeds: dict[int, _Deed] = {}
        self._steered: dict[str, int] = {}  # by robot, since when

    def feed(self, packet: Packet[Any]) -> list[RobotLine]:
        """What this packet tells."""
        match packet.data:
            case Attached() as told:
                return self._attached(told)
            case BodyState() as state:
                return self._stands(state, packet.at)
            case Progress() as progress:
                return self._further(progress, packet.at)
            case Outcome(action="Command", id=number):
                self._deeds.pop(number, None)
            case Tripped() as trip:
                return [self._trip(trip)]
            case Steered() as hand:
                return self._by_hand(hand, packet.at)
            case Halt():
                for robot in self._robots.values():
                    if robot.state is not None and _moves(robot.state):
                        robot.halting = packet.at, robot.gone
        return []

    def share(self, number: int) -> str:
        """How far command `number` is, such as " 40 %"; "" if that is not known."""
        deed = self._deeds.get(number)
        return "" if deed is None or deed.progress is None else f" {deed.progress:.0%}"

    def how_far(self, outcome: Outcome, t: int) -> str:
        """How far its robot went for the command that ends at `t`, such as ", went 0.98 m, turned 90°".

        As the robot says; what it does not say, as it was seen; "" if it was not seen all the way.
        """
        deed = self._deeds.get(outcome.id)
        if deed is None:
            return ""
        robot = self._robot(deed.where)
        gone, turned = (_told(outcome.result, name) for name in ("distance_m", "angle_rad"))
        if robot.gaps == deed.gaps and not _missed(robot, robot.state, t):
            gone = robot.gone - deed.gone if gone is None else gone
            turned = robot.turned - deed.turned if turned is None else turned
        gone, turned = abs(gone or 0.0), math.degrees(turned or 0.0)
        parts = [f"went {gone:.2f} m"] * (gone >= 0.01) + [f"turned {turned:.0f}°"] * (abs(turned) >= 2)
        return "".join(f", {part}" for part in parts)

    def _robot(self, where: str) -> _Robot:
        return self._robots.setdefault(where, _Robot())

    def _attached(self, told: Attached) -> list[RobotLine]:
        robot = self._robot(told.where)
        before, robot.told = robot.told, told
        if told == before:
            return []
        speed, turning = told.speeds
        parts = [told.model, told.kind.replace("_", " ")]
        if speed or turning:
            parts.append(f"up to {speed:g} m/s and {turning:g} rad/s")
        if told.fence:
            parts.append("inside a fence")
        what = ", ".join(part for part in parts if part)
        return [RobotLine(f"{told.where} {'attached' if before is None else 'has changed'}{what and f': {what}'}")]

    def _stands(self, state: BodyState, t: int) -> list[RobotLine]:
        robot = self._robot(state.where)
        before, robot.state = robot.state, state
        self._count(robot, before, state, t)
        lines = []
        heard, robot.heard = robot.heard, robot.heard or state.link == "heard"
        if heard and before is not None and state.link != before.link:  # at first it is not heard yet
            lines.append(_LINKS[state.link](state.where))
        if state.estop != ("none" if before is None else before.estop):
            if state.estop == "latched":
                lines.append(RobotLine(f"{state.where}: STOP LATCHED, until an operator resets it", True))
            else:
                lines.append(RobotLine(f"{state.where}: the stop is reset, it may move again"))
        lines += [
            RobotLine(f"{state.where}: {error}", True)
            for error in state.errors
            if before is None or error not in before.errors
        ]
        if before is not None and state.mode != before.mode:
            lines.append(RobotLine(f"{state.where}: mode {state.mode}"))
        if robot.halting is not None and state.link == "heard" and not _moves(state):
            since, gone = robot.halting
            robot.halting = None
            rolled = (robot.gone - gone) * 100
            lines.append(
                RobotLine(f"{state.where} stands {_s(t - since)} after it was stopped, {rolled:.0f} cm further")
            )
        return lines

    def _count(self, robot: _Robot, before: BodyState | None, state: BodyState, t: int) -> None:
        if state.pose is None or _missed(robot, before, t):
            robot.gaps += 1
        robot.seen = None if state.pose is None else t
        if before is None or before.pose is None or state.pose is None:
            return
        (ax, ay, ah), (bx, by, bh) = before.pose, state.pose
        gone, turned = math.hypot(bx - ax, by - ay), bh - ah
        if math.isfinite(gone) and math.isfinite(turned):
            robot.gone += gone
            robot.turned += math.remainder(turned, math.tau)

    def _further(self, progress: Progress, t: int) -> list[RobotLine]:
        deed = self._deeds.get(progress.id)
        if deed is None:
            robot = self._robot(progress.where)
            deed = self._deeds[progress.id] = _Deed(progress.where, t, robot.gone, robot.turned, robot.gaps)
            if robot.seen is None:
                deed.gaps = -1  # it is not known from where it begins
        before, deed.state = deed.state, progress.state
        deed.progress = deed.progress if progress.progress is None else progress.progress
        if progress.state == before:
            return []
        why = f" ({progress.detail})" if progress.detail else ""
        match progress.state:
            case "sent":
                return [RobotLine(f"{progress.name}: sent to {progress.where}{why}")]
            case "accepted":
                after = f", {(t - deed.sent) / MS:.0f} ms after it was sent" if before == "sent" else ""
                return [RobotLine(f"{progress.name}: {progress.where} accepts it{after}{why}")]
            case "running" if before == "paused":
                return [RobotLine(f"{progress.name}: {progress.where} goes on{why}")]
            case "paused":
                return [RobotLine(f"{progress.name}: {progress.where} pauses it{why}")]
        return []

    def _trip(self, trip: Tripped) -> RobotLine:
        what = ": ".join(part for part in (trip.reason.replace("_", " "), trip.detail) if part and part != trip.guard)
        count = f" ({trip.count} times)" if trip.count > 1 else ""
        guard = trip.guard.replace("_", " ")
        return RobotLine(f"{trip.where}: guard {guard}{what and f', {what}'}{count}", trip.level != "info")

    def _by_hand(self, hand: Steered, t: int) -> list[RobotLine]:
        name = hand.robot or "the robot"
        if hand.vx or hand.vy or hand.wz:
            if hand.robot in self._steered:
                return []
            self._steered[hand.robot] = t
            return [RobotLine(f"{name} is steered by hand ({hand.by})")]
        since = self._steered.pop(hand.robot, None)
        return [] if since is None else [RobotLine(f"{name} is let go of, after {_s(t - since)}")]


_LINKS = {
    "heard": lambda where: RobotLine(f"{where} is heard again"),
    "suspended": lambda where: RobotLine(f"{where} has not been heard for half a second"),
    "unknown": lambda where: RobotLine(f"{where} is LOST: what became of its commands is unknown", True),
}


def _moves(state: BodyState) -> bool:
    return abs(state.speed[0]) > REST_MPS or abs(state.speed[1]) > REST_RADPS


def _missed(robot: _Robot, last: BodyState | None, t: int) -> bool:
    """Whether it moved when it was told of last, and that is long ago; or it was not heard any more."""
    if last is None or robot.seen is None:
        return True
    return last.link == "unknown" or (_moves(last) and t - robot.seen > STALE)


def _told(result: Any, name: str) -> float | None:
    """A number out of what a robot says of its motion."""
    value = result.get(name) if isinstance(result, dict) else None
    if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
        return None
    return float(value)


def _s(ns: int) -> str:
    return f"{ns / SECOND:.2f} s"

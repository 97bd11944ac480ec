"""Ready-made goals: for any base with odometry, and for arms. A driver's `perform` only has to call them.

Speeds rise and fall at `a_max`, from the speed there is: so a goal that takes over from another turns round without a
jerk. The speed towards an end is √(2·b·left), that from which a deceleration of b still stops in time, and 4/s·left
close to it, which lands softly (as in the position loops of servo drives).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from embodied.node.driver import Task, TaskFailed
from embodied.node.profile import Profile
from embodied.node.speaker import Speaker
from embodied.robot.decisions import Velocity
from embodied.robot.factsheet import Limits

STEP_S = 0.02
GAIN = 4.0  # 1/s, close to the end
ARM_GAIN = 10.0
EASE = 0.5  # of the acceleration allowed, for slowing down: then the soft landing never needs more than all of it
DELAY_S = 0.06  # from a wish to the odometry that tells of it
NEAR_M, NEAR_RAD, LANDED_RAD = 0.005, 0.01, 0.002
BLOCKED_S, MOVED = 2.0, 0.01  # no nearer for so long, by so much (m, rad): something is in the way
GRIPPER, GRIP_S = "gripper", 3
AIMED = 0.25  # rad; further off the way, a base turns on the spot first


class Base:
    """Goals of a base that turns on the spot. home: where "come_back" leads

    cruise, spin: of the highest speeds, how much goals use. Every goal's result is what was really gone:
    {"distance_m", "angle_rad", "x_m", "y_m", "heading_rad"}, also when it is cancelled.
    Raises `TaskFailed`: "obstacle" (it gets no further), "hardware" (no odometry).
    """

    def __init__(
        self, limits: Limits, *, home: tuple[float, float, float] = (0.0, 0.0, 0.0), cruise: float = 0.8,
        spin: float = 0.7,
    ) -> None:  # fmt: skip
        self.home = home
        self._v, self._w = limits.v_max * cruise, limits.w_max * spin
        self._a, self._alpha = limits.a_max, limits.alpha_max

    async def perform(self, task: Task) -> Any:
        """The goals named move, turn, come_back and nav.goto. Raises `TaskFailed` for another."""
        args = task.command.args
        match task.command.name:
            case "move":
                return await self.move(task, args["distance_m"])
            case "turn":
                return await self.turn(task, args["angle_rad"])
            case "come_back":
                return await self.go(task, *self.home)
            case "nav.goto":
                return await self.go(task, args["x"], args["y"], args.get("yaw"))
            case name:
                raise TaskFailed("unknown_capability", f"this driver has no way to {name}")

    async def move(self, task: Task, distance_m: float) -> Any:
        """Straight on, backward if negative."""
        trip = _Trip(task)
        await self._straight(trip, distance_m, 0.0, 1.0)
        return await self._rest(trip)

    async def turn(self, task: Task, angle_rad: float) -> Any:
        """On the spot, to the left if positive; more than once round if it is that much."""
        trip = _Trip(task)
        await self._spin(trip, angle_rad, 0.0, 1.0)
        return await self._rest(trip)

    async def go(self, task: Task, x: float, y: float, yaw: float | None = None) -> Any:
        """To a place: towards it, straight on, and to `yaw` if there is one."""
        trip = _Trip(task)
        far = math.hypot(x - trip.pose[0], y - trip.pose[1])
        if far > 2 * NEAR_M:
            for fraction in (0.1, 0.7):  # a second look, for odometry has been at work
                bearing = math.atan2(y - trip.pose[1], x - trip.pose[0])
                await self._spin(trip, wrapped(bearing - trip.pose[2]), fraction - 0.1, fraction)
                if abs(wrapped(bearing - trip.pose[2])) < AIMED:
                    break
            left = math.hypot(x - trip.pose[0], y - trip.pose[1])
            await self._straight(trip, left, 0.1, 0.9, (x, y))
        if yaw is not None:
            await self._spin(trip, wrapped(yaw - trip.pose[2]), 0.9, 1.0)
        return await self._rest(trip)

    async def _straight(
        self, trip: "_Trip", way: float, begin: float, end: float, towards: tuple[float, float] | None = None
    ) -> None:
        heading, start = trip.pose[2], trip.pose
        patience = _Patience()
        while True:
            x, y, yaw = trip.pose
            if towards is None:
                gone = (x - start[0]) * math.cos(heading) + (y - start[1]) * math.sin(heading)
                left = way - gone
            else:
                dx, dy = towards[0] - x, towards[1] - y
                left = dx * math.cos(yaw) + dy * math.sin(yaw)
                if math.hypot(dx, dy) > 0.1:  # steer on it; close by the bearing says nothing any more
                    heading = math.atan2(dy, dx)
            driven = trip.task.driven
            if abs(left) < NEAR_M and abs(trip.task.sensed.velocity.vx) < 0.05:
                return
            vx = ramp(driven.vx, speed(left - driven.vx * DELAY_S, self._v, self._a), self._a)
            wz = max(-self._w / 2, min(self._w / 2, 2.0 * wrapped(heading - yaw)))
            trip.task.drive(Velocity(vx=vx, wz=ramp(driven.wz, wz, self._alpha)))
            trip.tell(begin + (end - begin) * (1 - min(1.0, abs(left) / abs(way))) if way else end, {"left_m": left})
            patience.look(abs(left), trip)
            await trip.step()

    async def _spin(self, trip: "_Trip", angle: float, begin: float, end: float) -> None:
        start = trip.turned
        patience = _Patience()
        while True:
            left = angle - (trip.turned - start)
            driven = trip.task.driven
            if abs(left) < NEAR_RAD and abs(trip.task.sensed.velocity.wz) < 0.1:
                return
            wz = ramp(driven.wz, speed(left - driven.wz * DELAY_S, self._w, self._alpha), self._alpha)
            trip.task.drive(Velocity(vx=ramp(driven.vx, 0.0, self._a), wz=wz))
            fraction = begin + (end - begin) * (1 - min(1.0, abs(left) / abs(angle))) if angle else end
            trip.tell(fraction, {"left_rad": left})
            patience.look(abs(left), trip)
            await trip.step()

    async def _rest(self, trip: "_Trip") -> Any:
        trip.task.drive(Velocity())
        while abs(trip.task.sensed.velocity.vx) > 0.01 or abs(trip.task.sensed.velocity.wz) > 0.02:
            await trip.step()
        return trip.task.result


class _Trip:
    """What has been gone in one task. turned: rad, not wrapped"""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.pose = self._sensed()
        self.turned = self._way = 0.0
        self._note()

    def _sensed(self) -> tuple[float, float, float]:
        if self.task.sensed.pose is None:
            raise TaskFailed("hardware", "the robot does not know where it is", self.task.result)
        return self.task.sensed.pose

    def tell(self, fraction: float, feedback: Mapping[str, float]) -> None:
        """Progress, and how much is left."""
        self.task.progress(max(0.0, min(0.99, fraction)), {name: round(v, 3) for name, v in feedback.items()})

    async def step(self) -> None:
        """The next control step."""
        await self.task.step()
        x, y, yaw = self._sensed()
        middle = (yaw + self.pose[2]) / 2 if abs(yaw - self.pose[2]) < 1 else yaw
        self._way += (x - self.pose[0]) * math.cos(middle) + (y - self.pose[1]) * math.sin(middle)
        self.turned += wrapped(yaw - self.pose[2])
        self.pose = (x, y, yaw)
        self._note()

    def _note(self) -> None:
        x, y, yaw = self.pose
        told = {"distance_m": self._way, "angle_rad": self.turned, "x_m": x, "y_m": y, "heading_rad": yaw}
        self.task.result = {name: round(value, 4) for name, value in told.items()}


class _Patience:
    """Fails a goal that comes no nearer. Steps are counted, not time: while it is paused there are none."""

    def __init__(self) -> None:
        self._best = math.inf
        self._steps = 0

    def look(self, left: float, trip: _Trip) -> None:
        """`left` is what is left in this step."""
        self._steps += 1
        if left < self._best - MOVED or left < 2 * MOVED:
            self._best, self._steps = min(left, self._best), 0
        elif self._steps * STEP_S > BLOCKED_S:
            raise TaskFailed("obstacle", "something is in the way", trip.task.result)


class Arm:
    """Goals of an arm. home: positions of its joints (rad), which are all that it has

    pace: of the highest speeds, how much goals use. The result is {"joints": rad}, also when it is cancelled.
    Raises `TaskFailed`: "obstacle" (a joint does not follow), "hardware" (nobody knows where they are).
    """

    def __init__(self, limits: Limits, home: Mapping[str, float], *, pace: float = 0.8, settle_s: float = 0.3) -> None:
        self.home = dict(home)
        self._fastest = {name: limits.joints[name].v_max * pace for name in limits.joints}
        self._settle_s = settle_s

    async def perform(self, task: Task) -> Any:
        """The goals named arm.move_j {joint: rad} and arm.home. Raises `TaskFailed` for another."""
        match task.command.name:
            case "arm.move_j":
                return await self.move(task, {name: float(at) for name, at in task.command.args.items()})
            case "arm.home":
                return await self.move(task, self.home)
            case name:
                raise TaskFailed("unknown_capability", f"this driver has no way to {name}")

    async def move(self, task: Task, target: Mapping[str, float]) -> Any:
        """All joints of `target` to their places, so that they arrive together."""
        start = {name: task.posed.get(name, task.sensed.joints.get(name, math.nan)) for name in target}
        if not target or any(map(math.isnan, start.values())):
            raise TaskFailed("hardware", "it is not known where the joints are")
        ways = {name: abs(target[name] - start[name]) for name in target}
        slowest = max(ways[name] / self._fastest[name] for name in target)
        top = {name: max(ways[name] / slowest, 0.05) if slowest > 0 else 0.05 for name in target}
        waited = 0.0
        while True:
            at = {name: task.posed.get(name, start[name]) for name in target}
            aim = dict(target)
            for name in target:
                a = 4 * self._fastest[name]
                pace = task.speeds.get(name, 0.0)
                pace = ramp(pace, speed(target[name] - at[name] - pace * STEP_S, top[name], a, ARM_GAIN), a)
                if abs(target[name] - at[name]) > LANDED_RAD or abs(pace) > a * STEP_S:
                    aim[name] = at[name] + pace * STEP_S
            task.aim(aim)
            task.result = {"joints": {name: round(task.sensed.joints.get(name, 0.0), 4) for name in target}}
            left = sum(abs(target[name] - at[name]) for name in target)
            task.progress(max(0.0, min(0.99, 1 - left / max(sum(ways.values()), 1e-6))))
            if aim == target:
                off = max(abs(target[name] - task.sensed.joints.get(name, math.inf)) for name in target)
                if off < NEAR_RAD:
                    return task.result
                waited += STEP_S
                if waited > self._settle_s + BLOCKED_S:
                    raise TaskFailed("obstacle", "a joint does not follow", task.result)
            await task.step()


class Goals:
    """All of them, by their names: for a driver whose profile has the shipped capabilities.

    Options of the profile: `start` [x, y, yaw], where "come_back" leads;  `home` {joint: rad}, where "arm.home" does
    heard: told each word that the speaker has said;  lamp: on or not
    """

    def __init__(self, profile: Profile, *, heard: Callable[[str], None] = lambda word: None) -> None:
        limits = profile.factsheet.limits
        start, home = profile.options.get("start", (0.0, 0.0, 0.0)), dict(profile.options.get("home", {}))
        self.lamp = False
        self._base = Base(limits, home=(float(start[0]), float(start[1]), float(start[2])))
        rest = {name: min(max(0.0, j.min), j.max) for name, j in limits.joints.items() if name != GRIPPER}
        self._arm = Arm(limits, {**rest, **{name: float(at) for name, at in home.items() if name != GRIPPER}})
        self._gripper = limits.joints.get(GRIPPER)
        self._speaker = Speaker(heard)

    async def perform(self, task: Task) -> Any:
        """Carry out what its name says. Raises `TaskFailed`."""
        name, args = task.command.name, task.command.args
        if name == "say":
            return await self._speaker.say(task)
        if name == "lamp":
            self.lamp = bool(args["on"])
            return {"on": self.lamp}
        if name == GRIPPER:
            return await self._grip(task, bool(args["open"]))
        return await (self._arm.perform(task) if name.startswith("arm.") else self._base.perform(task))

    async def _grip(self, task: Task, wide: bool) -> Any:
        if self._gripper is None:
            raise TaskFailed("unknown_capability", "this robot has no gripper")
        target = self._gripper.max if wide else self._gripper.min
        waited = 0.0  # in steps: while it is paused there are none
        while abs(task.sensed.joints.get(GRIPPER, math.inf) - target) > 0.02:
            if waited > GRIP_S:
                raise TaskFailed("obstacle", "the gripper is held back", {"open": not wide})
            task.aim({GRIPPER: target})
            waited += STEP_S
            await task.step()
        return {"open": wide}


def speed(left: float, top: float, a: float, gain: float = GAIN) -> float:
    """The speed, at most `top`, from which what is `left` can be stopped in, gently at the end."""
    way = abs(left)
    return math.copysign(min(top, math.sqrt(2 * EASE * a * way), gain * way), left)


def ramp(now: float, aim: float, a: float) -> float:
    """The speed one step after `now` on the way to `aim`."""
    return now + max(-a * STEP_S, min(a * STEP_S, aim - now))


def wrapped(angle: float) -> float:
    """`angle` as -π to π."""
    return math.remainder(angle, 2 * math.pi)

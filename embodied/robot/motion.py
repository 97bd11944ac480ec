"""The last word on what the motors get: speeds and joint positions that change no faster than they may."""

import math
from collections.abc import Callable, Mapping

from embodied.robot.decisions import Velocity
from embodied.robot.factsheet import JointLimits, Limits, Workspace
from embodied.robot.vocabulary import SECOND

STEP_MAX = 0.1  # s; after a longer gap nothing speeds up by more than this long allows
_TINY = 1e-9

Reach = Callable[[Mapping[str, float]], tuple[float, float, float]]


class Mover:
    """The base's speed: it rises within `a_max` and `jerk_max`, falls within `brake`, and stays within `cap`."""

    def __init__(self, limits: Limits) -> None:
        self.now = Velocity()
        self._limits = limits
        self._a = 0.0

    def step(
        self, wanted: Velocity, cap: float, dt: float, *, brake: float = 0.0, alpha_brake: float = 0.0
    ) -> Velocity:
        """The speed after `dt` seconds on the way to `wanted`. cap: m/s, now allowed;  brake: if more than usual."""
        aim = clamped(wanted, self._limits, cap)
        vx, vy = self._translate(aim, dt, max(brake, self._limits.brake))
        alpha_brake = max(alpha_brake, self._limits.alpha_brake)
        wz = _approach(self.now.wz, aim.wz, self._limits.alpha_max * min(dt, STEP_MAX), alpha_brake * dt)
        self.now = Velocity(vx, vy, wz)
        return self.now

    def _translate(self, aim: Velocity, dt: float, brake: float) -> tuple[float, float]:
        vx, vy = self.now.vx, self.now.vy
        speed, wanted = math.hypot(vx, vy), math.hypot(aim.vx, aim.vy)
        ax, ay = aim.vx, aim.vy
        if vx * ax + vy * ay < 0:  # the other way: stand first
            ax = ay = wanted = 0.0
        if wanted <= speed:
            self._a = 0.0
            # First the speed, then, with what is left of it, the direction: together no more than it can brake.
            slower = max(wanted, speed - brake * dt)
            if wanted <= _TINY:
                return (vx / speed * slower, vy / speed * slower) if slower > 0 and speed > _TINY else (0.0, 0.0)
            scale = slower / speed if speed > _TINY else 0.0
            left = min(brake * dt - (speed - slower), self._limits.a_max * min(dt, STEP_MAX))
            return _toward((vx * scale, vy * scale), (ax, ay), left, slower)
        dt = min(dt, STEP_MAX)
        jerk = self._limits.jerk_max
        most = min(self._limits.a_max, self._a + jerk * dt) if jerk else self._limits.a_max
        new = _toward((vx, vy), (ax, ay), most * dt, wanted)
        self._a = max(0.0, math.hypot(*new) - speed) / dt if dt > 0 else 0.0
        return new


def clamped(wanted: Velocity, limits: Limits, cap: float) -> Velocity:
    """`wanted` within the limits: slower along the same curve, for speed and turning are scaled together."""
    vx, vy, wz = wanted.vx, wanted.vy if limits.holonomic else 0.0, wanted.wz
    cap = max(0.0, min(cap, limits.v_max))
    speed = math.hypot(vx, vy)
    if speed > cap:
        scale = cap / speed
        vx, vy = vx * scale, vy * scale
        wz = wz * scale if cap > 0 else wz
    if abs(wz) > limits.w_max:
        scale = limits.w_max / abs(wz)
        vx, vy, wz = vx * scale, vy * scale, math.copysign(limits.w_max, wz)
    return Velocity(vx, vy, wz)


def _toward(now: tuple[float, float], aim: tuple[float, float], most: float, speed_max: float) -> tuple[float, float]:
    dx, dy = aim[0] - now[0], aim[1] - now[1]
    way = math.hypot(dx, dy)
    if way <= most:
        return aim if math.hypot(*aim) <= speed_max + _TINY else now
    x, y = now[0] + dx / way * most, now[1] + dy / way * most
    speed = math.hypot(x, y)
    return (x, y) if speed <= speed_max or speed <= _TINY else (x / speed * speed_max, y / speed * speed_max)


def _approach(now: float, aim: float, up: float, down: float) -> float:
    if now * aim < 0:
        aim = 0.0
    if abs(aim) <= abs(now):
        return math.copysign(max(abs(aim), abs(now) - down), now) if now else 0.0
    return now + max(-up, min(up, aim - now))


class Arm:
    """Joint positions: within their limits, no faster than `v_max`, and the tool within its box.

    reach: where the tool is (x, y, z in m) with given positions; needed if there is a workspace
    """

    def __init__(self, joints: Mapping[str, JointLimits], workspace: Workspace | None, reach: Reach | None) -> None:
        self.now: dict[str, float] = {}
        self._joints, self._workspace, self._reach = joints, workspace, reach

    def sync(self, sensed: Mapping[str, float]) -> None:
        """Begin where the joints are, as long as nothing has been sent to them."""
        for name, value in sensed.items():
            if name in self._joints and math.isfinite(value):
                self.now.setdefault(name, value)

    def follow(self, sensed: Mapping[str, float]) -> None:
        """Somebody else moved the joints, or they were powered off: begin anew where they are."""
        self.now = {}
        self.sync(sensed)

    def step(self, wanted: Mapping[str, float], dt: float) -> tuple[dict[str, float], bool]:
        """(positions after `dt` seconds on the way to `wanted`, whether a limit held them back)."""
        dt = min(dt, STEP_MAX)
        aim = dict(self.now)
        held = False
        for name, value in wanted.items():
            limits, now = self._joints.get(name), self.now.get(name)
            if limits is None or now is None or not math.isfinite(value):
                held = True
                continue
            inside = min(max(value, limits.min), limits.max)
            step = limits.v_max * dt
            aim[name] = now + min(max(inside - now, -step), step)
            held = held or inside != value or abs(inside - now) > step * 1.5
        if aim != self.now and self._workspace is not None and self._reach is not None:
            aim, boxed = self._within(aim, self._workspace, self._reach, dt)
            held = held or boxed
        self.now = aim
        return aim, held

    def _within(self, aim: dict[str, float], box: Workspace, reach: Reach, dt: float) -> tuple[dict[str, float], bool]:
        """The part of the step to `aim` that keeps the tool in the box and within its speed; halved until it does."""
        start = reach(self.now)
        part = 1.0
        for _ in range(7):
            tried = {name: now + (aim[name] - now) * part for name, now in self.now.items()}
            tool = reach(tried)
            near = math.dist(tool, start) <= box.v_max * dt
            if near and (_inside(tool, box) or _outside_by(tool, box) < _outside_by(start, box)):
                return tried, part < 1
            part /= 2
        return dict(self.now), True


def _inside(tool: tuple[float, float, float], box: Workspace) -> bool:
    return all(low <= at <= high for at, low, high in zip(tool, box.min, box.max))


def _outside_by(tool: tuple[float, float, float], box: Workspace) -> float:
    return math.hypot(*(max(low - at, 0.0, at - high) for at, low, high in zip(tool, box.min, box.max)))


def seconds(ns: int) -> float:
    """ns as seconds."""
    return ns / SECOND

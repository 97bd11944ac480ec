"""A simulated robot: a base on a plane with walls, an arm, a gripper, a lamp, a speaker and a battery. Kinematic.

Needs nothing but a clock that goes on: the world catches up whenever the robot looks at it (`sense`). Its motors stop
by themselves 200 ms after the last news, as real ones must.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from embodied.node.driver import Task
from embodied.node.goals import Goals
from embodied.node.profile import Profile, options_of
from embodied.node.world import RAYS, World, side
from embodied.robot.decisions import Scan, Sensed, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Diagnostic
from embodied.robot.vocabulary import MS, SECOND, Mode, NotNegative, Positive, StopCategory
from streams.clock import Clock

SUBSTEP = 10 * MS
MOTORS_WAIT = 200 * MS
SCAN_EVERY = 100 * MS
BUMPER_M = 0.01


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What a profile may say under `options`.

    start: x, y (m), yaw (rad), where "come_back" leads, too;  home: of joints (rad), where they begin
    motor_s: of base and joints, the time constant;  brake: deceleration when motors are alone
    slip: how much of what the wheels turn is not gone, 0 to 1 (odometry does not notice)
    silent: sensors that say nothing;  frozen: sensors that go on with what they said at first
    battery: at the start;  run_s: what a full one lasts, 0 = for ever
    """

    world: World = World()
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)
    home: dict[str, float] = field(default_factory=dict)
    motor_s: Positive = 0.03
    brake: Positive = 3.0
    slip: Annotated[float, Meta(ge=0, le=1)] = 0.0
    silent: tuple[Literal["odometry", "scan", "joints", "bumper"], ...] = ()
    frozen: tuple[Literal["odometry", "scan", "joints"], ...] = ()
    lidar: bool = True
    battery: Annotated[float, Meta(ge=0, le=1)] = 1.0
    run_s: NotNegative = 7200.0
    mode: Mode = "automatic"
    near_people: bool = False


class SimulatedRobot:
    """`embodied.node.driver.Driver` without hardware.

    silent, frozen, near_people, mode, hardware_stop, slip: may be changed while it runs, to see what the guards do
    pose: where it really is;  said: the words its speaker has said whole, the last thousand
    Raises `ProfileInvalid` for options that it does not know.
    """

    def __init__(self, profile: Profile) -> None:
        self._options = given = options_of(profile, Options)
        self._limits = limits = profile.factsheet.limits
        self.silent, self.frozen = set[str](given.silent), set[str](given.frozen)
        self.slip, self.mode, self.near_people = given.slip, given.mode, given.near_people
        self.hardware_stop = False
        self.pose = given.start
        self.velocity = Velocity()
        self.joints = {n: given.home.get(n, min(max(0.0, j.min), j.max)) for n, j in limits.joints.items()}
        self.said: list[str] = []
        self.touches: Literal["", "front", "rear"] = ""
        self.brakes = 0
        self._battery = given.battery
        self._odometry = given.start
        self._wanted, self._targets = Velocity(), dict(self.joints)
        self._now: int | None = None
        self._news = 0
        self._scan: Scan | None = None
        self._first: dict[str, Any] = {}
        self.goals = Goals(profile, heard=self._heard)
        self.closed = False

    # --- the driver

    def sense(self, now: int) -> Sensed:
        """The world catches up to `now`; then what the sensors say."""
        self._advance(now)
        odometry = self._said("odometry", (now, self._odometry, self.velocity), (None, None, Velocity()))
        return Sensed(
            odom_t=odometry[0], pose=odometry[1], velocity=odometry[2],
            scan=self._said("scan", self._look(now), None),
            bumper="" if "bumper" in self.silent else self.touches, near_people=self.near_people,
            joints=dict(self._said("joints", self.joints, {})), mode=self.mode, hardware_stop=self.hardware_stop,
            battery=self._battery, errors=("the battery is empty",) if self._battery <= 0 else (),
        )  # fmt: skip

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        """To the motors."""
        self._wanted, self._news = velocity, now
        self._targets.update(joints)

    async def perform(self, task: Task) -> Any:
        """See `embodied.node.goals.Goals`."""
        return await self.goals.perform(task)

    def brake(self, category: StopCategory, why: str) -> None:
        """Nothing that `actuate` does not do; counted."""
        self.brakes += 1

    async def close(self) -> None:
        """Motors off."""
        self._wanted, self.closed = Velocity(), True

    def diagnose(self) -> tuple[Diagnostic, ...]:
        """How the battery is."""
        level = 2 if self._battery <= 0 else 1 if self._battery < 0.2 else 0
        return (Diagnostic("battery", level, kv={"level": round(self._battery, 3)}),)

    # --- the world

    def _advance(self, now: int) -> None:
        before = now if self._now is None else self._now
        self._now = now
        while before < now:
            step = min(SUBSTEP, now - before)
            before += step
            alone = before - self._news > MOTORS_WAIT
            self._roll(step / SECOND, alone=alone)
            if not alone:
                self._bend(step / SECOND)

    def _roll(self, dt: float, *, alone: bool) -> None:
        v = self.velocity
        if alone or self._battery <= 0:
            self.velocity = Velocity(_slower(v.vx, self._options.brake * dt), 0.0, _slower(v.wz, 6.0 * dt))
        else:
            part = 1 - math.exp(-dt / self._options.motor_s)
            want = self._wanted
            vy = v.vy + (want.vy - v.vy) * part
            self.velocity = Velocity(v.vx + (want.vx - v.vx) * part, vy, v.wz + (want.wz - v.wz) * part)
            if want.still and max(abs(self.velocity.vx), abs(self.velocity.vy), abs(self.velocity.wz)) < 1e-4:
                self.velocity = Velocity()
        v = self.velocity
        gone = _moved(self.pose, v, dt * (1 - self.slip))
        touch = self._options.world.free((gone[0], gone[1]), self._limits.radius_m)
        before = self._options.world.free((self.pose[0], self.pose[1]), self._limits.radius_m)
        if touch is not None and (before is None or touch.gap < before.gap):
            gone = (*self.pose[:2], gone[2])  # it stands at the wall, and its wheels too
            self.velocity = v = Velocity(wz=v.wz)
        self._odometry = _moved(self._odometry, v, dt)
        self.pose = gone
        near = self._options.world.free((gone[0], gone[1]), self._limits.radius_m + BUMPER_M)
        self.touches = side(near.bearing, gone[2]) if near is not None else ""
        if self._options.run_s:
            self._battery = max(0.0, self._battery - dt / self._options.run_s)

    def _bend(self, dt: float) -> None:
        part = 1 - math.exp(-dt / self._options.motor_s)
        for name, limits in self._limits.joints.items():
            most = limits.v_max * 1.5 * dt
            step = (self._targets[name] - self.joints[name]) * part
            self.joints[name] += min(max(step, -most), most)

    def _look(self, now: int) -> Scan | None:
        if not self._options.lidar:
            return None
        if self._scan is None or now - self._scan.t >= SCAN_EVERY:
            self._scan = Scan(now, 0.0, 2 * math.pi / RAYS, self._options.world.ranges(self.pose))
        return self._scan

    def _said(self, sensor: str, value: Any, nothing: Any) -> Any:
        if sensor in self.silent:
            return nothing
        if sensor in self.frozen:
            return self._first.setdefault(sensor, value)
        self._first.pop(sensor, None)
        return value

    def _heard(self, word: str) -> None:
        self.said.append(word)
        del self.said[:-1000]


def _moved(pose: tuple[float, float, float], v: Velocity, dt: float) -> tuple[float, float, float]:
    x, y, yaw = pose
    middle = yaw + v.wz * dt / 2
    x += (v.vx * math.cos(middle) - v.vy * math.sin(middle)) * dt
    y += (v.vx * math.sin(middle) + v.vy * math.cos(middle)) * dt
    return x, y, math.remainder(yaw + v.wz * dt, 2 * math.pi)


def _slower(speed: float, by: float) -> float:
    return math.copysign(max(0.0, abs(speed) - by), speed)


async def connect(profile: Profile, robot: str, clock: Clock) -> tuple[Factsheet, SimulatedRobot]:
    """The driver of `driver: simulated`. Raises `ProfileInvalid` for options that it does not know."""
    return profile.factsheet, SimulatedRobot(profile)

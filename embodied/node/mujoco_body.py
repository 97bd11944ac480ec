"""A simulated robot with physics, as a driver: `driver: mujoco` of a profile. Extra `sim`.

The physics is stepped by the control loop itself: `sense` lets the world catch up with the clock, four steps of 5 ms
for each 20 ms, which take about 0.1 ms. So there is nothing to lock, it runs in virtual time as well, and a loop that
hangs finds motors that have stopped by themselves 200 ms later, as they would have. Only pictures have a thread of
their own.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field, structs

from embodied.node.driver import Task
from embodied.node.goals import Goals
from embodied.node.mujoco_eye import Eye, EyeMissing
from embodied.node.mujoco_room import CAMERA, GRIPPER, REST, STEP_S
from embodied.node.mujoco_world import World
from embodied.node.profile import Profile, options_of
from embodied.node.senses import picture
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.vocabulary import StopCategory
from streams.clock import MS, SECOND, Clock

CATCH_UP_S = 1.0
"""So much time at most is made up for at once; what is beyond is lost to the world, and counted."""
SCAN_MS = 100
DRAW_MS = 140
"""After a picture was asked for, the next is drawn so late that it is ready, and still young, when it is asked for."""
STEP = round(STEP_S * SECOND)
GRIP_S = 2.0
"""The fingers have met, or hold something, by then."""
GAP = 0.05


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What a profile may say under `options`.

    home: where the arm's joints are at first, and where "arm.home" leads (rad)
    camera: whether it has one;  width, height: of its pictures, in pixels;  quality: of the JPEGs
    """

    home: dict[str, float] = field(default_factory=lambda: dict(REST))
    camera: bool = True
    width: Annotated[int, Meta(ge=64, le=640)] = 320
    height: Annotated[int, Meta(ge=48, le=480)] = 240
    quality: Annotated[int, Meta(ge=10, le=95)] = 80


class MujocoBody:
    """`embodied.node.driver.Driver` of a `World`, and `Telling`: its camera is the channel "camera.front".

    eye: its camera, None if it has none;  blind: why it has none, "" if that was wished: told as an error of the robot
    lost_ns: time that the world did not live through, because the loop was away for longer than `CATCH_UP_S`
    goals: what it can do;  said: the words its speaker has said whole (the last 1000)
    """

    def __init__(self, profile: Profile, world: World, *, eye: Eye | None = None, blind: str = "") -> None:
        self.world, self.eye, self.blind = world, eye, blind
        self.lost_ns = 0
        self.said: list[str] = []
        self.goals = Goals(profile, heard=self._heard)
        self._until: int | None = None  # up to then (ns) the world has lived
        self._scan = world.scan(0)
        self._scan_at = self._draw_at = 0
        self._drawing: asyncio.Future[bytes] | None = None
        self._seen: dict[str, dict[str, Any]] = {}

    # --- the driver

    def sense(self, now: int) -> Sensed:
        """Let the world catch up with `now`, and look at it."""
        self._live(now)
        if now >= self._scan_at:
            self._scan, self._scan_at = self.world.scan(now), now + SCAN_MS * MS
        self._look(now)
        return Sensed(
            odom_t=now,
            pose=self.world.pose,
            velocity=self.world.velocity,
            scan=self._scan,
            bumper=self.world.bumper,
            joints=self.world.joints,
            errors=(f"no camera: {self.blind}"[:400],) if self.blind else (),
        )

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        """To the motors."""
        self.world.drive(velocity)
        self.world.aim(joints)

    async def perform(self, task: Task) -> Any:
        """move, turn, come_back, nav.goto; arm.move_j, arm.home, gripper; say; lamp. Raises `TaskFailed`."""
        if task.command.name == GRIPPER:
            return await self._grip(task, wide=bool(task.command.args["open"]))
        return await self.goals.perform(task)

    def brake(self, category: StopCategory, why: str) -> None:
        """The motors ramp the base down by themselves, and joints hold where they are."""
        self.world.drive(Velocity())
        self.world.hold()

    def channels(self, now: int) -> Mapping[str, Mapping[str, Any]]:
        """The newest picture; that the next one is drawn depends on being asked."""
        if not self._draw_at and self._drawing is None:
            self._draw_at = now + DRAW_MS * MS
        return self._seen

    async def close(self) -> None:
        """Give back the GL context. Idempotent."""
        self.world.drive(Velocity())
        eye, self.eye = self.eye, None
        if eye is not None:
            await eye.close()

    # --- inside

    def _live(self, now: int) -> None:
        if self._until is None:
            self._until = now
        most = round(CATCH_UP_S * SECOND)
        left_out = max(0, now - self._until - most)
        self.lost_ns += left_out
        self._until += left_out
        count = max(0, now - self._until) // STEP
        self.world.step(count)
        self._until += count * STEP

    def _look(self, now: int) -> None:
        """Take in the picture that was drawn, and have the next one drawn when it is time."""
        drawing = self._drawing
        if drawing is not None and drawing.done():
            self._drawing = None
            if (error := drawing.exception()) is not None:  # a camera that fails is no reason to stop driving
                self.blind, self._seen = f"{type(error).__name__}: {error}", {}
                return
            self.blind = ""
            values = picture(drawing.result())
            self._seen = {f"camera.{CAMERA}": values} if values is not None else {}
        if self.eye is not None and self._drawing is None and 0 < self._draw_at <= now:
            self._draw_at = 0
            self._drawing = self.eye.draw()

    async def _grip(self, task: Task, *, wide: bool) -> Any:
        """Open, or close on whatever is there."""
        target, until = float(wide), task.now + round(GRIP_S * SECOND)
        before = task.sensed.joints.get(GRIPPER, 0.0)
        still = task.now
        while abs((at := task.sensed.joints.get(GRIPPER, 0.0)) - target) > GAP and task.now < until:
            if abs(at - before) > GAP / 4:
                before, still = at, task.now
            if task.now - still > SECOND // 2:  # it holds something
                break
            task.aim({GRIPPER: target})
            await task.step()
        return {"open": wide, "holds": not wide and at > 2 * GAP}

    def _heard(self, word: str) -> None:
        self.said.append(word)
        del self.said[:-1000]


async def connect(profile: Profile, robot: str, clock: Clock) -> tuple[Factsheet, MujocoBody]:
    """Make the room, the robot in it, and its eye, which takes a second. Raises `DependencyMissing`.

    Without OpenGL it runs without a camera: the factsheet has none, and the robot's state tells why.
    """
    options = options_of(profile, Options)
    world = World(options.home)
    eye, blind = None, ""
    if options.camera:
        try:
            eye = await Eye.open(world, clock, size=(options.width, options.height), quality=options.quality)
        except EyeMissing as missing:
            blind = str(missing)
    factsheet, features = profile.factsheet, dict(profile.factsheet.observation_features)
    features.pop("cameras", None)
    if eye is not None:
        front = {"telemetry": f"camera.{CAMERA}", "size": [*eye.size], "fov_deg": eye.fov_deg}
        features["cameras"] = {CAMERA: front}
    factsheet = structs.replace(factsheet, observation_features=features)
    return factsheet, MujocoBody(profile, world, eye=eye, blind=blind)

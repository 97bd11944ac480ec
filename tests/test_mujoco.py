"""The simulated robot with physics. Skipped without MuJoCo: pip install 'visavis[sim]'."""

import asyncio
import base64
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="pip install 'visavis[sim]'")

from embodied.node.mujoco_body import MujocoBody, connect
from embodied.node.mujoco_eye import Eye, EyeMissing
from embodied.node.mujoco_room import GRIPPER, JOINTS, RADIUS_M, REST, STEP_S
from embodied.node.mujoco_world import RAYS, World
from embodied.node.profile import Profile, ProfileInvalid
from embodied.robot.decisions import Velocity
from streams.clock import MS, SECOND, Clock, run
from tests.node_room import Room, room


def steps(seconds: float) -> int:
    return round(seconds / STEP_S)


def driven(world: World, velocity: Velocity, seconds: float) -> None:
    """As the control loop does it: a wish every 20 ms."""
    for _ in range(round(seconds * 50)):
        world.drive(velocity)
        world.step(4)


# --- physics


def test_the_base_drives_as_it_is_told_in_its_own_frame() -> None:
    world = World()
    driven(world, Velocity(wz=1.0), math.pi / 2 + 0.04)
    x, y, yaw = world.pose
    assert math.hypot(x, y) < 0.01 and abs(yaw - math.pi / 2) < 0.05
    driven(world, Velocity(), 0.5)
    driven(world, Velocity(vx=0.4), 2.0)
    x, y, _ = world.pose
    assert abs(y - 0.78) < 0.05 and abs(x) < 0.06
    assert abs(world.velocity.vx - 0.4) < 0.02 and abs(world.velocity.vy) < 0.02


def test_motors_without_news_stop_by_themselves() -> None:
    world = World()
    driven(world, Velocity(vx=0.5), 1.0)
    at = world.pose[0]
    world.step(steps(0.2))
    assert world.velocity.vx > 0.45
    world.step(steps(0.3))
    assert abs(world.velocity.vx) < 0.01
    assert world.pose[0] - at < 0.5 * 0.21 + 0.5**2 / 8 + 0.02


def test_walls_and_things_stop_it_and_press_the_bumper() -> None:
    world = World()
    driven(world, Velocity(vx=-0.5), 7.0)
    assert -3.0 + RADIUS_M - 0.02 < world.pose[0] < -3.0 + RADIUS_M + 0.02
    assert world.bumper == "rear"
    driven(world, Velocity(vx=0.5), 1.0)
    assert world.bumper == ""


def test_the_lidar_sees_walls_and_things_and_not_the_robot_itself() -> None:
    world = World()
    ranges = world.scan(0).ranges
    assert len(ranges) == RAYS and min(ranges) > 1.2  # nothing of its own
    assert abs(ranges[RAYS // 2] - 3.0) < 0.01  # the wall behind it
    toward_ball = round(math.atan2(-0.7, 1.6) / (math.tau / RAYS)) % RAYS
    assert abs(ranges[toward_ball] - (math.hypot(1.6, 0.7) - 0.12)) < 0.05
    driven(world, Velocity(wz=1.0), math.pi / 2 + 0.04)
    assert abs(world.scan(0).ranges[RAYS // 4] - 3.0) < 0.02  # it turns with the base: the rear wall is to the left


def test_the_arm_follows_and_holds_and_the_gripper_keeps_what_it_has() -> None:
    world = World()
    wish = {"j1": 0.6, "j2": 0.4, "j3": 1.1, "j4": -0.3, "j5": 1.0, GRIPPER: 1.0}
    world.aim(wish)
    world.step(steps(2.0))
    assert all(abs(world.joints[name] - at) < 0.03 for name, at in wish.items())
    world.aim({"j1": 9.0, "elbow": 1.0})  # beyond its range, and of another robot
    world.step(steps(2.0))
    assert world.joints["j1"] <= 1.95
    world.hold()
    before = world.joints
    world.step(steps(1.0))
    assert all(abs(world.joints[name] - before[name]) < 0.03 for name in JOINTS)


def test_the_gripper_lifts_the_cube_from_the_table() -> None:
    world = World()
    data, model = world.data, world.model
    cube = int(model.joint(model.body("cube").jntadr[0]).qposadr[0])
    # The gripper points down; table and cube are put under it.
    down = {"j1": 0.0, "j2": 0.75, "j3": 1.35, "j4": math.pi - 2.1, "j5": 0.0, GRIPPER: 1.0}
    world.aim(down)
    world.step(steps(3.0))
    tool = data.site("tool").xpos.copy()
    model.geom("table").pos = [tool[0], tool[1], (tool[2] - 0.02) / 2]
    model.geom("table").size = [0.05, 0.05, (tool[2] - 0.02) / 2]
    data.qpos[cube : cube + 7] = [*tool, 1, 0, 0, 0]
    data.qvel[:] = 0
    world.aim({GRIPPER: 0.0})
    world.step(steps(1.0))
    assert world.joints[GRIPPER] > 0.4  # it has it between its fingers
    world.aim({"j2": 0.3})
    world.step(steps(2.0))
    lifted = float(data.qpos[cube + 2]) - tool[2]
    assert lifted > 0.03
    world.aim({GRIPPER: 1.0})
    world.step(steps(1.0))
    assert float(data.qpos[cube + 2]) < tool[2] + 0.01


# --- the driver


def test_a_loop_that_hangs_is_made_up_for_within_bounds() -> None:
    body = MujocoBody(Profile.load("mujoco"), World())
    body.sense(0)
    body.actuate(Velocity(vx=0.5), {}, 0)
    sensed = body.sense(20 * MS)
    assert sensed.odom_t == 20 * MS and body.world.steps == 4
    body.sense(820 * MS)
    assert body.world.steps == 164 and body.lost_ns == 0
    body.sense(20 * SECOND)
    assert body.world.steps == 164 + 200 and body.lost_ns == 20 * SECOND - 1820 * MS
    assert abs(body.world.velocity.vx) < 0.01  # the motors had stopped long ago


@asynccontextmanager
async def alive() -> AsyncIterator[Room]:
    profile = Profile.load("mujoco", {"options.camera": False})
    async with room(profile, driver=MujocoBody(profile, World(REST))) as made:
        yield made


def test_behind_its_guards_it_does_what_its_profile_says() -> None:
    async def main() -> None:
        async with alive() as made:
            agent, world = made.agent, made.driver.world
            done = await agent.do("move", {"distance_m": 0.8})
            assert done["state"] == "succeeded" and abs(world.pose[0] - 0.8) < 0.02
            assert (await agent.do("turn", {"angle_rad": 1.0}))["state"] == "succeeded"
            assert abs(world.pose[2] - 1.0) < 0.04
            both = await agent.begin("arm.move_j", {"j1": 0.5, "j3": 1.5}), await agent.begin("gripper", {"open": True})
            ended = [await agent.ended(each) for each in both]
            assert [each["state"] for each in ended] == ["succeeded"] * 2, ended
            assert abs(world.joints["j1"] - 0.5) < 0.03 and world.joints[GRIPPER] > 0.9
            assert (await agent.do("gripper", {"open": False}))["result"] == {"open": False, "holds": False}
            assert (await agent.do("arm.home"))["state"] == "succeeded"
            assert (await agent.do("come_back"))["state"] == "succeeded"
            assert math.hypot(*world.pose[:2]) < 0.03
            refused = await agent.do("arm.move_j", {"j1": 5.0})
            assert refused["state"] == "rejected"

    run(main(), virtual=True)


def test_its_guards_stop_it_before_things_that_its_lidar_sees() -> None:
    async def main() -> None:
        async with alive() as made:
            done = await made.agent.do("move", {"distance_m": -2.7})
            assert done["state"] != "succeeded"
            gap = 3.0 + made.driver.world.pose[0] - RADIUS_M
            assert 0.2 < gap < 0.45 and made.driver.world.bumper == ""

    run(main(), virtual=True)


# --- the eye


def decoded(jpeg: bytes) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_its_camera_shows_the_room_as_telemetry() -> None:
    async def main() -> None:
        clock = Clock()
        profile = Profile.load("mujoco")
        factsheet, body = await connect(profile, "r1", clock)
        if body.eye is None:
            assert "cameras" not in factsheet.observation_features
            assert body.sense(0).errors[0].startswith("no camera")
            pytest.skip("no OpenGL off-screen: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")
        try:
            front = factsheet.observation_features["cameras"]["front"]
            assert front == {"telemetry": "camera.front", "size": [320, 240], "fov_deg": 60.0}
            seen: list[Any] = []
            for n in range(100):
                now = n * 20 * MS
                body.sense(now)
                if n % 10 == 0:
                    values = body.channels(now).get("camera.front")
                    if values is not None and (not seen or values is not seen[-1]):
                        seen.append(values)
            assert len(seen) >= 8  # five a second
            jpeg = base64.b64decode(seen[-1]["jpeg"])
            assert len(jpeg) <= 32_000
            picture = decoded(jpeg).astype(int)
            assert picture.shape == (240, 320, 3)
            blue, green, red = picture[..., 0], picture[..., 1], picture[..., 2]
            ball = np.argwhere((red > 130) & (green < 80) & (blue < 80))
            box = np.argwhere((blue > 120) & (red < 90))
            assert len(ball) > 300 and len(box) > 300
            assert ball[:, 1].mean() > 200 and box[:, 1].mean() < 120  # the ball is on the right, the box on the left
            assert picture[:30].mean() > picture[-60:].mean() - 80  # upright: sky and wall above the floor
            body.world.drive(Velocity(wz=1.0))
            body.world.step(20)
            again = decoded(await body.eye.draw())
            assert np.abs(again.astype(int) - picture).mean() > 1.0  # and it goes with the robot
        finally:
            await body.close()
            await body.close()

    run(main(), virtual=True)


def test_drawing_runs_in_a_thread_of_its_own() -> None:
    async def main() -> float:
        clock = Clock()
        world = World()
        try:
            eye = await Eye.open(world, clock)
        except EyeMissing as missing:
            pytest.skip(str(missing))
        late = 0
        try:
            drawing = [eye.draw() for _ in range(20)]
            while not all(each.done() for each in drawing):
                due = clock.now() + 5 * MS
                await clock.sleep_until(due)
                late = max(late, clock.now() - due)
            assert all(each.result()[:2] == b"\xff\xd8" for each in drawing)
        finally:
            await eye.close()
        return late / MS

    assert asyncio.run(main()) < 200


def test_without_opengl_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any, **__: Any) -> Eye:
        raise EyeMissing("no library")

    async def main() -> None:
        factsheet, body = await connect(Profile.load("mujoco"), "r1", Clock())
        assert "cameras" not in factsheet.observation_features
        assert body.sense(0).errors == ("no camera: no library",)
        assert body.channels(0) == {}
        await body.close()

    monkeypatch.setattr(Eye, "open", none)
    run(main(), virtual=True)


def test_a_camera_that_fails_does_not_stop_the_robot() -> None:
    class Broken:
        def draw(self) -> "asyncio.Future[bytes]":
            done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            done.set_exception(OSError("the card has gone"))
            return done

    async def main() -> None:
        eye: Any = Broken()
        body = MujocoBody(Profile.load("mujoco"), World(), eye=eye)
        for n in range(30):
            body.channels(n * 20 * MS)
            sensed = body.sense(n * 20 * MS)
        assert sensed.errors == ("no camera: OSError: the card has gone",) and body.channels(0) == {}

    run(main(), virtual=True)


def test_options_are_read_strictly() -> None:
    with pytest.raises(ProfileInvalid, match="camra"):
        run(connect_with({"options.camra": True}), virtual=True)


async def connect_with(changes: dict[str, Any]) -> None:
    await connect(Profile.load("mujoco", changes), "r1", Clock())

"""The simulated robot: it moves as told, not through walls, and can be given every trouble that guards are for."""

import asyncio
import math

import pytest

from embodied.node.driver import Driver
from embodied.node.profile import Profile, ProfileInvalid
from embodied.node.simulator import SimulatedRobot
from embodied.node.world import World
from embodied.robot.decisions import Velocity
from embodied.robot.vocabulary import MS
from streams.clock import run
from tests.node_room import room

STEP = 20 * MS
ROOM = {"options.world.walls": [[[1, -1], [1, 1]]], "options.world.posts": []}


def driven(robot: SimulatedRobot, velocity: Velocity, seconds: float, begin: int = 0) -> int:
    now = begin
    for _ in range(round(seconds * 50)):
        robot.sense(now)
        robot.actuate(velocity, {}, now)
        now += STEP
    robot.sense(now)
    return now


def test_it_is_a_driver_and_its_options_are_checked() -> None:
    assert isinstance(SimulatedRobot(Profile.load("diff-drive")), Driver)
    with pytest.raises(ProfileInvalid, match=r"options\.slipp .*'slip'"):
        SimulatedRobot(Profile.load("diff-drive", {"options.slipp": 0.1}))
    with pytest.raises(ProfileInvalid, match=r"options\.world\.walls"):
        SimulatedRobot(Profile.load("diff-drive", {"options.world.walls": [[1, 2]]}))


def test_it_drives_straight_and_in_a_circle() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive"))
    driven(robot, Velocity(vx=0.4), 2.0)
    assert abs(robot.pose[0] - 0.8) < 0.03 and robot.pose[1] == 0
    robot = SimulatedRobot(Profile.load("diff-drive", {"options.motor_s": 0.001}))
    driven(robot, Velocity(vx=0.5, wz=1.0), 2 * math.pi)  # a circle of radius 0.5 m
    assert math.hypot(*robot.pose[:2]) < 0.03 and abs(robot.pose[2]) < 0.03


def test_it_cannot_pass_through_a_wall_and_its_bumper_tells() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive", ROOM))
    now = driven(robot, Velocity(vx=0.5), 5.0)
    assert abs(robot.pose[0] - 0.8) < 0.02 and robot.sense(now).bumper == "front"
    now = driven(robot, Velocity(vx=-0.5), 0.5, now)
    assert robot.pose[0] < 0.7 and robot.sense(now).bumper == ""
    driven(robot, Velocity(vx=50.0), 1.0, now)  # nor at a speed at which a step is longer than the wall is thick
    assert robot.pose[0] < 0.81


def test_it_bumps_with_its_back() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive", {**ROOM, "options.start": [0, 0, math.pi]}))
    now = driven(robot, Velocity(vx=-0.5), 4.0)
    assert robot.sense(now).bumper == "rear"


def test_the_lidar_sees_walls_and_posts() -> None:
    world = World(walls=(((1.0, -5.0), (1.0, 5.0)),), posts=((0.0, 2.0, 0.5),))
    ranges = world.ranges((0.0, 0.0, 0.0))
    assert len(ranges) == 90
    assert ranges[0] == pytest.approx(1.0)
    assert world.ranges((0.0, 0.0, 0.0), rays=4)[1] == pytest.approx(1.5)
    assert world.ranges((0.0, 0.0, 0.0), rays=4)[2] == math.inf
    assert world.ranges((0.0, 0.0, math.pi / 2), rays=4)[3] == pytest.approx(1.0)


def test_motors_without_news_stop_by_themselves() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive"))
    now = driven(robot, Velocity(vx=0.5), 1.0)
    x = robot.pose[0]
    robot.sense(now + 5_000 * MS)  # the program was frozen for five seconds
    assert robot.velocity.still
    assert robot.pose[0] - x < 0.5 * 0.2 + 0.5**2 / 6 + 0.02


def test_troubles() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive"))
    now = driven(robot, Velocity(vx=0.2), 1.0)
    assert robot.sense(now).odom_t == now
    robot.frozen.add("odometry")
    frozen = robot.sense(now)
    now = driven(robot, Velocity(vx=0.2), 1.0, now)
    assert robot.sense(now).odom_t == frozen.odom_t and robot.sense(now).pose == frozen.pose
    robot.frozen.clear()
    assert robot.sense(now).pose == robot.pose
    robot.silent.update({"odometry", "scan"})
    assert robot.sense(now).odom_t is None and robot.sense(now).scan is None
    robot.silent.clear()
    robot.mode, robot.near_people, robot.hardware_stop = "manual", True, True
    assert (robot.sense(now).mode, robot.sense(now).near_people, robot.sense(now).hardware_stop) == (
        "manual", True, True,
    )  # fmt: skip


def test_an_empty_battery_moves_nothing() -> None:
    robot = SimulatedRobot(Profile.load("diff-drive", {"options.run_s": 1.0}))
    now = driven(robot, Velocity(vx=0.4), 3.0)
    assert robot.velocity.still and robot.pose[0] < 0.6
    assert robot.sense(now).battery == 0 and "battery" in robot.sense(now).errors[0]
    assert robot.diagnose()[0].level == 2


@pytest.mark.parametrize("trouble", ["odometry", "scan"])
def test_the_guards_stop_a_robot_whose_sensors_freeze(trouble: str) -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            made.driver.frozen.add(trouble)
            await made.agent.wait(1.0)
            assert made.driver.velocity.still
            assert made.agent.last("safety")["guards"] == ["odometry" if trouble == "odometry" else "obstacle"]
            status = await made.agent.ended(id)
            assert status["state"] == "failed" and status["reason"] == "obstacle"

    run(main(), virtual=True)


def test_a_bump_fails_the_goal() -> None:
    async def main() -> None:
        changes = {**ROOM, "limits.geofence": None, "options.lidar": False, "guards.ranges_needed": False}
        async with room(changes=changes) as made:
            status = await made.agent.do("move", {"distance_m": 2.0})
            assert (status["state"], status["reason"]) == ("failed", "obstacle")
            assert "front" in status["detail"] and abs(made.driver.pose[0] - 0.8) < 0.03
            assert made.agent.of("event/bump")
            assert (await made.agent.do("move", {"distance_m": -0.3}))["state"] == "succeeded"

    run(main(), virtual=True)


def test_a_hardware_stop_latches_and_people_near_slow_it_down() -> None:
    async def main() -> None:
        async with room() as made:
            made.driver.near_people = True
            id = await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(3.0)
            assert 0.2 < made.driver.velocity.vx <= 0.2501
            made.driver.hardware_stop = True
            await made.agent.wait(1.0)
            assert made.agent.last("safety")["estop"] == "latched" and made.driver.velocity.still
            assert made.agent.statuses(id)[-1]["reason"] == "estop_latched"

    run(main(), virtual=True)


def test_nothing_waits() -> None:
    robot = SimulatedRobot(Profile.load("arm"))
    asyncio.run(robot.close())
    asyncio.run(robot.close())
    assert robot.closed

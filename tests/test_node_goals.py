"""Goals through the whole robot's side: they end where they should, begin at the speed there is, and tell the truth."""

import math
from itertools import pairwise
from typing import Any

import pytest

from embodied.robot.decisions import Velocity
from streams.clock import run
from tests.node_room import Room, room

NEAR_M, NEAR_RAD = 0.02, math.radians(2)


def record(made: Room) -> list[Velocity]:
    """What the motors get, step by step."""
    given: list[Velocity] = []
    actuate = made.driver.actuate

    def recorded(velocity: Velocity, joints: Any, now: int) -> None:
        given.append(velocity)
        actuate(velocity, joints, now)

    made.driver.actuate = recorded
    return given


@pytest.mark.parametrize("way", [0.01, 0.1, 1.0, -0.7, 2.2])
def test_a_move_ends_where_it_should_and_at_rest(way: float) -> None:
    async def main() -> None:
        async with room() as made:
            status = await made.agent.do("move", {"distance_m": way})
            assert status["state"] == "succeeded", status
            x, y, yaw = made.driver.pose
            assert abs(x - way) < NEAR_M and abs(y) < NEAR_M and abs(yaw) < NEAR_RAD
            assert abs(status["result"]["distance_m"] - x) < 0.005
            await made.agent.wait(0.3)
            assert math.dist(made.driver.pose[:2], (x, y)) < 0.005

    run(main(), virtual=True)


@pytest.mark.parametrize("angle", [0.05, math.pi / 2, -math.pi, 2 * math.pi])
def test_a_turn_ends_where_it_should(angle: float) -> None:
    async def main() -> None:
        async with room() as made:
            status = await made.agent.do("turn", {"angle_rad": angle})
            assert status["state"] == "succeeded", status
            assert abs(math.remainder(made.driver.pose[2] - angle, 2 * math.pi)) < NEAR_RAD
            assert abs(status["result"]["angle_rad"] - angle) < NEAR_RAD
            assert math.hypot(*made.driver.pose[:2]) < NEAR_M

    run(main(), virtual=True)


def test_there_and_back_again() -> None:
    async def main() -> None:
        async with room() as made:
            assert (await made.agent.do("nav.goto", {"x": 1.0, "y": -1.2, "yaw": 2.0}))["state"] == "succeeded"
            x, y, yaw = made.driver.pose
            assert math.dist((x, y), (1.0, -1.2)) < NEAR_M and abs(yaw - 2.0) < NEAR_RAD
            await made.agent.wait(1)
            assert (await made.agent.do("come_back"))["state"] == "succeeded"
            x, y, yaw = made.driver.pose
            assert math.hypot(x, y) < NEAR_M and abs(yaw) < NEAR_RAD

    run(main(), virtual=True)


@pytest.mark.parametrize("then", [{"distance_m": -0.5}, {"distance_m": 1.5}])
def test_the_other_way_is_no_jerk(then: dict[str, float]) -> None:
    """A goal replaces another at full speed: what the motors get never changes by more than the acceleration allows."""

    async def main() -> None:
        async with room() as made:
            given = record(made)
            first = await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(2.0)
            assert given[-1].vx > 0.35
            mark, x = len(given), made.driver.pose[0]
            second = await made.agent.do("move", then)
            assert made.agent.statuses(first)[-1]["state"] == "preempted"
            assert second["state"] == "succeeded"
            jumps = [abs(b.vx - a.vx) for a, b in pairwise(given[mark - 2 :])]
            assert max(jumps) <= 1.0 * 0.02 * 1.01  # a_max over a step of 20 ms
            assert abs(second["result"]["distance_m"] - then["distance_m"]) < NEAR_M
            assert abs(made.driver.pose[0] - x - then["distance_m"]) < 0.04  # "from where it was when told"

    run(main(), virtual=True)


def test_a_turn_out_of_a_move_does_not_jerk() -> None:
    async def main() -> None:
        async with room() as made:
            given = record(made)
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            mark = len(given)
            assert (await made.agent.do("turn", {"angle_rad": 1.5}))["state"] == "succeeded"
            assert max(abs(b.vx - a.vx) for a, b in pairwise(given[mark - 2 :])) <= 0.0202
            assert abs(made.driver.pose[2] - 1.5) < NEAR_RAD

    run(main(), virtual=True)


def test_what_was_gone_is_told_when_it_is_cancelled() -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(2.0)
            await made.agent.begin("cancel", {"target": id})
            status = await made.agent.ended(id)
            assert status["state"] == "cancelled"
            assert 0.3 < status["result"]["distance_m"] < 1.0
            await made.agent.wait(0.5)
            assert abs(made.driver.pose[0] - status["result"]["distance_m"]) < 0.06  # it rolled out a little

    run(main(), virtual=True)


def test_a_wall_in_the_way_is_told_soon_and_not_touched() -> None:
    async def main() -> None:
        async with room(changes={"limits.geofence": None, "options.world.walls": [[[1, -1], [1, 1]]]}) as made:
            status = await made.agent.do("move", {"distance_m": 2.0})
            assert (status["state"], status["reason"]) == ("failed", "obstacle")
            assert 0.4 < made.driver.pose[0] < 0.55  # 0.30 m off, with a radius of 0.2 m
            assert abs(status["result"]["distance_m"] - made.driver.pose[0]) < 0.01
            assert status["mono_ms"] < 8000

    run(main(), virtual=True)


def test_pausing_rests_and_goes_on() -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 1.0})
            await made.agent.wait(1.2)
            await made.agent.begin("pause", {"id": id})
            await made.agent.wait(1.0)
            x = made.driver.pose[0]
            assert 0.1 < x < 0.9
            await made.agent.wait(5.0)
            assert made.driver.pose[0] == x
            await made.agent.begin("resume", {"id": id})
            assert (await made.agent.ended(id))["state"] == "succeeded"
            assert abs(made.driver.pose[0] - 1.0) < NEAR_M

    run(main(), virtual=True)


def test_wheels_that_slip_are_not_noticed_and_an_arrival_is_still_told_honestly_by_odometry() -> None:
    async def main() -> None:
        async with room(changes={"options.slip": 0.2}) as made:
            status = await made.agent.do("move", {"distance_m": 1.0})
            assert abs(status["result"]["distance_m"] - 1.0) < NEAR_M
            assert abs(made.driver.pose[0] - 0.8) < 0.03

    run(main(), virtual=True)


def test_an_arm_moves_its_joints_together_and_rests() -> None:
    async def main() -> None:
        async with room("arm") as made:
            target = {"j1": 1.2, "j2": 0.3, "j4": -1.0}
            id = await made.agent.begin("arm.move_j", target)
            await made.agent.wait(0.5)
            parts = [made.driver.joints["j1"] / 1.2, (made.driver.joints["j2"] + 0.6) / 0.9]
            assert 0.1 < parts[0] < 0.95 and abs(parts[0] - parts[1]) < 0.15
            status = await made.agent.ended(id)
            assert status["state"] == "succeeded", status
            assert all(abs(made.driver.joints[name] - at) < 0.02 for name, at in target.items())
            assert abs(made.driver.joints["j3"] - 0.9) < 0.01  # not named, not moved
            assert (await made.agent.do("arm.home"))["state"] == "succeeded"
            assert abs(made.driver.joints["j1"]) < 0.02
            refused = await made.agent.do("arm.move_j", {"j1": 3.0})
            assert (refused["state"], refused["reason"]) == ("rejected", "limit")

    run(main(), virtual=True)


def test_an_arm_turns_round_without_a_jerk_and_grips_meanwhile() -> None:
    async def main() -> None:
        async with room("arm") as made:
            seen: list[float] = []
            actuate = made.driver.actuate

            def recorded(velocity: Velocity, joints: Any, now: int) -> None:
                seen.append(joints.get("j1", 0.0))
                actuate(velocity, joints, now)

            made.driver.actuate = recorded
            await made.agent.begin("arm.move_j", {"j1": 1.5})
            await made.agent.wait(0.4)
            mark = len(seen)
            back = await made.agent.begin("arm.move_j", {"j1": -0.5})
            await made.agent.wait(0.2)
            grip = await made.agent.do("gripper", {"open": True})
            assert grip["state"] == "succeeded" and abs(made.driver.joints["gripper"] - 1.0) < 0.05
            assert (await made.agent.ended(back))["state"] == "succeeded"
            speeds = [b - a for a, b in pairwise(seen[mark - 3 :])]
            assert max(abs(b - a) for a, b in pairwise(speeds)) <= 4 * 2.0 * 0.02 * 0.02 * 1.05
            assert abs(made.driver.joints["j1"] + 0.5) < 0.02

    run(main(), virtual=True)


def test_a_speaker_knows_which_words_were_said() -> None:
    async def main() -> None:
        async with room() as made:
            whole = await made.agent.do("say", {"text": "good morning to you"})
            assert (whole["state"], whole["result"]) == ("succeeded", {"words": 4})
            id = await made.agent.begin("say", {"text": "one two three four five six seven eight nine ten"})
            await made.agent.wait(1.5)
            await made.agent.begin("pause", {"id": id})
            await made.agent.wait(3.0)
            said = len(made.driver.said) - 4
            assert 2 <= said <= 7
            await made.agent.begin("resume", {"id": id})
            await made.agent.wait(0.7)
            await made.agent.begin("cancel", {"target": id})
            cut = await made.agent.ended(id)
            assert cut["state"] == "cancelled" and cut["result"]["words"] == len(made.driver.said) - 4
            assert said < cut["result"]["words"] < 10

    run(main(), virtual=True)


def test_what_is_paused_long_before_it_has_moved_is_not_blocked() -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 0.5})
            await made.agent.wait(0.06)
            for _ in range(2):
                await made.agent.begin("pause", {"id": id})
                await made.agent.wait(3)
                await made.agent.begin("resume", {"id": id})
                await made.agent.wait(0.05)
            status = await made.agent.ended(id)
            assert status["state"] == "succeeded", status

    run(main(), virtual=True)

"""The program around the guards: what it tells, in which order it acts, and what it does when its driver misbehaves."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from embodied.node.driver import Driver, Task, TaskFailed
from embodied.node.node import DriverFailed
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.node.telemetry import Channels
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.topics import robot_topic
from embodied.robot.vocabulary import MS, SECOND, StopCategory
from streams.clock import run
from tests.node_room import FLEET, ROBOT, Room, room


class Strange(SimulatedRobot):
    """A simulated robot whose driver does what `does` says."""

    def __init__(self, profile: str | Profile = "diff-drive") -> None:
        super().__init__(Profile.load(profile) if isinstance(profile, str) else profile)
        self.does = ""
        self.order: list[str] = []
        self.gave: list[tuple[int, Velocity]] = []

    def sense(self, now: int) -> Sensed:
        if self.does == "fails in sense":
            raise OSError("the bus is gone")
        if self.does == "gives nothing":
            return None  # type: ignore[return-value]
        return super().sense(now)

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        self.gave.append((now, velocity))
        if self.does == "fails in actuate":
            raise RuntimeError("no motor")
        super().actuate(velocity, joints, now)

    async def perform(self, task: Task) -> Any:
        self.order.append(f"begin {task.command.name}")
        match self.does:
            case "raises":
                raise ZeroDivisionError("oh")
            case "breaks":
                raise OSError("no answer")
            case "fails":
                raise TaskFailed("limit", "too far", {"so": 1})
            case "cannot be read":
                task.progress(0.5, {"x": float("nan"), "y": {1, 2}})
                return {"nan": float("inf")}
            case "cancels itself":
                raise asyncio.CancelledError
            case "swallows":
                task.result = {"n": 1}
                while True:
                    task.drive(Velocity(vx=0.5))
                    try:
                        await task.step()
                    except asyncio.CancelledError:
                        return {"n": 2}
            case "does not end":
                while self.does:
                    task.drive(Velocity(vx=0.5))
                    try:
                        await task.step()
                    except asyncio.CancelledError:
                        pass
        try:
            return await super().perform(task)
        finally:
            self.order.append(f"end {task.command.name}")

    def brake(self, category: StopCategory, why: str) -> None:
        if self.does == "fails in brake":
            raise RuntimeError("no brake")
        super().brake(category, why)


def stopped(made: Room) -> None:
    """The last that the motors got is rest, and the driver is closed."""
    assert made.driver.gave[-1][1] == Velocity()
    assert made.driver.closed


def test_it_is_a_driver() -> None:
    assert isinstance(Strange(), Driver)


def test_that_it_stands_is_told_at_once() -> None:
    profile = Profile.load("diff-drive")
    channels = Channels(profile.factsheet, "f", "r", Strange())
    told = []
    for n in range(12):
        now = SECOND + n * 20 * MS
        speed = 0.3 if n < 5 else 0.01
        sensed = Sensed(odom_t=now, pose=(0.0, 0.0, 0.0), velocity=Velocity(vx=speed))
        told += [(n, each.message.vx) for each in channels.told(sensed, now) if each.topic.endswith("odom")]
    assert told == [(0, 0.3), (2, 0.3), (4, 0.3), (5, 0.01), (6, 0.01), (8, 0.01), (10, 0.01)]  # else every second one


def test_it_says_hello_beats_and_says_goodbye() -> None:
    async def main() -> None:
        async with room() as made:
            await made.agent.wait(5)
            agent = made.agent
            assert agent.of("connection") == [{"state": "online", "boot": made.node.factsheet.boot, "proto": "1.0"}]
            assert agent.last("factsheet")["boot"] == made.node.factsheet.boot
            beats = [body["beat"] for body in agent.of("heartbeat")]
            assert len(beats) >= 48 and beats == sorted(set(beats))
            assert 120 <= len(agent.of("telemetry/odom")) <= 135  # 25 a second
            assert 23 <= len(agent.of("telemetry/scan")) <= 27
            assert agent.of("telemetry/battery")[0]["values"]["level"] > 0.99
            assert 4 <= len(agent.of("diag")) <= 6 and agent.last("diag")[0]["level"] == 0
            assert None not in agent.last("telemetry/scan")["values"]["ranges"]
        assert agent.last("connection")["state"] == "offline"
        assert agent.heard[-1][1] == "connection"

    run(main(), virtual=True)


def test_a_goal_is_told_from_accepted_to_its_one_end() -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 0.5})
            await made.agent.ended(id)
            await made.agent.wait(1)
            states = [each["state"] for each in made.agent.statuses(id)]
            assert states[0] == "accepted" and states[-1] == "succeeded"
            assert set(states[1:-1]) == {"running"}
            progress = [each["progress"] for each in made.agent.statuses(id) if "progress" in each]
            assert progress == sorted(progress) and len(progress) >= 3
            assert any("left_m" in (each.get("feedback") or {}) for each in made.agent.statuses(id))
            replies = [body for _, channel, body in made.agent.heard if "reply" in channel and body["id"] == id]
            assert not replies  # it gave no reply_to

    run(main(), virtual=True)


@pytest.mark.parametrize(
    ("does", "state", "reason", "detail"),
    [
        ("raises", "failed", "internal", "ZeroDivisionError"),
        ("breaks", "failed", "hardware", "no answer"),
        ("fails", "failed", "limit", "too far"),
        ("cancels itself", "failed", "internal", "gave up"),
        ("cannot be read", "failed", "internal", "cannot be sent"),
    ],
)
def test_a_driver_that_errs_in_a_command_fails_it_and_the_robot_goes_on(
    does: str, state: str, reason: str, detail: str
) -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            driver.does = does
            status = await made.agent.do("move", {"distance_m": 0.3})
            assert (status["state"], status.get("reason")) == (state, reason)
            assert detail in status.get("detail", "")
            faults = made.agent.of("event/fault")
            assert bool(faults) == (does in ("raises", "breaks"))
            driver.does = ""
            assert (await made.agent.do("move", {"distance_m": 0.3}))["state"] == "succeeded"

    run(main(), virtual=True)


@pytest.mark.parametrize("does", ["fails in sense", "gives nothing", "fails in actuate", "fails in brake"])
def test_a_driver_that_fails_at_the_motors_stops_the_robot_and_ends_the_program(does: str) -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            id = await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            assert driver.velocity.vx > 0.3
            driver.does = does
            if does == "fails in brake":
                await made.agent.publish(robot_topic(FLEET, ROBOT, "estop/set"), b"")
            await made.agent.wait(6)
            assert made.job is not None and made.job.done()
            assert isinstance(made.error, DriverFailed)
            assert does.rsplit(maxsplit=1)[-1] in str(made.error) or does == "gives nothing"
            stopped(made)
            assert made.agent.last("connection")["state"] == "lost"
            assert made.agent.last("event/fault")["level"] == "fatal"
            assert made.agent.last("safety")["estop"] == "latched"
            assert made.agent.statuses(id)[-1]["reason"] == "estop_latched"

    run(main(), virtual=True)


def test_a_driver_that_does_not_end_its_command_is_told_and_its_wishes_count_no_more() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            driver.does = "does not end"
            id = await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.0)
            await made.agent.begin("cancel", {"target": id})
            told = made.clock.now()
            status = await made.agent.ended(id)
            assert (status["state"], status["reason"]) == ("failed", "hardware")
            assert 1.9 * SECOND < made.clock.now() - told < 2.2 * SECOND
            assert driver.velocity.still and driver.brakes
            driver.does = ""  # the next one is obeyed, whatever the first still wishes
            second = await made.agent.begin("say", {"text": "hello"})
            assert (await made.agent.ended(second))["state"] == "succeeded"
            assert len([each for each in made.agent.statuses(id) if each["state"] == "failed"]) == 1

    run(main(), virtual=True)


def test_a_driver_that_swallows_the_cancellation_is_cancelled_all_the_same() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            driver.does = "swallows"
            id = await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.0)
            await made.agent.begin("cancel", {"target": id})
            status = await made.agent.ended(id)
            assert status["state"] == "cancelled" and status["result"] == {"n": 2}

    run(main(), virtual=True)


def test_what_replaces_begins_after_what_it_replaces_has_ended() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.0)
            await made.agent.do("turn", {"angle_rad": 0.5})
            assert driver.order == ["begin move", "end move", "begin turn", "end turn"]

    run(main(), virtual=True)


def test_a_broken_connection_is_made_again_and_all_is_told_anew() -> None:
    async def main() -> None:
        async with room() as made:
            await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(1)
            made.broker.drop("robot")
            await made.agent.wait(0.1)
            assert made.agent.last("connection")["state"] == "lost"
            await made.agent.wait(1.5)
            assert made.agent.last("connection")["state"] == "online"
            assert len(made.agent.of("factsheet")) == 2
            assert made.node.link.counts.reconnects == 1
            await made.agent.wait(1)
            assert made.agent.last("state")["boot"] == made.node.factsheet.boot

    run(main(), virtual=True)


def test_an_agent_that_falls_silent_stops_the_goal_and_loses_the_lease() -> None:
    async def main() -> None:
        async with room() as made:
            id = await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(1.5)
            made.agent.beating = False
            await made.agent.wait(2.5)
            assert made.agent.statuses(id)[-1]["reason"] == "link_lost"
            assert made.driver.velocity.still
            assert made.agent.last("lease") == {}

    run(main(), virtual=True)


def test_leaving_while_it_drives_rests_first_and_tells_the_ends() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            id = await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(1.5)
            fast = driver.velocity.vx
            assert made.job is not None
            made.job.cancel()
            await asyncio.wait([made.job])
            stopped(made)
            assert made.agent.statuses(id)[-1]["state"] == "cancelled"
            given = [v.vx for _, v in driver.gave]
            brakes = Profile.load("diff-drive").factsheet.limits.brake
            assert fast > 0.3 and max(a - b for a, b in pairwise(given)) < brakes * 0.02 + 1e-6  # braked, not cut
            assert made.agent.last("connection")["state"] == "offline"

    run(main(), virtual=True)


def test_a_stop_while_the_driver_streams_on_rests_within_a_quarter_of_a_second() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 2.5})
            await made.agent.wait(1.5)
            begun = made.clock.now()
            await made.agent.publish(robot_topic(FLEET, ROBOT, "estop/set"), b"\xff\x00")
            await made.agent.wait(1.0)
            moving = [t for t, v in driver.gave if t > begun and not v.still]
            assert moving and max(moving) - begun < 0.27 * SECOND
            assert driver.brakes == 1

    run(main(), virtual=True)


def test_a_loop_that_was_late_is_told() -> None:
    async def main() -> None:
        driver = Strange()
        async with room(driver=driver) as made:
            await made.agent.wait(2)
            made.node._reporting.late_most, made.node._reporting.late = (
                312_000_000,
                1,
            )  # no machine is stopped for a test
            await made.agent.wait(1.1)
            warned = [body[0] for body in made.agent.of("diag") if body[0]["level"]]
            assert warned[0]["msg"] == "late by 312 ms" and warned[0]["kv"]["late_times"] == 1

    run(main(), virtual=True)


def test_every_decision_is_noted_with_its_reason() -> None:
    async def main() -> None:
        async with room() as made:
            await made.agent.do("move", {"distance_m": 50.0})
            await made.agent.do("fly")
            await made.agent.do("nav.goto", {"x": 1.0, "y": 1.0}, confirm="no")
            told = [(note.name, note.verdict, note.reason) for note in made.notes if note.verdict == "rejected"]
            assert told == [
                ("move", "rejected", "limit"), ("fly", "rejected", "unknown_capability"),
                ("nav.goto", "rejected", "needs_confirm"),
            ]  # fmt: skip

    run(main(), virtual=True)


def test_the_watchdog_is_told_while_it_comes_to_rest() -> None:
    async def main() -> None:
        async with room() as made:
            steps: list[int] = []
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            made.node._stepped = lambda: steps.append(made.clock.now())
            begun = made.clock.now()
            assert made.job is not None
            made.job.cancel()
            await asyncio.wait([made.job])
            assert sum(at > begun for at in steps) >= 5

    run(main(), virtual=True)

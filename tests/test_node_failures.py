"""Drivers that go wrong: whatever they do, the motors get their zero, the driver is closed, and it is told why."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from embodied.node.driver import Task, TaskFailed
from embodied.node.node import DriverFailed, GuardsFailed
from embodied.node.profile import Profile
from embodied.node.sensing import checked
from embodied.node.simulator import SimulatedRobot
from embodied.robot.decisions import Note, Scan, Sensed, Velocity
from streams.clock import run
from tests.node_room import Room, room


class Wrong(SimulatedRobot):
    """Senses with `fields` changed, gives `result`, raises `raises` in `perform`, and closes as `closing` says."""

    def __init__(self) -> None:
        super().__init__(Profile.load("diff-drive"))
        self.fields: dict[str, Any] = {}
        self.result: Any = None
        self.raises: Exception | None = None
        self.closing: Any = None
        self.closes = 0
        self.gave = Velocity()

    def sense(self, now: int) -> Sensed:
        return structs.replace(super().sense(now), **self.fields)

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        self.gave = velocity
        super().actuate(velocity, joints, now)

    async def perform(self, task: Task) -> Any:
        if self.raises is not None:
            raise self.raises
        return self.result if self.result is not None else await super().perform(task)

    async def close(self) -> None:
        self.closes += 1
        await super().close()
        if self.closing is not None:
            await self.closing()


async def gone(made: Room) -> None:
    """The program has ended, and the robot rests and is lost."""
    await made.agent.wait(4)
    assert made.job is not None and made.job.done()
    assert made.driver.gave == Velocity() and made.driver.closes == 1
    assert made.agent.last("connection")["state"] == "lost"
    assert made.agent.last("event/fault")["level"] == "fatal"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"velocity": (0.4, 0.0)}, "sense gave velocity=(0.4, 0.0): a Velocity is needed"),
        ({"velocity": Velocity(vx=math.nan)}, "finite numbers are needed"),
        ({"velocity": Velocity(vx="fast")}, "sense gave velocity='fast': a number is needed"),  # type: ignore[arg-type]
        ({"pose": (0.0, 1.0)}, "sense gave pose=(0.0, 1.0): x, y and yaw are needed"),
        ({"pose": ("a", 0.0, 0.0)}, "pose='a'"),
        ({"odom_t": "now"}, "odom_t='now'"),
        ({"odom_t": 1.5}, "odom_t=1.5"),
        ({"scan": [1.0]}, "scan=[1.0]"),
        ({"scan": Scan(0, 0.0, 0.1, 5)}, "distances in a tuple"),  # type: ignore[arg-type]
        ({"scan": Scan(0, math.nan, 0.1, ())}, "angles"),
        ({"joints": [0.1]}, "joints=[0.1]"),
        ({"joints": {"j1": None}}, "joints['j1']=None"),
        ({"mode": "sleepy"}, "mode='sleepy'"),
        ({"bumper": None}, "bumper=None"),
        ({"hardware_stop": "no"}, "hardware_stop='no'"),
        ({"battery": "full"}, "battery='full'"),
        ({"errors": "hot"}, "errors='hot'"),
    ],
)
def test_a_sensed_of_another_shape_is_the_drivers_failure_and_the_motors_stop(
    fields: dict[str, Any], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            assert driver.velocity.vx > 0.3
            driver.fields = fields
            await gone(made)
            assert isinstance(made.error, DriverFailed) and told in str(made.error)
            assert told in made.agent.last("event/fault")["detail"]

    run(main(), virtual=True)
    assert "sensing.py" in capfd.readouterr().err


def test_what_other_libraries_call_numbers_is_taken() -> None:
    given = Sensed(
        np.int64(5), np.zeros(3), Velocity(np.float32(0.5)), Scan(np.int64(1), 0, 1, np.ones(2)), "front",  # type: ignore[arg-type]
        np.True_, {"j1": np.float32(1)}, hardware_stop=0, battery=1, errors=["hot"],  # type: ignore[arg-type]
    )  # fmt: skip
    sensed, faults = checked(given)
    assert not faults and sensed == Sensed(
        5, (0.0, 0.0, 0.0), Velocity(0.5), Scan(1, 0.0, 1.0, (1.0, 1.0)), "front", True, {"j1": 1.0}, battery=1.0,
        errors=("hot",),
    )  # fmt: skip
    assert type(sensed.velocity.vx) is float and type(sensed.hardware_stop) is bool


def test_a_pose_that_is_no_number_is_a_sensors_fault_and_the_base_rests_without_odometry() -> None:
    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.5)
            driver.fields = {"pose": (math.nan, 0.0, 0.0), "battery": math.inf, "joints": {"j1": math.nan}}
            await made.agent.wait(3)
            assert made.job is not None and not made.job.done()
            assert driver.velocity == Velocity()
            faults = {body["detail"].split("(")[0] for body in made.agent.of("event/fault")}
            assert len(faults) == 3 and any("pose is not finite" in each for each in faults)
            assert len(made.agent.of("event/fault")) <= 12
            assert made.node.sensed.odom_t is None and made.node.sensed.pose is None
            assert not made.agent.of("event/guard_trip") or "geofence" not in str(made.agent.of("event/guard_trip"))
            driver.fields = {}
            await made.agent.wait(0.1)
            assert (await made.agent.do("move", {"distance_m": 0.3}))["state"] == "succeeded"

    run(main(), virtual=True)


@pytest.mark.parametrize("where", ["sense", "tick", "hear", "drive", "finished"])
def test_guards_that_fail_take_no_zero_away_from_the_motors(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours, of any kind: goodbye and stop of the guards fail, too."""

    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 0.8})
            await made.agent.wait(1.0)
            assert driver.velocity.vx > 0.2

            def broken(*_: Any, **__: Any) -> Any:
                raise AttributeError("of ours")

            for each in (where, "goodbye", "stop", "joints"):
                monkeypatch.setattr(made.node.guarded, each, broken)
            await gone(made)
            assert isinstance(made.error, GuardsFailed) and "of ours" in str(made.error)

    run(main(), virtual=True)


def test_a_log_that_raises_stops_the_robot_like_any_other_mistake() -> None:
    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            await made.agent.begin("move", {"distance_m": 2.0})
            await made.agent.wait(1.0)

            def audit(note: Note) -> None:
                raise OSError("no space")

            made.node._audit = audit
            await made.agent.begin("lamp", {"on": True})
            await gone(made)
            assert isinstance(made.error, GuardsFailed)

    run(main(), virtual=True)


def test_who_wrote_the_driver_sees_the_traceback_once_and_agents_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            driver.raises = KeyError("line one\nline two")
            for _ in range(3):
                await made.agent.wait(1)
                status = await made.agent.do("move", {"distance_m": 0.3})
                assert status["reason"] == "internal" and "\n" not in status["detail"]
            assert all("\n" not in body["detail"] for body in made.agent.of("event/fault"))
            driver.raises = TaskFailed("obstacle", "a\nb")
            await made.agent.wait(2)
            assert (await made.agent.do("move", {"distance_m": 0.3}))["detail"] == "a b"

    run(main(), virtual=True)
    err = capfd.readouterr().err
    assert err.count("Traceback") == 1 and "perform went wrong" in err and "test_node_failures.py" in err


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (object(), "cannot be sent: object"),
        ({"x": math.nan}, "not finite"),
        ("x" * 20_000, "20002 bytes"),
        ("x" * 70_000, "70002 bytes"),
    ],
)
def test_a_result_that_cannot_be_sent_is_no_success(result: Any, told: str) -> None:
    async def main() -> None:
        driver = Wrong()
        async with room(driver=driver) as made:
            driver.result = result
            status = await made.agent.do("move", {"distance_m": 0.3})
            assert (status["state"], status["reason"]) == ("failed", "internal")
            assert told in status["detail"] and "it was done" in status["detail"]

    run(main(), virtual=True)


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_driver_that_cannot_be_closed_is_told_on_the_terminal(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def closing() -> None:
        if how == "raises":
            raise OSError("the port is gone")
        await asyncio.Event().wait()

    async def main() -> str:
        driver = Wrong()
        driver.closing = closing
        async with room(driver=driver) as made:
            await made.agent.wait(0.5)
        return made.node.unclosed

    unclosed = run(main(), virtual=True)
    assert unclosed == ("OSError: the port is gone" if how == "raises" else "it did not end within 2 s")
    err = capfd.readouterr().err
    assert f"could not be closed ({unclosed})" in err
    assert ("Traceback" in err) == (how == "raises")

"""The simulated base: where it is, when, and how far it really went."""

import asyncio
import math
from typing import Any

import pytest

from embodied.motion import SimulatedBase
from streams.clock import SECOND, Clock, run
from streams.types import Command, Outcome


def go(*commands: Command, halt_at: float | None = None) -> list[tuple[float, Outcome]]:
    """Perform `commands` at once; what ended when (s)."""

    async def main() -> list[tuple[float, Outcome]]:
        clock = Clock()
        base = SimulatedBase(clock)
        ended = []

        async def perform(command: Command) -> None:
            outcome = await base.perform(command)
            ended.append((clock.now() / SECOND, outcome))

        async with asyncio.TaskGroup() as group:
            for command in commands:
                group.create_task(perform(command))
            if halt_at is not None:
                await clock.sleep_until(round(halt_at * SECOND))
                await base.halt()
        return ended

    return run(main(), virtual=True)


def test_moves_take_the_time_that_speed_and_acceleration_ask_for() -> None:
    ended = go(
        Command("move", {"distance_m": 1.0}, id=1),  # 0.5 m/s, 0.5 m/s²: one second up, one at speed, one down
        Command("turn", {"angle_rad": math.pi / 2}, id=2),
        Command("move", {"distance_m": -0.5}, id=3),
        Command("come_back", {}, id=4),
    )
    assert [outcome.status for _, outcome in ended] == ["done"] * 4
    assert ended[0][0] == pytest.approx(3.0)
    assert ended[1][0] - ended[0][0] == pytest.approx(math.pi / 2 + 0.5)
    third, home = ended[2][1].result, ended[3][1].result
    assert (third["x_m"], third["y_m"], third["distance_m"]) == pytest.approx((1.0, -0.5, -0.5), abs=1e-5)
    assert (home["x_m"], home["y_m"], home["heading_rad"]) == pytest.approx((0, 0, 0), abs=1e-5)


@pytest.mark.parametrize("halt_at", [0.2, 0.9, 1.5, 2.2, 2.9])
def test_halted_it_brakes_and_says_how_far_it_went(halt_at: float) -> None:
    (when, outcome), *waiting = go(
        Command("move", {"distance_m": 1.0}, id=1), Command("move", {"distance_m": 1.0}, id=2), halt_at=halt_at
    )
    assert (when, outcome.status) == (pytest.approx(halt_at), "cut")
    speed = min(0.5, 0.5 * halt_at, 0.5 * (3 - halt_at))
    way = (
        0.25 * halt_at**2
        if halt_at < 1
        else 0.25 + 0.5 * (halt_at - 1)
        if halt_at < 2
        else 1 - 0.25 * (3 - halt_at) ** 2
    )
    assert outcome.result["distance_m"] == pytest.approx(min(1.0, way + speed**2), abs=1e-6)
    ((_, other),) = waiting
    assert (other.status, other.result["distance_m"]) == ("fenced", 0)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("fly", {}, "this robot cannot 'fly'; it can: move, turn, come_back"),
        ("move", {}, "move takes distance_m, not nothing"),
        ("move", {"distance_m": 1, "speed": 2}, "move takes distance_m, not distance_m, speed"),
        ("come_back", {"now": True}, "come_back takes no arguments, not now"),
        ("move", {"distance_m": math.nan}, "distance_m = nan is not a number from -10 to 10"),
        ("move", {"distance_m": math.inf}, "distance_m = inf is not a number from -10 to 10"),
        ("move", {"distance_m": -10.1}, "distance_m = -10.1 is not a number from -10 to 10"),
        ("move", {"distance_m": "1"}, "distance_m = '1' is not a number from -10 to 10"),
        ("turn", {"angle_rad": True}, "angle_rad = True is not a number from -6.28319 to 6.28319"),
    ],
)
def test_what_it_cannot_do_is_refused_with_a_reason(name: str, arguments: dict[str, Any], reason: str) -> None:
    ((when, outcome),) = go(Command(name, arguments, id=1))
    assert (when, outcome.status, outcome.detail) == (0, "refused", reason)


def test_going_nowhere_is_done_at_once() -> None:
    ((when, outcome),) = go(Command("move", {"distance_m": 0.0}, id=1))
    assert (when, outcome.status) == (0, "done")

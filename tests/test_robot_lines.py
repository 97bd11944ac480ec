"""Robots in the terminal: lines of the narration, and the small map."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.narration import ALARM, Narrator
from agent.robots.map_text import LOWEST, NARROWEST, draw
from streams.clock import MS
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, PERCEPT, Topic
from streams.types import (
    Attached,
    BodyState,
    Command,
    Halt,
    Outcome,
    Progress,
    Steered,
    StopPressed,
    Tripped,
)

FENCE = ((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0))


class Told:
    """A narrator; what it says of packets at given milliseconds. alarming: of the lines, those that stand out"""

    def __init__(self) -> None:
        self.narrator = Narrator()
        self.alarming: list[str] = []
        self._order = 0

    def __call__(self, t_ms: int, topic: Topic[Any], data: Any) -> list[str]:
        self._order += 1
        t = t_ms * MS
        lines = self.narrator.feed(Packet(topic, t, t, self._order, self._order, data))
        self.alarming += [line.text.plain for line in lines if line.text.style == ALARM]
        return [f"{line.who}: {line.text.plain}" for line in lines]

    @property
    def now(self) -> list[str]:
        return [line.text.plain for line in self.narrator.now]


def state(x: float = 0.0, heading: float = 0.0, speed: float = 0.0, **more: Any) -> BodyState:
    return BodyState("robot7", pose=(x, 0.0, heading), speed=(speed, 0.0), **more)


def test_a_command_is_told_from_its_sending_to_how_far_it_went() -> None:
    told = Told()
    attached = Attached("robot7", "diff_drive", "Small", 0.2, FENCE, (), (0.5, 1.5))
    assert told(0, FEEDBACK, attached) == [
        "body: robot7 attached: Small, diff drive, up to 0.5 m/s and 1.5 rad/s, inside a fence"
    ]
    assert told(5, FEEDBACK, attached) == []
    assert told(10, FEEDBACK, state()) == []
    told(100, ACTION, Command("move", {"distance_m": 1.0}, id=3))
    assert told(101, FEEDBACK, Progress(1, 3, "move", "robot7", "sent")) == ["body: move: sent to robot7"]
    assert told(105, FEEDBACK, Progress(1, 3, "move", "robot7", "accepted")) == [
        "body: move: robot7 accepts it, 4 ms after it was sent"
    ]
    for step in range(1, 6):
        assert told(100 + step * 200, FEEDBACK, Progress(1, 3, "move", "robot7", "running", step / 5)) == []
        assert told(100 + step * 200, FEEDBACK, state(step / 5, step * 0.1, 0.5)) == []
    assert told.now == ["move(distance_m=1.0) 100% ..."]
    assert told(1150, FEEDBACK, Progress(1, 3, "move", "robot7", "paused", 1.0, "somebody is near")) == [
        "body: move: robot7 pauses it (somebody is near)"
    ]
    assert told(1160, FEEDBACK, Progress(1, 3, "move", "robot7", "running")) == ["body: move: robot7 goes on"]
    assert told(1200, FEEDBACK, Outcome(1, 3, "Command", "move", "done")) == [
        "body: move(distance_m=1.0): done, went 1.00 m, turned 29°  (0.10-1.20)"
    ]
    assert told.alarming == []
    assert told(1300, FEEDBACK, Attached("robot7", "diff_drive", "Small")) == [
        "body: robot7 has changed: Small, diff drive"
    ]


def test_how_far_it_went_is_what_the_robot_says_of_it() -> None:
    told = Told()
    told(0, FEEDBACK, state())
    told(100, ACTION, Command("move", {}, id=1))
    told(101, FEEDBACK, Progress(1, 1, "move", "robot7", "sent"))
    told(600, FEEDBACK, state(0.46, speed=0.5))  # and nothing more: the agent was frozen
    result = {"distance_m": -1.0361, "angle_rad": math.pi / 2}
    [line] = told(4000, FEEDBACK, Outcome(1, 1, "Command", "move", "done", result=result))
    assert "done, went 1.04 m, turned 90° ->" in line


def test_of_a_way_that_was_not_seen_to_its_end_nothing_is_told() -> None:
    def line(*between: tuple[int, BodyState], first: BodyState | None = None) -> str:
        told = Told()
        told(0, FEEDBACK, first or state())
        told(100, ACTION, Command("move", {}, id=1))
        told(101, FEEDBACK, Progress(1, 1, "move", "robot7", "sent"))
        for t_ms, each in between:
            told(t_ms, FEEDBACK, each)
        [said] = told(4000, FEEDBACK, Outcome(1, 1, "Command", "move", "failed", "something", {"left_m": True}))
        return said

    unseen = BodyState("robot7", "unknown")
    assert ", went 1.00 m" in line((600, state(0.4, speed=0.5)), (900, state(1.0)))  # then it stood
    assert "went" not in line((600, state(0.4, speed=0.5)))
    assert "went" not in line((600, state(0.4, speed=0.5)), (3900, state(1.0)))
    assert "went" not in line((600, state(0.4, speed=0.5)), (900, unseen), (1900, state(0.9)), (2100, state(1.0)))
    assert "went" not in line((600, state(0.4, speed=0.5)), (700, state(0.45)), first=unseen)


def test_a_turn_over_the_back_is_counted_the_short_way() -> None:
    told = Told()
    told(0, FEEDBACK, state(heading=3.0))
    told(1, ACTION, Command("turn", {}, id=1))
    told(2, FEEDBACK, Progress(1, 1, "turn", "robot7", "sent"))
    told(3, FEEDBACK, state(heading=-3.0))
    [line] = told(4, FEEDBACK, Outcome(1, 1, "Command", "turn", "cut", "stopped"))
    assert "cut (stopped), turned 16°" in line


def test_how_a_stop_ended_and_what_stays_is_told() -> None:
    told = Told()
    told(0, FEEDBACK, state(0.0, speed=0.5))
    told(1000, PERCEPT, StopPressed("console", latch=True))
    assert told(1000, ACTION, Halt("pressed", latch=True)) == [
        ": EMERGENCY STOP pressed, everything halts until it is reset"
    ]
    assert told(1100, FEEDBACK, state(0.05, speed=0.2)) == []
    assert told(1200, FEEDBACK, state(0.06, estop="latched")) == [
        "body: robot7: STOP LATCHED, until an operator resets it",
        "body: robot7 stands 0.20 s after it was stopped, 6 cm further",
    ]
    assert told(1300, FEEDBACK, state(0.06, estop="latched")) == []
    assert told(9000, FEEDBACK, state(0.06)) == ["body: robot7: the stop is reset, it may move again"]
    assert told(9100, ACTION, Halt("pressed")) == [": STOP pressed, everything halts"]
    assert told(9200, FEEDBACK, state(0.06)) == []  # it stood already
    assert len(told.alarming) == 3


def test_a_robot_that_is_lost_guards_and_hands_are_told() -> None:
    told = Told()
    told(0, FEEDBACK, state())
    assert told(1, FEEDBACK, state(link="suspended")) == ["body: robot7 has not been heard for half a second"]
    assert told(2, FEEDBACK, state(link="unknown")) == ["body: robot7 is LOST: what became of its commands is unknown"]
    assert told(3, FEEDBACK, state(errors=("motor hot",), mode="manual")) == [
        "body: robot7 is heard again",
        "body: robot7: motor hot",
        "body: robot7: mode manual",
    ]
    assert told(4, FEEDBACK, Tripped("robot7", "obstacle", "warning", "obstacle", "0.29 m free", 3)) == [
        "body: robot7: guard obstacle, 0.29 m free (3 times)"
    ]
    assert told(5, FEEDBACK, Tripped("robot7", "fence", "info", "geofence")) == ["body: robot7: guard fence, geofence"]
    assert told.alarming == [
        "robot7 is LOST: what became of its commands is unknown",
        "robot7: motor hot",
        "robot7: guard obstacle, 0.29 m free (3 times)",
    ]
    assert told(1000, PERCEPT, Steered(0.1, by="console", robot="robot7")) == [
        "body: robot7 is steered by hand (console)"
    ]
    assert told(1100, PERCEPT, Steered(0.2, by="console", robot="robot7")) == []
    assert told(1500, PERCEPT, Steered(by="console", robot="robot7")) == ["body: robot7 is let go of, after 0.50 s"]
    assert told(1600, PERCEPT, Steered(by="console", robot="robot7")) == []


def test_a_robot_that_was_not_heard_yet_is_not_lost() -> None:
    told = Told()
    assert told(0, FEEDBACK, state(link="unknown")) == []
    assert told(1, FEEDBACK, state()) == []
    assert told(2, FEEDBACK, state(link="unknown")) == ["body: robot7 is LOST: what became of its commands is unknown"]


def test_what_the_simulated_base_does_is_told_as_before() -> None:
    told = Told()
    told(0, ACTION, Command("move", {"distance_m": 1.0}, id=1))
    assert told.now == ["move(distance_m=1.0) ..."]
    assert told(5, FEEDBACK, Outcome(0, 1, "Command", "move", "done")) == [
        "body: move(distance_m=1.0): done  (0.00-0.01)"
    ]


# --- the map


def test_the_map_shows_where_it_is_and_was_and_may_be() -> None:
    way = [(step / 20, 0.0) for step in range(30)] + [(1.5, -step / 20) for step in range(20)]
    seen = draw(state(), way, FENCE, 60, 20, keep_out=[[(1, 1), (2, 1), (2, 2)]]).split("\n")
    assert len(seen) == 20 and all(len(line) <= 60 for line in seen)
    assert sum("#" * 20 in line for line in seen) == 2
    robot = BodyState("robot7", pose=(1.5, -1.0, -math.pi / 2), estop="none", guards=("obstacle",))
    lines = draw(robot, way, FENCE, 60, 20).split("\n")
    row = next(line for line in lines if "▶" in line)  # it looks to the right, where y is negative
    assert re.search(r"·{3,}▶", row)
    below = lines[lines.index(row) + 1]
    assert "·" in below and below.index("·") < row.index("▶")
    assert re.fullmatch(r"\|-+\| 2 m  x up, y left", lines[-2])
    bar = len(lines[-2].split(" ")[0]) - 1
    edge = max(lines, key=lambda line: line.count("#"))
    assert edge.count("#") - 1 == pytest.approx(3 * bar, abs=2)  # 6 m
    assert lines[-1] == "robot7  x 1.50 m, y -1.00 m, -90°  held by obstacle"


@pytest.mark.parametrize(
    ("heading", "sign"), [(0, "▲"), (1.57, "◀"), (3.14, "▼"), (-3.14, "▼"), (-1.57, "▶"), (7.0, "◤")]
)
def test_the_arrow_looks_where_the_robot_does(heading: float, sign: str) -> None:
    assert sign in draw(state(heading=heading))


def test_the_map_says_what_is_not_known() -> None:
    assert draw(None).endswith("nothing was heard of a robot yet")
    assert draw(BodyState("robot7")).endswith("robot7  it does not say where it is")
    latched = draw(state(estop="latched", link="suspended"), width=80)
    assert "■" in latched and latched.endswith("STOP LATCHED  link suspended")


numbers = st.floats(allow_nan=True, allow_infinity=True)
points = st.lists(st.tuples(numbers, numbers), max_size=8)


@given(st.tuples(numbers, numbers, numbers), points, points, st.integers(-5, 90), st.integers(-5, 40))
def test_whatever_it_is_given_the_map_keeps_its_size(
    pose: tuple[float, float, float],
    way: list[tuple[float, float]],
    fence: list[tuple[float, float]],
    width: int,
    height: int,
) -> None:
    lines = draw(BodyState("robot7", pose=pose), way, fence, width, height, keep_out=[fence]).split("\n")
    assert len(lines) == max(LOWEST, height)
    assert all(len(line) <= max(NARROWEST, width) for line in lines)

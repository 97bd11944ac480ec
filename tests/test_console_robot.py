"""Robots over the console's WebSocket: who steers, what stops, and what who joins late is told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from agent import config
from agent.console.host import Host
from agent.console.protocol import ProtocolError, Steer
from agent.console.robot import Hands, held_to
from agent.console.settings import ConsoleConfig
from agent.console.standing import MOST, Standing
from agent.console.summary import summary
from agent.replay import Replay
from agent.replaying import perform
from streams.clock import MS, SECOND, Clock, run
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK, PERCEPT, Topic
from streams.types import (
    Attached,
    BodyState,
    Command,
    Halt,
    Offered,
    Outcome,
    Progress,
    Steered,
    StopPressed,
    Tripped,
)
from tests.console_page import Page, opened
from tests.paper_robots import PaperRobot, making
from tests.test_console import held


def with_robots(act: Callable[[Host], Awaitable[Any]], folder: Path, *robots: PaperRobot, **options: Any) -> Any:
    """What `act(host)` gives, with a console whose sessions have these robots."""
    return held(act, folder, make=making(*robots), **options)


def steered(page: Page) -> list[tuple[float, float, float, str]]:
    return [(event["vx"], event["vy"], event["wz"], event["robot"]) for event in page.of("Steered")]


REST = (0.0, 0.0, 0.0, "robot7")


# --- who steers


def test_what_is_steered_is_held_to_the_robots_speeds_and_reaches_it(tmp_path: Path) -> None:
    robot, other = PaperRobot(), PaperRobot("robot8", speeds=(0.0, 0.4), there=False)

    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("Attached"))
            other.there = True
            await page.until(lambda page: len(page.of("Attached")) == 2)
            await page.send(type="steer", vx=3.0, vy=4.0, wz=-9.0, robot="robot7")
            await page.send(type="steer", vx=0.1, vy=0, wz=0)  # the first one's is the name that is left out
            await page.send(type="steer", vx=0.0, vy=0, wz=5, robot="robot8")  # and so robot7 rests
            await page.send(type="steer", robot="robot8")
            await page.send(type="steer", robot="robot8")  # nobody steers any more: no news
            await page.until(lambda page: len(steered(page)) >= 5)
            assert steered(page)[0][:3] == pytest.approx((0.3, 0.4, -1.5))
            assert steered(page)[0][3] == "robot7"
            assert steered(page)[1:] == [
                (0.1, 0.0, 0.0, "robot7"),
                REST,
                (0.0, 0.0, 0.4, "robot8"),
                (0.0, 0.0, 0.0, "robot8"),
            ]
            assert all(event["by"] == "console" and event["topic"] == "percept" for event in page.of("Steered"))
            for wrong in ({"robot": "robot9", "vx": 0.1}, {"robot": "robot8", "vx": 0.1}):
                await page.send(type="steer", **wrong)
            await page.until(lambda page: len(page.messages("error")) == 2)
            first, second = (message["message"] for message in page.messages("error"))
            assert "robot9" in first and "robot8 cannot be steered so" in second
            assert len(steered(page)) == 5
        assert [each.vx for each in robot.told][:2] == pytest.approx([0.3, 0.1])  # type: ignore[union-attr]
        assert len(other.told) == 2

    with_robots(act, tmp_path, robot, other)


@pytest.mark.parametrize(
    "wrong",
    [
        '{"type":"steer","vx":NaN}',
        '{"type":"steer","vx":Infinity}',
        '{"type":"steer","vx":1e999}',
        '{"type":"steer","vx":1001}',
        '{"type":"steer","wz":-1e300}',
        '{"type":"steer","vx":"fast"}',
        '{"type":"steer","vx":null}',
        '{"type":"steer","vx":true}',
        '{"type":"steer","vx":0.1,"robot":["robot7"]}',
        json.dumps({"type": "steer", "vx": 0.1, "robot": "x" * 65}),
        '{"type":"stop","latch":"yes"}',
    ],
)
def test_what_is_no_speed_is_refused(wrong: str) -> None:
    from agent.console.protocol import read_text

    with pytest.raises(ProtocolError):
        read_text(wrong)


def test_too_many_a_second_are_let_fall_and_to_let_go_is_never_too_often(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("Attached"))
            for number in range(120):
                await page.send(type="steer", vx=0.1 + number / 1e4)
            await page.send(type="steer")
            await page.until(lambda page: REST in steered(page))
            assert 30 <= len(steered(page)) <= 60
            assert steered(page)[-1] == REST

    with_robots(act, tmp_path, PaperRobot())


def test_a_page_that_dies_while_it_steers_lets_the_robot_rest(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as watcher:
            await watcher.until(lambda page: page.of("Attached"))
            async with opened(host.address) as page:
                await page.send(type="steer", vx=0.2)
                await watcher.until(steered)
                page.socket.transport.abort()  # no goodbye
                begin = page.now()
                await watcher.until(lambda page: REST in steered(page))
                assert page.now() - begin < 0.45  # because it has gone, not because it is silent
            assert steered(watcher) == [(0.2, 0.0, 0.0, "robot7"), REST]

    with_robots(act, tmp_path, PaperRobot())


def test_a_page_that_is_silent_while_it_steers_lets_the_robot_rest_and_may_go_on(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("Attached"))
            await page.send(type="steer", vx=0.2)
            await page.until(lambda page: REST in steered(page))
            [moved, rested] = page.of("Steered")
            assert 0.5 <= rested["t"] - moved["t"] < 1.5
            await page.send(type="steer", vx=0.2)
            await page.until(lambda page: len(steered(page)) == 3)

    with_robots(act, tmp_path, PaperRobot())


def test_what_was_under_way_for_long_is_not_obeyed(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("Attached"))
            await page.send(type="ping", time=page.now() * 1000)
            await page.until(lambda page: page.messages("pong"))
            await page.send(type="steer", vx=0.2, time=page.now() * 1000 - 600)
            await page.send(type="steer", vx=0.3, time=page.now() * 1000)
            await page.until(steered)
            assert steered(page)[0][0] == 0.3

    with_robots(act, tmp_path, PaperRobot())


def test_one_page_at_a_time_steers_a_robot_and_the_other_is_told(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page, opened(host.address) as other:
            await page.until(lambda page: page.of("Attached"))
            await page.send(type="steer", vx=0.2)
            await page.until(steered)
            await other.send(type="steer", vx=0.4)
            [told] = await other.until(lambda other: other.messages("let_go"))
            assert told["reason"].startswith("somebody else steers robot7 (viewer ")
            await page.send(type="steer")
            await page.until(lambda page: REST in steered(page))
            await other.send(type="steer", vx=0.4)  # it has not let go yet
            await other.send(type="steer")
            await other.send(type="steer", vx=0.41)
            await page.until(lambda page: len(steered(page)) == 3)
            assert [vx for vx, *_ in steered(page)] == [0.2, 0.0, 0.41]
            assert len(other.messages("let_go")) == 1

    with_robots(act, tmp_path, PaperRobot())


@pytest.mark.parametrize("how", ["stop", "emergency", "word"])
def test_a_stop_ends_steering_until_it_is_let_go(tmp_path: Path, how: str) -> None:
    robot = PaperRobot()

    async def act(host: Host) -> None:
        async with opened(host.address) as page, opened(host.address) as other:
            await page.until(lambda page: page.of("Attached"))
            await page.send(type="steer", vx=0.2)
            await page.until(steered)
            match how:
                case "stop":
                    await other.send(type="stop")
                case "emergency":
                    await other.send(type="stop", latch=True)
                case "word":
                    await other.send(type="text", text="stop")
            [told] = await page.until(lambda page: page.messages("let_go"))
            assert told["reason"] == "everything was stopped"
            await page.until(lambda page: page.of("Halt"))
            for _ in range(3):
                await page.send(type="steer", vx=0.2)  # the key is still held
            await page.send(type="steer")
            await page.send(type="steer", vx=0.25)
            await page.until(lambda page: steered(page)[-1][0] == 0.25)
            assert [vx for vx, *_ in steered(page)] == [0.2, 0.0, 0.25]
            [halt] = page.of("Halt")
            assert halt["latch"] == (how == "emergency")
            if how != "word":
                [pressed] = page.of("StopPressed")
                assert (pressed["by"], pressed["latch"]) == ("console", how == "emergency")
        assert any(isinstance(each, Halt) for each in robot.told)
        assert robot.state.estop == ("latched" if how == "emergency" else "none")

    with_robots(act, tmp_path, robot)


def test_without_a_robot_there_is_nothing_to_steer_and_stop_works_as_ever(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.send(type="steer", vx=0.2)
            [error] = await page.until(lambda page: page.messages("error"))
            assert "no robot" in error["message"]
            await page.send(type="stop")
            [pressed] = await page.until(lambda page: page.of("StopPressed"))
            assert pressed["latch"] is False
            assert not page.of("Attached") and not page.of("BodyState")

    held(act, tmp_path)


def test_directions_stay_when_speeds_are_held() -> None:
    assert held_to(Steer(vx=0.3, wz=0.2), 0.5, 1.5) == (0.3, 0.0, 0.2)
    x, y, turning = held_to(Steer(vx=-30, vy=40, wz=-7), 0.5, 1.5)
    assert (x, y, turning) == pytest.approx((-0.3, 0.4, -1.5))
    assert held_to(Steer(vx=1, wz=1), 0.0, 0.0) == (0.0, 0.0, 0.0)


class Paper:
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, topic: Topic[Any], t: int, data: Any) -> None:
        assert topic is PERCEPT
        self.told.append(data)


def test_hands_hold_nothing_without_a_session() -> None:
    async def main() -> None:
        hands, bus, clock = Hands(), Paper(), Clock()
        hands.attached(Attached("robot7", speeds=(0.5, 1.0)))
        hands.steer(1, Steer(vx=0.2))
        hands.stop()
        hands.left(1)
        running = asyncio.get_running_loop().create_task(hands.run(bus, clock))
        await clock.sleep_until(SECOND)
        assert bus.told == []
        hands.steer(1, Steer(vx=0.2))
        hands.stop()
        running.cancel()
        await asyncio.wait([running])
        hands.left(1)
        hands.steer(1, Steer(vx=0.2))
        assert bus.told == [Steered(0.2, 0.0, 0.0, "console", "robot7"), StopPressed("console", latch=True)]
        hands.forget()
        again = asyncio.get_running_loop().create_task(hands.run(bus, clock))
        await clock.sleep_until(clock.now() + 100 * MS)
        with pytest.raises(ProtocolError):
            hands.steer(1, Steer(vx=0.2))
        again.cancel()
        await asyncio.wait([again])

    run(main(), virtual=True)


# --- what pages are shown


def packet(order: int, topic: Topic[Any], data: Any) -> Packet[Any]:
    return Packet(topic, order, order, order, order, data)


def test_what_still_holds_is_kept_and_what_is_over_is_not() -> None:
    standing = Standing()
    told = [
        (FEEDBACK, Offered("toolbox", ())),
        (FEEDBACK, Attached("robot7")),
        (FEEDBACK, BodyState("robot7", mode="manual")),
        (ACTION, Command("move", id=3)),
        (FEEDBACK, Progress(1, 3, "move", "robot7", "sent")),
        (ACTION, Command("turn", id=4)),
        (FEEDBACK, Progress(1, 3, "move", "robot7", "running", 0.5)),
        (FEEDBACK, Outcome(1, 4, "Command", "turn", "done")),
        (FEEDBACK, Progress(1, 4, "turn", "robot7", "running", 0.5)),  # it comes too late
        (FEEDBACK, BodyState("robot7", mode="automatic")),
        (FEEDBACK, Tripped("robot7", "obstacle")),
    ]
    for order, (topic, data) in enumerate(told):
        standing.note(packet(order, topic, data), (order, str(order).encode()))
    assert standing.before(100) == [b"0", b"1", b"3", b"6", b"9"]
    assert standing.before(6) == [b"0", b"1", b"3"]
    for order in range(1000):
        standing.note(packet(order, ACTION, Command("move", id=order)), (order, b""))
    assert len(standing.before(10**9)) == MOST
    standing.clear()
    assert standing.before(10**9) == []


def test_who_joins_late_knows_the_robot_and_the_command_under_way(tmp_path: Path) -> None:
    robot = PaperRobot()

    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("BodyState"))
            begun = page.of("Attached")[0]["at"]
            await page.send(type="text", text="go forward five metres")
            [command] = await page.until(lambda page: page.of("Command"))
            await page.until(lambda page: page.of("BodyState")[-1]["at"] > command["at"] + 1.5)
            async with opened(host.address) as late:
                await late.until(lambda late: late.of("Progress"))
                assert [event["at"] for event in late.of("Attached")] == [begun]
                assert [event["id"] for event in late.of("Command")] == [command["id"]]
                orders = [event["order"] for event in late.events]
                assert orders == sorted(orders) and len(set(orders)) == len(orders)

    with_robots(act, tmp_path, robot, settings=ConsoleConfig(history_s=1.0))


def test_what_a_robot_says_at_length_is_shortened() -> None:
    line = summary(packet(1, FEEDBACK, BodyState("robot7", errors=("x" * 2000,) * 90, pose=(1.0, 2.0, 3.0))))
    assert len(json.dumps(line)) < 6000
    assert (line["where"], line["pose"], line["estop"]) == ("robot7", (1.0, 2.0, 3.0), "none")
    line = summary(packet(1, FEEDBACK, Tripped("robot7", "obstacle", detail="y" * 9000)))
    assert line["detail"].endswith("(9000 characters)")
    line = summary(packet(1, FEEDBACK, Progress(1, 2, "move", "robot7", "running", 0.5, "z" * 400)))
    assert line["progress"] == 0.5 and len(line["detail"]) < 400


def test_what_hands_did_is_recorded_and_replays(tmp_path: Path) -> None:
    async def act(host: Host) -> str:
        async with opened(host.address) as page:
            await page.until(lambda page: page.of("Attached"))
            for speed in (0.1, 0.2, 0.0):
                await page.send(type="steer", vx=speed)
            await page.until(lambda page: len(steered(page)) == 3)
            await page.send(type="stop", latch=True)
            await page.until(lambda page: page.of("BodyState")[-1]["estop"] == "latched")
            return str(page.session["recording"])

    recording = Recording.open(tmp_path / with_robots(act, tmp_path, PaperRobot(), record=True))
    kept = [packet.data for packet in recording.packets((PERCEPT,))]
    assert [each.vx for each in kept if isinstance(each, Steered)] == [0.1, 0.2, 0.0]
    assert [each.latch for each in kept if isinstance(each, StopPressed)] == [True]
    settings = config.reload(recording.header.config)
    performance = Replay(recording, mode="percepts")
    perform(performance, settings, recording)
    assert performance.identical, performance.first

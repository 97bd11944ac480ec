"""Broker, robots and agents as people start them, each a process, really killed, frozen, started again."""

import asyncio
import json
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiomqtt")
pytest.importorskip("yaml")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from embodied.link.broker import Broker
from tests.brokers import needs_mosquitto, running, within
from tests.composed import Said, compose
from tests.dialogues import parts
from tests.robot_processes import Program, Talk, Wire, agent, robot, visavis, watching

__all__ = ["parts"]
pytestmark = [needs_mosquitto, pytest.mark.usefixtures(parts.__name__)]
VOICE = "en-us+f2"


class Scene:
    """All that is there. r1: the robot's program"""

    def __init__(self, folder: Path, broker: Broker, wire: Wire, r1: Program) -> None:
        self.folder, self.broker, self.wire, self.r1 = folder, broker, wire, r1

    @property
    def url(self) -> str:
        return self.broker.url

    async def drives(self, robot: str = "r1", least: float = 0.2) -> None:
        await self.wire.until(lambda: self.wire.speed(robot) > least)

    def begun(self) -> Counter[str]:
        """How often each command that moves something was let through by the guards of r1, by id."""
        lines = [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        names = ("move", "turn", "come_back", "lamp")
        return Counter(
            line["id"] for line in lines if line.get("verdict") == "accepted" and line.get("guard") == "gate"
            and line.get("name") in names
        )  # fmt: skip


@asynccontextmanager
async def scene(folder: Path, *options: str) -> AsyncIterator[Scene]:
    async with running() as broker, watching(broker.url) as wire:
        audit = ("--audit", str(folder / "audit.jsonl"))
        async with robot(broker.url, *audit, *options, folder=folder) as r1:
            await wire.until(wire.odometry)
            yield Scene(folder, broker, wire, r1)


@asynccontextmanager
async def steering(talk: Talk, vx: float = 0.4, wz: float = 0.0, robot: str = "") -> AsyncIterator[None]:
    """A hand at the page, which says ten times a second how it drives."""

    async def hand() -> None:
        with suppress(Exception):  # the page ends when the agent is killed
            while True:
                await talk.page.send(type="steer", vx=vx, vy=0.0, wz=wz, robot=robot)
                await asyncio.sleep(0.1)

    task = asyncio.ensure_future(hand())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        with suppress(Exception):
            await talk.page.send(type="steer", robot=robot)


def ends(page: Any) -> list[tuple[str, str]]:
    """Name and status of each motion that the agent says is over."""
    return [(event["name"], event["status"]) for event in page.of("Outcome") if event["action"] == "Command"]


# --- spoken, recorded, replayed


def test_it_moves_and_stops_by_voice_and_a_replay_keeps_to_itself(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    lines = [Said(1.0, "go forward two meters", voice=VOICE), Said(5.5, "stop", voice=VOICE)]
    sound = compose(tmp_path, lines, length=8.5)
    recording = tmp_path / "talk.mcap"
    attach = ("--robot", "r1", "--audio", str(sound), "--record", str(recording), "--quiet",
              "--set", "faces.engine=none", "--set", "turn_end.engine=none")  # fmt: skip

    async def main() -> None:
        async with scene(tmp_path, "--set", "options.start=[-2, 0, 0]") as here:  # room for going twice
            wire = here.wire
            async with visavis("attach", here.url, *attach, folder=tmp_path, name="attach") as talk:
                assert await talk.ended(within_s=90) == 0, talk.said
            names = [each.topic.rpartition("/")[2] for each in wire.asked() if "/command/" in each.topic]
            assert names[0] == "move" and "stop" in names, names
            assert -1.8 < wire.x() < -0.1 and wire.rests(), wire.x()
            assert [end["state"] for end in wire.ends().values() if end["name"] == "move"] == ["cancelled"]
            stopped, began = wire.x(), wire.now()
            for mode in ("media", "percepts"):
                again = ("replay", str(recording), "--from", mode, "--check")
                async with visavis(*again, folder=tmp_path, name=f"replay-{mode}") as replay:
                    assert await replay.ended() == 0, replay.said
                    assert "identical" in replay.said
            async with visavis("replay", str(recording), "--live-body", folder=tmp_path, name="once") as replay:
                assert await replay.ended() == 2
                assert "give the option twice" in replay.said
            said = [each for each in wire.told if each.t >= began and "/telemetry/" not in each.topic]
            assert not wire.asked(since=began)
            assert not [each for each in said if each.topic.startswith("agents/")], "an agent was on the broker"
            assert wire.x() == pytest.approx(stopped, abs=0.005)
            twice = ("replay", str(recording), "--from", "percepts", "--live-body", "--live-body")
            async with visavis(*twice, folder=tmp_path, name="twice") as replay:
                assert await replay.ended() == 0, replay.said
            assert [each.body["name"] for each in wire.asked(since=began) if each.topic.endswith("command/move")]
            assert wire.x() > stopped + 0.2 and wire.rests(), (stopped, wire.x())

    within(150, main())


# --- agents that end, or hang


@pytest.mark.parametrize("how", ["kill", "freeze"])
@pytest.mark.parametrize("by", ["goal", "stream"])
def test_the_robot_of_an_agent_that_dies_or_hangs_comes_to_rest(tmp_path: Path, how: str, by: str) -> None:
    bound = {("kill", "goal"): 1.2, ("kill", "stream"): 1.2, ("freeze", "stream"): 1.5, ("freeze", "goal"): 3.5}

    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            wire = here.wire
            if by == "goal":
                await talk.says("go forward two meters")
                await here.drives(least=0.15)
                began = wire.now()
                getattr(talk.program, how)()
            else:
                async with steering(talk):
                    await here.drives(least=0.3)
                    began, x = wire.now(), wire.x()
                    getattr(talk.program, how)()
                    await asyncio.sleep(0.5)
            await asyncio.sleep(bound[how, by])
            await wire.until(wire.rests, 3)
            assert wire.rested(began) <= bound[how, by]
            if by == "stream":
                assert wire.x() - x < 0.5
            if how == "freeze":  # it wakes: nothing of the past moves the robot
                x = wire.x()
                await asyncio.sleep(0.5)
                talk.program.thaw()
                await asyncio.sleep(1.5)
                assert wire.x() == pytest.approx(x, abs=0.02)

    within(60, main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_agent_that_is_ended_halts_the_robot_at_once_and_gives_it_back(tmp_path: Path, number: int) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            async with agent(here.url, folder=tmp_path) as talk:
                await talk.says("go forward two meters")
                await here.drives(least=0.15)
                began = here.wire.now()
                assert await talk.program.ended(number, 20) == 128 + number
            await here.wire.until(here.wire.rests, 5)
            stop = next(each for each in here.wire.asked(since=began) if each.topic.endswith("command/stop"))
            assert stop.t - began < 1.0, "it did not have the two seconds that words have"
            await here.wire.until(lambda: here.wire.latest("r1/lease").get("holder") is None, 4)
            assert here.wire.latest("agents/agent1/connection")["state"] == "offline"

    within(60, main())


# --- robots that end, or hang


def test_a_robot_that_is_killed_and_started_again_is_told_of_and_can_be_used(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            await talk.says("go forward two meters")
            await here.drives(least=0.15)
            boot = here.wire.latest("r1/connection")["boot"]
            here.r1.kill()
            await talk.told("Fault", error="RobotSilent")
            async with robot(here.url, folder=tmp_path):
                await talk.told("Fault", error="RobotRestarted")
                end = await talk.told("Outcome", action="Command", status="failed")
                assert "started anew" in end["detail"]
                assert here.wire.latest("r1/connection")["boot"] != boot
                assert here.wire.x() == 0, "nothing of before moves it"
                await talk.says("go forward half a meter")
                await talk.told("Outcome", action="Command", status="done")
                assert here.wire.x() == pytest.approx(0.5, abs=0.05)

    within(60, main())


def test_of_a_robot_that_hangs_the_agent_says_that_it_lost_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            await talk.says("go forward two meters")
            await here.drives(least=0.3)
            x = here.wire.x()
            here.r1.freeze()
            fault = await talk.told("Fault", error="RobotSilent")
            assert "r1" in fault["message"] and "not known" in fault["message"]
            await talk.told("BodyState", link="unknown")
            await talk.says("turn left")
            end = await talk.told("Outcome", action="Command", name="turn")
            assert end["status"] == "refused"
            here.r1.thaw()
            await talk.told("Recovered", where="r1")
            end = await talk.told("Outcome", action="Command", name="move")
            assert end["status"] in ("failed", "cut")
            await here.wire.until(here.wire.rests, 5)
            assert here.wire.x() - x < 0.6

    within(60, main())


def test_stop_to_a_robot_that_hangs_is_told_loudly(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            await talk.says("go forward two meters")
            await here.drives(least=0.15)
            here.r1.freeze()
            await talk.page.send(type="stop")
            fault = await talk.told("Fault", error="StopUnconfirmed")
            assert "Use the stop on the robot itself" in fault["message"]
            here.r1.thaw()
            await here.wire.until(here.wire.rests, 5)

    within(60, main())


# --- a broker that ends


def test_a_broker_that_is_killed_in_the_middle_does_nothing_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            await talk.says("go forward two meters")
            await here.drives(least=0.15)
            here.broker.kill()
            await talk.says("turn left")  # into the void
            await talk.page.until(lambda page: page.of("BodyState")[-1]["link"] == "unknown", 15)
            await talk.says("turn right")  # when that is known
            asked = await talk.told("TurnCommitted", text="turn right")
            await talk.told("Outcome", 10, action="Command", turn=asked["turn"], status="refused")
            await here.broker.restart()
            async with watching(here.url, name="watch2") as wire:
                await wire.until(wire.odometry)
                await talk.page.until(lambda page: len(ends(page)) == 3, 15)
                assert dict(ends(talk.page)[:2]).keys() == {"move", "turn"}
                assert not [status for _, status in ends(talk.page) if status == "done"]
                assert wire.rests() and wire.odometry()["yaw"] == pytest.approx(0, abs=0.05), "nothing is done late"
                x = wire.x()
                await talk.page.until(lambda page: page.of("BodyState")[-1]["link"] == "heard", 15)
                await talk.says("go forward half a meter")
                await talk.told("Outcome", action="Command", name="move", status="done")
                assert wire.x() - x == pytest.approx(0.5, abs=0.06)
        begun = here.begun()
        assert len(begun) == 2 and set(begun.values()) == {1}, begun

    within(90, main())


# --- stopped from a terminal


def test_stop_latch_and_reset_from_a_terminal(tmp_path: Path) -> None:
    async def command(*words: str) -> tuple[int, str]:
        async with visavis("stop", *words, folder=tmp_path, name=f"stop{words[-1]}{secrets.token_hex(3)}") as program:
            code = await program.ended(within_s=20)
            return code, program.said

    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            wire, stop = here.wire, (here.url, "--robot", "r1")
            await talk.says("go forward two meters")
            await here.drives(least=0.15)
            code, said = await command(*stop)
            assert (code, said.strip()) == (0, "r1 is stopped")
            assert wire.rests() or wire.speed() < 0.3
            await talk.told("Outcome", action="Command", name="move")
            await wire.until(wire.rests, 3)
            await wire.until(lambda: wire.latest("r1/lease").get("holder") != "operator1", 5)
            await talk.says("come back")  # a stop that is none for good
            await here.drives(least=0.1)
            code, said = await command(*stop, "--latch")
            assert code == 0 and "until it is reset" in said
            await wire.until(wire.rests, 3)
            await talk.told("BodyState", estop="latched")
            x = wire.x()
            await talk.says("go forward one meter")
            await talk.told("Outcome", action="Command", name="move", status="refused")
            assert wire.x() == pytest.approx(x, abs=0.02)
            code, said = await command(*stop, "--reset")
            assert code == 0 and "may move again" in said, said
            await talk.page.until(lambda page: page.of("BodyState")[-1]["estop"] == "none", 10)
            await talk.says("go forward half a meter")
            await talk.told("Outcome", action="Command", name="move", status="done")
            here.r1.freeze()
            code, said = await command(*stop)
            assert code == 1 and "NOT CONFIRMED" in said

    within(90, main())


# --- more than one


def test_of_two_agents_one_moves_it_and_a_higher_rank_takes_over(tmp_path: Path) -> None:
    async def main() -> None:
        ranks = ("--set", "guards.ranks={agent1: policy, agent2: teleop}")
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(scene(tmp_path, *ranks))
            talk = await stack.enter_async_context(agent(here.url, folder=tmp_path))
            async with agent(here.url, folder=tmp_path, id="agent2") as other:
                await talk.says("go forward two meters")
                await here.drives(least=0.15)
                async with steering(other, vx=0.0, wz=0.6):
                    await here.wire.until(lambda: here.wire.latest("r1/lease").get("holder") == "agent2")
                    assert here.wire.latest("r1/lease")["rank"] == "teleop"
                    taken = await talk.told("Outcome", action="Command", name="move")
                    assert taken["status"] in ("cut", "failed")
                    fault = await talk.told("Fault", error="LeaseTaken")
                    assert "agent2" in fault["message"]
                    await here.wire.until(lambda: here.wire.odometry()["wz"] > 0.3)
                await here.wire.until(here.wire.rests, 5)
                await talk.told("Recovered", where="r1")
                await talk.says("turn right")
                await here.wire.until(lambda: here.wire.odometry()["wz"] < -0.2)
                await other.says("go forward one meter")
                refused = await other.told("Outcome", action="Command", name="move")
                assert refused["status"] == "refused" and "agent1" in refused["detail"], refused
                await talk.told("Outcome", action="Command", name="turn", status="done")

    within(60, main())


def test_one_agent_moves_two_robots_and_stops_both(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(scene(tmp_path))
            await stack.enter_async_context(robot(here.url, folder=tmp_path, id="kitchen"))
            async with agent(here.url, folder=tmp_path, robots=("r1", "kitchen")) as talk:
                wire = here.wire
                await talk.says("kitchen lamp on")
                await talk.told("Outcome", action="Command", name="kitchen.lamp", status="done")
                assert wire.asked("kitchen") and not [t for t in wire.asked() if "/command/" in t.topic]
                await talk.says("go forward two meters")
                async with steering(talk, vx=0.3, robot="kitchen"):
                    await here.drives("kitchen")
                    await here.drives("r1", 0.15)
                    await talk.page.send(type="stop")
                    await wire.until(lambda: wire.rests() and wire.rests("kitchen"), 5)
                for name in ("r1", "kitchen"):
                    assert wire.of(f"{name}/command/stop")

    within(60, main())


# --- by hand


def test_at_the_console_it_is_steered_stopped_and_stopped_for_good(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here, agent(here.url, folder=tmp_path) as talk:
            wire = here.wire
            found: Any = await talk.told("Attached")
            assert (found["where"], found["speeds"]) == ("r1", [0.5, 1.5])
            async with steering(talk, vx=9.0):  # more than it may: held to its limits
                await here.drives(least=0.4)
                await asyncio.sleep(0.5)
            await wire.until(wire.rests, 3)
            assert max(abs(t.body["vx"]) for t in wire.of("r1/telemetry/odom")) <= 0.505
            async with steering(talk, vx=-0.3):
                await here.drives(least=0.2)
                began = wire.now()
                await talk.page.send(type="stop")
                await wire.until(wire.rests, 3)
                assert wire.rested(began) < 1.5
                await asyncio.sleep(0.5)
                assert wire.rests(), "a hand that holds on does not undo a stop"
            await talk.page.send(type="stop", latch=True)
            await wire.until(lambda: wire.latest("r1/safety").get("estop") == "latched", 5)
            x = wire.x()
            async with steering(talk, vx=0.3):
                await asyncio.sleep(1)
            assert wire.x() == pytest.approx(x, abs=0.02)

    within(60, main())

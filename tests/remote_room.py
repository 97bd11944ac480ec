"""Robots behind a broker in memory, an agent that is attached to them, and what it was told, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from embodied.link.memory import MemoryBroker
from embodied.link.port import Outgoing
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.remote.agent_link import AgentLink
from embodied.remote.body import RobotBody
from embodied.remote.client import RobotClient
from embodied.remote.settings import RobotConfig
from embodied.remote.words import Words
from embodied.robot.codec import decode
from embodied.robot.messages import Command as Wire
from embodied.robot.settings import GuardSettings
from embodied.robot.topics import robot_topic
from streams import clock as time
from streams.clock import Clock
from streams.types import Action, Command, Fault, Outcome

MS, SECOND = 1_000_000, 1_000_000_000
FLEET = "home"
T = TypeVar("T")


class Told:
    """A `Publisher` that remembers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.all: list[tuple[int, Any]] = []

    def publish(self, topic: Any, t: int, data: Any) -> None:
        assert t == self.clock.now()
        self.all.append((t, data))

    def of(self, kind: type[T]) -> list[T]:
        return [data for _, data in self.all if isinstance(data, kind)]

    def faults(self, error: str) -> list[Fault]:
        return [each for each in self.of(Fault) if each.error == error]


class Room:
    """A broker, robots, and one agent."""

    def __init__(self, clock: Clock, broker: MemoryBroker, group: asyncio.TaskGroup) -> None:
        self.clock, self.broker, self.group = clock, broker, group
        self.told = Told(clock)
        self.nodes: dict[str, asyncio.Task[None]] = {}
        self.robots: dict[str, RobotNode] = {}
        self.simulated: dict[str, SimulatedRobot] = {}
        self.bodies: list[RobotBody] = []
        self.serving: list[asyncio.Task[None]] = []
        self.doing: list[asyncio.Task[Outcome]] = []
        self.boots = 0

    def robot(self, name: str = "r1", profile: str = "diff-drive", **settings: Any) -> RobotNode:
        """Start a robot; also again, as a new boot."""
        found = Profile.load(profile)
        self.boots += 1
        given = {"ranks": {"agent1": "teleop", "op": "operator", "other": "policy"}, **settings}
        guards: GuardSettings = replace(found.settings, **given)
        simulated = SimulatedRobot(found)
        node = RobotNode(
            found.factsheet, simulated, self.broker.dial(name), self.clock, fleet=FLEET, robot=name, settings=guards,
            secret=f"{name}{self.boots}".encode(),
        )  # fmt: skip
        self.robots[name], self.simulated[name] = node, simulated
        self.nodes[name] = self.group.create_task(node.run(), name=f"node {name}")
        return node

    async def kill(self, name: str = "r1") -> None:
        """As if it lost its power: no goodbye but its will."""
        self.broker.hold(name)
        self.broker.drop(name)
        self.nodes[name].cancel()
        await asyncio.wait([self.nodes[name]])
        self.broker.release(name)

    def agent(self, *robots: str, serve: bool = True, words: Words | None = None, **config: Any) -> RobotBody:
        robots = robots or ("r1",)
        link = AgentLink(RobotConfig(ids=robots, fleet=FLEET, **config), self.broker.dial("agent1"), self.clock)
        for n, robot in enumerate(robots):
            prefix = "" if n == 0 else f"{robot}."
            client = RobotClient(link, robot)
            self.bodies.append(
                RobotBody(client, self.told, self.clock, offers_prefix=prefix, words=words or Words())
            )  # fmt: skip
        if serve:
            self.serving += [self.group.create_task(body.serve()) for body in self.bodies]
        return self.bodies[0]

    async def until(self, what: Callable[[], object], seconds: float = 5.0) -> float:
        """Wait until `what`; how long that took, in s."""
        begun = self.clock.now()
        while not what():
            if self.clock.now() - begun > seconds * SECOND:
                pytest.fail(f"did not come within {seconds} s; told: {self.told.all[-8:]}")
            await self.clock.sleep_until(self.clock.now() + 5 * MS)
        return (self.clock.now() - begun) / SECOND

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    def do(self, action: Action, body: RobotBody | None = None) -> "asyncio.Task[Outcome]":
        task = self.group.create_task((body or self.bodies[0]).perform(action))
        self.doing.append(task)
        return task

    def sent(self, channel: Any = "command", name: str = "", sender: str = "agent1", robot: str = "r1") -> list[Any]:
        topic = robot_topic(FLEET, robot, channel, name)
        found = [m.payload for who, m in self.broker.log if m.topic == topic and who == sender]
        return [decode(each, Wire) for each in found] if channel == "command" else found

    def inject(self, topic: str, payload: bytes, *, retain: bool = False, qos: Any = 1) -> None:
        self.broker.publish(Outgoing(topic, payload, qos, retain))

    def speed(self, robot: str = "r1") -> float:
        v = self.simulated[robot].velocity
        return max(abs(v.vx), abs(v.wz))


@asynccontextmanager
async def room(**broker: Any) -> AsyncIterator[Room]:
    clock = Clock()
    async with asyncio.TaskGroup() as group:
        made = Room(clock, MemoryBroker(clock, **broker), group)
        yield made
        for each in (*made.doing, *made.serving):
            each.cancel()
        await asyncio.sleep(0)
        for task in made.nodes.values():
            task.cancel()


@asynccontextmanager
async def attached(*robots: str, **config: Any) -> AsyncIterator[Room]:
    """One robot or several, and an agent that has found them."""
    async with room(delay_ms=2) as made:
        for name in robots or ("r1",):
            made.robot(name)
        made.agent(*robots, **config)
        await made.until(lambda: all(not each.client.why_not(moves=False) for each in made.bodies))
        await made.until(lambda: all(each.client.health == "heard" for each in made.bodies))
        yield made


def virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return time.run(main(), virtual=True)


def move(distance_m: float = 1.0, turn: int = 1, id: int = 1, **fields: Any) -> Command:
    return Command("move", {"distance_m": distance_m}, turn=turn, id=id, **fields)

"""A robot's program and an agent on a broker inside the process, in virtual time: for tests of the robot's side."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from embodied.link.memory import MemoryBroker
from embodied.link.port import Connection, Outgoing
from embodied.node.driver import Driver
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.robot.codec import encode
from embodied.robot.consent import consent_token
from embodied.robot.decisions import Note
from embodied.robot.topics import agent_subscriptions, agent_topic, robot_topic
from embodied.robot.vocabulary import MS, SECOND, TERMINAL
from streams.clock import Clock
from streams.errors import VisavisError

FLEET, ROBOT = "f", "r1"


class Agent:
    """Speaks to the robot as an honest agent does, and remembers what it heard, by channel, with the time."""

    def __init__(self, connection: Connection, clock: Clock, name: str = "a") -> None:
        self.name, self.clock, self.connection = name, clock, connection
        self.heard: list[tuple[int, str, Any]] = []
        self.fresh: dict[str, Any] | None = None
        self.lease: str | None = None
        self._ids, self._beats = itertools.count(1), itertools.count(1)
        self.beating = True

    async def listen(self) -> None:
        await self.connection.recall(agent_subscriptions(FLEET, ROBOT, self.name))
        async for message in self.connection.messages():
            channel = message.topic.removeprefix(f"robot/v1/{FLEET}/{ROBOT}/")
            body = msgspec.json.decode(message.payload)
            self.heard.append((self.clock.now(), channel, body))
            if channel == "heartbeat":
                self.fresh = {"boot": body["boot"], "beat": body["beat"]}

    async def beat(self) -> None:
        while True:
            if self.beating:
                body: dict[str, Any] = {"session": f"s-{self.name}", "beat": next(self._beats), "mono_ms": 0}
                await self.publish(agent_topic(FLEET, self.name, "heartbeat"), body, 0)
                if self.lease and body["beat"] % 5 == 0:
                    await self.ask("renew")
            await self.wait(0.2)

    async def publish(self, topic: str, body: Any, qos: Any = 1) -> None:
        await self.connection.publish(Outgoing(topic, body if isinstance(body, bytes) else encode(body), qos))

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    def of(self, channel: str) -> list[Any]:
        return [body for _, each, body in self.heard if each == channel]

    def last(self, channel: str) -> Any:
        return self.of(channel)[-1]

    def statuses(self, id: str) -> list[Any]:
        return [body for body in self.of("status") if body["id"] == id]

    async def ask(self, op: str, rank: str = "policy") -> str:
        id = f"{self.name}-l{next(self._ids)}"
        body = {"v": 1, "id": id, "from": self.name, "op": op, "rank": rank, "fresh": self.fresh}
        await self.publish(
            robot_topic(FLEET, ROBOT, "lease/set"), {**body, **({"lease": self.lease} if self.lease else {})}
        )
        return id

    async def acquire(self, rank: str = "policy") -> None:
        while self.fresh is None:
            await self.wait(0.05)
        id = await self.ask("acquire", rank)
        for _ in range(40):
            for _, channel, body in self.heard:
                if channel.endswith("/reply") and body["id"] == id and body["state"] == "succeeded":
                    self.lease = body["result"]["lease"]
                    return
            await self.wait(0.02)
        raise AssertionError("no lease")

    async def begin(self, name: str, args: Mapping[str, Any] | None = None, **fields: Any) -> str:
        id = f"{self.name}-{next(self._ids)}"
        body = {
            "v": 1, "id": id, "name": name, "from": self.name, "args": dict(args or {}), "fresh": self.fresh,
            "lease": self.lease, "origin": {"source": "speech"}, "confirm": consent_token(id, name, dict(args or {})),
            **fields,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        await self.publish(robot_topic(FLEET, ROBOT, "command", name), body)
        return id

    async def ended(self, id: str, within: float = 60.0) -> Any:
        until = self.clock.now() + round(within * SECOND)
        while self.clock.now() < until:
            if (said := self.statuses(id)) and said[-1]["state"] in TERMINAL:
                return said[-1]
            await self.wait(0.02)
        raise AssertionError(f"{id} did not end: {self.statuses(id)}")

    async def do(self, name: str, args: Mapping[str, Any] | None = None, **fields: Any) -> Any:
        return await self.ended(await self.begin(name, args, **fields))


class Room:
    """A robot at work, an agent that holds its lease, and the broker between them."""

    def __init__(self, broker: MemoryBroker, clock: Clock, node: RobotNode, driver: Any, agent: Agent) -> None:
        self.broker, self.clock, self.node, self.driver, self.agent = broker, clock, node, driver, agent
        self.notes: list[Note] = []
        self.job: asyncio.Task[None] | None = None
        self.error: VisavisError | None = None


@asynccontextmanager
async def room(
    profile: str | Profile = "diff-drive", changes: Mapping[str, Any] | None = None, *, driver: Driver | None = None,
    lease: bool = True,
) -> AsyncIterator[Room]:  # fmt: skip
    """The robot runs until the block is left, or is cancelled in it (`room.job`)."""
    clock = Clock()
    broker = MemoryBroker(clock)
    loaded = Profile.load(profile, changes) if isinstance(profile, str) else profile
    body = driver or SimulatedRobot(loaded)
    notes: list[Note] = []
    node = RobotNode(
        loaded.factsheet, body, broker.dial("robot"), clock, fleet=FLEET, robot=ROBOT, settings=loaded.settings,
        secret=b"s" * 32, audit=notes.append,
    )  # fmt: skip
    async with broker.dial("agent")(None) as connection, asyncio.TaskGroup() as group:
        agent = Agent(connection, clock)
        background = [group.create_task(agent.listen()), group.create_task(agent.beat())]
        made = Room(broker, clock, node, body, agent)
        made.notes = notes
        made.job = group.create_task(quietly(node.run(), made))
        try:
            if lease:
                await agent.acquire()
            yield made
        finally:
            made.job.cancel()
            await asyncio.wait([made.job])
            await agent.wait(0.1)
            for each in background:
                each.cancel()


async def quietly(run: Any, made: Room) -> None:
    """What the robot raises must not end the test's own group: the test asks for it."""

    try:
        await run
    except VisavisError as error:
        made.error = error


__all__ = ["FLEET", "MS", "ROBOT", "Agent", "Room", "room"]

"""A room for adapters: our node in front, an agent on one side, a strange robot on the other, a broker between them."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from embodied.link.link import Link
from embodied.link.port import Dial, Message, Outgoing
from embodied.node.driver import Driver
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.robot.consent import consent_token
from embodied.robot.decisions import Note
from embodied.robot.factsheet import Factsheet
from embodied.robot.settings import GuardSettings
from embodied.robot.topics import agent_subscriptions, agent_topic, robot_topic
from streams.clock import MS, SECOND, Clock

FLEET, ROBOT, AGENT = "lab", "r1", "a"


class Agent:
    """Speaks the contract by hand: beats, holds the lease, sends what it is told, remembers what it hears."""

    def __init__(self, dial: Dial, clock: Clock) -> None:
        self.clock = clock
        self.beats = True
        self.lease, self.fresh = "", None
        self.told: dict[str, Any] = {}
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self._ids, self._seq = itertools.count(1), itertools.count(1)
        self.link = Link(
            dial, clock, receive=self._hear, subscriptions=[], recalled=agent_subscriptions(FLEET, ROBOT, AGENT),
            name="agent",
        )  # fmt: skip

    async def live(self) -> None:
        for beat in itertools.count(1):
            if self.beats:
                self._send(agent_topic(FLEET, AGENT, "heartbeat"), {"session": "s", "beat": beat, "mono_ms": 0})
                if self.lease and beat % 5 == 0:
                    self._lease("renew")
            await self.clock.sleep_until(self.clock.now() + 200 * MS)

    async def acquire(self) -> None:
        await self.until(lambda: self.fresh is not None)
        end = self.clock.now() + 10 * SECOND
        while not self.lease and self.clock.now() < end:  # what a reset made stale is refused: with a new beat again
            self._lease("acquire")
            await self.rest(0.3)
        assert self.lease

    def _lease(self, op: str) -> None:
        body = {"v": 1, "id": f"l{next(self._ids)}", "from": AGENT, "op": op, "rank": "policy", "fresh": self.fresh}
        self._send(robot_topic(FLEET, ROBOT, "lease/set"), {**body, **({"lease": self.lease} if self.lease else {})}, 1)

    def command(self, name: str, args: dict[str, Any] | None = None) -> str:
        id = f"c{next(self._ids)}"
        body = {
            "v": 1, "id": id, "name": name, "args": args or {}, "from": AGENT, "fresh": self.fresh,
            "origin": {"source": "policy"}, "confirm": consent_token(id, name, args or {}, b""),
            "reply_to": agent_topic(FLEET, AGENT, "reply"), **({"lease": self.lease} if self.lease else {}),
        }  # fmt: skip
        self._send(robot_topic(FLEET, ROBOT, "command", name), body, 1)
        return id

    def stream(self, name: str, args: dict[str, Any]) -> None:
        body = {"v": 1, "name": name, "from": AGENT, "seq": next(self._seq), "args": args, "fresh": self.fresh,
                "ttl_ms": 250, "lease": self.lease, "origin": {"source": "policy"}}  # fmt: skip
        self._send(robot_topic(FLEET, ROBOT, "stream", name), body)

    def stop(self) -> None:
        self._send(robot_topic(FLEET, ROBOT, "estop/set"), {"by": AGENT, "reason": "test"}, 1)

    def reset(self) -> None:
        token = self.told["safety"]["reset_token"]
        self._send(robot_topic(FLEET, ROBOT, "estop/reset"), {"token": token, "by": "op"}, 1)

    def state(self, id: str) -> str:
        return str(self.statuses[id][-1]["state"]) if id in self.statuses else ""

    def last(self, id: str) -> dict[str, Any]:
        return self.statuses[id][-1]

    async def ended(self, id: str, seconds: float = 10.0) -> dict[str, Any]:
        ends = ("rejected", "succeeded", "failed", "cancelled", "preempted", "expired")
        await self.until(lambda: self.state(id) in ends, seconds)
        return self.last(id)

    async def until(self, met: Callable[[], Any], seconds: float = 10.0) -> None:
        end = self.clock.now() + round(seconds * SECOND)
        while not met():
            assert self.clock.now() < end, f"not within {seconds} s; statuses: {self.statuses}"
            await self.clock.sleep_until(self.clock.now() + 20 * MS)

    async def rest(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    def _send(self, topic: str, body: dict[str, Any], qos: int = 0) -> None:
        self.link.send(Outgoing(topic, json.dumps(body).encode(), 1 if qos else 0))

    def _hear(self, message: Message) -> None:
        kind = message.topic.split("/", 4)[-1] if "/agents/" not in message.topic else "reply"
        body = json.loads(message.payload)
        self.told[kind] = body
        if kind == "heartbeat":
            self.fresh = {"boot": body["boot"], "beat": body["beat"]}
        elif kind == "reply" and "lease" in (body.get("result") or {}):
            self.lease = body["result"]["lease"]
        elif kind == "status":
            self.statuses.setdefault(body["id"], []).append(body)


class Room:
    """node, driver, agent, and what the node noted."""

    def __init__(self, node: RobotNode, driver: Driver, agent: Agent, notes: list[Note]) -> None:
        self.node, self.driver, self.agent, self.notes = node, driver, agent, notes


@asynccontextmanager
async def furnished(
    made: tuple[Factsheet, Driver], dial: Callable[[str], Dial], clock: Clock, settings: GuardSettings
) -> AsyncIterator[Room]:
    """Our node with this driver, and an agent that holds the lease."""
    notes: list[Note] = []
    factsheet, driver = made
    node = RobotNode(
        factsheet, driver, dial("node"), clock, fleet=FLEET, robot=ROBOT, settings=settings, secret=b"s" * 16,
        audit=notes.append,
    )  # fmt: skip
    agent = Agent(dial(AGENT), clock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in (node.run(), agent.link.run(), agent.live())]
        try:
            await agent.acquire()
            yield Room(node, driver, agent, notes)
        finally:
            for task in tasks:
                task.cancel()


def changed(profile: Profile, **options: Any) -> Profile:
    """`profile` with other options."""
    import msgspec

    return msgspec.structs.replace(profile, options={**profile.options, **options})


_ODD: list[Any] = [
    None, True, -1, 1e308, 10**40, "", "x" * 300, "ONLINE", "NONE", [], {}, [[]], [None, 1, "a"], {"x": 1},
    [{"actionId": 3}], {"x": "1", "y": None, "theta": 1e400, "positionInitialized": True}, [{"errorLevel": "FATAL"}],
]  # fmt: skip
_NAMES = [
    "orderId", "orderUpdateId", "lastNodeSequenceId", "nodeStates", "edgeStates", "actionStates", "errors", "driving",
    "paused", "agvPosition", "velocity", "batteryState", "operatingMode", "safetyState", "connectionState",
    "protocolFeatures", "agvActions", "eStop", "fieldViolation", "state", "pose", "twist", "orientation", "cmps", "p",
    "dev", "~", "platform", "command_topic", "cmd_t", "stat_t", "min", "max", "step", "availability", "header",
    "position", "linear",
]  # fmt: skip


def damaged(chance: random.Random) -> bytes:
    """A message that nobody should send: no JSON, deep, long, wrong types under right names, or just odd."""
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(60))
        case 1:
            return b"[" * chance.choice([3, 50, 5000]) + b"1" + b"]" * chance.randrange(60)
        case 2:
            return chance.choice(
                [b"", b"null", b"NaN", b'{"agvPosition": NaN}', b"\xff\xfe", b"1e999", b'{"a":1,"a":2}']
            )

    def odd(depth: int) -> Any:
        if depth > 2 or chance.random() < 0.4:
            return chance.choice(_ODD)
        if chance.random() < 0.3:
            return [odd(depth + 1) for _ in range(chance.randrange(4))]
        return {chance.choice(_NAMES): odd(depth + 1) for _ in range(chance.randrange(6))}

    return json.dumps(odd(0) if chance.random() < 0.2 else {chance.choice(_NAMES): odd(1) for _ in range(8)}).encode()

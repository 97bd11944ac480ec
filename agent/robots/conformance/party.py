"""One client of the broker that plays an agent: well, or as badly as a promise needs it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

from agent.robots.conformance.diary import Diary
from agent.robots.conformance.promises import Broken, NotTried
from embodied.link.port import Connection, Dial, LinkBroken, LinkError, Outgoing
from embodied.robot.codec import encode
from embodied.robot.messages import AgentConnection, AgentHeartbeat
from embodied.robot.reports import Status
from embodied.robot.seal import seal
from embodied.robot.topics import agent_subscriptions, agent_topic, robot_topic
from embodied.robot.vocabulary import MS, SECOND, TERMINAL, Rank
from streams.clock import Clock
from streams.errors import VisavisError

GOALS_EVERY = 0.56  # s: the contract allows two a second
BEAT_EVERY, RENEW_EVERY = 0.2, 0.7
ANSWER = 2.0  # s to wait for an answer; how fast it has to come is a promise of its own
BROKER_ANSWERS = 2.0  # s


class Party:
    """Present on the broker inside `async with party.here()`.

    name: the agent's id;  key: seals what is sent, if the robot wants that
    beating, renewing: whether heartbeats are sent, and the lease is kept; a promise may turn them off
    passing: its id is of this run alone, and nothing of it is left at the broker
    session: with which the ids of its commands begin
    gone: with what its connection ended; None as long as it stands
    """

    def __init__(
        self, dial: Dial, clock: Clock, *, fleet: str, robot: str, name: str, key: bytes = b"", passing: bool = False
    ) -> None:
        self.name, self.clock, self.fleet, self.robot = name, clock, fleet, robot
        self.diary = Diary(robot, name, clock)
        self.beating = self.renewing = True
        self.lease = ""
        self.lost: list[str] = []
        self.gone: LinkError | None = None
        self._dial, self._key, self._passing = dial, key, passing
        self.session = secrets.token_hex(6)
        self._count = self._seq = self._beat = 0
        self._paced = clock.now()  # what another party of this name did just now counts, too
        self._connection: Connection | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._sending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def here(self) -> AsyncIterator[Self]:
        """Connected, until left. Raises `LinkError` if that cannot be; a connection that ends later is told by `gone`.

        A failure inside comes through as it is: the task group does not wrap it.
        """
        wrong: Broken | NotTried | VisavisError | TimeoutError | None = None
        async with self._dial(self._presence("lost")) as connection:
            self._connection = connection
            try:
                await connection.recall(agent_subscriptions(self.fleet, self.robot, self.name))
                await connection.publish(self._presence("online"))
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    lives = [tasks.create_task(each()) for each in (self._listen, self._live, self._renew)]
                    try:
                        yield self
                    except (Broken, NotTried, VisavisError, TimeoutError) as error:
                        wrong = error
                    finally:
                        for each in lives:
                            each.cancel()
                        self._tasks = None
                        await self._bye(connection)
                        for sending in list(self._sending):
                            sending.cancel()
            finally:
                self._connection = None
        if wrong is not None:
            raise wrong

    async def check(self) -> LinkError | None:
        """Whether the broker still answers: None if it does."""
        if self.gone is None and self._connection is not None:
            try:
                async with asyncio.timeout(BROKER_ANSWERS):
                    await self._connection.publish(self._presence("online"))
            except LinkError as error:
                self.gone = self.gone or error
            except TimeoutError:
                self.gone = self.gone or LinkBroken(f"the broker has not answered for {BROKER_ANSWERS:g} s")
        return self.gone

    async def say(self, name: str) -> bool:
        """Send a command that is never refused. Whether the broker has it."""
        body = self.envelope(name, origin=None, fresh=None, lease=None)
        if self.gone is not None or self._connection is None:
            return False
        try:
            async with asyncio.timeout(BROKER_ANSWERS):
                await self._connection.publish(Outgoing(self.topic("command", name), self.packed(body), 1))
        except (LinkError, TimeoutError):
            return False
        return True

    # --- sending

    def topic(self, channel: Any, name: str = "") -> str:
        """Of the robot."""
        return robot_topic(self.fleet, self.robot, channel, name)

    def publish(self, topic: str, payload: bytes, qos: Literal[0, 1] = 1, *, retain: bool = False) -> None:
        """Send these very bytes; nobody waits for the broker."""
        if self._tasks is not None:
            task = self._tasks.create_task(self._publish(Outgoing(topic, payload, qos, retain)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def envelope(self, name: str, args: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """A command that is right in every way, with `fields` put in; a field that is None is left out."""
        self._count += 1
        body = {
            "v": 1, "id": f"{self.session}-{self._count}", "name": name, "args": dict(args or {}), "from": self.name,
            "fresh": self.diary.fresh, "lease": self.lease or None,
            "reply_to": agent_topic(self.fleet, self.name, "reply"), "origin": {"source": "policy"}, **fields,
        }  # fmt: skip
        return {key: value for key, value in body.items() if value is not None}

    def packed(self, body: Any) -> bytes:
        """Encoded, and sealed if this party has a key."""
        payload = encode(body)
        return seal(payload, self._key) if self._key else payload

    def command(self, name: str, args: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Send a command. Returns its id."""
        body = self.envelope(name, args, **fields)
        self.publish(self.topic("command", name), self.packed(body))
        return str(body["id"])

    async def ask(self, name: str, args: Mapping[str, Any] | None = None, **fields: Any) -> Status | None:
        """Send a command, no faster than goals may come, and wait for its first answer; None if there is none."""
        await self.pace()
        id = self.command(name, args, **fields)
        return await self.diary.status(id, ANSWER)

    async def pace(self) -> None:
        """Wait until one more goal is within the rate that is allowed."""
        await self.clock.sleep_until(self._paced + round(GOALS_EVERY * SECOND))
        self._paced = self.clock.now()

    def setpoint(self, name: str, args: Mapping[str, Any], **fields: Any) -> bytes:
        """Send one setpoint, with the next number unless `seq` is given. Returns its bytes."""
        self._seq += 1
        body = {
            "v": 1, "name": name, "from": self.name, "seq": self._seq, "args": dict(args), "ttl_ms": 500,
            "fresh": self.diary.fresh, "lease": self.lease or "none", "origin": {"source": "policy"}, **fields,
        }  # fmt: skip
        payload = self.packed({key: value for key, value in body.items() if value is not None})
        self.publish(self.topic("stream", name), payload, 0)
        return payload

    @property
    def seq(self) -> int:
        """Of the last setpoint."""
        return self._seq

    # --- the lease

    async def wish(self, op: str, rank: Rank | None = None, **fields: Any) -> Status | None:
        """Ask something about the lease, and wait for the answer; `lease` is kept as it says."""
        self._count += 1
        body = {
            "v": 1, "id": f"{self.session}-{self._count}", "from": self.name, "op": op, "rank": rank,
            "lease": self.lease if op != "acquire" else None, "fresh": self.diary.fresh, **fields,
        }  # fmt: skip
        payload = self.packed({key: value for key, value in body.items() if value is not None})
        self.publish(self.topic("lease/set"), payload)
        answer = await self.diary.status(str(body["id"]), ANSWER)
        if answer is not None and answer.state == "succeeded":
            held = answer.result.get("lease", "") if isinstance(answer.result, dict) else ""
            self.lease = str(held) if op != "release" else ""
        return answer

    # --- inside

    async def _publish(self, message: Outgoing) -> None:
        if self._connection is None:
            return
        try:
            await self._connection.publish(message)
        except LinkError as error:
            self.lost.append(f"{message.topic}: {error}")  # a promise that spoils the way expects that

    async def _listen(self) -> None:
        if self._connection is None:
            return
        try:
            async for message in self._connection.messages():
                self.diary.write(message)
            self.gone = LinkBroken("the connection ended")
        except LinkError as error:
            self.gone = error

    async def _live(self) -> None:
        while True:
            if self.beating:
                self._beat += 1
                body = AgentHeartbeat(self.session, self._beat, max(0, self.clock.now() // MS))
                if self.diary.fresh is not None:
                    body = AgentHeartbeat(self.session, self._beat, body.mono_ms, {self.robot: self.diary.fresh})
                self.publish(agent_topic(self.fleet, self.name, "heartbeat"), encode(body), 0)
            await asyncio.sleep(BEAT_EVERY)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if self.renewing and self.lease:
                self._count += 1
                body = {
                    "v": 1, "id": f"{self.session}-{self._count}", "from": self.name, "op": "renew",
                    "lease": self.lease, "fresh": self.diary.fresh,
                }  # fmt: skip
                self.publish(self.topic("lease/set"), self.packed(body))

    def _presence(self, state: Any) -> Outgoing:
        body = encode(AgentConnection(state, self.session))
        return Outgoing(agent_topic(self.fleet, self.name, "connection"), body, 1, retain=True)

    async def _bye(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(1):
                await connection.publish(self._presence("offline"))
                if self._passing:
                    await connection.publish(self._presence("offline")._replace(payload=b""))
        except (LinkError, TimeoutError):
            pass  # the will says it


def ended(status: Status | None) -> bool:
    """Whether it is the last of its command."""
    return status is not None and status.state in TERMINAL

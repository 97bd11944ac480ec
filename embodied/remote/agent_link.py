"""One agent on one broker: its presence, its heartbeat, and one connection that all its robots share.

A broker knows one client under one id, and presence belongs to the agent, not to each of its robots.
"""

import asyncio
import itertools
import secrets
from collections.abc import Iterable
from typing import Any, Protocol

from embodied.errors import BodyError
from embodied.link.link import Link
from embodied.link.port import Dial, LinkError, Message, Outgoing
from embodied.remote.settings import RobotConfig
from embodied.robot.codec import decode, encode
from embodied.robot.errors import Malformed
from embodied.robot.messages import AgentConnection, AgentHeartbeat, Fresh
from embodied.robot.properties import properties
from embodied.robot.reports import Status
from embodied.robot.topics import DELIVERY, Topic, agent_subscriptions, agent_topic, read_topic
from embodied.robot.vocabulary import MS, Presence
from streams.clock import Clock

TICK = 50 * MS
BEATS = 4
"""Ticks between two heartbeats: five a second."""
_KEPT = ("connection", "factsheet", "state", "safety", "lease")


class Ears(Protocol):
    """What listens for one robot on the link: `embodied.remote.client.RobotClient`. Nothing here waits or raises."""

    robot: str

    @property
    def fresh(self) -> Fresh | None:
        """The newest heartbeat that was heard of it."""

    def hear(self, topic: Topic, message: Message) -> None:
        """A message on a topic of this robot."""

    def answered(self, status: Status) -> bool:
        """A status on the agent's reply topic; False if it is none of this robot."""

    def tick(self, now: int) -> None:
        """Time went on; some twenty times a second."""

    def changed(self, connected: bool) -> None:
        """The connection to the broker came, or went."""

    def troubled(self, error: LinkError) -> None:
        """It does not come."""

    def parting(self) -> Iterable[Outgoing]:
        """What is to be published last."""


class AgentLink:
    """The connection of agent `config.agent` to its broker. Clients add themselves; then `serve` it.

    session: new at each start of the agent's program;  malformed: how many messages could not be read
    seal_key: shared with the robots: what is sent to them then bears a seal;  consent_key: the same for a person's yes
    """

    def __init__(
        self, config: RobotConfig, dial: Dial, clock: Clock, *, session: str = "", seal_key: bytes = b"",
        consent_key: bytes = b"",
    ) -> None:  # fmt: skip
        self.config, self.clock = config, clock
        self.session = session or f"s-{secrets.token_hex(6)}"
        self.seal_key, self.consent_key = seal_key, consent_key
        self.reply_to = agent_topic(config.fleet, config.agent, "reply")
        self.malformed = 0
        self.link: Link | None = None
        self._dial = dial
        self._ears: dict[str, Ears] = {}
        self._ids, self._beats = itertools.count(1), itertools.count(1)
        self._serving = asyncio.Lock()
        self._leaving = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker now."""
        return self.link is not None and self.link.connected

    def add(self, ears: Ears) -> None:
        """Listen for one more robot. Raises `BodyError` for one that is there, and once the link is served."""
        if self.link is not None:
            raise BodyError(f"robot {ears.robot} is added to a link that is served already: add it before.")
        if ears.robot in self._ears:
            raise BodyError(f"robot {ears.robot} is there twice: name each robot once.")
        self._ears[ears.robot] = ears

    def new_id(self) -> str:
        """For one message: never used twice, not even by another run of this program.

        Nobody can guess the next one: who used it first, for nonsense, would have ours refused as a duplicate.
        """
        return f"{self.session[:40]}-{next(self._ids)}-{secrets.token_hex(4)}"

    def send(
        self, message: Outgoing, *, first: bool = False, keep: bool = True, valid_ns: int | None = None
    ) -> bool:  # fmt: skip
        """As `Link.send`; False also before the link is served."""
        link = self.link
        return link is not None and link.send(message, first=first, keep=keep, valid_ns=valid_ns)

    async def serve(self) -> None:
        """Be there until cancelled; then give leases back and say goodbye, within a second.

        Each body of the robots that share this link may serve it: the first does it, the others wait their turn. A
        broker that refuses this client is told to the robots' clients; they go on without it.
        """
        async with self._serving:
            self.link, self._leaving = self._made(), False
            async with asyncio.TaskGroup() as group:
                group.create_task(self._connect(self.link), name=f"link of {self.config.agent}")
                try:
                    await self._beat()
                finally:
                    self._leaving = True

    def _made(self) -> Link:
        filters: dict[str, int] = {}
        for robot in self._ears:
            filters.update(agent_subscriptions(self.config.fleet, robot, self.config.agent))
        kept = {each: qos for each, qos in filters.items() if each.rsplit("/", 1)[-1] in _KEPT}
        return Link(
            self._dial, self.clock, receive=self._receive,
            subscriptions=[each for each in filters.items() if each[0] not in kept], recalled=list(kept.items()),
            will=self._presence("lost"), hello=lambda: [self._presence("online")], goodbye=self._parting,
            changed=self._changed, troubled=self._troubled, name=self.config.agent,
        )  # fmt: skip

    async def _connect(self, link: Link) -> None:
        try:
            await link.run()
        except LinkError as error:
            self._troubled(error)

    async def _beat(self) -> None:
        ticks, due = 0, self.clock.now()
        while True:
            now = self.clock.now()
            if ticks % BEATS == 0:
                self._heartbeat(now)
            for ears in self._ears.values():
                ears.tick(now)
            ticks += 1
            due = max(due + TICK, now)  # late ticks are left out, not made up for
            await self.clock.sleep_until(due)

    def _heartbeat(self, now: int) -> None:
        heard = {robot: ears.fresh for robot, ears in self._ears.items() if ears.fresh is not None}
        beat = AgentHeartbeat(self.session, next(self._beats), max(0, now // MS), heard)
        topic = agent_topic(self.config.fleet, self.config.agent, "heartbeat")
        self.send(Outgoing(topic, encode(beat), 0, False, properties("agent/heartbeat")))

    # --- what comes

    def _receive(self, message: Message) -> None:
        topic = read_topic(message.topic)
        if topic is None or topic.fleet != self.config.fleet:
            self.malformed += 1
        elif topic.channel == "agent/reply":
            self._reply(topic, message)
        elif (ears := self._ears.get(topic.who)) is not None and not topic.channel.startswith("agent/"):
            ears.hear(topic, message)

    def _reply(self, topic: Topic, message: Message) -> None:
        if topic.who != self.config.agent or message.retained:
            return
        status = self.read(message, Status)
        if status is not None:
            any(ears.answered(status) for ears in self._ears.values())

    def read(self, message: Message, kind: Any) -> Any:
        """The message as `kind`, or None, and counted, if it is none."""
        try:
            return decode(message.payload, kind)
        except Malformed:
            self.malformed += 1
            return None

    # --- coming and going

    def _changed(self, connected: bool) -> None:
        if self._leaving:
            return  # we go: that is no news of the robots
        for ears in self._ears.values():
            ears.changed(connected)

    def _troubled(self, error: LinkError) -> None:
        for ears in self._ears.values():
            ears.troubled(error)

    def _parting(self) -> list[Outgoing]:
        said = [each for ears in self._ears.values() for each in ears.parting()]
        return [*said, self._presence("offline")]

    def _presence(self, state: Presence) -> Outgoing:
        way = DELIVERY["agent/connection"]
        topic = agent_topic(self.config.fleet, self.config.agent, "connection")
        payload = encode(AgentConnection(state, self.session))
        return Outgoing(topic, payload, way.qos, way.retain, properties("agent/connection"))

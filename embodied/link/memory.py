"""A broker inside the process, for tests and virtual time: no socket, no thread, the same order of events every time.

It does what the contract needs of a real one: wildcards, retained messages and the flag on them, retain handling,
wills, one connection for each client id. It does not do: access lists, message expiry, QoS 2, shared subscriptions.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from embodied.link.port import Connection, Dial, LinkBroken, LinkError, LinkRefused, Message, Outgoing
from streams.clock import MS, Clock

INBOX = 10_000
"""Messages that wait for one client; more is a mistake of the program under test, and breaks its connection."""


def matches(pattern: str, topic: str) -> bool:
    """Whether the filter `pattern` (with + and #) is met by `topic`. MQTT 5, section 4.7."""
    if topic.startswith("$") != pattern.startswith("$"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for place, want in enumerate(wanted):
        if want == "#":
            return True
        if place >= len(levels) or want not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)


class MemoryBroker:
    """The broker. delay_ms: how long each message is on its way, there and back each half

    up: False: who dials finds nobody there;  retained: topic -> what is kept
    log: (client id, message) as they came, the newest 10,000
    """

    def __init__(self, clock: Clock, *, delay_ms: float = 0.0) -> None:
        self.clock = clock
        self.delay_ns = round(delay_ms * MS)
        self.up = True
        self.retained: dict[str, Outgoing] = {}
        self.log: deque[tuple[str, Outgoing]] = deque(maxlen=10_000)
        self._connections: dict[str, _MemoryConnection] = {}
        self._refused: dict[str, LinkError] = {}
        self._held: dict[str, list[tuple[Outgoing, asyncio.Event]]] = {}

    @property
    def clients(self) -> tuple[str, ...]:
        """The ids of who is connected."""
        return tuple(self._connections)

    def dial(self, client_id: str) -> Dial:
        """How `client_id` connects; may be used again and again, and a new connection ends the one before."""

        @asynccontextmanager
        async def connected(will: Outgoing | None) -> AsyncIterator[Connection]:
            await self.clock.sleep_until(self.clock.now() + self.delay_ns)
            if not self.up:
                raise LinkBroken("the broker in memory is down")
            if client_id in self._refused:
                raise self._refused[client_id]
            if client_id in self._connections:
                self._end(client_id, LinkRefused(f"another client took over the id {client_id!r}"))
            connection = _MemoryConnection(self, client_id, will)
            self._connections[client_id] = connection
            try:
                yield connection
            finally:
                if self._connections.get(client_id) is connection:
                    connection.will = None  # it says goodbye
                    self._end(client_id, LinkBroken("disconnected"))

        return connected

    def drop(self, client_id: str) -> None:
        """Break the connection of `client_id`, if it has one; its will is published. What is held of it is lost."""
        self._end(client_id, LinkBroken("the connection was dropped"))

    def stop(self) -> None:
        """Break all connections, without wills, and let nobody in until `start`. What is retained stays."""
        self.up = False
        for client_id, connection in list(self._connections.items()):
            connection.will = None
            self._end(client_id, LinkBroken("the broker in memory went down"))

    def start(self) -> None:
        """Let clients in again."""
        self.up = True

    def refuse(self, client_id: str, error: LinkError | None) -> None:
        """Answer `client_id` with `error` when it dials from now on; None: let it in again."""
        self._refused.pop(client_id, None)
        if error is not None:
            self._refused[client_id] = error

    def hold(self, client_id: str) -> None:
        """Hold what `client_id` publishes, as a network that hangs would, until `release` or the connection's end."""
        self._held.setdefault(client_id, [])

    def release(self, client_id: str) -> None:
        """Let through what was held, in its order, all at this instant."""
        for message, done in self._held.pop(client_id, []):
            self._take(client_id, message)
            done.set()

    def publish(self, message: Outgoing, sender: str = "") -> None:
        """Publish as somebody who needs no connection: for tests."""
        self._take(sender, message)

    # --- for the connections

    async def carry(self, connection: "_MemoryConnection", message: Outgoing) -> None:
        """A message on its way to the broker, and, for QoS 1, its acknowledgement on the way back."""
        done = asyncio.Event()
        if self.delay_ns:
            self.clock.call_at(self.clock.now() + self.delay_ns // 2, self._arrive, connection, message, done)
        else:
            self._arrive(connection, message, done)
        if message.qos == 0:
            await asyncio.sleep(0)
            return
        connection.acknowledgements.add(done)
        try:
            await done.wait()
        finally:
            connection.acknowledgements.discard(done)
        if self.delay_ns:
            await self.clock.sleep_until(self.clock.now() + self.delay_ns - self.delay_ns // 2)

    def _arrive(self, connection: "_MemoryConnection", message: Outgoing, done: asyncio.Event) -> None:
        if self._connections.get(connection.client_id) is not connection:
            return
        if connection.client_id in self._held:
            self._held[connection.client_id].append((message, done))
            return
        self._take(connection.client_id, message)
        done.set()

    def _take(self, sender: str, message: Outgoing) -> None:
        self.log.append((sender, message))
        if message.retain:
            self.retained.pop(message.topic, None)
            if message.payload:
                self.retained[message.topic] = message
        for connection in list(self._connections.values()):
            if connection.wants(message.topic):
                self.send(connection, Message(message.topic, message.payload))

    def send(self, connection: "_MemoryConnection", message: Message) -> None:
        """A message on its way to a client."""
        if self.delay_ns:
            way = self.delay_ns - self.delay_ns // 2
            self.clock.call_at(self.clock.now() + way, connection.put, message)
        else:
            connection.put(message)

    def _end(self, client_id: str, why: LinkError) -> None:
        connection = self._connections.pop(client_id, None)
        if client_id in self._held:
            self._held[client_id] = []
        if connection is None:
            return
        connection.end(why)
        if connection.will is not None:
            self._take(client_id, connection.will)


class _MemoryConnection:
    """One client's connection: see `Connection`."""

    version = "5"
    missed = 0

    def __init__(self, broker: MemoryBroker, client_id: str, will: Outgoing | None) -> None:
        self.client_id, self.will = client_id, will
        self._broker = broker
        self._filters: set[str] = set()
        self._came: deque[Message] = deque()
        self._news = asyncio.Event()
        self._ended: LinkError | None = None
        self.acknowledgements: set[asyncio.Event] = set()

    async def publish(self, message: Outgoing) -> None:
        self._check()
        await self._broker.carry(self, message)
        self._check()

    async def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        await self._way()
        self._filters.update(topic for topic, _ in topics)

    async def recall(self, topics: Sequence[tuple[str, int]]) -> None:
        await self.subscribe(topics)
        for kept in list(self._broker.retained.values()):
            if any(matches(pattern, kept.topic) for pattern, _ in topics):
                self._broker.send(self, Message(kept.topic, kept.payload, True))

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            while self._came:
                yield self._came.popleft()
            self._check()
            self._news.clear()
            await self._news.wait()

    # --- for the broker

    def wants(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self._filters)

    def put(self, message: Message) -> None:
        if self._ended is None and len(self._came) < INBOX:
            self._came.append(message)
        elif self._ended is None:
            self._broker.drop(self.client_id)
        self._news.set()

    def end(self, why: LinkError) -> None:
        self._ended = why
        self._news.set()
        for waiting in self.acknowledgements:
            waiting.set()  # who waits looks at `_ended`

    async def _way(self) -> None:
        self._check()
        await self._broker.clock.sleep_until(self._broker.clock.now() + self._broker.delay_ns)
        self._check()

    def _check(self) -> None:
        if self._ended is not None:
            raise type(self._ended)(*self._ended.args)

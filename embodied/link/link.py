"""A link: a connection to a broker that is made again and again, and an outbox that says what became of its promises.

    link = Link(dial(address, client_id="agent1"), clock, receive=heard, subscriptions=agent_subscriptions(...))
    async with asyncio.TaskGroup() as group:
        group.create_task(link.run())
        link.send(Outgoing(topic, payload, qos=1))

After each connection: it listens, subscribes, publishes `hello`, tells `changed(True)`, and only then the outbox goes
on. Three tasks write (QoS 1 first, QoS 1 then, QoS 0): no stop waits for a command, and no command for telemetry.

What is promised of QoS 1: it is sent in the order of `send` within its lane, again after a broken connection (the same
bytes; receivers know it by its id), until the broker acknowledges it; or `lost` is told, with the reason. What moves
something must not come late: give it `valid_ns`. Robots refuse what is stale in any case.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from msgspec import Struct

from embodied.link.outbox import Lane, Lost, Newest, Outbox
from embodied.link.port import Connection, Dial, LinkBroken, LinkDenied, LinkError, LinkRefused, Message, Outgoing
from streams.clock import SECOND, Clock
from streams.errors import DependencyMissing

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
REFUSED_PAUSE_S = 10.0
"""After a refusal of who had been let in before: the broker's owner may change his mind."""
STEADY_S = 5.0
"""A connection that stood this long was a good one: the next pause is short again."""
GOODBYE_S = 0.6
"""For what is still to be said when the link is cancelled; with the disconnecting that follows, within a second."""
SUBSCRIBE_S = 10.0
"""How long the broker may take for subscriptions and hello."""


class Counts(Struct):
    """What a link did since it was made.

    sent: written (QoS 0) or acknowledged (QoS 1);  again: QoS 1 begun once more after a connection broke;  received
    replaced: QoS 0 overtaken by a newer one on its topic;  dropped: not taken (outbox full, QoS 0 or keep=False while
    not connected), or thrown away then;  expired: `valid_ns` had passed;  denied: the broker did not want it (MQTT 5)
    missed: came faster than it was received, and was thrown away;  reconnects: connections after the first
    failures: tries that did not become a connection, and connections that ended
    """

    sent: int = 0
    again: int = 0
    received: int = 0
    replaced: int = 0
    dropped: int = 0
    expired: int = 0
    denied: int = 0
    missed: int = 0
    reconnects: int = 0
    failures: int = 0


def _nothing(*_: object) -> None:
    return None


def _none() -> Iterable[Outgoing]:
    return ()


class Link:
    """See the top of this file. `run` it once; everything else is synchronous, on the same loop.

    receive: called for each message, in the order of coming, on the loop: it may not wait; what it raises ends `run`
    subscriptions: (filter, QoS), nothing old;  recalled: the same, and what the broker has kept comes first
    will: published by the broker when the connection breaks;  hello, goodbye: what to publish first and last
    changed: told when it is connected (True) and when no more;  troubled: told of each failure, in words
    lost: told of each QoS 1 message that was taken and will not be sent, and why
    name: for messages;  limit: QoS 1 messages in each lane, and topics of QoS 0, that may wait
    """

    def __init__(
        self,
        dial: Dial,
        clock: Clock,
        *,
        receive: Callable[[Message], None],
        subscriptions: Sequence[tuple[str, int]],
        recalled: Sequence[tuple[str, int]] = (),
        will: Outgoing | None = None,
        hello: Callable[[], Iterable[Outgoing]] = _none,
        goodbye: Callable[[], Iterable[Outgoing]] = _none,
        changed: Callable[[bool], None] = _nothing,
        troubled: Callable[[LinkError], None] = _nothing,
        lost: Callable[[Lost], None] = _nothing,
        name: str = "",
        limit: int = 256,
        chance: random.Random | None = None,
    ) -> None:
        self.counts = Counts()
        self.connected = False
        self.version = ""
        self.why = "it was not tried yet"
        self.name = name
        self._dial, self._clock = dial, clock
        self._receive, self._changed, self._troubled, self._lost = receive, changed, troubled, lost
        self._subscriptions, self._recalled, self._will = tuple(subscriptions), tuple(recalled), will
        self._hello, self._goodbye = hello, goodbye
        self._outbox, self._newest = Outbox(limit), Newest(limit)
        self._begun: dict[Lane, int] = {"first": 0, "then": 0}
        self._writing: set[int] = set()
        self._news = {"first": asyncio.Event(), "then": asyncio.Event(), "newest": asyncio.Event()}
        self._chance = chance or random.Random()
        self._ever = self._greeting = False

    @property
    def waiting(self) -> int:
        """How many messages of QoS 1 are not acknowledged yet."""
        return len(self._outbox)

    def send(self, message: Outgoing, *, first: bool = False, keep: bool = True, valid_ns: int | None = None) -> bool:
        """Send `message` as soon as it can be. False: it was not taken, and will not be sent.

        QoS 1 waits in a bounded outbox, `first` before all others (stops), over broken connections, unless `keep` is
        False: then it is not taken while not connected, and `lost` when the connection breaks. valid_ns: how long it is
        worth sending; it is `lost` when it could not be sent, or sent again, by then. What was sent within that time
        may still be on its way later. Of QoS 0 the newest of each topic is kept until the next chance to write, and
        nothing while not connected.
        """
        if message.qos == 0:
            took = self._newest.put(message) if self.connected else "full"
            self.counts.dropped += took == "full"
            self.counts.replaced += took == "replaced"
            self._news["newest"].set()
            return took != "full"
        until = None if valid_ns is None else self._clock.now() + valid_ns
        if not (keep or self.connected or self._greeting) or not self._outbox.add(
            message, first=first, keep=keep, until=until
        ):
            self.counts.dropped += 1
            return False
        if until is not None:
            self._clock.call_at(until + 1, self._expire)
        self._news["first" if first else "then"].set()
        return True

    async def run(self) -> None:
        """Keep connected until cancelled; then goodbye and a clean disconnect, within a second.

        Raises `DependencyMissing`, and `LinkRefused` if the broker never wanted this client. Broken connections
        are tried again for ever, after pauses of 0.2 to 5 s; refusals after a first success every 10 s or so.
        """
        pause = FIRST_PAUSE_S
        try:
            while True:
                begun = self._clock.now()
                error = await self._apart()
                steady = self._clock.now() - begun > STEADY_S * SECOND
                self._down(error)
                if isinstance(error, LinkRefused) and not self._ever:
                    raise error
                pause = FIRST_PAUSE_S if steady else pause
                length = REFUSED_PAUSE_S if isinstance(error, LinkRefused) else pause
                wait = max(FIRST_PAUSE_S, length * self._chance.uniform(0.5, 1.0))
                await self._clock.sleep_until(self._clock.now() + round(wait * SECOND))
                pause = min(pause * 2, LONGEST_PAUSE_S)
        finally:
            self._tell_lost(self._outbox.close())
            self.counts.dropped += self._newest.clear()

    async def _apart(self) -> LinkError:
        """`_once` in a task of its own.

        A task group drops a cancellation that comes along with an error; and in Python 3.11 it leaves its own task
        counted as cancelled when a child fails, so that the count tells nothing.
        """
        try:
            async with asyncio.TaskGroup() as group:
                once = group.create_task(self._once())
                await asyncio.wait((once,))
        except* DependencyMissing as missing:
            raise missing.exceptions[0] from None
        return once.result()

    async def _once(self) -> LinkError:
        """One connection from its making to its end, and why it ended."""
        if not self.counts.failures and not self._ever:
            self.why = "the broker has not answered yet"
        try:
            async with self._dial(self._will) as connection:
                self.version = connection.version
                try:
                    return await self._use(connection)
                except asyncio.CancelledError:
                    await self._leave(connection)
                    raise
        except LinkError as error:
            return error

    async def _use(self, connection: Connection) -> LinkError:
        ended: LinkError = LinkBroken("the connection ended")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                await self._greet(connection)
                group.create_task(self._write(connection, "first"))
                group.create_task(self._write(connection, "then"))
                group.create_task(self._write_newest(connection))
        except* LinkError as several:
            ended = _worst(several)
        finally:
            self._greeting = False
            self.counts.missed += getattr(connection, "missed", 0)
        return ended

    async def _greet(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                if self._subscriptions:
                    await connection.subscribe(self._subscriptions)
                if self._recalled:
                    await connection.recall(self._recalled)
                hello = self._hello()
                self._greeting = True  # what is told from here on is newer than `hello`, and comes after it
                for message in hello:
                    await connection.publish(message)
                    self.counts.sent += 1
        except TimeoutError:
            raise LinkBroken(f"the broker did not answer the first messages within {SUBSCRIBE_S:.0f} s") from None
        self.counts.reconnects += self._ever
        self._ever = self.connected = True
        self.why = ""
        self._changed(True)

    async def _read(self, connection: Connection) -> None:
        async for message in connection.messages():
            self.counts.received += 1
            self._receive(message)

    async def _write(self, connection: Connection, lane: Lane) -> None:
        news = self._news[lane]
        while True:
            self._expire()
            waiting = self._outbox.peek(lane)
            if waiting is None:
                news.clear()
                await news.wait()
                continue
            self.counts.again += self._begun[lane] == waiting.number
            self._begun[lane] = waiting.number
            self._writing.add(waiting.number)
            try:
                await connection.publish(waiting.message)
                self.counts.sent += 1
            except LinkDenied as error:
                self.counts.denied += 1
                self._lost(Lost(waiting.message, str(error)))
            finally:
                self._writing.discard(waiting.number)
            self._outbox.pop(lane, waiting.number)
            _let_go()

    async def _write_newest(self, connection: Connection) -> None:
        news = self._news["newest"]
        while True:
            message = self._newest.take()
            if message is None:
                news.clear()
                await news.wait()
                continue
            await connection.publish(message)
            self.counts.sent += 1
            _let_go()

    async def _leave(self, connection: Connection) -> None:
        """Cancelled: what waits first, then goodbye, as far as it goes in the time."""
        was, self.connected = self.connected, False
        with suppress(LinkError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                if was:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(GOODBYE_S / 2):
                            await self._flush(connection)
                    for message in self._goodbye():
                        await connection.publish(message)
                        self.counts.sent += 1
        if was:
            self.why = "it was closed"
            self._changed(False)

    async def _flush(self, connection: Connection) -> None:
        self._expire()
        for waiting in list(self._outbox):
            await connection.publish(waiting.message)
            self._outbox.pop("first", waiting.number)
            self._outbox.pop("then", waiting.number)
            self.counts.sent += 1

    def _down(self, error: LinkError) -> None:
        self.counts.failures += 1
        was, self.connected = self.connected, False
        self.why = str(error)
        self.counts.dropped += self._newest.clear()
        self._tell_lost(self._outbox.broke())
        if was:
            self._changed(False)
        self._troubled(error)

    def _expire(self) -> None:
        late = self._outbox.expire(self._clock.now(), self._writing)
        self.counts.expired += len(late)
        for each in late:
            self._lost(each)

    def _tell_lost(self, several: list[Lost]) -> None:
        self.counts.dropped += len(several)
        for each in several:
            self._lost(each)


def _let_go() -> None:
    """Who waits by `asyncio.wait_for` loses a cancellation that comes with the answer (Python 3.11)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _worst(group: BaseExceptionGroup[LinkError]) -> LinkError:
    """Of the errors of one connection the one that says most: a refusal before a break."""
    flat: list[LinkError] = []
    for error in group.exceptions:
        flat.append(_worst(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if isinstance(error, LinkRefused)), flat[0])

"""The way between agent and broker, spoilt inside this program: for TLS, in which no proxy can stand, and for tests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from embodied.link.port import Connection, Dial, Message, Outgoing


class Gate:
    """A `Wire` around a dial: all connections made through `dial` can be held together."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._open = asyncio.Event()
        self._open.set()
        self.black = False

    def hold(self) -> None:
        """Nothing passes, nothing is lost."""
        self._open.clear()

    def release(self) -> None:
        """What was held comes now, in its order."""
        self._open.set()

    def blackhole(self, on: bool = True) -> None:
        """All vanishes."""
        self.black = on

    async def passed(self) -> bool:
        """Waits while held; whether the message is to go on."""
        black = self.black
        await self._open.wait()
        return not black

    @asynccontextmanager
    async def dial(self, will: Outgoing | None) -> AsyncIterator[Connection]:
        """A `Dial`."""
        async with self._dial(will) as connection:
            yield _Gated(connection, self)


class _Gated:
    def __init__(self, connection: Connection, gate: Gate) -> None:
        self.version = connection.version
        self._connection, self._gate = connection, gate

    async def publish(self, message: Outgoing) -> None:
        if await self._gate.passed():
            await self._connection.publish(message)

    async def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        await self._connection.subscribe(topics)

    async def recall(self, topics: Sequence[tuple[str, int]]) -> None:
        await self._connection.recall(topics)

    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._connection.messages():
            if await self._gate.passed():
                yield message

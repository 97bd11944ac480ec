"""Events on a socket: a line of JSON, then perhaps more JSON, then perhaps bytes. Bounded in size and time.

The package's own reader takes whatever length a client announces into memory, and ends without a word when it cannot
read what came; so events are read here, and written by the package. The format is that of its README.
"""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event

from agent.wyoming.errors import BrokenEvent, Refusal

LINE = 1 << 16
"""Longest line, in bytes; also what the stream's buffer holds."""
DATA = 1 << 18
"""Longest JSON after the line, in bytes."""
PAYLOAD = 1 << 20
"""Most bytes after that: half a minute of 16 kHz sound."""
LINGER_S = 1.0


class _Head(Struct):
    type: str
    data: dict[str, Any] | None = None
    data_length: int | None = None
    payload_length: int | None = None


class Wire:
    """One client's connection. idle_s: longest wait for an event;  write_s: longest wait for the client to take one.

    Reading belongs to one task; any may write, each event whole.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, idle_s: float, write_s: float
    ) -> None:
        self._reader, self._writer = reader, writer
        self._idle, self._write = idle_s, write_s

    async def read(self) -> Event | None:
        """The next event; None when the client has gone, or nothing came for `idle_s`.

        Raises `BrokenEvent` for what is no event or too long: nothing that follows can be understood then.
        """
        try:
            async with asyncio.timeout(self._idle):
                return await self._next()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _next(self) -> Event | None:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise BrokenEvent(f"an event's line is longer than {LINE} bytes") from None
        try:
            head = msgspec.json.decode(line, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenEvent(f"a line that is no event: {error}") from None
        data = dict(head.data or {})
        if more := await self._piece(head.data_length, DATA, "data_length"):
            try:
                data |= msgspec.json.decode(more, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise BrokenEvent(f"the data of {head.type!r} is not a JSON object: {error}") from None
        payload = await self._piece(head.payload_length, PAYLOAD, "payload_length")
        return Event(head.type, data, payload or None)

    async def _piece(self, length: int | None, most: int, name: str) -> bytes:
        if not length:
            return b""
        if not 0 <= length <= most:
            raise BrokenEvent(f"{name} is {length}: it must be 0 to {most}")
        return await self._reader.readexactly(length)

    async def send(self, event: Eventable) -> None:
        """Write one event. Raises `ConnectionError` if the client has gone, `TimeoutError` if it takes nothing."""
        async with asyncio.timeout(self._write):
            await async_write_event(event.event(), self._writer)

    async def refuse(self, error: Refusal) -> None:
        """Tell the client why the connection ends, and leave it a moment to read that: what it still sends is dropped.

        (To close with bytes unread would reset the connection, and the reason might never arrive.)
        """
        await self.send(Error(str(error), error.code))
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
        except OSError as gone:  # ENOTCONN is no `ConnectionError` of Python's
            raise ConnectionAbortedError(str(gone)) from gone
        try:
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(LINE):
                    pass
        except TimeoutError:
            pass

    def close(self) -> None:
        """Close at once; what has not been taken is lost."""
        self._writer.transport.abort()

    async def part(self) -> None:
        """Close once what was written has been taken, or `write_s` have passed."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._write):
                await self._writer.wait_closed()
        except (TimeoutError, ConnectionError):
            self.close()

"""What is to be sent to one client: bounded, in order, and never waited for by anybody but the sender."""

import asyncio
from collections import deque
from typing import Protocol


class Gone(Exception):
    """The client has left."""


class Socket(Protocol):
    """A WebSocket. `receive` and `send` raise `Gone` once the client has left."""

    async def receive(self) -> str | bytes:
        """The next message."""

    async def send(self, text: str) -> None:
        """Send a message; waits while the client reads too little."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection. code: of RFC 6455, section 7.4.1"""


def size(text: str) -> int:
    """Bytes of `text` on the wire."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


class Outbox:
    """most: bytes that may wait;  stuck_s: how long one message may take"""

    def __init__(self, socket: Socket, most: int, stuck_s: float) -> None:
        self._socket, self._most, self._stuck = socket, most, stuck_s
        self._queue: deque[str] = deque()
        self._waiting = 0  # bytes in the queue
        self._filled = asyncio.Event()
        self._ended = False

    def put(self, text: str) -> bool:
        """Queue a message. Returns False, and drops all that waits, if that would be too much."""
        if self._ended:
            return True
        if self._waiting + size(text) > self._most:
            self.end()
            self._queue.clear()
            return False
        self._queue.append(text)
        self._waiting += size(text)
        self._filled.set()
        return True

    def end(self) -> None:
        """Take nothing more."""
        self._ended = True
        self._filled.set()

    async def run(self) -> bool:
        """Send until `end`, and then what still waits. Returns False if the client reads nothing."""
        while True:
            while not self._queue:
                if self._ended:
                    return True
                self._filled.clear()
                await self._filled.wait()
            text = self._queue.popleft()
            self._waiting -= size(text)
            try:
                async with asyncio.timeout(self._stuck):
                    await self._socket.send(text)
            except TimeoutError:
                return False
            except Gone:
                return True

"""A TCP proxy that spoils the way between MQTT clients and their broker: on purpose, and switchable while it runs.

It knows where MQTT packets end (MQTT 3.1.1 and 5, section 2.1: type, length, rest), so that it can lose, double or
overtake single PUBLISH packets as no TCP would; for TLS, where nothing can be read, it delays and holds bytes as they
come. Loss and doubling draw from a seeded generator: the same packets, the same fate.
"""

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from embodied.link.port import LinkBroken
from streams.clock import MS, Clock

PUBLISH, DUP, QOS = 0x30, 0x08, 0x06
HELD_BYTES = 16 * 2**20  # more is not read from the sender, as a full buffer on the way would do
_CHUNK = 65_536


class Packets:
    """Cuts a stream of bytes into MQTT packets. Raises `ValueError` for a length that is none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that are complete with `data`."""
        self._rest += data
        while (size := _size(self._rest)) is not None and len(self._rest) >= size:
            packet, self._rest = self._rest[:size], self._rest[size:]
            yield packet


def _size(data: bytes) -> int | None:
    """Bytes of the packet that begins `data`; None if its length has not come whole."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return 2 + place + length
    if len(data) >= 5:
        raise ValueError("the length of a packet has more than four bytes: this is no MQTT")
    return None


class Way:
    """One direction. All may be set at any time, and counts for what comes from then on.

    delay_ms: of everything;  lose, double, overtake: share of PUBLISH packets (0 to 1) that vanish, come twice, or are
    kept back for `overtake_ms` while later ones pass
    held: nothing leaves, and nothing is lost: see `Proxy.release`;  black: all that comes vanishes, the end, too
    """

    def __init__(self, rng: random.Random) -> None:
        self.delay_ms = self.overtake_ms = 0.0
        self.lose = self.double = self.overtake = 0.0
        self.held = self.black = False
        self.counts: Counter[str] = Counter()
        self._rng = rng

    def fates(self, packet: bytes) -> list[tuple[bytes, float]]:
        """What leaves for `packet`, and after how many ms."""
        self.counts["packets"] += 1
        if self.black:
            self.counts["vanished"] += 1
            return []
        if packet[0] & 0xF0 != PUBLISH:
            return [(packet, self.delay_ms)]
        self.counts["published"] += 1
        if self._rng.random() < self.lose:
            self.counts["lost"] += 1
            return []
        delay = self.delay_ms
        if self._rng.random() < self.overtake:
            self.counts["overtaken"] += 1
            delay += self.overtake_ms
        fates = [(packet, delay)]
        if self._rng.random() < self.double:
            self.counts["doubled"] += 1
            again = bytes([packet[0] | DUP]) + packet[1:] if packet[0] & QOS else packet
            fates.append((again, delay))
        return fates


class Proxy:
    """Listens on `port` of 127.0.0.1, and passes all on to (host, to_port). An asynchronous context manager.

    raw: do not look into the bytes (TLS): then only delay, hold, black and cut have an effect
    Entering raises `LinkBroken` if the port is taken. Leaving it cuts all connections.
    """

    def __init__(
        self, host: str, to_port: int, clock: Clock, *, port: int = 0, raw: bool = False, seed: int = 0
    ) -> None:
        self.port = port
        self.up, self.down = Way(random.Random(seed)), Way(random.Random(seed + 1))
        self.open = True
        self._to, self._clock, self._raw = (host, to_port), clock, raw
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pipes: set[_Pipe] = set()

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        except OSError as error:
            raise LinkBroken(f"the proxy cannot listen on port {self.port}: {error}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        self.open = False
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self) -> None:
        """Nothing passes in either direction, and nothing is lost."""
        self.up.held = self.down.held = True

    def release(self) -> None:
        """What was held leaves at once, in its order; what comes passes again."""
        self.up.held = self.down.held = False
        for pipe in self._pipes:
            pipe.news.set()

    def blackhole(self, on: bool = True) -> None:
        """All that comes vanishes, both ways, and nobody is told: no reset, no end of a connection."""
        self.up.black = self.down.black = on

    def cut(self) -> None:
        """End all connections, for both sides to see."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self.open:
            writer.close()
            return
        self._tasks.add(task)
        others: asyncio.StreamWriter | None = None
        try:
            far, others = await asyncio.open_connection(*self._to)
            async with asyncio.TaskGroup() as tasks:
                for one, other, way in ((reader, others, self.up), (far, writer, self.down)):
                    pipe = _Pipe(one, other, way, self._clock, raw=self._raw)
                    self._pipes.add(pipe)
                    tasks.create_task(self._carry(pipe))
        except* (OSError, _Over):
            pass  # one side has gone, or the broker was not there: the other side is told below
        except* asyncio.CancelledError:
            pass  # `cut`, or the end: on Python 3.11 asyncio's own callback logs a handler that ends as cancelled
        finally:
            self._tasks.discard(task)
            for end in (writer, others):
                if end is not None:
                    end.transport.abort()

    async def _carry(self, pipe: "_Pipe") -> None:
        try:
            await pipe.run()
        finally:
            self._pipes.discard(pipe)


class _Over(Exception):
    """One side has ended the connection."""


class _Pipe:
    """From one socket to the other, each packet at its time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, clock: Clock, *, raw: bool
    ) -> None:
        self.news, self._room = asyncio.Event(), asyncio.Event()
        self._reader, self._writer, self._way, self._clock, self._raw = reader, writer, way, clock, raw
        self._due: list[tuple[int, int, bytes]] = []
        self._number = self._bytes = 0
        self._ended = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._write())

    async def _read(self) -> None:
        packets = Packets()
        while data := await self._reader.read(_CHUNK):
            try:
                cut = [data] if self._raw else list(packets.feed(data))
            except ValueError as error:
                raise OSError(str(error)) from error
            for packet in cut:
                black = self._raw and self._way.black
                fates = [(packet, self._way.delay_ms)] if self._raw else self._way.fates(packet)
                for each, delay in () if black else fates:
                    self._put(each, delay)
            self.news.set()
            while self._bytes > HELD_BYTES:
                self._room.clear()
                await self._room.wait()
        if not self._way.black:
            self._put(b"", self._way.delay_ms)
            self.news.set()

    def _put(self, packet: bytes, delay_ms: float) -> None:
        self._number += 1
        self._bytes += len(packet)
        heapq.heappush(self._due, (self._clock.now() + round(delay_ms * MS), self._number, packet))

    async def _write(self) -> None:
        while True:
            self.news.clear()
            if not self._due or self._way.held:
                await self.news.wait()
                continue
            if (due := self._due[0][0]) > self._clock.now():
                try:
                    async with asyncio.timeout_at(self._clock.deadline(due)):
                        await self.news.wait()
                except TimeoutError:
                    pass
                continue
            packet = heapq.heappop(self._due)[2]
            if not packet:
                raise _Over
            self._bytes -= len(packet)
            self._room.set()
            self._writer.write(packet)
            await self._writer.drain()

"""The proxy between a client and a broker: what it does to packets, switched while it runs."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.link.address import Address
from embodied.link.broker import find, running
from embodied.link.mqtt import dial
from embodied.link.port import LinkBroken, Outgoing
from embodied.link.proxy import DUP, Packets, Proxy, Way
from streams.clock import MS, Clock

PING = b"\xc0\x00"


def publish(text: bytes, qos: int = 1) -> bytes:
    body = b"\x00\x01t" + (b"\x00\x07" if qos else b"") + text
    length = len(body)
    head = bytearray([0x30 | qos << 1])
    while True:
        head.append(length % 128 | (0x80 if length >= 128 else 0))
        length //= 128
        if not length:
            return bytes(head) + body


# --- where packets end


@given(st.lists(st.integers(0, 40_000), max_size=8), st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_packets_are_found_however_they_are_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = [publish(b"x" * size) for size in sizes]
    data, packets, got, n = b"".join(sent), Packets(), [], 0
    while data:
        size = cuts[n % len(cuts)]
        got += packets.feed(data[:size])
        data, n = data[size:], n + 1
    assert got == sent


def test_what_is_no_mqtt_is_an_error() -> None:
    with pytest.raises(ValueError, match="no MQTT"):
        list(Packets().feed(b"\x30\xff\xff\xff\xff\xff"))


def test_fates() -> None:
    way = Way(random.Random(1))
    assert way.fates(publish(b"a")) == [(publish(b"a"), 0)]
    way.double = 1.0
    (first, _), (second, _) = way.fates(publish(b"a"))
    assert (first[0] | DUP, first[1:]) == (second[0], second[1:])
    (first, _), (second, _) = way.fates(publish(b"a", 0))
    assert first == second
    assert len(way.fates(PING)) == 1
    way.double, way.lose = 0.0, 1.0
    assert way.fates(publish(b"a")) == []
    assert len(way.fates(PING)) == 1
    way.black = True
    assert way.fates(PING) == []
    way.black, way.lose, way.overtake, way.overtake_ms, way.delay_ms = False, 0.0, 1.0, 30.0, 5.0
    assert way.fates(publish(b"a"))[0][1] == 35.0
    assert way.fates(PING)[0][1] == 5.0
    assert way.counts["lost"] == 1
    assert way.counts["vanished"] == 1


# --- through sockets


class Far:
    """The far end: keeps what comes, and answers what it is told."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65_536):
                self.got += data
        except OSError:
            pass
        finally:
            self.ended.set()
            writer.close()

    async def has(self, what: bytes, seconds: float = 2.0) -> bool:
        end = asyncio.get_running_loop().time() + seconds
        while self.got != what and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return self.got == what


Test = Callable[[Proxy, Far, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def through(test: Test, *, raw: bool = False) -> None:
    async def main() -> None:
        far = Far()
        server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
        async with server, Proxy("127.0.0.1", server.sockets[0].getsockname()[1], Clock(), raw=raw) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            try:
                async with asyncio.timeout(10):
                    await test(proxy, far, reader, writer)
            finally:
                writer.close()
                for each in far.writers:
                    each.close()

    asyncio.run(main())


def test_all_passes_in_order_both_ways() -> None:
    async def test(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = b"".join(publish(bytes([n]) * n * 50) for n in range(100))
        writer.write(sent)
        assert await far.has(sent)
        far.writers[0].write(publish(b"back") + PING)
        assert await reader.readexactly(len(publish(b"back")) + 2) == publish(b"back") + PING
        writer.write_eof()
        await asyncio.wait_for(far.ended.wait(), 2)

    through(test)


def test_what_is_held_comes_at_once_when_it_is_released() -> None:
    async def test(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(publish(b"1"))
        assert await far.has(publish(b"1"))
        proxy.hold()
        writer.write(publish(b"2") + publish(b"3"))
        far.writers[0].write(PING)
        await asyncio.sleep(0.15)
        assert far.got == publish(b"1")
        proxy.release()
        assert await far.has(publish(b"1") + publish(b"2") + publish(b"3"))
        assert await reader.readexactly(2) == PING

    through(test)


def test_a_black_hole_tells_nobody() -> None:
    async def test(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PING)
        assert await far.has(PING)
        proxy.blackhole()
        writer.write(publish(b"gone"))
        far.writers[0].write(publish(b"gone"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.15)
        proxy.blackhole(False)
        writer.write(publish(b"here"))
        assert await far.has(PING + publish(b"here"))

    through(test)


def test_delay_overtaking_and_cutting() -> None:
    async def test(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = Clock()
        proxy.up.delay_ms = 80
        writer.write(PING)
        assert await far.has(PING)
        assert clock.now() >= 75 * MS
        proxy.up.delay_ms, proxy.up.overtake, proxy.up.overtake_ms = 0, 1.0, 100
        writer.write(publish(b"late"))
        await asyncio.sleep(0.02)
        proxy.up.overtake = 0.0
        writer.write(publish(b"soon"))
        assert await far.has(PING + publish(b"soon") + publish(b"late"))
        proxy.cut()
        await asyncio.wait_for(far.ended.wait(), 2)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    through(test)


def test_what_is_no_mqtt_passes_raw_and_else_ends_the_connection() -> None:
    noise = b"\x30\xff\xff\xff\xff\xff"

    async def raw(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.hold()
        writer.write(noise)
        await asyncio.sleep(0.1)
        assert far.got == b""
        proxy.release()
        assert await far.has(noise)

    async def read(proxy: Proxy, far: Far, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(noise)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert far.got == b""

    through(raw, raw=True)
    through(read)


def test_a_port_that_is_taken_and_a_broker_that_is_not_there() -> None:
    async def main() -> None:
        async with Proxy("127.0.0.1", 1, Clock()) as proxy:
            with pytest.raises(LinkBroken, match="cannot listen"):
                async with Proxy("127.0.0.1", 1, Clock(), port=proxy.port):
                    pass
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    asyncio.run(main())


# --- with a real broker


async def met(proxy: Proxy, fate: str, count: int) -> None:
    """Wait until so many packets on the way up have had this fate."""
    clock = Clock()
    async with asyncio.timeout(5):
        while proxy.up.counts[fate] < count:
            await clock.sleep_until(clock.now() + 5_000_000)


@pytest.mark.skipif(find() is None, reason="mosquitto is not installed: apt install mosquitto")
def test_doubled_and_lost_messages_behind_a_real_broker() -> None:
    async def main() -> None:
        async with running() as broker, Proxy("127.0.0.1", broker.port, Clock()) as proxy:
            to = Address.parse(f"mqtt://127.0.0.1:{proxy.port}")
            plain = Address.parse(broker.url)
            async with dial(to, client_id="a")(None) as sender, dial(plain, client_id="b")(None) as hearer:
                await hearer.subscribe([("t", 1)])
                proxy.up.double = 1.0
                await sender.publish(Outgoing("t", b"twice", 1))
                await sender.publish(Outgoing("t", b"twice", 0))
                await met(proxy, "doubled", 2)  # one of QoS 0 is written, and has not passed yet
                proxy.up.double, proxy.up.lose = 0.0, 1.0
                await sender.publish(Outgoing("t", b"lost", 0))
                await met(proxy, "lost", 1)
                proxy.up.lose = 0.0
                await sender.publish(Outgoing("t", b"end", 1))
                got: list[bytes] = []
                async with asyncio.timeout(5):
                    async for message in hearer.messages():
                        got.append(message.payload)
                        if message.payload == b"end":
                            break
                assert got == [b"twice"] * 4 + [b"end"]

    asyncio.run(main())

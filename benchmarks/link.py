"""The way through a real mosquitto on this machine: round trips with and without Nagle's delay, and reconnecting.

    python -m benchmarks.link [--pings 300]

A round trip is there and back: one client publishes, another answers each message with one of its own, as a robot
acknowledges a command. The contract's prototype measured, QoS 1, p50: 88 ms with defaults, 44 ms with TCP_NODELAY at
the clients only, 88 ms at the broker only, 2.3 to 2.7 ms (p99 about 6 ms) with both; QoS 0 about 2 ms either way.
"""

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from embodied.link import sockets
from embodied.link.address import Address
from embodied.link.broker import Broker, running
from embodied.link.link import Link
from embodied.link.mqtt import dial
from embodied.link.port import Message, Outgoing
from streams.clock import MS, SECOND, Clock

CONTRACT = {(False, False): "88", (True, False): "44", (False, True): "88", (True, True): "2.3-2.7, p99 6"}


class _Nagle(socket.socket):
    """A socket that keeps the system's default, whatever it is told."""

    def setsockopt(self, *arguments: object) -> None:
        if arguments[:2] != (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            super().setsockopt(*arguments)  # type: ignore[call-overload]


async def until(true: Callable[[], object]) -> None:
    """Wait until `true()`, half a minute at most."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.0005)


@asynccontextmanager
async def links(broker: Broker, clock: Clock, qos: Literal[0, 1]) -> AsyncIterator[tuple[Link, Link, list[Message]]]:
    """One that asks, one that answers, and what came back."""
    came: list[Message] = []
    address = Address.parse(broker.url)
    asks = Link(dial(address, client_id="asks"), clock, receive=came.append, subscriptions=[("back", qos)], limit=5000)
    answers = Link(
        dial(address, client_id="answers"), clock, subscriptions=[("there", qos)], limit=5000,
        receive=lambda message: answers.send(Outgoing("back", message.payload, qos)) or None,
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in (asks, answers)]
        await until(lambda: asks.connected and answers.connected)
        yield asks, answers, came
        for task in tasks:
            task.cancel()


async def round_trips(clock: Clock, qos: Literal[0, 1], clients: bool, broker_too: bool, pings: int) -> list[float]:
    """ms of each."""
    took: list[float] = []
    plain = socket.socket
    sockets.socket.socket = plain if clients else _Nagle  # type: ignore[misc]
    try:
        async with (
            running(kind="mosquitto", nodelay=broker_too) as broker,
            links(broker, clock, qos) as (asks, _, _),
        ):
            arrived = asyncio.Event()
            asks._receive = lambda _, arrived=arrived: arrived.set()  # type: ignore[misc]
            for _ in range(pings):
                arrived.clear()
                begun = clock.now()
                asks.send(Outgoing("there", b"x" * 200, qos))
                await asyncio.wait_for(arrived.wait(), 5)
                took.append((clock.now() - begun) / MS)
                await asyncio.sleep(0.005)
    finally:
        sockets.socket.socket = plain  # type: ignore[misc]
    return sorted(took)


async def throughput(clock: Clock) -> float:
    """QoS 1 messages a second, one at a time (each waits for its acknowledgement: that is what keeps the order)."""
    async with running(kind="mosquitto") as broker, links(broker, clock, 1) as (asks, _, came):
        begun = clock.now()
        for _ in range(1000):
            asks.send(Outgoing("there", b"x" * 200, 1))
        await until(lambda: len(came) >= 1000)
        return 1000 / ((clock.now() - begun) / SECOND)


async def reconnecting(clock: Clock) -> list[float]:
    """ms from the broker's being back after kill -9 until a message has gone there and back."""
    took: list[float] = []
    async with running(kind="mosquitto") as broker, links(broker, clock, 1) as (asks, answers, came):
        for _ in range(5):
            broker.kill()
            await until(lambda: not asks.connected and not answers.connected)
            await broker.restart()
            begun, before = clock.now(), len(came)
            await until(lambda: asks.connected and answers.connected)
            asks.send(Outgoing("there", b"again", 1))
            await until(lambda before=before: len(came) > before)
            took.append((clock.now() - begun) / MS)
    return sorted(took)


async def main(pings: int) -> None:
    """Measure, and print."""
    clock = Clock()
    print("round trip, ms              ours p50    p99   contract's p50 (QoS 1)")
    for qos in (0, 1):
        for clients in (False, True):
            for broker in (False, True):
                some = pings if qos == 0 or (clients and broker) else max(20, pings // 10)
                took = await round_trips(clock, 1 if qos else 0, clients, broker, some)
                told = CONTRACT[clients, broker] if qos else "2"
                who = {(0, 0): "nobody", (0, 1): "broker", (1, 0): "clients", (1, 1): "both"}[clients, broker]
                p99 = took[int(len(took) * 0.99)]
                print(f"QoS {qos}, NODELAY at {who:8s}  {took[len(took) // 2]:8.2f} {p99:6.2f}   {told}")
    print(f"QoS 1, there and back, one at a time: {await throughput(clock):.0f} a second")
    back = await reconnecting(clock)
    print(
        f"after kill -9, from the broker's return to a message there and back: {back[2]:.0f} ms, at most {back[-1]:.0f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pings", type=int, default=300)
    asyncio.run(main(parser.parse_args().pings))

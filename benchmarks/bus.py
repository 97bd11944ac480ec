"""What the bus, the pump's thread hop and the virtual loop cost: python -m benchmarks.bus [--quick]

Every ratio is between two figures of the same run, measured in turn (A B A B ...), the best of each taken: other
load on the machine slows both. Targets are those of the first issue; a missed one is marked and the exit status is 1.
"""

import argparse
import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import Any

from benchmarks.machine import machine, percentile, spread
from streams.bus import Bus, Lane
from streams.clock import Clock, run
from streams.topics import ACTION, PERCEPT, Keep, Topic
from streams.types import Action, Hush, Percept, SpeechStarted
from streams.worker import Worker

STAGES = 5
IN_FLIGHT = 32
LINE: list[Topic[int]] = [Topic(f"stage{n}", int, Keep(3000)) for n in range(STAGES + 1)]
US = 1e-3  # ns to microseconds


# --- five pass-through stages


async def over_lanes(frames: int, in_flight: int) -> float:
    """Frames a second through stages that are tasks, each reading a lane and publishing on the next topic."""
    clock = Clock()
    bus = Bus(clock)

    async def stage(lane: Lane, out: Topic[int]) -> None:
        async for packet in lane:
            bus.publish(out, packet.t, packet.data)
        bus.close(out)

    async with asyncio.TaskGroup() as group:
        for place in range(STAGES):
            group.create_task(stage(bus.open(LINE[place]), LINE[place + 1]))
        sink, sent = bus.open(LINE[STAGES]), in_flight
        began = perf_counter()
        for n in range(in_flight):
            bus.publish(LINE[0], 0, n)
        async for _ in sink:
            if sent < frames:
                bus.publish(LINE[0], 0, sent)
                sent += 1
            elif LINE[0] not in bus.closed:
                bus.close(LINE[0])
        return frames / (perf_counter() - began)


async def over_queues(frames: int, in_flight: int) -> float:
    """The same over plain `asyncio.Queue`s, one task per stage, no clock, no numbering, no loss counted."""
    queues: list[asyncio.Queue[int | None]] = [asyncio.Queue() for _ in range(STAGES + 1)]

    async def stage(place: int) -> None:
        while True:
            frame = await queues[place].get()
            queues[place + 1].put_nowait(frame)
            if frame is None:
                return

    async with asyncio.TaskGroup() as group:
        for place in range(STAGES):
            group.create_task(stage(place))
        sent = in_flight
        began = perf_counter()
        for n in range(in_flight):
            queues[0].put_nowait(n)
        for _ in range(frames):
            await queues[STAGES].get()
            if sent < frames:
                queues[0].put_nowait(sent)
                sent += 1
        took = perf_counter() - began
        queues[0].put_nowait(None)
    return frames / took


async def over_calls(frames: int, in_flight: int) -> float:
    """The same as functions that call each other: the floor."""
    sink: list[int] = []
    call: Callable[[int], None] = sink.append
    for _ in range(STAGES):

        def call(frame: int, following: Callable[[int], None] = call) -> None:
            following(frame)

    began = perf_counter()
    for n in range(frames):
        call(n)
    return frames / (perf_counter() - began)


def in_turn(rounds: int, *ways: Callable[[], Awaitable[float]]) -> list[float]:
    """The best of `rounds` of each of `ways`, measured in turn."""
    results: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, best in zip(ways, results, strict=True):
            best.append(run(way()))  # type: ignore[arg-type]
    return [max(best) for best in results]


async def latencies(frames: int) -> list[float]:
    """ns through five stages, one frame at a time."""
    bus, times = Bus(Clock()), []

    async def stage(lane: Lane, out: Topic[int]) -> None:
        async for packet in lane:
            bus.publish(out, packet.t, packet.data)

    async with asyncio.TaskGroup() as group:
        for place in range(STAGES):
            group.create_task(stage(bus.open(LINE[place]), LINE[place + 1]))
        sink = bus.open(LINE[STAGES])
        await asyncio.sleep(0)
        for _ in range(frames):
            began = perf_counter_ns()
            bus.publish(LINE[0], 0, 0)
            await sink.get()
            times.append(float(perf_counter_ns() - began))
            await asyncio.sleep(0)
        bus.close(*LINE)
    return times


# --- one packet


async def publish_cost(readers: int, count: int) -> float:
    """ns per `publish` to lanes that nobody waits on (their queues emptied outside the measurement)."""
    bus, best = Bus(Clock()), []
    lanes = [bus.open(LINE[0]) for _ in range(readers)]
    for _ in range(count // 1000):
        began = perf_counter_ns()
        for n in range(1000):
            bus.publish(LINE[0], 0, n)
        best.append((perf_counter_ns() - began) / 1000)
        for lane in lanes:
            while lane.take() is not None:
                pass
    return median(best)


async def barge_in(count: int) -> list[float]:
    """ns from the publication of a percept, over the reader that answers with `Hush`, to the sink that sees it.

    The bus is as busy as in a conversation: four more lanes watch all of it.
    """
    bus, times = Bus(Clock()), []

    async def conductor(lane: Lane) -> None:
        async for packet in lane:
            bus.publish(ACTION, packet.t, Hush(packet.data.segment))

    async def watch(lane: Lane) -> None:
        async for _ in lane:
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(conductor(bus.open(PERCEPT)))
        for _ in range(4):
            group.create_task(watch(bus.open(PERCEPT, ACTION)))
        sink: Lane = bus.open(ACTION)
        await asyncio.sleep(0)
        for n in range(count):
            percept: Percept = SpeechStarted(n, 0)
            began = perf_counter_ns()
            bus.publish(PERCEPT, 0, percept)
            packet = await sink.get()
            times.append(float(perf_counter_ns() - began))
            assert packet is not None
            action: Action = packet.data
            assert action == Hush(n)
            await asyncio.sleep(0.0005)
        bus.close(PERCEPT, ACTION)
    return times


async def hop(count: int) -> tuple[list[float], list[float]]:
    """ns of a call made on the loop and of the same call through a worker thread, as the pump makes them."""
    clock, inline, threaded = Clock(), [], []
    worker = Worker(clock, "benchmark")
    await worker.work(1, threading.get_ident)
    for n in range(count):
        began = perf_counter_ns()
        divmod(n, 7)
        inline.append(float(perf_counter_ns() - began))
        began = perf_counter_ns()
        await worker.work(1, divmod, n, 7)
        threaded.append(float(perf_counter_ns() - began))
    await worker.aclose()
    return inline, threaded


# --- the virtual loop


async def timers(count: int, tasks: int) -> float:
    """Sleeps a second of real time, over `tasks` tasks."""

    async def sleeper(n: int) -> None:
        for _ in range(count // tasks):
            await asyncio.sleep(0.01 + n * 1e-6)

    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(tasks):
            group.create_task(sleeper(n))
    return count / (perf_counter() - began)


async def settles(count: int) -> float:
    """ns per `settle` when one task has just been woken."""
    clock = Clock()
    bus = Bus(clock)

    async def reader(lane: Lane) -> None:
        async for _ in lane:
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(reader(bus.open(LINE[0])))
        await clock.settle()
        began = perf_counter_ns()
        for n in range(count):
            bus.publish(LINE[0], 0, n)
            await clock.settle()
        took = (perf_counter_ns() - began) / count
        bus.close(LINE[0])
    return took


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs")
    scale = 1 if parser.parse_args(arguments).quick else 10
    missed = 0

    def target(met: bool, what: str) -> str:
        nonlocal missed
        missed += not met
        return f"   [target {what}: {'met' if met else 'MISSED'}]"

    print(machine("msgspec"))
    frames = 2000 * scale
    print(f"\n{STAGES} pass-through stages, {IN_FLIGHT} in flight (frames/s, best of 5 each, in turn)")
    ways: list[Any] = [lambda way=way: way(frames, IN_FLIGHT) for way in (over_lanes, over_queues, over_calls)]
    lanes, queues, calls = in_turn(5, *ways)
    ratio = lanes / queues
    print(f"  lanes                {lanes:12,.0f}   {ratio:5.2f} of asyncio.Queue{target(ratio >= 0.5, '>= 0.5')}")
    print(f"  asyncio.Queue        {queues:12,.0f}")
    print(f"  direct calls         {calls:12,.0f}   {calls / lanes:5.0f} times lanes")
    print(f"\n{STAGES} stages, one frame at a time\n  {spread(run(latencies(1000 * scale)), 'us', US)}")

    print("\npublish (median)")
    for readers in (0, 1, 3):
        print(f"  {readers} readers {run(publish_cost(readers, 10_000 * scale)) * US:8.2f} us")
    seen = run(barge_in(400 * scale))
    met = target(percentile(seen, 99) <= 1e6, "p99 <= 1000 us")
    print(f"\nbarge-in: percept published -> sink has Hush\n  {spread(seen, 'us', US)}{met}")
    inline, threaded = run(hop(1000 * scale))
    print("\na call that does nothing, as the pump makes it")
    print(f"  on the loop    {spread(inline, 'us', US)}\n  by its thread  {spread(threaded, 'us', US)}")

    print("\nvirtual loop")
    for tasks in (1, 100):
        rate = run(timers(5000 * scale, tasks), virtual=True)
        print(f"  {tasks:3} tasks that sleep: {rate:10,.0f} timers/s")
    print(f"  settle with one reader to wake: {run(settles(2000 * scale), virtual=True) * US:.1f} us")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

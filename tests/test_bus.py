"""Lanes: one total order, declared loss, and no packet lost to cancellation."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bus import Bus, Lane
from streams.clock import MS, SECOND, Clock, run
from streams.errors import LaneOverrun
from streams.packet import Packet
from streams.topics import Keep, Latest, Topic

A: Topic[int] = Topic("a", int, Keep(100_000))
B: Topic[int] = Topic("b", int, Keep(100_000))
SMALL: Topic[int] = Topic("small", int, Keep(3))
WIDE: Topic[int] = Topic("wide", int, Keep(5))
NEW: Topic[int] = Topic("new", int, Latest(1))
FEW: Topic[int] = Topic("few", int, Latest(3))


def on_the_bus(scene: Any, *args: Any) -> Any:
    async def main() -> Any:
        clock = Clock()
        result = scene(Bus(clock), clock, *args)
        return await result if isinstance(result, Coroutine) else result

    return run(main(), virtual=True)


def drain(lane: Lane) -> list[Packet[Any]]:
    packets = []
    while (packet := lane.take()) is not None:
        packets.append(packet)
    return packets


# --- order


@given(
    writers=st.lists(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 5)), max_size=20), max_size=5),
    readers=st.lists(
        st.sets(st.sampled_from([A, B]), min_size=1).map(lambda topics: sorted(topics, key=repr)), max_size=4
    ),
)
def test_every_reader_sees_its_part_of_one_gapless_order(
    writers: list[list[tuple[Topic[int], int]]], readers: list[list[Topic[int]]]
) -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        published: list[Packet[Any]] = []

        async def write(script: list[tuple[Topic[int], int]]) -> None:
            for topic, pause in script:
                if pause:
                    await asyncio.sleep(pause / 1000)
                published.append(bus.publish(topic, -pause, pause))

        async def read(lane: Lane) -> list[Packet[Any]]:
            return [packet async for packet in lane]

        lanes = [bus.open(*topics) for topics in readers]
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(read(lane)) for lane in lanes]
            async with asyncio.TaskGroup() as writing:
                for script in writers:
                    writing.create_task(write(script))
            bus.close(A, B)
        assert [packet.order for packet in published] == list(range(bus.order))
        assert [packet.at for packet in published] == sorted(packet.at for packet in published)
        for topic in (A, B):
            seqs = [packet.seq for packet in published if packet.topic is topic]
            assert seqs == list(range(len(seqs)))
        for lane, task, topics in zip(lanes, reading, readers, strict=True):
            assert task.result() == [packet for packet in published if packet.topic in topics]
            assert lane.ended
            assert lane.dropped == {}

    on_the_bus(scene)


# --- what a slow reader loses


@given(
    steps=st.lists(st.sampled_from([NEW, FEW, A, None]), max_size=60),
    opened=st.sampled_from([(NEW,), (FEW,), (NEW, FEW), (A, FEW), (A, NEW, FEW)]),
)
def test_latest_keeps_the_newest_and_counts_the_rest(
    steps: list[Topic[int] | None], opened: tuple[Topic[int], ...]
) -> None:
    """None in `steps`: the reader takes one packet. Against a list with the rule applied by hand."""

    def scene(bus: Bus, clock: Clock) -> None:
        model: list[Packet[int]] = []
        dropped: dict[str, int] = {}
        high = 0
        with bus.open(*opened) as lane:
            for step in steps:
                if step is None:
                    assert lane.take() is (model.pop(0) if model else None)
                    continue
                packet = bus.publish(step, 0, 0)
                if step not in opened:
                    continue
                waiting = [other for other in model if other.topic is step]
                if isinstance(step.queue, Latest) and len(waiting) == step.queue.depth:
                    model.remove(waiting[0])
                    dropped[step.name] = dropped.get(step.name, 0) + 1
                model.append(packet)
                high = max(high, len(model))
                assert len(lane) == len(model)
            assert drain(lane) == model
            assert (lane.dropped, lane.high) == (dropped, high)

    on_the_bus(scene)


def test_a_slow_reader_sees_the_newest_picture_and_its_gaps_are_its_drops() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        async def camera() -> None:
            for n in range(300):
                await clock.sleep_until((n + 1) * 10 * MS)
                bus.publish(NEW, clock.now(), n)
            bus.close(NEW)

        with bus.open(NEW) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(camera())
                seen = []
                async for packet in lane:
                    assert clock.now() - packet.t <= 10 * MS or packet.seq == 299  # the last one stays the newest
                    seen.append(packet.seq)
                    await asyncio.sleep(0.035)
            assert lane.dropped == {"new": 300 - len(seen)}
            assert seen[-1] == 299
            assert lane.high == 1

    on_the_bus(scene)


@given(
    before=st.lists(st.sampled_from([SMALL, WIDE, A]), max_size=12),
    after=st.lists(st.sampled_from([SMALL, WIDE, A]), max_size=12),
)
def test_an_overrun_faults_the_slow_reader_and_nobody_else(before: list[Topic[int]], after: list[Topic[int]]) -> None:
    """The lane is overrun exactly when more of one topic wait than *that* topic's depth."""

    def scene(bus: Bus, clock: Clock) -> None:
        slow, quick = bus.open(SMALL, WIDE, A, reader="slow"), bus.open(SMALL, WIDE, A, reader="quick")
        published = []
        for topic in (*before, *after):
            published.append(bus.publish(topic, 0, 0))
            assert drain(quick) == published[-1:]
        counts = {topic: (*before, *after).count(topic) for topic in (SMALL, WIDE, A)}
        if counts[SMALL] > 3 or counts[WIDE] > 5:
            for _ in range(2):
                with pytest.raises(LaneOverrun, match="slow") as caught:
                    slow.take()
                assert caught.value.topic in {topic.name for topic in counts if counts[topic] > topic.queue.depth}
            assert slow in bus.retired
        else:
            assert drain(slow) == published
        bus.close(SMALL, WIDE, A)
        slow.close()
        assert quick.ended

    on_the_bus(scene)


@pytest.mark.parametrize("waiting", [False, True])
def test_an_overrun_reaches_the_reader_through_get(waiting: bool) -> None:
    """`waiting`: the burst comes while the reader waits, in one step of the writer."""

    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(SMALL, reader="slow")
        if waiting:
            reading = asyncio.ensure_future(lane.get())
            await asyncio.sleep(0)
        for n in range(5):
            bus.publish(SMALL, 0, n)
        with pytest.raises(LaneOverrun) as caught:
            await (reading if waiting else lane.get())
        assert (caught.value.topic, caught.value.depth, caught.value.reader) == ("small", 3, "slow")

    on_the_bus(scene)


# --- cancellation


@given(seed=st.integers(0, 2**32), wrapped=st.booleans())
@settings(max_examples=150)
def test_a_cancelled_reader_loses_no_packet(seed: int, wrapped: bool) -> None:
    """Readers of one lane, one after the other, each cancelled after a random number of turns of the loop."""
    dice = random.Random(seed)

    async def scene(bus: Bus, clock: Clock) -> None:
        lane, got, count = bus.open(A, B), [], 60
        reader: asyncio.Task[None] | None = None

        async def read() -> None:
            while True:
                if wrapped:
                    try:
                        packet = await asyncio.wait_for(lane.get(), dice.randrange(1, 4) / 1000)
                    except TimeoutError:
                        continue
                else:
                    packet = await lane.get(clock.now() + dice.randrange(5) * MS)
                if packet is not None:
                    got.append(packet.order)
                elif lane.ended:
                    return
                for _ in range(dice.randrange(2)):
                    await asyncio.sleep(0)

        async def write() -> None:
            for n in range(count):
                await asyncio.sleep(dice.choice([0, 0, 0.001, 0.002]))
                bus.publish(dice.choice([A, B]), 0, n)
            bus.close(A, B)

        writer = asyncio.ensure_future(write())
        for _ in range(100):
            reader = asyncio.ensure_future(read())
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(dice.choice([0, 0, 0, 0.001]))
                if dice.random() < 0.2:
                    bus.publish(A, 0, -1) if A not in bus.closed else None
                    reader.cancel()
            reader.cancel()
            await asyncio.wait([reader])
        await writer
        got.extend(packet.order for packet in drain(lane))
        assert got == list(range(bus.order))
        assert lane.ended

    on_the_bus(scene)


def test_two_tasks_may_not_read_one_lane() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(A, reader="ear")
        first = asyncio.ensure_future(lane.get())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks read the lane of ear"):
            await lane.get()
        bus.publish(A, 0, 1)
        assert (await first).data == 1

    on_the_bus(scene)


# --- deadlines, nudges, ends


def test_get_waits_until_its_deadline_and_no_longer() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(A)
        assert await lane.get(0) is None
        assert clock.now() == 0
        assert await lane.get(333_333_333) is None
        assert clock.now() == 333_333_333
        clock.call_at(SECOND, bus.publish, A, 0, 1)
        assert (await lane.get(SECOND)).data == 1  # the packet came first, at the same instant
        assert clock.now() == SECOND
        bus.publish(A, 0, 2)
        assert (await lane.get(5)).data == 2  # a packet that waits goes before a deadline that has passed
        await clock.sleep_until(400 * 86_400 * SECOND)
        end = clock.now() + 1_000_001
        assert await lane.get(end) is None
        assert clock.now() == end

    on_the_bus(scene)


def test_a_packet_after_the_deadline_of_the_same_instant_is_not_lost() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(A)
        reading = asyncio.ensure_future(lane.get(SECOND))
        await asyncio.sleep(0)
        clock.call_at(SECOND, bus.publish, A, 0, 1)  # set after the reader's own timer
        assert (await reading).data == 1
        assert lane.take() is None

    on_the_bus(scene)


@pytest.mark.parametrize("virtual", [True, False])
def test_deadlines_hold_on_both_loops(virtual: bool) -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(A)
        for n in range(1, 4):
            assert await lane.get(n * 5 * MS) is None
            assert clock.now() >= n * 5 * MS

    run(main(), virtual=virtual)


def test_a_nudge_returns_none_once() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(A)
        reading = asyncio.ensure_future(lane.get())
        await asyncio.sleep(0)
        lane.nudge()
        assert await reading is None
        lane.nudge()
        bus.publish(A, 0, 7)
        assert (await lane.get()).data == 7  # a packet goes first
        assert await lane.get() is None
        assert await lane.get(SECOND) is None
        assert clock.now() == SECOND

    on_the_bus(scene)


def test_a_lane_ends_when_all_its_topics_are_closed_and_it_is_read() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        lane = bus.open(A, B, A)
        reading = asyncio.ensure_future(lane.get())
        await asyncio.sleep(0)
        bus.close(A)
        bus.close(A)
        bus.publish(B, 0, 1)
        assert (await reading).data == 1
        bus.publish(B, 0, 2)
        bus.close(B)
        assert not lane.ended
        assert [packet.data async for packet in lane] == [2]
        assert lane.ended
        assert await lane.get() is None
        waits = bus.open(A, B)
        assert waits.ended  # opened late: nothing will ever come
        assert await waits.get() is None

    on_the_bus(scene)


def test_closing_a_topic_or_the_lane_wakes_its_reader() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        by_topic, by_lane = bus.open(A), bus.open(A, B)
        reading = [asyncio.ensure_future(lane.get()) for lane in (by_topic, by_lane)]
        await asyncio.sleep(0)
        bus.close(A)
        by_lane.close()
        assert await asyncio.gather(*reading) == [None, None]
        assert by_lane.ended

    on_the_bus(scene)


def test_publishing_on_a_closed_topic_is_the_writers_bug() -> None:
    def scene(bus: Bus, clock: Clock) -> None:
        bus.publish(A, 0, 1)
        bus.close(A)
        with pytest.raises(ValueError, match="topic 'a' is closed: int comes too late"):
            bus.publish(A, 0, 2)
        assert bus.order == 1

    on_the_bus(scene)


def test_a_lane_sees_what_is_published_after_it_was_opened_and_a_topic_named_twice_once() -> None:
    def scene(bus: Bus, clock: Clock) -> None:
        bus.publish(A, 0, 1)
        late = bus.open(A, A)
        packet = bus.publish(A, 0, 2)
        assert drain(late) == [packet]
        assert (packet.seq, packet.order) == (1, 1)

    on_the_bus(scene)


def test_a_lane_closed_while_others_read_keeps_its_figures_and_gets_no_more() -> None:
    async def scene(bus: Bus, clock: Clock) -> None:
        stays, got = bus.open(A), []

        async def read() -> None:
            async for packet in stays:
                got.append(packet.data)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            with bus.open(A, NEW) as leaves:
                for n in range(4):
                    bus.publish(A, 0, n)
                    bus.publish(NEW, 0, n)
                    await asyncio.sleep(0)
            bus.publish(A, 0, 4)
            leaves.close()
            bus.close(A)
        assert got == [0, 1, 2, 3, 4]
        assert bus.retired == [leaves]
        assert bus.lanes == [stays]
        assert (leaves.high, leaves.dropped, len(leaves)) == (5, {"new": 3}, 5)
        assert [packet.data for packet in drain(leaves)] == [0, 1, 2, 3, 3]

    on_the_bus(scene)

"""The pump: slow calls off the loop, percepts in order, costs in virtual time."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.errors import LaneOverrun
from streams.packet import Packet
from streams.ports import Emit, Encoder
from streams.pump import pump
from streams.topics import AUDIO, FEEDBACK, IMAGE, PERCEPT, VOICE
from streams.types import Image, SpeechStarted, Voice

PICTURE = Image(b"", "jpeg", 640, 480)
FRAME = SECOND // 30


class Echo:
    """Answers every packet with two percepts, and the end with one more.

    cost_ns: declared;  before: called at the start of each push, in whatever thread that is
    """

    name, writes = "echo", (PERCEPT,)

    def __init__(self, *reads: Any, cost_ns: int = 0, before: Callable[[Packet[Any]], object] = id) -> None:
        self.reads, self.cost_ns, self.before = reads or (VOICE,), cost_ns, before
        self.threads: list[int] = []

    def cost(self, packet: Packet[Any]) -> int:
        return self.cost_ns

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        self.threads.append(threading.get_ident())
        self.before(packet)
        return [Emit(PERCEPT, packet.t, SpeechStarted(packet.seq, half)) for half in (0, 1)]

    def flush(self) -> Sequence[Emit]:
        return [Emit(PERCEPT, -1, SpeechStarted(-1, len(self.threads)))]

    def reset(self) -> None:
        self.threads.clear()


def expected(count: int) -> list[tuple[int, int]]:
    return [(n, half) for n in range(count) for half in (0, 1)] + [(-1, count)]


async def percepts_of(bus: Bus, clock: Clock, encoder: Encoder, count: int) -> list[tuple[int, int]]:
    """What `encoder` makes of `count` packets, published one turn of the loop apart, then the end."""
    with bus.open(PERCEPT) as lane:
        async with asyncio.TaskGroup() as group:
            pumping = group.create_task(pump(encoder, bus, clock))
            await asyncio.sleep(0)
            for n in range(count):
                bus.publish(VOICE, n, Voice(0.0, False))
                await asyncio.sleep(0)
            bus.close(VOICE)
            await pumping
            bus.close(PERCEPT)
        return [(packet.data.segment, packet.data.decided_ns) async for packet in lane]


@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("cost_ns", [0, 2 * MS])
def test_percepts_come_in_order_and_the_flush_comes_last(virtual: bool, cost_ns: int) -> None:
    encoder = Echo(cost_ns=cost_ns)

    async def main() -> list[tuple[int, int]]:
        clock = Clock()
        return await percepts_of(Bus(clock), clock, encoder, 40)

    assert run(main(), virtual=virtual) == expected(40)
    here = {threading.get_ident()}
    assert len(set(encoder.threads)) == 1
    assert (set(encoder.threads) == here) is (virtual or cost_ns == 0)


def test_a_slow_encoder_does_not_hold_up_the_writer() -> None:
    """The first call does not return before everything has been published, counted by a neighbour on the loop."""
    published = threading.Event()
    slow = Echo(cost_ns=100 * MS, before=lambda packet: published.wait(20) or pytest.fail("the writer waits for us"))
    quick = Echo(VOICE)
    quick.writes = ()

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(PERCEPT) as lane:
            async with asyncio.TaskGroup() as group:
                pumps = [group.create_task(pump(encoder, bus, clock)) for encoder in (slow, quick)]
                await asyncio.sleep(0)
                for n in range(200):
                    bus.publish(VOICE, n, Voice(0.0, False))
                    await asyncio.sleep(0)
                assert len(quick.threads) == 200
                assert len(slow.threads) <= 1
                published.set()
                bus.close(VOICE)
                await asyncio.wait(pumps)
                bus.close(PERCEPT)
            assert len([packet async for packet in lane]) == 2 * (2 * 200 + 1)

    run(main())


@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("cost_ns", [0, 2 * MS])
def test_what_the_encoder_raises_ends_the_pump(virtual: bool, cost_ns: int) -> None:
    def fails(packet: Packet[Any]) -> None:
        if packet.seq == 3:
            raise LookupError("a bug")

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        encoder = Echo(cost_ns=cost_ns, before=fails)
        with bus.open(PERCEPT) as lane:
            with pytest.raises(ExceptionGroup) as caught:
                await percepts_of(bus, clock, encoder, 10)
            assert [repr(error) for error in caught.value.exceptions] == ["LookupError('a bug')"]
            bus.close(PERCEPT)
            assert [packet.data.segment async for packet in lane] == [0, 0, 1, 1, 2, 2]
        assert {lane.reader for lane in bus.retired} >= {"echo"}

    run(main(), virtual=virtual)


def test_an_overrun_ends_the_pump() -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        encoder = Echo(VOICE, cost_ns=SECOND)
        pumping = asyncio.ensure_future(pump(encoder, bus, clock))
        await asyncio.sleep(0)
        for n in range(VOICE.queue.depth + 2):
            bus.publish(VOICE, n, Voice(0.0, False))
            await asyncio.sleep(0)
        with pytest.raises(LaneOverrun, match="echo is 3000 packets behind topic 'voice'"):
            await pumping

    run(main(), virtual=True)


def test_cancelling_does_not_wait_for_the_call_in_progress_and_drops_its_result() -> None:
    began, let_go, finished = threading.Event(), threading.Event(), threading.Event()

    def stuck(packet: Packet[Any]) -> None:
        began.set()
        let_go.wait(20)
        finished.set()

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(PERCEPT) as lane:
            pumping = asyncio.ensure_future(pump(Echo(cost_ns=MS, before=stuck), bus, clock))
            await asyncio.sleep(0)
            bus.publish(VOICE, 0, Voice(0.0, False))
            assert await asyncio.to_thread(began.wait, 20)
            pumping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pumping
            assert not finished.is_set()
            assert [lane.reader for lane in bus.retired] == ["echo"]
            let_go.set()
            assert await asyncio.to_thread(finished.wait, 20)
            await asyncio.sleep(0.01)
            assert lane.take() is None

    run(main())


def test_cancelling_in_virtual_time_drops_the_result_of_the_call_being_charged() -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(PERCEPT) as lane:
            pumping = asyncio.ensure_future(pump(Echo(cost_ns=SECOND), bus, clock))
            await asyncio.sleep(0)
            bus.publish(VOICE, 0, Voice(0.0, False))
            await asyncio.sleep(0.5)
            pumping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pumping
            await asyncio.sleep(1)
            assert lane.take() is None

    run(main(), virtual=True)


def look(cost_ns: int) -> list[tuple[int, int]]:
    """(frame, age at which its percept came) of an eye that takes `cost_ns` a picture, 30 pictures a second."""

    async def main() -> list[tuple[int, int]]:
        clock = Clock()
        bus = Bus(clock)

        async def camera() -> None:
            for n in range(300):
                await clock.sleep_until((n + 1) * FRAME)
                bus.publish(IMAGE, clock.now(), PICTURE)
            await clock.sleep_until(301 * FRAME)
            bus.close(IMAGE)

        with bus.open(PERCEPT) as lane:
            async with asyncio.TaskGroup() as group:
                eye = group.create_task(pump(Echo(IMAGE, cost_ns=cost_ns), bus, clock))
                group.create_task(camera())
                await eye
                bus.close(PERCEPT)
            seen = [(packet.data.segment, packet.at - packet.t) async for packet in lane if packet.data.decided_ns == 0]
        dropped = sum(lane.dropped.get("image", 0) for lane in bus.retired)
        assert len(seen) + dropped == 300
        return seen

    return run(main(), virtual=True)


@pytest.mark.parametrize("cost_ns", [100 * MS, 100 * MS + 1, 33 * MS, 40 * MS, 250 * MS])
def test_a_slow_eye_sees_pictures_no_older_than_its_cost_and_one_frame_identically_each_time(cost_ns: int) -> None:
    seen = look(cost_ns)
    assert all(cost_ns <= age <= cost_ns + FRAME for frame, age in seen if frame < 299)  # the last stays the newest
    frames = [frame for frame, _ in seen]
    assert frames == sorted(set(frames))
    assert len(seen) >= 300 * FRAME // max(cost_ns, FRAME) - 1  # it never idles while there is something to see
    assert all(look(cost_ns) == seen for _ in range(3))


def test_an_encoder_that_follows_another_on_its_own_topic_ends_with_its_other_topics() -> None:
    async def main() -> list[int]:
        clock = Clock()
        bus = Bus(clock)
        follower = Echo(AUDIO, PERCEPT, before=lambda packet: None)
        follower.writes = (PERCEPT, FEEDBACK)
        follower.push = lambda packet: []  # type: ignore[method-assign]
        with bus.open(PERCEPT) as lane:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(follower, bus, clock))
                await asyncio.sleep(0)
                bus.publish(PERCEPT, 0, SpeechStarted(5, 0))
                bus.close(AUDIO)
            bus.close(PERCEPT)
            return [packet.data.segment async for packet in lane]

    assert run(main(), virtual=True) == [5, -1]

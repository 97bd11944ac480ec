"""The simulated speaker against a plain model of one: every sample at its time, whatever is asked when."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bus import Bus
from streams.clock import SECOND, Clock, run
from streams.devices.speaker import SimulatedSpeaker
from streams.ports import Speaker
from streams.topics import PLAYBACK

STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "pause", "resume", "flush"]), st.integers(0, 1500), st.integers(0, 90)),
    max_size=20,
)


def play(steps: list[tuple[str, int, int]], rate: int, latency: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Blocks published, reports to the listener, and what each call returned."""

    async def main() -> tuple[list[Any], list[Any], list[Any]]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(PLAYBACK)
        speaker = SimulatedSpeaker(bus, clock, rate, latency_blocks=latency)
        assert isinstance(speaker, Speaker)
        reports: list[Any] = []
        speaker.listen(lambda played, t: reports.append((played, t)))
        returned: list[Any] = []
        number = 1
        async with speaker.device():
            for kind, size, wait in steps:
                if kind == "write":
                    samples = np.full(size, number, np.int16)
                    number += 1
                    returned.append((kind, speaker.write(samples), size, number - 1))
                elif kind == "flush":
                    speaker.flush(lambda heard: returned.append(("flush", heard, 0, 0)))
                else:
                    getattr(speaker, kind)()
                await asyncio.sleep(wait / 1000)
            speaker.resume()
            await asyncio.sleep(5)
        blocks = []
        while (packet := lane.take()) is not None:
            blocks.append(packet)
        assert speaker.played == (reports[-1][0] if reports else 0)
        return blocks, reports, returned

    return run(main(), virtual=True)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.sampled_from([16000, 22050, 11025]), st.sampled_from([0, 2]))
def test_it_plays_exactly_what_it_says(steps: list[tuple[str, int, int]], rate: int, latency: int) -> None:
    blocks, reports, returned = play(steps, rate, latency)
    end = -1
    for packet in blocks:
        assert packet.data.start >= end  # no overlap
        assert packet.data.start % len(packet.data.samples) == 0
        assert packet.t == round(packet.data.end * SECOND / rate) == packet.at
        end = packet.data.end
    # The speech in the blocks, in order, by the count of the listener.
    speech: list[int] = []
    for packet, (played, t) in zip(blocks, reports, strict=True):
        count = played - len(speech)
        assert 0 < count <= len(packet.data.samples)
        assert t == round((packet.data.start + count) * SECOND / rate)
        assert not packet.data.samples[count:].any()
        speech += packet.data.samples[:count].tolist()
    # Each write lies where `write` said, up to where a later `flush` ended it.
    for place, (kind, begin, size, value) in enumerate(returned):
        if kind == "write":
            limit = min((said for kind, said, *_ in returned[place:] if kind == "flush"), default=begin + size)
            heard = speech[begin : max(begin, min(begin + size, limit))]
            assert len(heard) == max(0, min(size, limit - begin))
            assert all(0 <= sample <= value for sample in heard)  # faded or not, but no other write's
            assert heard[: -rate // 200] == [value] * len(heard[: -rate // 200])
    if returned and returned[-1][0] == "flush":
        assert len(speech) == returned[-1][1]


@pytest.mark.parametrize("latency", [0, 1, 3])
def test_a_late_loop_changes_nothing(latency: int) -> None:
    """In real time the loop may be stuck for longer than a block: a flush then still acts at its own instant."""

    async def main() -> tuple[int, float, int]:
        clock = Clock()
        bus = Bus(clock)
        speaker = SimulatedSpeaker(bus, clock, 16000, latency_blocks=latency)
        async with speaker.device():
            first = clock.now()
            speaker.write(np.ones(16000, np.int16))
            while clock.now() < first + SECOND // 10:
                pass  # the loop is stuck
            told: list[int] = []
            speaker.flush(told.append)
            (heard,) = told
            after = (clock.now() - first) / SECOND
            await asyncio.sleep(0.15 + latency * 0.02)
        return heard, after, speaker.played

    heard, after, played = run(main())
    assert heard == played
    assert after - 0.045 <= heard / 16000 <= after + 0.025

"""Hops on the sample clock: the same for every way to cut the stream, through gaps and restarts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.audio.blocks import SAMPLE, Blocks
from streams.errors import SourceError
from streams.packet import Packet
from streams.topics import AUDIO
from streams.types import Audio, Samples

LATE = 12_345_678_901  # a stream need not begin at 0


def packet(samples: Samples, start: int, zero: int = LATE, rate: int = 16_000) -> Packet[Audio]:
    return Packet(AUDIO, zero + (start + len(samples)) * SAMPLE, 0, 0, 0, Audio(samples, rate, start))


def ramp(length: int) -> Samples:
    return (np.arange(length) % 30_000 + 1).astype(np.int16)


def cut(samples: Samples, sizes: list[int], start: int = 0) -> list[Packet[Audio]]:
    packets, place, turn = [], 0, 0
    while place < len(samples):
        size = sizes[turn % len(sizes)]
        packets.append(packet(samples[place : place + size], start + place))
        place, turn = place + size, turn + 1
    return packets


@given(st.integers(1, 700), st.lists(st.integers(1, 2000), min_size=1, max_size=8), st.integers(0, 5000))
def test_hops_do_not_depend_on_blocks(hop: int, sizes: list[int], start: int) -> None:
    samples = ramp(5000)
    blocks = Blocks(hop, "test")
    hops = [each for one in cut(samples, sizes, start) for each in blocks.push(one)]
    assert [t for t, _ in hops] == [LATE + (start + end) * SAMPLE for end in range(hop, 5001, hop)]
    assert np.array_equal(np.concatenate([np.empty(0, np.int16), *(x for _, x in hops)]), samples[: len(hops) * hop])


def test_lost_samples_become_silence() -> None:
    blocks = Blocks(100, "test")
    assert blocks.push(packet(ramp(150), 0))[0][0] == LATE + 100 * SAMPLE
    hops = blocks.push(packet(ramp(100), 300))
    assert [t for t, _ in hops] == [LATE + end * SAMPLE for end in (200, 300, 400)]
    assert not blocks.broken
    assert hops[0][1].tolist() == [*range(101, 151), *[0] * 50]
    assert not hops[1][1].any()
    assert hops[2][1].tolist() == ramp(100).tolist()


@pytest.mark.parametrize("start", [50, 151 + 16_000])
def test_a_long_gap_or_a_jump_back_begins_anew(start: int) -> None:
    blocks = Blocks(100, "test")
    blocks.push(packet(ramp(150), 0))
    ((t, samples),) = blocks.push(packet(ramp(120), start))
    assert blocks.broken
    assert t == LATE + (start + 100) * SAMPLE
    assert samples.tolist() == ramp(100).tolist()
    blocks.push(packet(ramp(10), start + 120))
    assert not blocks.broken


def test_another_rate_is_refused() -> None:
    with pytest.raises(SourceError, match="needs sound at 16000 Hz and got 48000 Hz"):
        Blocks(512, "vad").push(packet(ramp(10), 0, rate=48_000))

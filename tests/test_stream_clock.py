"""The stream clock against simulated devices: drift, jitter, bursts, load, lost samples, outages."""

import random
from collections.abc import Iterator
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock import MS, SECOND
from streams.devices.stream_clock import StreamClock

RATE = 16_000
BLOCK = 320


def arrivals(
    blocks: int, ppm: float, jitter_ms: float, burst: int, seed: int, least_ms: float = 5.0
) -> Iterator[tuple[int, int, int]]:
    """(samples so far, when they were there, when the last of them was) for each block of a device.

    Delays are never below `least_ms`; every `burst` blocks come at once; one second in sixty the machine is busy.
    """
    rng = random.Random(seed)
    before = 0
    period = BLOCK / RATE * (1 + ppm / 1e6) * SECOND
    for k in range(1, blocks + 1):
        true = round(k * period)
        comes = (k + (-k) % burst) * period
        delay = least_ms + rng.expovariate(1 / jitter_ms) if jitter_ms else least_ms
        if k // 50 % 60 == 59:
            delay += 30 * rng.random()
        before = max(before, round(comes + delay * MS))
        yield k * BLOCK, before, true


@settings(max_examples=6, deadline=None)
@given(st.floats(-200, 200), st.floats(0, 8), st.sampled_from([1, 1, 2, 3]), st.integers(0, 1000))
def test_an_hour_stays_within_a_block_and_mostly_within_two_ms(
    ppm: float, jitter: float, burst: int, seed: int
) -> None:
    clock = StreamClock(RATE)
    errors: list[int] = []
    last = -1
    for count, arrival, true in arrivals(180_000, ppm, jitter, burst, seed):
        clock.observe(count, arrival)
        t = clock.time(count)
        assert t > last
        if last >= 0:
            assert abs(t - last - 20 * MS) <= 2.5 * MS  # it never steps
        last = t
        errors.append(t - true - 5 * MS)
    late = burst - 1  # the first of a burst cannot be told from a device that is that much later
    assert max(abs(error) for error in errors[500:]) <= 20 * MS
    assert max(errors) <= (20 * (late + 1) + 8 * jitter) * MS  # the very first may be as late as they come
    assert median(abs(error) for error in errors) <= 2 * MS
    assert clock.drift_ppm is not None
    assert abs(clock.drift_ppm - ppm) <= 20


STEP = st.tuples(st.integers(1, 2000), st.integers(0, 400), st.sampled_from([False] * 9 + [True]))


@settings(max_examples=50, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=400))
def test_whatever_comes_time_increases_by_the_pace_of_the_samples(steps: list[tuple[int, int, bool]]) -> None:
    clock = StreamClock(RATE)
    count = now = 0
    last: tuple[int, int] | None = None
    for samples, wait_ms, outage in steps:
        count += samples
        now += wait_ms * MS
        if outage:
            clock.anchor()
        clock.observe(count, now)
        t = clock.time(count)
        if last is not None:
            span = (count - last[0]) * SECOND / RATE
            assert 0.89 * span <= t - last[1] <= 1.11 * span
        last = (count, t)


def test_lost_samples_show_as_lateness_and_are_made_good_by_skipping() -> None:
    clock = StreamClock(RATE)
    stamps: list[tuple[int, int]] = []
    missing = skipped = 0
    for count, arrival, true in arrivals(1500, 40, 2, 1, seed=5):
        if count == 700 * BLOCK:
            missing = 4 * BLOCK  # from here on the device counts 80 ms less
        clock.observe(count - missing + skipped, arrival)
        if clock.late_ns > 20 * MS:
            skipped = round(clock.late_ns * RATE / SECOND)
            assert abs(skipped - missing) <= 3 * RATE // 1000
            assert count <= 731 * BLOCK  # noticed half a second later
            clock.skip(skipped)
        stamps.append((clock.time(count - missing + skipped), true + 5 * MS))
    assert skipped
    assert all(abs(t - true) <= 3 * MS for t, true in stamps[800:])


def test_load_alone_is_not_taken_for_loss() -> None:
    clock = StreamClock(RATE)
    rng = random.Random(1)
    for k in range(1, 3000):
        busy = 1000 < k < 1200
        clock.observe(k * BLOCK, round((k * 20 + 5 + (rng.random() * 60 if busy else rng.random())) * MS))
        assert clock.late_ns < 15 * MS


def test_a_shorter_way_is_followed() -> None:
    clock = StreamClock(RATE)
    errors = []
    for k in range(1, 10_000):
        least = 25 if k < 5000 else 10  # the sound server has changed its buffer
        clock.observe(k * BLOCK, (k * 20 + least) * MS)
        errors.append(clock.time(k * BLOCK) - (k * 20 + least) * MS)
    assert max(abs(error) for error in errors[:4999]) <= MS
    assert max(abs(error) for error in errors[6000:]) <= 8 * MS
    assert abs(errors[-1]) <= 2 * MS


def test_after_an_outage_time_goes_on_without_a_step() -> None:
    clock = StreamClock(RATE)
    last = 0
    for k in range(1, 500):
        clock.observe(k * BLOCK, (k * 20 + 5) * MS)
        last = clock.time(k * BLOCK)
    clock.anchor()
    for k in range(500, 800):
        clock.observe(k * BLOCK, (k * 20 + 22) * MS)  # another device, and later
        t = clock.time(k * BLOCK)
        assert 17 * MS < t - last < 23 * MS
        last = t
    assert abs(last - (799 * 20 + 22) * MS) < MS


def test_nothing_observed_is_an_error() -> None:
    with pytest.raises(ValueError, match="no arrival"):
        StreamClock(RATE).time(1)
    assert StreamClock(RATE).drift_ppm is None

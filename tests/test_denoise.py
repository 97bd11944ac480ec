"""Steady noise is taken out, speech is not, and the blocks in which sound comes make no difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audio.denoise import DELAY, FRAME, Denoiser, Noise

RNG = np.random.default_rng(3)


def noise(count: int, level: float = 0.05) -> np.ndarray:
    return RNG.normal(0, level, count)


def heard(level: float = 0.05) -> Noise:
    found = Noise()
    for _ in range(60):
        found.hear(np.round(noise(FRAME, level) * 32767).astype(np.int16))
    return found


def as_int(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16)


def test_the_level_is_that_of_the_noise() -> None:
    assert heard(0.05).level_db == pytest.approx(20 * np.log10(0.05), abs=1.0)
    assert Noise().level_db == -120.0


def test_noise_is_made_quieter_and_a_tone_is_not() -> None:
    power = heard().power
    assert power is not None
    t = np.arange(16_000) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * t)
    quiet = Denoiser(power).whole(as_int(noise(16_000)))
    kept = Denoiser(power).whole(as_int(tone + noise(16_000)))
    assert np.std(quiet[2000:-2000] / 32767) < 0.25 * 0.05
    assert np.corrcoef(kept[2000:-2000], tone[2000:-2000])[0, 1] > 0.995
    assert np.std(kept[2000:-2000] / 32767) == pytest.approx(np.std(tone), rel=0.1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3000), max_size=12))
def test_blocks_make_no_difference(sizes: list[int]) -> None:
    power = heard().power
    assert power is not None
    sound = as_int(noise(sum(sizes), 0.1))
    whole = Denoiser(power).whole(sound)
    pieces, begin, part = [], 0, Denoiser(power)
    for size in sizes:
        pieces.append(part.push(sound[begin : begin + size]))
        begin += size
        assert begin - sum(map(len, pieces)) <= DELAY + 127
    assert np.array_equal(np.concatenate([*pieces, part.finish()]), whole)
    assert len(whole) == len(sound) and whole.dtype == np.int16

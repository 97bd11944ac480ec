"""Log-mel against an independent formulation: a direct DFT and mel filters written out from Slaney's definition."""

import math

import numpy as np
import pytest

from streams.audio.features import log_mel, mel_filters, normalised


def slaney_filters() -> np.ndarray:
    def mel(hertz: float) -> float:
        return hertz / (200 / 3) if hertz < 1000 else 15 + math.log(hertz / 1000) / (math.log(6.4) / 27)

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mel - 15))

    points = [hertz(mel(8000) * place / 81) for place in range(82)]
    filters = np.zeros((80, 201))
    for band in range(80):
        low, middle, high = points[band : band + 3]
        for place in range(201):
            f = place * 40.0
            if low < f <= middle:
                weight = (f - low) / (middle - low)
            elif middle < f < high:
                weight = (high - f) / (high - middle)
            else:
                continue
            filters[band, place] = weight * 2 / (high - low)
    return filters


def reference(signal: np.ndarray) -> np.ndarray:
    signal = np.asarray(signal, np.float64)
    mirrored = np.concatenate((signal[200:0:-1], signal, signal[-2:-202:-1]))
    n = np.arange(400)
    window = np.sin(np.pi * n / 400) ** 2
    dft = np.exp(-2j * np.pi * np.outer(np.arange(201), n) / 400)
    frames = np.stack([mirrored[160 * k : 160 * k + 400] * window for k in range(len(signal) // 160)], axis=1)
    power = np.abs(dft @ frames) ** 2
    mel = np.log10(np.maximum(slaney_filters() @ power, 1e-10))
    return (np.maximum(mel, mel.max() - 8) + 4) / 4


def signals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(128_000) / 16_000
    late = np.zeros(128_000)
    late[-20_000:] = rng.normal(0, 0.1, 20_000)
    return {
        "noise": rng.normal(0, 0.1, 128_000),
        "sweep": np.sin(2 * np.pi * (50 + 450 * time) * time),
        "loud tone, quiet rest": np.sin(2 * np.pi * 440 * time) + rng.normal(0, 1e-5, 128_000),
        "left-padded": normalised(late),
        "silence": np.zeros(128_000),
        "short": rng.normal(0, 0.1, 1_700),
    }


@pytest.mark.parametrize("name", list(signals()))
def test_log_mel_is_whispers(name: str) -> None:
    signal = signals()[name]
    ours = log_mel(signal)
    assert ours.shape == (80, len(signal) // 160)
    assert ours.dtype == np.float32
    assert np.abs(ours - reference(signal)).max() < 1e-4


def test_mel_filters_are_slaneys() -> None:
    assert np.abs(mel_filters().T - slaney_filters()).max() < 1e-7


def test_normalised_has_mean_0_and_variance_1() -> None:
    signal = normalised(np.random.default_rng(0).normal(3, 0.1, 10_000))
    assert abs(signal.mean()) < 1e-9
    assert abs(signal.var() - 1) < 1e-4
    assert not normalised(np.zeros(100)).any()

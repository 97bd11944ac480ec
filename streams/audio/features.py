"""Log-mel features as Whisper defines them, in NumPy.

The definition (openai/whisper `audio.py`, and `WhisperFeatureExtractor` of transformers): windows of 400 samples every
160 (periodic Hann, the signal mirrored by 200 at both ends), power spectrum, 80 mel bands of 0-8 kHz on Slaney's scale
with area norm, log10 floored at 1e-10, clamped to 8 below its maximum, (x + 4) / 4, last frame dropped.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from streams.audio.blocks import RATE

WINDOW, HOP, MELS = 400, 160, 80

Floats = NDArray[np.float32]

# OpenBLAS splits a product over all cores above 2**18 multiplications, for twice the CPU time here. So the frames are
# multiplied in groups of 16: 16 * 201 * 80 is just below that.
GROUP = 16


def log_mel(signal: NDArray[np.floating]) -> Floats:
    """Whisper's log-mel spectrogram: float[samples] at 16 kHz -> float32[80, samples // 160].

    The spectrum is taken in float64, which costs the same (2.4 ms for 8 s) and keeps quiet bins beside loud ones exact.
    """
    mirrored = np.pad(np.asarray(signal, np.float64), WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, WINDOW)[::HOP][: len(signal) // HOP]
    spectrum = np.fft.rfft(frames * _hann())
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = np.empty((len(power), MELS), np.float32)
    filters = mel_filters()
    for first in range(0, len(power), GROUP):
        np.matmul(power[first : first + GROUP], filters, out=mel[first : first + GROUP])
    np.log10(np.maximum(mel, 1e-10, out=mel), out=mel)
    np.maximum(mel, mel.max() - 8.0, out=mel)
    mel += 4.0
    mel /= 4.0
    return np.ascontiguousarray(mel.T)


def normalised(signal: NDArray[np.floating]) -> NDArray[np.float64]:
    """`signal` with mean 0 and variance 1 (epsilon 1e-7), as `WhisperFeatureExtractor` does with `do_normalize`."""
    signal = np.asarray(signal, np.float64)
    result: NDArray[np.float64] = (signal - signal.mean()) / np.sqrt(signal.var() + 1e-7)
    return result


@cache
def _hann() -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@cache
def mel_filters() -> Floats:
    """float32[201, 80]: triangles on Slaney's mel scale (linear to 1 kHz, then logarithmic), each of area 1."""
    top = _to_mel(np.array(RATE / 2))
    edges = _to_hertz(np.linspace(0.0, float(top), MELS + 2))
    bins = np.linspace(0.0, RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return np.ascontiguousarray(triangles, np.float32)


def _to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))

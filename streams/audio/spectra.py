"""Real spectra in single precision, and the hops in which the echo canceller works."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Spectra: TypeAlias = NDArray[np.complex64]

HOP = 256  # samples
WINDOW = 2 * HOP
BINS = HOP + 1


def spectrum(samples: Floats) -> Spectra:
    """complex64[..., 257] of float32[..., n]: the last 512 samples if n is 512, else with silence after them."""
    return np.fft.rfft(samples, WINDOW).astype(np.complex64, copy=False)


def signal(spectra: Spectra) -> Floats:
    """float32[..., 512] of complex64[..., 257]."""
    return np.fft.irfft(spectra, WINDOW).astype(np.float32, copy=False)


def power(spectra: Spectra) -> Floats:
    """Power by bin, float32[..., 257]."""
    result: Floats = spectra.real**2 + spectra.imag**2
    return result

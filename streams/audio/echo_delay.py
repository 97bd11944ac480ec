"""How late the echo comes: generalised cross-correlation of reference and microphone over some seconds.

Source: C. Knapp and G. Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24
(1976), with the smoothed coherence transform; in partitions of 256 lags, as the filter has them.
"""

import numpy as np

from streams.audio.spectra import BINS, HOP, WINDOW, Floats, Spectra, power, signal, spectrum

ENOUGH = 40  # hops (0.64 s) in which both are heard
AUDIBLE = 1e-6  # power of a hop of the microphone (-84 dB of full scale) below which it hears nothing
EARLY = 4  # hops by which an echo may seem to come before what is played, by the time stamps


class DelayFinder:
    """Lags from -64 ms to `lags` hops.

    memory_s: how long the correlation remembers
    """

    def __init__(self, lags: int, memory_s: float = 2.0) -> None:
        self.lags = lags + EARLY
        self._rate = np.float32(HOP / 16_000 / memory_s)
        self._cross: Spectra = np.empty((self.lags, BINS), np.complex64)
        self._work: Spectra = np.empty((self.lags, BINS), np.complex64)
        self._heard: Spectra = np.empty((EARLY + 1, BINS), np.complex64)
        self._frame: Floats = np.zeros(WINDOW, np.float32)
        self.reset()

    def reset(self) -> None:
        """As new."""
        self._cross[:] = 0
        self._heard[:] = 0
        self._played = np.zeros(BINS, np.float32)
        self._power = np.zeros(BINS, np.float32)
        self._both = 0

    def push(self, microphone: Floats, spectra: Spectra) -> None:
        """One hop: float32[256] and complex64[lags + EARLY, 257] of the reference, newest first."""
        self._frame[HOP:] = microphone
        self._heard[1:] = self._heard[:-1]
        self._heard[0] = spectrum(self._frame)
        heard = self._heard[EARLY]
        np.conjugate(spectra, out=self._work)
        self._work *= heard
        self._work -= self._cross
        self._work *= self._rate
        self._cross += self._work
        self._played += self._rate * (power(spectra[0]) - self._played)
        self._power += self._rate * (power(heard) - self._power)
        if float(self._power.sum()) > AUDIBLE and float(microphone @ microphone) > AUDIBLE and spectra[EARLY].any():
            self._both += 1

    def find(self) -> tuple[int, float]:
        """The lag in samples (may be negative), and how far its peak stands out: below about 8 it is a guess.

        0 for the latter before there is enough to compare: any two short sounds are alike at some lag.
        """
        if self._both < ENOUGH:
            return 0, 0.0
        scale = 1 / np.sqrt(self._played * self._power + 1e-12)
        response = signal(self._cross * scale)[:, :HOP].ravel()
        strength = response**2
        peak = int(np.argmax(strength))
        return peak - EARLY * HOP, float(np.sqrt(strength[peak] / (np.median(strength) * 2.2 + 1e-20)))

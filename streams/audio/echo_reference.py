"""What the loudspeaker plays, kept for a few seconds and read at any time and any rate."""

from functools import cache

import numpy as np

from streams.audio.spectra import Floats
from streams.types import Samples

LOBES = 12  # of the sinc on either side: -80 dB
PHASES = 512


class Reference:
    """A ring of played sound at the voice's `rate` (Hertz), addressed by the speaker's own sample count.

    end: index after the last sample known; what was never written, or is not yet, is silence
    sounded: index after the last sample that was not zero, None if there was none
    keep_s: seconds that are kept
    """

    def __init__(self, rate: int, keep_s: float = 4.0) -> None:
        self.rate = rate
        self.end: int | None = None
        self.sounded: int | None = None
        self._ring: Floats = np.zeros(int(rate * keep_s), np.float32)

    def write(self, samples: Samples, start: int) -> None:
        """Lay int16[samples] at `start`. What it overlaps is replaced."""
        ring = self._ring
        size, end = len(ring), start + len(samples)
        if self.end is None or start - self.end >= size:
            ring[:] = 0
            self.end = start
        if start > self.end:
            ring[np.arange(self.end, start) % size] = 0
        kept = samples[-size:]
        ring[np.arange(end - len(kept), end) % size] = kept * np.float32(1 / 32768)
        self.end = max(self.end, end)
        loud = np.flatnonzero(samples)
        if len(loud):
            self.sounded = max(self.sounded or 0, start + int(loud[-1]) + 1)

    @property
    def reach(self) -> int:
        """Samples beyond `last` that `read` looks at."""
        return _sinc(self.rate)[1]

    def read(self, last: float, step: float, count: int) -> Floats:
        """float32[count] at 16 kHz, `step` samples of the ring apart; the next one would be at index `last`.

        Band-limited interpolation with a Kaiser-windowed sinc (J. O. Smith, "Digital Audio Resampling", 2002).
        """
        table, reach = _sinc(self.rate)
        if self.sounded is None or self.sounded < last - step * count - reach:
            return np.zeros(count, np.float32)
        places = last + step * np.arange(-count, 0)
        whole = np.floor(places).astype(np.int64)
        phases = (places - whole) * PHASES
        nearest = phases.astype(np.int64)
        low, high = int(whole[0]) - reach + 1, int(whole[-1]) + reach + 1
        windows = np.lib.stride_tricks.sliding_window_view(self._piece(low, high), 2 * reach)[whole - whole[0]]
        weight = (phases - nearest).astype(np.float32)
        near = np.einsum("ij,ij->i", windows, table[nearest])
        far = np.einsum("ij,ij->i", windows, table[nearest + 1])
        result: Floats = near + weight * (far - near)
        return result

    def _piece(self, low: int, high: int) -> Floats:
        piece = np.zeros(high - low, np.float32)
        if self.end is not None:
            first, last = max(low, self.end - len(self._ring)), min(high, self.end)
            if first < last:
                piece[first - low : last - low] = self._ring[np.arange(first, last) % len(self._ring)]
        return piece


@cache
def _sinc(rate: int) -> tuple[Floats, int]:
    """float32[PHASES + 2, 2 * reach]: weights of the samples around a place; reach: samples on either side."""
    cut = min(1.0, 16_000 / rate) * 0.96
    reach = int(np.ceil(LOBES / cut))
    offsets = np.arange(-reach + 1, reach + 1) - np.arange(PHASES + 2)[:, None] / PHASES
    window = np.i0(8.0 * np.sqrt(np.maximum(0, 1 - (offsets / reach) ** 2))) / np.i0(8.0)
    table = cut * np.sinc(cut * offsets) * window
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32), reach

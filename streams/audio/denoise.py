"""Takes steady noise (motors, fans) out of speech, for a recogniser that was trained without it.

The gain of each bin is Wiener's, from the a priori signal-to-noise ratio by the decision-directed estimate (Ephraim and
Malah, IEEE Trans. ASSP 32(6), 1984; with Wiener's gain: Scalart and Filho, ICASSP 1996). The noise is what was heard
while nobody spoke. Pure: its output depends on the samples alone, not on the blocks in which they come.
"""

import numpy as np
from numpy.typing import NDArray

from streams.types import Samples

FRAME, HOP = 512, 128  # samples at 16 kHz: 32 ms, 8 ms
DELAY = FRAME - HOP
"""Samples by which the output is behind the input until `finish`."""
SMOOTH = 0.9  # of the a priori ratio, from frame to frame
FLOOR = 0.12  # of the gain: less leaves tones that a recogniser takes for speech
MEMORY = 0.85  # of the noise, from hop to hop: 0.2 s
RISE = 100.0
"""What is so many times louder than the noise, as power, counts as no more: a click is not yet noise."""
QUIETEST = 1e-7  # power of a bin: some -80 dB of full scale in all
_WINDOW = np.sqrt(np.hanning(FRAME + 1)[:FRAME])
_OVERLAP = 0.5  # the squared windows of four frames add up to two


class Noise:
    """What it sounds like while nobody speaks.

    power: float64[257], of each bin of a windowed frame of samples in -1 to 1; None before anything was heard
    """

    def __init__(self) -> None:
        self.power: NDArray[np.float64] | None = None

    def hear(self, samples: Samples) -> None:
        """int16[512] in which nobody speaks."""
        if len(samples) != FRAME:
            return
        power = np.abs(np.fft.rfft(samples / 32768 * _WINDOW)) ** 2
        if self.power is None:
            self.power = power
            return
        power = np.minimum(power, RISE * np.maximum(self.power, QUIETEST))  # what begins at once is not yet noise
        self.power = MEMORY * self.power + (1 - MEMORY) * power

    @property
    def level_db(self) -> float:
        """Root mean square of what lies above 80 Hz, dB of full scale: an offset is no noise."""
        if self.power is None:
            return -120.0
        energy = (2 * self.power[3:].sum() - self.power[-1]) / FRAME
        return float(10 * np.log10(max(energy / (FRAME / 2), 1e-12)))


class Denoiser:
    """One stretch of speech in `noise` (its power as it is now)."""

    def __init__(self, noise: NDArray[np.float64]) -> None:
        self._noise = np.maximum(noise, 1e-12)
        self._input = np.zeros(DELAY)
        self._output = np.zeros(FRAME)
        self._before = np.zeros(len(noise))  # of the frame before: estimated speech to noise
        self._skip = DELAY  # the silence before the first sample
        self._owed = 0

    def push(self, samples: Samples) -> Samples:
        """The next int16[samples]; as many come out as are certain, `DELAY` behind."""
        self._owed += len(samples)
        self._input = np.concatenate((self._input, samples / 32768))
        frames = (len(self._input) - DELAY) // HOP
        parts = [self._step(self._input[n * HOP : n * HOP + FRAME]) for n in range(frames)]
        self._input = self._input[frames * HOP :]
        out = np.concatenate(parts) if parts else np.zeros(0)
        skipped = min(self._skip, len(out))
        self._skip -= skipped
        return self._give(out[skipped:])

    def finish(self) -> Samples:
        """The stretch has ended: what is owed."""
        owed = self._owed
        tail = self.push(np.zeros(FRAME + HOP, np.int16))[:owed]
        self._owed = 0
        return tail

    def whole(self, samples: Samples) -> Samples:
        """All of a stretch at once: int16, as many as were given."""
        return np.concatenate((self.push(samples), self.finish()))

    def _give(self, out: NDArray[np.float64]) -> Samples:
        self._owed -= len(out)
        samples: Samples = np.clip(np.rint(out * 32767), -32768, 32767).astype(np.int16)
        return samples

    def _step(self, frame: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = np.fft.rfft(frame * _WINDOW)
        ratio = np.abs(spectrum) ** 2 / self._noise
        prior = SMOOTH * self._before + (1 - SMOOTH) * np.maximum(ratio - 1, 0)
        gain = np.maximum(prior / (1 + prior), FLOOR)
        self._before = gain**2 * ratio
        self._output += np.fft.irfft(spectrum * gain, FRAME) * _WINDOW * _OVERLAP
        done = self._output[:HOP].copy()
        self._output = np.concatenate((self._output[HOP:], np.zeros(HOP)))
        return done

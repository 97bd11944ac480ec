"""The way from loudspeaker to microphone, learnt: the partitioned-block frequency-domain Kalman filter.

Sources: G. Enzner and P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free
telephones", Signal Processing 86 (2006); F. Kuech, E. Mabande and G. Enzner, "State-space architecture of the
partitioned-block-based acoustic echo controller", ICASSP 2014. For each partition and bin it keeps a weight and how
uncertain that is; a step is large where it knows little and the microphone hears little else, and small while
somebody speaks.
"""

import numpy as np

from streams.audio.spectra import BINS, HOP, WINDOW, Floats, Spectra, power, signal, spectrum

_TINY = np.float32(1e-12)
_QUICK = np.float32(0.2)  # what else is heard is averaged over 80 ms
_DECAY = 0.08  # of a path not yet known: 60 dB in 1.2 s


class KalmanFilter:
    """`partitions` partitions of 256 taps, at 16 kHz; 0.1 ms a hop for 32 of them.

    forget: how much of the path is believed to be the same a hop (16 ms) later, in (0, 1)
    prior: how strong a path may be, as power of its first 256 taps, before anything is known
    weights, doubt: complex64 and float32[partitions, 257], the newest partition first
    expected: float32[257], power that doubt alone leaves in the hop learnt last
    """

    def __init__(self, partitions: int, forget: float = 0.999, prior: float = 0.2) -> None:
        self.partitions = partitions
        self.weights: Spectra = np.zeros((partitions, BINS), np.complex64)
        self.doubt: Floats = np.zeros((partitions, BINS), np.float32)
        self.expected: Floats = np.zeros(BINS, np.float32)
        self._prior = (prior * 10 ** (-_DECAY * np.arange(partitions))).astype(np.float32)[:, None]
        self._keep, self._wander = np.float32(forget), np.float32(1 - forget**2)
        self._noise: Floats = np.zeros(BINS, np.float32)
        self._frame: Floats = np.zeros(WINDOW, np.float32)
        self._complex: Spectra = np.empty((partitions, BINS), np.complex64)
        self._real: Floats = np.empty((partitions, BINS), np.float32)
        self._power: Floats = np.empty((partitions, BINS), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the path; as new."""
        self.weights[:] = 0
        self.doubt[:] = self._prior
        self._gain = 1.0
        self._heard = False

    def shift(self, by: int) -> None:
        """The same path as seen `by` partitions later (earlier if negative); what comes into view is not known."""
        old, gain = self.weights.copy(), self._gain
        self.reset()
        self.widen(gain)
        count = self.partitions - abs(by)
        if count > 0:
            self.weights[max(0, -by) : max(0, -by) + count] = old[max(0, by) : max(0, by) + count]

    def widen(self, gain: float) -> None:
        """The microphone hears `gain` times the power that is played: if that is much, the path may be as strong."""
        if gain > 1.5 * self._gain:
            self._gain = gain
            np.maximum(self.doubt, self._prior * np.float32(gain), out=self.doubt)

    def unsettle(self) -> None:
        """The path has changed: doubt it as much as it is strong, and learn it anew from where it was."""
        strength = power(self.weights).mean(axis=1, keepdims=True)
        np.maximum(self.doubt, strength, out=self.doubt)

    def echo(self, spectra: Spectra) -> Floats:
        """The echo that the weights expect, float32[256] (a view that lasts until the next call).

        spectra: complex64[partitions, 257] of the last 512 samples of the reference and of those each hop before
        """
        np.multiply(spectra, self.weights, out=self._complex)
        return signal(self._complex.sum(axis=0))[HOP:]

    def learn(self, spectra: Spectra, error: Floats) -> None:
        """Take what was left, `error` float32[256] = microphone minus `echo`, as news about the path."""
        self._frame[HOP:] = error
        left = spectrum(self._frame)
        heard = power(left)
        real, complex_ = self._real, self._complex
        np.multiply(spectra.real, spectra.real, out=self._power)
        np.multiply(spectra.imag, spectra.imag, out=real)
        self._power += real
        np.multiply(self._power, self.doubt, out=real)
        expected = real.sum(axis=0)
        expected *= 0.5
        self.expected = expected
        # What else the microphone hears: what is left and is not expected of an uncertain path.
        if not self._heard:
            self._noise[:] = heard
            self._heard = True
        self._noise += _QUICK * (heard - self._noise)
        gain = self.doubt / (expected + self._noise + _TINY)
        np.conjugate(spectra, out=complex_)
        complex_ *= left
        complex_ *= gain
        taps = signal(complex_)
        taps[:, HOP:] = 0  # each partition has 256 taps: what wraps round is no path
        self.weights += spectrum(taps)
        # The doubt that is left, and what a hop of time adds to it.
        np.multiply(gain, self._power, out=real)
        real *= -0.5
        real += 1
        np.maximum(real, 0, out=real)
        self.doubt *= real
        self.doubt *= self._keep**2
        self.weights *= self._keep
        np.multiply(self.weights.real, self.weights.real, out=real)
        real += self.weights.imag**2
        real *= self._wander
        self.doubt += real

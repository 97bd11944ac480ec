"""The echo canceller: the microphone without the loudspeaker that stands beside it. No packets and no clock in here.

In order: the adaptive filter takes away what goes linearly from loudspeaker to microphone (`kalman.py`), the residue of
that is estimated, taken away and judged (`residual.py`). Beside them the bulk delay is watched (`echo_delay.py`) and
the drift between the two devices' clocks is tracked, which whoever reads the reference (`echo_reference.py`) follows.
"""

import math

import numpy as np

from streams.audio.blocks import RATE
from streams.audio.echo_delay import EARLY, DelayFinder
from streams.audio.kalman import KalmanFilter
from streams.audio.residual import Residual
from streams.audio.spectra import BINS, HOP, WINDOW, Floats, Spectra, spectrum

LAGS = 40  # hops (640 ms) in which a delay is looked for
CHECK = 16  # hops between two looks at the delay
SURE = 8.0  # how far the peak of a correlation must stand out to be believed
EARLIER = 3  # hops by which the reference is taken sooner, if the echo seems to come before what is played
MARGIN = 2  # hops that the filter begins before the echo does
DRIFT_PPM = 300.0  # beyond that no sound device is sold

_SPEED = 3.0  # ppm a hop for an echo that is late by one sample
_ERLE = 0.03  # over half a second of echo


class Canceller:
    """Hop by hop: float32[256] of the microphone and of what was played, in [-1, 1] at 16 kHz, to float32[256].

    tail_ms: how long an echo may last after its first sound
    drift_ppm: how much faster the microphone's clock runs than the speaker's, as tracked so far
    lag: samples by which the echo comes after what is played, None until it is known
    early: it comes before that, by the time stamps: `play` the reference `EARLIER` hops sooner, and say so by `advance`
    lead: hops by which the reference is taken sooner
    About 0.3 ms a hop while something is played or still sounds, 0.05 ms otherwise.
    """

    hop = HOP
    delay = 0

    def __init__(self, tail_ms: int = 512) -> None:
        self._partitions = math.ceil(tail_ms * RATE / 1000 / HOP)
        self._filter = KalmanFilter(self._partitions)
        self._residual = Residual()
        self._finder = DelayFinder(LAGS)
        self._depth = self._partitions + LAGS + EARLY
        self._spectra: Spectra = np.zeros((2 * self._depth, BINS), np.complex64)
        self._reference: Floats = np.zeros(WINDOW, np.float32)
        self._turns = (np.arange(BINS) * 1j * np.pi / HOP).astype(np.complex64)
        self.reset()

    def reset(self) -> None:
        """As new."""
        self._filter.reset()
        self._residual.reset()
        self._finder.reset()
        self.drift_ppm = 0.0
        self.skip = 0  # hops of delay before the filter's first tap
        self.lead = 0
        self.early = False
        self.forget()

    def forget(self) -> None:
        """The sound jumped: what was played before has nothing to do with what comes. What was learnt is kept."""
        self._spectra[:] = 0
        self._reference[:] = 0
        self._at = self._depth - 1
        self._busy = 0
        self._looks = 0
        self.lag: int | None = None
        self._candidate: int | None = None
        self._heard = self._left = 1e-9
        self._all_heard = self._all_played = 0.0
        self._changed = 0
        self._finder.reset()

    @property
    def active(self) -> bool:
        """Something is played, or what was played may still sound."""
        return self._busy > 0

    @property
    def similarity(self) -> float:
        """In [0, 1]: how much of what was heard in the last 256 ms is the agent's own; see `Residual.similarity`."""
        return self._residual.similarity

    @property
    def erle_db(self) -> float:
        """Echo return loss enhancement of the filter alone over the last half second of echo."""
        return 10 * math.log10(self._heard / self._left)

    def play(self, reference: Floats) -> None:
        """What is played next."""
        self._reference[:HOP] = self._reference[HOP:]
        self._reference[HOP:] = reference
        self._at = (self._at - 1) % self._depth
        fresh = spectrum(self._reference)
        self._spectra[self._at] = self._spectra[self._at + self._depth] = fresh  # twice: any window is one slice
        self._busy = self._depth if reference.any() else max(0, self._busy - 1)

    def replay(self, reference: Floats) -> None:
        """What was played last, float32[n * 256], was not known in full: the last n - 1 hops are done again."""
        hops = reference.reshape(-1, HOP)
        for back in range(len(hops) - 1):
            place = (self._at + back) % self._depth
            right = spectrum(hops[len(hops) - 2 - back :][:2].ravel())
            self._spectra[place] = self._spectra[place + self._depth] = right
        self._reference[:] = hops[-2:].ravel()
        if reference.any():
            self._busy = self._depth

    def advance(self) -> None:
        """The reference is from now on played `EARLIER` hops sooner than it was: `play` them first."""
        self.lead += EARLIER
        self._filter.shift(-EARLIER)
        self._residual.restart()
        self._finder.reset()
        self._candidate, self.early = None, False

    def process(self, microphone: Floats) -> Floats:
        """The next hop of the microphone, after `play` of the hop that sounds at the same time."""
        if not self._busy:
            return self._residual.idle(microphone)
        window = self._window(self.skip, self._partitions)
        echo = self._filter.echo(window)
        error = microphone - echo
        self._follow(error, echo, microphone)
        self._filter.learn(window, error)
        if not self._residual.learnt:
            self._all_heard += float(microphone @ microphone)
            self._all_played += float(self._reference[HOP:] @ self._reference[HOP:])
            self._filter.widen(self._all_heard / self._all_played if self._all_played > 0.05 else 0.0)
        clean = self._residual.process(error, echo, self._filter.expected, self._window(0, 1)[0])
        self._watch()
        self._finder.push(microphone, self._window(0, LAGS + EARLY))
        self._looks += 1
        if self._looks % CHECK == 0:
            self._align()
        return clean

    # --- inside

    def _window(self, first: int, count: int) -> Spectra:
        return self._spectra[self._at + first : self._at + first + count]

    def _follow(self, error: Floats, echo: Floats, microphone: Floats) -> None:
        """Track the drift: an echo that comes a little late leaves a residue like its own derivative.

        A delay-locked loop, as for the symbol clock of a modem (F. Gardner, "Phaselock Techniques").
        """
        heard, left, taken = float(microphone @ microphone), float(error @ error), float(echo @ echo)
        if taken > 1e-4:
            self._heard += _ERLE * (heard - self._heard)
            self._left += _ERLE * (left - self._left)
        if left >= taken:
            return  # nothing known of the path yet, or somebody speaks louder than the echo
        rest, taken_away = spectrum(np.concatenate((error, echo)).reshape(2, HOP))
        derivative = taken_away * self._turns
        late = -float(np.vdot(rest[8:], derivative[8:]).real)
        late /= float(np.vdot(derivative[8:], derivative[8:]).real) + 1e-3
        drift = self.drift_ppm + _SPEED * min(1.0, max(-1.0, late))
        self.drift_ppm = min(DRIFT_PPM, max(-DRIFT_PPM, drift))

    def _watch(self) -> None:
        """Somebody moved the microphone: what is left is strong, and moves as the echo does, for a quarter second."""
        changed = self._residual.learnt and self._residual.likeness > 0.8 and self._left > 0.2 * self._heard
        self._changed = self._changed + 1 if changed else 0
        if self._changed == 16:
            self._filter.unsettle()

    def _align(self) -> None:
        """If two looks in a row find the echo where the filter is not, move the filter there."""
        lag, height = self._finder.find()
        if height < SURE:
            return
        before, self._candidate = self._candidate, lag
        if before is None or abs(before - lag) > HOP // 4:
            return
        self.lag = lag - self.lead * HOP
        self.early = lag < 16 and self.lead == 0
        begins = lag - self.skip * HOP
        if self.early or 16 <= begins <= 8 * HOP:
            return
        skip = max(0, lag // HOP - MARGIN)
        if skip != self.skip:
            self._filter.shift(skip - self.skip)
            self._residual.restart()
            self.skip = skip

"""What the linear filter leaves of the echo: how strong it is, taking it away, and whether it is all there is.

Three things leave a residue: what the filter has not learnt yet, reverberation longer than its tail, and what a
loudspeaker adds of its own. Its power is estimated per band as a share of the estimated echo, by regression of the two
envelopes over a second (J.-M. Valin, "On adjusting the learning rate in frequency domain echo cancellation with
double-talk", IEEE Trans. ASLP 15, 2007): the envelope of somebody who speaks has nothing to do with that of the echo,
so double talk does not raise it.
"""

import numpy as np

from streams.audio.spectra import BINS, HOP, WINDOW, Floats, Spectra, power, signal, spectrum

BANDS = 24
RECENT = 16  # hops (256 ms) over which it is judged whose sound it is
REACH = 48  # hops by which an echo may come late while nothing is known of it
BEFORE = 32  # hops (0.5 s) that lie between what is unknown and what it is judged by: whoever speaks is not in it yet
FAINT = 0.03  # an estimated echo this much weaker than what is left says nothing by its envelope
ALIKE = 0.75  # likeness of envelopes that somebody who speaks over the agent does not reach
OPENING = 380  # hops of played sound after which the filter is trusted, whatever it has learnt

_TINY = np.float32(1e-10)
_SLOW = np.float32(0.02)  # the regression: 0.8 s
_RELEASE = np.float32(0.65)  # a hop later, reverberation is at least 1.9 dB weaker: 0.5 s for 60 dB
_HANN_POWER = np.float32(0.375)  # of a windowed frame, beside one without window


class Residual:
    """Takes what the filter left (`error`) and what it took away (`echo`), hop by hop.

    over: how much of the estimated residue is taken away, as a factor of its power
    floor_db: the most that is taken away of any band; never more than down to the room's own noise
    """

    def __init__(self, over: float = 3.0, floor_db: float = -40.0) -> None:
        self._over = np.float32(over)
        self._least = np.float32(10 ** (floor_db / 20))
        self._window = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)
        self._to_bands, self._to_bins = _bands()
        self._density = np.float32(0.5) / self._to_bands.sum(axis=0)  # half, since `noise` is twice the least
        self._fold = np.zeros(WINDOW, np.float32)
        self._fold[0] = self._fold[HOP] = 1
        self._fold[1:HOP] = 2
        self._fade = np.linspace(0, 1, HOP + 1)[1:].astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.noise = np.zeros(BANDS, np.float32)
        self.likeness = 0.0
        self.learnt = False
        self._error, self._echo = np.zeros(WINDOW, np.float32), np.zeros(WINDOW, np.float32)
        self._filter = np.ones(BINS, np.complex64)
        self._fine = np.zeros(BINS, np.float32)
        self._gain = np.ones(BANDS, np.float32)
        self._plain = True
        self._released, self._smooth = np.zeros(BANDS, np.float32), np.zeros(BANDS, np.float32)
        self._mean_error, self._mean_echo = np.zeros(BANDS, np.float32), np.zeros(BANDS, np.float32)
        self._both, self._own = np.zeros(BANDS, np.float32), np.zeros(BANDS, np.float32)
        self._minima = np.full((8, BANDS), np.inf, np.float32)
        self._hops = 0
        self._errors, self._echoes, self._left = (np.zeros((RECENT, BANDS), np.float32) for _ in range(3))
        self._sounded = 0
        self._played = np.zeros((REACH, BANDS), np.float32)
        self._sum_error, self._sum_played = np.zeros(BANDS, np.float32), np.zeros(BANDS, np.float32)
        self._sum_noise = np.zeros(BANDS, np.float32)
        self._past = np.zeros((BEFORE, 3, BANDS), np.float32)  # the sums of the last half second

    def idle(self, microphone: Floats) -> Floats:
        """Nothing is played and nothing of it is left: the microphone as it is, and the noise of the room is learnt."""
        heard, _ = self._powers(microphone, None)
        self._note(heard, 0, 0)
        if self._plain:
            return microphone
        self._gain[:] = 1
        self._plain = True
        return self._shape(self._gain @ self._to_bins)

    def process(self, error: Floats, echo: Floats, doubt: Floats, newest: Spectra) -> Floats:
        """float32[256]: `error` without the rest of the echo. No delay is added.

        doubt: float32[257], power that the filter expects to be left for want of knowledge
        newest: complex64[257] of the last 512 samples that were played
        """
        heard, whole = self._powers(error, echo)
        whole = self._released = np.maximum(whole, self._released * _RELEASE)
        left = self._share(heard, whole) * whole + _HANN_POWER * (doubt @ self._to_bands)
        if not self.learnt:
            left = np.maximum(left, self._unknown(heard, newest, whole, doubt))
        self._note(heard, whole, left)
        over = self._over
        if self.likeness > ALIKE:  # what is left moves as the echo does: it is not learnt yet, or the path has changed
            left = np.maximum(left, self._slope * whole)
            over = over * np.float32(min(3.0, 1 + (self.likeness - ALIKE) * 20))
        wanted = 1 - over * left / (heard + _TINY)
        self._gain += np.float32(0.7) * (np.maximum(wanted, 0) - self._gain)
        self._plain = False
        # Down to the room's own noise and no further, bin by bin: harmonics that stand out of it would be a voice.
        quiet = np.sqrt((self.noise * self._density) @ self._to_bins / (self._fine + _TINY))
        return self._shape(np.minimum(np.maximum(np.maximum(self._gain @ self._to_bins, quiet), self._least), 1))

    @property
    def similarity(self) -> float:
        """In [0, 1]: how much of what was heard in the last 256 ms is explained by the echo and the room's noise.

        1 if it is no more than the residue that is expected, or if its envelopes are those of the echo.
        """
        heard = np.sqrt(self._errors.mean(axis=0))
        known = np.sqrt(2 * self._left.mean(axis=0) + np.float32(1.5) * self.noise)
        explained = 1 - float(np.maximum(heard - known, 0).sum()) / (float(heard.sum()) + 1e-4)
        return min(1.0, max(0.0, (explained - 0.6) / 0.3, (self.likeness - 0.66) / 0.14))

    def restart(self) -> None:
        """The filter begins anew. How loud an echo may be is known from before: it is as loud at another delay."""
        self.learnt = False

    # --- inside

    def _powers(self, error: Floats, echo: Floats | None) -> tuple[Floats, Floats]:
        for frame, fresh in ((self._error, error), (self._echo, echo)):
            frame[:HOP] = frame[HOP:]
            frame[HOP:] = 0 if fresh is None else fresh
        self._fine = power(spectrum(self._error * self._window))
        heard: Floats = self._fine @ self._to_bands
        whole = self._banded(spectrum(self._echo * self._window)) if echo is not None else heard
        self._hear_noise(heard)
        return heard, whole

    def _banded(self, spectra: Spectra) -> Floats:
        result: Floats = power(spectra) @ self._to_bands
        return result

    def _hear_noise(self, heard: Floats) -> None:
        """Twice the least of the last three seconds (R. Martin's minimum statistics, 2001, in short)."""
        if self._hops == 0:
            self._smooth[:] = heard
        self._smooth += np.float32(0.25) * (heard - self._smooth)
        place, first = self._hops // 24 % 8, self._hops % 24 == 0
        self._minima[place] = self._smooth if first else np.minimum(self._minima[place], self._smooth)
        self._hops += 1
        self.noise = 2 * self._minima.min(axis=0)

    def _share(self, heard: Floats, whole: Floats) -> Floats:
        """What part of the echo is left, by band."""
        error, echo = np.sqrt(heard), np.sqrt(whole)
        error_moves, echo_moves = error - self._mean_error, echo - self._mean_echo
        self._mean_error += _SLOW * error_moves
        self._mean_echo += _SLOW * echo_moves
        self._both += _SLOW * (error_moves * echo_moves - self._both)
        self._own += _SLOW * (echo_moves**2 - self._own)
        share: Floats = np.clip(self._both / (self._own + _TINY), np.float32(0.01), np.float32(1.5)) ** 2
        return share

    def _unknown(self, heard: Floats, newest: Spectra, whole: Floats, doubt: Floats) -> Floats:
        """The residue while the filter knows nothing: whatever goes with what was played in the last 0.8 s."""
        played = self._played
        played[1:] = played[:-1]
        played[0] = _HANN_POWER * self._banded(newest)
        loudest: Floats = played.max(axis=0)
        if float(played[0].sum()) > 1e-3:
            self._sounded += 1
            trusted = float(doubt.sum()) < 0.05 * float(whole.sum()) / float(_HANN_POWER)
            self.learnt = self._sounded > OPENING or (trusted and self._sounded > 30 and self.likeness < 0.7)
        if float(loudest.sum()) > 1e-3:  # who speaks when nothing is left of what was played is not its echo
            self._sum_error += heard - np.float32(0.01) * self._sum_error
            self._sum_played += loudest - np.float32(0.01) * self._sum_played
            self._sum_noise += self.noise - np.float32(0.01) * self._sum_noise
        known = self._sounded >= 25 + BEFORE
        place = self._sounded % BEFORE
        sums = np.stack((self._sum_error, self._sum_played, self._sum_noise))
        error, loud, noise = self._past[place] if known else sums
        share: Floats = error / (loud + _TINY)
        most = max(2.0, 8 * float(error.sum()) / (float(loud.sum()) + 1e-6))
        if known and float(error.sum()) < 2 * float(noise.sum()) + 1e-9:
            self.learnt = (
                True  # what was heard half a second ago, and before, is the room's own noise: nothing comes back
            )
        self._past[place] = sums
        # In the beginning of speech the most of it; then band by band, as it was heard half a second ago.
        share = np.minimum(4 * share if self._sounded >= 25 else np.inf, np.float32(most))
        return share * loudest

    def _note(self, heard: Floats, whole: Floats | int, left: Floats | int) -> None:
        """Keep the last hops, and see how alike the envelopes of what is left and of the echo are (a cosine)."""
        place = self._hops % RECENT
        self._errors[place], self._echoes[place], self._left[place] = heard, whole, left
        if not isinstance(whole, int):
            error = np.sqrt(np.maximum(self._errors - 2 * self.noise, 0))
            echo = np.sqrt(self._echoes)
            left_, taken = float((error**2).sum()), float(self._echoes.sum())
            alike = float((error * echo).sum()) / np.sqrt(left_ * taken + 1e-12)
            self.likeness = alike if taken > FAINT * left_ else 0.0
            self._slope = np.minimum(self._errors.sum(axis=0) / (self._echoes.sum(axis=0) + _TINY), 4)

    def _shape(self, gain: Floats) -> Floats:
        """The last hop of the error through a filter of that gain: minimum phase by the cepstrum, so without delay."""
        cepstrum = signal(np.log(gain + _TINY).astype(np.complex64))
        taps = signal(np.exp(spectrum(cepstrum * self._fold)))
        taps[HOP:] = 0
        fresh = spectrum(taps)
        error = spectrum(self._error)
        old, new = signal(error * self._filter)[HOP:], signal(error * fresh)[HOP:]
        self._filter = fresh
        return old + self._fade * (new - old)


def _bands() -> tuple[Floats, Floats]:
    """Triangles, equally wide on the ERB-rate scale (Glasberg and Moore, 1990): to bands, and back to 257 bins."""
    rate = 21.4 * np.log10(1 + 0.00437 * np.linspace(0, 8000, BINS))
    centres = np.linspace(rate[2], rate[-1], BANDS)
    weights = np.maximum(0, 1 - np.abs(rate[:, None] - centres) / (centres[1] - centres[0]))
    weights[:3] = 0
    weights[:3, 0] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32), np.ascontiguousarray(weights.T, np.float32)

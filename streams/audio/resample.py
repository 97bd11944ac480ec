"""Mono int16 from one rate to another, as a stream: FFmpeg's resampler (libswresample), through PyAV."""

from typing import TYPE_CHECKING

import numpy as np

from streams.errors import DependencyMissing
from streams.types import Samples

if TYPE_CHECKING:
    import av


class Resampler:
    """From `source` to `target` Hertz. It adds no delay: output sample k stands for the time k / `target`.

    After n samples in, `push` has given a few less than n * target / source; `finish` gives the rest, exactly rounded.
    Raises `DependencyMissing` without PyAV.
    """

    def __init__(self, source: int, target: int) -> None:
        try:
            import av  # noqa: PLC0415 - an extra, and heavy
        except ModuleNotFoundError as error:
            raise DependencyMissing("av", "files", "changing the rate of sound") from error
        self.source, self.target = source, target
        self._frame = av.AudioFrame
        self._taken = self._given = 0
        self._resampler = av.AudioResampler("s16", "mono", target)

    def push(self, samples: Samples) -> Samples:
        """Take int16[samples] in, give what is ready."""
        if not len(samples) or self.source == self.target:
            return samples
        self._taken += len(samples)
        frame = self._frame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = self.source
        return self._give(self._resampler.resample(frame))

    def finish(self) -> Samples:
        """The end of the stream; push nothing after it."""
        if not self._taken:
            return np.empty(0, np.int16)
        want = (self._taken * self.target * 2 + self.source) // (2 * self.source) - self._given
        rest = self._give(self._resampler.resample(None))[:want]
        return np.concatenate([rest, np.zeros(want - len(rest), np.int16)])

    def _give(self, frames: "list[av.AudioFrame]") -> Samples:
        joined: Samples = np.concatenate([np.empty(0, np.int16), *(frame.to_ndarray()[0] for frame in frames)])
        self._given += len(joined)
        return joined

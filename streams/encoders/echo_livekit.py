"""WebRTC's echo canceller (AEC3), by way of LiveKit's wheel: for sound that goes to people.

It takes nearly everything away while the agent speaks, the person too when both speak: of a person 4 dB below the echo
little is left. So it is no choice for an agent that wants to be interrupted. https://github.com/livekit/python-sdks,
Apache-2.0; it needs no server.
"""

import math
from typing import Any

import numpy as np

from streams.audio.spectra import Floats
from streams.errors import DependencyMissing

HOP = 160  # what it takes: 10 ms
LATE = 128  # samples by which it gives sound late, measured
LATE_BY_SUPPRESSION = 96
HANG = 100  # hops of silence after which nothing of what was played sounds any more
_RECENT = 0.05  # an average over 200 ms


class LiveKitCanceller:
    """`streams.encoders.echo.Engine` by `rtc.AudioProcessingModule`. Raises `DependencyMissing`.

    Its own delay estimator finds the echo, so `lag` stays unknown, and it follows drift by itself.
    `similarity` is what part of the sound it took away (as amplitude) in the last 200 ms.
    """

    hop = HOP
    skip = 0
    early = False
    lag: int | None = None
    drift_ppm = 0.0

    def __init__(self, noise_suppression: bool = False) -> None:
        try:
            from livekit import rtc  # noqa: PLC0415 - optional
        except ImportError as error:
            raise DependencyMissing(
                "livekit", "livekit", "the echo canceller 'livekit'", "engine = 'kalman' in [echo]"
            ) from error
        self._rtc = rtc
        self._suppression = noise_suppression
        self.delay = LATE + (LATE_BY_SUPPRESSION if noise_suppression else 0)
        self.reset()

    def reset(self) -> None:
        """As new."""
        self._module = self._rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=self._suppression, high_pass_filter=False, auto_gain_control=False
        )
        self.forget()

    def forget(self) -> None:
        """The sound jumped."""
        self._busy = 0
        self._heard = self._left = 1e-9

    @property
    def active(self) -> bool:
        """Something is played, or what was played may still sound."""
        return self._busy > 0

    @property
    def similarity(self) -> float:
        """In [0, 1]: what part of the amplitude was taken away."""
        return max(0.0, 1 - math.sqrt(self._left / self._heard))

    @property
    def erle_db(self) -> float:
        """The same in dB."""
        return 10 * math.log10(self._heard / self._left)

    def play(self, reference: Floats) -> None:
        """float32[160] that are played next."""
        self._busy = HANG if reference.any() else max(0, self._busy - 1)
        self._module.process_reverse_stream(self._frame(reference))

    def replay(self, reference: Floats) -> None:
        """What it was played cannot be taken back."""

    def advance(self) -> None:
        """It is never `early`."""

    def process(self, microphone: Floats) -> Floats:
        """float32[160] of the microphone to as many, `delay` samples late."""
        frame = self._frame(microphone)
        self._module.process_stream(frame)
        clean: Floats = (np.frombuffer(frame.data, np.int16) / np.float32(32768)).astype(np.float32)
        self._heard += _RECENT * (float(microphone @ microphone) - self._heard) + 1e-12
        self._left += _RECENT * (float(clean @ clean) - self._left) + 1e-12
        return clean

    def _frame(self, samples: Floats) -> Any:
        whole = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
        return self._rtc.AudioFrame(bytearray(whole.tobytes()), 16_000, 1, HOP)

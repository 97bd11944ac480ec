"""The microphone of a robot whose sound comes as messages. Knows nothing of robots: whoever hears them calls `feed`.

The message of a block is {"pcm": BASE64 of int16 little-endian mono, "rate": HERTZ, "start": INDEX}, 20 to 40 ms long;
`start` counts samples since the robot began to listen, so a message that was lost is seen for what it is.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from streams.audio.resample import Resampler
from streams.clock import MS, SECOND, Clock
from streams.devices.absence import AWAY
from streams.devices.remote import RATE, RemoteMicrophone
from streams.devices.robot_camera import decoded
from streams.errors import SourceError
from streams.ports import Publisher
from streams.topics import AUDIO, Topic
from streams.types import Samples

RATES = range(8_000, 48_001)
LONGEST_S = 0.5
MOST = 2**53
"""Beyond it whole numbers are not safe in JSON."""
NEVER_MS = 2000
"""So long after the beginning it is told that nothing has come at all."""


class Counted:
    """Blocks of any size for a `RemoteMicrophone`, which counts blocks and knows what is missing by what it counts."""

    def __init__(self, microphone: RemoteMicrophone) -> None:
        self._microphone = microphone
        self._sequence = 0

    def push(self, samples: Samples, missing: int, end: int) -> None:
        """On. missing: samples that were lost before;  end: time of the far clock at the last sample's end, ns."""
        head = math.gcd(missing, len(samples))  # a block must divide what is missing; all of it, if nothing is
        self._sequence += missing // head
        rest = len(samples) - head
        self._microphone.push(samples[:head], self._sequence, end - rest * SECOND // RATE)
        self._sequence += 1
        if rest:
            self._microphone.push(samples[head:], self._sequence, end)
            self._sequence += 1


class RobotMicrophone:
    """`streams.ports.Source` of AUDIO (16 kHz): the blocks that are fed, on one sample clock, silence where none are.

    Everything that `RemoteMicrophone` says of time, loss and silence holds: a block is published at once or dropped;
    lost samples are a jump of `Audio.start`, exact at 16 kHz, to the millisecond at other rates, and a `Fault`
    "SamplesLost"; without sound for 500 ms, or after `gone`, it is a `Fault` "SourceAway", then "SourceLost" unless it
    is back within `away_ms`, and `Recovered`. All say where="microphone". Cancelling `run` ends it.

    Making it raises `SourceError` for a rate it cannot take, and `DependencyMissing` for one that needs PyAV.

    from_whom: for messages to people;  rate: of the robot's sound, Hertz, the same in every message
    malformed: messages that were no block of sound;  stale: blocks that came twice, or behind newer ones
    """

    name = "microphone"
    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(self, from_whom: str = "the robot", *, rate: int = RATE, away_ms: int = AWAY // MS) -> None:
        if rate not in RATES:
            raise SourceError(f"the microphone of {from_whom} gives {rate} Hz: it must be {RATES[0]} to {RATES[-1]}.")
        self.malformed = self.stale = 0
        self.rate = rate
        self._who = from_whom
        self._microphone = RemoteMicrophone(away_ms=away_ms)
        self._heard = False  # in this session
        self._next = 0  # sample of the robot's that is expected
        self._place = 0  # the same at 16 kHz
        self._blocks = Counted(self._microphone)
        self._sent_ms = -1
        self._resampler = self._resampled()

    @property
    def lost(self) -> int:
        """Samples (at 16 kHz) that never came, or came too late."""
        return self._microphone.lost

    @property
    def muted(self) -> bool:
        """Nobody is heard: samples are replaced by silence."""
        return self._microphone.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._microphone.muted = muted

    def feed(self, values: Mapping[str, Any], mono_ms: int) -> bool:
        """A message as it came: `values` as above, sent at `mono_ms` of the robot's clock. On the loop.

        False if it was not used. Never waits, never raises.
        """
        samples, start = _block(values.get("pcm"), round(self.rate * LONGEST_S)), values.get("start")
        if samples is None or values.get("rate") != self.rate or type(start) is not int or not 0 <= start < MOST:
            self.malformed += 1
            return False
        if not self._microphone.attached or (start < self._next and mono_ms > self._sent_ms):
            self._microphone.attach()  # another stream: the robot has begun anew
            self._next = start
            self._renew(start)
        elif start < self._next:
            self.stale += 1
            return False
        self._heard = True
        missing = self._missing(start)
        self._next, self._sent_ms = start + len(samples), mono_ms
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        if len(samples):
            self._push(samples, missing, mono_ms * MS)
        return True

    def gone(self, why: str) -> None:
        """The robot cannot be heard any more: why, in a sentence."""
        self._microphone.detach(why)

    def _renew(self, start: int) -> None:
        self._place = start * RATE // self.rate
        self._resampler = self._resampled()

    def _resampled(self) -> Resampler | None:
        return None if self.rate == RATE else Resampler(self.rate, RATE)

    def _missing(self, start: int) -> int:
        """Samples at 16 kHz that were lost before `start`."""
        if start == self._next:
            return 0
        before = self._place
        self._renew(start)
        return max(0, self._place - before)

    def _push(self, samples: Samples, missing: int, end: int) -> None:
        self._place += len(samples)
        self._blocks.push(samples, missing, end)

    async def __aenter__(self) -> "RobotMicrophone":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._microphone.__aexit__(*exc)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what is fed, and silence while nothing is."""
        self._heard = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._microphone.run(bus, clock), name="sound of a robot")
            await clock.sleep_until(clock.now() + NEVER_MS * MS)
            if not self._heard:
                self._microphone.attach()
                self._microphone.detach(f"no sound has come from {self._who} for {NEVER_MS / 1000:g} s.")


def _block(text: Any, longest: int) -> Samples | None:
    data = decoded(text, longest * 2)
    if data is None or len(data) % 2:
        return None
    return np.frombuffer(data, "<i2").astype(np.int16)

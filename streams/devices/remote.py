"""Devices that are somewhere else, such as in a browser: what arrives from them, on the clock of the session.

Knows nothing of how it arrives: whoever has the connection calls `push`, on the event loop, and nothing here waits.
The loudspeaker of such a place is in `streams.devices.remote_speaker`.
"""

from collections import deque
from typing import Any

import numpy as np

from streams.clock import MS, SECOND, Clock
from streams.devices.absence import AWAY, Absence
from streams.devices.far_clock import FarClock
from streams.devices.jpeg import jpeg_size
from streams.devices.stream_clock import StreamClock
from streams.errors import SourceError
from streams.ports import Publisher
from streams.topics import AUDIO, FEEDBACK, IMAGE, PERCEPT, Topic
from streams.types import Audio, Fault, Gauge, Image, Samples, StopPressed, Typed

RATE = 16_000
BLOCK = 320
SAMPLE = SECOND // RATE
SEAM = 100 * MS
SLIP = 200 * MS
GAUGE = 10 * SECOND
DRIFT = 2000
"""The sample clock may be ahead of the session's by one part in so many: no crystal is worse."""
FARTHEST = 250
"""So many blocks may be missing; more is another stream."""
_SPARE = RATE // 50  # 2 % faster than the session's clock is still a clock


class RemoteMicrophone:
    """`streams.ports.Source` of AUDIO (16 kHz) and of what is typed and pressed there (PERCEPT).

    Time is the count of samples, laid along their least delayed arrivals (`FarClock`, then `StreamClock`), so that
    neither a busy page nor a busy network moves it. A jump of the sequence is lost samples: `start` jumps, and a
    `Fault` tells how many (at most one a second). It is believed only as far as the time for so many samples has
    passed; beyond that, and where the sequence goes back, the stream begins anew at the time of the block that came.
    What comes faster than 2 % above real time, beyond what a stalled network may have held back, is dropped and told.

    While nobody is attached, or nothing arrives for `patience_ms`, the stream is digital silence at the pace of the
    session's clock, so that every wait in a session comes to its end; blocks of a time that was filled up so are too
    late, and dropped. While muted, samples are replaced by silence. Never ends by itself; cancelling `run` ends it.

    A talker who goes without saying so, or is silent, is a `Fault` "SourceAway", and "SourceLost" after `away_ms`.

    lost: samples that never came, or came too late;  muted: nobody is heard
    """

    name = "microphone"
    writes: tuple[Topic[Any], ...] = (AUDIO, PERCEPT)

    def __init__(self, *, patience_ms: int = 500, away_ms: int = AWAY // MS) -> None:
        self.muted = False
        self.lost = 0
        self._patience = patience_ms * MS
        self._out: tuple[Publisher, Clock] | None = None
        self._attached = False
        self._absence = Absence(self.name, away_ms * MS)
        self._next = 0  # sample clock of the stream
        self._began = 0  # session time of its beginning
        self._until = 0  # session time up to which sound has been published
        self._waiting: deque[str] = deque(maxlen=8)  # typed while no session runs
        self._gauge_at = GAUGE
        self._untold = 0
        self._told_at = -SECOND
        self._begin_stream()

    def _begin_stream(self) -> None:
        """Somebody's stream begins anew: its clocks are not known yet."""
        self._filled = True  # the next block is laid at its time: what was published last is silence of our own
        self._far, self._samples = FarClock(), StreamClock(RATE)
        self._fresh = True
        self._count = 0
        self._sequence: int | None = None
        self._ended = 0  # session time of the last sample counted
        self._heard_at: int | None = None  # when its last block arrived
        self._credit = float(RATE)
        self._credit_at = 0

    # --- who talks

    @property
    def attached(self) -> bool:
        """Somebody's microphone is connected."""
        return self._attached

    def attach(self) -> None:
        """Somebody's microphone is connected: its blocks come from now on, whatever their sequence begins with."""
        self._attached = True
        self._begin_stream()

    def detach(self, lost: str = "") -> None:
        """It is no longer. lost: why, if that was not wished: a `Fault`, and `Recovered` once sound comes again."""
        if self._attached and lost:
            self._absence.miss(lost)
        elif self._attached:
            self._absence.wanted()
        self._attached = False
        self._heard_at = None

    # --- what comes from there

    def push(self, samples: Samples, sequence: int, time_ns: int) -> None:
        """A block: int16[n] at 16 kHz; `sequence` counts blocks, `time_ns` is the far clock at its last sample's end.

        Raises `SourceError` for what is no such block. Dropped while no session runs or nobody is attached.
        """
        if samples.ndim != 1 or samples.dtype != np.int16 or not 0 < len(samples) <= RATE:
            raise SourceError(
                f"a block of sound must be int16[1 to {RATE}]: it is {samples.dtype}{list(samples.shape)}."
            )
        if self._out is None or not self._attached:
            return
        clock = self._out[1]
        now = clock.now()
        size = len(samples)
        if not self._affordable(size, now):
            self._lose(size, now)
            return
        jump = self._follow(sequence, size, now)
        self._count += jump + size
        self._ended = self._time(self._far.map(time_ns, now))
        t = min(now, self._ended)
        self._heard_at = now
        self._absence.back("sound comes again")
        if self.muted:
            samples = np.zeros(size, np.int16)
        if self._filled:
            late = self._until - (t - size * SAMPLE)
            samples = self._join(samples, t)
            seam = self._fresh or late <= SEAM  # where silence ends and sound begins, some of the one covers the other
            lost = 0 if seam else jump + size - len(samples)
        else:
            self._next += jump
            lost = jump
        if lost:
            self._lose(lost, now)
        if len(samples):
            self._fresh = self._filled = False
            self._publish(samples, max(t, self._until))

    def type(self, text: str) -> None:
        """Somebody wrote `text`. Kept for the next session if none runs (the last 8)."""
        if self._out is None:
            self._waiting.append(text)
        else:
            bus, clock = self._out
            bus.publish(PERCEPT, clock.now(), Typed(text))

    def stop(self, by: str) -> None:
        """Somebody pressed stop; without a session there is nothing to stop."""
        if self._out is not None:
            bus, clock = self._out
            bus.publish(PERCEPT, clock.now(), StopPressed(by))

    def _affordable(self, size: int, now: int) -> bool:
        """A bucket of samples that fills at the pace of the session's clock: ten seconds at most, one to begin with."""
        self._credit = min(10.0 * RATE, self._credit + (now - (self._credit_at or now)) * (RATE + _SPARE) / SECOND)
        self._credit_at = now
        if size > self._credit:
            return False
        self._credit -= size
        return True

    def _follow(self, sequence: int, size: int, now: int) -> int:
        """How many samples are missing before this block of `size`. What cannot be so counts anew from here."""
        expected, self._sequence = self._sequence, sequence + 1
        if expected is None or sequence == expected:
            return 0
        jump = (sequence - expected) * size
        reached = self._ended if self._filled else max(self._ended, self._began + self._next * SAMPLE)
        latest = now + SLIP + (now - self._began) // DRIFT
        if 0 < sequence - expected <= FARTHEST and reached + (jump + size) * SAMPLE <= latest:
            return jump
        self._samples, self._count = StreamClock(RATE), 0
        self._filled = True  # it is laid at its time, whatever came before it
        return 0

    def _time(self, arrived: int) -> int:
        """Session time of the end of the samples counted so far, the last of which were taken at `arrived`."""
        self._samples.observe(self._count, arrived)
        t = self._samples.time(self._count)
        if arrived - t > SLIP and (
            self._filled or self._samples.late_ns > SLIP
        ):  # it did not count while it stood still
            self._samples = StreamClock(RATE)
            self._samples.observe(self._count, arrived)
            t = self._samples.time(self._count)
            self._filled = True
        return t

    def _join(self, samples: Samples, t: int) -> Samples:
        """The part of `samples` (ending at `t`) behind what was filled with silence; moves the sample clock there."""
        gap = round((t - self._until) / SAMPLE) - len(samples)
        self._next += max(0, gap)
        return samples[max(0, -gap) :]

    def _publish(self, samples: Samples, t: int) -> None:
        assert self._out is not None
        self._out[0].publish(AUDIO, t, Audio(samples, RATE, self._next))
        self._next += len(samples)
        self._until = t

    def _lose(self, samples: int, now: int) -> None:
        self.lost += samples
        self._untold += samples
        self._tell(now)

    def _tell(self, now: int) -> None:
        if self._untold and now - self._told_at >= SECOND and self._out is not None:
            message = (
                f"{self._untold} samples ({self._untold * 1000 // RATE} ms) of the microphone were lost on their way."
            )
            self._out[0].publish(FEEDBACK, now, Fault(self.name, "SamplesLost", message))
            self._untold, self._told_at = 0, now

    def _gauge(self, now: int) -> None:
        drift = self._samples.drift_ppm
        if now >= self._gauge_at and drift is not None and self._out is not None:
            self._gauge_at = now + GAUGE
            self._out[0].publish(FEEDBACK, now, Gauge(self.name, "drift_ppm", drift))

    # --- the source

    async def __aenter__(self) -> "RemoteMicrophone":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._out = None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what comes, and silence while nothing does."""
        self._out = (bus, clock)
        self._next, self._began = 0, clock.now()
        self._until = self._began
        self._untold, self._told_at, self._gauge_at = 0, -SECOND, GAUGE
        self._absence.begin(self._out)
        self._begin_stream()
        try:
            while self._waiting:
                self.type(self._waiting.popleft())
            while True:
                self._tick(clock.now())
                await clock.sleep_until(clock.now() + 20 * MS)
        finally:
            self._out = None
            self._absence.begin(None)

    def _tick(self, now: int) -> None:
        if self._heard_at is not None:
            self._tell(now)
            self._gauge(now)
            if now - self._heard_at < self._patience:
                return
            self._heard_at = None
            if self._attached and not self.muted:
                self._absence.miss(f"no sound has come from the microphone for {self._patience // MS} ms.")
        while self._until + BLOCK * SAMPLE <= now:
            self._filled = True
            self._publish(np.zeros(BLOCK, np.int16), self._until + BLOCK * SAMPLE)


class RemoteCamera:
    """`streams.ports.Source` of IMAGE: JPEGs that come from somewhere else, the newest only.

    A camera that goes without being given back is a `Fault` "SourceAway", and "SourceLost" after `away_ms`.

    max_hz: pictures that come faster are dropped;  limit: bytes of one picture;  side: pixels of its longer side
    dropped: pictures that came too fast, or while no session ran or nobody was attached
    """

    name = "camera"
    writes: tuple[Topic[Any], ...] = (IMAGE,)

    def __init__(
        self, *, max_hz: float = 15.0, limit: int = 400_000, side: int = 2048, away_ms: int = AWAY // MS
    ) -> None:
        self.dropped = 0
        self._every = round(SECOND / max_hz)
        self._limit, self._side = limit, side
        self._out: tuple[Publisher, Clock] | None = None
        self._attached = False
        self._absence = Absence(self.name, away_ms * MS)
        self._far = FarClock()
        self._due = 0  # no picture is taken before this

    @property
    def attached(self) -> bool:
        """Somebody's camera is connected."""
        return self._attached

    def attach(self) -> None:
        """Somebody's camera is connected."""
        self._attached, self._far = True, FarClock()
        self._absence.back("a camera is connected again")

    def detach(self, lost: str = "") -> None:
        """It is no longer. lost: why, if that was not wished: `Fault`s as of the microphone."""
        if self._attached and lost:
            self._absence.miss(lost)
        elif self._attached:
            self._absence.wanted()
        self._attached = False

    def push(self, data: bytes, time_ns: int) -> bool:
        """A JPEG taken at `time_ns` of the far clock; False if it was dropped.

        Raises `SourceError` for what is no JPEG, or too large. Only its frame is looked at: the rest is for decoders.
        """
        if len(data) > self._limit:
            raise SourceError(f"a picture of {len(data)} bytes is too large: {self._limit} at most.")
        width, height = jpeg_size(data)
        if max(width, height) > self._side:
            raise SourceError(f"a picture of {width}x{height} pixels is too large: {self._side} at most.")
        if self._out is None or not self._attached:
            self.dropped += 1
            return False
        bus, clock = self._out
        now = clock.now()
        t = self._far.map(time_ns, now)
        if now < self._due:
            self.dropped += 1
            return False
        self._due = max(self._due, now - self._every) + self._every  # one may come early where one came late
        bus.publish(IMAGE, t, Image(data, "jpeg", width, height))
        return True

    async def __aenter__(self) -> "RemoteCamera":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._out = None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what comes until cancelled."""
        self._out, self._due = (bus, clock), 0
        self._absence.begin(self._out)
        self._far = FarClock()
        try:
            while True:
                await clock.sleep_until(clock.now() + 3600 * SECOND)
        finally:
            self._out = None
            self._absence.begin(None)

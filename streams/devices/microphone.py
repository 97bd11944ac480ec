"""The microphone: sound of a device of this machine, on the session's sample clock, whatever happens to the device."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from streams.clock import MS, SECOND, Clock
from streams.devices import route
from streams.devices.files import block_samples
from streams.devices.intake import Arrival, DeadSilence, Intake
from streams.devices.reopening import LOOK_S, Opening, backoff
from streams.devices.sound import LIST, DeviceConfig, SoundBackend, SoundStream, backend, hurry, open_stream
from streams.errors import DependencyMissing, SourceError
from streams.ports import Publisher
from streams.topics import AUDIO, FEEDBACK, Topic
from streams.types import Audio, Fault, Feedback, Gauge, Recovered

GAUGE_S = 10
BACKLOG = 6000
"""Blocks of the device that wait for a loop that is stuck; what comes then is lost, and told."""
MONITOR = ".monitor"
"""How PulseAudio names what is being played: never a microphone, unless it was chosen as one."""


class MicrophoneConfig(DeviceConfig, frozen=True, forbid_unknown_fields=True):
    """The microphone, and how it is driven.

    block_ms: length of the blocks it is published in
    """

    block_ms: Annotated[int, Meta(ge=10, le=40)] = 20


class Microphone:
    """`streams.ports.Source`: `Audio` of mono int16 at `rate` Hertz on AUDIO, in blocks of `config.block_ms`.

    Entering opens the device, at `rate` or, if it refuses that, at its own, and then resamples. Raises `SourceError`
    (which says why, and what to do) and `DependencyMissing`. It needs real time.

    A block's `t` is laid by `StreamClock` along the least delayed arrivals; `Audio.start` counts samples. What is lost
    on the way is a `Fault` "SamplesLost" with their number, a jump of `start`, and a `Recovered`: told 0.5 to 2 s
    later, for only then can lost sound be told from late sound. If nothing comes for 500 ms, or the device stops, or
    the sound server gives us another one, that is a `Fault` "SourceLost": digital silence is published at the pace of
    the clock while the device is opened again (after 0.25 s, then less and less often, for ever), then `Recovered`.
    A device that was never silent and then gives exact zeros for 5 s is one `Fault` "OnlySilence" (is it muted?).
    Every 10 s: `Gauge` "latency_ms" (as the library reports it) and, once known to 50 ppm, "drift_ppm". All say
    where="microphone".

    That PulseAudio has moved the stream can be known only where its tool `pactl` is installed. A device that was not
    there when the session began is found by PortAudio only while no other of its streams is open in this process.

    muted: while True, silence is published
    engine: the library to use, if not the one that `config` names
    Cancelling `run` stops it at once; leaving closes the device in a thread, and waits 2 s for it at most.
    """

    name = "microphone"
    echoes = True  # it stands in one room with the loudspeaker
    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(
        self, config: MicrophoneConfig | None = None, *, rate: int = 16_000, engine: SoundBackend | None = None
    ) -> None:
        self.config = config or MicrophoneConfig()
        self.rate = rate
        self.muted = False
        self._block = block_samples(rate, self.config.block_ms)
        self._engine = engine
        self._opening: Opening | None = None
        self._inbox = _Inbox()

    async def __aenter__(self) -> "Microphone":
        clock = Clock()
        if clock.virtual:
            raise SourceError("a microphone needs real time: use a sound file in virtual time.")
        self._opening = opening = Opening(self.name, clock)
        try:
            await self._open(opening, clock)
        except BaseException as error:
            self._opening = None
            await opening.aclose()
            if isinstance(error, DependencyMissing) or not isinstance(error, SourceError):
                raise
            raise SourceError(f"the microphone cannot be used: {error} {LIST}.") from error
        return self

    async def __aexit__(self, *exc: Any) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            await opening.aclose()

    async def _open(self, opening: Opening, clock: Clock) -> SoundStream:
        inbox = self._inbox = _Inbox(clock.now)
        return await opening.open(partial(self._make, inbox.put))

    def _make(self, heard: Callable[[bytes, bool], None]) -> SoundStream:
        """In the thread."""
        self._engine = self._engine or backend(self.config.engine)
        return open_stream(self._engine.open_input, self.config, self.rate, heard)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish until cancelled."""
        opening, engine = self._opening, self._engine
        if opening is None or engine is None or opening.stream is None:
            raise RuntimeError("enter the source before running it: `async with source`")
        self._bus, self._clock = bus, clock
        self._intake = Intake(self.rate, self._block)
        self._silence = DeadSilence(self.rate)
        self._home: str | None = None  # the source of the sound server we began with
        self._astray = ""
        self._gauge_ns = clock.now() + SECOND
        self._inbox.restart(clock.now)
        async with asyncio.TaskGroup() as group:
            if engine.moves:
                group.create_task(route.follow(self._routed), name="route of the microphone")
            while True:
                assert opening.stream is not None
                self._intake.begin(opening.stream.rate, clock.now())
                reason = await self._listen(opening)
                who = opening.stream.device
                self._tell(Fault(self.name, "SourceLost", f"{who} has gone: {reason}; it is opened again when it can."))
                reopening = group.create_task(self._reopen(opening), name="reopen the microphone")
                await self._bridge(reopening)
                self._inbox.restart(clock.now)  # what came by now has had its silence
                self._tell(Recovered(self.name, f"{opening.stream.device} is back"))

    # --- while it is there

    async def _listen(self, opening: Opening) -> str:
        """Publish what comes until nothing does any more; returns why."""
        inbox, clock = self._inbox, self._clock
        quiet = 0.0
        while True:
            await inbox.wait(LOOK_S)
            arrivals = inbox.take()
            quiet = 0.0 if arrivals else quiet + LOOK_S
            for t, audio in self._intake.put(arrivals, clock.now()):
                self._publish(t, audio)
            self._lost()
            self._measure(opening.stream)
            reason = self._astray or opening.lost(quiet)
            if reason:
                return reason

    def _publish(self, t: int, audio: Audio) -> None:
        if self._silence.put(audio.samples):
            if self._silence.dead:
                message = "it gives nothing but zeros: is it muted, by a switch or in the sound settings?"
                self._tell(Fault(self.name, "OnlySilence", message))
            else:
                self._tell(Recovered(self.name, "it is no longer silent"))
        if self.muted:
            audio = Audio(np.zeros(len(audio.samples), np.int16), audio.rate, audio.start)
        self._bus.publish(AUDIO, t, audio)

    def _lost(self) -> None:
        lost = self._intake.take_lost()
        if lost:
            what = (
                f"{lost} samples ({lost * 1000 // self.rate} ms) were lost: this machine, or its sound, is overloaded."
            )
            self._tell(Fault(self.name, "SamplesLost", what))
            self._tell(Recovered(self.name, "it goes on behind the gap"))

    def _measure(self, stream: SoundStream | None) -> None:
        if self._clock.now() >= self._gauge_ns and stream is not None:
            self._gauge_ns = self._clock.now() + GAUGE_S * SECOND
            self._tell(Gauge(self.name, "latency_ms", stream.latency_ns / MS))
            drift = self._intake.clock.drift_ppm
            if drift is not None:
                self._tell(Gauge(self.name, "drift_ppm", round(drift, 2)))

    def _routed(self, sources: tuple[str, ...]) -> None:
        """The sound server says from where we record."""
        if sources and self._home is None:
            self._home = sources[0]
        if sources and self._home not in sources:
            self._astray = f"the sound server has put {sources[0]!r} in its place"

    # --- while it is not

    async def _bridge(self, reopening: "asyncio.Task[None]") -> None:
        """Publish silence at the pace of the clock until the device is open again."""
        self._intake.outage()
        while not reopening.done():
            t, audio = self._intake.silence()
            await self._clock.sleep_until(t)
            self._bus.publish(AUDIO, t, audio)

    async def _reopen(self, opening: Opening) -> None:
        await opening.close()
        for pause in backoff():
            await asyncio.sleep(pause)
            try:
                await self._open(opening, self._clock)
            except SourceError:
                continue
            if await self._right():
                return
            await opening.close()

    async def _right(self) -> bool:
        """Whether what was opened gives sound, and is what we want."""
        await self._inbox.wait(LOOK_S * 5)
        if not self._inbox:
            return False
        sources = await route.sources() if self._home is not None else ()
        if sources and self._home not in sources:
            if self.config.device != "" or sources[0].endswith(MONITOR):
                return False
            self._home = sources[0]  # none was named: what is there now will do
        self._astray = ""
        return True

    def _tell(self, what: Feedback) -> None:
        self._bus.publish(FEEDBACK, self._clock.now(), what)


class _Inbox:
    """From the device's thread to the event loop, without a lock that either could wait for."""

    def __init__(self, now: Callable[[], int] | None = None) -> None:
        self._first = True
        self._blocks: deque[Arrival] = deque()
        self._loop = asyncio.get_running_loop() if now is not None else None
        self._woken = asyncio.Event()
        self._now = now or (lambda: 0)

    def restart(self, now: Callable[[], int]) -> None:
        """Forget what has come; time is from another clock from now on."""
        self._now = now
        self._blocks.clear()

    def put(self, data: bytes, lossy: bool) -> None:
        """In the device's thread."""
        if self._first:
            self._first = False
            hurry()
        if len(self._blocks) < BACKLOG:
            self._blocks.append(Arrival(data, lossy, self._now()))
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # it is closed: nobody listens any more
            pass

    def __len__(self) -> int:
        return len(self._blocks)

    def take(self) -> list[Arrival]:
        """What has come, in order."""
        blocks = self._blocks
        return [blocks.popleft() for _ in range(len(blocks))]

    async def wait(self, seconds: float) -> None:
        """Until something has come, or `seconds` have passed."""
        if not self._blocks:
            self._woken.clear()
            if not self._blocks:
                try:
                    async with asyncio.timeout(seconds):
                        await self._woken.wait()
                except TimeoutError:
                    pass

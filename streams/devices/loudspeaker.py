"""The loudspeaker: what is written is played by a device of this machine, and accounted for to the sample."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from streams.clock import MS, SECOND, Clock
from streams.devices.outlet import SETTLE_MS, Feed, Outlet, Taken
from streams.devices.reopening import LOOK_S, Opening, backoff
from streams.devices.sound import LIST, DeviceConfig, SoundBackend, SoundStream, backend, hurry, open_stream
from streams.devices.stream_clock import StreamClock
from streams.errors import DependencyMissing, SourceError
from streams.ports import Listener, Publisher
from streams.topics import FEEDBACK, PLAYBACK
from streams.types import Audio, Fault, Feedback, Gauge, Recovered, Samples

WAIT_S = 2.0
"""So long what is queued waits for a device that has gone; then it is given up."""
GAUGE_S = 10
IDLE_BLOCKS = 8
"""So many silent blocks at a time are looked at: nothing waits for them."""
ANEW_MS = 15
"""While it is silent, its place on the session's clock is set right by what it has drifted, if it is more than this."""
DRY_S = 10
"""A machine that is overloaded is told so this often, not with every click."""
LATE_MS = 15
"""Blocks are asked for this much later than they should for half a second: the device stood still for as long."""


class LoudspeakerConfig(DeviceConfig, frozen=True, forbid_unknown_fields=True):
    """The loudspeaker, and how it is driven. What comes late is heard: its buffer is 40 ms at least, unless set."""

    @property
    def latency(self) -> int:
        """Of its buffer, ms."""
        return self.latency_ms or max(40, super().latency)


class Loudspeaker:
    """`streams.ports.Speaker` on a device, whose contract is that of `SimulatedSpeaker`. Made in the running loop.

    rate: Hertz of what is written. A device that refuses it is opened at its own, and the sound resampled.
    config: which device, and how;  engine: the library to use, if not the one `config` names

    The device takes blocks of `config.period` ms; silence when there is nothing to play. `pause` and `flush` act on the
    next block it takes: what it has taken will be heard, and `flush` tells the index after that, at once and exactly.
    Every sample up to there is heard as written; the step to silence is bridged by 5 ms that lead from the last
    sample to zero. After a pause the very next sample follows.

    Each block that is not silence is published on PLAYBACK when the device has taken it, at the device's rate: `t`
    is when its last sample will sound (a little in the future: when it was taken, by `StreamClock`, and the
    latency that the library reports), `start` its place on the session's sample clock; blocks follow each other without
    a gap while speech does. Listeners are called when the last sample of speech of a block sounds.

    `device()` raises `SourceError` or `DependencyMissing` if it cannot be opened; it needs real time. A device that
    asks for nothing for 500 ms, or stops, is a `Fault` "SourceLost"; it is opened again (after 0.25 s, then less and
    less often, for ever), then `Recovered`. What is queued when it goes, or written while it is away, waits for it for
    2 s, paused or not; then who listens is told (`gone`), so that nothing waits for ever. Only what the device has
    taken is counted, and on PLAYBACK. Every 10 s: `Gauge` "latency_ms"; a device that ran dry is a `Fault` "Underrun"
    and `Recovered`. All say where="speaker". Leaving closes the device in a thread, and waits 2 s for it at most.
    """

    name = "speaker"

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        rate: int,
        config: LoudspeakerConfig | None = None,
        *,
        engine: SoundBackend | None = None,
    ) -> None:
        self.rate = rate
        self.config = config or LoudspeakerConfig()
        self._publisher, self._clock = publisher, clock
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._outlet = Outlet(rate, rate, rate * self.config.period // 1000)
        self._feed: Feed | None = None
        self._listeners: list[Listener] = []
        self._gone: list[Callable[[], None]] = []  # who is told that it is gone
        self._since = 0  # when what is queued began to wait for a device that is away
        self._sounding: deque[tuple[int, int]] = deque()  # (index, when its last sample sounds)
        self._played = 0
        self._woken = asyncio.Event()
        self._place = _Place()
        self._gauge_ns = self._dry_ns = 0

    @property
    def played(self) -> int:
        """Samples that have left the device since the start (never counts silence, nor flushed ones)."""
        return self._played

    def write(self, samples: Samples) -> int:
        """Queue int16[samples]; returns the index (in the count of `played`) at which they will begin."""
        if not self._waiting:
            self._since = self._clock.now()
        return self._outlet.write(samples)

    def flush(self, told: Callable[[int], None]) -> None:
        """Drop what the device has not taken; `told` is called at once."""
        told(self._outlet.flush())

    def pause(self) -> None:
        """Hold the queue; silence from the next block on."""
        self._outlet.paused = True

    def resume(self) -> None:
        """Go on from the very sample that was next."""
        self._outlet.paused = False

    def listen(self, listener: Listener, gone: Callable[[], None] | None = None) -> None:
        """Call `listener` after every block that carried speech; `gone` when what is queued has waited for 2 s."""
        self._listeners.append(listener)
        if gone is not None:
            self._gone.append(gone)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Sound plays while this context is open; what is queued when it closes is never heard."""
        if self._clock.virtual:
            raise SourceError("a loudspeaker needs real time: use a simulated one in virtual time.")
        opening = Opening(self.name, self._clock)
        try:
            try:
                await self._open(opening)
            except DependencyMissing:
                raise
            except SourceError as error:
                raise SourceError(f"the loudspeaker cannot be used: {error} {LIST}.") from error
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(self._serve(opening, group), name="speaker")
                try:
                    yield
                finally:
                    serving.cancel()
        finally:
            if self._feed is not None:
                self._feed.live = False
            await opening.aclose()

    # --- the device

    async def _open(self, opening: Opening) -> SoundStream:
        """Open it; from then on it is fed."""
        feeds: list[Feed] = []  # made on opening, when rate and block are known; until then there is silence
        hurried: list[bool] = []
        if self._feed is not None:
            self._feed.live = False

        def ask(dry: bool) -> bytes | None:
            if not hurried:
                hurried.append(True)
                hurry()
            if not feeds:
                return None
            feed = feeds[0]
            data = feed.take(self._clock.now(), dry)
            if data is not None or len(feed.taken) >= IDLE_BLOCKS:
                try:
                    self._loop.call_soon_threadsafe(self._woken.set)
                except RuntimeError:  # it is closed: nobody listens any more
                    pass
            return data

        stream = await opening.open(partial(self._make, ask))
        self._outlet.change(stream.rate, stream.block)
        self._feed = feed = Feed(self._outlet, stream.rate, stream.block)
        self._place.begin(stream.rate, stream.latency_ns)
        feeds.append(feed)
        return stream

    def _make(self, ask: Callable[[bool], bytes | None]) -> SoundStream:
        """In the thread."""
        self._engine = self._engine or backend(self.config.engine)
        return open_stream(self._engine.open_output, self.config, self.rate, ask)

    async def _serve(self, opening: Opening, group: asyncio.TaskGroup) -> None:
        self._gauge_ns = self._clock.now() + SECOND
        while True:
            assert opening.stream is not None
            name = opening.stream.device
            reason = await self._watch(opening)
            self._tell(Fault(self.name, "SourceLost", f"{name} has gone: {reason}; it is opened again when it can."))
            reopening = group.create_task(self._reopen(opening), name="reopen the speaker")
            try:
                await self._await_device(reopening)
            finally:
                reopening.cancel()
            self._tell(Recovered(self.name, f"{opening.stream.device if opening.stream else name} is back"))

    async def _watch(self, opening: Opening) -> str:
        """Report what is played until the device has gone; returns why."""
        feed, quiet = self._feed, 0.0
        assert feed is not None
        while True:
            wait_s = LOOK_S
            if self._sounding:  # until that is to be told
                wait_s = min(wait_s, max(0.0, (self._sounding[0][1] - self._clock.now()) / SECOND))
            await self._wait(feed, wait_s)
            quiet = 0.0 if feed.taken else quiet + wait_s
            self._account(feed)
            self._outlet.settle()
            self._sounded(self._clock.now())
            self._measure(opening.stream, feed)
            reason = opening.lost(quiet)
            if reason:
                self._sounded(None)  # what it had taken has gone with it
                return reason

    async def _wait(self, feed: Feed, seconds: float) -> None:
        """Until the device has taken sound, or a few silent blocks, or `seconds` have passed."""
        self._woken.clear()
        if not feed.taken:
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _account(self, feed: Feed) -> None:
        while feed.taken:
            self._took(feed.taken.popleft(), feed.block)

    def _took(self, taken: Taken, block: int) -> None:
        """The device has taken a block: it can no longer be called back."""
        self._place.observe(taken)
        if taken.samples is None:
            return
        start, spoken, t = self._place.of(taken, block)
        if taken.speech:
            self._sounding.append((taken.end, spoken))
        self._publisher.publish(PLAYBACK, t, Audio(taken.samples, self._place.rate, start))

    def _sounded(self, now: int | None) -> None:
        """Tell what has sounded by `now`; None: all that was taken."""
        while self._sounding and (now is None or self._sounding[0][1] <= now):
            end, t = self._sounding.popleft()
            self._report(end, t)

    def _report(self, end: int, t: int) -> None:
        self._played = end
        for listener in self._listeners:
            listener(end, t)

    def _measure(self, stream: SoundStream | None, feed: Feed) -> None:
        if feed.dry and self._clock.now() >= self._dry_ns:
            self._dry_ns = self._clock.now() + DRY_S * SECOND
            times = "once" if feed.dry == 1 else f"{feed.dry} times"
            self._tell(Fault(self.name, "Underrun", f"it ran dry {times}: this machine is overloaded."))
            self._tell(Recovered(self.name, "it plays on"))
            feed.dry = 0
        if self._clock.now() >= self._gauge_ns and stream is not None:
            self._gauge_ns = self._clock.now() + GAUGE_S * SECOND
            self._tell(Gauge(self.name, "latency_ms", stream.latency_ns / MS))

    # --- while it is not there

    @property
    def _waiting(self) -> bool:
        """Something is queued, as far as is known."""
        return self._outlet.written > self._played

    async def _await_device(self, reopening: "asyncio.Task[None]") -> None:
        """Wait for the device; tell who listens when what is queued has waited for too long."""
        self._since = self._clock.now()
        while not reopening.done():
            await asyncio.wait({reopening}, timeout=LOOK_S)
            now = self._clock.now()
            tried = self._feed is not None and self._feed.live  # a device has been opened, and may be playing
            if self._waiting and not tried and now - self._since >= WAIT_S * SECOND:
                self._since = now
                for gone in self._gone:
                    gone()

    async def _reopen(self, opening: Opening) -> None:
        await self._close(opening)
        for pause in backoff():
            await asyncio.sleep(pause)
            try:
                await self._open(opening)
            except SourceError:
                continue
            await asyncio.sleep(LOOK_S)
            if self._feed is not None and self._feed.taken:
                return
            await self._close(opening)

    async def _close(self, opening: Opening) -> None:
        """Close the device. What it has taken up to the end is counted: it cannot be called back."""
        feed = self._feed
        if feed is not None:
            feed.live = False
        await opening.close()
        if feed is not None:
            self._account(feed)
            self._sounded(None)

    def _tell(self, what: Feedback) -> None:
        self._publisher.publish(FEEDBACK, self._clock.now(), what)


class _Place:
    """Where and when the blocks of a device sound.

    rate: Hertz of the device
    """

    def __init__(self) -> None:
        self.rate = 0
        self._latency = 0
        self._end = self._t = 0  # sample after the last block on the session's clock; its time
        self._next = -1  # position of the block that follows on without a gap
        self._shift = self._base = 0

    def begin(self, rate: int, latency_ns: int) -> None:
        """A device has been opened."""
        self._end = -(-self._end * rate // self.rate) if self.rate else 0
        self.rate, self._latency, self._next, self._shift = rate, latency_ns, -1, 0
        self._clock = StreamClock(rate)

    def observe(self, taken: Taken) -> None:
        """A block was taken, silent or not."""
        if taken.position * 1000 < SETTLE_MS * self.rate:
            return
        self._clock.observe(taken.position + self._shift, taken.at)
        late = self._clock.late_ns
        if late > LATE_MS * MS:
            stood = round(late * self.rate / SECOND)
            self._shift += stood
            self._clock.skip(stood)

    def of(self, taken: Taken, block: int) -> tuple[int, int, int]:
        """Where the block begins (samples since session time 0), when its speech ends, and when it ends (ns)."""
        position = taken.position + self._shift
        begins = self._clock.time(position) + self._latency
        spoken = self._clock.time(position + taken.speech) + self._latency
        t = self._clock.time(position + block) + self._latency
        start = position + self._base
        if taken.position != self._next:  # it was silent before
            away = round(begins * self.rate / SECOND) - start
            if abs(away) * 1000 > ANEW_MS * self.rate:
                start += away
            start = max(start, self._end)
        else:
            start = self._end
        self._base = start - position
        self._next, self._end = taken.position + block, start + block
        self._t = max(t, self._t + 1)
        return start, spoken, self._t

"""The microphone of a robot that gives an address: HTTP or RTSP, any codec that FFmpeg has, as 16 kHz mono int16."""

import asyncio
from typing import Any

from streams.clock import MS, Clock
from streams.devices.absence import AWAY
from streams.devices.remote import SAMPLE, RemoteMicrophone
from streams.devices.robot_hearing import Hearing
from streams.devices.robot_microphone import Counted
from streams.errors import RealIOError, SourceError
from streams.pictures import anonymous
from streams.ports import Publisher
from streams.topics import AUDIO, FEEDBACK, Topic
from streams.types import Gauge

AGAIN_MS = 500
"""First wait before a lost stream is opened again; it doubles up to `AGAIN_MOST_MS`."""
AGAIN_MOST_MS = 4000
GAUGE_MS = 10_000
LEAVE_S = 0.5
STUCK = 3  # connections that do not come back from a call, before no more are tried


class StreamedMicrophone:
    """`streams.ports.Source` of AUDIO (16 kHz): the sound of a stream on the network, silence where none is.

    Everything that `RemoteMicrophone` says of time, loss and silence holds. A block is published when it has been
    decoded; there is no buffer in which sound could age. Its time is the count of its samples, laid along the least
    delayed arrivals, so the sender's clock may go as it will; `Gauge` "drift_ppm" tells how. A jump of the stream's own
    time stamps (10 ms to 2 s) is lost samples: `start` jumps, and a `Fault` "SamplesLost" tells how many. What a server
    had in store when it was connected is old, and passed over. Sound that comes faster than it lasts, three seconds
    ahead, is a file: the connection is given up.

    Entering raises `DependencyMissing` without PyAV, and `SourceError` if no sound comes. `run` needs real time (else
    `RealIOError`). No sound for 500 ms, a stream that ends, breaks or cannot be decoded: a `Fault` "SourceAway", then
    "SourceLost" unless it is back within `away_ms`, digital silence meanwhile, and `Recovered`. It is opened again
    after 0.5 s, then less and less often, up to 4 s, for ever. All say where="microphone". Cancelling `run` stops it at
    once; leaving waits half a second for the thread, which otherwise ends by itself when its call comes back.

    url: http, https, rtsp or rtsps;  from_whom: for messages to people
    open_ms: how long opening may take: FFmpeg looks at 64 kB of a WAV first, 4 s at 8 kHz
    read_ms: how long the next sound may take to come
    dropped: samples that the loop did not fetch in time;  damaged: packets that could not be decoded
    """

    name = "microphone"
    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(
        self, url: str, from_whom: str = "the robot", *, open_ms: int = 10_000, read_ms: int = 1500,
        away_ms: int = AWAY // MS,
    ) -> None:  # fmt: skip
        if not url.startswith(("http://", "https://", "rtsp://", "rtsps://")):
            raise SourceError(f"the microphone of {from_whom} is at {anonymous(url)!r}: only http and rtsp are opened.")
        self._url, self._shown = url, f"the microphone of {from_whom} ({anonymous(url)})"  # messages go far
        self._open, self._read = open_ms, read_ms
        self._microphone = RemoteMicrophone(away_ms=away_ms)
        self._hearing: Hearing | None = None
        self._left: list[Hearing] = []
        self._before = [0, 0]  # dropped and damaged, by connections that are closed
        self._place = 0

    @property
    def lost(self) -> int:
        """Samples that never came, or came too late."""
        return self._microphone.lost

    @property
    def dropped(self) -> int:
        """Samples that the loop did not fetch in time."""
        return self._before[0] + (self._hearing.dropped if self._hearing else 0)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return self._before[1] + (self._hearing.damaged if self._hearing else 0)

    @property
    def muted(self) -> bool:
        """Nobody is heard: samples are replaced by silence."""
        return self._microphone.muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._microphone.muted = muted

    async def __aenter__(self) -> "StreamedMicrophone":
        self._left, self._before = [], [0, 0]
        hearing = self._connect()
        try:
            arrived = await self._arrives(hearing)
        except asyncio.CancelledError:
            await self.__aexit__()
            raise
        if not arrived:
            await self.__aexit__()
            why = hearing.ended or f"no sound came within {(self._open + self._read) / 1000:g} s"
            raise SourceError(f"cannot hear {self._shown}: {why}. Does the address play in a media player?")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        hearing = self._hearing
        if hearing is not None:
            self._let_go(hearing)
            try:
                async with asyncio.timeout(LEAVE_S):
                    await hearing.gone.wait()
            except TimeoutError:
                pass
        await self._microphone.__aexit__(*exc)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what comes, and silence while nothing does, until cancelled."""
        if self._hearing is None:
            raise RuntimeError("enter the source before running it: `async with source`")
        if clock.virtual:
            raise RealIOError("a microphone on the network does not wait for virtual time: run live")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._microphone.run(bus, clock), name="sound of a robot")
            group.create_task(self._gauging(bus, clock), name="gauges of a robot's sound")
            while True:
                hearing = self._hearing
                hearing.begin(clock.now)
                why = await self._hear(hearing)
                self._microphone.detach(f"{self._shown} is away: {why}.")
                await self._again(clock)

    # --- inside

    def _connect(self) -> Hearing:
        self._hearing = hearing = Hearing(self._url, open_ms=self._open, read_ms=self._read)
        return hearing

    def _let_go(self, hearing: Hearing) -> None:
        self._before = [self.dropped, self.damaged]
        self._hearing = None
        hearing.leave()

    async def _arrives(self, hearing: Hearing) -> bool:
        """Whether sound comes in time."""
        try:
            async with asyncio.timeout((self._open + self._read) / 1000):
                await hearing.opened.wait()
        except TimeoutError:
            return False
        return hearing.ended is None

    async def _hear(self, hearing: Hearing) -> str:
        """Pass on what `hearing` brings until it ends; why."""
        microphone = self._microphone
        microphone.attach()  # another stream, whatever it was before
        blocks, self._place = Counted(microphone), 0
        while True:
            hearing.news.clear()
            for samples, missing in hearing.take():
                self._place += missing + len(samples)
                blocks.push(samples, missing, self._place * SAMPLE)
            if hearing.ended is not None:
                return hearing.ended
            try:
                async with asyncio.timeout(2 * self._read / 1000):  # its thread should have ended before
                    await hearing.news.wait()
            except TimeoutError:
                return f"no sound has come for {2 * self._read / 1000:g} s"

    async def _again(self, clock: Clock) -> None:
        """Open it again, and again, until sound comes."""
        wait = AGAIN_MS * MS
        while True:
            if self._hearing is not None:
                self._left.append(self._hearing)
                self._let_go(self._hearing)
            self._left = [each for each in self._left if not each.gone.is_set()]
            await clock.sleep_until(clock.now() + wait)
            wait = min(2 * wait, AGAIN_MOST_MS * MS)
            if len(self._left) < STUCK and await self._arrives(self._connect()):
                return

    async def _gauging(self, bus: Publisher, clock: Clock) -> None:
        while True:
            await clock.sleep_until(clock.now() + GAUGE_MS * MS)
            bus.publish(FEEDBACK, clock.now(), Gauge(self.name, "dropped", float(self.dropped)))
            bus.publish(FEEDBACK, clock.now(), Gauge(self.name, "damaged", float(self.damaged)))

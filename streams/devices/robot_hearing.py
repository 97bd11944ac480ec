"""One connection to sound on the network: a thread that reads it as it comes, as mono int16 of 16 kHz.

FFmpeg (through PyAV) opens the address, with as little waiting as it can be asked for. What it may open is narrow, for
the address came from a robot: streams over TCP and containers that hold sound themselves, no play lists, no files.
"""

import asyncio
import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streams.clock import MS, SECOND
from streams.devices.remote import RATE
from streams.errors import DependencyMissing
from streams.types import Samples

if TYPE_CHECKING:
    import av

PROTOCOLS = "http,https,tcp,tls,rtp"
"""None of these reads a file of this machine; UDP, pipes and the rest are not spoken."""
FORMATS = "wav,w64,aiff,au,caf,s16be,ogg,flac,mp3,aac,amr,matroska,webm,mpegts,rtsp"
"""Containers that name no other address in turn: no hls, dash, concat or sdp."""
OPTIONS = {
    "protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, "rtsp_transport": "tcp", "fflags": "nobuffer",
    "probesize": "8192", "analyzeduration": "200000", "seekable": "0", "icy": "0", "max_size": "1024",
    "allowed_media_types": "audio",
}  # fmt: skip
LEAST = 160
"""Samples of a block, except where the sound breaks off; what is missing is counted in so many."""
GAP_S, LONGEST_GAP_S = 0.010, 2.0
"""Between the time stamps of two frames: less is rounding, more is another stream."""
WAITING = 2 * RATE
"""Samples that wait for a loop that is stuck; then the oldest are dropped."""
WINDOW = 200 * MS
SETTLING = 10
"""So many windows at most until what a server had in store is through."""
LEAD = 3 * SECOND
"""Sound that has run ahead so far is no live sound."""
LOWEST, HIGHEST, CHANNELS = 4000, 192_000, 8
EXIT_S = 2.0


class Heard(NamedTuple):
    """A block. samples: int16[n];  missing: samples that were lost before it"""

    samples: Samples
    missing: int


class Hearing:
    """A connection, opened at once in its thread. Made on the event loop. Raises `DependencyMissing`.

    url: http, https, rtsp, rtsps;  open_ms: how long opening may take;  read_ms: how long the next sound may take

    opened: set when the first sound has come, or none will;  news: set when there is something to `take`
    gone: set when the thread has ended;  ended: why no more will come, None while it lives
    dropped: samples that the loop did not fetch in time;  damaged: packets that were none
    """

    def __init__(self, url: str, *, open_ms: int, read_ms: int) -> None:
        try:
            import av  # noqa: PLC0415 - an extra, and heavy
        except ModuleNotFoundError as error:
            raise DependencyMissing("av", "files", "a microphone at an address") from error
        self.opened, self.news, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ended: str | None = None
        self.dropped = self.damaged = 0
        self._av: Any = av
        self._url, self._times = url, (open_ms / 1000, read_ms / 1000)
        self._loop = asyncio.get_running_loop()
        self._now: Callable[[], int] | None = None
        self._leave = threading.Event()
        self._lock = threading.Lock()
        self._blocks: deque[Heard] = deque()
        self._waiting = 0
        _leaving[:] = [thread for thread in _leaving if thread.is_alive()]
        self._thread = threading.Thread(target=self._serve, name="visavis-hearing", daemon=True)
        self._thread.start()

    # --- on the loop

    def begin(self, now: Callable[[], int]) -> None:
        """Keep sound from now on. now: session time in ns; it is called in the thread."""
        self._now = now

    def take(self) -> list[Heard]:
        """What has come since the last time, in order."""
        with self._lock:
            blocks = list(self._blocks)
            self._blocks.clear()
            self._waiting = 0
        return blocks

    def leave(self) -> None:
        """End, as soon as the call in progress comes back. Idempotent, returns at once."""
        if not self._leave.is_set():
            self._leave.set()
            _leaving.append(self._thread)

    # --- in the thread

    def _serve(self) -> None:
        why = "it broke"
        try:
            why = self._read()
        finally:
            self.ended = why
            self._tell(self.opened, self.news, self.gone)

    def _read(self) -> str:
        try:
            container = self._av.open(self._url, options=dict(OPTIONS), timeout=self._times, metadata_errors="ignore")
        except (self._av.error.FFmpegError, ValueError) as error:
            return f"it does not open ({self._reason(error)})"
        try:
            if not container.streams.audio:
                return "there is no sound in it"
            return self._follow(self._frames(container))
        except (self._av.error.FFmpegError, ValueError) as error:
            return f"it brings no sound any more ({self._reason(error)})"
        finally:
            container.close()

    def _frames(self, container: Any) -> "Iterator[av.AudioFrame]":
        """Frames that can be decoded."""
        for packet in container.demux(container.streams.audio[0]):
            if self._leave.is_set():
                return
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.samples and LOWEST <= frame.sample_rate <= HIGHEST and frame.layout.nb_channels <= CHANNELS:
                    yield frame
                else:
                    self.damaged += 1

    def _follow(self, frames: "Iterator[av.AudioFrame]") -> str:
        """Take frame after frame, until there are no more; why there are none."""
        shape: Any = None
        resampler: Any = None
        expected: float | None = None
        pace: _Pace | None = None
        parts: list[Samples] = []
        have, missing = 0, 0.0
        for frame in frames:
            self._tell(self.opened)
            length = frame.samples / frame.sample_rate
            start = None if frame.pts is None or not frame.time_base else float(frame.pts * frame.time_base)
            gap = 0.0 if start is None or expected is None else start - expected
            expected = None if start is None else start + length
            if shape != (shape := (frame.format.name, frame.layout.name, frame.sample_rate)):
                resampler = self._av.AudioResampler("s16", "mono", RATE)  # the rate of a stream may change
            if self._now is None:
                continue
            now = self._now()
            if pace is None or pace.settling:
                pace = pace or _Pace(now)
                pace.settle(length, now)
                continue
            if pace.ahead(length, now) > LEAD:
                return "it comes faster than it sounds: that is a file, and no microphone"
            if GAP_S <= gap <= LONGEST_GAP_S:
                if have:
                    self._keep(np.concatenate(parts), 0)
                parts, have, missing = [], 0, missing + gap * RATE
                pace.ahead(gap, now)
            frame.pts = None
            made = [each.to_ndarray()[0] for each in resampler.resample(frame)]
            parts += made
            have += sum(map(len, made))
            if have >= LEAST:
                lost = int(missing) // LEAST * LEAST
                self._keep(np.concatenate(parts), lost)
                parts, have, missing = [], 0, missing - lost
        return "it was left" if self._leave.is_set() else "the stream has ended"

    def _keep(self, samples: Samples, missing: int) -> None:
        cut = LEAST if missing and len(samples) > LEAST else len(samples)
        with self._lock:
            for at, part in enumerate((samples[:cut], samples[cut:])):
                for place in range(0, len(part), RATE):
                    self._blocks.append(Heard(part[place : place + RATE], missing if at == place == 0 else 0))
            self._waiting += len(samples)
            while self._waiting > WAITING and len(self._blocks) > 1:
                old = self._blocks.popleft()
                gone = old.missing + len(old.samples)
                self.dropped += len(old.samples)
                self._waiting -= len(old.samples)
                self._blocks[0] = self._blocks[0]._replace(missing=self._blocks[0].missing + gone)
        self._tell(self.news)

    def _tell(self, *events: asyncio.Event) -> None:
        for event in events:
            try:
                if not event.is_set():
                    self._loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return

    def _reason(self, error: Exception) -> str:
        """What FFmpeg says, without the address: that may hold a password."""
        said = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, self._av.error.ExitError):
            said = "nothing has come in time"
        return " ".join(str(said).lower().split())[:120]


class _Pace:
    """How sound comes in, against the session's clock: what a server had in store is old, and passed over."""

    def __init__(self, now: int) -> None:
        self.settling = SETTLING
        self._since, self._came = now, 0.0
        self._lead = 0.0

    def settle(self, seconds: float, now: int) -> None:
        """So much has come. A window that brought little more than it lasted is the end of settling."""
        self._came += seconds * SECOND
        if now - self._since >= WINDOW:
            self.settling = self.settling - 1 if self._came > 1.5 * (now - self._since) else 0
            self._since, self._came = now, 0.0

    def ahead(self, seconds: float, now: int) -> float:
        """So much more has come: how far (ns) it is ahead of a clock that is 2 % faster. What was late is not owed."""
        self._lead = max(0.0, self._lead - 1.02 * (now - self._since)) + seconds * SECOND
        self._since = now
        return self._lead


_leaving: list[threading.Thread] = []  # left behind, and perhaps still in a call


@atexit.register
def _part() -> None:
    """Native code that comes back to an ending interpreter may abort it: give it the moment it takes at most."""
    left = [thread for thread in _leaving if thread.is_alive()]
    for thread in left:
        thread.join(EXIT_S / len(left))

"""The echo canceller as an encoder: what the microphone hears, without what the speaker plays."""

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from msgspec import Meta, Struct

from streams.audio.blocks import RATE, SAMPLE, Blocks
from streams.audio.echo import EARLIER, Canceller
from streams.audio.echo_reference import Reference
from streams.audio.spectra import Floats
from streams.clock import MS, SECOND
from streams.encoders.echo_playback import Playback
from streams.packet import Packet
from streams.ports import Emit
from streams.topics import AUDIO, CLEAN, PERCEPT, PLAYBACK, Topic
from streams.types import Audio, Echo, Samples

EVERY_S = 0.096  # between two percepts
PATIENCE = 32 * MS  # the longest that a hop of the microphone waits for a reference that comes late
RECENT = 100 * MS  # nothing played for so long: nothing is waited for
AGAIN = 6  # hops of the past that a late reference may still change
HOP_COST = 400_000  # ns


class EchoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the agent's own voice is kept out of what it hears.

    engine: "kalman" (ours: keeps a person's voice while both speak), "livekit" (WebRTC's, for sound that goes to
        people; needs the extra `livekit`) or "none" (headphones, or a device that cancels echo itself)
    tail_ms: how long an echo may last after its first sound
    noise_suppression: of the engine "livekit"
    """

    engine: Literal["kalman", "livekit", "none"] = "kalman"
    tail_ms: Annotated[int, Meta(ge=64, le=1000)] = 512
    noise_suppression: bool = False


class Engine(Protocol):
    """What takes the echo away, hop by hop: `streams.audio.echo.Canceller`, or WebRTC's.

    hop: samples at 16 kHz;  delay: samples by which `process` gives sound late
    skip: hops of the reference's newest part that it can do without;  see `Canceller` for the others
    """

    hop: int
    delay: int
    skip: int
    early: bool
    lag: int | None
    drift_ppm: float

    @property
    def active(self) -> bool:
        """Something is played, or what was played may still sound."""

    @property
    def similarity(self) -> float:
        """As in `Echo`."""

    @property
    def erle_db(self) -> float:
        """As in `Echo`."""

    def play(self, reference: Floats) -> None:
        """float32[hop] of what is played while the microphone hears what `process` is given next."""

    def replay(self, reference: Floats) -> None:
        """The last hops as they really were."""

    def advance(self) -> None:
        """From now on what is played is given `EARLIER` hops sooner."""

    def process(self, microphone: Floats) -> Floats:
        """float32[hop] of the microphone to as many, clean; the very same array if there is nothing to do."""

    def forget(self) -> None:
        """The sound jumped."""

    def reset(self) -> None:
        """As new."""


def echo_canceller(config: EchoConfig) -> "EchoCanceller | None":
    """The encoder that `config` asks for; None for "none". Raises `DependencyMissing`."""
    if config.engine == "none":
        return None
    if config.engine == "livekit":
        from streams.encoders.echo_livekit import LiveKitCanceller  # noqa: PLC0415 - optional

        return EchoCanceller(LiveKitCanceller(config.noise_suppression))
    return EchoCanceller(Canceller(config.tail_ms))


class EchoCanceller:
    """Reads AUDIO (16 kHz) and PLAYBACK (any rate), writes CLEAN and PERCEPT.

    CLEAN has every sample of AUDIO once (lost ones as silence) in blocks of 256, with `start` and `t` of those samples:
    times still mean when the sound happened. A block is published when the microphone's last sample of it has come,
    so it adds nothing to the wait of an encoder whose hop is a multiple of 256. If PLAYBACK comes later than the
    microphone hears it, the microphone waits for it as long as it was seen to be late, and 32 ms at most.
    `Echo` is published about ten times a second while the agent's voice sounds or may still do so.

    While nothing sounds, CLEAN is AUDIO bit by bit. Hops are cut at fixed places of the sample clock, so the output
    does not depend on the size of blocks as long as PLAYBACK comes before the microphone hears it; if it is late, it
    depends on the order of the packets of both topics, and on nothing else.

    engine: default `Canceller()`; one with another hop (WebRTC's: 160) has blocks of that size, and of one that gives
    sound late (WebRTC's: by 8 ms) the last samples come at the end
    """

    reads: tuple[Topic[Any], ...] = (AUDIO, PLAYBACK)
    writes: tuple[Topic[Any], ...] = (CLEAN, PERCEPT)

    def __init__(self, engine: Engine | None = None, name: str = "echo") -> None:
        self.name = name
        self._engine = engine or Canceller()
        self._hop = self._engine.hop
        self._every = round(EVERY_S * RATE / self._hop)
        self._silence: Floats = np.zeros(self._hop, np.float32)
        self._blocks = Blocks(self._hop, name)
        self._played = Playback()
        self._waiting: deque[tuple[int, Samples]] = deque()
        self._place: float | None = None  # in the reference, of the end of what was last played to the engine
        self._next: int | None = None  # index of the first sample of the hop to be cleaned next
        self._begin = 0
        self._now = self._last = 0  # of the microphone: time and index of the end of what has come
        self._hold = 0  # ns that a hop waits for the reference
        self._count = 0

    def cost(self, packet: Packet[Any]) -> int:
        """0 for blocks up to 32 ms, and while nothing sounds; else 0.4 ms a hop."""
        if packet.topic is PLAYBACK or not self._engine.active:
            return 0
        hops = len(packet.data.samples) // self._hop
        return hops * HOP_COST if hops * self._hop > RATE // 30 else 0

    def push(self, packet: Packet[Audio]) -> Sequence[Emit]:
        """The hops that are now clean. Raises `SourceError` unless AUDIO is at 16 kHz."""
        if packet.topic is PLAYBACK:
            self._amend(self._played.push(packet))
            return self._drain(self._now)
        audio = packet.data
        hops = self._blocks.push(packet)
        emits: list[Emit] = []
        if self._blocks.broken:
            emits.extend(self._drain(None))
            self._place = self._next = None
            self._engine.forget()
        if self._next is None:
            self._next = self._begin = audio.start
        self._waiting.extend(hops)
        self._now, self._last = packet.t, audio.end
        emits.extend(self._drain(packet.t))
        return emits

    def flush(self) -> Sequence[Emit]:
        """What is left: hops that waited, and the last samples short of a hop."""
        emits = self._drain(None)
        end, delay = self._now, self._engine.delay
        if self._next is None:
            return emits
        missing = self._last + delay - self._next
        if missing > 0:
            padding = np.zeros(-(-missing // self._hop) * self._hop - (self._last - self._next), np.int16)
            t = end + len(padding) * SAMPLE
            self._waiting.extend(self._blocks.push(Packet(AUDIO, t, 0, 0, 0, Audio(padding, RATE, self._last))))
            for topic, t, data in self._drain(None):
                if isinstance(data, Audio):
                    rest = min(len(data.samples), self._last - data.start)
                    if rest > 0:
                        emits.append(Emit(topic, min(t, end), Audio(data.samples[:rest], RATE, data.start)))
                elif t <= end:
                    emits.append(Emit(topic, t, data))
        return emits

    def reset(self) -> None:
        """As new."""
        self._blocks.reset()
        self._engine.reset()
        self._played.reset()
        self._waiting.clear()
        self._place = self._next = None
        self._now = self._last = self._hold = self._count = 0

    # --- inside

    def _drain(self, now: int | None) -> list[Emit]:
        """Clean the hops that need not wait; all if `now` is None."""
        emits: list[Emit] = []
        engine = self._engine
        while self._waiting:
            t, samples = self._waiting[0]
            if now is not None and now - t < self._hold and self._missing(t):
                break
            self._waiting.popleft()
            clean = self._clean(t, samples)
            start = (self._next or 0) - engine.delay
            self._next = (self._next or 0) + self._hop
            before = max(0, self._begin - start)  # of an engine that is late: from before the stream began
            if before < len(clean):
                emits.append(Emit(CLEAN, t - engine.delay * SAMPLE, Audio(clean[before:], RATE, start + before)))
            self._count += 1
            if engine.active and self._count % self._every == 0:
                lag = (engine.lag or 0) * 1e3 / RATE
                echo = Echo(round(float(engine.similarity), 3), round(float(engine.erle_db), 1), round(lag, 1))
                emits.append(Emit(PERCEPT, t, echo))
        return emits

    def _missing(self, t: int) -> bool:
        """The agent is speaking, and what it played up to `t` is not known as far as the engine needs it."""
        played = self._played
        if played.reference is None or self._place is None or played.t < t - RECENT:
            return False
        return played.end < self._place + (1 - self._engine.skip) * self._hop * self._step

    def _clean(self, t: int, samples: Samples) -> Samples:
        """int16[hop] of the microphone that end at `t`, without echo."""
        reference = self._played.reference
        if reference is None:
            self._engine.play(self._silence)
        else:
            if self._place is None:
                self._place = self._played.place(t) - self._hop * self._step
            if self._engine.early:
                for _ in range(EARLIER):
                    self._play(reference)
                self._engine.advance()
            self._play(reference)
        heard: Floats = (samples * np.float32(1 / 32768)).astype(np.float32)
        clean = self._engine.process(heard)
        if clean is heard:
            return samples
        wide: Samples = np.clip(np.rint(clean * np.float32(32768)), -32768, 32767).astype(np.int16)
        return wide

    def _play(self, reference: Reference) -> None:
        step = self._step
        self._place = (self._place or 0.0) + self._hop * step
        self._engine.play(reference.read(self._place, step, self._hop))

    def _amend(self, first: int) -> None:
        """What begins at `first` of the reference came late: play it again, and wait for its like from now on."""
        reference = self._played.reference
        if reference is None or self._place is None or first >= self._place + reference.reach:
            return
        step = self._step
        late = (self._place - self._engine.skip * self._hop * step - first) * SECOND / reference.rate
        if 0 < late < 2 * PATIENCE:
            self._hold = min(PATIENCE, max(self._hold, round(late) + MS))
        hops = min(AGAIN, int((self._place + reference.reach - first) / (self._hop * step)) + 2)
        self._engine.replay(reference.read(self._place, step, (hops + 1) * self._hop))

    @property
    def _step(self) -> float:
        """Samples of the reference for one of the microphone, by the drift as it is tracked."""
        rate = self._played.reference.rate if self._played.reference else RATE
        return rate / RATE * (1 - self._engine.drift_ppm * 1e-6)

"""Voice activity: is somebody speaking, hop by hop, and where does each stretch of speech begin and end.

`SileroVad` is the default: Silero VAD v6 (https://github.com/snakers4/silero-vad, MIT) on ONNX Runtime.
`WebRtcVad` is the fallback for when no model can be had: Google's WebRTC detector, far worse in noise.
Both cut speech into segments by one rule, `Segments`. Whether a silence is the end of a *turn* is decided elsewhere.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from streams import onnx
from streams.audio.blocks import RATE, SAMPLE, Blocks
from streams.clock import MS
from streams.errors import DependencyMissing
from streams.packet import Packet
from streams.ports import Emit
from streams.topics import AUDIO, PERCEPT, VOICE, Topic
from streams.types import Audio, Probability, Samples, SpeechEnded, SpeechStarted, Voice

MODEL = "silero-vad"  # its name in the model store


class VadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When speech begins and ends.

    threshold: probability at which a hop is voiced
    threshold_off: probability below which a hop is silent; between the two, things stay as they are
    min_speech_ms: voiced this long before a segment opens (at least two hops, so that a click opens none)
    min_silence_ms: silent this long before a segment closes; short, because patience is the turn-taker's
    refresh_ms: when nobody has spoken for so long, and again after as long, Silero forgets what is older than half of
        it, for else it goes deaf; 0 = never
    """

    threshold: Probability = 0.5
    threshold_off: Probability = 0.35
    min_speech_ms: Annotated[int, Meta(ge=0, le=10_000)] = 64
    min_silence_ms: Annotated[int, Meta(ge=0, le=10_000)] = 192
    refresh_ms: Annotated[int, Meta(ge=0, le=600_000)] = 2000

    def __post_init__(self) -> None:
        if self.threshold_off > self.threshold:
            raise ValueError(f"threshold_off = {self.threshold_off} is above threshold = {self.threshold}")
        if 0 < self.refresh_ms < 200:
            raise ValueError(
                f"refresh_ms = {self.refresh_ms} is too short to hear anything in: at least 200, or 0 = never"
            )


class Segments:
    """Turns one probability per hop into stretches of speech, with hysteresis. Pure: time is what `feed` is given.

    speaking: a segment is open;  count: segments so far
    """

    def __init__(self, config: VadConfig, hop_ns: int) -> None:
        self.config = config
        self.speaking = False
        self.count = 0
        self._hop = hop_ns
        self._min_speech = max(config.min_speech_ms * MS, 2 * hop_ns)
        self._min_silence = config.min_silence_ms * MS
        self._onset: int | None = None
        self._last = 0
        self._silent = True

    def feed(self, t: int, probability: float) -> Emit | None:
        """The hop that ends at `t` (ns) is voiced with `probability`: does a segment begin or end by it?"""
        if probability >= self.config.threshold:
            self._silent = False
        elif probability < self.config.threshold_off:
            self._silent = True
        if not self._silent:
            self._last = t
            if self._onset is None:
                self._onset = t - self._hop
            if not self.speaking and t - self._onset >= self._min_speech:
                self.speaking = True
                self.count += 1
                return Emit(PERCEPT, self._onset, SpeechStarted(self.count, t))
        elif self.speaking:
            if t - self._last >= self._min_silence:
                return self.close(t)
        else:
            self._onset = None
        return None

    def close(self, t: int) -> Emit | None:
        """No more will be heard of this stretch, decided at `t` (ns): ends the open segment, if any."""
        self._onset, self._silent = None, True
        if not self.speaking:
            return None
        self.speaking = False
        return Emit(PERCEPT, self._last, SpeechEnded(self.count, t))

    def reset(self) -> None:
        """As new."""
        self.__init__(self.config, self._hop)  # type: ignore[misc]


class _Detector(ABC):
    """What both detectors share: hops in, `Voice`, `SpeechStarted` and `SpeechEnded` out."""

    reads: tuple[Topic[Any], ...] = (AUDIO,)
    writes: tuple[Topic[Any], ...] = (VOICE, PERCEPT)

    def __init__(self, name: str, hop: int, config: VadConfig) -> None:
        self.name, self.config = name, config
        self._blocks = Blocks(hop, name)
        self._segments = Segments(config, hop * SAMPLE)
        self._t = 0

    def cost(self, packet: Packet[Any]) -> int:
        """0: a hop takes a fraction of a millisecond, less than a change of thread and back."""
        return 0

    def push(self, packet: Packet[Audio]) -> Sequence[Emit]:
        """One `Voice` per whole hop (its `t` is the end of the hop), and the segments that began or ended by it.

        Raises `SourceError` unless the audio is at 16 kHz.
        """
        hops = self._blocks.push(packet)
        emits: list[Emit] = []
        segments = self._segments
        if self._blocks.broken:
            # The stream jumped: what was open ended with the last hop, and the model must not remember it.
            ended = segments.close(self._t)
            if ended:
                emits.append(ended)
            self._forget()
        for t, samples in hops:
            probability = self._hear(samples)
            change = segments.feed(t, probability)
            if change:
                emits.append(change)
            emits.append(Emit(VOICE, t, Voice(probability, segments.speaking, level_db(samples))))
            self._t = t
        return emits

    def flush(self) -> Sequence[Emit]:
        """Ends the open segment, if any. Samples short of a hop are not judged."""
        ended = self._segments.close(self._t)
        return [ended] if ended else []

    def reset(self) -> None:
        """As new; segments count from 1 again."""
        self._blocks.reset()
        self._segments.reset()
        self._forget()
        self._t = 0

    @abstractmethod
    def _hear(self, samples: Samples) -> float: ...

    @abstractmethod
    def _forget(self) -> None: ...


class SileroVad(_Detector):
    """Silero VAD v6 at 16 kHz: reads AUDIO, writes VOICE (one per 32 ms) and PERCEPT.

    The graph: `input` float32[1, 576] = the last 64 samples of the hop before and 512 new ones in [-1, 1), `state`
    float32[2, 1, 128] carried from hop to hop, `sr` int64; out: `output` float32[1, 1], probability of speech.
    The model is shared by all sessions of the process; this object is the state of one.

    After a second of exact zeros (a muted microphone, the end of a file) its last answer stands until sound comes
    back: a call every 32 ms costs five times one in a loop (cold caches), and is most of what an idle session takes.
    Speech after longer silence is found 7 ms sooner to 6 ms later than if it were asked on.

    What it carries from hop to hop makes it deaf to single words, beside noise within seconds. So in a silence a second
    state begins from nothing, hears half of `refresh_ms` beside the first, and takes its place if nobody has spoken:
    docs/decisions/0019-the-voice-detector-goes-deaf.md. It costs half a call more while nobody speaks.

    providers: the CPU by default, since a trip to a GPU takes longer than the 60-250 us of a hop.
    Raises what `onnx.Model.load` raises.
    """

    HOP = 512
    CONTEXT = 64
    SETTLED = 32  # hops of exact zeros after which it is not asked again until sound comes back

    def __init__(self, path: Path, config: VadConfig | None = None, providers: Sequence[str] = ("cpu",)) -> None:
        super().__init__("vad", self.HOP, config or VadConfig())
        state = onnx.Tensor("float32", (2, 1, 128))
        width = self.CONTEXT + self.HOP
        self.model = onnx.Model.load(
            path,
            inputs={"input": onnx.Tensor("float32", (1, width)), "sr": onnx.Tensor("int64", ()), "state": state},
            outputs={"output": onnx.Tensor("float32", (1, 1)), "stateN": state},
            state={"state": "stateN"},
            providers=providers,
        )
        self._stream, self._next = self.model.stream(), self.model.stream()
        self._scale = np.float32(1 / 32768)
        self._refresh = self.config.refresh_ms * MS // (2 * self.HOP * SAMPLE) * 2  # hops
        self._zeros, self._answer, self._quiet = 0, 0.0, 0
        self._forget()

    def _hear(self, samples: Samples) -> float:
        if samples.any():
            self._zeros = 0
        elif self._zeros < self.SETTLED:
            self._zeros += 1
        else:
            return self._answer
        window = self._stream.inputs["input"][0]
        window[: self.CONTEXT] = window[-self.CONTEXT :]
        np.multiply(samples, self._scale, out=window[self.CONTEXT :])
        self._stream.step()
        self._answer = float(self._stream.outputs["output"][0, 0])
        self._follow(window)
        return self._answer

    def _follow(self, window: NDArray[np.float32]) -> None:
        """The second state hears the second half of a silence, and then is the first."""
        self._quiet = self._quiet + 1 if self._answer < self.config.threshold_off else 0
        if self._quiet <= self._refresh // 2 or not self._refresh:
            return
        if self._quiet == self._refresh // 2 + 1:
            self._fresh(self._next)
        self._next.inputs["input"][0] = window
        self._next.step()
        if self._quiet == self._refresh:
            self._stream, self._next = self._next, self._stream
            self._quiet = 0

    def _forget(self) -> None:
        self._fresh(self._stream)
        self._zeros, self._answer, self._quiet = 0, 0.0, 0

    @staticmethod
    def _fresh(stream: onnx.Stream) -> None:
        """`stream` has heard nothing yet."""
        stream.reset()
        stream.inputs["sr"][...] = RATE


class WebRtcVad(_Detector):
    """WebRTC's detector (Gaussian mixtures of 2011): the fallback when no model can be had.

    Its decision is yes or no, so `Voice.probability` is 1.0 or 0.0, once per 10 ms.
    mode: 0 (lets much through) to 3 (strict). Raises `DependencyMissing` without `webrtcvad-wheels`.
    """

    HOP = 160

    def __init__(self, config: VadConfig | None = None, mode: int = 3) -> None:
        super().__init__("vad", self.HOP, config or VadConfig())
        self._mode = mode
        self._forget()

    def _hear(self, samples: Samples) -> float:
        return float(self._vad.is_speech(samples.tobytes(), RATE))

    def _forget(self) -> None:
        try:
            import webrtcvad  # noqa: PLC0415 - optional
        except ImportError as error:
            raise DependencyMissing("webrtcvad-wheels", "fallback", "voice detection without a model file") from error
        self._vad = webrtcvad.Vad(self._mode)


def level_db(samples: Samples) -> float:
    """Root mean square of int16[samples] in dB of full scale, to a tenth; -120 for silence."""
    wide = samples.astype(np.float64)
    power = float(wide @ wide) / max(1, len(wide))
    return round(10 * math.log10(power / 32768.0**2), 1) if power > 0 else -120.0

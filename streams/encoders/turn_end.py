"""Has the speaker finished? Judged from the sound of the voice, while a silence grows.

Smart Turn v3.2 (https://github.com/pipecat-ai/smart-turn, BSD-2) on ONNX Runtime: a Whisper encoder with a small head.
One piece of evidence among several, and not the best one (`docs/decisions/0004-turn-end.md` has what it is worth): the
turn-taker fuses it with the words and the silence. Knows nothing of turns; a segment is one stretch of voice.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from streams import onnx
from streams.audio.blocks import RATE, SAMPLE, check_rate
from streams.audio.features import HOP, MELS, log_mel, normalised
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.ports import Emit
from streams.topics import AUDIO, PERCEPT, VOICE, Topic
from streams.types import Audio, Probability, Samples, TurnEnd, Voice

MODEL = "smart-turn"  # its name in the model store
NAME = "smart-turn-v3.2"
SPAN = 8 * RATE  # samples the model sees
PATIENCE = 60 * SECOND  # audio waits this long for its VOICE: as long as a lane holds


class TurnEndConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When the model is asked.

    at_ms: silences (since the last voiced hop) at which it is asked, at most once each per silence; ascending
    threshold, threshold_off: of the voice activity, as in `VadConfig`
    cost_ms: declared time of one evaluation, charged in virtual time
    """

    at_ms: tuple[Annotated[int, Meta(ge=0)], ...] = (160,)
    threshold: Probability = 0.5
    threshold_off: Probability = 0.35
    cost_ms: Annotated[int, Meta(ge=0)] = 100


class SmartTurn:
    """Reads AUDIO and VOICE, writes PERCEPT: `TurnEnd` when a segment's silence reaches one of `at_ms`.

    VOICE paces it: audio is kept, and judged up to the `t` of the `Voice` packet exactly, so the output does not depend
    on block sizes. The model takes float32[1, 80, 800], the log-mel of the last 8 s (zeros before the beginning,
    mean 0, variance 1), and gives float32[1, 1], which is a probability already. 40-100 ms of one core per call.
    Raises what `onnx.Model.load` raises.
    """

    name = "turn_end"
    reads: tuple[Topic[Any], ...] = (AUDIO, VOICE)
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(
        self, path: Path, config: TurnEndConfig | None = None, providers: Sequence[str] = ("tensorrt", "cuda", "cpu")
    ) -> None:
        self.config = config or TurnEndConfig()
        self.model = onnx.Model.load(
            path,
            inputs={"input_features": onnx.Tensor("float32", (1, MELS, SPAN // HOP))},
            outputs={"logits": onnx.Tensor("float32", (1, 1))},
            providers=providers,
        )
        self._at = tuple(sorted(at * MS for at in self.config.at_ms))
        self._speaking = False
        self.reset()

    def cost(self, packet: Packet[Any]) -> int:
        """The declared cost if this packet triggers an evaluation, else 0."""
        data = packet.data
        if isinstance(data, Voice) and self._due(packet.t, data):
            return self.config.cost_ms * MS
        return 0

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        """Keep audio, follow the voice, ask the model when it is time. Raises `SourceError` unless at 16 kHz."""
        data = packet.data
        if isinstance(data, Audio):
            self._keep(packet.t, data)
            return ()
        t, voice = packet.t, data
        due = self._due(t, voice)
        if voice.speaking and not self._speaking:
            self._segment += 1
        self._speaking = voice.speaking
        self._quiet = self._is_quiet(voice)
        if voice.speaking and not self._quiet:  # a click that opens no segment starts no silence either
            self._last, self._asked = t, 0
        self._drop(t)
        if not due:
            return ()
        silence = t - self._last
        self._asked = sum(at <= silence for at in self._at)
        features = log_mel(normalised(self._window(t)))[None]
        (probability,) = self.model.run({"input_features": features})
        return [Emit(PERCEPT, t, TurnEnd(self._segment, float(probability[0, 0]), silence, NAME))]

    def flush(self) -> Sequence[Emit]:
        """Nothing: an end of stream is no silence."""
        return ()

    def reset(self) -> None:
        """Forget the stream; as new."""
        self._kept: deque[tuple[int, Samples]] = deque()  # (session time of the end, samples)
        self._segment = 0
        self._speaking = False
        self._quiet = True
        self._last = 0
        self._asked = len(self._at)  # nobody has spoken: nothing to ask

    def _is_quiet(self, voice: Voice) -> bool:
        if voice.probability >= self.config.threshold:
            return False
        return voice.probability < self.config.threshold_off or self._quiet

    def _due(self, t: int, voice: Voice) -> bool:
        """Whether the silence has reached, with this hop, a length at which we have not asked yet."""
        asked = self._asked
        return asked < len(self._at) and self._is_quiet(voice) and t - self._last >= self._at[asked]

    def _keep(self, t: int, audio: Audio) -> None:
        check_rate(audio, self.name)
        if self._kept and t <= self._kept[-1][0]:
            self._kept.clear()  # the stream jumped back
        self._kept.append((t, audio.samples))
        self._drop(t - PATIENCE)  # should the voice activity have stopped

    def _drop(self, t: int) -> None:
        """Let go what no window that ends at `t` or later can reach."""
        oldest = t - SPAN * SAMPLE
        while self._kept and self._kept[0][0] <= oldest:
            self._kept.popleft()

    def _window(self, t: int) -> NDArray[np.float32]:
        """float32[128000]: the 8 s that end at `t`; silence where nothing was heard."""
        window = np.zeros(SPAN, np.float32)
        for end, samples in self._kept:
            stop = SPAN - round((t - end) / SAMPLE)
            start = stop - len(samples)
            low, high = max(start, 0), min(stop, SPAN)
            if low < high:
                window[low:high] = samples[low - start : high - start]
        window /= 32768.0
        return window

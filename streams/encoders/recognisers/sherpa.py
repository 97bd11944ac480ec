"""Open dictation with sherpa-onnx streaming transducers (https://github.com/k2-fsa/sherpa-onnx, Apache-2.0). Optional.

Written against sherpa-onnx 2.0.1: construction, errors and the port were run; no weights were at hand, so not one
word has been decoded by this file (docs/speech.md says what was never run). The recogniser's own endpoint detection
is off: the voice detector cuts the speech.
"""

from pathlib import Path
from typing import Any

import numpy as np

from streams.encoders.recognisers import RATE, HeardWord, Hypothesis
from streams.errors import DependencyMissing, ModelMissing
from streams.types import Samples

FILES = {"encoder": "encoder*.onnx", "decoder": "decoder*.onnx", "joiner": "joiner*.onnx", "tokens": "tokens.txt"}
# A transducer emits a token some frames after it has heard it and needs sound beyond the last: 0.66 s as in
# sherpa-onnx's own examples (python-api-examples/online-decode-files.py).
TAIL = np.zeros(int(0.66 * RATE), np.float32)
SPACE = "▁"  # begins a word in a SentencePiece vocabulary


class SherpaModel:
    """A streaming transducer, loaded once and shared: each recogniser is a stream of its own on it.

    folder: an unpacked release (`encoder*.onnx`, `decoder*.onnx`, `joiner*.onnx`, `tokens.txt`; int8 files are
        taken first where both are there);  threads: of one decoding step;  provider: "cpu" or "cuda"
    Raises `DependencyMissing` without sherpa-onnx, `ModelMissing` naming the file that is not in `folder`.
    """

    def __init__(self, folder: Path, threads: int = 1, provider: str = "cpu") -> None:
        files = {part: _find(folder, part, pattern) for part, pattern in FILES.items()}
        try:
            import sherpa_onnx  # noqa: PLC0415 - optional, and heavy
        except ImportError as error:
            raise DependencyMissing("sherpa-onnx", "sherpa", "dictation with sherpa-onnx") from error
        self.name = f"sherpa-onnx {folder.name}"
        self.transducer: Any = sherpa_onnx.OnlineRecognizer.from_transducer(
            **files, num_threads=threads, sample_rate=RATE, provider=provider, enable_endpoint_detection=False
        )

    def recogniser(self) -> "SherpaRecogniser":
        """A stream for one session; costs nothing."""
        return SherpaRecogniser(self.transducer)


class SherpaRecogniser:
    """One session's stream on a shared transducer (anything with the methods of `sherpa_onnx.OnlineRecognizer`)."""

    feed_cost = 150_000_000  # ns per second of sound; the vendor's figure for the int8 zipformer, not measured here
    finish_cost = 100_000_000
    joins = False

    def __init__(self, transducer: Any) -> None:
        self._transducer = transducer
        self._stream: Any = None
        self._fed = 0

    def start(self) -> None:
        """A fresh stream."""
        self._stream, self._fed = self._transducer.create_stream(), 0

    def feed(self, samples: Samples) -> None:
        """Decodes as many chunks of the model as are whole."""
        self._stream.accept_waveform(RATE, samples.astype(np.float32) / 32768)
        self._fed += len(samples)
        self._decode()

    def partial(self) -> Hypothesis:
        """The text so far; a transducer seldom takes a word back."""
        return self._hypothesis()

    def finish(self) -> Hypothesis:
        """Decodes what is left, with silence behind it."""
        self._stream.accept_waveform(RATE, TAIL)
        self._stream.input_finished()
        self._decode()
        heard = self._hypothesis()
        self._stream = None
        return heard

    def reset(self) -> None:
        """Nothing is learnt from one stretch to the next."""
        self._stream = None

    def _decode(self) -> None:
        while self._transducer.is_ready(self._stream):
            self._transducer.decode_stream(self._stream)

    def _hypothesis(self) -> Hypothesis:
        result = self._transducer.get_result_all(self._stream)
        words = words_of(result.tokens, result.timestamps, result.ys_probs, self._fed)
        if not words:
            return Hypothesis()
        return Hypothesis(
            " ".join(word.text for word in words), tuple(words), min(word.confidence for word in words), complete=False
        )


def words_of(tokens: list[str], times: list[float], log_probs: list[float], samples: int) -> list[HeardWord]:
    """Words of subword `tokens`, each token with its begin in s and, where the model gives one, its log probability.

    A word ends where the next begins, or after 0.4 s, or with the sound (`samples`); its confidence is the mean
    probability of its tokens: not calibrated.
    """
    words: list[HeardWord] = []
    probabilities: list[float] = []
    for place, (token, time) in enumerate(zip(tokens, times)):
        probability = float(np.exp(log_probs[place])) if place < len(log_probs) else 1.0
        text, start = token.lower(), round(time * RATE)
        if words and not text.startswith((SPACE, " ")):
            probabilities.append(probability)
            last = words[-1]
            words[-1] = HeardWord(last.text + text, last.start, start, float(np.mean(probabilities)))
        else:
            probabilities = [probability]
            words.append(HeardWord(text.lstrip(SPACE + " "), start, start, probability))
    ends = [word.start for word in words[1:]] + [samples]
    pause = int(0.4 * RATE)
    spoken = (word._replace(end=max(word.end, min(end, word.end + pause))) for word, end in zip(words, ends))
    return [word for word in spoken if word.text]


def _find(folder: Path, part: str, pattern: str) -> str:
    found = sorted(folder.glob(pattern), key=lambda path: ("int8" not in path.name, path.name))
    if not found:
        raise ModelMissing(
            f"no {part} ({pattern}) in {folder}: unpack a streaming transducer of sherpa-onnx there "
            "(docs/speech.md names them), or choose another recogniser"
        )
    return str(found[0])

"""Open dictation with Moonshine's streaming models (https://github.com/moonshine-ai/moonshine). Optional.

The code is MIT, the English models too; models of other languages are for non-commercial use only. Written against
moonshine-voice 0.1.5: construction, errors and the port were run; no weights were at hand, so not one word has been
decoded by this file (docs/speech.md says what was never run).

The library's own pacing reads the wall clock (its update interval widens when a pass was slow), which no replay could
repeat. So it is switched off, and transcription is asked for at fixed amounts of sound instead.
"""

import math
import re
from pathlib import Path
from typing import Any, Literal

from streams.encoders.recognisers import RATE, HeardWord, Hypothesis
from streams.errors import DependencyMissing, ModelError, ModelMissing
from streams.types import Samples

Size = Literal["tiny", "small", "medium"]
NEVER = math.inf


class MoonshineModel:
    """A streaming model, loaded once and shared: each recogniser is a stream of its own on it.

    folder: the files of one model (`encoder.ort`, `tokenizer.bin`, `streaming_config.json`, …)
    size: which architecture they are;  every_ms: sound between two partial transcriptions
    Raises `DependencyMissing` without moonshine-voice, `ModelMissing` without the folder, `ModelError` with the
    library's words if it cannot load them.
    """

    def __init__(self, folder: Path, size: Size = "small", every_ms: int = 480) -> None:
        if not (folder / "tokenizer.bin").is_file():
            raise ModelMissing(
                f"no Moonshine model in {folder} (tokenizer.bin is not there): fetch its files first "
                "(docs/speech.md names them), or choose another recogniser"
            )
        try:
            import moonshine_voice  # noqa: PLC0415 - optional, and heavy
        except ImportError as error:
            raise DependencyMissing("moonshine-voice", "moonshine", "dictation with Moonshine") from error
        self.name = f"moonshine {size}"
        self.every = every_ms * RATE // 1000
        try:
            self.transcriber: Any = moonshine_voice.Transcriber(
                folder,
                moonshine_voice.ModelArch[f"{size.upper()}_STREAMING"],
                update_interval=NEVER,
                options={"word_timestamps": "true"},
            )
        except moonshine_voice.MoonshineError as error:
            raise ModelError(f"Moonshine cannot load {folder} as its {size} streaming model: {error}") from error

    def recogniser(self) -> "MoonshineRecogniser":
        """A stream for one session."""
        return MoonshineRecogniser(self.transcriber, self.every)


class MoonshineRecogniser:
    """One session's stream (`transcriber`: anything with the methods of `moonshine_voice.Transcriber`)."""

    feed_cost = 250_000_000  # ns per second of sound; the vendor's order of magnitude, not measured here
    finish_cost = 100_000_000
    joins = False

    def __init__(self, transcriber: Any, every: int) -> None:
        self._transcriber, self._every = transcriber, every
        self._stream: Any = None
        self._fed = self._asked = 0
        self._heard = Hypothesis()

    def start(self) -> None:
        """A fresh stream."""
        self.reset()
        self._stream = self._transcriber.create_stream(update_interval=NEVER)
        self._stream.start()

    def feed(self, samples: Samples) -> None:
        """Buffers in the library; transcribes when `every` samples have come since the last time."""
        self._stream.add_audio((samples / 32768.0).tolist(), RATE)
        self._fed += len(samples)
        if self._fed - self._asked >= self._every:
            self._asked = self._fed
            self._heard = hypothesis_of(self._stream.update_transcription())

    def partial(self) -> Hypothesis:
        """What the last transcription said."""
        return self._heard

    def finish(self) -> Hypothesis:
        """Transcribes what is left and frees the stream. Raises `ModelError` if the library gives up."""
        transcript = self._stream.stop()
        self._stream.close()
        self._stream = None
        if transcript is None:  # the library tells its listeners of an error instead of raising it
            raise ModelError("Moonshine failed to transcribe the end of a stretch of speech")
        self._heard = hypothesis_of(transcript)
        return self._heard

    def reset(self) -> None:
        """Nothing is learnt from one stretch to the next."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._fed = self._asked = 0
        self._heard = Hypothesis()


def hypothesis_of(transcript: Any) -> Hypothesis:
    """A `moonshine_voice.Transcript`, its lines joined; punctuation goes, letters become small.

    Word times are taken as seconds since the start of the stream; confidence is the least of the words', as the
    library gives it: not calibrated.
    """
    words = [
        HeardWord(text, round(word.start * RATE), round(word.end * RATE), float(word.confidence))
        for line in transcript.lines
        for word in line.words or ()
        if (text := _plain(word.word))
    ]
    text = " ".join(_plain(line.text) for line in transcript.lines).strip()
    if not text:
        return Hypothesis()
    return Hypothesis(text, tuple(words), min((word.confidence for word in words), default=1.0), complete=False)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower().replace("’", "'")).split())

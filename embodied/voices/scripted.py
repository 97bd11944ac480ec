"""A voice without speech: each word a tone of its own, so that a test can find every word in the sound."""

from collections.abc import Iterator
from zlib import crc32

import numpy as np

from embodied.ports import Chunk, Mark
from embodied.voices.words import written_words
from streams.types import Samples, Tone

_MS = 1_000_000


class ToneVoice:
    """`embodied.ports.Voice`: every word a tone of `word_ms`, its pitch made of its letters, then `gap_ms` of silence.

    rate: Hertz;  level: peak of the tones, of int16;  cost: declared ns until the first chunk.
    One chunk a word, with its mark; the marks are exact to the sample. Deterministic, needs nothing, fails never.
    """

    name = "tone"

    def __init__(
        self, rate: int = 16000, word_ms: int = 200, gap_ms: int = 50, level: int = 8000, cost: int = 5 * _MS
    ) -> None:
        self.rate = rate
        self.cost = cost
        self.word = rate * word_ms // 1000
        self.gap = rate * gap_ms // 1000
        self.level = level

    def speak(self, text: str, *, pace: float = 1.0, tone: Tone = "") -> Iterator[Chunk]:
        """One chunk for each word of `text`. pace: words and gaps are shorter by it;  tone: makes no difference."""
        place, long, gap = 0, round(self.word / pace), np.zeros(round(self.gap / pace), np.int16)
        for word in written_words(text):
            samples = np.concatenate([self.tone(word.text, long), gap])
            yield Chunk(samples, (Mark(word.text, place, place + long),))
            place += len(samples)

    def tone(self, word: str, samples: int | None = None) -> Samples:
        """int16[samples]: the sound of `word`, no sample of it 0 but where the wave crosses. None: its usual length."""
        hertz = 300 + crc32(word.encode(errors="replace")) % 1500
        phase = 2 * np.pi * hertz * np.arange(self.word if samples is None else samples) / self.rate
        return np.round(self.level * np.sin(phase + 0.5)).astype(np.int16)

    def close(self) -> None:
        """Nothing to give back."""

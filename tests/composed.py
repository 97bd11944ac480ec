"""Composed dialogues: a sound file in which everything is known, and a recogniser that hears exactly that.

A scene is a list of lines with the session times at which a synthesised person begins them, over a quiet room. What is
said is known to the sample, so that a test can measure from the *true* end of a word. The recogniser `score` reads the
lines out of a file beside the sound instead of guessing: words come out `LATE_MS` after they have been heard, as a
streaming recogniser's do, and whether one was understood never hinges on how good a recogniser is. All else is real.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.resample import Resampler
from streams.audio.wav import write_wav
from streams.encoders.recognisers import HeardWord, Hypothesis
from streams.types import Samples

RATE = 16_000
LATE_MS = 60
LOOK = 160  # samples by which the recogniser knows where in the scene it is: the room's noise is never the same twice


class Said(Struct, frozen=True):
    """One line of the person.

    at: when it begins, s;  known: inside the recogniser's grammar;  whole: a whole sentence of it
    """

    at: float
    text: str
    known: bool = True
    whole: bool = True
    voice: str = "en-us+f3"
    rate_wpm: int = 150


class Take(NamedTuple):
    """A synthesised line: int16[samples] at 16 kHz, and (word, first sample, sample after the last) of each word."""

    samples: Samples
    words: tuple[tuple[str, int, int], ...]


class Score(Struct, frozen=True):
    """What is said when, in samples from session time 0: (word, start, end) of each line."""

    lines: tuple[tuple[tuple[str, int, int], ...], ...]
    known: tuple[bool, ...]
    whole: tuple[bool, ...]
    sound: str

    def end_ns(self, line: int, word: int = -1) -> int:
        """Session time of the true end of a word."""
        return self.lines[line][word][2] * 1_000_000_000 // RATE

    def start_ns(self, line: int, word: int = 0) -> int:
        """Session time of the true begin of a word."""
        return self.lines[line][word][1] * 1_000_000_000 // RATE


@cache
def take(text: str, voice: str = "en-us+f3", rate_wpm: int = 150) -> Take:
    """`text` as that voice says it, its peak at -6 dB."""
    speaker = EspeakVoice(Espeak(language=voice, rate_wpm=rate_wpm))
    try:
        chunks = list(speaker.speak(text))
    finally:
        speaker.close()
    resampler = Resampler(speaker.rate, RATE)
    pieces = [resampler.push(chunk.samples) for chunk in chunks]
    sound = np.concatenate([*pieces, resampler.finish()]).astype(np.float32)
    sound *= 16_000 / np.abs(sound).max()
    samples = np.rint(sound).astype(np.int16)
    ratio = RATE / speaker.rate
    marks = [mark for chunk in chunks for mark in chunk.marks]
    bounds = [round(mark.start * ratio) for mark in marks] + [len(samples)]
    words = []
    for mark, first, after in zip(marks, bounds, bounds[1:]):
        loud = np.flatnonzero(np.abs(samples[first:after]) > 160)  # 40 dB below the peak
        words.append((mark.text.lower(), first + int(loud[0]), first + int(loud[-1]) + 1))
    return Take(samples, tuple(words))


def compose(folder: Path, lines: Sequence[Said], *, length: float = 0.0, name: str = "scene", seed: int = 7) -> Path:
    """Write `name`.wav and `name`.json (for the recogniser `score`) into `folder`; returns the sound's path.

    length: s, at least; else the scene ends a quarter of a second after the last line
    """
    takes = [(round(line.at * RATE), take(line.text, line.voice, line.rate_wpm)) for line in lines]
    end = max([round(length * RATE), *(start + len(each.samples) + RATE // 4 for start, each in takes)])
    room = np.random.default_rng(seed).normal(0, 16, end)
    for start, each in takes:
        room[start : start + len(each.samples)] += each.samples
    sound = np.clip(np.rint(room), -32768, 32767).astype(np.int16)
    path = folder / f"{name}.wav"
    write_wav(path, [sound], RATE)
    score = Score(
        tuple(tuple((word, start + a, start + b) for word, a, b in each.words) for start, each in takes),
        tuple(line.known for line in lines),
        tuple(line.whole for line in lines),
        str(path),
    )
    path.with_suffix(".json").write_bytes(msgspec.json.encode(score))
    return path


def score_of(path: Path) -> Score:
    """The score beside a composed sound."""
    return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Score)


def reads_along(config: Any, _grammar: str) -> "ScoreReader":
    """Factory of the recogniser `score`: `speech.jsgf` names the score's file."""
    return ScoreReader(msgspec.json.decode(Path(config.speech.jsgf).read_bytes(), type=Score))


class ScoreReader:
    """A `Recogniser` that finds its place in the composed sound by the sound itself, and reads the words there."""

    feed_cost = 20_000_000
    finish_cost = 5_000_000
    joins = False

    def __init__(self, score: Score) -> None:
        self.score = score
        self._scene = read_wav(Path(score.sound))[0].tobytes()
        self.start()

    def start(self) -> None:
        self._fed = 0
        self._place: int | None = None  # in the scene, of the sample after the last fed
        self._tail = np.zeros(0, np.int16)

    def feed(self, samples: Samples) -> None:
        self._fed += len(samples)
        self._tail = np.concatenate([self._tail, samples])[-LOOK:]
        if self._place is not None:
            self._place += len(samples)
        elif len(self._tail) == LOOK:
            at = self._scene.find(self._tail.tobytes())
            while at % 2 and at >= 0:
                at = self._scene.find(self._tail.tobytes(), at + 1)
            self._place = at // 2 + LOOK if at >= 0 else None

    def partial(self) -> Hypothesis:
        return self._heard(LATE_MS * RATE // 1000)

    def finish(self) -> Hypothesis:
        return self._heard(0)

    def reset(self) -> None:
        self.start()

    def _heard(self, late: int) -> Hypothesis:
        if self._place is None:
            return Hypothesis()
        begin, until = self._place - self._fed, self._place - late
        heard, guess, whole = [], [], True
        for line, known, complete in zip(self.score.lines, self.score.known, self.score.whole):
            words = [HeardWord(w, a - begin, b - begin) for w, a, b in line if a >= begin - RATE // 10 and b <= until]
            if words:
                (heard if known else guess).extend(words)
                whole = whole and complete and len(words) == len(line)
        text = " ".join(word.text for word in heard)
        if not heard:
            return Hypothesis(guess=" ".join(word.text for word in guess))
        return Hypothesis(text, tuple(heard), 1.0, whole)


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """int16[samples] of a mono WAV file, and its rate."""
    import wave

    with wave.open(str(path)) as file:
        assert file.getnchannels() == 1
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16), file.getframerate()

"""What people say to an agent in these scenes: sentences with and without pauses, in several voices, and read aloud."""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from streams.audio.wav import write_wav
from tests.composed import RATE, Said, Score, compose, score_of, take

VOICES = (
    ("en-us+f3", 150),
    ("en-us+m3", 170),
    ("en-us+m1", 140),
    ("en-us+f1", 185),
    ("en-us+m7", 160),
    ("en-us+f4", 120),
)
KNOWN = (
    "what time is it",
    "what is seven times eight",
    "set a timer for five minutes",
    "turn left",
    "what can you do",
    "go forward two meters",
)
OPEN = (
    "how do rainbows come about",
    "tell me something about the history of this town",
    "is it going to rain tomorrow afternoon",
    "who wrote the book that lies on the table",
    "why is the sea salty and the lake is not",
    "could you please explain the rules of chess",
    "what would you cook with rice and tomatoes",
    "remind me to call my sister when i am back home",
)
PAUSED = (
    ("i would like to know", "how far it is to the moon"),
    ("if we leave at seven", "when do we get there"),
    ("tell me about the", "big lake in the north"),
    ("my brother says", "that cats can swim", "is that true"),
    ("how long does it take to", "boil an egg"),
    ("we need flour and", "sugar and four eggs", "what else"),
    ("yesterday i saw a bird", "it was blue and very small"),
    ("what is the name of", "the man who built this bridge"),
)
PAUSES_MS = (150, 250, 350, 500, 700, 900)


class Talk(NamedTuple):
    """A composed sound. ends_ns: true ends of its turns, in order"""

    sound: Path
    ends_ns: tuple[int, ...]


def plain(folder: Path, sentences: Sequence[str], name: str, voice: tuple[str, int] = VOICES[0]) -> Talk:
    """Each sentence in one go, with enough time for an answer after each."""
    lines = [Said(0.6 + 5.5 * n, text, voice=voice[0], rate_wpm=voice[1]) for n, text in enumerate(sentences)]
    sound = compose(folder, lines, length=0.6 + 5.5 * len(lines), name=name)
    score = score_of(sound)
    return Talk(sound, tuple(score.end_ns(line) for line in range(len(lines))))


def paused(
    folder: Path,
    sentences: Sequence[Sequence[str]],
    name: str,
    voice: tuple[str, int] = VOICES[0],
    pauses_ms: Sequence[float] = PAUSES_MS,
) -> Talk:
    """Each sentence in pieces with silence between, from the true end of one to the true begin of the next."""
    lines: list[Said] = []
    last: list[int] = []
    at, count = 0.6, 0
    for pieces in sentences:
        for place, text in enumerate(pieces):
            made = take(text, *voice)
            first, after = made.words[0][1] / RATE, made.words[-1][2] / RATE
            if place:
                at += pauses_ms[count % len(pauses_ms)] / 1000 - first
                count += 1
            lines.append(Said(at, text, voice=voice[0], rate_wpm=voice[1]))
            at += after
        last.append(len(lines) - 1)
        at += 5.0
    sound = compose(folder, lines, length=at, name=name)
    score = score_of(sound)
    return Talk(sound, tuple(score.end_ns(line) for line in last))


class _Aligned(msgspec.Struct):
    b: float
    d: float
    t: str


class _Alignment(msgspec.Struct):
    w: list[_Aligned]


def read_aloud(folder: Path, recordings: Path, name: str) -> Talk:
    """Real recordings that come with the times of their words (`*.align.json`), one turn each."""
    room = [np.random.default_rng(7).normal(0, 16, RATE)]
    at, lines = RATE, []
    for path in sorted(recordings.glob("*.align.json")):
        with wave.open(str(path).replace(".align.json", ".wav")) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        words = msgspec.json.decode(path.read_bytes(), type=_Alignment).w
        lines.append(
            tuple(
                (each.t.partition("(")[0], at + round(each.b * RATE), at + round((each.b + each.d) * RATE))
                for each in words
                if not each.t.startswith("<")
            )
        )
        length = len(sound) + 5 * RATE
        noise = np.random.default_rng(at).normal(0, 16, length)
        noise[: len(sound)] += sound
        room.append(noise)
        at += length
    path = folder / f"{name}.wav"
    write_wav(path, [np.clip(np.rint(np.concatenate(room)), -32768, 32767).astype(np.int16)], RATE)
    score = Score(tuple(lines), (True,) * len(lines), (False,) * len(lines), str(path))
    path.with_suffix(".json").write_bytes(msgspec.json.encode(score))
    return Talk(path, tuple(score.end_ns(line) for line in range(len(lines))))

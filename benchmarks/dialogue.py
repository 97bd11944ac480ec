"""Somebody who talks for a given part of the time: the sound that benchmarks of whole sessions run on.

Sentences of the agent's own grammar, spoken by espeak-ng, and real recordings in between where a folder of them is
given: speech outside the grammar costs more than speech inside, because what is rejected may be decoded twice.
"""

from pathlib import Path

import numpy as np

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.blocks import RATE
from streams.audio.decode import Decoder
from streams.audio.resample import Resampler
from streams.types import Samples

SENTENCES = (
    "hello there",
    "what time is it",
    "what is seven times eight",
    "go forward two meters",
    "what did you just say",
    "set a timer for five minutes",
    "turn left",
    "what can you do",
)


def real(folder: Path) -> list[Samples]:
    """Recordings of speech below `folder`, each int16[samples] at 16 kHz."""
    clips: list[Samples] = []
    for path in sorted((*folder.glob("speech/*.wav"), *folder.glob("turn/*.wav"), *folder.glob("commands/*.raw"))):
        decoder = Decoder(path, RATE, None)
        clips.append(decoder.read(8 * RATE))
        decoder.close()
    return clips


def spoken() -> list[Samples]:
    """`SENTENCES` by espeak-ng, each int16[samples] at 16 kHz."""
    voice = EspeakVoice(Espeak(language="en-us+f3", rate_wpm=150))
    clips: list[Samples] = []
    for text in SENTENCES:
        resampler = Resampler(voice.rate, RATE)
        pieces = [resampler.push(chunk.samples) for chunk in voice.speak(text)]
        clips.append(np.concatenate([*pieces, resampler.finish()]))
    voice.close()
    return clips


def dialogue(clips: list[Samples], seconds: float, fraction: float) -> Samples:
    """int16[samples]: `clips` in turn, `fraction` of `seconds` long, at even distances in the noise of a quiet room."""
    length = int(seconds * RATE)
    room = np.random.default_rng(7).normal(0, 16, length)
    said: list[Samples] = []
    while clips and sum(map(len, said)) < fraction * length:
        said.append(clips[len(said) % len(clips)])
    pause = (length - sum(map(len, said))) // (len(said) + 1)
    if pause < 0:
        raise ValueError(f"{fraction:.0%} of {seconds:.0f} s is less than the clips need: take more seconds")
    start = pause
    for clip in said:
        room[start : start + len(clip)] += clip * (8000 / max(1, int(np.abs(clip.astype(np.int32)).max())))
        start += len(clip) + pause
    samples: Samples = np.clip(np.rint(room), -32768, 32767).astype(np.int16)
    return samples


def mixed(folder: Path | None) -> tuple[list[Samples], str]:
    """The clips there are, and a word on what they are: real and synthesised ones in turn."""
    ours = spoken()
    theirs = real(folder) if folder is not None and folder.is_dir() else []
    if not theirs:
        return ours, f"{len(ours)} sentences by espeak-ng"
    step = max(1, len(theirs) // 16)
    theirs = theirs[::step]
    both = [clip for n, other in enumerate(theirs) for clip in (ours[n % len(ours)], other)]
    return both, f"{len(theirs)} real recordings and {len(ours)} sentences by espeak-ng, in turn"

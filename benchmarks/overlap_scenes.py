"""Scenes of what is heard over a talking agent: interruptions, listeners' murmurs, speech to others, and noise.

Somebody asks for a story, at a level that then counts as usual, and over the story come events: real recordings where
a folder of them is given, voices of espeak-ng, and noises made of shaped bursts, resonances and chords. Every scene is
drawn from a seed; the two halves ("tuned" and "held out") share no voice, no recording, no text of their own and no
room, and a third cast shares nothing with them but the rooms. All sound is float32[samples] at 16 kHz in [-1, 1]; an
event's level is its active root mean square.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.decode import Decoder
from streams.audio.resample import Resampler
from streams.types import Samples
from tests.room import RATE, Sound, active_rms, at_level, convolve, normal, pink, walls

USUAL_DB = -26.0
ASK = "what can you do"
Kind = Literal["interruption", "backchannel", "aside", "noise"]

IN_GRAMMAR = (
    ("what time is it", "turn left", "go forward two meters", "what is seven times eight", "what is the date"),
    ("who are you", "turn around", "set a timer for five minutes", "what year is it", "what is six plus nine"),
    ("turn right", "what day is it", "go back one meter", "what is nine minus four", "set a timer for ten minutes"),
)
OTHERS = (
    (
        "wait, I would like to hear another one",
        "no, that is not what I meant",
        "can you tell me about the weather instead",
        "sorry, who was that man again",
    ),
    (
        "hang on, I have a question about this",
        "actually I would rather listen to some music",
        "where did you hear about all this",
        "excuse me, could we talk about dinner",
    ),
    (
        "I think you have got that wrong",
        "please tell my brother to call me back",
        "maybe we should begin again",
        "but why did he go there at all",
    ),
)
SHORT = (("hold on", "wait a moment"), ("just a second", "excuse me"), ("one moment", "listen to me"))
MURMURS = (
    ("uh-huh", "mm-hmm", "yeah", "right", "okay", "i see", "sure", "oh", "mhm", "got it"),
    ("uh-huh", "hmm", "mm-hmm", "yes", "oh really", "all right", "aha", "wow", "okay", "yeah"),
    ("mhm", "yep", "right", "i know", "true", "uh-huh", "ah", "nice", "of course", "mm"),
)
VOICES = (
    ("en-us", "en-us+f3", "en-gb-x-rp+m3", "de", "en-gb-scotland+f2", "es+m2"),
    ("en-gb-x-rp", "en-us+m5", "en-us+f4", "de+f3", "en-gb-x-gbclan", "it+m1"),
    ("en-029", "en-us+m7", "en-us+f2", "fr+f1", "en-gb-x-gbcwmd", "nl+m4"),
)
ASKERS = ("en-us+f3", "en-us+m5", "en-us+m1")


class Event(NamedTuple):
    """Something over the agent. kind, what: class and sub-class;  start, end: s;  text: what is said, if known
    level_db: against the usual;  long: it goes on through the answer
    """

    kind: Kind
    what: str
    start: float
    end: float
    text: str
    level_db: float
    long: bool = False


class Scene(NamedTuple):
    """One session. sound: int16[samples] for the microphone;  snr_db: of usual speech to the noise of the room"""

    name: str
    sound: Samples
    events: tuple[Event, ...]
    snr_db: float


class Cast:
    """The voices, recordings and rooms of one half.

    half: 0 or 1, or 2 for a third of other voices and recordings still;  recordings: a folder of speech, or None
    """

    def __init__(self, half: int, recordings: Path | None) -> None:
        self.half = half
        self.voices = VOICES[half]
        files = [] if recordings is None else _others(recordings) if half == 2 else _files(recordings)[half::2]
        self.clips = [clip for path in files for clip in _pieces(_read(path))]
        rooms = sorted(recordings.glob("rir/*.wav"))[half % 2 :: 2] if recordings else []
        self.rooms = [normal(_read(path)) for path in rooms] + [walls(0.3 + 0.1 * half, half), walls(0.6, 10 + half)]
        diffuse = sorted(recordings.glob("*/noise*.flac")) if recordings else []
        self.noises = [_read(path) for path in diffuse] or [pink(10 * RATE, half)]


def scenes(cast: Cast, count: int) -> Iterator[Scene]:
    """About `count` events of each class."""

    def rng(which: int, n: int) -> Any:
        return np.random.default_rng((cast.half, which, n))

    for n in range(count):
        yield _interruption(cast, rng(0, n), n)
    for n in range(-(-count // 5)):
        yield _several(cast, rng(1, n), f"backchannel {n}", 5, _murmur)
    for n in range(-(-count // 7)):
        yield _several(cast, rng(2, n), f"noise {n}", 7, _noise)
    for n in range(-(-count // 6)):
        yield _several(cast, rng(3, n), f"aside {n}", 3, _aside)
    for n in range(-(-count // 4)):
        yield _television(cast, rng(4, n), n)


# --- scenes


class _Stage:
    """A scene in the making: the question is asked, and the answer begins about `answer` (s)."""

    def __init__(self, cast: Cast, rng: Any, seconds: float) -> None:
        self.sound = np.zeros(round(seconds * RATE), np.float32)
        self.snr_db = float(rng.choice([5, 10, 15, 20, 30]))
        ask = at_level(_said(ASK, ASKERS[cast.half], 150), USUAL_DB)
        end = 0.4 + len(ask) / RATE
        self._put(ask, 0.4)
        self.answer = end + 0.35
        noise = np.resize(cast.noises[rng.integers(len(cast.noises))], len(self.sound))
        noise = noise * 10 ** ((USUAL_DB - self.snr_db) / 20) / np.sqrt(np.mean(noise**2))
        loud = np.clip((np.arange(len(noise)) / RATE - end - 0.4) / 0.3, 0.003, 1)  # a fan, switched on then
        self._noise = (noise * loud).astype(np.float32)
        self.asked = end
        self.events: list[Event] = []

    def _put(self, sound: Sound, at: float) -> None:
        place = self.sound[round(at * RATE) :][: len(sound)]
        place += sound[: len(place)]

    def add(self, event: Event, sound: Sound) -> None:
        self._put(sound, event.start)
        self.events.append(event)

    def scene(self, name: str) -> Scene:
        mixed = np.clip(np.rint((self.sound + self._noise) * 32768), -32768, 32767).astype(np.int16)
        return Scene(name, mixed, tuple(self.events), self.snr_db)


def _place(kind: Kind, what: str, sound: Sound, at: float, text: str, level_db: float, long: bool = False) -> Event:
    """The event of `sound`, which is put at `at`: from its first to its last 10 ms within 25 dB of its level."""
    step = RATE // 100
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    loud = np.flatnonzero(np.sqrt(np.mean(frames**2, axis=1)) > active_rms(sound) * 10 ** (-25 / 20))
    return Event(kind, what, at + loud[0] / 100, at + (loud[-1] + 1) / 100, text, level_db, long)


def _add(stage: _Stage, kind: Kind, what: str, sound: Sound, at: float, level_db: float, text: str = "") -> float:
    loud = at_level(sound, USUAL_DB + level_db)
    event = _place(kind, what, loud, at, text, level_db)
    stage.add(event._replace(start=at), loud)  # `_put` at the sound's begin ...
    stage.events[-1] = event  # ... and told by what can be heard
    return event.end


def _interruption(cast: Cast, rng: Any, n: int) -> Scene:
    what = ("sentence", "real", "other", "real", "sentence", "other", "real", "short")[n % 8]
    level = float(rng.choice([0, 2, 4, 6]))
    text = ""
    if what == "real" and cast.clips:
        step = 7 if len(cast.clips) % 7 else 5  # past all of them
        sound = _turned(cast.clips[(n * step) % len(cast.clips)], rng)
    else:
        lists = {"sentence": IN_GRAMMAR, "short": SHORT}.get(what, OTHERS)[cast.half]
        said = lists[rng.integers(len(lists))]
        sound = _said(said, str(rng.choice(cast.voices)), int(rng.integers(140, 190)), int(rng.integers(35, 65)))
        text = said if what == "sentence" else ""
    at = float(rng.uniform(1.0, 4.0))
    stage = _Stage(cast, rng, 2.2 + at + len(sound) / RATE + 2.5)
    _add(stage, "interruption", what, sound, stage.answer + at, level, text)
    return stage.scene(f"interruption {n}")


Make = Callable[[Cast, Any], tuple[Kind, str, Sound, float]]


def _several(cast: Cast, rng: Any, name: str, count: int, make: Make) -> Scene:
    drawn = [make(cast, rng) for _ in range(count)]
    stage = _Stage(cast, rng, 5.0 + sum(len(sound) / RATE + 4.0 for _, _, sound, _ in drawn))
    at = stage.answer + float(rng.uniform(0.8, 2.0))
    for kind, what, sound, level in drawn:
        end = _add(stage, kind, what, sound, at, level)
        at = end + float(rng.uniform(2.6, 3.8))
    return stage.scene(name)


def _murmur(cast: Cast, rng: Any) -> tuple[Kind, str, Sound, float]:
    words = MURMURS[cast.half]
    voice, rate, pitch = str(rng.choice(cast.voices)), int(rng.integers(120, 200)), int(rng.integers(25, 75))
    sound = _said(words[rng.integers(len(words))], voice, rate, pitch)
    what = "one"
    if rng.random() < 0.35:
        gap = np.zeros(int(rng.uniform(0.05, 0.5) * RATE), np.float32)
        sound = np.concatenate((sound, gap, _said(words[rng.integers(len(words))], voice, rate, pitch)))
        what = "two"
    return "backchannel", what, sound, float(rng.uniform(-8, 0))


def _aside(cast: Cast, rng: Any) -> tuple[Kind, str, Sound, float]:
    long = rng.random() < 0.4
    sound = _talk(cast, rng, float(rng.uniform(9, 12) if long else rng.uniform(1.2, 3)))
    level = float(rng.choice([-6, -9, -12, -15]))
    return "aside", f"{'long' if long else 'short'} {level:.0f}", sound, level


def _television(cast: Cast, rng: Any, n: int) -> Scene:
    """Speech from elsewhere that begins before the answer, and goes on through it."""
    level = float((-6, -9, -12, -15)[n % 4])
    stage = _Stage(cast, rng, 18.0)
    begin = 0.0 if n % 8 >= 4 else stage.asked + float(rng.uniform(0.1, 0.3))
    sound = at_level(_talk(cast, rng, 18.0 - begin - 2.5), USUAL_DB + level)
    what = f"{'before the question' if n % 8 >= 4 else 'before the answer'} {level:.0f}"
    stage.add(Event("aside", what, begin, begin + len(sound) / RATE, "", level, True), sound)
    return stage.scene(f"television {n}")


def _talk(cast: Cast, rng: Any, seconds: float) -> Sound:
    """Somebody talks on in another room."""
    pieces: list[Sound] = []
    while sum(map(len, pieces)) < seconds * RATE:
        if cast.clips:
            piece = _turned(cast.clips[rng.integers(len(cast.clips))], rng)
        else:
            piece = _said(OTHERS[cast.half][rng.integers(4)], str(rng.choice(cast.voices)), 160)
        pieces += [at_level(piece, USUAL_DB), np.zeros(int(rng.uniform(0.05, 0.4) * RATE), np.float32)]
    dry = np.concatenate(pieces)[: round(seconds * RATE)]
    return convolve(dry, cast.rooms[rng.integers(len(cast.rooms))])


# --- noises


def _noise(cast: Cast, rng: Any) -> tuple[Kind, str, Sound, float]:
    names = [*NOISES, *TICS]
    what = names[rng.integers(len(names))]
    if what in TICS:
        sound = _said(TICS[what], str(rng.choice(cast.voices)), int(rng.integers(130, 260)), int(rng.integers(25, 75)))
        return "noise", what, sound, float(rng.uniform(-6, 3))
    return "noise", what, NOISES[what](rng), float(rng.uniform(-8, 6))


def _shaped(rng: Any, seconds: float, formants: tuple[float, ...], width: float = 200.0) -> Sound:
    """Noise with resonances."""
    length = int(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / RATE)
    gain = sum(1 / (1 + ((hertz - formant) / width) ** 2) for formant in formants)
    return np.fft.irfft(spectrum * gain, length).astype(np.float32)


def _decay(length: int, attack_s: float, decay_s: float) -> Sound:
    t = np.arange(length) / RATE
    return (np.minimum(1, t / attack_s) * np.exp(-t / decay_s)).astype(np.float32)


def _cough(rng: Any) -> Sound:
    parts: list[Sound] = []
    for _ in range(rng.integers(1, 4)):
        seconds = float(rng.uniform(0.18, 0.4))
        formants = (float(rng.uniform(450, 800)), float(rng.uniform(1200, 1900)), 2700.0)
        burst = _shaped(rng, seconds, formants, 250) * _decay(int(seconds * RATE), 0.004, seconds / 4)
        t = np.arange(len(burst)) / RATE
        voice = np.sign(np.sin(2 * np.pi * float(rng.uniform(110, 260)) * t)) * _decay(len(burst), 0.05, seconds / 3)
        voiced = np.convolve(voice, np.hanning(24) / 12, "same") * float(rng.uniform(0, 0.9)) * np.abs(burst).max()
        parts += [burst + voiced.astype(np.float32), np.zeros(int(rng.uniform(0.05, 0.25) * RATE), np.float32)]
    return np.concatenate(parts)


def _throat(rng: Any) -> Sound:
    seconds = float(rng.uniform(0.4, 0.9))
    t = np.arange(int(seconds * RATE)) / RATE
    rough = 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * float(rng.uniform(28, 45)) * t))
    return (_shaped(rng, seconds, (350.0, 1100.0), 180)[: len(t)] * rough * np.hanning(len(t))).astype(np.float32)


def _strokes(rng: Any, count: int, gap: tuple[float, float], hertz: tuple[float, float], decay: float) -> Sound:
    parts = []
    for _ in range(count):
        seconds = float(rng.uniform(*gap))
        formants = (float(rng.uniform(*hertz)), float(rng.uniform(*hertz)))
        parts.append(_shaped(rng, seconds, formants, 600) * _decay(int(seconds * RATE), 0.001, decay))
    return np.concatenate(parts)


def _door(rng: Any) -> Sound:
    t = np.arange(int(0.7 * RATE)) / RATE
    modes = sum(
        np.sin(2 * np.pi * float(f) * t) * np.exp(-t / float(rng.uniform(0.05, 0.2))) for f in rng.uniform(60, 400, 6)
    )
    return (modes + 2 * _shaped(rng, 0.7, (300.0, 900.0), 500)[: len(t)] * np.exp(-t / 0.03)).astype(np.float32)


def _music(rng: Any) -> Sound:
    notes = []
    for _ in range(rng.integers(4, 9)):
        t = np.arange(int(rng.uniform(0.25, 0.7) * RATE)) / RATE
        root = 220 * 2 ** (rng.integers(0, 12) / 12)
        chord = sum(
            np.sin(2 * np.pi * root * 2 ** (step / 12) * harmonic * t) / harmonic**1.5
            for step in (0, int(rng.choice([3, 4])), 7)
            for harmonic in range(1, 6)
        )
        notes.append(chord * _decay(len(t), 0.01, 0.4))
    return np.concatenate(notes).astype(np.float32)


def _breath(rng: Any) -> Sound:
    seconds = float(rng.uniform(0.5, 1.5))
    sound = _shaped(rng, seconds, (900.0, 2200.0, 4500.0), 900)
    return (sound * np.hanning(len(sound))).astype(np.float32)


NOISES: dict[str, Callable[[Any], Sound]] = {
    "cough": _cough,
    "throat": _throat,
    "click": lambda rng: _strokes(rng, int(rng.integers(1, 4)), (0.08, 0.3), (2000, 5000), 0.004),
    "keyboard": lambda rng: _strokes(rng, int(rng.integers(8, 20)), (0.08, 0.25), (1200, 4500), 0.012),
    "door": _door,
    "music": _music,
    "breath": _breath,
}


TICS = {"laugh": "ha ha ha", "hesitation": "um", "sneeze": "achoo"}

# --- voices and recordings


@cache
def _said(text: str, voice: str, rate: int, pitch: int = 50) -> Sound:
    speaker = EspeakVoice(Espeak(language=voice, rate_wpm=rate, pitch=pitch))
    resampler = Resampler(speaker.rate, RATE)
    pieces = [resampler.push(chunk.samples) for chunk in speaker.speak(text)]
    speaker.close()
    sound = np.concatenate([*pieces, resampler.finish()]).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(sound) > 0.001)
    return sound[loud[0] : loud[-1] + 1]


def _turned(sound: Sound, rng: Any) -> Sound:
    """Up to 8 % faster and higher, or slower and lower: nearly another voice."""
    length = int(len(sound) / rng.uniform(0.92, 1.08))
    return np.interp(np.linspace(0, len(sound) - 1, length), np.arange(len(sound)), sound).astype(np.float32)


def _files(folder: Path) -> list[Path]:
    names = ("speech/*.wav", "speech/*.flac", "turn/*_long_*.wav", "commands/cards*.wav")
    found = sorted(path for name in names for path in folder.glob(name))
    return found or sorted(path for name in ("*.wav", "*.flac") for path in folder.glob(name))


def _others(folder: Path) -> list[Path]:
    """Recordings that are in neither half."""
    names = ("turn/*_short_*.wav", "av/*.mpg", "commands/*petewarden.wav")
    return sorted(path for name in names for path in folder.glob(name))


def _read(path: Path) -> Sound:
    decoder = Decoder(path, RATE, None)
    samples = decoder.read(60 * RATE)
    decoder.close()
    return samples.astype(np.float32) / 32768


def _pieces(sound: Sound, shortest: float = 1.1, longest: float = 3.5) -> list[Sound]:
    """Utterances: cut at silences of 0.15 s and more, pieces of `shortest` to about `longest` seconds."""
    step = RATE // 50
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    level = np.sqrt(np.mean(frames**2, axis=1)) / active_rms(sound)
    loud, heard = level > 10 ** (-22 / 20), level > 10 ** (-15 / 20)
    found: list[Sound] = []
    begin = last = -1
    for n, voiced in enumerate([*loud, *[False] * 8]):
        if voiced:
            begin, last = n if begin < 0 else begin, n
        elif begin >= 0 and n - last >= 8 and (last - begin) * step >= shortest * RATE:
            start = begin + int(np.flatnonzero(heard[begin:last])[0])
            found.append(sound[start * step : min((last + 1) * step, start * step + round(longest * RATE))])
            begin = -1
        elif begin >= 0 and n - last >= 25:
            begin = -1
    return found

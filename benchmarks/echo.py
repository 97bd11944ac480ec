"""Does the agent hear itself, and does it hear people who interrupt it? Simulated rooms, real voices, real detector.

    python -m benchmarks.echo RECORDINGS [--rooms 12] [--first 0] [--seconds 30] [--engine kalman livekit none]

RECORDINGS is a folder of speech (any rate; read in order of name). Every room is drawn from a seed: walls (RT60 0.2 to
0.8 s) or, every fifth, a measured response (`--responses` a folder of WAV); delay 10 to 400 ms, drift 0, 50 or 100 ppm
either way, a loudspeaker that is linear or not, noise 5 to 30 dB below the echo, a level of -38 to -18 dBFS. In each
the agent speaks, alone, and then with a person who begins in the middle of its sentences, as loud as the echo and 5 dB
above or below.

Columns: ERLE of what comes out at 1-4 and 10-20 s, segments that Silero opens on the agent's own voice, and per level
how many interruptions it finds no more than 150 ms later than it would without any echo.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embodied.voices.espeak import Espeak, EspeakVoice
from streams import models
from streams.audio.decode import Decoder
from streams.audio.resample import Resampler
from streams.clock import SECOND, Stopwatch
from streams.encoders.echo import EchoConfig, echo_canceller
from streams.encoders.vad import MODEL, SileroVad
from streams.packet import Packet
from streams.topics import AUDIO
from streams.types import Audio, Echo, Samples, SpeechStarted
from tests.room import RATE, Room, Sound, at_level, convolve, normal, packets, through, walls

VOICE = 22_050
LANGUAGES = ("en-us", "en-us+f3", "de", "es", "it", "fr+f4", "en-us+m5", "es+m2")
RATIOS_DB = (5, 0, -5)
IN_TIME_S = 0.15
TEXTS = (
    "The kitchen light is on, and the window in the bedroom is still open.",
    "Your parcel was handed to the neighbour at number twelve, who will be at home until six this evening.",
    "Here is what I found. The museum opens at ten, the last entry is at five, and children come in for free.",
    "First take the second street on the left, then walk past the church until you see a yellow house.",
    "I am afraid I did not understand the last part. Could you say the number once more, slowly?",
)


class Result(NamedTuple):
    """One room. erle: two figures in dB; own: when it heard itself (s); late: per level, s after an echo-free ear."""

    what: str
    erle: tuple[float, float]
    own: list[float]
    late: dict[int, list[float | None]]
    echo: list[float]
    person: list[float]


def agent(language: str, seconds: int) -> Samples:
    """int16 at 22050 Hz."""
    voice = EspeakVoice(Espeak(language=language))
    pieces: list[Samples] = []
    for text in TEXTS:
        pieces.extend(chunk.samples for chunk in voice.speak(text))
        pieces.append(np.zeros(VOICE * 4 // 10, np.int16))
    voice.close()
    return np.resize(np.concatenate(pieces), seconds * VOICE)


def people(folder: Path) -> list[Sound]:
    """The first 1.6 s of every recording, from where somebody speaks."""
    found = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".wav", ".flac", ".mp3", ".ogg")):
        decoder = Decoder(path, RATE)
        sound = (decoder.read(60 * RATE) / np.float32(32768)).astype(np.float32)
        decoder.close()
        loud = np.flatnonzero(np.convolve(sound**2, np.ones(320) / 320, "same") > 1e-3 * np.max(sound**2) / 4)
        piece = sound[max(0, int(loud[0]) - 160) :][: int(1.6 * RATE)].copy()
        piece[-800:] *= np.linspace(1, 0, len(piece[-800:]), dtype=np.float32)
        found.append(piece)
    return found


def rooms(first: int, count: int, responses: list[Sound]) -> Iterator[tuple[Room, str, np.random.Generator]]:
    """Each with the agent's voice in it and the chance for what else is drawn."""
    for seed in range(first, first + count):
        chance = np.random.default_rng(seed + 40_000)
        if responses and seed % 5 == 4:
            response = responses[seed // 5 % len(responses)]
        else:
            response = walls(chance.uniform(0.2, 0.8), seed, float(chance.choice([0.2, 0.5, 1.0])))
        yield (
            Room(
                response,
                delay_ms=float(chance.choice([10, 20, 60, 100, 200, 400])),
                drift_ppm=float(chance.choice([0, 0, 50, -50, 100, -100])),
                drive=float(chance.choice([0, 0, 1, 2, 3])),
                snr_db=float(chance.choice([5, 10, 20, 30])),
                level_db=float(chance.uniform(-38, -18)),
            ),
            LANGUAGES[seed % len(LANGUAGES)],
            chance,
        )


def starts(samples: NDArray[np.int16], vad: SileroVad) -> list[float]:
    """Seconds at which Silero decides that somebody began to speak."""
    vad.reset()
    packet = Packet(AUDIO, len(samples) * SECOND // RATE, 0, 0, 0, Audio(samples, RATE, 0))
    return [emit.data.decided_ns / SECOND for emit in vad.push(packet) if isinstance(emit.data, SpeechStarted)]


def judge(
    the: Room, language: str, chance: np.random.Generator, voices: list[Sound], config: EchoConfig, options: Any
) -> Result:
    """One room, alone and with somebody who interrupts."""
    played = agent(language, options.seconds)
    resampler = Resampler(VOICE, RATE)
    sound = (np.concatenate([resampler.push(played), resampler.finish()]) / np.float32(32768)).astype(np.float32)
    hiss = the.hiss(len(sound))

    def clean(heard: NDArray[np.int16]) -> tuple[NDArray[np.int16], list[tuple[float, float]]]:
        encoder = echo_canceller(config)
        if encoder is None:
            return heard, []
        out, _, percepts = through(encoder, packets(heard, played, VOICE, early_ms=options.early_ms))
        return out, [(p.t / SECOND, p.data.similarity) for p in percepts if isinstance(p.data, Echo)]

    alone, told = clean(the.microphone(sound))
    echo, left = the.echo(sound), alone / np.float32(32768) - hiss[: len(alone)]

    def erle(first: int, last: int) -> float:
        part = slice(first * RATE, last * RATE)
        return float(10 * np.log10(np.sum(echo[part] ** 2) / np.sum(left[part] ** 2)))

    person, begins, at = np.zeros(len(sound), np.float32), [], 4.0
    while at < options.seconds - 3:
        voice = convolve(at_level(voices[int(chance.integers(len(voices)))], the.level_db), walls(0.3, int(at), 0.7))
        person[int(at * RATE) :][: len(voice)] = voice
        begins.append(at)
        at += 2.8 + float(chance.uniform(0, 0.8))
    late: dict[int, list[float | None]] = {}
    near: list[float] = []
    for ratio in RATIOS_DB:
        spoken = (person * 10 ** (ratio / 20)).astype(np.float32)
        wanted = starts(np.clip(np.rint((spoken + hiss) * 32768), -32768, 32767).astype(np.int16), options.vad)
        out, said = clean(the.microphone(sound, spoken))
        found = starts(out, options.vad)
        late[ratio] = []
        for begin in begins:
            ideal = next((t for t in wanted if begin <= t < begin + 1.5), None)
            if ideal is not None:
                real = next((t for t in found if begin <= t < begin + 1.5), None)
                late[ratio].append(None if real is None else real - ideal)
                window = [similarity for t, similarity in said if ideal <= t <= ideal + 0.4]
                near.extend([min(window)] if window else [])
    what = (
        f"{language:9} {the.delay_ms:3.0f} ms {the.drift_ppm:+4.0f} ppm drive {the.drive:g} snr {the.snr_db:2.0f} dB "
        f"{the.level_db:3.0f} dBFS"
    )
    own = starts(alone, options.vad)
    return Result(what, (erle(1, 4), erle(10, 20)), own, late, [s for t, s in told if t > 1], near)


def shown(late: list[float | None]) -> str:
    """How many were in time."""
    return f"{sum(one is not None and one <= IN_TIME_S for one in late)}/{len(late)}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--responses", type=Path)
    parser.add_argument("--rooms", type=int, default=12)
    parser.add_argument("--first", type=int, default=0, help="seed of the first room")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--early-ms", type=float, default=20.0, help="by which PLAYBACK comes before its sound ends")
    parser.add_argument("--engine", nargs="*", default=["kalman"], choices=["kalman", "livekit", "none"])
    options = parser.parse_args()
    options.vad = SileroVad(models.pull(MODEL))
    voices = people(options.recordings)
    responses = []
    for path in sorted(options.responses.glob("*.wav")) if options.responses else []:
        responses.append(normal(Decoder(path, RATE).read(4 * RATE).astype(np.float32)))
    for engine in options.engine:
        config = EchoConfig(engine=engine)
        print(f"\n{engine}: room, ERLE 1-4 s and 10-20 s, own voice taken for speech, in time at +5, 0, -5 dB")
        results: list[Result] = []
        with Stopwatch() as watch:
            for the, language, chance in rooms(options.first, options.rooms, responses):
                one = judge(the, language, chance, voices, config, options)
                results.append(one)
                found = "  ".join(shown(one.late[ratio]) for ratio in RATIOS_DB)
                own = " ".join(f"{t:.1f}" for t in one.own) or "-"
                print(f"  {one.what}  {one.erle[0]:5.1f} {one.erle[1]:5.1f}  {found}  own: {own}", flush=True)
        print(f"  own voice: {sum(len(one.own) for one in results)} times in {options.rooms * options.seconds} s")
        for ratio in RATIOS_DB:
            late = [each for one in results for each in one.late[ratio]]
            there = sorted(each for each in late if each is not None)
            print(
                f"  {ratio:+d} dB: in time {shown(late)}, found {len(there)}; later by p50 "
                f"{there[len(there) // 2] * 1e3:.0f} ms, p95 {there[int(len(there) * 0.95)] * 1e3:.0f} ms"
            )
        echo = np.array([s for one in results for s in one.echo])
        near = np.array([s for one in results for s in one.person])
        for bar in (0.5, 0.6, 0.7) if len(echo) else ():
            print(
                f"  classifier at {bar}: echo taken for somebody {np.mean(echo < bar):.3f}, "
                f"somebody for echo {np.mean(near >= bar):.3f}"
            )
        print(f"  CPU {watch.cpu:.0f} s, rooms and detector included")


if __name__ == "__main__":
    main()

"""A simulated room for the echo canceller: loudspeaker, air, walls, clocks, noise, and somebody who speaks.

All sound in here is float32[samples] at 16 kHz in [-1, 1]; what the microphone gives is int16.
"""

import json
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.clock import SECOND
from streams.packet import Packet
from streams.ports import Emit, Encoder
from streams.topics import AUDIO, CLEAN, PERCEPT, PLAYBACK
from streams.types import Audio

RATE = 16_000
Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Room:
    """One way from loudspeaker to microphone.

    response: impulse response, energy 1;  moved: the response from `moved_s` on, if any
    delay_ms: of devices and buffers, before the air;  drift_ppm: how much faster the microphone's clock runs
    level_db: root mean square of the echo while the agent speaks, dB of full scale
    drive: of a tanh loudspeaker, 0 is linear; 1 clips softly on peaks, 3 is a bad one
    snr_db: echo to noise
    """

    response: Sound
    delay_ms: float = 60.0
    drift_ppm: float = 0.0
    level_db: float = -26.0
    drive: float = 0.0
    snr_db: float = 30.0
    moved: Sound | None = None
    moved_s: float = 0.0
    noise: Sound | None = field(default=None, repr=False)

    def echo(self, played: Sound) -> Sound:
        """What of `played` reaches the microphone."""
        loud = played
        if self.drive:
            scale = np.float32(self.drive / max(1e-9, float(np.abs(played).max())))
            loud = (np.tanh(played * scale) / scale).astype(np.float32)
        heard = convolve(loud, self.response)
        if self.moved is not None:
            at = int(self.moved_s * RATE)
            heard[at:] = convolve(loud, self.moved)[at:]
        heard = shifted(heard, self.delay_ms * 1e-3 * RATE)
        if self.drift_ppm:
            heard = stretched(heard, self.drift_ppm)
        return (heard * np.float32(10 ** (self.level_db / 20) / active_rms(heard))).astype(np.float32)

    def hiss(self, length: int, seed: int = 0) -> Sound:
        """Noise at `snr_db` below the echo: what was given, or pink."""
        noise = pink(length, seed) if self.noise is None else np.resize(self.noise, length)
        rms = float(np.sqrt(np.mean(noise**2)))
        return (noise * np.float32(10 ** ((self.level_db - self.snr_db) / 20) / rms)).astype(np.float32)

    def microphone(self, played: Sound, near: Sound | None = None, seed: int = 0) -> NDArray[np.int16]:
        """int16[samples]: the echo of `played`, what somebody says (`near`, as long), and noise."""
        total = self.echo(played) + self.hiss(len(played), seed)
        if near is not None:
            total = total + near
        return np.clip(np.rint(total * 32768), -32768, 32767).astype(np.int16)


def walls(rt60_s: float, seed: int = 0, distance_m: float = 0.5) -> Sound:
    """A synthetic room response of energy 1: a direct sound, and after 2 ms noise that decays by 60 dB in `rt60_s`.

    The reverberation grows with the room's decay and with the distance, as in Polack's model.
    """
    random = np.random.default_rng(seed)
    length = int(RATE * rt60_s * 1.1)
    tail = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / (RATE * rt60_s))
    sparse = random.random(length) < np.minimum(1.0, 0.05 + np.arange(length) / (0.03 * RATE))
    tail *= sparse
    tail *= np.sqrt(rt60_s * distance_m / 0.25) * 0.5 / np.sqrt(np.sum(tail**2))
    response = np.zeros(length + RATE // 100)
    start = int(distance_m / 343 * RATE)
    response[start] = 1.0
    response[start + 32 : start + 32 + length] += tail[: len(response) - start - 32]
    return normal(response)


def normal(response: NDArray[np.floating]) -> Sound:
    """`response` with energy 1."""
    return (response / np.sqrt(np.sum(np.square(response, dtype=np.float64)))).astype(np.float32)


def convolve(sound: Sound, response: Sound) -> Sound:
    """As long as `sound`."""
    size = 1 << (len(sound) + len(response) - 1).bit_length()
    product = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(sound)].astype(np.float32)


def shifted(sound: Sound, samples: float) -> Sound:
    """`sound` that many samples later; whole samples."""
    count = round(samples)
    if count < 0:
        return np.concatenate((sound[-count:], np.zeros(-count, np.float32)))
    return np.concatenate((np.zeros(count, np.float32), sound))[: len(sound)]


def stretched(sound: Sound, ppm: float) -> Sound:
    """`sound` as a clock that runs `ppm` faster samples it: sixteen times the rate by FFT, then straight lines."""
    over = 16
    piece, margin = 1 << 16, 1 << 10
    result = np.zeros(len(sound), np.float32)
    step = 1 / (1 + ppm * 1e-6)
    for start in range(0, len(sound), piece):
        places = np.arange(start, min(start + piece, len(sound))) * step
        first = int(places[0]) - margin
        low, high = max(0, first), min(len(sound), first + piece + 2 * margin)
        part = np.zeros(piece + 2 * margin, np.float32)
        part[low - first : high - first] = sound[low:high]
        fine = np.fft.irfft(np.fft.rfft(part), len(part) * over) * over
        result[start : start + len(places)] = np.interp((places - first) * over, np.arange(len(fine)), fine)
    return result


def pink(length: int, seed: int = 0) -> Sound:
    """Noise whose power falls by 3 dB an octave above 50 Hz, as rooms have it."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(length, 1 / RATE), 50.0))
    return np.fft.irfft(spectrum, length).astype(np.float32)


def active_rms(sound: Sound) -> float:
    """Root mean square of the 20 ms pieces within 35 dB of the loudest."""
    pieces = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = np.mean(pieces.astype(np.float64) ** 2, axis=1)
    loud = power[power > power.max() * 10**-3.5]
    return float(np.sqrt(loud.mean())) if len(loud) else 1.0


def at_level(sound: Sound, level_db: float) -> Sound:
    """`sound` scaled so that its active root mean square is `level_db` of full scale."""
    return (sound * np.float32(10 ** (level_db / 20) / active_rms(sound))).astype(np.float32)


def read(path: Path) -> Sound:
    """A mono 16 kHz WAV of int16."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), path
        return (np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)).astype(np.float32)


def measured(shared_data: Path, name: str) -> Sound:
    """A real room response of the shared recordings, "rir1" or "rir2", energy 1."""
    return normal(read(shared_data / "rir" / f"{name}.wav"))


def words(shared_data: Path, name: str) -> list[tuple[float, float]]:
    """Where the words of a read sentence lie, seconds."""
    found = json.loads((shared_data / "speech" / f"{name}.align.json").read_text())["w"]
    return [(word["b"], word["b"] + word["d"]) for word in found if not word["t"].startswith("<")]


def packets(
    heard: NDArray[np.int16],
    played: NDArray[np.int16],
    rate: int,
    *,
    early_ms: float = 0.0,
    block: int = 320,
    wander_ms: float = 0.0,
    begin: int = 0,
    silent: bool = False,
) -> list[Packet[Audio]]:
    """Both streams as blocks, in the order in which they come.

    early_ms: by which a block played (20 ms) is published before the end of its sound
    block: samples of the microphone's blocks;  wander_ms: by which time stamps of what is played are wrong, at most
    begin: session time of the first sample;  silent: publish blocks of silence too
    """
    random = np.random.default_rng(0)
    size = rate // 50
    found: list[tuple[int, int, Packet[Audio]]] = []
    for start in range(0, len(played) - size + 1, size):
        samples = played[start : start + size]
        if silent or samples.any():
            t = begin + (start + size) * SECOND // rate
            stamp = t + int(random.uniform(-1, 1) * wander_ms * 1e6)
            one = Packet(PLAYBACK, stamp, 0, 0, 0, Audio(samples, rate, start))
            found.append((t - int(early_ms * 1e6), 1, one))
    for start in range(0, len(heard), block):
        samples = heard[start : start + block]
        t = begin + (start + len(samples)) * SECOND // RATE
        found.append((t, 0, Packet(AUDIO, t, 0, 0, 0, Audio(samples, RATE, start))))
    return [one for _, _, one in sorted(found, key=lambda each: each[:2])]


def through(encoder: Encoder, stream: list[Packet[Audio]]) -> tuple[NDArray[np.int16], list[Emit], list[Emit]]:
    """What comes out: the samples of CLEAN one after the other, its emits, and those of percepts."""
    emits = [emit for packet in stream for emit in encoder.push(packet)]
    emits.extend(encoder.flush())
    clean = [emit for emit in emits if emit.topic is CLEAN]
    samples = np.concatenate([np.zeros(0, np.int16), *(emit.data.samples for emit in clean)])
    return samples, clean, [emit for emit in emits if emit.topic is PERCEPT]

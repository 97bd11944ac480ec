"""A conversation measured at the sound card: `visavis live` in a room with an echo, and a person who interrupts it.

    python -m benchmarks.live [--minutes 2] [--echo DB] [--noise DB] [--rir FILE.wav] [--keep FOLDER]

A software sound card (PulseAudio) stands for the hardware and a loop of 20 ms for the room: what the loudspeaker plays
comes back into the microphone through a room response, with noise, beside what the person says. Nothing is read from
the agent's own log: times are those of samples at the card, where the feed of the microphone and the speaker are
recorded on one time line. The person's voice is espeak-ng's, another than the agent's.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, resample_poly

from embodied.voices.espeak import Espeak, EspeakVoice
from tests.sound_card import SoundCard

RATE = 16_000
BLOCK = 320
RAW = ("--raw", "--format=s16le", f"--rate={RATE}", "--channels=1", "--latency-msec=20")
Floats = NDArray[np.float64]

QUESTIONS = (
    "what time is it",
    "what is five plus nine",
    "what is the date",
    "what is twelve times three",
    "hello there",
)
LONG = "what can you do"
CUTS = ("what time is it", "what is the date today", "turn left")
MURMURS = ("uh huh", "i see", "okay", "yeah")


class Said(NamedTuple):
    """What the person said. kind: "ask", "cut" or "murmur";  start, end: samples of the room"""

    kind: str
    text: str
    start: int
    end: int


class Ear(threading.Thread):
    """Everything a source of the card gives, in a thread. offset: s of the monotonic clock at which sample 0 came"""

    def __init__(self, card: SoundCard, source: str) -> None:
        super().__init__(daemon=True)
        self._child = subprocess.Popen(
            ["parec", f"--device={source}", *RAW], env=card.environment, stdout=subprocess.PIPE
        )  # fmt: skip
        self.blocks: SimpleQueue[Floats] = SimpleQueue()
        self.sound: list[Floats] = []
        self.offset = math.inf
        self.start()

    def run(self) -> None:
        """Read until the source ends."""
        assert self._child.stdout
        count = 0
        while len(raw := self._child.stdout.read(2 * BLOCK)) == 2 * BLOCK:
            count += BLOCK
            self.offset = min(self.offset, time.monotonic() - count / RATE)  # the least delayed tells the truth
            block = np.frombuffer(raw, "<i2").astype(float)
            self.sound.append(block)
            self.blocks.put(block)

    def close(self) -> Floats:
        """The end; returns all of it."""
        self._child.kill()
        self._child.wait()
        self.join(5)
        return np.concatenate(self.sound)


class Room:
    """The loop: the speaker's monitor in, the microphone's feed out, 20 ms at a time."""

    def __init__(self, card: SoundCard, response: Floats, noise_rms: float) -> None:
        self.speaker = Ear(card, "speaker.monitor")
        self.feed = Ear(card, "mic_feed.monitor")
        self._mouth = subprocess.Popen(
            ["pacat", "--device=mic_feed", *RAW], env=card.environment, stdin=subprocess.PIPE
        )  # fmt: skip
        self._response = response
        self._tail = np.zeros(len(response) + BLOCK - 1)
        self._noise = np.random.default_rng(7)
        self._noise_rms = noise_rms
        self.spoke: list[Floats] = []
        self.now = 0

    def step(self, voice: Floats) -> Floats:
        """float[320] of the person, in int16 units, into the microphone; returns what the loudspeaker played."""
        played = self.speaker.blocks.get(timeout=5)
        assert self._mouth.stdin
        self._tail[: len(self._response) + BLOCK - 1] += np.convolve(played, self._response)
        mixed = self._tail[:BLOCK] + voice + self._noise.normal(0, self._noise_rms, BLOCK)
        self._tail = np.concatenate([self._tail[BLOCK:], np.zeros(BLOCK)])
        self._mouth.stdin.write(np.clip(mixed, -32768, 32767).astype("<i2").tobytes())
        self._mouth.stdin.flush()
        self.spoke.append(voice)
        self.now += BLOCK
        return played

    def close(self) -> tuple[Floats, Floats]:
        """The end: what the microphone's feed and the speaker had, on one time line."""
        self._mouth.kill()
        self._mouth.wait()
        feed, heard = self.feed.close(), self.speaker.close()
        late = round((self.speaker.offset - self.feed.offset) * RATE)
        heard = np.pad(heard, (late, 0)) if late > 0 else heard[-late:]
        size = min(len(feed), len(heard))
        return feed[:size], heard[:size]


class Person:
    """Asks, interrupts and murmurs by what is heard of the agent, block by block."""

    def __init__(self, voices: dict[str, Floats]) -> None:
        self._voices = voices
        self.said: list[Said] = []
        self._script = self._plan()
        self._next: tuple[str, str] | None = next(self._script)
        self._left: Floats = np.zeros(0)
        self._quiet = self._loud = 0
        self._wait = 75
        self._answered = True

    def _plan(self) -> Iterator[tuple[str, str]]:
        for round_ in range(10_000):
            yield "ask", QUESTIONS[round_ % len(QUESTIONS)]
            yield "ask", LONG
            yield "murmur", MURMURS[round_ % len(MURMURS)]
            yield "cut", CUTS[round_ % len(CUTS)]

    def block(self, played: Floats, now: int) -> Floats:
        """What the person says in the 20 ms that begin at sample `now`."""
        sounding = bool(np.abs(played).max(initial=0) > 150)
        self._quiet = 0 if sounding else self._quiet + 1
        self._loud = self._loud + 1 if sounding else 0
        self._answered = self._answered or sounding or self._quiet > 300
        if not len(self._left):
            self._decide(now)
        voice, self._left = self._left[:BLOCK], self._left[BLOCK:]
        return np.pad(voice, (0, BLOCK - len(voice)))

    def _decide(self, now: int) -> None:
        assert self._next is not None
        kind, text = self._next
        if self._wait:
            self._wait -= 1
            return
        if kind == "ask" and (not self._answered or self._quiet < 60):
            return
        if kind != "ask" and self._loud < 25:
            if self._answered and self._quiet > 150:  # the agent has ended before it could be interrupted: next
                self._next = next(self._script)
            return
        self._left = self._voices[text]
        loud = np.nonzero(np.abs(self._left) > 300)[0]
        self.said.append(Said(kind, text, now + int(loud[0]), now + int(loud[-1])))
        self._next = next(self._script)
        self._answered = False
        self._quiet = 0
        self._wait = 40 if kind == "ask" else 60


def voices(gain: float = 0.5) -> dict[str, Floats]:
    """What the person can say, float in int16 units at 16 kHz."""
    voice = EspeakVoice(Espeak(language="en-us+f2", rate_wpm=150))
    made = {}
    for text in (*QUESTIONS, LONG, *CUTS, *MURMURS):
        samples = np.concatenate([chunk.samples for chunk in voice.speak(text)]).astype(float)
        made[text] = gain * resample_poly(samples, RATE, voice.rate)
    voice.close()
    return made


def at_the_card(said: list[Said], spoke: Floats, feed: Floats) -> list[Said]:
    """The same where it really was in the microphone: each utterance is found in its feed by correlation."""
    found = []
    for each in said:
        voice = spoke[each.start : each.end]
        near = feed[each.start : each.end + RATE * 3]
        if len(near) <= len(voice):
            continue
        match = correlate(near, voice, "valid", method="fft")
        late = int(np.argmax(match))
        found.append(each._replace(start=each.start + late, end=each.end + late))
    return found


def figures(said: list[Said], heard: Floats) -> dict[str, list[float]]:
    """Times in ms at the card: `voice_to_voice` of answers, `yield` of interruptions, both of murmurs, and `stall`.

    The first silence of 250 ms after the onset counts; the agent may have made it by itself, between two sentences.
    """
    loud = np.abs(heard) > 150
    found: dict[str, list[float]] = {"voice_to_voice": [], "yield": [], "murmur_yield": [], "stall": []}
    for place, each in enumerate(said):
        until = said[place + 1].start if place + 1 < len(said) else len(loud)
        after = np.nonzero(loud[each.end : until])[0]
        if each.kind == "ask" and len(after):
            found["voice_to_voice"].append(int(after[0]) / RATE * 1000)
        elif each.kind in ("cut", "murmur"):
            over = loud[each.start : until]
            gaps = _gaps(over)
            if gaps:
                begin, length = gaps[0]
                found["yield" if each.kind == "cut" else "murmur_yield"].append(begin / RATE * 1000)
                if each.kind == "murmur":
                    found["stall"].append(length / RATE * 1000)
    return found


def _gaps(loud: NDArray[np.bool_], least: int = RATE * 250 // 1000) -> list[tuple[int, int]]:
    """(begin, length) of silences of at least 250 ms: pauses between words are shorter."""
    places = np.nonzero(loud)[0]
    if not len(places):
        return []
    edges = np.nonzero(np.diff(places) >= least)[0]
    gaps = [(int(places[i]) + 1, int(places[i + 1] - places[i] - 1)) for i in edges]
    return gaps or [(int(places[-1]) + 1, len(loud) - int(places[-1]))]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--echo", type=float, default=-10.0, help="dB of the loudspeaker at the microphone (-99: none)")
    parser.add_argument("--noise", type=float, default=-60.0, help="dB of full scale")
    parser.add_argument("--rir", help="a room response (WAV, 16 kHz); default: a synthetic one of 0.3 s")
    parser.add_argument("--keep", help="folder for recording and sound")
    parser.add_argument("options", nargs="*", help="more options of `visavis live`, after --")
    arguments = parser.parse_args()
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="live-"))
    folder.mkdir(parents=True, exist_ok=True)
    response = _response(arguments.rir) * 10 ** (arguments.echo / 20)
    with SoundCard() as card:
        program = [sys.executable, "-m", "agent.cli", "live", "--microphone", "virtmic", "--loudspeaker", "virtspk"]
        log = (folder / "log.txt").open("w")
        environment = {**card.environment, "XDG_CONFIG_HOME": str(folder)}
        command = [*program, "--record", str(folder / "live.mcap"), *arguments.options]
        agent = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        room = Room(card, response, 32768 * 10 ** (arguments.noise / 20))
        person = Person(voices())
        for _ in range(200):  # the agent starts
            room.step(np.zeros(BLOCK))
        ends = room.now + round(arguments.minutes * 60 * RATE)
        played = np.zeros(BLOCK)
        while room.now < ends and agent.poll() is None:
            played = room.step(person.block(played, room.now))
        agent.terminate()
        for _ in range(200):
            if agent.poll() is not None:
                break
            room.step(np.zeros(BLOCK))
        agent.wait(10)
        feed, heard = room.close()
    with wave.open(str(folder / "room.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.stack([feed, heard], 1).clip(-32768, 32767).astype("<i2").tobytes())
    found = figures(at_the_card(person.said, np.concatenate(room.spoke), feed), heard)
    counts: dict[str, int] = {}
    for each in person.said:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    print(f"said: {json.dumps(counts)}; kept in {folder}")
    for name, values in found.items():
        print(f"{name:15} {spread(values)}")
    print(f"decided          {json.dumps(_decided(folder / 'live.mcap'))}")
    return 0


def _response(path: str | None) -> Floats:
    if path:
        with wave.open(path, "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        samples = samples[: RATE // 2]
    else:
        decay = np.exp(-6.9 * np.arange(RATE * 3 // 10) / (RATE * 0.3))
        samples = np.random.default_rng(3).normal(0, 1, len(decay)) * decay * 0.1
        samples[24] = 1.0
    return samples / np.sqrt(np.sum(samples**2))


def _decided(path: Path) -> dict[str, Any]:
    """What the agent decided, by type and reason: beside what was said, it tells true decisions from false ones."""
    from streams.recording import Recording
    from streams.topics import TURN
    from streams.types import OverlapCut, OverlapResumed, TurnCommitted, TurnDropped

    counts: dict[str, int] = {}
    for packet in Recording.open(path).packets((TURN,)):
        if isinstance(packet.data, OverlapCut | OverlapResumed | TurnCommitted | TurnDropped):
            name = f"{type(packet.data).__name__} {packet.data.reason}"
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def spread(values: list[float]) -> str:
    """Median and 95th percentile with the count."""
    if not values:
        return "-"
    low, middle, high = (float(np.percentile(values, q)) for q in (0, 50, 95))
    return f"min {low:.0f}, p50 {middle:.0f}, p95 {high:.0f}, max {max(values):.0f} ms (n = {len(values)})"


if __name__ == "__main__":
    began = time.perf_counter()
    code = main()
    print(f"took {time.perf_counter() - began:.0f} s")
    sys.exit(code)

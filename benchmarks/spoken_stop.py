"""From the end of a spoken "stop" to `command/stop` at a subscriber, while a robot drives and is loud.

    python -m benchmarks.spoken_stop [--quick] [--trials 60] [--word stop] [--said FOLDER] [--set KEY=VALUE]

A mosquitto, a robot (`visavis robot`, simulated) and a subscriber, each a process of its own; the agent is here, with
its usual hearing. Voices of espeak-ng say the word into the noise of motors (broadband, and the harmonics of their
turning, made here) at 20, 10 and 5 dB below the word, while somebody steers the robot; the agent is talking at every
second time (it is not heard by its own microphone). When the word really ends is known from the sound. One process and
the other share the machine's monotonic clock. No real recordings of stop words are in the folder of recordings: who has
some, or another synthesiser, names a folder of them with `--said` (WAV, the word by itself in each).
What was not heard counts as never in the last p95. Prints `missed` and exits 1 where the target is missed.
"""

import argparse
import asyncio
import math
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from agent import assembly, config
from agent.execution import fetch
from agent.outputs import Terminal
from agent.robots.attach import furnished
from agent.robots.choosing import factsheets
from benchmarks.machine import machine, percentile
from embodied.link.address import Address
from embodied.link.broker import running
from embodied.link.mqtt import dial
from streams import clock as clocks
from streams.audio.resample import Resampler
from streams.bus import Lane
from streams.clock import MS, SECOND, Clock
from streams.ports import Publisher
from streams.topics import ACTION, AUDIO, FEEDBACK, PERCEPT, Topic
from streams.types import Attached, Audio, BodyState, Fault, Halt, Outcome, PlayStarted, Say, Steered, Typed
from tests.composed import RATE, read_wav, take
from tests.room import active_rms, pink

ROBOT, BLOCK, TARGET_MS = "r1", 320, 300.0
VOICES = (
    "en-us", "en-us+f2", "en-us+f3", "en-us+m3", "en-us+m5", "en-gb-x-rp", "en-gb-x-rp+f4", "en-gb-scotland",
    "en-029", "en-us+f5",
)  # fmt: skip
RATES_WPM, SNRS_DB = (150, 130, 175), (20, 10, 5)
LEVEL_DB, ROOM_DB = -24.0, -66.0
AFTER_S, TALK = 2.0, "what can you do"


class Trial(NamedTuple):
    """One word. voice: of espeak-ng, or the path of a WAV;  talking: the agent is"""

    voice: str
    rate_wpm: int
    snr_db: int
    talking: bool


class Heard(NamedTuple):
    """begin, end: of the word, ns of the monotonic clock;  percept: when the agent acted, 0 if it did not"""

    trial: Trial
    begin: int
    end: int
    percept: int


def trials(count: int, voices: Sequence[str] = VOICES) -> list[Trial]:
    """All voices, rates, levels and both states, in turns."""
    round_ = len(voices)
    return [
        Trial(
            voices[n % round_], RATES_WPM[n // round_ % 3],
            SNRS_DB[(n + n // (3 * round_)) % 3], (n // 3 + n // (3 * round_)) % 2 == 1,
        )
        for n in range(count)
    ]  # fmt: skip


def said(word: str, trial: Trial) -> tuple[np.ndarray, int, int]:
    """float32[samples] of the trial's word, and where in them it begins and ends."""
    if not trial.voice.endswith(".wav"):
        taken = take(word, trial.voice, trial.rate_wpm)
        return taken.samples.astype(np.float32) / 32767, taken.words[0][1], taken.words[-1][2]
    samples, rate = read_wav(Path(trial.voice))
    resampler = Resampler(rate, RATE)
    sound = np.concatenate([resampler.push(samples), resampler.finish()]).astype(np.float32)
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())  # as `take` has it: 40 dB below the peak
    return sound / 32767, int(loud[0]), int(loud[-1]) + 1


def unusable(folder: Path, voices: Sequence[str]) -> str:
    """Why the recordings `voices` in `folder` cannot be used, "" if they can."""
    if not voices:
        return f"{folder}: there is no such folder, or no .wav file in it"
    for each in voices:
        try:
            samples, _ = read_wav(Path(each))
        except (OSError, EOFError, wave.Error, ValueError) as error:
            return f"{each}: it is no WAV file that can be read ({error or 'it ends too early'})"
        except AssertionError:
            return f"{each}: WAV files with one channel of 16 bits are needed"
        if not np.any(samples):
            return f"{each}: nothing is heard in it"
    return ""


def motors(seconds: float = 20.0, seed: int = 3) -> np.ndarray:
    """The noise of a small robot's motors, active level 0 dB of nothing in particular: float32[samples]."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    t = np.arange(count) / RATE
    turning = (
        2 * np.pi * np.cumsum(92 + 3 * np.sin(2 * np.pi * 0.7 * t) + np.cumsum(rng.normal(0, 0.004, count))) / RATE
    )
    tones = sum(np.sin(k * turning + rng.uniform(0, 6)) / k for k in range(1, 14))
    gears = 0.25 * np.sin(21 * turning) * (1 + 0.5 * np.sin(turning))
    broad = pink(count, seed).astype(np.float64)
    mixed = tones / np.std(tones) + gears / np.std(gears) * 0.4 + broad / np.std(broad)
    return (mixed / np.std(mixed)).astype(np.float32)


class Yard:
    """Where the robot drives: the microphone's sound and the hand that steers, as a source; and ears, as a tap."""

    name = "yard"
    writes: tuple[Topic[Any], ...] = (AUDIO, PERCEPT)
    reads: tuple[Topic[Any], ...] = (ACTION, FEEDBACK)

    def __init__(self, plan: list[Trial], word: str) -> None:
        self.heard: list[Heard] = []
        self.false = 0
        self._plan, self._word, self._noise = plan, word, motors()
        self._sound = np.zeros(0, np.float32)
        self._loud = self._gain = 0.0
        self._sample = 0
        self._halts: list[int] = []
        self._robot = self._moving = False
        self._saying: set[int] = set()
        self._playing = False

    async def __aenter__(self) -> "Yard":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """The microphone, until the last trial is over."""
        async with asyncio.TaskGroup() as group:
            sound = group.create_task(self._microphone(bus, clock))
            await self._trials(bus, clock)
            sound.cancel()

    def ears(self) -> "Ears":
        """The tap that must be given to the session beside the source."""
        return Ears(self)

    async def listen(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Follow what the agent does, and how the robot is."""
        async for packet in lane:
            match packet.data:
                case Halt():
                    self._halts.append(clock.now())
                case Attached():
                    self._robot = True
                case BodyState(speed=speed):
                    self._moving = abs(speed[0]) > 0.02
                case Say(id=number):
                    self._saying.add(number)
                case PlayStarted():
                    self._playing = True
                case Outcome(action="Say", id=number):
                    self._saying.discard(number)
                    self._playing = self._playing and bool(self._saying)

    async def _microphone(self, bus: Publisher, clock: Clock) -> None:
        rng = np.random.default_rng(5)
        room = 10 ** (ROOM_DB / 20)
        while True:
            end_ns = (self._sample + BLOCK) * SECOND // RATE
            await clock.sleep_until(end_ns)
            place = self._sample % (len(self._noise) - BLOCK)
            gains = np.linspace(self._gain, self._gain + 0.1 * (self._loud - self._gain), BLOCK)
            self._gain = float(gains[-1])
            block = rng.normal(0, room, BLOCK) + gains * self._noise[place : place + BLOCK]
            said, self._sound = self._sound[:BLOCK], self._sound[BLOCK:]
            block[: len(said)] += said
            samples = np.clip(np.rint(block * 32767), -32768, 32767).astype(np.int16)
            bus.publish(AUDIO, end_ns, Audio(samples, RATE, self._sample))
            self._sample += BLOCK

    async def _trials(self, bus: Publisher, clock: Clock) -> None:
        await self._until(clock, lambda: self._robot, 15)
        for n, trial in enumerate(self._plan):
            await self._until(clock, lambda: not self._moving and not self._saying, 20)
            await self._wait(clock, 0.7)
            if trial.talking:
                bus.publish(PERCEPT, clock.now(), Typed(TALK))
                await self._until(clock, lambda: self._playing, 5)
            driving = asyncio.ensure_future(self._drive(bus, clock, 0.3 if n % 2 else -0.3))
            self._loud = 10 ** ((LEVEL_DB - trial.snr_db) / 20)
            before = len(self._halts)
            await self._wait(clock, 0.9 + 0.037 * (n % 7))
            self.false += len(self._halts) - before
            self.heard.append(await self._say(clock, trial, len(self._halts)))
            driving.cancel()
            await asyncio.wait([driving])
            bus.publish(PERCEPT, clock.now(), Steered(by="console"))
            self._loud = 0.0

    async def _say(self, clock: Clock, trial: Trial, halts: int) -> Heard:
        sound, first, last = said(self._word, trial)
        sound *= np.float32(10 ** (LEVEL_DB / 20) / active_rms(sound[first:last]))
        begun = self._sample
        self._sound = sound
        monotonic = time.monotonic_ns() - clock.now()
        begin, end = ((begun + each) * SECOND // RATE for each in (first, last))
        await self._until(clock, lambda: len(self._halts) > halts, (end - clock.now()) / SECOND + AFTER_S)
        acted = self._halts[halts] + monotonic if len(self._halts) > halts else 0
        return Heard(trial, begin + monotonic, end + monotonic, acted)

    async def _drive(self, bus: Publisher, clock: Clock, vx: float) -> None:
        halts = len(self._halts)
        while len(self._halts) == halts:
            bus.publish(PERCEPT, clock.now(), Steered(vx, 0.0, 0.0, "console"))
            await self._wait(clock, 0.1)

    async def _wait(self, clock: Clock, seconds: float) -> None:
        await clock.sleep_until(clock.now() + round(seconds * SECOND))

    async def _until(self, clock: Clock, true: Callable[[], bool], seconds: float) -> None:
        end = clock.now() + round(seconds * SECOND)
        while not true() and clock.now() < end:
            await clock.sleep_until(clock.now() + 5 * MS)


class Ears:
    """The listening half of a `Yard`, as a tap."""

    name = "yard's ears"

    def __init__(self, yard: Yard) -> None:
        self.reads = yard.reads
        self.run = yard.listen


async def listen(url: str) -> None:
    """The subscriber's process: prints when each stop arrived, ns of the monotonic clock."""
    async with dial(Address.parse(url), client_id="listener")(None) as connection:
        await connection.subscribe([(f"robot/v1/home/{ROBOT}/command/stop", 1)])
        print("listening", flush=True)
        async for _ in connection.messages():
            print(time.monotonic_ns(), flush=True)


@asynccontextmanager
async def python(*words: str, first: bytes) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of Python, which has said `first`; killed at the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while first not in await process.stdout.readline():
                pass
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(plan: list[Trial], word: str, assignments: Sequence[str] = ()) -> tuple[Yard, list[int]]:
    """Hold the session, with `assignments` set. Returns what was said, and when stops arrived at the subscriber."""
    arrived: list[int] = []

    async def read(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            arrived.append(int(line))

    async with running(kind="mosquitto") as broker:
        url = broker.url
        ranks = ("--set", "guards.ranks={agent1: teleop}")
        program = ("-m", "agent.cli", "robot", "--broker", url, "--robot", ROBOT, *ranks)
        listener = ("-m", "benchmarks.spoken_stop", "--listen", url)
        async with python(*program, first=b"connected, MQTT"), python(*listener, first=b"listening") as subscriber:
            assert subscriber.stdout is not None
            reading = asyncio.ensure_future(read(subscriber.stdout))
            settings = fetch(config.load(None, ['body.motion="mqtt"', "faces.engine=none", *assignments]), Terminal())
            settings = replace(settings, robot=replace(settings.robot, url=url, ids=(ROBOT,)))
            settings = furnished(settings, await factsheets(settings.robot))
            yard = Yard(plan, word)
            session = await asyncio.to_thread(assembly.assemble, settings, [yard], taps=[yard.ears()])
            await session.main()
            await asyncio.sleep(0.3)
            reading.cancel()
    return yard, arrived


def told(name: str, took: list[float], said: int) -> str:
    """A line of figures."""
    if not took:
        return f"  {name:32} none of {said} was heard"
    figures = f"p50 {percentile(took, 50):5.0f}  p95 {percentile(took, 95):5.0f}  max {max(took):5.0f} ms"
    return f"  {name:32} {figures}   heard {len(took)} of {said}"


def report(yard: Yard, arrived: list[int]) -> bool:
    """Print what was measured. Returns whether the target is met."""
    took: list[tuple[Trial, float]] = []
    for each, after in zip(yard.heard, [*yard.heard[1:], None], strict=True):
        until = each.end + round(AFTER_S * SECOND) if after is None else after.begin
        found = next((t for t in arrived if each.begin <= t < min(until, each.end + round(AFTER_S * SECOND))), None)
        if found is not None:
            took.append((each.trial, (found - each.end) / MS))

    def of(name: str, which: Callable[[Trial], bool]) -> None:
        said = sum(which(each.trial) for each in yard.heard)
        if said:
            print(told(name, [ms for trial, ms in took if which(trial)], said))

    for snr in SNRS_DB:
        of(f"{snr} dB, the agent is silent", lambda trial, snr=snr: trial.snr_db == snr and not trial.talking)
        of(f"{snr} dB, the agent is talking", lambda trial, snr=snr: trial.snr_db == snr and trial.talking)
    of("all", lambda _: True)
    if lost := [each.trial for each in yard.heard if each.trial not in [trial for trial, _ in took]]:
        print("  not heard: " + "; ".join(f"{Path(t.voice).name} at {t.rate_wpm}, {t.snr_db} dB" for t in lost))
    print(f"  stops that nobody had asked for, in the noise alone: {yard.false}")
    wire = [(t - each.percept) / MS for each in yard.heard if each.percept
            for t in [next((t for t in arrived if t >= each.percept - 50 * MS), None)] if t is not None]  # fmt: skip
    if wire:
        print(f"  of it from the agent's decision to the subscriber: p50 {percentile(wire, 50):.1f} ms, "
              f"p95 {percentile(wire, 95):.1f} ms")  # fmt: skip
    late = percentile([*(ms for _, ms in took), *[math.inf] * (len(yard.heard) - len(took))], 95)
    print(f"  p95 of all that was said: {f'{late:.0f} ms' if late < math.inf else 'never'}")
    return late <= TARGET_MS


def main() -> int:
    """Options, and the verdict."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, default=60)
    options.add_argument("--quick", action="store_true", help="12 trials")
    options.add_argument("--word", default="stop")
    options.add_argument(
        "--said", metavar="FOLDER", type=Path, help="of WAV files, in place of the voices of espeak-ng"
    )
    options.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of the agent")
    options.add_argument("--listen", metavar="URL", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.listen:
        clocks.run(listen(arguments.listen))
        return 0
    count = 12 if arguments.quick else arguments.trials
    if count < 1:
        options.error(f"--trials {count}: at least 1")
    voices: Sequence[str] = VOICES
    if arguments.said:
        voices = sorted(str(path) for path in arguments.said.glob("*.wav"))
        if wrong := unusable(arguments.said, voices):
            options.error(f"--said {wrong}")
    print(machine("aiomqtt", "paho-mqtt", "onnxruntime"))
    print(f'{count} times "{arguments.word}"; target: {TARGET_MS:g} ms after the end of the word, p95')
    yard, arrived = clocks.run(measure(trials(count, voices), arguments.word, arguments.set))
    kept = report(yard, arrived)
    print(machine().split(", ")[2] + " at the end")
    print("target met" if kept else "missed: p95")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

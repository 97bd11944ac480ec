"""What whole sessions of the default pipeline cost: `python -m benchmarks.session [--quick] [--only PART …]`.

Each figure stands beside its floor, measured in the same run, and beside its target. CPU time is that of this process
and of the voice's helper process. `--data FOLDER` mixes real recordings into the speech (folders speech/, turn/ and
commands/ of WAV and raw files); without it all of it is by espeak-ng. Parts: start, talk, idle, barge-in, memory.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent import assembly, config
from agent.parts import grammar, sentences
from agent.replay import Replay
from agent.replaying import perform
from agent.session import Session
from benchmarks.barge_in import barge_in
from benchmarks.dialogue import dialogue, mixed
from benchmarks.machine import machine, percentile, spread
from policies.reflex import stop_words
from streams import clock, models, onnx
from streams.audio.blocks import RATE
from streams.bus import Lane
from streams.clock import SECOND, Clock
from streams.devices.files import ArraySource
from streams.encoders.turn_end import SmartTurn
from streams.encoders.vad import MODEL, SileroVad
from streams.ports import Tap
from streams.recording import Recorder, Recording
from streams.topics import VOICE, Topic
from streams.types import Fault, Samples

PARTS = ("start", "talk", "idle", "barge-in", "memory")


class Targets:
    """Says beside each figure whether its target is met. missed: how many were not."""

    def __init__(self) -> None:
        self.missed = 0

    def __call__(self, met: bool, what: str) -> str:
        """The words to print."""
        self.missed += not met
        return f"   [target {what}: {'met' if met else 'MISSED'}]"


class Timed:
    """An ONNX model whose calls are counted. cpu: seconds of this thread;  calls: how many"""

    def __init__(self, model: onnx.Model) -> None:
        self.cpu, self.calls, self._model = 0.0, 0, model

    def run(self, feeds: Any) -> Any:
        """As the model's."""
        began = time.thread_time()
        results = self._model.run(feeds)
        self.cpu += time.thread_time() - began
        self.calls += 1
        return results


def session(samples: Samples, path: Path | None = None, taps: tuple[Tap, ...] = ()) -> tuple[Session, Timed]:
    """The default agent on `samples`, recorded to `path`, and its end-of-turn model."""
    settings, started = config.load(), clock.wall_now()
    recorder = [Recorder(path, assembly.header(settings, started))] if path else []
    made = assembly.assemble(settings, [ArraySource(samples)], taps=[*recorder, *taps], started=started)
    (turn_end,) = (encoder for encoder in made.encoders if isinstance(encoder, SmartTurn))
    timed = Timed(turn_end.model)
    turn_end.model = timed  # type: ignore[assignment] # it is only called
    return made, timed


def stopwatch(work: Callable[[], object]) -> clock.Stopwatch:
    """How long `work` took."""
    gc.collect()
    with clock.Stopwatch() as watch:
        work()
    return watch


# --- start


def start(quick: bool, target: Targets) -> None:
    """Processes from their first instruction to their last."""
    print("\nstart of a process (wall seconds, the least of several)")
    times = 3 if quick else 10
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "silence.raw"
        path.write_bytes(bytes(2 * RATE))
        python = [sys.executable, "-m", "agent.cli"]
        floor = _process([sys.executable, "-c", "pass"], times)
        numpy = _process([sys.executable, "-c", "import numpy, asyncio, onnxruntime, pocketsphinx, av"], times)
        usage = _process([*python, "--help"], times)
        whole = _process([*python, "run", "--audio", str(path), "--quiet"], times)
    print(f"  visavis --help           {usage:6.3f}{target(usage < 0.4, '< 0.4')}")
    print(f"  visavis run, 1 s of audio{whole:6.3f}")
    print(f"  floor: python            {floor:6.3f};  python with the libraries that a run needs {numpy:.3f}")


def _process(command: list[str], times: int) -> float:
    best = 1e9
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best = min(best, time.perf_counter() - began)
    return best


# --- somebody talks


def talk(quick: bool, data: Path | None, target: Targets) -> None:
    """Run, record and replay dialogues."""
    clips, what = mixed(data)
    seconds = 90 if quick else 300
    print(f"\nsomebody talks ({what}), {seconds} s of session on the virtual clock, recorded")
    for fraction in (0.15, 0.30, 0.45):
        samples = dialogue(clips, seconds, fraction)
        with tempfile.TemporaryDirectory() as folder:
            _talk(samples, fraction, Path(folder) / "session.mcap", target)


def _talk(samples: Samples, fraction: float, path: Path, target: Targets) -> None:
    seconds = len(samples) / RATE
    spoken = [piece for piece in np.split(samples, np.flatnonzero(_edges(samples))) if np.abs(piece).max() > 200]
    made, model = session(samples, path)
    run = stopwatch(lambda: made.run(speed=None))
    outside = (run.cpu - model.cpu) / seconds
    ears, heard = _recogniser(spoken)
    print(f"  {fraction:.0%} speech")
    print(
        f"    pipeline      {outside:7.4f} CPU-s per s of audio outside the end-of-turn model"
        + target(outside <= 0.15, "<= 0.15")
    )
    calls = f"{model.cpu / seconds:7.4f} in {model.calls} calls of that model"
    print(f"                  {calls}; {seconds / run.wall:.0f} x real time")
    print(
        f"    floors        {ears / seconds:7.4f} the recogniser alone on the same {heard:.0f} s of speech"
        f" ({ears / heard:.3f} per s of speech); {_vad(samples) / seconds:.4f} bare calls of the voice detector"
    )
    for mode, least in (("media", 15), ("percepts", 200)):
        again = stopwatch(lambda: _replay(path, mode))  # noqa: B023 - called at once
        speed, wall = seconds / again.cpu, seconds / again.wall  # a busy machine makes the second meaningless
        reached = f"{speed:7.0f} x real time from {mode} by CPU time ({wall:.0f} by the clock)"
        print(f"    replay        {reached}" + target(speed >= least, f">= {least}"))


def _replay(path: Path, mode: Any) -> None:
    recording = Recording.open(path)
    performance = Replay(recording, mode=mode)
    perform(performance, config.reload(recording.header.config, []), recording)
    if not performance.identical:
        raise SystemExit(f"the replay from {mode} is different: {performance.first}")


def _edges(samples: Samples) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool[samples]: where sound begins and silence of half a second begins, as the dialogue was laid."""
    loud = np.abs(samples) > 200
    places = np.flatnonzero(loud)
    edges = np.zeros(len(samples), bool)
    breaks = np.flatnonzero(np.diff(places) > RATE // 2)
    edges[places[:1]] = edges[places[breaks + 1]] = edges[places[breaks] + 1] = True
    return edges


def _recogniser(spoken: list[Samples]) -> tuple[float, float]:
    """CPU seconds of the bare recogniser on each piece of speech, and how many seconds of speech they are."""
    settings = config.load()
    recogniser = grammar(settings, sentences(settings).grammar(stop_words=stop_words(settings.language)))

    def hear() -> None:
        for piece in spoken:
            recogniser.start()
            for begin in range(0, len(piece), 1536):
                recogniser.feed(piece[begin : begin + 1536])
                recogniser.partial()
            recogniser.finish()

    return stopwatch(hear).cpu, sum(map(len, spoken)) / RATE


def _vad(samples: Samples) -> float:
    """CPU seconds of the bare ONNX calls on all hops."""
    model = SileroVad(models.pull(MODEL)).model
    stream = model.stream()
    stream.inputs["sr"][...] = RATE

    def hear() -> None:
        for _ in range(len(samples) // 512):
            stream.step()

    return stopwatch(hear).cpu


# --- nobody talks


def idle(quick: bool, target: Targets) -> None:
    """A live session that hears nobody, with and without a recorder."""
    seconds = 10 if quick else 30
    zeros = np.zeros(seconds * RATE, np.int16)
    room = dialogue([], seconds, 0)
    print(f"\nnobody talks: {seconds} s live, 50 blocks/s (CPU in % of a core)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.mcap"
        for name, samples, record in (
            ("silence", zeros, None),
            ("silence, recorded", zeros, path),
            ("quiet room", room, None),
            ("quiet room, recorded", room, path),
        ):
            share = _share(samples, record)
            print(f"  {name:22}{share:5.2f} %{target(share <= 2, '<= 2 %')}")
        timers = stopwatch(lambda: clock.run(_hops(seconds, lambda: None))).cpu / seconds * 100
        stream = SileroVad(models.pull(MODEL)).model.stream()
        hops = stopwatch(lambda: clock.run(_hops(seconds, stream.step))).cpu / seconds * 100
    print(f"  floors: {timers:.2f} % 50 timers/s on a bare loop; {hops:.2f} % with 31 bare calls/s of the detector")


def _share(samples: Samples, path: Path | None) -> float:
    """CPU of a live session on `samples`, in % of a core."""
    made, _ = session(samples, path)
    watch = stopwatch(lambda: made.run(speed=1.0))
    return watch.cpu / watch.wall * 100


async def _hops(seconds: int, call: Callable[[], object]) -> None:
    """Wake 50 times a second, and at 31 of them call."""
    session_time, hops = Clock(), 0
    for n in range(50 * seconds):
        await session_time.sleep_until((n + 1) * SECOND // 50)
        if (n + 1) * 320 >= (hops + 1) * 512:
            call()
            hops += 1


def interruptions(quick: bool, target: Targets) -> None:
    """Percept to sink."""
    pauses, flushes = barge_in(50 if quick else 300)
    print("\nbarge-in, real loop: percept published -> speaker told")
    print(f"  pause  {spread(pauses, 'us', 1e-3)}" + target(percentile(pauses, 99) <= 1e6, "p99 <= 1000 us"))
    print(f"  flush  {spread(flushes, 'us', 1e-3)}" + target(percentile(flushes, 99) <= 1e6, "p99 <= 1000 us"))


# --- long sessions


class Weight:
    """A tap that notes the memory of this process each minute of session time. resident: MiB at each"""

    name = "weight"
    reads: tuple[Topic[Any], ...] = (VOICE,)

    def __init__(self) -> None:
        self.resident: list[float] = []

    async def run(self, lane: Lane, session_time: Clock, report: Callable[[Fault], None]) -> None:
        """As a tap."""
        async for packet in lane:
            if packet.t >= (len(self.resident) + 1) * 60 * SECOND:
                self.resident.append(_resident())


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(quick: bool, data: Path | None, target: Targets) -> None:
    """A long conversation, recorded: does it grow?"""
    minutes, warm = (8, 3) if quick else (35, 5)
    clips, _ = mixed(data)
    weight = Weight()
    with tempfile.TemporaryDirectory() as folder:
        made, _ = session(dialogue(clips, minutes * 60, 0.15), Path(folder) / "session.mcap", (weight,))
        made.run(speed=None)
    first, last = weight.resident[warm - 1], weight.resident[-1]
    grown = last - first
    print(f"\n{minutes} minutes of conversation (15% speech), recorded: resident memory")
    print(
        f"  {first:.1f} MiB after {warm} minutes, {last:.1f} at the end: {grown:+.1f} MiB in {minutes - warm} minutes"
        + target(grown <= 5, "<= 5 MiB in 30 minutes")
    )


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="real recordings to mix in")
    parsed = parser.parse_args(arguments)
    target = Targets()
    print(machine("numpy", "onnxruntime", "pocketsphinx", "msgspec"))
    if "memory" in parsed.only:  # first: what others leave behind would hide growth
        memory(parsed.quick, parsed.data, target)
    if "start" in parsed.only:
        start(parsed.quick, target)
    if "talk" in parsed.only:
        talk(parsed.quick, parsed.data, target)
    if "idle" in parsed.only:
        idle(parsed.quick, target)
    if "barge-in" in parsed.only:
        interruptions(parsed.quick, target)
    return 1 if target.missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

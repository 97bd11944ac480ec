"""What hearing costs: raw ONNX calls beside bus + Silero, and how many sessions one core carries.

    python -m benchmarks.vad [AUDIO.wav] [--seconds 60] [--sessions 50 100 200]

Without a file it hears seeded noise bursts: the cost does not depend on what is heard. CPU time is that of the whole
process; the raw floor and the encoder are measured in turns in one run, so their ratio holds on a busy machine.
"""

import argparse
import asyncio
import gc
import os
import platform
import statistics
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from streams import clock, models, onnx
from streams.audio.blocks import RATE
from streams.bus import Bus
from streams.clock import SECOND, Clock
from streams.encoders.vad import MODEL, SileroVad
from streams.pump import pump
from streams.topics import AUDIO, PERCEPT, VOICE, Topic
from streams.types import Audio, Samples

BLOCK = 320


def sound(path: Path | None, seconds: float) -> Samples:
    """int16[seconds * 16000]: the file, repeated, or seeded noise coming and going."""
    length = int(seconds * RATE)
    if path is None:
        noise = np.random.default_rng(0).normal(0, 2000, length)
        return (noise * (np.sin(np.arange(length) / RATE * 3) > 0)).astype(np.int16)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2), "16 kHz mono int16"
        return np.resize(np.frombuffer(file.readframes(file.getnframes()), np.int16), length)


def processor() -> str:
    """The processor's name, as far as the system tells."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process that `work` takes."""
    gc.collect()
    before = time.process_time()
    work()
    return time.process_time() - before


def raw_run(model: onnx.Model, samples: Samples) -> None:
    """The floor: nothing but `session.run`, as one would write it by hand."""
    session, rate = model.session, np.array(RATE, np.int64)
    state = np.zeros((2, 1, 128), np.float32)
    window = np.zeros((1, 576), np.float32)
    for _ in range(len(samples) // 512):
        _, state = session.run(None, {"input": window, "sr": rate, "state": state})


def raw_bound(model: onnx.Model, samples: Samples) -> None:
    """The floor by I/O binding, as `onnx.Stream` does it."""
    stream = model.stream()
    stream.inputs["sr"][...] = RATE
    for _ in range(len(samples) // 512):
        stream.step()


async def through_bus(path: Path, samples: Samples) -> int:
    """Every block through the bus, the pump and Silero on a real loop; somebody reads what comes out."""
    session = Clock()
    bus = Bus(session)
    heard = 0

    async def read() -> None:
        nonlocal heard
        with bus.open(VOICE, PERCEPT, reader="benchmark") as lane:
            async for _ in lane:
                heard += 1

    async def hear() -> None:
        await pump(SileroVad(path), bus, session)
        bus.close(VOICE, PERCEPT)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        group.create_task(hear())
        await asyncio.sleep(0)
        for start in range(0, len(samples), BLOCK):
            end = start + BLOCK
            bus.publish(AUDIO, end * SECOND // RATE, Audio(samples[start:end], RATE, start))
            await asyncio.sleep(0)  # one wake-up per block, as live
            await asyncio.sleep(0)
        bus.close(AUDIO)
    return heard


class Timed:
    """Publishes on `bus` and notes how late each `Voice` is: ms since the block that completed its hop was due."""

    def __init__(self, bus: Bus, phase: int, step: int, late: list[float]) -> None:
        self.bus, self.phase, self.step, self.late = bus, phase, step, late

    def publish(self, topic: Topic[Any], t: int, data: Any) -> None:
        """As `Bus.publish`."""
        self.bus.publish(topic, t, data)
        if topic is VOICE:
            due = self.phase + (-(-t // self.step) - 1) * self.step
            self.late.append((self.bus.clock.now() - due) / 1e6)


async def crowd(path: Path, samples: Samples, sessions: int) -> list[float]:
    """Real-time sessions on one loop, each with its own bus and pump; ms from a block to the `Voice` it completes."""
    late: list[float] = []
    session = Clock()
    blocks = len(samples) // BLOCK
    step = BLOCK * SECOND // RATE
    begin = session.now() + SECOND // 2

    async def one(place: int) -> None:
        phase = begin + step * place // sessions  # microphones are not in step
        bus = Bus(session)
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(SileroVad(path), bus, session, Timed(bus, phase, step, late)))
            for block in range(blocks):
                await session.sleep_until(phase + block * step)
                start = block * BLOCK
                bus.publish(AUDIO, (block + 1) * step, Audio(samples[start : start + BLOCK], RATE, start))
            bus.close(AUDIO)

    async with asyncio.TaskGroup() as group:
        for place in range(sessions):
            group.create_task(one(place))
    return sorted(late)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("audio", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, nargs="*", default=[50, 100, 200])
    options = parser.parse_args()
    path = models.pull(MODEL)
    samples = sound(options.audio, options.seconds)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, for the crowd to be honest
    print(f"{processor()}, {os.cpu_count()} cores, pinned to one; {platform.platform()}")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, ONNX Runtime {onnxruntime.__version__}")

    SileroVad(path)
    model = SileroVad(path).model
    rows: dict[str, list[float]] = {"raw session.run": [], "raw, I/O binding": [], "bus + Silero": []}
    for _ in range(5):
        rows["raw session.run"].append(cpu(lambda: raw_run(model, samples)))
        rows["raw, I/O binding"].append(cpu(lambda: raw_bound(model, samples)))
        rows["bus + Silero"].append(cpu(lambda: clock.run(through_bus(path, samples))))
    floor = statistics.median(rows["raw session.run"])
    print(f"\nCPU per second of audio, 50 blocks/s of 20 ms ({options.seconds:g} s, median of 5, min-max)")
    for name, times in rows.items():
        each = [1e3 * took / options.seconds for took in times]
        ratio = statistics.median(times) / floor
        print(f"  {name:18} {statistics.median(each):6.2f} ms ({min(each):.2f}-{max(each):.2f})  {ratio:.2f} x floor")

    print("\nreal-time sessions on one core: ms from a block to the voice it completes")
    for sessions in options.sessions:
        before = time.process_time()
        late = clock.run(crowd(path, samples[: 8 * RATE], sessions))
        load = (time.process_time() - before) / 8
        p50, p99 = (late[int(len(late) * part)] for part in (0.5, 0.99))
        verdict = "holds" if p99 <= 20 else "too many"
        print(
            f"  {sessions:4} sessions: p50 {p50:6.2f}  p99 {p99:6.2f}  max {late[-1]:6.2f}  core {load:4.0%}  {verdict}"
        )


if __name__ == "__main__":
    main()

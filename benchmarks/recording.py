"""What recording costs, and how fast a recording is read: `python -m benchmarks.recording [--seconds 300]`.

A session of 50 blocks of sound each way, 31 voice hops and 6 events a second. The floor printed beside each figure is
the same session without a recorder, and the `mcap` library's own reader. Times are CPU time of the whole process.
"""

import argparse
import asyncio
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader

from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.recording import Header, Recorder, Recording, recover
from streams.topics import ACTION, ALL, AUDIO, FEEDBACK, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import Audio, Fault, Outcome, Voice, Word, Words

NOISE = np.random.default_rng(0).integers(-3000, 3000, 16_000, dtype=np.int16)


async def scene(path: Path | None, seconds: int, steps: list[int]) -> int:
    """Run the session, recorded to `path` if there is one; returns the number of packets."""
    clock = Clock()
    bus = Bus(clock)

    async def talk() -> None:
        hop = 0
        for block in range(seconds * 50):
            t = (block + 1) * 20 * MS
            await clock.sleep_until(t)
            place = block % 50 * 320
            bus.publish(AUDIO, t, Audio(NOISE[place : place + 320], 16_000, block * 320))
            bus.publish(PLAYBACK, t, Audio(NOISE[place : place + 320], 16_000, block * 320))
            while hop * 32 * MS < t:
                bus.publish(VOICE, hop * 32 * MS, Voice(hop % 100 / 99, hop % 100 > 50))
                hop += 1
            if block % 10 == 0:
                words = (Word("turn", t, t + 5), Word("left", t + 5, t + 9))
                bus.publish(PERCEPT, t, Words(block // 100, "turn left", words, final=False))
            if block % 50 == 0:
                bus.publish(FEEDBACK, t, Outcome(block // 50, block, "Say", "", "done", result="yes"))
        bus.close(*ALL)

    async def late() -> None:
        """How late the loop runs a timer, which is what a recorder could spoil."""
        while PLAYBACK not in bus.closed:
            due = clock.now() + MS
            await clock.sleep_until(due)
            steps.append(clock.now() - due)

    async with asyncio.TaskGroup() as group:
        if path is not None:
            recorder = Recorder(path, Header.now(clock.started))
            lane = bus.open(*recorder.reads, reader=recorder.name)
            group.create_task(recorder.run(lane, clock, complain))
        group.create_task(talk())
        if not clock.virtual:
            group.create_task(late())
    return bus.order


def complain(fault: Fault) -> None:
    """The benchmark is worth nothing if recording failed."""
    raise SystemExit(fault.message)


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of CPU that `work` took, and what it returned."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="of session time (default 300)")
    seconds = parser.parse_args().seconds
    print(f"{platform.platform()}, Python {platform.python_version()}, mcap {version('mcap')}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.mcap"
        floor, packets = cpu(lambda: run(scene(None, seconds, []), virtual=True))
        taken, _ = cpu(lambda: run(scene(path, seconds, []), virtual=True))
        cost, size = taken - floor, path.stat().st_size
        each = cost / packets * 1e6
        print(f"write  {cost / seconds * 1e3:6.2f} ms of CPU per second of session ({each:.1f} us a packet)")
        print(f"       {floor / seconds * 1e3:6.2f} ms: the session itself; the file: {size / seconds / 1e3:.0f} kB/s")

        percepts: tuple[Topic[Any], ...] = (VOICE, PERCEPT, TURN, ACTION, FEEDBACK)
        for name, topics in (("all topics", ALL), ("from percepts", percepts)):
            taken, count = cpu(lambda: sum(1 for _ in Recording.open(path).packets(topics)))  # noqa: B023
            print(f"read   {seconds / taken:6.0f} x real time, {name} ({taken / count * 1e6:.2f} us a packet)")
        with path.open("rb") as file:
            taken, count = cpu(lambda: sum(1 for _ in make_reader(file).iter_messages()))
        each = taken / count * 1e6
        print(f"       {seconds / taken:6.0f} x real time, the mcap library without decoding ({each:.1f} us a message)")

        path.write_bytes(path.read_bytes()[:-100_000])
        taken, recording = cpu(lambda: Recording.open(path))
        print(f"open   {taken * 1e3:6.1f} ms for a torn file of {recording.duration / SECOND:.0f} s")
        taken, _ = cpu(lambda: recover(path))
        print(f"recover{recording.duration / SECOND / taken:6.0f} x real time")

        live = min(seconds, 8)
        for name, target in (("without", None), ("with", path)):
            steps: list[int] = []
            taken, _ = cpu(lambda: run(scene(target, live, steps)))  # noqa: B023 - called at once
            steps.sort()
            p50, p99 = (steps[len(steps) * part // 100] / MS for part in (50, 99))
            print(f"live   {taken / live * 1e3:6.2f} ms of CPU per second {name} a recorder, all in all")
            print(f"       a timer is late by p50 {p50:.2f}, p99 {p99:.2f}, max {steps[-1] / MS:.2f} ms")


if __name__ == "__main__":
    main()

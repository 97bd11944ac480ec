"""Chunk policies in the loop: starved steps, jitter, seams between chunks, and what is run into.

    python -m benchmarks.chunks [--packages FOLDER] [--minutes 10] [--real 60] [--passes 400] [--plot FILE.png]

Without --packages the two policies of examples/reach are trained first (torch, about two minutes). Then, at 50 Hz:

- in virtual time, with the real graphs and a declared latency of 40 to 200 ms (drawn anew for each inference), each way
  to go over from one chunk to the next: the jump at a seam beside the step inside a chunk, crashes with their interval,
- in virtual time, `--minutes` of the guided policy: starved steps,
- in real time, `--real` seconds with a latency that is really waited: starved steps, and how late the steps come.
"""

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import machine, percentile, spread
from examples.reach.train import Recipe, train
from examples.reach.world import Arm, tool
from policies.chunks.errors import PackageError
from policies.chunks.executor import ChunkExecutor
from policies.chunks.inference import OnnxPolicy
from policies.chunks.package import Package
from policies.chunks.policy import Observation, Stitch
from policies.chunks.scaling import Floats
from policies.chunks.told import Counts, Event, Tick
from streams.clock import MS, SECOND, Clock, Stopwatch, run

LEAST_MS, MOST_MS = 40, 200
PATIENCE = 300


class Found(NamedTuple):
    """Of one run. jumps, steps: largest change (rad) at seams and within chunks;  late: ns after the deadline"""

    arm: Arm
    counts: Counts
    jumps: list[float]
    steps: list[float]
    late: list[int]
    latency: int
    events: list[Event]
    path: list[tuple[Tick, Any]]


class Slow:
    """A policy that takes longer, in its thread."""

    def __init__(self, policy: OnnxPolicy, seed: int) -> None:
        self._policy, self._random, self.spec = policy, np.random.default_rng(seed), policy.spec

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        """As in `ChunkPolicy`."""
        rows = self._policy.infer(observation, previous, delay, stitch)
        threading.Event().wait(self._random.uniform(LEAST_MS, MOST_MS) / 1000)
        return rows


async def drive(
    policy: Any, stitch: Stitch, seed: int, *, seconds: float, passes: int, latency: tuple[float, float], by_task: bool
) -> Found:  # fmt: skip
    """Runs for `seconds`, or until `passes` are done. by_task: each pass is a task of its own, cancelled at its end."""
    clock, random = Clock(), np.random.default_rng(seed + 1)
    arm = Arm(seed, PATIENCE)
    found = Found(arm, Counts(), [], [], [], 0, [], [])
    before: list[Tick] = []
    pending: list[Any] = [None]

    def observe() -> Observation:
        state, goal = arm.observed()
        return Observation(clock.now(), {"observation.state": state, "observation.environment_state": goal})

    def tick(tick: Tick) -> None:
        skipped = tick.step - before[-1].step - 1 if before else 0
        found.late.append(tick.t - tick.due + skipped * policy.spec.dt)  # behind the step that should have come
        if before and before[-1].action is not None and tick.action is not None and tick.state == "moving":
            jump = float(np.abs(tick.action - before[-1].action).max())
            (found.jumps if tick.chunk != before[-1].chunk else found.steps).append(jump)
        before[:] = [tick]
        done = arm.passes
        arm.step(pending[0])  # what was asked at the step before has happened by now
        pending[0] = tick.action
        if len(found.path) < 3000:
            found.path.append((tick, tool(arm.joints)))
        if arm.passes != done and by_task:
            executor.cancel()
            executor.begin(f"reach {arm.passes}")

    low, high = latency
    executor = ChunkExecutor(
        policy, clock, observe=observe, tick=tick, told=found.events.append, stitch=stitch,
        cost=lambda: round(random.uniform(low, high) * MS),
    )  # fmt: skip
    executor.begin("reach 0")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(executor.run())
        while clock.now() < seconds * SECOND and arm.passes < passes:
            await clock.sleep_until(clock.now() + 200 * MS)
        running.cancel()
    return found._replace(counts=executor.counts, latency=executor.latency.p95 or 0)


def wilson(hits: int, n: int) -> str:
    """`hits` of `n` in percent, with its 95 % interval (Wilson)."""
    if n == 0:
        return "-"
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) * 100 for sign in (-1, 1))
    return f"{p * 100:5.1f} % ({low:.1f} to {high:.1f})"


WAYS: tuple[tuple[str, Stitch, int], ...] = (
    ("flow", "replace", 1), ("flow", "blend", 1), ("flow", "best_of", 8),
    ("flow", "forward", 1), ("flow", "forward", 8),
    ("one_pass", "replace", 1), ("one_pass", "blend", 1),
)  # fmt: skip
HEAD = f"{'policy':10}{'stitch':12}{'step p95':>10}{'seam p50':>10}{'seam p95':>10}{'ratio':>7}"


def compare(folder: Path, passes: int, by_task: bool) -> dict[str, Found]:
    """Each way to stitch, on the same goals; prints a line of each."""
    what = "each pass a task" if by_task else "one task without end: the goal jumps"
    print(f"\n{what}; {passes} passes, {LEAST_MS} to {MOST_MS} ms, virtual time")
    print(f"{HEAD}  {'crashed':24}{'reached':24}starved")
    every: dict[str, Found] = {}
    for family, stitch, samples in WAYS:
        policy = OnnxPolicy.load(folder / family, samples=samples)
        driving = drive(policy, stitch, 7, seconds=1e6, passes=passes, latency=(LEAST_MS, MOST_MS), by_task=by_task)
        found = run(driving, virtual=True)
        name = f"{stitch} {samples}" if samples > 1 or stitch == "forward" else stitch
        every[f"{family} {name}"] = found
        step, seam, arm = percentile(found.steps, 95), percentile(found.jumps, 95), found.arm
        print(
            f"{family:10}{name:12}{step:10.4f}{percentile(found.jumps, 50):10.4f}{seam:10.4f}{seam / step:7.2f}  "
            f"{wilson(arm.crashed, arm.passes):24}{wilson(arm.reached, arm.passes):24}"
            f"{found.counts.starved} of {found.counts.moved + found.counts.starved}"
        )
    return every


def costs(folder: Path, calls: int = 200) -> None:
    """What an inference takes."""
    print("\none inference, real graphs, one thread")
    for family, stitch, samples in (WAYS[0], WAYS[2], WAYS[3], WAYS[4], WAYS[5]):
        policy = OnnxPolicy(Package.read(folder / family), samples=samples)
        state, goal = Arm(0).observed()
        seen = Observation(0, {"observation.state": state, "observation.environment_state": goal})
        before = policy.infer(seen, None, 0)
        took = []
        for _ in range(calls):
            with Stopwatch() as watch:
                policy.infer(seen, before[:20], 6, stitch)
            took.append(watch.wall)
        print(f"{family:10}{f'{stitch} {samples}':12}{spread(took, 'ms', 1000)}")


def draw(every: dict[str, Found], path: Path) -> None:
    """A picture of the ways, and of the first two joints where chunks meet. Needs matplotlib."""
    import matplotlib  # type: ignore[import-not-found]

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(every), figsize=(4.2 * len(every), 8))
    for (name, found), (above, below) in zip(every.items(), axes.T):
        places = np.array([place for _, place in found.path])
        above.plot(places[:, 0], places[:, 1], lw=0.5)
        above.add_patch(pyplot.Circle((0.46, 0.0), 0.05, color="red", alpha=0.4))
        above.set_title(name)
        above.set_aspect("equal")
        ticks = [tick for tick, _ in found.path[:400] if tick.action is not None]
        steps = [tick.step for tick in ticks]
        actions = np.array([tick.action for tick in ticks])
        below.plot(steps, actions[:, :2], lw=0.8)
        seams = [i for i in range(1, len(ticks)) if ticks[i].chunk != ticks[i - 1].chunk]
        below.plot([steps[i] for i in seams], actions[seams][:, :2], "k.", ms=3)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def starvation(folder: Path, minutes: float) -> bool:
    """Whether nothing starved in virtual time."""
    print(f"\n{minutes:g} minutes of virtual time, one task without end, guided, by latency of an inference")
    fine = True
    for low, high in ((40.0, 40.0), (200.0, 200.0), (40.0, 200.0)):
        policy = OnnxPolicy.load(folder / "flow")
        driving = drive(policy, "forward", 5, seconds=minutes * 60, passes=10**9, latency=(low, high), by_task=False)
        counts = run(driving, virtual=True).counts
        steps = counts.moved + counts.starved
        print(f"{low:3.0f} to {high:3.0f} ms: {counts.starved} starved of {steps} steps; {counts.inferred} chunks")
        fine &= counts.starved == 0
    return fine


async def bare(seconds: float) -> list[float]:
    """ms behind the deadline of each step of a loop that does nothing else: what this machine can do now."""
    clock, late, step = Clock(), [], 0
    while clock.now() < seconds * SECOND:
        await clock.sleep_until(step * 20 * MS)
        late.append((clock.now() - step * 20 * MS) / MS)
        step = max(step + 1, clock.now() // (20 * MS))
    return late


def really(folder: Path, seconds: float) -> bool:
    """Whether in real time nothing starved and steps were in time."""
    print(f"\n{seconds:g} s of real time, {LEAST_MS} to {MOST_MS} ms really waited, guided")
    floor = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.chunks", "--bare", str(seconds)], stdout=subprocess.PIPE, text=True
    )  # beside it, in a process of its own
    policy = Slow(OnnxPolicy.load(folder / "flow"), 3)
    threading.Event().wait(3)  # it is started by then
    with Stopwatch() as watch:
        found = run(drive(policy, "forward", 5, seconds=seconds, passes=10**9, latency=(0, 0), by_task=False))
    counts, arm, late = found.counts, found.arm, [each / MS for each in found.late]
    print(f"starved {counts.starved} of {counts.moved + counts.starved} steps, skipped {counts.skipped}")
    print(f"steps come late by {spread(late, 'ms')}; {watch.cpu / watch.wall * 100:.0f} % of a core")
    print(f"bare loop beside   {floor.communicate()[0].strip()}")
    print(f"p95 of the latency {found.latency / MS:.0f} ms")
    print(f"reached {wilson(arm.reached, arm.passes)}, crashed {arm.crashed} of {arm.passes}")
    return counts.starved == 0 and percentile(late, 99) < 5


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, help="a folder that examples.reach.train has made")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--real", type=float, default=60, help="seconds")
    parser.add_argument("--passes", type=int, default=400)
    parser.add_argument("--plot", type=Path, help="a picture of the ways, to look at")
    parser.add_argument("--bare", type=float, default=0, help="only a loop that does nothing, for so many seconds")
    parser.add_argument("--only-real", action="store_true", help="only the part in real time")
    asked = parser.parse_args()
    if asked.bare:
        late = run(bare(asked.bare))
        print(f"{spread(late, 'ms')}, skipped {round(asked.bare * 50) - len(late)}")
        return
    print(machine("onnxruntime", "numpy", "torch"))
    with tempfile.TemporaryDirectory() as made:
        folder = asked.packages or Path(made)
        if asked.packages is not None:
            try:
                for each in sorted({family for family, _, _ in WAYS}):
                    Package.read(folder / each)
            except PackageError as error:
                parser.error(f"--packages: {error}")
        if asked.packages is None:
            for done in train(folder, Recipe()):
                print(f"{done.folder.name}: {done.seconds:.0f} s, loss {done.loss:.5f}, parity {done.parity:.1e}")
        if asked.only_real:
            raise SystemExit(0 if really(folder, asked.real) else 1)
        costs(folder)
        every = compare(folder, asked.passes, by_task=True)
        if asked.plot:
            draw(every, asked.plot)
        compare(folder, asked.passes, by_task=False)
        fine = starvation(folder, asked.minutes)
        fine &= really(folder, asked.real) if asked.real else True
    ratio = {}
    for name in ("flow forward 8", "flow best_of 8"):
        found = every[name]
        ratio[name] = percentile(found.jumps, 95) / percentile(found.steps, 95)
    print(f"\nstarved 0 and late p99 < 5 ms: {'reached' if fine else 'MISSED'}")
    for name, value in ratio.items():
        print(f"{name}: seam p95 {value:.2f} of the step p95, at most 1.2: {'reached' if value <= 1.2 else 'MISSED'}")
    raise SystemExit(0 if fine and max(ratio.values()) <= 1.2 else 1)


if __name__ == "__main__":
    main()

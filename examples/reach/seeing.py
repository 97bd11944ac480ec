"""Train a chunk policy that sees: the tool goes to a red lamp of which only the camera knows.

    nice -n 19 python -m examples.reach.seeing --out FOLDER [--steps 1000] [--seed 0] [--threads 1] [--passes 200]

makes the package FOLDER (one pass; pictures and joints), runs it in the loop on tables that it has not seen, and the
same with black pictures. The network: three convolutions, spatial soft-argmax (C. Finn et al., "Deep spatial
autoencoders for visuomotor learning", arXiv 1509.06113), two layers. Needs torch.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from examples.reach.eye import LEAST, MOST, SIZE, Table, black
from examples.reach.world import DT, NAMES, NEAR, Floats, reach, tool
from policies.chunks.description import Acted, ChunkSpec, Normal, Observed
from policies.chunks.executor import ChunkExecutor
from policies.chunks.inference import OnnxPolicy
from policies.chunks.looking import Sight, pixels
from policies.chunks.package import write_package
from policies.chunks.policy import ChunkPolicy, Observation
from policies.chunks.told import Tick
from streams.clock import MS, SECOND, Clock, Stopwatch, run
from streams.errors import DependencyMissing

ROWS = 30
PACE, SHARE = 0.025, 0.12  # rad per step at most, and of what is left: it slows down before the goal
REST = np.array([0.0, 0.0, 0.0, 0.2])  # rad, of the other joints: inside their limits, beyond which chunks are refused
STATE, FRONT = "observation.state", "observation.images.front"
PARITY = 1e-4
PICTURE = 100 * MS  # between two of the camera, when it is driven
COST = 40 * MS
SECONDS = 3.0


class Recipe(NamedTuple):
    """How it is trained. tables: pictures;  steps: of Adam;  width: of the layers;  channels: of the convolutions"""

    seed: int = 0
    tables: int = 4000
    steps: int = 1000
    batch: int = 128
    width: int = 128
    channels: int = 16
    rate: float = 2e-3
    threads: int = 1


RECIPE = Recipe()


class Trained(NamedTuple):
    """How it went. parity: largest difference between torch and the ONNX graph, in actions"""

    loss: float
    parity: float
    seconds: float


def plan(joints: Floats, place: Floats, rows: int = ROWS) -> Floats:
    """rad[n, rows, 6]: what the expert does, who knows the place m[n, 2], from rad[n, 6] on."""
    goal = joints.copy()
    goal[:, :2] = reach(place)
    goal[:, 2:] = REST
    found, at = np.empty((len(joints), rows, 6)), joints
    for row in range(rows):
        at = at + np.clip(SHARE * (goal - at), -PACE, PACE)
        found[:, row] = at
    return found


def begin(random: np.random.Generator) -> Floats:
    """rad[6]: somewhere."""
    joints = random.uniform(-0.3, 0.3, 6)
    joints[:2] = reach(random.uniform(LEAST, MOST))
    joints[5] = random.uniform(0.1, 0.3)
    return joints


def data(tables: int, seed: int) -> tuple[Any, Any, Any]:
    """(pictures uint8[n, height, width, 3], joints float32[n, 6], chunks float32[n, rows, 6])."""
    random = np.random.default_rng(seed)
    seen, states, places = np.empty((tables, *SIZE, 3), np.uint8), np.empty((tables, 6)), np.empty((tables, 2))
    for n in range(tables):
        table = Table(seed * 1_000_003 + n)
        joints = begin(random)
        if n % 2:  # as often near it as anywhere: that is where it has to be exact
            joints[:2] = reach(table.place + random.normal(0, 0.03, 2))
        seen[n], states[n], places[n] = pixels(table.picture(joints), SIZE), joints, table.place
    return seen, states.astype(np.float32), plan(states, places).astype(np.float32)


def train(out: Path, recipe: Recipe = RECIPE) -> Trained:
    """The package `out`. The same seed on the same machine gives the same graph."""
    try:
        import torch  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing("torch", "train", "Training a chunk policy") from error
    from examples.reach.seeing_network import Seeing  # noqa: PLC0415

    torch.set_num_threads(recipe.threads)
    with Stopwatch() as watch:
        seen, joints, chunks = data(recipe.tables, recipe.seed)
        moves = chunks - joints[:, None]
        spec = _spec(_normal(joints), _normal(moves.reshape(-1, 6)), recipe)
        state, action = spec.observation[STATE].normal, spec.action.normal
        tensors = [torch.from_numpy(each) for each in (seen, _scaled(joints, state), _scaled(moves, action))]
        torch.manual_seed(recipe.seed)
        network = Seeing(SIZE, recipe.channels, recipe.width, ROWS, len(NAMES))
        loss = _fit(torch, network, tensors, recipe)
    facts = {"seed": recipe.seed, "steps": recipe.steps, "tables": recipe.tables, "loss": round(loss, 6)}
    write_package(out, msgspec.structs.replace(spec, trained=facts), {"policy": network.data()})
    policy, worst = OnnxPolicy.load(out), 0.0
    with torch.no_grad():
        for n in range(20):
            ours = network(_pictures(tensors[0][n : n + 1]), tensors[1][n : n + 1])[0].numpy()
            wanted = ours * np.array(action.std, np.float32) + np.array(action.mean, np.float32) + joints[n]
            found = policy.infer(Observation(0, {STATE: joints[n], FRONT: seen[n]}), None, 0)
            worst = max(worst, float(np.abs(wanted - found).max()))
    return Trained(loss, worst, watch.wall)


def _fit(torch: Any, network: Any, tensors: list[Any], recipe: Recipe) -> float:
    """Adam with a cosine, on the mean distance. Returns the loss at the end."""
    adam = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, recipe.rate, recipe.steps, pct_start=0.1)
    smooth = 0.0
    for n in range(recipe.steps):
        pick = torch.randint(0, len(tensors[0]), (recipe.batch,))
        loss = (network(_pictures(tensors[0][pick]), tensors[1][pick]) - tensors[2][pick]).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
        smooth = float(loss.detach()) if n == 0 else 0.98 * smooth + 0.02 * float(loss.detach())
    return smooth


class Arm:
    """The arm, driven by a policy on a table that it has not seen; success is that it ends near the lamp."""

    def __init__(self, policy: ChunkPolicy, seed: int, *, dark: bool = False) -> None:
        self.table, self.joints = Table(900_000_000 + seed), begin(np.random.default_rng(seed))
        self._policy, self._dark = policy, dark
        self._taken: tuple[int, Any] | None = None

    @property
    def off(self) -> float:
        """How far the tool is from the lamp, m."""
        return float(np.hypot(*(tool(self.joints) - self.table.place)))

    async def drive(self, seconds: float = SECONDS) -> bool:
        """Whether it arrives. In virtual time."""
        clock = Clock()

        def observe() -> Observation:
            now = clock.now()
            if self._taken is None or now - self._taken[0] >= PICTURE:
                self._taken = now, black() if self._dark else self.table.picture(self.joints)
            columns = {STATE: self.joints.astype(np.float32)}
            return Observation(now, Sight(columns, {FRONT: (self._taken[1], SIZE)}))

        def tick(step: Tick) -> None:
            if step.action is not None:
                self.joints = self.joints + np.clip(step.action - self.joints, -2 * PACE, 2 * PACE)

        executor = ChunkExecutor(
            self._policy, clock, observe=observe, tick=tick, stitch="replace", cost=lambda: COST
        )  # fmt: skip
        executor.begin("reach the lamp")
        running = asyncio.ensure_future(executor.run())
        await clock.sleep_until(clock.now() + round(seconds * SECOND))
        running.cancel()
        await asyncio.wait([running])
        return self.off < NEAR


def arrivals(policy: ChunkPolicy, passes: int, *, dark: bool = False, first: int = 0) -> tuple[int, list[float]]:
    """How often it arrives of so many tables, and how far off (m) it is in the end."""
    arms = [Arm(policy, first + n, dark=dark) for n in range(passes)]
    return sum(run(each.drive(), virtual=True) for each in arms), [each.off for each in arms]


def _spec(state: Normal, action: Normal, recipe: Recipe) -> ChunkSpec:
    return ChunkSpec(
        name="reach-lamp", family="one_pass", drives="arm.chunk", dt_ms=DT * 1000, horizon=ROWS, graphs={},
        task="Brings the tool to the red lamp that the camera sees.",
        observation={STATE: Observed(NAMES, normal=state, channel="joints"), FRONT: Observed(size=SIZE, oldest_ms=400)},
        action=Acted(NAMES, action, relative=True),
    )  # fmt: skip


def _pictures(seen: Any) -> Any:
    """As the runtime has them: float32[n, 3, height, width] of 0..1."""
    return seen.permute(0, 3, 1, 2).float() / 255


def _normal(values: Any) -> Normal:
    return Normal(tuple(map(float, values.mean(0))), tuple(map(float, values.std(0) + 1e-6)))


def _scaled(values: Any, normal: Normal) -> Any:
    return ((values - np.array(normal.mean, np.float32)) / np.array(normal.std, np.float32)).astype(np.float32)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the package")
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--passes", type=int, default=200, help="tables on which it is tried")
    asked = parser.parse_args()
    done = train(asked.out, Recipe(seed=asked.seed, steps=asked.steps, threads=asked.threads))
    print(f"{asked.out}: loss {done.loss:.5f}, {done.seconds:.0f} s, torch and ONNX differ by {done.parity:.1e} rad")
    if done.parity > PARITY:
        raise SystemExit(f"that is more than {PARITY:g}: the package is not what was trained")
    policy = OnnxPolicy.load(asked.out)
    for dark in (False, True):
        reached, off = arrivals(policy, asked.passes, dark=dark)
        said = f"{reached} of {asked.passes} tables, {1000 * float(np.median(off)):.0f} mm off in the middle"
        print(f"{'black pictures' if dark else 'with pictures'}: reached {said}")


if __name__ == "__main__":
    main()

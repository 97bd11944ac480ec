"""Train two chunk policies on what a scripted expert does, and write them as packages of ONNX graphs.

    nice -n 19 python -m examples.reach.train --out FOLDER [--steps 2500] [--seed 0] [--threads 1]

makes FOLDER/flow (flow matching; can be guided) and FOLDER/one_pass (like ACT without its latent). Needs torch.
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from examples.reach.expert import data
from examples.reach.world import DT, NAMES
from policies.chunks.description import Acted, ChunkSpec, Normal, Observed
from policies.chunks.inference import OnnxPolicy
from policies.chunks.package import write_package
from policies.chunks.policy import Observation
from streams.clock import Stopwatch
from streams.errors import DependencyMissing

ROWS = 40
PARITY = 1e-4


class Recipe(NamedTuple):
    """How it is trained. steps: of Adam;  width, layers: of networks;  samples: states in which the expert is asked"""

    seed: int = 0
    steps: int = 2500
    width: int = 256
    layers: int = 2
    samples: int = 60_000
    batch: int = 512
    rate: float = 2e-3
    rows: int = ROWS
    threads: int = 1


RECIPE = Recipe()


class Trained(NamedTuple):
    """A package, and how it went. parity: largest difference between torch and the ONNX graphs, in actions"""

    folder: Path
    loss: float
    parity: float
    seconds: float


def train(out: Path, recipe: Recipe = RECIPE, families: tuple[str, ...] = ("flow", "one_pass")) -> list[Trained]:
    """Both policies, in the folders `out`/family. The same seed on the same machine gives the same graphs."""
    try:
        import torch  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing("torch", "train", "Training a chunk policy") from error
    from examples.reach.networks import Flow, OnePass  # noqa: PLC0415

    torch.set_num_threads(recipe.threads)
    joints, goals, chunks = data(recipe.samples, recipe.rows, recipe.seed)
    moves = chunks - joints[:, None]
    mean, std = moves.mean((0, 1)), moves.std((0, 1)) + 1e-6
    spec = _spec(recipe, _normal(joints), _normal(goals), Normal(_numbers(mean), _numbers(std)))
    tensors = [
        torch.from_numpy(values.astype(np.float32))
        for values in (
            _scaled(joints, spec.observation["observation.state"].normal),
            _scaled(goals, spec.observation["observation.environment_state"].normal),
            (moves - mean) / std,
        )
    ]
    trained = []
    for family in families:
        torch.manual_seed(recipe.seed)
        kind = Flow if family == "flow" else OnePass
        network = kind(recipe.width, recipe.layers, recipe.rows, len(NAMES))
        with Stopwatch() as watch:
            loss = _fit(torch, network, tensors, recipe)
        facts = {"seed": recipe.seed, "steps": recipe.steps, "samples": recipe.samples, "loss": round(loss, 6)}
        named = msgspec.structs.replace(
            spec, name=f"reach-{family.replace('_', '-')}", family=family,
            rtc="forward" if family == "flow" else "none", trained=facts,
        )  # fmt: skip
        write_package(out / family, named, network.graphs())
        parity = _parity(torch, out / family, network, joints, goals, (mean, std))
        trained.append(Trained(out / family, loss, parity, watch.wall))
    return trained


def _fit(torch: Any, network: Any, tensors: list[Any], recipe: Recipe) -> float:
    """Adam with a warm-up and a cosine; the weights kept are a moving average. Returns the loss at the end."""
    weights = list(network.parameters())
    average = [weight.detach().clone() for weight in weights]
    adam = torch.optim.Adam(weights, lr=recipe.rate)
    smooth = 0.0
    for n in range(recipe.steps):
        rate = recipe.rate * min(1.0, (n + 1) / 100) * (0.02 + 0.98 * (1 + math.cos(math.pi * n / recipe.steps)) / 2)
        adam.param_groups[0]["lr"] = rate
        pick = torch.randint(0, len(tensors[0]), (recipe.batch,))
        loss = network.lost(*(each[pick] for each in tensors))
        adam.zero_grad()
        loss.backward()
        adam.step()
        smooth = float(loss.detach()) if n == 0 else 0.98 * smooth + 0.02 * float(loss.detach())
        torch._foreach_lerp_(average, [weight.detach() for weight in weights], max(0.005, 1 / (n + 1)))
    with torch.no_grad():
        for weight, mean in zip(weights, average):
            weight.copy_(mean)
    return smooth


def _parity(torch: Any, folder: Path, network: Any, joints: Any, goals: Any, scale: Any) -> float:
    """Largest difference (rad) between torch and the package, on states of the data and the same noise."""
    worst = 0.0
    for n in range(20):
        policy = OnnxPolicy.load(folder, seed=n)
        spec = policy.spec
        seen = {"observation.state": joints[n], "observation.environment_state": goals[n]}
        noise = np.random.default_rng(n)
        shape = (1, spec.horizon, len(spec.action.names))
        if spec.family == "flow":
            noise.standard_normal(shape, np.float32)  # of the warm-up
        feeds = [
            torch.from_numpy(_scaled(seen[name], each.normal)[None].astype(np.float32))
            for name, each in spec.observation.items()
        ]
        with torch.no_grad():
            at = network.sample(*feeds, torch.from_numpy(noise.standard_normal(shape, np.float32)), spec.steps)
        wanted = at[0].numpy() * scale[1] + scale[0] + joints[n]
        worst = max(worst, float(np.abs(wanted - policy.infer(Observation(0, seen), None, 0)).max()))
    return worst


def _spec(recipe: Recipe, state: Normal, goal: Normal, action: Normal) -> ChunkSpec:
    return ChunkSpec(
        name="reach", family="flow", drives="arm.chunk", dt_ms=DT * 1000, horizon=recipe.rows, graphs={}, steps=10,
        task="Brings the tool to goal.x, goal.y, round the disk in between.",
        observation={
            "observation.state": Observed(NAMES, normal=state, channel="joints"),
            "observation.environment_state": Observed(("goal.x", "goal.y"), normal=goal),
        },
        action=Acted(NAMES, action, relative=True),
    )  # fmt: skip


def _normal(values: Any) -> Normal:
    return Normal(_numbers(values.mean(0)), _numbers(values.std(0) + 1e-6))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _scaled(values: Any, normal: Normal) -> Any:
    return (values - np.array(normal.mean, np.float32)) / np.array(normal.std, np.float32)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two packages")
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    for done in train(asked.out, Recipe(seed=asked.seed, steps=asked.steps, threads=asked.threads)):
        print(
            f"{done.folder}: loss {done.loss:.5f}, {done.seconds:.0f} s, torch and ONNX differ by {done.parity:.1e} rad"
        )
        if done.parity > PARITY:
            raise SystemExit(f"that is more than {PARITY:g}: the package is not what was trained")


if __name__ == "__main__":
    main()

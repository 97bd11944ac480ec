"""The example is really trained, exported and driven: small, in seconds."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'visavis[train]'")
pytest.importorskip("onnxruntime")

from benchmarks.chunks import drive
from examples.reach.expert import choose, data, plans
from examples.reach.train import PARITY, Recipe, train
from examples.reach.world import PLACES, Arm, reach, tool
from policies.chunks.inference import OnnxPolicy
from streams.clock import run

TINY = Recipe(steps=250, width=64, layers=1, samples=4000, batch=128, rows=20)


def test_the_arm_goes_where_it_is_told() -> None:
    places = np.random.default_rng(0).uniform([0.3, -0.25], [0.55, 0.25], (100, 2))
    joints = np.zeros((100, 6))
    joints[:, :2] = reach(places)
    assert np.abs(tool(joints) - places).max() < 1e-9


def test_the_expert_goes_round_the_disk_on_both_sides() -> None:
    arm, random, sides = Arm(2), np.random.default_rng(0), set()
    for n in range(2000):
        if n % 20 == 0:
            side = choose(tool(arm.joints)[None], arm.goal[None], random)
            rows = plans(arm.joints[None], arm.goal[None], side, 20)[0]
        arm.step(rows[n % 20])
        if abs(tool(arm.joints)[1]) < 0.01:
            sides.add(bool(tool(arm.joints)[0] > PLACES[0][0]))
    assert sides == {True, False} and arm.reached >= 14 and arm.crashed == 0


def test_two_ways_are_in_the_data() -> None:
    joints, goals, chunks = data(2000, 40, 0)
    assert joints.shape == (2000, 6) and goals.shape == (2000, 2) and chunks.shape == (2000, 40, 6)
    assert np.isfinite(chunks).all()
    assert np.abs(np.diff(chunks, axis=1)).max() < 0.05  # what a joint can do


def test_trained_exported_and_driven(tmp_path: Path) -> None:
    made = train(tmp_path, TINY)
    assert [each.folder.name for each in made] == ["flow", "one_pass"]
    assert all(each.parity < PARITY for each in made)
    again = train(tmp_path / "again", TINY, families=("flow",))
    assert (again[0].folder / "step.onnx").read_bytes() == (tmp_path / "flow" / "step.onnx").read_bytes()
    for family, stitch in (("flow", "forward"), ("flow", "best_of"), ("one_pass", "replace")):
        policy = OnnxPolicy.load(tmp_path / family)
        found = run(
            drive(policy, stitch, 1, seconds=20, passes=99, latency=(40, 120), by_task=False),  # type: ignore[arg-type]
            virtual=True,
        )
        assert found.counts.starved == found.counts.refused == 0
        assert found.counts.moved > 900 and not found.events
        assert max(found.steps) < 1.0

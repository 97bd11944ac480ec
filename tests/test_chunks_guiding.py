"""The weights and the guidance of real-time chunking, and the arithmetic of plans."""

import numpy as np
import pytest

from policies.chunks.guiding import flow, nearest, weights
from policies.chunks.latency import Latency
from policies.chunks.plan import Plan, between


def test_decided_rows_weigh_one_then_less_then_nothing() -> None:
    found = weights(16, 4, 10)
    assert (found[:4] == 1).all()
    assert (np.diff(found[3:10]) < 0).all() and found[9] > 0
    assert (found[10:] == 0).all()
    # equation 5 of the paper, by hand: c = (10 - 6) / (10 - 4 + 1)
    c = 4 / 7
    assert found[6] == pytest.approx(c * (np.exp(c) - 1) / (np.e - 1))


@pytest.mark.parametrize(("delay", "overlap"), [(0, 0), (0, 5), (5, 5), (9, 5), (40, 40)])
def test_weights_are_weights_in_every_case(delay: int, overlap: int) -> None:
    found = weights(16, delay, overlap)
    assert found.shape == (16,) and np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1
    assert (found[min(overlap, 16) :] == 0).all()


def to_signs(at: np.ndarray, time: float) -> np.ndarray:
    """A flow with two ends: all rows 1 or all rows -1."""
    end = np.sign(at.mean(axis=1, keepdims=True))
    return ((end - at) / max(1 - time, 0.05)).astype(np.float32)


def test_a_guided_flow_stays_on_the_way_of_the_rows_before() -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((200, 12, 1)).astype(np.float32)
    free, _ = flow(to_signs, noise, 10)
    assert 0.3 < (free[:, 0, 0] > 0).mean() < 0.7
    guided, unpulled = flow(to_signs, noise, 10, np.ones((12, 1), np.float32), weights(12, 3, 8))
    assert guided.shape == noise.shape
    assert np.abs(guided[:, :3] - 1).max() < 0.1
    assert (guided[:, -1, 0] > 0).mean() > 0.95
    assert unpulled[nearest(unpulled, np.ones((12, 1), np.float32), weights(12, 3, 8))].min() > 0.9


def test_nearest_looks_only_where_chunks_overlap() -> None:
    samples = np.zeros((3, 4, 1), np.float32)
    samples[1, :2], samples[2, 2:] = 1.0, 1.0
    target = np.ones((4, 1), np.float32)
    assert nearest(samples, target, np.array([1, 1, 0, 0], np.float32)) == 1
    assert nearest(samples, target, np.array([0, 0, 1, 1], np.float32)) == 2


def test_rows_between_rows() -> None:
    rows = np.array([[0.0], [2.0], [4.0]], np.float32)
    assert between(rows, 0.25).tolist() == [[0.5], [2.5]]
    assert between(rows, 0.0) is rows
    assert between(rows[:1], 0.5).tolist() == [[0.0]]


def test_a_plan_goes_over_at_the_cut() -> None:
    plan = Plan()
    plan.splice(np.zeros((6, 1), np.float32), 10, 10, "a", "left")
    row, missed = plan.take(11)
    assert row is not None and (row.step, missed) == (11, 1)
    assert plan.take(11) == (None, 0)
    plan.splice(np.ones((6, 1), np.float32), 12, 14, "b", "right")
    rows = [(row.step, float(row.action[0]), row.chunk, row.task) for row in plan.rows]
    assert rows == [(step, 0.0, "a", "left") for step in (12, 13)] + [
        (step, 1.0, "b", "right") for step in range(14, 18)
    ]
    plan.splice(np.full((4, 1), 3.0, np.float32), 16, 16, "c", "right", old=0.5)
    assert [float(row.action[0]) for row in plan.rows] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_first_inference_is_no_measure() -> None:
    latency = Latency(kept=50)
    latency.add(9_000)
    assert latency.p95 is None
    for ns in range(1, 101):
        latency.add(ns)
    assert latency.p95 == 98  # of 51 to 100

"""The scripted expert, and the data that it makes: in each state it plans a chunk, now left, now right of the disk.

Both ways are as good, so what it does has two modes: in the middle it tosses a coin, and the further it is on one side
the surer it stays there. A policy that answers with the mean of the two drives into the disk.
"""

import numpy as np
from numpy.typing import NDArray

from examples.reach.world import DT, OBSTACLE, PLACES, Floats, reach, tool

VELOCITY = 0.2  # m/s of the tool
BERTH, WIDTH = 0.09, 0.09  # m: how far round the disk, and over which length
LOOK = 0.06  # m: it steers to where the way is so far ahead
TURN = 0.02  # rad per step, of the joints beside the first two


def lateral(along: Floats) -> Floats:
    """How far beside the straight line the way is (m), by the place along it."""
    return BERTH * np.exp(-((along / WIDTH) ** 2))


def plans(joints: Floats, goal: Floats, side: Floats, rows: int) -> Floats:
    """rad[n, rows, 6]: what the expert does next, from the state rad[n, 6] to the goal m[n, 2], on `side` (±1)[n]."""
    at, rest = tool(joints), joints[:, 2:].copy()
    way = np.sign(goal[:, 1] - OBSTACLE[1])
    found = np.empty((len(joints), rows, 6))
    for row in range(rows):
        left = np.hypot(*(goal - at).T)
        ahead = way * np.minimum(way * at[:, 1] + LOOK, way * goal[:, 1])
        line = OBSTACLE[0] + (goal[:, 0] - OBSTACLE[0]) * np.clip(way * ahead / np.abs(goal[:, 1]), 0, 1)
        target = np.stack([line + side * lateral(ahead), ahead], axis=1)
        target = np.where((left < LOOK)[:, None], goal, target)
        direction = target - at
        far = np.maximum(np.hypot(*direction.T), 1e-9)
        pace = np.minimum(VELOCITY * DT, 0.15 * left + 1e-4)  # it slows down before the goal
        at = at + direction * (np.minimum(pace, far) / far)[:, None]
        first = reach(at)
        wanted = np.stack(
            [3 * lateral(at[:, 1]), -(first[:, 0] + first[:, 1]) / 2, 0.2 * way, 0.02 + 0.02 * np.tanh(20 * left)],
            axis=1,
        )
        rest = rest + np.clip(wanted - rest, -TURN, TURN)
        found[:, row] = np.concatenate([first, rest], axis=1)
    return found


def choose(at: Floats, goal: Floats, random: np.random.Generator) -> Floats:
    """On which side it passes, (±1)[n]: a coin in the middle, the side where it is beside the disk."""
    way = np.sign(goal[:, 1])
    sure = np.where(way * at[:, 1] > -0.08, 0.003, 0.04)
    return np.where(random.random(len(at)) < 1 / (1 + np.exp(-(at[:, 0] - OBSTACLE[0]) / sure)), 1.0, -1.0)


def data(samples: int, rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(joints float32[n, 6], goals float32[n, 2], what the expert does then: float32[n, rows, 6])."""
    random = np.random.default_rng(seed)
    ways, length = max(1, samples // 50), 150
    to = random.integers(0, 2, ways)
    start = PLACES[1 - to] + random.uniform(-0.02, 0.02, (ways, 2))
    goal = PLACES[to] + random.uniform(-0.015, 0.015, (ways, 2))
    joints = np.zeros((ways, 6))
    joints[:, :2] = reach(start)
    walked = plans(joints, goal, random.choice([-1.0, 1.0], ways), length)
    pick = random.integers(0, ways, samples)
    joints = walked[pick, random.integers(0, length, samples)]
    goal = goal[pick]
    joints[:, :2] = reach(tool(joints) + random.normal(0, 0.006, (samples, 2)))  # so that it knows the way back
    joints[:, 2:5] += random.normal(0, 0.05, (samples, 3))
    joints[:, 5] += random.normal(0, 0.005, samples)
    lost = random.random(samples) < 0.15  # the other joints are anywhere: they are brought back
    joints[lost, 2:5] = random.uniform(-1.0, 1.0, (int(lost.sum()), 3))
    joints[lost, 5] = random.uniform(0.0, 0.1, int(lost.sum()))
    turned = random.random(samples) < 0.1  # the goal has just changed sides
    goal[turned] = PLACES[(goal[turned, 1] < 0).astype(int)] + random.uniform(-0.015, 0.015, (int(turned.sum()), 2))
    chunks = plans(joints, goal, choose(tool(joints), goal, random), rows)
    return joints.astype(np.float32), goal.astype(np.float32), chunks.astype(np.float32)

"""An arm that moves its tool in a plane, to and fro between two places, round a disk that stands in between.

Kinematic, without physics: joints go where they are told, at a limited speed. Only NumPy.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DT = 0.02  # s between steps
NAMES = ("j1.pos", "j2.pos", "j3.pos", "j4.pos", "j5.pos", "gripper.pos")
LINKS = 0.3  # m, both
BENT = 1.5  # rad of the elbow at j2 = 0
OBSTACLE, RADIUS = np.array([0.46, 0.0]), 0.05
PLACES = np.array([[0.46, -0.2], [0.46, 0.2]])  # m
NEAR = 0.02  # m: this close, it has arrived
SPEED = 0.05  # rad per step that a joint can do


def tool(joints: Floats) -> Floats:
    """Where the tool is: m[..., 2], of rad[..., 6]."""
    first, second = joints[..., 0], joints[..., 0] + joints[..., 1] + BENT
    return LINKS * np.stack([np.cos(first) + np.cos(second), np.sin(first) + np.sin(second)], axis=-1)


def reach(place: Floats) -> Floats:
    """The two joints that bring the tool to m[..., 2]: rad[..., 2]."""
    far = np.clip((place**2).sum(axis=-1) / (2 * LINKS**2) - 1, -1.0, 1.0)
    bend = np.arccos(far)
    return np.stack([np.arctan2(place[..., 1], place[..., 0]) - bend / 2, bend - BENT], axis=-1)


class Arm:
    """The arm and its goal, which changes sides whenever it was reached, or has not been within `patience` steps."""

    def __init__(self, seed: int, patience: int = 300) -> None:
        self._random = np.random.default_rng(seed)
        self._patience, self._side, self._age = patience, 1, 0
        self.joints = np.zeros(6)
        self.joints[:2] = reach(PLACES[0])
        self.joints[3] = -(self.joints[0] + self.joints[1]) / 2
        self.passes, self.reached, self.crashed, self._touched = 0, 0, 0, False
        self.goal = self._place()

    def step(self, action: Floats | None) -> None:
        """One step towards `action` (rad[6]); None: rest."""
        if action is not None:
            self.joints = self.joints + np.clip(action - self.joints, -SPEED, SPEED)
        at = tool(self.joints)
        self._touched |= bool(np.hypot(*(at - OBSTACLE)) < RADIUS)
        self._age += 1
        arrived = np.hypot(*(at - self.goal)) < NEAR
        if arrived or self._age > self._patience:
            self.passes += 1
            self.crashed += self._touched
            self.reached += bool(arrived and not self._touched)
            self._side, self._age, self._touched = 1 - self._side, 0, False
            self.goal = self._place()

    def observed(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(joints, as sensors with a little noise have them, float32[6]; the goal, float32[2])."""
        noise = self._random.normal(0, 0.001, 6)
        return (self.joints + noise).astype(np.float32), self.goal.astype(np.float32)

    def _place(self) -> Floats:
        return PLACES[self._side] + self._random.uniform(-0.015, 0.015, 2)

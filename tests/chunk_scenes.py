"""Chunk policies that are no networks, and packages that are tiny: for tests."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from examples.reach.graph import Graph
from policies.chunks.description import Acted, ChunkSpec, Normal, Observed
from policies.chunks.errors import ChunkRefused
from policies.chunks.package import write_package
from policies.chunks.policy import Observation, Stitch
from policies.chunks.scaling import Floats
from streams.clock import MS

DT = 20 * MS
ROWS = 20


def spec(names: tuple[str, ...] = ("j1.pos", "j2.pos"), rows: int = ROWS, **changed: Any) -> ChunkSpec:
    parts: dict[str, Any] = {
        "name": "scripted",
        "family": "flow",
        "drives": "arm.chunk",
        "observation": {"observation.state": Observed(names, channel="joints")},
        "action": Acted(names),
        "dt_ms": 20.0,
        "horizon": rows,
        "graphs": {},
        "rtc": "forward",
    }
    return ChunkSpec(**{**parts, **changed})


def clocked(observation: Observation, rows: int, columns: int) -> Floats:
    """Row i is the time it is for, in seconds: whoever executes it can be told whether it was in time."""
    times = (observation.t + np.arange(rows) * DT) / 1e9
    return np.repeat(times[:, None], columns, axis=1).astype(np.float32)


class Script:
    """Answers with `answer(observation)`, or refuses with its text; remembers what it was asked."""

    def __init__(self, answer: Callable[[Observation], Any] | None = None, wait: float = 0.0, **changed: Any) -> None:
        self.spec = spec(**changed)
        self.asked: list[tuple[int, Floats | None, int, Stitch]] = []
        self._answer, self._wait = answer, wait

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        self.asked.append((observation.t, previous, delay, stitch))
        if self._wait:
            threading.Event().wait(self._wait)
        if self._answer is None:
            return clocked(observation, self.spec.horizon, len(self.spec.action.names))
        found = self._answer(observation)
        if isinstance(found, str):
            raise ChunkRefused(found)
        return found  # type: ignore[no-any-return]


def one_pass(folder: Path, *, columns: int = 2, rows: int = 4, gain: float = 2.0, relative: bool = False) -> Path:
    """Each row is `gain` times the state, as the graph sees it."""
    graph = Graph("policy")
    state = graph.input("observation.state", [1, columns])
    flat = graph.linear(state, np.tile(gain * np.eye(columns, dtype=np.float32), (rows, 1)), None)
    shape = graph.constant(np.array([1, rows, columns]))
    graph.output("action", [1, rows, columns], graph.node("Reshape", flat, shape))
    names = ("j1.pos", "j2.pos", "j3.pos")[:columns]
    described = spec(
        names,
        rows,
        family="one_pass",
        rtc="none",
        observation={"observation.state": Observed(names, normal=Normal((1.0,) * columns, (2.0,) * columns))},
        action=Acted(names, Normal(min=(-4.0,) * columns, max=(8.0,) * columns), relative),
    )
    write_package(folder, described, {"policy": graph.data()})
    return folder


def two_ways(folder: Path, *, rows: int = 8, **changed: Any) -> Path:
    """A flow of one column whose samples go up or down, to ±1, as their noise has it: two modes.

    The network says that it ends at the sign of where the rows are in the mean.
    """
    encoder = Graph("encoder")
    state = encoder.input("observation.state", [1, 1])
    encoder.output("context", [1, 1], state)
    step = Graph("step")
    step.input("context", [1, 1])
    noisy = step.input("noisy", ["n", rows, 1])
    time = step.input("time", ["n", 1])
    flat = step.node("Reshape", noisy, step.constant(np.array([-1, rows])))
    mean = step.linear(flat, np.full((1, rows), 1.0 / rows, np.float32), None)
    end = step.node("Tanh", step.node("Mul", mean, step.constant(50.0)))
    left = step.node("Max", step.node("Sub", step.constant(1.0), time), step.constant(0.05))
    velocity = step.node("Div", step.node("Sub", end, flat), left)
    step.output(
        "velocity", ["n", rows, 1], step.node("Reshape", velocity, step.constant(np.array([-1, rows, 1])))
    )  # fmt: skip
    write_package(folder, spec(("j1.pos",), rows, **changed), {"encoder": encoder.data(), "step": step.data()})
    return folder

"""What a recording has to learn from: stretches in which a robot was driven, row by row, as they were recorded.

Of skills: the rows of `Controlled`, one take for each `Command` that a skill carried out. Of steering by hand: `Steer`
and `BodyState`, one take from the first `Steer` until it was let go. A pause of half a second ends either.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.lerobot.errors import ExportError
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Attached, BodyState, Controlled, Outcome, Steer

Of: TypeAlias = Literal["skills", "steering"]
PAUSE = 500 * MS
BY_HAND = "Steered by hand."
STATE = ("x.pos", "y.pos", "yaw.pos", "x.vel", "yaw.vel")  # m, m, rad, m/s, rad/s
STEERED = ("x.vel", "y.vel", "yaw.vel")  # m/s, m/s, rad/s


class Take(NamedTuple):
    """One stretch.

    source: the recording;  where, kind: the robot's id, and what it is;  task: in words
    times: int64[rows], session time (ns), ascending
    state: float32[rows, states], action: float32[rows, actions];  states, actions: names of the columns
    command: number of the command in its recording, 0 = none;  dt_ms: between two rows of its policy, 0 = not told
    """

    source: Path
    where: str
    kind: str
    task: str
    times: NDArray[np.int64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    states: tuple[str, ...]
    actions: tuple[str, ...]
    command: int = 0
    dt_ms: float = 0.0

    @property
    def place(self) -> str:
        """For messages: where it is."""
        return f"{self.source}: {self.where} at {self.times[0] / SECOND:.1f} s"


class Found(NamedTuple):
    """What was found in one recording.

    statuses: how each command ended;  lacks: what was left out, in sentences
    """

    takes: list[Take]
    statuses: dict[int, str]
    lacks: list[str]


class _Rows:
    """A take in the making."""

    def __init__(self, where: str, task: str, command: int, dt_ms: float = 0.0) -> None:
        self.where, self.task, self.command, self.dt_ms = where, task, command, dt_ms
        self.times: list[int] = []
        self.state: list[dict[str, float]] = []
        self.action: list[dict[str, float]] = []
        self.until = 0  # of what was asked for

    def add(self, t: int, state: dict[str, float], action: dict[str, float]) -> None:
        """Of several rows of one instant the last counts."""
        if self.times and t <= self.times[-1]:
            self.state[-1], self.action[-1] = state, action
            return
        self.times.append(t)
        self.state.append(state)
        self.action.append(action)

    def take(self, source: Path, kind: str) -> Take:
        """Raises `ExportError` if rows differ in their columns, or hold what is no number."""
        states, actions = tuple(self.state[0]), tuple(self.action[0])
        arrays = _array(self.state, states), _array(self.action, actions)
        made = Take(
            source,
            self.where,
            kind,
            self.task,
            np.array(self.times, np.int64),
            *arrays,
            states,
            actions,
            self.command,
            self.dt_ms,
        )
        if not all(np.isfinite(each).all() for each in arrays):
            raise ExportError(f"{made.place}: it holds what is no number.")
        return made


def takes(recording: Recording, of: Of, robot: str = "") -> Found:
    """Those of `recording`: all of `robot` (default: of every robot), in the order in which they begin.

    A recording that is torn is read as far as it is whole. Raises `RecordingError` if it is damaged.
    """
    statuses: dict[int, str] = {}
    kinds: dict[str, str] = {}
    done: list[_Rows] = []
    lacks: list[str] = []
    gather = _Skills(done) if of == "skills" else _Steering(done)
    for packet in _packets(recording):
        if isinstance(packet.data, Outcome) and packet.data.action == "Command":
            statuses[packet.data.id] = packet.data.status
        elif isinstance(packet.data, Attached):
            kinds[packet.data.where] = packet.data.kind
        gather.meet(packet.t, packet.data)
    gather.end()
    found: list[Take] = []
    for rows in done:
        if len(rows.times) < 2 or (robot and rows.where != robot):
            continue
        try:
            take = rows.take(recording.path, kinds.get(rows.where, ""))
        except ExportError as error:
            lacks.append(str(error))
            continue
        if of == "steering" and not np.ptp(take.state, axis=0).any():  # it was refused, or somebody else drove
            lacks.append(f"{take.place}: left out, the robot was steered and did not move.")
        else:
            found.append(take)
    return Found(sorted(found, key=lambda take: int(take.times[0])), statuses, lacks)


def _packets(recording: Recording) -> Iterator[Packet[Any]]:
    return recording.packets([ACTION, FEEDBACK])


def _array(rows: list[dict[str, float]], names: tuple[str, ...]) -> NDArray[np.float32]:
    """A row that lacks a column has what is no number there."""
    values = [[row[name] for name in names] if row.keys() == set(names) else [math.nan] * len(names) for row in rows]
    return np.array(values, np.float32).reshape(len(rows), len(names))


class _Skills:
    def __init__(self, done: list[_Rows]) -> None:
        self._done = done
        self._open: dict[tuple[str, int, str], _Rows] = {}
        self._known: dict[tuple[str, int, str], dict[str, float]] = {}

    def meet(self, t: int, data: Any) -> None:
        if not isinstance(data, Controlled):
            return
        key = data.where, data.id, data.skill
        state = data.state or self._known.get(key)  # nothing new was heard: it acts on what it knew
        if not state or not data.action:
            return
        self._known[key] = state
        rows = self._open.get(key)
        if rows is None or t - rows.times[-1] > PAUSE:
            rows = self._open[key] = _Rows(data.where, data.task or data.skill, data.id, data.dt_ms)
            self._done.append(rows)
        rows.add(t, state, data.action)

    def end(self) -> None:
        """Nothing is left to do."""


class _Steering:
    def __init__(self, done: list[_Rows]) -> None:
        self._done = done
        self._known: dict[str, dict[str, float]] = {}
        self._first = ""
        self._open: dict[str, _Rows] = {}

    def meet(self, t: int, data: Any) -> None:
        if isinstance(data, BodyState):
            self._stands(t, data)
        elif isinstance(data, Attached):
            self._first = self._first or data.where
        elif isinstance(data, Steer):
            self._steered(t, data.robot or self._first, (data.vx, data.vy, data.wz))

    def _stands(self, t: int, data: BodyState) -> None:
        self._first = self._first or data.where
        if data.pose is None or data.link != "heard":
            self._known.pop(data.where, None)
            self._close(data.where)
            return
        state = dict(zip(STATE, (*data.pose, *data.speed)))
        self._known[data.where] = state
        rows = self._open.get(data.where)
        if rows is not None and t - rows.until > PAUSE:
            self._close(data.where)
        elif rows is not None:
            rows.add(t, state, rows.action[-1])

    def _steered(self, t: int, where: str, wish: tuple[float, float, float]) -> None:
        state, rows = self._known.get(where), self._open.get(where)
        if rows is not None and t - rows.until > PAUSE:
            self._close(where)
            rows = None
        if state is None or (rows is None and not any(wish)):
            return
        if rows is None:
            rows = self._open[where] = _Rows(where, BY_HAND, 0)
            self._done.append(rows)
        rows.add(t, state, dict(zip(STEERED, wish)))
        rows.until = t
        if not any(wish):
            self._close(where)

    def _close(self, where: str) -> None:
        """What was heard of the robot after the last wish is no part of it."""
        rows = self._open.pop(where, None)
        while rows is not None and rows.times and rows.times[-1] > rows.until:
            rows.times.pop()
            rows.state.pop()
            rows.action.pop()

    def end(self) -> None:
        for where in list(self._open):
            self._close(where)

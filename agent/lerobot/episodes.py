"""Takes as episodes: at a fixed number of frames a second, and all with the same columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.lerobot.errors import ExportError
from agent.lerobot.takes import STEERED, Of, Take
from streams.clock import MS, SECOND

STEERING_FPS = 10
"""A robot tells its state five times a second at most."""


USUAL = (1, 2, 5, 10, 15, 20, 25, 30, 50, 60, 100, 200)
"""Rates of policies, rows a second."""


class Episode(NamedTuple):
    """A take on the grid of frames.

    times: int64[frames], session time (ns), 1 / fps apart
    state: float32[frames, states], action: float32[frames, actions], see `Take`
    """

    take: Take
    times: NDArray[np.int64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]


def pace(takes: Sequence[Take], of: Of) -> tuple[int, str]:
    """Frames a second, of a skill the rate of its policy's rows; and what is to be told of it, "" = nothing.

    A recording from before the rate was recorded has the times of its rows alone. A busy machine leaves rows out and
    brings others late, so that they tell of too low a rate rather than of too high a one.
    """
    if of == "steering":
        return STEERING_FPS, ""
    told = sorted({_hertz(take.dt_ms) for take in takes if take.dt_ms >= 1})
    if told:
        each = " and ".join(map(str, told))
        more = f"there are rows of {each} a second, all are at {told[-1]}: --fps sets another." if told[1:] else ""
        return told[-1], more
    median = float(np.median(np.concatenate([np.diff(take.times) for take in takes]))) / MS
    exact = _hertz(max(1, round(median)))  # rows come a little early and late
    if exact in USUAL:
        return exact, ""
    fps = min((each for each in USUAL if each >= exact), default=exact)
    return fps, (
        f"the rows are {median:.1f} ms apart, and the recording does not tell the policy's own rate: {fps} frames a "
        "second; --fps sets another rate."
    )


def _hertz(dt_ms: float) -> int:
    return max(1, round(1000 / dt_ms))


def alike(takes: Sequence[Take], of: Of) -> list[Take]:
    """The takes with the columns of the dataset. Raises `ExportError` if they differ."""
    takes = _without_sideways(takes) if of == "steering" else list(takes)
    first = takes[0]
    for take in takes[1:]:
        for what, ours, theirs in (
            ("observation.state", take.states, first.states),
            ("action", take.actions, first.actions),
        ):
            if ours != theirs:
                raise ExportError(
                    f"{take.place}: {what} has the columns {', '.join(ours)}; the first episode ({first.place}) has "
                    f"{', '.join(theirs)}. A dataset has the same in every episode: export them apart (--robot)."
                )
    return takes


def _without_sideways(takes: Sequence[Take]) -> list[Take]:
    """A base that nobody steers sideways has no column for it."""
    aside = STEERED.index("y.vel")
    if any(take.action[:, aside].any() for take in takes):
        return list(takes)
    names = tuple(name for name in STEERED if name != "y.vel")
    return [take._replace(action=np.delete(take.action, aside, axis=1), actions=names) for take in takes]


def episode(take: Take, fps: int, of: Of) -> Episode:
    """`take` at `fps`. Of steering each frame has the newest row not later than it. Of a skill, whose rows come at a
    rate of their own and a little late at times, the nearest one: at that rate each frame then has a row of its own.
    """
    first, last = int(take.times[0]), int(take.times[-1])
    frames = (last - first + MS) * fps // SECOND + 1
    times = first + np.arange(frames, dtype=np.int64) * SECOND // fps
    rows = np.maximum(np.searchsorted(take.times, times, side="right") - 1, 0)
    if of == "skills":
        after = np.minimum(rows + 1, len(take.times) - 1)
        rows = np.where(abs(take.times[after] - times) < abs(take.times[rows] - times), after, rows)
    return Episode(take, times, take.state[rows], take.action[rows])

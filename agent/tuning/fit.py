"""Searching the settings of the wait: the shortest one that cuts people off no more often than before.

Where more is cut off than may be (`TARGET`), a longer wait has its price, too.

Random search and then steps around the best (J. Bergstra, Y. Bengio, Random Search for Hyper-Parameter Optimization,
JMLR 2012), because the figures are counts and have no slope. The same seed gives the same settings.
"""

from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from agent.tuning.waits import Bools, Floats, Table, plain
from policies.endpointing import EndpointingConfig

DRAWS, STEPS = 2000, 1000
MARGIN_MS = 60.0
"""So much later than the turn is taken somebody may go on and it still counts as cut off, while settings are sought."""
TARGET = 0.05
"""Share of what people say that may be cut off, unless more was before."""
PRICE_MS = 50.0
"""What 1 % of what people say is worth, if it is no more cut off, in milliseconds of wait."""
_MIDDLE = 0.5  # how much the median of the wait counts; the rest is the mean, or half of the ends would count nothing
_TAIL = 0.2  # how much the 90th percentile counts beside these
_NEAR_MS = 10.0  # how many ms of wait a change of every setting over half its range must bring

# setting: least, most, digits
_WAIT: dict[str, tuple[float, float, int]] = {
    "min_wait_ms": (200, 900, -1),
    "max_wait_ms": (400, 4000, -1),
    "confident": (0.3, 0.95, 2),
    "curve": (0.4, 3.0, 2),
}
_MODEL: dict[str, tuple[float, float, int]] = {
    "model_weight": (0.0, 1.5, 2),
    "model_neutral": (0.3, 0.95, 2),
    "model_most": (0.3, 3.0, 2),
}


class Figures(Struct, frozen=True):
    """What settings come to. cut: share of what was said that is cut off;  median_ms, mean_ms, p90_ms: wait at the ends

    None where nothing was measured.
    """

    cut: float | None
    median_ms: float | None
    mean_ms: float | None
    p90_ms: float | None


def cut_groups(table: Table, taken_ms: Floats, margin_ms: float = 0.0) -> Bools:
    """[silences]: which silences are holds that the turn is taken in."""
    result: Bools = table.hold & (taken_ms <= table.gap + margin_ms)
    return result


def figures(table: Table, taken_ms: Floats, margin_ms: float = 0.0) -> Figures:
    """The figures of `table` if turns are taken after `taken_ms` [silences]."""
    cut = np.bincount(table.place[cut_groups(table, taken_ms, margin_ms)])
    share = np.count_nonzero(cut) / table.sayings if table.sayings else None
    waits = taken_ms[~table.hold]
    if not len(waits):
        return Figures(share, None, None, None)
    median, p90 = np.percentile(waits, [50, 90])
    return Figures(share, float(median), float(waits.mean()), float(p90))


def fit(
    table: Table,
    now: EndpointingConfig,
    *,
    grace_ms: float,
    seed: int,
    target: float = TARGET,
    probability: Floats | None = None,
    allowed: float | None = None,
) -> EndpointingConfig:
    """The settings that wait least on `table` without cutting off more than `allowed`.

    allowed: share that `now` cuts off, if known;  target: what is cut off beyond that costs `PRICE_MS` for each 1 %
    probability: [silences, moments] of a learnt fusion; then only the wait itself is fitted
    """
    rng = np.random.default_rng(seed)
    start = plain(now)
    if allowed is None:
        allowed = figures(table, table.taken_ms(start, grace_ms, probability)).cut or 0.0
    ranges = _WAIT if probability is not None else _WAIT | _MODEL

    def cost(config: EndpointingConfig) -> tuple[float, float]:
        found = figures(table, table.taken_ms(config, grace_ms, probability), MARGIN_MS)
        wait = _MIDDLE * (found.median_ms or 0.0) + (1 - _MIDDLE) * (found.mean_ms or 0.0)
        wait += _TAIL * (found.p90_ms or 0.0) + _NEAR_MS * _far(config, start, ranges)
        cut = found.cut or 0.0
        return max(0.0, cut - allowed), wait + 100 * PRICE_MS * max(0.0, cut - target)

    best = start
    least = cost(best)
    for draw in range(DRAWS + STEPS):
        candidate = _drawn(start, ranges, rng) if draw < DRAWS else _step(best, ranges, rng)
        if candidate is not None and (new := cost(candidate)) < least:
            best, least = candidate, new
    return best


def _drawn(start: EndpointingConfig, ranges: dict[str, tuple[float, float, int]], rng: Any) -> EndpointingConfig | None:
    return _with(start, {name: rng.uniform(low, high) for name, (low, high, _) in ranges.items()}, ranges)


def _step(best: EndpointingConfig, ranges: dict[str, tuple[float, float, int]], rng: Any) -> EndpointingConfig | None:
    """Around `best`: one to three settings a little changed."""
    names = rng.choice(list(ranges), size=rng.integers(1, 4), replace=False)
    values = {}
    for name in map(str, names):
        low, high, _ = ranges[name]
        width = (high - low) * 10 ** rng.uniform(-2, -0.7)
        values[name] = float(np.clip(getattr(best, name) + rng.normal(0, width), low, high))
    return _with(best, values, ranges)


def _with(
    config: EndpointingConfig, values: dict[str, float], ranges: dict[str, tuple[float, float, int]]
) -> EndpointingConfig | None:
    rounded = {name: round(value, ranges[name][2]) for name, value in values.items()}
    whole = {name: int(value) if name.endswith("_ms") else float(value) for name, value in rounded.items()}
    if whole.get("max_wait_ms", config.max_wait_ms) < whole.get("min_wait_ms", config.min_wait_ms):
        return None
    return msgspec.structs.replace(config, **whole)


def _far(config: EndpointingConfig, start: EndpointingConfig, ranges: dict[str, tuple[float, float, int]]) -> float:
    """How far `config` is from `start`: of settings that do the same, those nearest to what was are chosen."""
    return float(
        np.mean(
            [2 * abs(getattr(config, n) - getattr(start, n)) / (high - low) for n, (low, high, _) in ranges.items()]
        )
    )

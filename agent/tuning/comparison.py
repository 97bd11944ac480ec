"""Before and after, on what was held out: figures with intervals, and whether they are better enough to recommend.

Intervals are percentile bootstraps over what was said (B. Efron, 1979): a saying is drawn with all of its silences, and
the difference of two settings is taken within each draw.
"""

import math
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from agent.figures import Share
from agent.tuning.fit import PRICE_MS, cut_groups
from agent.tuning.waits import Bools, Floats, Table

DRAWS = 2000
ENOUGH, ENOUGH_HOLDS = 60, 15
"""Things said, and pauses in them, below which nothing is recommended."""
HELD, HELD_HOLDS = 15, 4
"""The same of what is held out."""
WORSE = 0.05
"""A quicker setting may not, in its interval, cut off so much more of what is said."""
BORDERS = 5  # recordings from which on whole ones are held out

Interval: TypeAlias = tuple[float, float]


class Row(Struct, frozen=True):
    """One setting on what was held out. cut: share of what was said that is cut off

    median_ms, mean_ms, p90_ms: wait at the ends;  interval: 95 % of the median
    """

    name: str
    said: int
    cut: Share
    ends: int
    median_ms: float | None
    interval: Interval | None
    mean_ms: float | None
    p90_ms: float | None


class Change(Struct, frozen=True):
    """From one setting to another, with 95 % intervals. cut: difference of the shares;  wait_ms: of the medians

    mean_ms: of the means
    """

    cut: float
    cut_interval: Interval
    wait_ms: float
    wait_interval: Interval
    mean_ms: float


class Verdict(Struct, frozen=True):
    """recommended, and why or why not, as a sentence."""

    recommended: bool
    why: str


def split(table: Table, held_out: float) -> Bools:
    """[silences]: which are held out, namely of the newest sayings; whole recordings where there are several."""
    groups = np.unique(table.group)
    kept = len(groups) - round(len(groups) * held_out)
    by_group = {silence.group: silence.recording for silence in table.silences}
    recordings = [by_group[int(group)] for group in groups]
    borders = [place for place in range(1, len(groups)) if recordings[place] != recordings[place - 1]]
    if len(borders) + 1 >= BORDERS:
        kept = min(borders, key=lambda place: abs(place - kept))
    result: Bools = table.group >= (groups[kept] if kept < len(groups) else np.iinfo(int).max)
    return result


class Compared:
    """Settings side by side on one table of silences. seed: of the draws, the same for all."""

    def __init__(self, table: Table, seed: int) -> None:
        self._table = table
        self._draws = np.random.default_rng(seed).integers(0, table.sayings, (DRAWS, table.sayings))

    def row(self, name: str, taken_ms: Floats) -> Row:
        """The figures of a setting by which turns are taken after `taken_ms` [silences]."""
        cut, wait = self._by_group(taken_ms)
        known = wait[~np.isnan(wait)]
        interval = self._interval(_medians(wait[self._draws])) if len(known) else None
        return Row(
            name,
            len(cut),
            Share.make(int(cut.sum()), len(cut)),
            len(known),
            float(np.median(known)) if len(known) else None,
            interval,
            float(known.mean()) if len(known) else None,
            float(np.percentile(known, 90)) if len(known) else None,
        )

    def change(self, before_ms: Floats, after_ms: Floats) -> Change:
        """What changes from one to the other."""
        (cut, wait), (new_cut, new_wait) = self._by_group(before_ms), self._by_group(after_ms)
        cuts = new_cut[self._draws].mean(axis=1) - cut[self._draws].mean(axis=1)
        waits = _medians(new_wait[self._draws]) - _medians(wait[self._draws])
        return Change(
            float(new_cut.mean() - cut.mean()),
            self._interval(cuts),
            float(np.nanmedian(new_wait) - np.nanmedian(wait)),
            self._interval(waits),
            float(np.nanmean(new_wait) - np.nanmean(wait)),
        )

    def _by_group(self, taken_ms: Floats) -> tuple[Floats, Floats]:
        """Of each saying: 1 if it is cut off, and the wait at its end (NaN without one)."""
        cut, wait = np.zeros(self._table.sayings), np.full(self._table.sayings, np.nan)
        place = self._table.place
        cut[place[cut_groups(self._table, taken_ms)]] = 1.0
        ends = ~self._table.hold
        wait[place[ends]] = taken_ms[ends]
        return cut, wait

    @staticmethod
    def _interval(values: Floats) -> Interval:
        low, high = np.nanpercentile(values, [2.5, 97.5])
        return float(low), float(high)


def enough(table: Table, held: Bools) -> str:
    """ "" if there is enough to learn from, else a sentence that says how much is missing."""
    said, holds = len(np.unique(table.group)), int(table.hold.sum())
    held_said, held_holds = len(np.unique(table.group[held])), int(table.hold[held].sum())
    share = max(held_said / said, 0.05) if said else 0.05
    missing = max(ENOUGH - said, math.ceil((HELD - held_said) / share), 0)
    missing_holds = max(ENOUGH_HOLDS - holds, math.ceil((HELD_HOLDS - held_holds) / share), 0)
    if not missing and not missing_holds:
        return ""
    wanted = [f"{missing} more things said"] * bool(missing) + [f"{missing_holds} more pauses in them"] * bool(
        missing_holds
    )
    return (
        f"There is too little to judge by: {said} things said with {holds} pauses in them, of these {held_said} with "
        f"{held_holds} held out. About {' and '.join(wanted)} are needed."
    )


def verdict(change: Change, said: int, over: bool = False) -> Verdict:
    """Whether a setting is better than what is: it cuts off less, or it is quicker and cuts off no more.

    "Better" is what the whole 95 % interval says. said: how many things were held out
    over: more is cut off now than may be, so that a longer wait is worth it
    """
    (low, high), (quick, slow) = change.cut_interval, change.wait_interval
    longer = max(change.wait_ms, change.mean_ms)
    if high < 0 and longer <= (-100 * PRICE_MS * change.cut if over else 0):
        at = f", and waits {longer:.0f} ms longer" if longer > 0 else ""
        return Verdict(True, f"It cuts off {-change.cut:.0%} less of what is said ({-high:.0%} to {-low:.0%}){at}.")
    if slow < 0 and change.cut <= 0 and high <= WORSE:
        return Verdict(
            True, f"It waits {-change.wait_ms:.0f} ms less ({-slow:.0f} to {-quick:.0f}), and cuts off no more."
        )
    if slow < 0:
        return Verdict(False, f"It is quicker, but may cut off more: {change.cut:+.1%} ({low:+.1%} to {high:+.1%}).")
    if change.wait_ms < 0 and change.cut <= 0:
        more = _more(said, change.wait_ms, slow)
        return Verdict(False, f"It may be quicker by chance only. About {more} more things said would tell.")
    if high < 0:
        return Verdict(False, f"It cuts off {-change.cut:.0%} less, but only because it waits {longer:.0f} ms longer.")
    if change.cut < 0:
        more = _more(said, change.cut, high)
        return Verdict(False, f"It may cut off less by chance only. About {more} more things said would tell.")
    return Verdict(False, "It is not better than what is.")


def _more(said: int, effect: float, limit: float) -> int:
    """How many more would bring the interval's `limit` to 0: its half goes with 1 / sqrt(n). At least half as many."""
    return max(said // 2, math.ceil(said * ((limit - effect) / effect) ** 2) - said) + 1


def _medians(waits: NDArray[np.float64]) -> Floats:
    """Median of each row; NaN where it has no end."""
    some = ~np.isnan(waits).all(axis=1)
    result = np.full(len(waits), np.nan)
    result[some] = np.nanmedian(waits[some], axis=1)
    return result

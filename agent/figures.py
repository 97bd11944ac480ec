"""Small statistics that do not flatter: measured values, counts where there are few, None where there is none."""

import math
from collections.abc import Iterable
from statistics import median

from msgspec import Struct

FEW = 10
"""Below this many events a share is given as a count, not as a rate."""


class Spread(Struct, frozen=True):
    """n values in milliseconds: least, median, 95th percentile, greatest.

    p95 is the nearest rank: a value that was measured, the greatest one where there are fewer than 20.
    """

    n: int
    min: float
    median: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """None if nothing was measured."""
        known = sorted(value for value in values if value is not None)
        if not known:
            return None
        rank = math.ceil(0.95 * len(known)) - 1
        return cls(len(known), known[0], round(median(known), 3), known[rank], known[-1])


class Share(Struct, frozen=True):
    """`count` of `of`. rate and its 95 % bootstrap interval only from `FEW` events on."""

    count: int
    of: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def make(cls, count: int, of: int) -> "Share":
        """With rate and interval where they mean something."""
        if of < FEW:
            return cls(count, of)
        rate = count / of
        return cls(count, of, rate, _bootstrap(of, rate, 0.025), _bootstrap(of, rate, 0.975))


def _bootstrap(n: int, rate: float, quantile: float) -> float:
    """Limit of a share's percentile bootstrap. To resample n outcomes is one binomial draw: no dice are needed."""
    if rate in {0.0, 1.0}:
        return rate
    reached = 0.0
    for count in range(n + 1):
        ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
        reached += math.exp(ways + count * math.log(rate) + (n - count) * math.log(1 - rate))
        if reached >= quantile:
            return count / n
    return 1.0

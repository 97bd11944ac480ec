"""When was sample n? The session time of a device that counts samples and delivers them a little late, and unevenly.

What a sound library says about time is often wrong; what cannot be wrong is how many samples it has delivered and
when they came. Each arrival is the time of its last sample plus a delay that is never below a fixed least one, so the
truth is the lower envelope of arrivals over sample counts. Its slope, the drift of the device's crystal against ours,
is that of the edge of the lower convex hull above the mean of the counts: the line below all points that is closest
to them in sum (S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay
measurements", INFOCOM 1999).
"""

from collections import deque
from itertools import pairwise
from math import inf

from streams.clock import SECOND

WINDOW_S = 1.0
"""Only the least delay of each window is kept."""
MEMORY = 300
"""So many windows are looked back for the drift."""
RECENT = 30
"""So many windows are looked back for the delay itself, which may change with the load or the route of the sound."""
LATE_S = 0.5
"""`late_ns` is the least over this long."""
TRUST_PPM = 50.0
"""Drift is used and told once it is known this well."""
TRUST_WINDOWS = 10
DRIFT_PPM = 500.0
"""No crystal is worse; an estimate beyond is none."""
SLEW = 0.1
"""Corrections change the pace of time by no more than this: time stamps always increase, and never step."""
SLEW_S = 0.5
"""Time constant of corrections."""


class StreamClock:
    """Session time of a device's samples, from their count and when they came. Pure: it is told all times.

    rate: nominal Hertz. Counts may be fractions, for a device that runs at another rate than its stream.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._last: tuple[float, float] | None = None  # count and time of the latest stamp
        self.anchor()

    def anchor(self) -> None:
        """The stream begins anew (after an outage): delays known so far mean nothing. Time stamps go on increasing."""
        self._zero: tuple[float, int] | None = None  # first count and arrival
        self._windows: deque[tuple[float, float]] = deque(maxlen=MEMORY)  # (s since zero, least delay in it in ns)
        self._window = (0.0, inf)  # the one that is open
        self._ends = WINDOW_S
        self._newest: deque[tuple[float, float]] = deque()  # (s since zero, delay in ns) of the last LATE_S
        self._slope = 0.0  # ns per s
        self._known_ppm = inf
        self._level = inf  # ns

    def observe(self, count: float, arrival: int) -> None:
        """The first `count` samples were there at session time `arrival` (ns). Counts must increase."""
        if self._zero is None:
            self._zero = (count, arrival)
        x = (count - self._zero[0]) / self.rate
        delay = arrival - self._zero[1] - x * SECOND
        if x >= self._ends:
            self._close(x)
        if delay < self._window[1]:
            self._window = (x, delay)
            self._level = min(self._level, delay - self._slope * x)
        newest = self._newest
        newest.append((x, delay))
        while newest[0][0] < x - LATE_S:
            newest.popleft()

    def skip(self, count: float) -> None:
        """`count` samples were lost: those that come have a number higher by as much, and were not late after all."""
        newest = [(x + count / self.rate, delay - count * SECOND / self.rate) for x, delay in self._newest]
        self._newest = deque(newest)
        self._window = (self._window[0], inf)  # it may hold delays of after the loss, counted before it was known
        self._level = self._lowest()

    def time(self, count: float) -> int:
        """Session time (ns) of the end of sample number `count`; counts must not decrease from one call to the next.

        Strictly increasing with `count`, and never stepping: what is learnt later is caught up with slowly.
        While nothing has been observed since `anchor` it goes on at the nominal pace. Raises `ValueError` before
        anything was observed at all.
        """
        if self._last is None:
            t = self._line(count)
        else:
            before, then = self._last
            span = (count - before) / self.rate
            t = then + span * (SECOND + self._slope)
            if self._zero is not None:
                most = SLEW * span * SECOND
                t += max(-most, min(most, (self._line(count) - t) * min(1.0, span / SLEW_S)))
        self._last = (count, t)
        return round(t)

    def pin(self, count: float, t: int) -> None:
        """Sample `count` ends at session time `t` (ns), whatever is observed: time goes on from there."""
        self._last = (count, t)

    @property
    def drift_ppm(self) -> float | None:
        """How much slower than its nominal rate the device runs, in millionths; None until it is known to 50."""
        return self._slope / 1000 if self._known_ppm <= TRUST_PPM else None

    @property
    def late_ns(self) -> float:
        """By how much the arrivals of the last half second lay behind what was expected, at the least (ns).

        Above 0 for long, samples were lost without a word, or the way of the sound has got longer.
        """
        newest = self._newest
        if not newest or newest[-1][0] < LATE_S:
            return 0.0
        return min(delay - self._slope * x for x, delay in newest) - self._level

    def _line(self, count: float) -> float:
        if self._zero is None:
            raise ValueError("no arrival has been observed yet")
        first, began = self._zero
        x = (count - first) / self.rate
        return began + x * SECOND + self._level + self._slope * x

    def _close(self, x: float) -> None:
        """A window is full: fit again."""
        if self._window[1] < inf:
            self._windows.append(self._window)
        self._window = (x, inf)
        self._ends = x + WINDOW_S
        if len(self._windows) >= TRUST_WINDOWS:
            self._fit()
        self._level = self._lowest()

    def _lowest(self) -> float:
        """The level of the line that lies below the recent points."""
        recent = [self._windows[place] for place in range(max(0, len(self._windows) - RECENT), len(self._windows))]
        known = [delay - self._slope * x for x, delay in recent]
        if self._window[1] < inf:
            known.append(self._window[1] - self._slope * self._window[0])
        if not known:
            known = [delay - self._slope * x for x, delay in self._newest]
        return min(known, default=self._level)

    def _fit(self) -> None:
        points = list(self._windows)
        middle = sum(x for x, _ in points) / len(points)
        hull: list[tuple[float, float]] = []
        for x, y in points:
            while len(hull) > 1 and _turns_right(hull[-2], hull[-1], (x, y)):
                hull.pop()
            hull.append((x, y))
        for (x1, y1), (x2, y2) in pairwise(hull):
            if x2 >= middle:
                slope = (y2 - y1) / (x2 - x1)
                above = sorted(y - y1 - slope * (x - x1) for x, y in points)
                spread = above[len(above) * 3 // 4]  # a quarter may be from times of load
                self._known_ppm = 2 * spread / (points[-1][0] - points[0][0]) / 1000
                if abs(slope) <= DRIFT_PPM * 1000 and self._known_ppm <= TRUST_PPM:
                    self._slope = slope
                return


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """`b` lies on or above the line from `a` to `c`: it is no corner of the lower hull."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])

"""How a robot's monotonic clock stands to ours, out of its heartbeats. To be shown, never to decide anything.

Each heartbeat tells the robot's time; it comes a delay later. The delay is never negative, so that of many heartbeats
the one with the smallest difference is nearest to the truth (the minimum filter of NTP, RFC 5905 section 10). Clocks
drift by some ppm: the least differences of an older and a newer half tell by how much.
"""

from collections import deque
from typing import NamedTuple

from streams.clock import MS, SECOND

PIECE = 1 * SECOND
PIECES = 60
"""The last minute, in pieces; of each the least difference is kept."""
DRIFT_PPM = 500.0
"""No clock that works drifts faster."""


class Estimate(NamedTuple):
    """offset_ms: our time less the robot's, as far as the least delay tells;  drift_ppm: how it changes

    jitter_ms: how much later than the fastest heartbeats half of the last ones came;  heartbeats: how many it is from
    """

    offset_ms: float
    drift_ppm: float
    jitter_ms: float
    heartbeats: int


class Offset:
    """Hears the heartbeats of one robot. A new boot, or time that goes back, begins anew."""

    def __init__(self) -> None:
        self._boot = ""
        self._newest = self._count = 0
        self._least: deque[tuple[int, int]] = deque(maxlen=PIECES)
        self._late: deque[tuple[int, int]] = deque(maxlen=50)

    def heard(self, boot: str, mono_ms: int, at: int) -> None:
        """A heartbeat. mono_ms: the robot's time in it;  at: session time in ns at which it came"""
        if boot != self._boot or mono_ms < self._newest:
            self._boot = boot
            self._forget()
        self._newest = mono_ms
        self._count += 1
        difference = at - mono_ms * MS
        self._late.append((at, difference))
        if self._least and at // PIECE == self._least[-1][0] // PIECE:
            if difference < self._least[-1][1]:
                self._least[-1] = (at, difference)
        else:
            self._least.append((at, difference))

    def estimate(self) -> Estimate | None:
        """What is known now; None before the first heartbeat."""
        if not self._least:
            return None
        drift = self._drift()
        now = self._late[-1][0]
        offset = min(difference + drift * (now - at) for at, difference in self._least)
        late = sorted(max(0.0, difference + drift * (now - at) - offset) for at, difference in self._late)
        return Estimate(offset / MS, drift * 1e6, late[len(late) // 2] / MS, self._count)

    def _drift(self) -> float:
        """ns per ns; 0 before ten seconds are known: noise would look like drift."""
        pieces = list(self._least)
        if len(pieces) < 10:
            return 0.0
        half = len(pieces) // 2
        old, new = min(pieces[:half], key=_difference), min(pieces[half:], key=_difference)
        if new[0] - old[0] < 5 * SECOND:
            return 0.0
        most = DRIFT_PPM / 1e6
        return min(most, max(-most, (new[1] - old[1]) / (new[0] - old[0])))

    def _forget(self) -> None:
        self._least.clear()
        self._late.clear()
        self._newest = self._count = 0


def _difference(piece: tuple[int, int]) -> int:
    return piece[1]

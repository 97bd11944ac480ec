"""A clock that is somewhere else, read through messages that are late by a time nobody knows."""

from streams.clock import SECOND


class FarClock:
    """Maps times of a far clock to session time: its offset is that of the least delayed message of the last seconds.

    A delay can only add, so the least (arrival − far time) is the nearest to the truth; forgetting it after `window_s`
    follows a drift (100 ppm are 2 ms in 20 s). Minimum filter as in NTP's clock filter (RFC 5905, section 10).

    late_s: no message is believed to be later than this: a far clock that stood still (a sleeping telephone) is
        followed at once
    """

    def __init__(self, window_s: float = 20.0, late_s: float = 2.0) -> None:
        self._half = round(window_s * SECOND / 2)
        self._late = round(late_s * SECOND)
        self._least: int | None = None  # of this half of the window
        self._before: int | None = None  # of the half before it
        self._since = 0

    def map(self, far_ns: int, arrival_ns: int) -> int:
        """Session time of `far_ns`, told by a message that arrived at `arrival_ns`. Never after its arrival."""
        offset = arrival_ns - far_ns
        if self._least is None:
            self._least, self._since = offset, arrival_ns
        elif arrival_ns - self._since > self._half:
            self._before, self._least, self._since = self._least, offset, arrival_ns
        else:
            self._least = min(self._least, offset)
        least = self._least if self._before is None else min(self._least, self._before)
        return max(far_ns + least, arrival_ns - self._late)

"""How long inference takes, from what it took: the estimate on which refilling and guidance rest."""

from collections import deque


class Latency:
    """The 95th percentile of the last 50 inferences (ns), the first of all left out: it pays for what is made once."""

    def __init__(self, kept: int = 50) -> None:
        self._known: deque[int] = deque(maxlen=kept)
        self._first = True

    def add(self, ns: int) -> None:
        """One inference took `ns`."""
        if self._first:
            self._first = False
        else:
            self._known.append(ns)

    @property
    def p95(self) -> int | None:
        """Nearest rank; None before the second inference."""
        if not self._known:
            return None
        ordered = sorted(self._known)
        return ordered[min(len(ordered) - 1, -(-len(ordered) * 95 // 100) - 1)]

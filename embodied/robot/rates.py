"""How often somebody may ask: sliding windows, one for each name."""

from collections import deque

from embodied.robot.vocabulary import SECOND

NAMES = 256


class Rate:
    """At most `count` in every `seconds` for each name. Past that many names, the longest known is forgotten."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self._window = round(seconds * SECOND)
        self._times: dict[str, deque[int]] = {}

    def take(self, name: str, now: int) -> bool:
        """Whether `name` may once more, and if so it is counted. What is refused does not count."""
        times = self._times.get(name)
        if times is None:
            if len(self._times) >= NAMES:
                del self._times[next(iter(self._times))]
            times = self._times[name] = deque()
        while times and now - times[0] >= self._window:
            times.popleft()
        if len(times) >= self.count:
            return False
        times.append(now)
        return True


class Told:
    """Twice a second at most the same thing is told; what came in between is counted."""

    def __init__(self, hz: float = 2.0) -> None:
        self._period = round(SECOND / hz)
        self._last: dict[tuple[str, str], int] = {}
        self._held: dict[tuple[str, str], int] = {}

    def count(self, kind: str, what: str, now: int) -> int:
        """How many to tell of now: 0 = not yet."""
        key = (kind, what)
        many = self._held.get(key, 0) + 1
        last = self._last.get(key)
        if last is not None and now - last < self._period:
            self._held[key] = many
            return 0
        self._held.pop(key, None)
        self._last[key] = now
        return many

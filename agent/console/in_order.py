"""Puts into order what came over a network that repeats, overtakes and loses."""

from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 3
FARTHEST = 250


class InOrder(Generic[T]):
    """Numbered things in their order. What has not come when something `depth` places behind it has, is given up.

    The page sends each block of the microphone twice, the second time with the next but one: after three there is
    nothing left to wait for. Where nothing is lost nothing waits. A jump of more than `FARTHEST` is another stream.
    """

    def __init__(self, depth: int = DEPTH) -> None:
        self.given_up = 0
        self._depth = depth
        self._next: int | None = None
        self._held: dict[int, T] = {}

    def put(self, sequence: int, thing: T) -> list[tuple[int, T]]:
        """What is next now, with its numbers. Copies, and what comes too late, are dropped."""
        if self._next is None:
            self._next = sequence
        ready: list[tuple[int, T]] = []
        if abs(sequence - self._next) > FARTHEST:
            ready = sorted(self._held.items())
            self._held.clear()
            self._next = sequence
        if sequence < self._next or sequence in self._held:
            return ready
        self._held[sequence] = thing
        newest = max(self._held)
        while self._held:
            if self._next in self._held:
                ready.append((self._next, self._held.pop(self._next)))
                self._next += 1
            elif newest - self._next >= self._depth:
                self._next += 1
                self.given_up += 1
            else:
                break
        return ready

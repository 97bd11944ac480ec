"""What will be done next: one row for each step of an absolute count, and which chunk and task each row is of."""

from collections import deque
from typing import NamedTuple

import numpy as np

from policies.chunks.scaling import Floats


class Row(NamedTuple):
    """One planned action. action: float32[columns];  chunk: the id that made it;  task: what it is for"""

    step: int
    action: Floats
    chunk: str
    task: str


class Plan:
    """Rows of consecutive steps, bounded by one chunk and what was kept before it."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()

    def __len__(self) -> int:
        return len(self.rows)

    def clear(self) -> None:
        """Nothing is planned."""
        self.rows.clear()

    def take(self, step: int) -> tuple[Row | None, int]:
        """(the row for `step`, which is taken out, or None; how many rows before it were never done)."""
        missed = 0
        while self.rows and self.rows[0].step < step:
            self.rows.popleft()
            missed += 1
        return (self.rows.popleft() if self.rows and self.rows[0].step == step else None), missed

    def actions(self) -> Floats:
        """float32[n, columns] of all rows, n > 0."""
        return np.stack([row.action for row in self.rows])

    def splice(self, actions: Floats, first: int, cut: int, chunk: str, task: str, old: float = 0.0) -> None:
        """From step `cut` on, the rows of a new chunk, of which row 0 is for step `first`, take over.

        old: weight of what was planned before where both have a row ("blend"); 0 replaces
        """
        before = {row.step: row.action for row in self.rows}
        kept = [row for row in self.rows if row.step < cut]
        for step in range(max(cut, first), first + len(actions)):
            action = actions[step - first]
            if old and step in before:
                action = (old * before[step] + (1 - old) * action).astype(np.float32)
            kept.append(Row(step, action, chunk, task))
        self.rows = deque(kept)


def between(rows: Floats, part: float) -> Floats:
    """The values `part` (0..1) of a step after each row, on straight lines: one row less, unless `part` is 0."""
    if part <= 0.0 or len(rows) == 1:
        return rows
    result: Floats = (rows[:-1] + (rows[1:] - rows[:-1]) * part).astype(np.float32)
    return result

"""Steps in time: which instant each step is due at, what was done, what is planned, and what is done without a plan."""

from collections import deque

import numpy as np

from policies.chunks.plan import Plan, Row, between
from policies.chunks.scaling import Floats


class Course:
    """Step k is due at `origin` + k * `dt` (session time, ns); `step` is the one that comes next.

    names: of the columns; those of velocities (".vel") come to zero within `ramp` ns when there is no row
    kept: how far back (ns) what was done is remembered
    hunger: steps without a row, just now;  starved: since the start
    """

    def __init__(self, dt: int, names: tuple[str, ...], *, ramp: int, kept: int) -> None:
        self.dt, self.origin, self.step = dt, 0, 0
        self.hunger = self.starved = 0
        self.plan = Plan()
        self._ramp = ramp
        self._velocities = np.array([name.endswith(".vel") for name in names])
        self._done: deque[Row] = deque(maxlen=2 + kept // dt)

    def due(self, step: int) -> int:
        """Session time of `step`, ns."""
        return self.origin + step * self.dt

    def clear(self) -> None:
        """Nothing is planned, and nothing was done."""
        self.plan.clear()
        self._done.clear()
        self.hunger = 0

    def skip(self, now: int) -> int:
        """Leave out the steps that were over before `now`; how many."""
        skipped = max(0, now - self.due(self.step)) // self.dt
        self.step += skipped
        return skipped

    def take(self, skipped: int) -> Row | None:
        """The planned row of this step, and note it as done (for `skipped` steps before it, too)."""
        row, _ = self.plan.take(self.step)
        if row is not None:
            self.hunger = 0
            self._note(row, skipped)
        return row

    def hold(self, skipped: int) -> Row | None:
        """What is done without a row: positions stay, velocities go to zero. None if nothing was done yet."""
        if not self._done:
            return None
        last, before = self._done[-1], self.hunger
        self.hunger += 1 + skipped
        self.starved += 1 + skipped
        was, now = (max(0.0, 1 - hunger * self.dt / self._ramp) for hunger in (before, self.hunger))
        action = np.where(self._velocities, last.action * (now / was if was > 0 else 0.0), last.action)
        row = last._replace(step=self.step, action=action.astype(np.float32))
        self._note(row, skipped)
        return row

    def since(self, t: int) -> Floats | None:
        """float32[n, columns]: what was done and is planned at `t`, `t` + dt, ...; None if that is not known."""
        if t < self.origin:
            return None
        step, past = divmod(t - self.origin, self.dt)
        known = [row for row in (*self._done, *self.plan.rows) if row.step >= step]
        if not known or known[0].step > step + 1:
            return None
        rows = [row.action for row in known]
        if known[0].step > step:  # `t` lies before the first step that is known: as there
            rows = [rows[0], *rows]
        return between(np.stack(rows), past / self.dt)

    def splice(self, actions: Floats, t: int, chunk: str, task: str, *, starved: int, reach: int, old: float) -> bool:
        """Plan `actions`, of which row 0 is for session time `t`, from the first step on that can be changed.

        starved: steps without a row since `t`: then nothing moved, and the chunk begins so much later. (So what is left
        out of it is what was consumed meanwhile, not what the inference took.)
        reach: steps from now on that are left as they are;  old: as in `Plan.splice`
        False, and nothing is changed, if all of its rows are over.
        """
        first = -(-(t - self.origin) // self.dt)
        rows = between(actions, (self.due(first) - t) / self.dt).astype(np.float32)
        first += starved
        end = self.plan.rows[-1].step + 1 if self.plan else self.step
        cut = min(self.step + reach, end)
        if first + len(rows) <= cut:
            return False
        self.plan.splice(rows, first, cut, chunk, task, old)
        return True

    def _note(self, row: Row, skipped: int) -> None:
        self._done.extend(row._replace(step=self.step - missed) for missed in range(skipped, -1, -1))

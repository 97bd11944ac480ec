"""Runs a chunk policy in time: a step every dt on absolute deadlines, and the next chunk before this one ends.

Steps are counted from the start of `run`; step k is due at its beginning + k * dt, and row i of a chunk belongs to the
time of its observation + i * dt. What is planned is kept by step, so an answer that took long simply begins later in
its chunk. Docs: docs/control.md. Lessons: LeRobot's async inference and real-time chunking, see there.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from policies.chunks.course import Course
from policies.chunks.latency import Latency
from policies.chunks.policy import ChunkPolicy, Observation, Stitch
from policies.chunks.scaling import Floats
from policies.chunks.told import ActionChunk, Counts, Event, Tick
from policies.errors import PolicyError
from streams.clock import MS, SECOND, Clock
from streams.errors import VisavisError
from streams.worker import Worker


class Pace(NamedTuple):
    """How the executor behaves in time (ns). ahead: rows; the other settings have names that say it.

    ahead: the next chunk is asked for at the latest when so few rows are left (None: a third of the chunk)
    oldest: an observation older than this is not inferred from;  expected: latency, before one was measured
    starving: after so long without a row an event is told;  ramp: velocities come to zero within it
    repeat: what is left of a chunk is sent again, in case it was lost;  most_rows: sent at once
    patience: an inference that takes longer is told as stuck
    old: weight of the old chunk in "blend"
    """

    ahead: int | None = None
    oldest: int = 300 * MS
    expected: int = 100 * MS
    starving: int = 200 * MS
    ramp: int = 250 * MS
    repeat: int = 200 * MS
    most_rows: int = 64
    patience: int = 5 * SECOND
    old: float = 0.3


PACE = Pace()


def _nothing(*_: Any) -> None:
    pass


def _zero() -> int:
    return 0


class ChunkExecutor:
    """Executes chunks of `policy`, task by task: `begin` and `cancel` at any time while `run` runs.

    observe: the newest observation, or None;  tick: called at each step;  send: called with each new plan
    told: called with what somebody should know. All four are called on the event loop and must return at once.
    link: the time to the robot and back (ns): rows so near are not changed any more
    cost: of an inference (ns), in virtual time
    limits: (least, most) of a column; a chunk beyond them is refused, as the robot would

    stitch: how a chunk goes over into the next:
    - "replace": at once. Jumps where the new chunk goes another way.
    - "blend": weighted with the old one where they overlap. Unsafe unless there is only one way to do the task: between
      left and right of an obstacle is the obstacle.
    - "forward": the flow is guided along the old chunk (`guiding.py`);  needs a spec with rtc "forward"
    - "best_of": of several samples the one nearest to the old chunk;  needs a flow
    """

    def __init__(
        self, policy: ChunkPolicy, clock: Clock, *, observe: Callable[[], Observation | None],
        tick: Callable[[Tick], object] = _nothing, send: Callable[[ActionChunk], object] = _nothing,
        told: Callable[[Event], object] = _nothing, stitch: Stitch = "forward", pace: Pace = PACE,
        link: Callable[[], int] = _zero, cost: Callable[[], int] = _zero,
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:  # fmt: skip
        spec = policy.spec
        if stitch == "forward" and spec.rtc != "forward":
            raise PolicyError(f'{spec.name} cannot be guided (its rtc is "{spec.rtc}"): choose "replace" or "best_of".')
        if stitch == "best_of" and spec.family != "flow":
            raise PolicyError(f'{spec.name} gives the same chunk each time: "best_of" has no choice. Take "replace".')
        self.counts, self.latency, self.task = Counts(), Latency(), ""
        self._policy, self._clock, self._stitch, self._pace = policy, clock, stitch, pace
        self._observe, self._tick, self._send, self._told = observe, tick, send, told
        self._link, self._cost = link, cost
        self._names, self._horizon = spec.action.names, spec.horizon
        self._ahead = pace.ahead if pace.ahead is not None else spec.horizon // 3
        bounds = [(limits or {}).get(name, (-np.inf, np.inf)) for name in self._names]
        self._low, self._high = np.array([low for low, _ in bounds]), np.array([high for _, high in bounds])
        self._course = Course(spec.dt, spec.action.names, ramp=pace.ramp, kept=pace.oldest)
        self._chunk, self._number, self._sent, self._streak, self._blind = "", 0, 0, 0, 0
        self._began: int | None = None  # of the inference under way
        self._stuck = False  # it has been told
        self._generation = 0
        self._wanted = asyncio.Event()

    def begin(self, task: str) -> None:
        """From now on do `task` (any text that is not empty). What is planned for the task before is done until the
        first chunk of the new one is there; each row keeps the task that made it."""
        if not task:
            raise ValueError("a task needs a name")
        self.task = task
        self._generation += 1

    def cancel(self) -> None:
        """Nothing is planned any more, an inference under way is for nothing, and the next tick is idle.

        The robot has up to a second of the last chunk: whoever drives it sends it a `cancel` as well.
        """
        self.task, self._chunk = "", ""
        self._generation += 1
        self._course.clear()

    async def run(self) -> None:
        """Tick and infer until cancelled. Once only. Raises what `policy.infer` raises that is no `VisavisError`."""
        self._course.origin = self._clock.now()
        worker = Worker(self._clock, "chunks")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inferring(worker))
                group.create_task(self._ticking())
        finally:
            self.cancel()
            worker.abandon()

    # --- steps

    async def _ticking(self) -> None:
        course = self._course
        while True:
            now = self._clock.now()
            skipped = course.skip(now)
            self.counts.skipped += skipped
            self._tick(self._next(now, skipped))
            course.step += 1
            if self.task and course.plan and now - self._sent >= self._pace.repeat:
                self._publish("")
            if self.task and self._began is None and self._low_on_rows():
                self._wanted.set()
            if self._began is not None and not self._stuck and now - self._began >= self._pace.patience:
                self._stuck = True
                self._tell(
                    "stuck", f"an inference of {self._policy.spec.name} takes over {self._pace.patience / 1e9:g} s"
                )
            await self._clock.sleep_until(course.due(course.step))

    def _next(self, now: int, skipped: int) -> Tick:
        course, hunger = self._course, self._course.hunger
        step, due, starving = course.step, course.due(course.step), self._pace.starving
        if not self.task:
            return Tick(step, due, now, "idle", None)
        if (row := course.take(skipped)) is not None:
            self.counts.moved += 1
            if hunger * course.dt >= starving:
                self._tell("fed", f"after {hunger} steps without a row")
            return Tick(step, due, now, "moving", row.action, row.chunk, row.task)
        row = course.hold(skipped)
        if row is None:
            return Tick(step, due, now, "waiting", None)
        self.counts.starved = course.starved
        if hunger * course.dt < starving <= course.hunger * course.dt:
            self._tell("starving", self._hungry())
        return Tick(step, due, now, "starved", row.action, row.chunk, row.task)

    def _hungry(self) -> str:
        took, lasts = (self.latency.p95 or 0) // MS, self._horizon * self._course.dt // MS
        said = f"no row of {self._policy.spec.name} for {self._course.hunger * self._course.dt // MS} ms"
        # A chunk is executed while the next but one is inferred: below that it can never be in time.
        return f"{said}: inference takes {took} ms, too long for chunks of {lasts} ms" if 2 * took > lasts else said

    def _low_on_rows(self) -> bool:
        took = self.latency.p95
        if took is None:
            return True
        margin = 1.5 * took + 2 * self._course.dt + self._link()
        return len(self._course.plan) * self._course.dt < max(margin, self._ahead * self._course.dt)

    # --- inference

    async def _inferring(self, worker: Worker) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self.task:
                await self._infer(worker)

    async def _infer(self, worker: Worker) -> None:
        seen, now = self._observe(), self._clock.now()
        if seen is None or now - seen.t > self._pace.oldest:
            self.counts.blind += 1  # the next tick asks again
            self._blind += 1
            if self._blind == -(-500 * MS // self._course.dt):
                self._tell("blind", f"nothing new is seen that {self._policy.spec.name} could act on")
            return
        self._blind = 0
        course, link = self._course, self._link()
        generation, starved = self._generation, course.starved
        awaited = now - seen.t + (self.latency.p95 or self._pace.expected) + link
        previous, delay = course.since(seen.t), -(-awaited // course.dt)
        self._began, self._stuck = now, False
        try:
            actions = await worker.work(self._cost(), self._policy.infer, seen, previous, delay, self._stitch)
        except VisavisError as error:
            self._refuse(str(error))
            return
        finally:
            self._began = None
        self.latency.add(self._clock.now() - now)
        if generation != self._generation:
            self.counts.dropped += 1
        elif fault := self._fault(actions):
            self._refuse(fault)
        else:
            self._accept(actions, seen.t, course.starved - starved, -(-link // course.dt))

    def _fault(self, actions: Floats) -> str:
        """What is wrong with a chunk, "" if nothing."""
        shape = (self._horizon, len(self._names))
        if not isinstance(actions, np.ndarray) or actions.shape != shape:
            return f"it is no array of the shape {shape}"
        if not np.isfinite(actions).all():
            return "it has what is no number"
        beyond = (actions < self._low) | (actions > self._high)
        if beyond.any():
            row, column = (int(index[0]) for index in np.nonzero(beyond))
            least, most = self._low[column], self._high[column]
            return f"row {row}: {self._names[column]} is {actions[row, column]:g}, outside {least:g} to {most:g}"
        return ""

    def _accept(self, actions: Floats, t: int, starved: int, reach: int) -> None:
        """The chunk takes over."""
        old = self._pace.old if self._stitch == "blend" else 0.0
        chunk = f"k{self._number + 1}"
        if not self._course.splice(actions, t, chunk, self.task, starved=starved, reach=reach, old=old):
            self.counts.late += 1
            self._fail("late", f"a chunk of {self._policy.spec.name} came after its last row was due")
            return
        self.counts.inferred += 1
        self._number += 1
        self._streak = 0
        before, self._chunk = self._chunk, chunk
        self._publish(before)

    def _refuse(self, why: str) -> None:
        self.counts.refused += 1
        self._fail("refused", why)

    def _fail(self, kind: Any, why: str) -> None:
        """One more inference for nothing: told at first, and then seldom."""
        self._streak += 1
        if self._streak in (1, 5) or self._streak % 50 == 0:
            self._tell(kind, why if self._streak == 1 else f"{self._streak} in a row: {why}")

    # --- telling

    def _publish(self, supersedes: str) -> None:
        plan, self._sent = self._course.plan, self._clock.now()
        self.counts.sent += 1
        first, actions = plan.rows[0].step, plan.actions()[: self._pace.most_rows]
        at, dt = self._course.due(first), self._course.dt
        self._send(ActionChunk(self._chunk, at, first, dt, self._names, actions, supersedes, self.task))

    def _tell(self, kind: Any, detail: str) -> None:
        self._told(Event(kind, self._clock.now(), detail))

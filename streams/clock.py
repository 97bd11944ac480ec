"""Session time, and the event loop on which time is virtual. Nothing else in visavis reads a clock.

Session time is integer nanoseconds from 0. Wall time appears once per session, as `Clock.started`.

`VirtualLoop` replaces the event loop, not its callers: `asyncio.sleep` and `asyncio.timeout_at` are virtual at once,
because they sit on the loop. Its selector never blocks: work that is ready runs; else time jumps to the next timer;
else nothing can ever happen again and `Deadlock` is raised. The idea is trio's `MockClock` with `autojump`.

This is the one file that touches private names of asyncio (`_ready`, `_scheduled`, `_stopping`, `_clock_resolution`);
`tests/test_clock.py` runs on every Python we support (`tests/every_python.py`).
"""

import asyncio
import heapq
import math
import os
import selectors
import time
from asyncio import events
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from datetime import datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple, Unpack

from streams.errors import Deadlock, RealIOError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SECOND = 1_000_000_000
MS = 1_000_000
LOOK = 64  # turns of a virtual loop between two looks at the real world, where only signals come from


def wall_now() -> datetime:
    """Wall time with its zone, read once per session, for the header of the recording."""
    return datetime.now().astimezone()


class Stopwatch:
    """How long the block it surrounds took, for reports: wall and CPU seconds of this process and its children."""

    wall = cpu = 0.0

    def __enter__(self) -> "Stopwatch":
        self._start = (time.perf_counter(), _cpu_seconds())
        return self

    def __exit__(self, *exc: object) -> None:
        self.wall = max(time.perf_counter() - self._start[0], 1e-9)
        self.cpu = _cpu_seconds() - self._start[1]


def _cpu_seconds() -> float:
    user, system, child_user, child_system, _ = os.times()
    return user + system + child_user + child_system


class Clock:
    """Session time on the running event loop, real or virtual.

    Made inside the loop at the moment that is to be 0. started: wall time of that moment (a replay passes the
    recorded one, so that "what time is it?" has the same answer).
    charges: whether declared costs take virtual time; a replay that publishes at recorded instants turns it off.
    """

    def __init__(self, started: datetime | None = None, *, charges: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._virtual = self._loop if isinstance(self._loop, VirtualLoop) else None
        self._zero_ns = self._virtual.now_ns if self._virtual is not None else time.monotonic_ns()
        self.charges = charges
        self.started = started or wall_now()

    @property
    def virtual(self) -> bool:
        """Whether this session runs on a `VirtualLoop`."""
        return self._virtual is not None

    def now(self) -> int:
        """Session time in ns."""
        if self._virtual is not None:
            return self._virtual.now_ns - self._zero_ns
        return time.monotonic_ns() - self._zero_ns  # the clock of asyncio's own loops

    def deadline(self, t: int) -> float:
        """Session time `t` (ns) as loop time (s), for `asyncio.timeout_at` and `loop.call_at`.

        A float holds whole ns for 26 days (2**51 ns), and then to within a few; `call_at` and `sleep_until` stay exact.
        """
        return (t + self._zero_ns) / SECOND

    def wall(self, t: int) -> datetime:
        """Wall time of session time `t` (ns)."""
        return self.started + timedelta(microseconds=t // 1000)

    def call_at(self, t: int, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call `callback` at session time `t` (ns), soon if it has passed. The handle can be cancelled."""
        if self._virtual is not None:
            return self._virtual.call_at_ns(t + self._zero_ns, callback, *args)
        return self._loop.call_at(self.deadline(t), callback, *args)

    async def sleep_until(self, t: int) -> None:
        """Wait until session time `t` (ns); at once if it has passed. Cancelling cancels the timer."""
        if self.now() >= t:
            return
        done: asyncio.Future[None] = self._loop.create_future()
        timer = self.call_at(t, _release, done)
        try:
            await done
        finally:
            timer.cancel()

    async def charge(self, cost: int) -> None:
        """In virtual time, let `cost` ns pass (inference takes none by itself); in real time it has passed already."""
        if self._virtual is not None and self.charges and cost > 0:
            await self.sleep_until(self.now() + cost)

    async def settle(self) -> None:
        """In virtual time, let everything that is ready now run first. In real time, just one turn of the loop."""
        if self._virtual is not None:
            await self._virtual.settle()
        else:
            await asyncio.sleep(0)


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Timer(events.TimerHandle):
    """A timer due at `ns` that knows its turn, so that timers of the same instant fire first in, first out."""

    __slots__ = ("ns", "turn")

    def __init__(
        self, ns: int, turn: int, callback: Any, args: Any, loop: "VirtualLoop", context: Context | None
    ) -> None:
        super().__init__(ns / SECOND, callback, args, loop, context)
        self.ns = ns
        self.turn = turn

    def __lt__(self, other: object) -> bool:
        if isinstance(other, _Timer):
            return self.ns < other.ns or (self.ns == other.ns and self.turn < other.turn)
        return NotImplemented

    __hash__ = events.TimerHandle.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class _JumpingSelector(selectors.SelectSelector):
    """Never waits for the world: where a real selector would block, virtual time jumps.

    It looks at the world now and then without waiting (or waits for it while a paced loop lets real time pass), so
    that signals, which asyncio tells a loop through a socket pair, come through.
    """

    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop
        self._turns += 1
        ahead = 0.0 if loop.busy else loop.ahead()
        world = super().select(ahead) if ahead > 0 or timeout is None or self._turns % LOOK == 0 else []
        if not world and not loop.busy:
            loop.jump()
        loop.ring()
        return world


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only when nothing is left to do, and then jumps.

    speed: None jumps at once; 1.0 waits as long as it jumps (the order of events stays the same).
    Threads, sockets and subprocesses have no place here: `run_in_executor` runs inline, the rest raises `RealIOError`.
    Signal handlers work.
    """

    def __init__(self, speed: float | None = None) -> None:
        self.now_ns = 0
        self._speed = speed
        self._turn = 0
        self._settling = 0
        self._pace_zero: tuple[float, int] | None = None
        super().__init__(_JumpingSelector(self))
        # asyncio calls a timer due when it lies below `time() + resolution`. Floats cannot tell one ns from the next
        # after some months, so it is left nothing to decide: `ring` has already taken out all that are due.
        self._clock_resolution = 0.0
        self._scheduled: list[_Timer] = []

    def time(self) -> float:
        """Virtual loop time in seconds."""
        return self.now_ns / SECOND

    # --- how time passes: called by the selector, once per turn of the loop

    @property
    def busy(self) -> bool:
        """Something is ready to run at this instant."""
        return bool(self._ready or self._stopping)  # type: ignore[attr-defined]

    def ahead(self) -> float:
        """Real seconds to wait before the next timer, on a paced loop; else 0."""
        if self._speed is None or not self._scheduled:
            return 0.0
        if self._pace_zero is None:
            self._pace_zero = (time.monotonic(), self.now_ns)
        real, virtual = self._pace_zero
        return (self._scheduled[0].ns - virtual) / SECOND / self._speed - (time.monotonic() - real)

    def jump(self) -> None:
        """Move time to the next timer; without one nothing can ever happen again: raises `Deadlock`."""
        if not self._scheduled:
            raise Deadlock(self.now_ns)
        self.now_ns = max(self.now_ns, self._scheduled[0].ns)

    def ring(self) -> None:
        """Make every timer that is due ready to run."""
        scheduled = self._scheduled
        while scheduled and scheduled[0].ns <= self.now_ns:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(timer)  # type: ignore[attr-defined]

    # --- timers, on a grid of whole nanoseconds; those of one instant fire in the order in which they were set

    def call_at_ns(
        self, ns: int, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Timer:
        """Call `callback` when `now_ns` is `ns`."""
        self._check_closed()  # type: ignore[attr-defined]
        self._turn += 1
        timer = _Timer(ns, self._turn, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, at the nearest nanosecond to `when` (s). An infinite `when` never comes."""
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return self.call_at_ns(round(when * SECOND), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, with the delay (s) taken to the nearest nanosecond."""
        if delay == math.inf:
            return self.call_at(delay, callback, *args, context=context)
        return self.call_at_ns(self.now_ns + round(delay * SECOND), callback, *args, context=context)

    async def settle(self) -> None:
        """Return when everything that was ready has run, at this same instant.

        Of several tasks that settle, the first to have asked is the first to go on.
        """
        ready = self._ready  # type: ignore[attr-defined]
        self._settling += 1
        try:
            while True:
                await asyncio.sleep(0)
                due = self._scheduled and self._scheduled[0].ns <= self.now_ns
                if len(ready) < self._settling and not due:  # the others that settle are always ready
                    return
        finally:
            self._settling -= 1

    # --- the real world

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` here and now, so that there is one order of events."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - carried by the future, as an executor would
            future.set_exception(error)
        return future


def _refusal(what: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RealIOError(
            f"a task tried to {what} in virtual time, where the real world does not wait: "
            "use a recorded or simulated part, or run live."
        )

    refuse.__doc__ = f"Refused: raises `RealIOError`, for one cannot {what} in virtual time."
    return refuse


for _what, _names in {
    "resolve a host name": "getaddrinfo getnameinfo",
    "open a connection": "create_connection create_unix_connection connect_accepted_socket",
    "open a server": "create_server create_unix_server",
    "open a datagram socket": "create_datagram_endpoint",
    "use a socket": "sock_connect sock_accept sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall "
    "sock_sendto sock_sendfile add_reader add_writer",
    "read or write a pipe": "connect_read_pipe connect_write_pipe",
    "start a process": "subprocess_exec subprocess_shell",
}.items():
    for _name in _names.split():
        setattr(VirtualLoop, _name, _refusal(_what))


def run(main: Coroutine[Any, Any, T], *, virtual: bool = False, speed: float | None = None) -> T:
    """Run `main` to its end on a fresh loop: virtual (at `speed`, None = as fast as it goes) or real.

    Ctrl-C cancels `main`, as with `asyncio.run`. Raises `ValueError` for a speed that is not above 0.
    """
    if speed is not None and not speed > 0:
        main.close()
        raise ValueError(f"speed is {speed}: it must be above 0, or None for as fast as it goes")
    factory = (lambda: VirtualLoop(speed)) if virtual else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)

"""Session time, and the event loop on which time is virtual. Nothing else in visavis reads a clock.

Session time is integer nanoseconds from 0. Wall time appears once per session, as `Clock.started`.

`VirtualLoop` replaces the event loop, not its callers: `asyncio.sleep` and `asyncio.timeout_at` are virtual at once,
because they sit on the loop. Its selector never blocks: work that is ready runs; else time jumps to the next timer;
else nothing can ever happen again and `Deadlock` is raised. The idea is trio's `MockClock` with `autojump`.

This is the one file that touches private names of asyncio (`_ready`, `_scheduled`, `_clock_resolution`, `_selector`);
`tests/test_clock.py` runs on every Python we support.
"""

import asyncio
import heapq
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


def wall_now() -> datetime:
    """Wall time with its zone, read once per session, for the header of the recording."""
    return datetime.now().astimezone()


class Clock:
    """Session time on the running event loop, real or virtual.

    Made inside the loop at the moment that is to be 0. started: wall time of that moment (a replay passes the
    recorded one, so that "what time is it?" has the same answer).
    charges: whether declared costs take virtual time; a replay that publishes at recorded instants turns it off.
    """

    def __init__(self, started: datetime | None = None, *, charges: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._virtual = self._loop if isinstance(self._loop, VirtualLoop) else None
        self._zero_s = self._loop.time()
        self._zero_ns = self._virtual.now_ns if self._virtual else 0
        self._charges = charges
        self.started = started or wall_now()

    @property
    def virtual(self) -> bool:
        """Whether this session runs on a `VirtualLoop`."""
        return self._virtual is not None

    def now(self) -> int:
        """Session time in ns."""
        if self._virtual is not None:
            return self._virtual.now_ns - self._zero_ns
        return round((self._loop.time() - self._zero_s) * SECOND)

    def deadline(self, t: int) -> float:
        """Session time `t` (ns) as loop time (s), for `asyncio.timeout_at` and `loop.call_at`."""
        if self._virtual is not None:
            return (t + self._zero_ns) / SECOND
        return self._zero_s + t / SECOND

    def wall(self, t: int) -> datetime:
        """Wall time of session time `t` (ns)."""
        return self.started + timedelta(microseconds=t // 1000)

    async def sleep_until(self, t: int) -> None:
        """Wait until session time `t` (ns); at once if it has passed. Cancelling cancels the timer."""
        loop = self._loop
        if self.now() >= t:
            return
        done: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(self.deadline(t), _release, done)
        try:
            await done
        finally:
            timer.cancel()

    async def charge(self, cost: int) -> None:
        """In virtual time, let `cost` ns pass (inference takes none by itself); in real time it has passed already."""
        if self._virtual is not None and self._charges and cost > 0:
            await self.sleep_until(self.now() + cost)

    async def work(self, pool: Executor, cost: int, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Run blocking `function` off the loop, in `pool`; in virtual time run it inline and charge `cost` ns.

        Raises what the function raises. On cancellation the thread finishes its call and its result is dropped.
        """
        if self._virtual is None:
            return await self._loop.run_in_executor(pool, function, *args)
        result = function(*args)
        await self.charge(cost)
        return result

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
    """A timer that knows its turn, so that timers of the same instant fire first in, first out."""

    __slots__ = ("_turn",)

    def __init__(
        self, when: float, turn: int, callback: Any, args: Any, loop: "VirtualLoop", context: Context | None
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._turn = turn

    def __lt__(self, other: object) -> bool:
        if isinstance(other, _Timer):
            return (self._when, self._turn) < (other._when, other._turn)  # type: ignore[attr-defined]
        return NotImplemented

    __hash__ = events.TimerHandle.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class _JumpingSelector(selectors.SelectSelector):
    """Never waits for the world: where a real selector would block, virtual time jumps."""

    def __init__(self, loop: "VirtualLoop") -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock(self._loop.now_ns)
        if timeout > 0:
            self._loop.jump()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only when nothing is left to do, and then jumps.

    speed: None jumps at once; 1.0 sleeps as long as it jumps (the order of events stays the same).
    Threads, sockets and subprocesses have no place here: `run_in_executor` runs inline, the rest raises `RealIOError`.
    """

    def __init__(self, speed: float | None = None) -> None:
        self.now_ns = 0
        self._speed = speed
        self._turns = 0
        self._pace_zero: tuple[float, int] | None = None
        super().__init__(_JumpingSelector(self))
        # Half a nanosecond: a timer is due when the clock stands on it, and never before.
        self._clock_resolution = 0.5 / SECOND

    def time(self) -> float:
        """Virtual loop time in seconds."""
        return self.now_ns / SECOND

    def jump(self) -> None:
        """Move time to the next timer."""
        scheduled: list[_Timer] = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0].cancelled():
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self._timer_cancelled_count: int = max(0, self._timer_cancelled_count - 1)
        if not scheduled:
            return
        self.now_ns = max(self.now_ns, round(scheduled[0].when() * SECOND))
        if self._speed is not None:
            self._pace(self._speed)

    def _pace(self, speed: float) -> None:
        if self._pace_zero is None:
            self._pace_zero = (time.monotonic(), self.now_ns)
        real, virtual = self._pace_zero
        ahead = (self.now_ns - virtual) / SECOND / speed - (time.monotonic() - real)
        if ahead > 0:
            time.sleep(ahead)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Timer:
        """As asyncio's, on a grid of whole nanoseconds; timers of one instant fire in the order they were set."""
        self._check_closed()  # type: ignore[attr-defined]
        self._turns += 1
        timer = _Timer(round(when * SECOND) / SECOND, self._turns, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    async def settle(self) -> None:
        """Return when everything that was ready has run, at this same instant. Only one task may settle at a time."""
        ready = self._ready  # type: ignore[attr-defined]
        while True:
            await asyncio.sleep(0)
            if not ready:
                return

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

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("resolve a host name")

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("open a connection")

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("open a server")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("open a datagram socket")

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("open a connection")

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("open a server")

    async def sock_connect(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("connect a socket")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("start a process")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: see `RealIOError`."""
        raise _real("start a process")


def _real(what: str) -> RealIOError:
    return RealIOError(
        f"a task tried to {what} in virtual time, where the real world does not wait: "
        "use a recorded or simulated part, or run at --speed 1."
    )


def run(main: Coroutine[Any, Any, T], *, virtual: bool = False, speed: float | None = None) -> T:
    """Run `main` to its end on a fresh loop: virtual (at `speed`, None = as fast as it goes) or real.

    Ctrl-C cancels `main`, as with `asyncio.run`.
    """
    factory = (lambda: VirtualLoop(speed)) if virtual else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)

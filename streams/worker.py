"""One thread for one slow thing: a model, a disk, a voice, a tool. In virtual time no thread: the call is made inline.

Unlike the threads of `concurrent.futures`, one that is stuck keeps neither the event loop nor the process from ending.
"""

import asyncio
import atexit
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias, TypeVar, TypeVarTuple, Unpack

from streams.clock import Clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Jobs: TypeAlias = SimpleQueue[Callable[[], None] | None]

PATIENCE_S = 5.0
"""How long `aclose` waits."""
EXIT_S = 0.5
"""How long the process waits at its end for all calls that were left behind, together."""


class Worker:
    """Makes calls one after the other, in the order in which they were begun, in a thread started with the first.

    clock: of the session; it says whether time is virtual.  name: what it works for, in the name of the thread
    Made and used on the event loop. Must be ended, by `aclose` or `abandon`.
    """

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._jobs: _Jobs = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        self.closed = False

    async def work(self, cost: int, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """What `function(*args)` returns. In virtual time it is called here and now, and `cost` ns are charged.

        Raises what it raises, whatever that is. On cancellation a call in progress goes on in its thread and its
        result is dropped; one that waits is never made.
        """
        if not self._clock.virtual:
            return await self.begin(function, *args)
        result = function(*args)
        await self._clock.charge(cost)
        return result

    def begin(self, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> "asyncio.Future[T]":
        """Begin a call and go on; the future has its result. Cancelling that is as in `work`."""
        if self.closed:
            raise RuntimeError(f"the worker of {self._name} has been closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._clock.virtual:
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is for the one who awaits
                _settle(done, None, error)
            else:
                done.set_result(result)
            return done
        if self._thread is None:
            self._thread = threading.Thread(
                target=_serve, args=(self._jobs,), name=f"visavis-{self._name}", daemon=True
            )
            self._thread.start()
        self._jobs.put(partial(_answer, loop, done, function, args))
        return done

    async def aclose(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait, off the loop, until every call that was begun has been made; False if that takes over `patience_s`.

        What is still to do then (or on cancellation) is done in its own time, as after `abandon`. Idempotent.
        """
        if self._thread is None:
            self.closed = True
        elif not self.closed:
            self._ended = self.begin(_nothing)
            self.abandon()
        if self._ended is None:
            return self._thread is None or not self._thread.is_alive()
        await asyncio.wait([self._ended], timeout=patience_s)
        return self._ended.done()

    def abandon(self) -> None:
        """Take no more calls; the thread ends by itself after those that were begun. Idempotent, returns at once."""
        if not self.closed:
            self.closed = True
            if self._thread is not None:
                _leaving[:] = [thread for thread in _leaving if thread.is_alive()]
                _leaving.append(self._thread)
                self._jobs.put(None)


def _serve(jobs: _Jobs) -> None:
    """The thread."""
    while (job := jobs.get()) is not None:
        job()
        del job  # what it holds must not live until the next one comes


def _answer(
    loop: asyncio.AbstractEventLoop,
    done: "asyncio.Future[T]",
    function: Callable[[Unpack[Ts]], T],
    args: tuple[*Ts],
) -> None:
    """Make a call in the thread and tell the loop how it ended."""
    if done.cancelled():
        return
    result: T | None = None
    failure: BaseException | None = None
    try:
        result = function(*args)
    except BaseException as error:  # noqa: BLE001 - also a KeyboardInterrupt is for the one who awaits, not for here
        failure = error
    try:
        loop.call_soon_threadsafe(_settle, done, result, failure)
    except RuntimeError:  # the loop has been closed: nobody waits any more
        pass
    finally:
        del failure  # its traceback holds this frame


def _settle(done: "asyncio.Future[T]", result: T | None, failure: BaseException | None) -> None:
    if done.done():  # cancelled: the result is dropped
        return
    if failure is None:
        done.set_result(result)  # type: ignore[arg-type] # T may be optional itself
    elif isinstance(failure, StopIteration):  # a future cannot carry one
        stopped = RuntimeError("the call raised StopIteration")
        stopped.__cause__ = failure
        done.set_exception(stopped)
    else:
        done.set_exception(failure)


def _nothing() -> None:
    pass


_leaving: list[threading.Thread] = []  # abandoned, and perhaps still in a call


@atexit.register
def _part() -> None:
    """Give calls that were left behind a moment: native code that comes back to an ending interpreter may abort it."""
    left = [thread for thread in _leaving if thread.is_alive()]
    for thread in left:
        thread.join(EXIT_S / len(left))

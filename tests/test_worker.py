"""The worker: calls in order off the loop, costs in virtual time, and nothing stuck that keeps anybody from ending."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.clock import MS, SECOND, Clock, run
from streams.worker import Worker

ROOT = Path(__file__).resolve().parents[1]
STUCK = 20  # seconds, should a test fail


@pytest.mark.parametrize("virtual", [True, False])
def test_calls_are_made_one_after_the_other_in_the_order_they_were_begun(virtual: bool) -> None:
    made: list[int] = []

    async def main() -> None:
        worker = Worker(Clock(), "test")
        begun = [worker.begin(made.append, n) for n in range(50)]
        assert await worker.work(0, pow, 2, 10) == 1024
        assert all(each.done() for each in begun)
        assert await worker.work(0, threading.active_count) >= 1
        assert (await worker.work(0, threading.get_ident) == threading.get_ident()) is virtual
        assert await worker.aclose()

    run(main(), virtual=virtual)
    assert made == list(range(50))


def test_costs_are_charged_in_virtual_time_only_and_only_when_asked() -> None:
    async def main(charges: bool) -> tuple[int, int]:
        clock = Clock(charges=charges)
        worker = Worker(clock, "test")
        assert await worker.work(100 * MS, pow, 2, 10) == 1024
        with pytest.raises(ZeroDivisionError):
            await worker.work(100 * MS, divmod, 1, 0)
        worked = clock.now()
        await clock.charge(0)
        await clock.charge(50 * MS)
        await worker.aclose()
        return worked, clock.now()

    assert run(main(True), virtual=True) == (100 * MS, 150 * MS)
    assert run(main(False), virtual=True) == (0, 0)
    assert run(main(True))[1] < 50 * MS  # real: the cost has passed already, so none is added


def raising(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


@pytest.mark.parametrize("error", [LookupError("x"), asyncio.CancelledError(), StopIteration(1), GeneratorExit()])
@pytest.mark.parametrize("virtual", [True, False])
def test_what_a_call_raises_reaches_who_awaits_it_and_the_next_is_made(error: BaseException, virtual: bool) -> None:
    async def main() -> None:
        worker = Worker(Clock(), "test")
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
            async with asyncio.timeout(STUCK):
                await worker.work(0, raising(error))
        assert await worker.work(0, pow, 2, 3) == 8
        await worker.aclose()

    run(main(), virtual=virtual)


def test_a_keyboard_interrupt_in_the_thread_ends_the_run() -> None:
    async def main() -> None:
        await Worker(Clock(), "test").work(0, raising(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_cancelling_drops_the_result_of_the_call_in_progress_and_never_makes_one_that_waits() -> None:
    began, let_go, made = threading.Event(), threading.Event(), []

    def stuck() -> str:
        began.set()
        let_go.wait(STUCK)
        made.append("stuck")
        return "stuck"

    async def main() -> None:
        worker = Worker(Clock(), "test")
        tasks = [asyncio.ensure_future(worker.work(0, stuck)), asyncio.ensure_future(worker.work(0, made.append, "no"))]
        assert await asyncio.to_thread(began.wait, STUCK)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STUCK)
        assert [task.cancelled() for task in tasks] == [True, True]
        assert made == []
        let_go.set()
        assert await worker.work(0, made.append, "next") is None
        assert await worker.aclose()
        with pytest.raises(RuntimeError, match="worker of test has been closed"):
            await worker.work(0, made.append, "late")

    run(main())
    assert made == ["stuck", "next"]


def test_closing_waits_off_the_loop_and_not_for_ever() -> None:
    let_go = threading.Event()

    async def main() -> None:
        worker, turns = Worker(Clock(), "test"), 0
        worker.begin(let_go.wait, STUCK)
        last = worker.begin(pow, 2, 5)
        closing = asyncio.ensure_future(worker.aclose(0.05))
        while not closing.done():
            turns += 1
            await asyncio.sleep(0.001)
        assert turns > 5, "the loop goes on"
        assert not closing.result() and not last.done()
        let_go.set()
        assert await worker.aclose(STUCK)
        assert last.result() == 32
        assert await Worker(Clock(), "idle").aclose()

    run(main())


def test_nobody_needs_to_be_there_any_more_when_a_call_ends() -> None:
    let_go = threading.Event()

    async def main() -> None:
        worker = Worker(Clock(), "orphan")
        worker.begin(let_go.wait, STUCK)
        worker.abandon()
        worker.abandon()

    before = set(threading.enumerate())
    run(main())  # closes the loop
    [thread] = set(threading.enumerate()) - before
    let_go.set()
    thread.join(STUCK)
    assert not thread.is_alive()


def ended(call: str, end: str = "worker.abandon()") -> tuple[float, str]:
    """Seconds a process takes that ends while `call` is being made, and what it says."""
    script = f"""
import asyncio, time
from streams.clock import Clock, run
from streams.worker import Worker
def quick():
    time.sleep(0.2)
    print("done", flush=True)
async def main():
    worker = Worker(Clock(), "test")
    worker.begin({call})
    await asyncio.sleep(0.05)
    {end}
run(main())
"""
    began = time.monotonic()
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, env=os.environ, capture_output=True, text=True,
        timeout=STUCK, check=True,
    )  # fmt: skip
    return time.monotonic() - began, child.stdout + child.stderr


def test_a_stuck_call_does_not_keep_the_process_from_ending() -> None:
    for end in ("worker.abandon()", "pass"):
        seconds, said = ended("time.sleep, 30", end)
        assert seconds < 10 and said == ""


def test_a_call_that_is_nearly_done_at_the_end_of_the_process_may_end() -> None:
    assert ended("quick")[1] == "done\n"


def test_in_virtual_time_there_is_no_thread_and_closing_takes_no_time() -> None:
    async def main() -> int:
        clock = Clock()
        worker = Worker(clock, "test")
        before = threading.active_count()
        assert await worker.work(SECOND, threading.active_count) == before
        assert await worker.aclose()
        assert await worker.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            worker.begin(pow, 1, 1)
        return clock.now()

    assert run(main(), virtual=True) == SECOND

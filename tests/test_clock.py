"""Time: the virtual loop against a reference model, and the promises of `Clock` on both loops."""

import asyncio
import heapq
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock import MS, SECOND, Clock, run
from streams.errors import Deadlock, RealIOError

DAY = 86_400 * SECOND
ROOT = Path(__file__).resolve().parents[1]
delays = st.integers(0, 5).map(lambda n: n * MS) | st.integers(0, 3) | st.integers(0, 10 * SECOND)


# --- the order of events


def reference(scripts: list[list[int]]) -> list[tuple[int, int, int]]:
    """What tasks that sleep `scripts[i]` ns in turn must log: (time, task, step), by an event queue of our own."""
    log: list[tuple[int, int, int]] = []
    ready: deque[tuple[bool, int]] = deque((True, task) for task in range(len(scripts)))
    timers: list[tuple[int, int, int]] = []
    done = [0] * len(scripts)
    now = turns = 0
    while ready or timers:
        if not ready:
            now = timers[0][0]
        while timers and timers[0][0] <= now:
            ready.append((False, heapq.heappop(timers)[2]))
        for _ in range(len(ready)):
            is_step, task = ready.popleft()
            if not is_step:  # the timer releases a future, whose task steps in the next turn of the loop
                ready.append((True, task))
                continue
            log.append((now, task, done[task]))
            if done[task] < len(scripts[task]):
                turns += 1
                heapq.heappush(timers, (now + scripts[task][done[task]], turns, task))
                done[task] += 1
    return log


@given(
    scripts=st.lists(st.lists(delays.filter(bool), max_size=6), max_size=6), start=st.sampled_from([0, DAY, 100 * DAY])
)
def test_sleepers_interleave_as_in_the_reference_model(scripts: list[list[int]], start: int) -> None:
    async def main() -> list[tuple[int, int, int]]:
        await Clock().sleep_until(start)
        clock, log = Clock(), []

        async def sleeper(task: int) -> None:
            log.append((clock.now(), task, 0))
            for step, delay in enumerate(scripts[task], 1):
                if step % 2:
                    await asyncio.sleep(delay / SECOND)
                else:
                    await clock.sleep_until(clock.now() + delay)
                log.append((clock.now(), task, step))

        async with asyncio.TaskGroup() as group:
            for task in range(len(scripts)):
                group.create_task(sleeper(task))
        return log

    assert run(main(), virtual=True) == reference(scripts)


@given(times=st.lists(delays, max_size=300), seed=st.integers(0, 9))
@settings(max_examples=50)
def test_timers_fire_by_time_then_by_order_of_setting_and_cancelled_ones_do_not(times: list[int], seed: int) -> None:
    """Most are cancelled when there are many, so that asyncio rebuilds its heap."""
    dice = random.Random(seed)
    cancelled = {place for place in range(len(times)) if dice.random() < 0.7}

    async def main() -> list[tuple[int, int]]:
        clock, log = Clock(), []
        set_ = [
            clock.call_at(t, lambda place, t: log.append((clock.now(), place)), place, t)
            for place, t in enumerate(times)
        ]
        for place in cancelled:
            set_[place].cancel()
            set_[place].cancel()
        await clock.sleep_until(max(times, default=0) + 1)
        return log

    assert run(main(), virtual=True) == sorted((t, place) for place, t in enumerate(times) if place not in cancelled)


def test_timers_of_one_instant_are_first_in_first_out_whichever_way_they_were_set() -> None:
    async def main() -> list[int]:
        loop, clock, log = asyncio.get_running_loop(), Clock(), []
        for place in range(0, 40, 4):
            loop.call_later(0.3, log.append, place)
            loop.call_at(0.1 + 0.2, log.append, place + 1)  # 0.30000000000000004: the same instant on the grid of ns
            clock.call_at(300 * MS, log.append, place + 2)
            loop.call_at(0.3, log.append, place + 3)
        await asyncio.sleep(0.3)
        return log

    assert run(main(), virtual=True) == list(range(40))


def test_a_timer_in_the_past_fires_at_once_and_time_never_goes_back() -> None:
    async def main() -> list[tuple[str, int]]:
        clock, log = Clock(), []
        await asyncio.sleep(1)
        clock.call_at(2, lambda: log.append(("b", clock.now())))
        clock.call_at(1, lambda: log.append(("a", clock.now())))
        await asyncio.sleep(1)
        return log

    assert run(main(), virtual=True) == [("a", SECOND), ("b", SECOND)]


def test_a_callback_may_cancel_the_next_timer_of_its_instant() -> None:
    async def main() -> list[str]:
        loop, log = asyncio.get_running_loop(), []
        loop.call_later(1, lambda: (log.append("first"), second.cancel()))
        second = loop.call_later(1, log.append, "second")
        await asyncio.sleep(2)
        return log

    assert run(main(), virtual=True) == ["first"]


def test_speed_1_keeps_the_order_and_takes_its_time() -> None:
    async def scene() -> list[tuple[int, str]]:
        clock, log = Clock(), []

        async def beat(name: str, period: int, count: int) -> None:
            for n in range(1, count + 1):
                await clock.sleep_until(n * period)
                log.append((clock.now(), name))
                if n % 3 == 0:
                    async with asyncio.TaskGroup() as inner:
                        inner.create_task(beat(name + "'", clock.now() + period // 7, 1))

        async with asyncio.TaskGroup() as group:
            for name, period in (("a", 10 * MS), ("b", 15 * MS), ("c", 5 * MS)):
                group.create_task(beat(name, period, 12))
        return log

    began = time.monotonic()
    paced = run(_call(scene), virtual=True, speed=2.0)
    took = time.monotonic() - began
    assert paced == run(_call(scene), virtual=True)
    assert took >= paced[-1][0] / SECOND / 2.0 * 0.99


async def _call(scene: Callable[[], object]) -> object:
    return await scene()  # type: ignore[misc]


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        run(asyncio.sleep(0), virtual=True, speed=speed)


# --- asyncio on virtual time


def test_asyncio_keeps_its_promises() -> None:
    async def main() -> None:
        loop, clock = asyncio.get_running_loop(), Clock()
        assert clock.virtual
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(clock.deadline(250 * MS)):
                await asyncio.sleep(1)
        assert clock.now() == 250 * MS
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0.25)
        assert clock.now() == 500 * MS
        assert await asyncio.wait_for(asyncio.sleep(0.1, "kept"), 0.2) == "kept"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await asyncio.sleep(math.inf)
        assert clock.now() == SECOND

        lock, queue, event, log = asyncio.Lock(), asyncio.Queue[int](1), asyncio.Event(), []

        async def holder(name: str) -> None:
            async with lock:
                await asyncio.sleep(0.1)
                log.append((name, clock.now()))

        async def producer() -> None:
            for n in range(3):
                await queue.put(n)
            event.set()

        async def consumer() -> None:
            for _ in range(3):
                await asyncio.sleep(0.25)
                log.append((str(await queue.get()), clock.now()))
            await event.wait()

        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(holder(name))
            group.create_task(producer())
            group.create_task(consumer())
        assert log == [("a", 1100 * MS), ("b", 1200 * MS), ("0", 1250 * MS), ("1", 1500 * MS), ("2", 1750 * MS)]

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(math.inf))
                group.create_task(_fail_at(clock, 2 * SECOND))
        assert [str(error) for error in caught.value.exceptions] == ["as asked"]
        assert clock.now() == 2 * SECOND

        done, pending = await asyncio.wait([asyncio.ensure_future(asyncio.sleep(n)) for n in (1, 9)], timeout=2)
        assert (len(done), len(pending), clock.now()) == (1, 1, 4 * SECOND)
        pending.pop().cancel()

    run(main(), virtual=True)


async def _fail_at(clock: Clock, t: int) -> None:
    await clock.sleep_until(t)
    raise LookupError("as asked")


def test_cancelling_a_sleep_leaves_no_timer_behind() -> None:
    async def main() -> None:
        clock = Clock()
        task = asyncio.ensure_future(clock.sleep_until(10 * SECOND))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.now() == SECOND
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock) as caught:
        run(main(), virtual=True)
    assert caught.value.t == SECOND


def test_a_hang_is_a_deadlock_with_its_time_and_everything_unwinds() -> None:
    unwound = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append(True)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(waits())
            await asyncio.sleep(1.5)

    with pytest.raises(Deadlock, match=r"at 1\.500 s") as caught:
        run(main(), virtual=True)
    assert caught.value.t == 1500 * MS
    assert unwound == [True, True]


def test_an_infinite_sleep_alone_is_a_deadlock() -> None:
    with pytest.raises(Deadlock):
        run(asyncio.sleep(math.inf), virtual=True)


async def _accept(*_: object) -> None: ...


REAL = {
    "tcp": lambda: asyncio.open_connection("localhost", 9),
    "unix": lambda: asyncio.open_unix_connection("nowhere"),
    "server": lambda: asyncio.start_server(_accept, "localhost", 0),
    "unix server": lambda: asyncio.start_unix_server(_accept, "nowhere"),
    "udp": lambda: asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, ("localhost", 0)),
    "process": lambda: asyncio.create_subprocess_exec("true"),
    "shell": lambda: asyncio.create_subprocess_shell("true"),
    "name": lambda: asyncio.get_running_loop().getaddrinfo("localhost", 9),
    "pipe": lambda: asyncio.get_running_loop().connect_read_pipe(asyncio.Protocol, sys.stdin),
    "reader": lambda: asyncio.get_running_loop().add_reader(0, print),
    "socket": lambda: asyncio.get_running_loop().sock_recv(None, 1),
}


@pytest.mark.parametrize("what", REAL)
def test_the_real_world_is_refused(what: str) -> None:
    async def main() -> None:
        await REAL[what]()

    with pytest.raises(RealIOError, match="virtual time"):
        run(main(), virtual=True)


def test_executors_run_inline_and_carry_exceptions() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, threading.get_ident) == threading.get_ident()
        assert await asyncio.to_thread(lambda a, b: a - b, 5, b=3) == 2
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    run(main(), virtual=True)


# --- the clock


def test_a_hundred_days_lose_no_nanosecond() -> None:
    async def main() -> None:
        clock = Clock()
        await clock.sleep_until(100 * DAY + 1)
        assert clock.now() == 100 * DAY + 1
        for n in range(2, 1000):
            await clock.sleep_until(100 * DAY + n)
            assert clock.now() == 100 * DAY + n
        before = clock.now()
        for _ in range(1000):
            await asyncio.sleep(0.02)
        assert clock.now() - before == 20 * SECOND
        with pytest.raises(TimeoutError):  # through a float: to within its precision, and it does come
            async with asyncio.timeout_at(clock.deadline(clock.now() + SECOND)):
                await asyncio.sleep(math.inf)
        assert abs(clock.now() - before - 21 * SECOND) <= 4

    run(main(), virtual=True)


@given(t=st.integers(0, 2**51 - SECOND))
def test_a_deadline_is_the_same_nanosecond_for_26_days(t: int) -> None:
    async def main() -> None:
        clock = Clock()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(clock.deadline(t)):
                await asyncio.sleep(math.inf)
        assert clock.now() == t

    run(main(), virtual=True)


def test_a_second_session_on_one_loop_has_its_own_zero() -> None:
    async def main() -> None:
        first = Clock()
        await asyncio.sleep(0.3)
        second = Clock()
        assert (first.now(), second.now()) == (300 * MS, 0)
        await second.sleep_until(100 * MS)
        assert (first.now(), second.now()) == (400 * MS, 100 * MS)
        assert second.deadline(0) == 0.3

    run(main(), virtual=True)


@pytest.mark.parametrize("virtual", [True, False])
def test_sleep_until_the_past_returns_and_the_future_is_reached(virtual: bool) -> None:
    async def main() -> None:
        clock = Clock()
        assert clock.virtual is virtual
        await clock.sleep_until(-1)
        await clock.sleep_until(20 * MS)
        assert clock.now() >= 20 * MS - 1
        fired = asyncio.Event()
        clock.call_at(30 * MS, fired.set)
        await fired.wait()
        assert clock.now() >= 30 * MS - 1

    run(main(), virtual=virtual)


@pytest.mark.parametrize("virtual", [True, False])
def test_wall_time_is_read_once(virtual: bool) -> None:
    async def main() -> None:
        began = datetime(2024, 2, 29, 12, tzinfo=UTC)
        clock = Clock(began)
        assert clock.wall(1_500_000_999) == began + timedelta(seconds=1.5)
        assert Clock().started.tzinfo is not None

    run(main(), virtual=virtual)


def test_costs_are_charged_in_virtual_time_only_and_only_when_asked() -> None:
    async def main(charges: bool) -> int:
        clock = Clock(charges=charges)
        await clock.charge(0)
        await clock.charge(50 * MS)
        return clock.now()

    assert run(main(True), virtual=True) == 50 * MS
    assert run(main(False), virtual=True) == 0
    assert run(main(True)) < 50 * MS  # real: the cost has passed already, so none is added


@given(chains=st.lists(st.integers(0, 8), max_size=6), settlers=st.integers(1, 3))
def test_settle_runs_everything_that_is_ready_and_no_time_passes(chains: list[int], settlers: int) -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        clock, loop, left = Clock(), asyncio.get_running_loop(), sum(chains)

        def step(more: int) -> None:
            nonlocal left
            left -= 1
            if more > 1:
                again = loop.call_soon if more % 2 else lambda *call: loop.call_later(0, *call)
                again(step, more - 1)

        order = []

        async def settler(name: int) -> None:
            await clock.settle()
            assert (left, clock.now()) == (0, 0)
            order.append(name)

        loop.call_later(0.001, lambda: None)
        for chain in chains:
            if chain:
                loop.call_soon(step, chain)
        async with asyncio.TaskGroup() as group:
            for name in range(settlers):
                group.create_task(settler(name))
        assert order == sorted(order)

    run(main(), virtual=True)


def test_settle_in_real_time_is_one_turn_of_the_loop() -> None:
    async def main() -> None:
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, True)
        await Clock().settle()
        assert ran

    run(main())


# --- the process around it

SCENE = "d833ff686900a193542beafefcc7e56c3ff866a6269cb0bc673b4c6c289c1500 2890 {} 22400000000"


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_scene_is_the_same_under_every_hash_seed_and_on_every_python(hash_seed: str) -> None:
    child = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.clock_scene"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == SCENE


CHILD = """
import asyncio, signal, sys
from streams.clock import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background has it ignored
async def main():
    asked = asyncio.Event()
    if {handler}:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    try:
        print("ready", flush=True)
        if {busy}:
            while not asked.is_set():
                await asyncio.sleep(0.001)
        else:
            async with asyncio.timeout(3600):
                await asked.wait()
    finally:
        await asyncio.sleep(0.01)
        print("unwound", flush=True)
try:
    run(main(), virtual={virtual}, speed={speed})
    print("asked")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("handler", [False, True], ids=["ctrl-c", "signal handler"])
@pytest.mark.parametrize(
    ("virtual", "speed", "busy"),
    [(False, None, False), (False, None, True), (True, None, True), (True, 1.0, True), (True, 1.0, False)],
    ids=["real", "real busy", "virtual", "paced busy", "paced waiting an hour"],
)
def test_a_signal_ends_a_run_cleanly(virtual: bool, speed: float | None, busy: bool, handler: bool) -> None:
    script = CHILD.format(virtual=virtual, speed=speed, busy=busy, handler=handler)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.05)
            child.send_signal(signal.SIGTERM if handler else signal.SIGINT)
            out, err = child.communicate(timeout=20)
        finally:
            child.kill()
    assert (out.split(), err) == (["unwound", "asked" if handler else "interrupted"], "")

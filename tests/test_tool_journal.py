"""Tools at run time: changes are told, calls run side by side, once each, and journalled before they are told of."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from embodied.body import Body
from embodied.errors import ToolError
from embodied.results import RESULT_BYTES, clean
from embodied.toolbox import STUCK, Toolbox, tool
from streams.bus import Bus
from streams.clock import SECOND, Clock, run
from streams.recording import Recorder, Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Call, Offered, Outcome
from tests.sessions import HEADER


def lamp(room: str) -> str:
    """Switch a lamp on."""
    return room


def siren() -> None:
    """Make a noise."""


def test_what_there_is_is_told_at_the_beginning_and_when_it_changes() -> None:
    async def main() -> list[Any]:
        clock = Clock()
        bus = Bus(clock)
        lane = bus.open(FEEDBACK)
        box = Toolbox([lamp], clock, bus)
        box.add([siren], "early")  # not told yet: nobody listens
        box.begin()
        await clock.sleep_until(SECOND)
        box.add([tool(siren, name="horn", risky=True, on_cut="cancel")], "more")
        box.add([tool(siren, name="horn", risky=True, on_cut="cancel")], "more")  # no change
        with pytest.raises(ToolError, match="two tools are named 'lamp'"):
            box.add([tool(siren, name="horn"), lamp], "more")
        box.remove("nothing")
        await clock.sleep_until(2 * SECOND)
        box.remove("more")
        assert (await box.perform(Call("horn", id=1))).status == "refused"
        told = []
        while (packet := lane.take()) is not None:
            told.append((packet.t / SECOND, packet.data))
        return told

    told = run(main(), virtual=True)
    assert all(isinstance(each, Offered) and each.where == "toolbox" for _, each in told)
    names = [(at, [(offer.name, offer.risky, offer.on_cut) for offer in each.offers]) for at, each in told]
    first = [("lamp", False, "finish"), ("siren", False, "finish")]
    assert names == [(0, first), (1, [*first, ("horn", True, "cancel")]), (2, first)]


@pytest.mark.parametrize("virtual", [True, False])
def test_calls_run_side_by_side_up_to_a_bound(virtual: bool) -> None:
    now = high = 0
    ended: list[int] = []

    async def work(number: int) -> None:
        nonlocal now, high
        now += 1
        high = max(high, now)
        await asyncio.sleep(0.05)
        now -= 1
        ended.append(number)

    async def main() -> list[Outcome]:
        box = Toolbox([work], Clock(), at_once=3)
        calls = [box.perform(Call("work", {"number": number}, id=number)) for number in range(1, 9)]
        return list(await asyncio.gather(*calls))

    outcomes = run(main(), virtual=virtual)
    assert [each.status for each in outcomes] == ["done"] * 8
    assert high == 3
    assert sorted(ended) == list(range(1, 9))
    if virtual:
        assert ended == list(range(1, 9))


def test_threads_run_side_by_side_too() -> None:
    together = threading.Barrier(3, timeout=20)

    def meet() -> int:
        return together.wait()

    async def main() -> list[Outcome]:
        box = Toolbox([meet], Clock(), at_once=3)
        return list(await asyncio.gather(*(box.perform(Call("meet", id=number)) for number in (1, 2, 3))))

    outcomes = run(main())
    assert sorted(each.result for each in outcomes) == [0, 1, 2]


def test_who_waits_too_long_for_a_turn_is_given_up_and_nothing_is_done() -> None:
    begun: list[str] = []

    async def slow(name: str) -> None:
        begun.append(name)
        await asyncio.sleep(8)

    async def timer() -> None:
        await asyncio.sleep(100)

    async def main() -> list[Outcome]:
        box = Toolbox([tool(slow, timeout_s=10), tool(timer, timeout_s=None)], Clock(), at_once=1)
        calls = [Call("timer", id=1), *(Call("slow", {"name": name}, id=9) for name in "aa")]
        calls += [Call("slow", {"name": name}, id=2 + place) for place, name in enumerate("bc")]
        return list(await asyncio.gather(*map(box.perform, calls)))

    timed, first, again, second, third = run(main(), virtual=True)
    assert timed.status == "done"  # who waits by nature takes nobody's turn
    assert first.status == "done"
    assert (again.status, again.detail) == ("refused", "call 9 has been carried out already")  # two at once
    assert (second.status, second.detail) == ("timeout", "slow took longer than 10 s")
    assert third.status == "timeout"
    assert third.detail.endswith("nothing was done")
    assert begun == ["a", "b"]


def test_a_function_that_keeps_its_threads_is_not_called_any_more() -> None:
    let_go = threading.Event()

    def stuck() -> None:
        let_go.wait(20)

    async def main() -> tuple[list[Outcome], Outcome]:
        box = Toolbox([tool(stuck, timeout_s=0.01)], Clock(), at_once=1)
        outcomes = [await box.perform(Call("stuck", id=number)) for number in range(1, STUCK + 4)]
        let_go.set()
        while (last := await box.perform(Call("stuck", id=99))).status == "refused":  # noqa: ASYNC110 - threads
            await asyncio.sleep(0.01)  # until some are back
        return outcomes, last

    try:
        outcomes, last = run(main())
    finally:
        let_go.set()
    assert [each.status for each in outcomes] == ["timeout"] * (STUCK + 1) + ["refused"] * 2
    assert outcomes[-1].detail == "more than 16 calls of stuck have not come back: it is stuck"
    assert last.status in ("done", "timeout")


def long_text() -> str:
    return 'é"' * 40_000


def long_list() -> list[int]:
    return list(range(20_000))


def fits() -> str:
    return "a" * (RESULT_BYTES - 2)


def not_a_number() -> dict[str, list[float]]:
    return {"values": [1.0, float("nan")]}


def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def leaves() -> None:
    sys.exit(3)


def stops() -> None:
    next(iter(()))


def promise() -> Any:
    return asyncio.sleep(1)


async def leaves_async() -> None:
    sys.exit(3)


def wordy() -> None:
    raise ValueError("x" * 100_000)


def half() -> str:
    return "\ud800"


def half_said() -> None:
    raise ValueError("no \ud800 here")


def keyed() -> dict[int, set[str]]:
    return {1: {"a"}}


@pytest.mark.parametrize("virtual", [True, False])
def test_results_are_json_of_a_bounded_size(virtual: bool) -> None:
    functions = [
        long_text, long_list, fits, not_a_number, endless, leaves, leaves_async, stops, promise, wordy, half, half_said,
        keyed,
    ]  # fmt: skip

    async def main() -> dict[str, Outcome]:
        box = Toolbox(functions, Clock())
        return {name: await box.perform(Call(name)) for name in box.tools}

    ended = run(main(), virtual=virtual)
    for name, start in (("long_text", 'é"é"'), ("long_list", "[0, 1, 2,")):
        outcome = ended[name]
        assert outcome.status == "done"
        assert outcome.result.startswith(start)
        assert outcome.result.endswith(f"[{outcome.detail}]")
        assert "only the first 16 kB of" in outcome.detail
        size = len(json.dumps(outcome.result, ensure_ascii=False).encode())
        assert RESULT_BYTES * 0.9 < size < RESULT_BYTES + 100
    assert (ended["fits"].result, ended["fits"].detail) == (fits(), "")
    assert ended["keyed"].result == {"1": ["a"]}
    for name, part in {
        "not_a_number": "ValueError",
        "endless": "RecursionError",
        "leaves": "SystemExit(3)",
        "leaves_async": "SystemExit: 3",
        "stops": "StopIteration",
        "promise": "async def",
        "wordy": "ValueError: xxx",
        "half": "UnicodeEncodeError",
        "half_said": "ValueError: no ? here",
    }.items():
        assert ended[name].status == "failed", name
        assert part in ended[name].detail
        assert ended[name].result is None
        assert len(ended[name].detail) <= 600


def test_numbers_that_json_does_not_have_are_refused() -> None:
    def take(number: float, more: dict[str, list[float]] | None = None) -> None:
        raise AssertionError

    async def main() -> list[Outcome]:
        box = Toolbox([take], Clock())
        wrong: list[dict[str, Any]] = [
            {"number": float("nan")},
            {"number": float("inf")},
            {"number": 1, "more": {"a": [1.0, float("-inf")]}},
        ]
        return [await box.perform(Call("take", arguments)) for arguments in wrong]

    outcomes = run(main(), virtual=True)
    assert [each.status for each in outcomes] == ["refused"] * 3
    assert [each.detail for each in outcomes] == [
        f"wrong arguments for take: {number} is no number in JSON" for number in ("nan", "inf", "-inf")
    ]


def test_hidden_characters_are_taken_out() -> None:
    text = "a\x1b[31m b\u202e\u2066c\u200bd\U000e0041\ue000 \n e\u200d"
    assert clean(text, 100) == "a[31m bcd e"
    assert clean(text, 100, lines=True) == "a[31m bcd\n e\u200d"
    assert clean("a" * 100, 10) == "aaaaaaaaa…"


def test_an_effect_is_on_record_before_anybody_can_speak_of_it(tmp_path: Path) -> None:
    """The call is on the bus before its function runs, and its outcome before anything can follow from it."""

    async def main() -> tuple[list[str], Path]:
        clock = Clock()
        bus = Bus(clock)
        happened: list[str] = []

        def seen(lane: Any) -> None:
            while (packet := lane.take()) is not None:
                happened.append(type(packet.data).__name__)

        with bus.open(ACTION, FEEDBACK) as journal, bus.open(FEEDBACK, reader="policy") as policy:

            async def pay(amount: int) -> str:
                """Pay."""
                seen(journal)
                happened.append("effect")
                return "paid"

            path = tmp_path / "session.mcap"
            recorder = Recorder(path, HEADER)
            body = Body([Toolbox([pay], clock)])
            with bus.open(ACTION, reader="body") as orders, bus.open(ACTION, FEEDBACK, reader="recorder") as lane:
                async with asyncio.TaskGroup() as group:
                    group.create_task(recorder.run(lane, clock, lambda fault: None))
                    group.create_task(body.run(orders, bus, clock))
                    bus.publish(ACTION, clock.now(), Call("pay", {"amount": 5}, id=1))
                    packet = await policy.get()  # the first moment at which a policy can know of it
                    assert packet is not None and packet.data.result == "paid"
                    seen(journal)
                    happened.append("told")
                    bus.close(ACTION)
                    await clock.settle()
                    bus.close(FEEDBACK)
        return happened, path

    happened, path = run(main(), virtual=True)
    assert happened == ["Call", "effect", "Outcome", "told"]
    kinds = [type(packet.data).__name__ for packet in Recording.open(path).packets()]
    assert kinds == ["Call", "Outcome"]


KILLED = """
import asyncio, os, sys
from embodied.body import Body
from embodied.toolbox import Toolbox
from streams.bus import Bus
from streams.clock import Clock, run
from streams.recording import Recorder
from streams.topics import ACTION, FEEDBACK
from streams.types import Call
from tests.sessions import HEADER

async def launch() -> str:
    await asyncio.sleep(2.5)  # what is recorded is on disk within a second
    os._exit(9)

async def main():
    clock = Clock()
    bus = Bus(clock)
    recorder = Recorder(sys.argv[1], HEADER)
    with bus.open(ACTION, reader="body") as orders, bus.open(ACTION, FEEDBACK) as lane:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run(lane, clock, print))
            group.create_task(Body([Toolbox([launch], clock)]).run(orders, bus, clock))
            bus.publish(ACTION, clock.now(), Call("launch", {}, id=1))

run(main())
"""


def test_a_call_that_a_kill_cut_short_is_on_record_as_begun_and_not_ended(tmp_path: Path) -> None:
    path = tmp_path / "session.mcap"
    root = Path(__file__).resolve().parents[1]
    child = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, timeout=60, env=os.environ, check=False)
    assert child.returncode == 9
    recording = Recording.open(path)
    packets = [packet.data for packet in recording.packets()]
    assert recording.torn
    assert [type(each) for each in packets] == [Call]
    assert packets[0].name == "launch"

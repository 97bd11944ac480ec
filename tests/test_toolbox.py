"""Tools: what a model is told of them, what is refused before anything is done, and how calls end."""

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import Meta

from embodied.errors import ToolError
from embodied.toolbox import Toolbox, tool
from embodied.tools import default_tools
from streams.clock import SECOND, Clock, run
from streams.types import Call, Outcome

done: list[Any] = []


class Place(msgspec.Struct):
    x: float
    y: float


def lamp(
    room: Literal["kitchen", "hall"], level: Annotated[int, Meta(ge=0, le=10)] = 10, at: Place | None = None
) -> str:
    """Switch a lamp on.

    It stays on.

    room: where it hangs;  level: how bright, 0 to 10
    """
    done.append((room, level, at))
    return f"{room} {level}"


async def forever() -> None:
    """Never end."""
    await asyncio.Event().wait()


def broken(clock: Clock) -> None:
    """Fail."""
    raise ValueError(f"no lamp at {clock.now()}")


def odd() -> object:
    """Return what JSON cannot carry."""
    return object()


def call(*calls: Call, tools: Any = (lamp, forever, broken, odd), virtual: bool = True) -> list[Outcome]:
    async def main() -> list[Outcome]:
        box = Toolbox(tools, Clock())
        outcomes = [await box.perform(each) for each in calls]
        await box.aclose()
        return outcomes

    done.clear()
    return run(main(), virtual=virtual)


def test_the_schema_says_what_the_signature_says() -> None:
    async def main() -> list[dict[str, Any]]:
        return Toolbox([lamp, broken], Clock()).schemas()

    told, clocked = run(main(), virtual=True)
    assert (told["name"], told["description"]) == ("lamp", "Switch a lamp on.")
    schema = told["parameters"]
    Draft202012Validator.check_schema(schema)
    valid = Draft202012Validator(schema).is_valid
    assert valid({"room": "hall"})
    assert valid({"room": "hall", "level": 3, "at": {"x": 1.5, "y": 2}})
    assert not valid({"room": "attic"})
    assert not valid({"room": "hall", "level": 11})
    assert not valid({"room": "hall", "colour": "red"})
    assert schema["required"] == ["room"]
    assert schema["properties"]["room"]["description"] == "where it hangs"
    assert schema["properties"]["level"]["description"] == "how bright, 0 to 10"
    assert clocked["parameters"]["properties"] == {}


@pytest.mark.parametrize("virtual", [True, False])
def test_a_right_call_is_carried_out_once(virtual: bool) -> None:
    first, again, other = call(
        Call("lamp", {"room": "hall", "at": {"x": 1, "y": 2.5}}, id=7),
        Call("lamp", {"room": "hall"}, id=7),
        Call("lamp", {"room": "hall"}, id=8),
        virtual=virtual,
    )
    assert (first.status, first.result, first.name) == ("done", "hall 10", "lamp")
    assert (again.status, again.detail) == ("refused", "call 7 has been carried out already")
    assert other.status == "done"
    assert done == [("hall", 10, Place(1, 2.5)), ("hall", 10, None)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "missing required field `room`"),
        ({"room": "attic"}, "Invalid enum value 'attic'"),
        ({"room": "hall", "level": "3"}, "Expected `int`, got `str`"),
        ({"room": "hall", "level": 99}, "`int` <= 10"),
        ({"room": "hall", "colour": "red"}, "unknown field `colour`"),
        ({"room": "hall", "at": {"x": 1}}, "missing required field `y`"),
        ({"room": float("nan")}, "got `float`"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_done(arguments: dict[str, Any], reason: str) -> None:
    (outcome,) = call(Call("lamp", arguments, id=1))
    assert outcome.status == "refused"
    assert outcome.detail.startswith("wrong arguments for lamp: ")
    assert reason in outcome.detail
    assert not done


def test_an_unknown_tool_is_refused_with_the_nearest_name() -> None:
    near, far = call(Call("lamb", id=1), Call("xyzzy", id=2))
    assert near.detail == "there is no tool named 'lamb': did you mean 'lamp'?"
    assert far.detail == "there is no tool named 'xyzzy'; there are: lamp, forever, broken, odd"


@pytest.mark.parametrize("virtual", [True, False])
def test_what_a_function_raises_is_its_outcome(virtual: bool) -> None:
    failed, unsaid = call(Call("broken", id=1), Call("odd", id=2), virtual=virtual)
    assert failed.status == "failed"
    assert failed.detail.startswith("ValueError: no lamp at ")
    assert unsaid.status == "failed"
    assert unsaid.detail.startswith("TypeError: ")


def test_a_function_that_takes_too_long_is_given_up() -> None:
    (virtual,) = call(Call("forever", id=1))
    assert (virtual.status, virtual.detail) == ("timeout", "forever took longer than 10 s")
    nap = tool(lambda: time.sleep(0.3), name="nap", timeout_s=0.05)
    (real,) = call(Call("nap", id=1), tools=[nap], virtual=False)
    assert (real.status, real.detail) == ("timeout", "nap took longer than 0.05 s")


def test_stuck_functions_hold_up_no_other() -> None:
    let_go = threading.Event()

    def stuck() -> None:
        let_go.wait(20)

    tools = [tool(stuck, timeout_s=0.02), lamp]
    try:
        outcomes = call(
            *(Call("stuck", id=n) for n in range(1, 9)),
            Call("lamp", {"room": "hall"}, id=9),
            tools=tools,
            virtual=False,
        )
    finally:
        let_go.set()
    assert [outcome.status for outcome in outcomes] == ["timeout"] * 8 + ["done"]


def test_a_stuck_function_does_not_keep_the_process_from_ending() -> None:
    script = """
import time
from embodied.toolbox import Toolbox, tool
from streams.clock import Clock, run
from streams.types import Call
async def main():
    box = Toolbox([tool(lambda: time.sleep(30), name="nap", timeout_s=0.1)], Clock())
    print((await box.perform(Call("nap", id=1))).status)
    await box.aclose()
run(main())
"""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=Path(__file__).resolve().parents[1], capture_output=True,
        text=True, timeout=15, check=True,
    )  # fmt: skip
    assert (child.stdout, child.stderr) == ("timeout\n", "")


def test_what_cannot_be_called_by_name_is_no_tool() -> None:
    def variadic(*names: str) -> None: ...

    def bare(name) -> None: ...  # type: ignore[no-untyped-def]

    def wire(of: Clock, at: complex) -> None: ...

    for function, reason in ((variadic, "cannot be given by name"), (bare, "no annotation"), (wire, "JSON")):
        with pytest.raises(ToolError, match=reason):
            tool(function)
    with pytest.raises(ToolError, match="two tools are named 'lamp'"):
        call(tools=[lamp, lamp])


class Horn:
    volume = 1.0


def test_timers_ring_in_session_time_and_can_be_taken_back() -> None:
    async def main() -> list[tuple[int, Outcome]]:
        clock = Clock()
        box = Toolbox(default_tools(), clock)
        ended = []

        async def perform(name: str, arguments: dict[str, Any], number: int) -> None:
            outcome = await box.perform(Call(name, arguments, id=number))
            ended.append((clock.now(), outcome))

        async with asyncio.TaskGroup() as group:
            group.create_task(perform("set_timer", {"seconds": 300, "label": "tea"}, 1))
            group.create_task(perform("set_timer", {"seconds": 60.5, "label": "egg"}, 2))
            group.create_task(perform("set_timer", {"seconds": 400, "label": "tea"}, 3))
            group.create_task(perform("set_timer", {"seconds": 1e9}, 4))
            await clock.sleep_until(100 * SECOND)
            group.create_task(perform("cancel_timer", {"label": "tea"}, 5))
            await clock.sleep_until(200 * SECOND)
            group.create_task(perform("set_timer", {"seconds": 900}, 6))
            await clock.sleep_until(700 * SECOND)
            group.create_task(perform("cancel_timer", {}, 7))
        return ended

    ended = run(main(), virtual=True)
    assert [(at / SECOND, outcome.id, outcome.status) for at, outcome in ended] == [
        (0, 4, "refused"), (60.5, 2, "done"), (100, 5, "done"), (100, 3, "cut"), (300, 1, "done"), (700, 7, "done"),
        (700, 6, "cut"),
    ]  # fmt: skip
    assert ended[1][1].result == {"label": "egg", "seconds": 60.5, "due_s": 60.5}


def test_the_volume_is_set_and_changed() -> None:
    async def main() -> list[Outcome]:
        horn = Horn()
        box = Toolbox(default_tools(horn), Clock())
        steps: list[dict[str, Any]] = [{"percent": 50}, {"by_percent": 20.0}, {"by_percent": 100}, {}, {"percent": 101}]
        return [await box.perform(Call("set_volume", step, id=number)) for number, step in enumerate(steps, 1)]

    outcomes = run(main(), virtual=True)
    assert [outcome.status for outcome in outcomes] == ["done", "done", "done", "failed", "refused"]
    assert [outcome.result for outcome in outcomes[:3]] == [{"percent": 50}, {"percent": 70}, {"percent": 100}]

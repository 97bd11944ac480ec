"""What a model is told of a tool: from annotations, defaults and docstrings in the usual styles."""

import dataclasses
import enum
import math
import tomllib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Meta

from embodied.errors import ToolError
from embodied.mcp import McpSection
from embodied.motion import SimulatedBase
from embodied.toolbox import Tool, Toolbox, tool
from streams.clock import Clock, run
from streams.types import Call, Command, Outcome

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
got: list[Any] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


class Person(msgspec.Struct):
    """Somebody."""

    name: str
    born: date | None = None
    at: Point | None = None


def choose(mode: Literal["slow", "fast", 3]) -> None:
    got.append(mode)


def paint(colour: Colour, level: Level = Level.LOW) -> None:
    got.append((colour, level))


def perhaps(text: str | None = None, number: int | None = None) -> None:
    got.append((text, number))


def place(at: Point) -> None:
    got.append(at)


def greet(people: list[Person], by_name: dict[str, int] | None = None) -> None:
    got.append((people, by_name))


def remind(at: datetime, every: timedelta | None = None) -> None:
    got.append((at, every))


def wake(at: time, until: datetime | None = None) -> None:
    got.append((at, until))


def bounded(percent: Annotated[float, Meta(ge=0, le=100, description="of full volume")] = 50) -> None:
    got.append(percent)


def several(names: tuple[str, ...] = (), tags: list[str] = ["a"]) -> None:  # noqa: B006 - never changed here
    got.append((names, tags))


RIGHT = [
    (choose, {"mode": "fast"}, "fast"),
    (choose, {"mode": 3}, 3),
    (paint, {"colour": "blue", "level": 2}, (Colour.BLUE, Level.HIGH)),
    (paint, {"colour": "red"}, (Colour.RED, Level.LOW)),
    (perhaps, {}, (None, None)),
    (perhaps, {"text": None, "number": 4}, (None, 4)),
    (place, {"at": {"x": 1}}, Point(1.0)),
    (
        greet,
        {"people": [{"name": "Ada", "born": "1815-12-10", "at": {"x": 1, "y": 2}}]},
        ([Person("Ada", date(1815, 12, 10), Point(1, 2))], None),
    ),
    (greet, {"people": [], "by_name": {"a": 1}}, ([], {"a": 1})),
    (remind, {"at": "2026-03-01T12:00:00Z"}, (NOON, None)),
    (remind, {"at": "2026-03-01T12:00:00", "every": "PT90S"}, (datetime(2026, 3, 1, 12), timedelta(seconds=90))),
    (wake, {"at": "07:30:00"}, (time(7, 30), None)),
    (wake, {"at": "07:30:00", "until": "2026-03-01T13:00:00+01:00"}, (time(7, 30), NOON)),
    (bounded, {"percent": 12.5}, 12.5),
    (bounded, {}, 50),
    (several, {"names": ["a", "b"]}, (("a", "b"), ["a"])),
]  # fmt: skip
WRONG = [
    (choose, {"mode": "quick"}),
    (choose, {}),
    (paint, {"colour": "green"}),
    (paint, {"colour": "red", "level": 3}),
    (perhaps, {"text": 4}),
    (place, {"at": {"y": 1}}),
    (place, {"at": {"x": "1"}}),
    (greet, {"people": [{"born": "1815-12-10"}]}),
    (bounded, {"percent": 101}),
    (bounded, {"percent": True}),
    (several, {"names": "a"}),
    (several, {"other": 1}),
]


def perform(function: Any, arguments: dict[str, Any]) -> Outcome:
    async def main() -> Outcome:
        made = tool(function)
        return await Toolbox([made], Clock()).perform(Call(made.name, arguments))

    got.clear()
    return run(main(), virtual=True)


@pytest.mark.parametrize(("function", "arguments", "given"), RIGHT)
def test_what_the_schema_allows_is_taken(function: Any, arguments: dict[str, Any], given: Any) -> None:
    schema = tool(function).parameters
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(arguments)
    assert perform(function, arguments).status == "done"
    assert got == [given]


@pytest.mark.parametrize(("function", "arguments"), WRONG)
def test_what_the_schema_forbids_is_refused(function: Any, arguments: dict[str, Any]) -> None:
    assert not Draft202012Validator(tool(function).parameters).is_valid(arguments)
    assert perform(function, arguments).status == "refused"
    assert not got


def test_constraints_and_formats_are_in_the_schema() -> None:
    percent = tool(bounded).parameters["properties"]["percent"]
    assert percent == {"type": "number", "minimum": 0, "maximum": 100, "description": "of full volume", "default": 50}
    at = tool(remind).parameters["properties"]["at"]
    assert at == {"type": "string", "format": "date-time"}
    assert {"type": "string", "format": "date-time"} in tool(wake).parameters["properties"]["until"]["anyOf"]
    assert tool(choose).parameters["properties"]["mode"] == {"enum": [3, "fast", "slow"]}
    assert "Somebody." in str(tool(greet).parameters)


def house(room: str, level: int = 1) -> None:
    """Switch a lamp
    on.

    It stays on.

    room: where it hangs;  level: how bright: 0 to 10
    """


def google(room: str, level: int = 1) -> None:
    """Switch a lamp on.

    Args:
        room (str): where it hangs,
            in the house
        level: how bright: 0 to 10

    Returns:
        level: something else
    """


def sphinx(room: str, level: int = 1) -> None:
    """Switch a lamp on.

    :param room: where it hangs,
        in the house
    :param int level: how bright: 0 to 10
    :returns: nothing
    """


def terse(room: str, level: int = 1) -> None:
    """Switch a lamp on.
    :param room: where it hangs
    """


def only(room: str, level: int = 1) -> None:
    """
    Args:
        room: where it hangs
    """


@pytest.mark.parametrize(
    ("function", "description", "room", "level"),
    [
        (house, "Switch a lamp on.", "where it hangs", "how bright: 0 to 10"),
        (google, "Switch a lamp on.", "where it hangs, in the house", "how bright: 0 to 10"),
        (sphinx, "Switch a lamp on.", "where it hangs, in the house", "how bright: 0 to 10"),
        (terse, "Switch a lamp on.", "where it hangs", None),
        (only, "", "where it hangs", None),
        (choose, "", None, None),
    ],
)
def test_the_docstring_describes(function: Any, description: str, room: str | None, level: str | None) -> None:
    made = tool(function)
    assert made.description == description
    properties = made.parameters["properties"]
    assert properties.get("room", {}).get("description") == room
    assert properties.get("level", {}).get("description") == level


def test_the_decorator_makes_a_tool_that_is_still_a_function() -> None:
    @tool
    def double(number: int) -> int:
        """Double it."""
        return 2 * number

    @tool(name="unlock-door", risky=True, on_cut="cancel", timeout_s=3, cost_ms=20)
    async def unlock(door: str) -> str:
        """Unlock a door."""
        return door

    assert isinstance(double, Tool) and isinstance(unlock, Tool)
    assert double(4) == 8
    offer = unlock.offer
    assert (offer.name, offer.kind, offer.risky, offer.on_cut) == ("unlock-door", "call", True, "cancel")
    assert (double.offer.risky, double.offer.on_cut) == (False, "finish")
    assert (unlock.timeout_s, unlock.cost) == (3, 20_000_000)


def test_what_is_no_tool_is_told_at_once() -> None:
    def later(of: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    def many() -> Iterator[int]:
        yield 1

    async def stream() -> AsyncIterator[int]:
        yield 1

    for function, reason in [
        (later, "cannot be read"),
        (many, "it yields"),
        (stream, "it yields"),
        (lambda: 1, "give it a name"),
        (Point, "not a function"),
    ]:
        with pytest.raises(ToolError, match=reason):
            tool(function)
    with pytest.raises(ToolError, match="give it a name"):
        tool(house, name="lamp on")
    with pytest.raises(ToolError, match="above 0"):
        tool(house, timeout_s=0)


_VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-20, 20),
    st.floats(-7, 7),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.sampled_from([10.0, -10, 2 * math.pi, -2 * math.pi, 10.000001]),
)


@given(
    st.sampled_from(["move", "turn", "come_back"]),
    st.dictionaries(st.sampled_from(["distance_m", "angle_rad", "speed"]), _VALUES, max_size=2),
)
def test_the_base_offers_exactly_what_it_does_not_refuse(name: str, arguments: dict[str, Any]) -> None:
    async def main() -> tuple[Outcome, bool]:
        base = SimulatedBase(Clock())
        offer = next(each for each in base.offers() if each.name == name)
        assert (offer.kind, offer.risky, offer.on_cut) == ("command", True, "cancel")
        Draft202012Validator.check_schema(offer.parameters)
        outcome = await base.perform(Command(name, arguments))
        return outcome, Draft202012Validator(offer.parameters).is_valid(arguments)

    outcome, offered = run(main(), virtual=True)
    assert (outcome.status != "refused") == offered


def test_the_example_of_the_documentation_runs() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "tools.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(example, "docs/tools.md", "exec"), names)
    forecast, heating = names["body"].tools
    assert forecast.parameters["properties"]["days"] == {
        "type": "integer", "minimum": 1, "maximum": 7, "default": 1, "description": "how many days ahead",
    }  # fmt: skip
    assert heating.parameters["properties"]["celsius"]["description"] == "the temperature that is wanted"
    assert heating.risky and not forecast.risky
    names["body"].close()


def test_the_settings_of_the_documentation_are_settings() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "tools.md").read_text(encoding="utf-8")
    section = tomllib.loads(text.split("```toml\n")[1].split("```")[0])["mcp"]
    servers = msgspec.convert(section, McpSection).servers
    assert servers["home"].header_env == {"Authorization": "HOME_MCP_AUTH"}
    assert servers["time"].tools == ("get_current_time", "convert_time")

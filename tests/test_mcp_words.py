"""What MCP servers say, read with suspicion: pure functions, no server."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from embodied.errors import McpFailed
from embodied.mcp import McpServer
from embodied.mcp_arguments import checked
from embodied.mcp_words import TEXT, Listed, listed, result_of
from embodied.results import RESULT_BYTES, fitted

ALL = McpServer(command="x", tools=("*",))


def call(name: str) -> Any:
    async def calling(**arguments: Any) -> str:
        return name

    return calling


def read(*found: dict[str, Any], server: McpServer = ALL) -> Listed:
    return listed("s", server, found, call)


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


_ATOMS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "a", "b"]))
_VALUES = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner)),
    max_leaves=6,
)
_KINDS = ["object", "array", "string", "number", "integer", "boolean", "null"]


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(
                st.sampled_from(_KINDS), st.lists(st.sampled_from(_KINDS), min_size=1, max_size=3, unique=True)
            ),
            "enum": st.lists(_VALUES, min_size=1, max_size=3),
            "const": _VALUES,
            "minimum": st.integers(-3, 3),
            "maximum": st.floats(-3, 3),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
        },
    )


_SCHEMAS = st.recursive(_schemas(st.booleans()), _schemas, max_leaves=6)


@given(_SCHEMAS, st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3))
def test_the_light_check_never_refuses_what_is_right(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    if Draft202012Validator(schema).is_valid(arguments):
        assert checked(schema, arguments) == arguments


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"enum": ["C", "F"]},
        "places": {"type": "array", "items": {"type": "object", "required": ["x"]}},
        "kind": {"const": 1},
    },
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "missing required field `city` - at `$`"),
        ({"city": 4}, "expected string, got int - at `$.city`"),
        ({"city": "x", "days": 1.5}, "expected integer, got float"),
        ({"city": "x", "days": True}, "expected integer, got bool"),
        ({"city": "x", "days": 0}, "0 is beyond the minimum of 1"),
        ({"city": "x", "days": 10**400}, "beyond the maximum of 7"),
        ({"city": "x", "unit": "K"}, "'K' is none of"),
        ({"city": "x", "kind": True}, "True is not 1"),
        ({"city": "x", "places": [{"x": 1}, {}]}, "missing required field `x` - at `$.places[...]`"),
        ({"city": "x", "town": "y"}, "unknown field `town`"),
    ],
)
def test_the_light_check_says_what_is_plainly_wrong(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        checked(SCHEMA, arguments)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": {"a": 1}, "required": [{}, 4], "properties": [1], "enum": "x", "minimum": "y", "items": 7},
        {"$ref": "#", "allOf": [{"$ref": "#"}], "pattern": "(a+)+$", "properties": {"a": None}},
    ],
)
def test_a_schema_that_makes_no_sense_does_no_harm(schema: dict[str, Any]) -> None:
    assert checked(schema, {"a": "a" * 100}) == {"a": "a" * 100}


def test_names_become_such_as_models_take() -> None:
    tools, notes = read(named("get.it"), named("get_it"), named("ä" * 100), named("x" * 100))
    assert [each.name for each in tools] == ["s__get_it", "s__" + "_" * 61, "s__" + "x" * 61]
    assert list(notes) == ["LeftOut get_it"]


def test_descriptions_are_cleaned_everywhere_and_values_are_left_alone() -> None:
    schema = {
        "type": "object",
        "description": "do\x07 it\u202e",
        "properties": {"description": {"type": "string", "title": "a\x00b", "enum": ["x\u200dy"]}},
    }
    (made,), _ = read({"name": "a", "description": None, "inputSchema": schema})
    assert made.parameters == {
        "type": "object",
        "description": "do it",
        "properties": {"description": {"type": "string", "title": "ab", "enum": ["x\u200dy"]}},
    }
    assert made.description == ""


def test_what_cannot_be_offered_is_left_out_with_a_note() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"items": deep}
    tools, notes = read(
        named("fine"),
        {"name": "none"},
        {"name": "list", "inputSchema": {"type": "array"}},
        {"name": "long", "inputSchema": {"type": "object", "default": "x" * 20_000}},
        {"name": "nan", "inputSchema": {"type": "object", "minimum": float("nan")}},
        {"name": "half", "inputSchema": {"type": "object", "default": "\ud800"}},
        {"name": "deep", "inputSchema": deep},
    )
    assert [each.name for each in tools] == ["s__fine"]
    assert [each.split()[1] for each in notes] == ["none", "list", "long", "nan", "half", "deep"]
    many, notes = read(*(named(f"t{number}") for number in range(500)))
    assert len(many) == 128
    assert "TooMany" in notes


@pytest.mark.parametrize(
    ("risky", "hint", "expected"),
    [((), None, False), ((), True, True), ((), False, False), (("a",), False, True), (("*",), None, True)],
)
def test_a_hint_makes_a_tool_riskier_and_never_less(risky: tuple[str, ...], hint: bool | None, expected: bool) -> None:
    server = McpServer(command="x", tools=("a",), risky=risky)
    (made,), _ = read(named("a", annotations={"destructiveHint": hint, "readOnlyHint": True}), server=server)
    assert made.risky is expected


def test_results_as_json() -> None:
    def text(value: str) -> dict[str, Any]:
        return {"type": "text", "text": value}

    assert result_of({"content": []}) == ""
    assert result_of({"content": [text("a\x1b\nb"), text("c")]}) == "a\nb\nc"
    assert result_of({"content": [text("{}")], "structuredContent": {"a\u202e": ["b\x00", 1, None]}}) == {
        "a": ["b", 1, None]
    }
    resource = {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "secret"}}
    link = {"type": "resource_link", "uri": "file:///b", "name": "b\x07"}
    others = [
        {"kind": "resource", "type": "text/plain", "uri": "file:///a", "characters": 6},
        {"kind": "resource_link", "name": "b", "uri": "file:///b", "characters": 0},
    ]
    assert result_of({"content": [text("see"), resource, link]}) == {"text": "see", "others": others}
    assert result_of({"content": [resource, link], "structuredContent": [1]}) == {"data": [1], "others": others}
    with pytest.raises(McpFailed, match=r"^no lamp$"):
        result_of({"content": [text("no\x00 lamp")], "isError": True})
    with pytest.raises(McpFailed, match="does not say why"):
        result_of({"isError": True})


@pytest.mark.parametrize(
    "answer", [{"content": [{"type": "text", "text": "é" * 10**6}]}, {"structuredContent": ["é" * 10**6]}]
)
def test_large_results_are_cut_with_a_note(answer: dict[str, Any]) -> None:
    cut = result_of(answer)
    assert "[only the first 15 kB of 1000 kB are told]" in cut
    assert len(cut) < TEXT + 100
    told, _ = fitted(cut)
    assert len(json.dumps(told, ensure_ascii=False).encode()) < RESULT_BYTES + 100

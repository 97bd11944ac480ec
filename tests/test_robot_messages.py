"""Messages, topics and schemas: what is read is right, and what is wrong is refused without a crash."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.robot_fuzz import fuzz
from embodied.robot import messages
from embodied.robot.codec import BYTES_MAX, decode, depth, encode
from embodied.robot.errors import ContractError, FactsheetInvalid, Malformed
from embodied.robot.factsheet import Factsheet, compatible
from embodied.robot.lifecycle import NEXT
from embodied.robot.messages import Command, Setpoint
from embodied.robot.params import Params
from embodied.robot.properties import properties
from embodied.robot.reports import Heartbeat, Status
from embodied.robot.schema_files import TYPES, published, schema, text
from embodied.robot.seal import seal, sealed
from embodied.robot.topics import (
    DELIVERY,
    NAMED,
    Topic,
    agent_subscriptions,
    agent_topic,
    read_topic,
    robot_subscriptions,
    robot_topic,
)
from embodied.robot.vocabulary import RESERVED, TERMINAL, State

CONTRACT = Path(__file__).parent.parent / "docs" / "robot-contract.md"
COMMAND = b'{"v":1,"id":"c1","name":"nav.goto","from":"a","args":%b}'

# --- documents


def examples() -> list[tuple[str, str]]:
    """Every JSON block of the contract with the type that the line before it names: <!-- type -->"""
    return re.findall(r"<!-- (\w+) -->\n```json\n(.*?)```", CONTRACT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("kind", "body"), examples())
def test_the_examples_of_the_contract_are_right(kind: str, body: str) -> None:
    jsonschema.Draft202012Validator(schema(kind)).validate(json.loads(body))
    message = decode(body.encode(), TYPES[kind])
    assert decode(encode(message), TYPES[kind]) == message


def test_the_contract_has_an_example_of_each_type_and_none_without_one() -> None:
    assert {kind for kind, _ in examples()} == set(TYPES)
    assert CONTRACT.read_text(encoding="utf-8").count("```json") == len(examples())


@pytest.mark.parametrize("name", TYPES)
def test_published_schemas_are_those_of_the_types(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert published(name).read_text(encoding="utf-8") == text(name), "python -m embodied.robot.schema_files DIRECTORY"


def test_no_schema_is_left_over() -> None:
    assert {path.stem for path in published("command").parent.glob("*.json")} == set(TYPES)


# --- bytes


@pytest.mark.parametrize(
    "args",
    [
        b'{"x":NaN}',
        b'{"x":Infinity}',
        b'{"x":-Infinity}',
        b'{"x":1e999}',
        b'{"x":1,"x":2}',
        b'{"x":{"y":1,"y":1}}',
        b'"x"',
        b'{"x":"\xff"}',
        b'{"x":"\\ud800"}',
        b'{"x":' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"x":' + b"[" * 50_000,
        b"{}} ",
        b"{",
        b"",
        b'{"x":"' + b"a" * BYTES_MAX + b'"}',
        b'{"x":01}',
        b"{'x':1}",
        b'{"x":1,}',
        b'{"x":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_strict_json_is_refused(args: bytes) -> None:
    with pytest.raises(Malformed):
        decode(COMMAND % args, Command)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": 1.0},
        {"v": "1"},
        {"v": True},
        {"id": ""},
        {"id": "a b"},
        {"id": "x\n"},
        {"id": "a/b"},
        {"id": "+"},
        {"id": "x" * 65},
        {"id": 7},
        {"name": "Nav"},
        {"name": "nav..x"},
        {"name": "nav/x"},
        {"from": "#"},
        {"seq": -1},
        {"seq": 1.0},
        {"seq": 2**53},
        {"ttl_ms": 0},
        {"ttl_ms": 0.5},
        {"timeout_s": -1},
        {"fresh": {"boot": "b"}},
        {"fresh": {"boot": "b", "beat": 1, "x": 1}},
        {"origin": {"source": "god"}},
        {"unknown": 1},
        {"args": []},
        {"mac": "zz"},
        {"reply_to": 5},
    ],
)
def test_what_is_no_command_is_refused(change: dict[str, Any]) -> None:
    good = {"v": 1, "id": "c1", "name": "nav.goto", "from": "a", "args": {}}
    assert decode(json.dumps(good).encode(), Command).sender == "a"
    with pytest.raises(Malformed):
        decode(json.dumps({**good, **change}).encode(), Command)


def test_brackets_in_text_nest_nothing() -> None:
    assert depth(b'{"a":"' + b"[{" * 40 + b'\\"["}' + b"[]" * 20) == 1
    decode(COMMAND % (b'{"x":"' + b"[" * 100 + b'"}'), Command)


def test_reports_pass_over_what_is_new() -> None:
    beat = decode(b'{"boot":"b","beat":1,"mono_ms":2,"mode":"automatic","estop":"none","new":[1]}', Heartbeat)
    assert beat.beat == 1


def test_what_is_not_finite_is_not_sent() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(Malformed, match="finite"):
            encode(Setpoint(1, "base.velocity", "a", 1, messages.Fresh("b", 1), "L", {"vx": [0.1, bad]}))
    with pytest.raises(Malformed):
        encode({"x": "a" * BYTES_MAX})


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reading(payload: bytes) -> None:
    for kind in TYPES.values():
        try:
            decode(payload, kind)
        except Malformed as error:
            assert str(error)


numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_arguments_come_out_as_they_went_in(args: dict[str, Any]) -> None:
    command = Command(1, "c1", "nav.goto", "a", args)
    assert decode(encode(command), Command) == command


def test_ten_thousand_damaged_messages_and_chunks_break_nothing() -> None:
    for chunks in (False, True):
        run = fuzz(10_000, 7, chunks=chunks)
        assert run.violations == []
        assert run.verdicts["accepted"] > 100
        assert sum(run.verdicts[v] for v in run.verdicts if v.startswith("rejected")) > 2000
        assert len(run.begun) > 10 or chunks
        assert all(len(run.ended.get(id, ())) <= 1 for id in run.begun)  # told again perhaps, ended once


# --- topics


def test_every_topic_is_read_as_it_was_made() -> None:
    for channel in DELIVERY:
        if channel.startswith("agent/"):
            made = agent_topic("f", "a.1", channel.removeprefix("agent/"))  # type: ignore[arg-type]
            assert read_topic(made) == Topic(channel, "f", "a.1")
        else:
            name = "nav.goto" if channel in NAMED else ""
            assert read_topic(robot_topic("f", "r:1", channel, name)) == Topic(channel, "f", "r:1", name)


OTHERS = ["", "/", "robot", "x" * 500, None, 5, "robot/v2/f/r/state", "robot/v1/+/r/state", "robot/v1/f\n/r/state"]
UNDER = ["r", "r/command", "r/command/", "r/command/a/b", "r/state/x", "r/lease/get", "r/estop", "#", "r x/state"]
UNDER += ["r/command/nav.goto\n", "agents/a", "agents/a/state", "agents/a/reply/x", "r/estop/set/x", "r//state"]


@pytest.mark.parametrize("topic", OTHERS + [f"robot/v1/f/{rest}" for rest in UNDER])
def test_other_topics_are_none(topic: Any) -> None:
    assert read_topic(topic) is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.text(max_size=10))
def test_no_topic_crashes_the_reading(text: str, tail: str) -> None:
    for topic in (
        text,
        f"robot/v1/f/r/{text}",
        f"robot/v1/{text}/r/command/{tail}",
        f"robot/v1/f/agents/{text}/{tail}",
    ):
        found = read_topic(topic)
        assert found is None or (found.fleet and found.who)


def test_bad_ids_make_no_topic() -> None:
    for bad in ("", "a/b", "+", "#", "$sys", "a b", "x" * 65, "a\n"):
        with pytest.raises(ContractError):
            robot_topic(bad, "r", "state")
        with pytest.raises(ContractError):
            agent_topic("f", bad, "reply")
        with pytest.raises(ContractError):
            robot_topic("f", "r", "command", bad)
    wrong: list[tuple[str, Any, str]] = [("agents", "state", ""), ("r", "state", "x"), ("r", "command", "")]
    for robot, channel, name in [*wrong, ("r", "agent/reply", "")]:
        with pytest.raises(ContractError):
            robot_topic("f", robot, channel, name)


def test_subscriptions_cover_what_the_other_side_says() -> None:
    ways = [(channel, way.by) for channel, way in DELIVERY.items() if not channel.startswith("agent/")]
    topics = [(robot_topic("f", "r", channel, "x" if channel in NAMED else ""), by) for channel, by in ways]
    heard = {topic.replace("+", "x") for topic, _ in robot_subscriptions("f", "r")}
    assert {topic for topic, by in topics if by != "robot"} <= heard
    told = {topic.replace("+", "x") for topic, _ in agent_subscriptions("f", "r", "a")}
    assert {topic for topic, by in topics if by == "robot"} <= told


# --- small things


def test_mqtt_5_repeats_what_the_json_says() -> None:
    command = Command(1, "c1", "nav.goto", "a", ttl_ms=1200, reply_to=agent_topic("f", "a", "reply"))
    assert properties("command", command) == {
        "ContentType": "application/json",
        "UserProperty": [("v", "1")],
        "CorrelationData": b"c1",
        "ResponseTopic": "robot/v1/f/agents/a/reply",
        "MessageExpiryInterval": 2,
    }
    assert properties("command", Command(1, "c1", "x", "a", ttl_ms=100))["MessageExpiryInterval"] == 1
    assert "MessageExpiryInterval" not in properties("event", Status("c", "x", "running", 1, 1))


def test_a_seal_covers_every_byte() -> None:
    payload = COMMAND % b'{"x":1}'
    made = seal(payload, b"key")
    assert sealed(made, b"key")
    assert decode(made, Command).args == {"x": 1}
    assert not any((sealed(payload, b"key"), sealed(made, b"kez"), sealed(made + b"\n", b"key")))
    for n in range(len(made)):
        assert not sealed(made[:n] + bytes([made[n] ^ 1]) + made[n + 1 :], b"key")


def test_a_life_ends_and_only_where_it_may() -> None:
    assert not set(NEXT) & TERMINAL
    reached: set[Any] = {"received"}
    for _ in range(9):
        reached |= {after for state in reached for after in NEXT.get(state, ())}
    assert reached == set(get_args(State))


def test_a_schema_that_is_not_understood_is_no_promise() -> None:
    whole = {"type": "array", "items": {"type": "integer"}, "maxItems": 2}
    good = {"type": "object", "properties": {"x": {"type": "number", "maximum": 2}, "l": whole}}
    check = Params(good, "c")
    assert check.wrong({"x": 1, "l": [1]}) == (False, "")
    for bad in ({"x": "1"}, {"x": True}, {"y": 1}, {"l": [1, 2, 3]}, {"l": [1.0]}, {"x": 10**400}, {"x": -(10**400)}):
        only_bound, why = check.wrong(bad)
        assert why and not only_bound
    assert check.wrong({"x": 3})[0]
    for unknown in (
        {"pattern": "a"},
        {"$ref": "#"},
        {"oneOf": []},
        {"additionalProperties": True},
        {"minimum": float("nan")},
        {"type": "x"},
    ):
        with pytest.raises(FactsheetInvalid):
            Params({"type": "object", "properties": {}, **unknown}, "c")
        Params({"type": "object", **unknown}, "c", strict=False).wrong({"a": 1})


def test_another_major_version_is_told() -> None:
    assert compatible(Factsheet("1.7", 1, "b")) and not compatible(Factsheet("2.0", 1, "b"))
    assert set(RESERVED) == {"stop", "cancel", "query", "pause", "resume"}

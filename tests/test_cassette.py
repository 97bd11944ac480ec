"""A recorded model answers again: equal questions at the recorded pace, others told with the place that differs."""

from typing import Any

import pytest

from policies.cassette import Cassette, difference, exchanges, request_key
from policies.models.scripted import ScriptedModel, Tokens
from streams import clock
from streams.bus import Bus
from streams.clock import MS, Clock
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK
from streams.types import Answered, Ask, Delta, Outcome


def asking(text: str, turn: int = 1, number: int = 1, **how: Any) -> Ask:
    return Ask({"messages": [{"role": "user", "content": text}]}, turn=turn, id=number, **how)


async def recorded(*asks: Ask, script: Any) -> list[Packet[Any]]:
    bus = Bus(clk := Clock())
    model = ScriptedModel(script, bus, clk)
    with bus.open(ACTION, FEEDBACK, reader="test") as lane:
        for ask in asks:
            bus.publish(ACTION, clk.now(), ask)
            bus.publish(FEEDBACK, clk.now(), await model.perform(ask))
        bus.close(ACTION, FEEDBACK)
        return [packet async for packet in lane]


async def answered(cassette: Cassette, ask: Ask) -> tuple[list[tuple[int, str]], Outcome]:
    bus = Bus(clk := Clock())
    begun = clk.now()
    with bus.open(FEEDBACK, reader="test") as lane:
        outcome = await cassette.attach(bus, clk).perform(ask)
        bus.close(FEEDBACK)
        deltas = [(packet.t - begun, packet.data.text) async for packet in lane if isinstance(packet.data, Delta)]
    return deltas, outcome


SCRIPT = [Tokens("It is three", first_ms=150, each_ms=30), Tokens("And four", first_ms=80)]


def taped() -> list[Packet[Any]]:
    async def main() -> list[Packet[Any]]:
        return await recorded(asking("how late"), asking("and now", turn=2, number=2), script=SCRIPT)

    return clock.run(main(), virtual=True)


def test_an_equal_question_is_answered_at_the_recorded_pace_under_its_own_number() -> None:
    cassette = Cassette(exchanges(taped()))
    deltas, outcome = clock.run(answered(cassette, asking("how late", turn=7, number=9)), virtual=True)
    assert deltas == [(150 * MS, "It"), (180 * MS, " is"), (210 * MS, " three")]
    assert (outcome.status, outcome.turn, outcome.id, cassette.matched) == ("done", 7, 9, 1)
    assert not cassette.mismatches


def test_another_question_has_the_answer_of_its_place_and_tells_where_it_differs() -> None:
    cassette = Cassette(exchanges(taped()))
    deltas, _ = clock.run(answered(cassette, asking("and then", turn=2)), virtual=True)
    assert "".join(text for _, text in deltas) == "And four"
    (mismatch,) = cassette.mismatches
    assert mismatch.turn == 2
    assert "messages[0].content" in mismatch.place
    assert '"and now"' in mismatch.place and '"and then"' in mismatch.place


def test_a_question_in_no_recorded_place_fails_and_says_so() -> None:
    cassette = Cassette(exchanges(taped()))
    deltas, outcome = clock.run(answered(cassette, asking("anything", turn=5)), virtual=True)
    assert not deltas
    assert outcome.status == "failed"
    assert outcome.result["error"] == "unknown"
    assert cassette.mismatches[0].place == ""


def test_what_was_cut_then_and_is_not_now_ends_where_the_recording_does() -> None:
    packets = [packet for packet in taped() if not (isinstance(packet.data, Outcome) and packet.data.id == 1)]
    cassette = Cassette(exchanges(packets))
    deltas, outcome = clock.run(answered(cassette, asking("how late")), virtual=True)
    assert len(deltas) == 3
    assert outcome.status == "failed"
    assert "not known" in outcome.detail


def test_the_key_is_that_of_what_the_answer_depends_on() -> None:
    assert request_key(asking("a", turn=1)) == request_key(asking("a", turn=2, number=5, purpose="draft"))
    assert request_key(asking("a")) != request_key(asking("b"))
    assert request_key(asking("a")) != request_key(asking("a", picture_ns=MS))
    one, other = Ask({"a": 1, "b": 2}), Ask({"b": 2, "a": 1})
    assert request_key(one) == request_key(other)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {"a": 2}, "request.a was 1, is 2"),
        ({"a": 1}, {"b": 1}, "request.a is missing"),
        ([1], [1, 2], "request has 2 items, not 1"),
        ("x" * 30 + "old", "x" * 30 + "new", "at character 30"),
    ],
)
def test_the_first_difference_is_named(old: Any, new: Any, told: str) -> None:
    assert told in difference(old, new)
    assert bool(difference(old, new)) == (old != new)


def test_a_scripted_model_fails_as_it_is_told_to() -> None:
    async def main() -> list[Packet[Any]]:
        return await recorded(asking("x"), script=[Tokens("half an", fails="closed")])

    *_, last = clock.run(main(), virtual=True)
    assert last.data.status == "failed"
    assert last.data.result["error"] == "closed"
    assert Answered(**last.data.result).output_tokens == 2

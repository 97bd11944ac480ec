"""The scripted policy, and the cassette that records and plays streamed answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from policies.cassette import CassettePlayer, CassetteRecorder, request_key
from policies.errors import CassetteError, PolicyError
from policies.ports import Policy
from policies.scripted import Scripted, Wait
from streams.clock import MS, Clock, run
from streams.types import Action, Command, Say, TurnCommitted


def turn(number: int, text: str = "", reason: str = "silence") -> TurnCommitted:
    return TurnCommitted(number, text, (), 1.0, 0, 0, reason)


async def _all(policy: Scripted, asked: TurnCommitted) -> list[Action]:
    return [action async for action in policy.reply(asked)]


def test_a_script_by_order_by_turn_and_by_text() -> None:
    command = Command("move", {"distance_m": 1.0})
    by_order = Scripted(["one", ("two", command)], otherwise="no more")
    assert isinstance(by_order, Policy)
    answers = [asyncio.run(_all(by_order, turn(number))) for number in (4, 5, 6)]
    assert answers == [[Say("one")], [Say("two"), command], [Say("no more")]]
    assert [each.turn for each in by_order.turns] == [4, 5, 6]
    by_text = Scripted({"hello": "hi", 7: "seven"})
    assert asyncio.run(_all(by_text, turn(1, "hello"))) == [Say("hi")]
    assert asyncio.run(_all(by_text, turn(7, "hello"))) == [Say("seven")]
    assert asyncio.run(_all(by_text, turn(2, "what"))) == []


def test_a_script_takes_the_floor_once_and_waits_on_the_clock() -> None:
    async def main() -> list[tuple[int, Action]]:
        clock = Clock()
        policy = Scripted(clock=clock, unasked=["well", Wait(250), "so"])
        assert policy.wants_floor
        heard = [(clock.now() // MS, action) async for action in policy.reply(turn(1, reason="unasked"))]
        assert not policy.wants_floor
        return heard

    assert run(main(), virtual=True) == [(0, Say("well")), (250, Say("so"))]
    with pytest.raises(ValueError, match="needs a clock"):
        asyncio.run(_all(Scripted([[Wait(1)]]), turn(1)))


async def model(clock: Clock, pieces: list[str], pause_ms: int = 100) -> AsyncGenerator[str, None]:
    for piece in pieces:
        await clock.sleep_until(clock.now() + pause_ms * MS)
        yield piece
    if "fail" in pieces:
        raise PolicyError("the model went away")


async def _timed(clock: Clock, stream: AsyncGenerator[Any, None], most: int = 99) -> list[tuple[int, Any]]:
    start = clock.now()
    out = []
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            out.append(((clock.now() - start) // MS, piece))
            if len(out) == most:
                break
    return out


def record(path: Path) -> list[tuple[int, Any]]:
    async def main() -> list[tuple[int, Any]]:
        clock = Clock()
        with CassetteRecorder(path, clock) as recorder:
            whole = await _timed(clock, recorder.answer({"b": [1, {"x": "old"}], "a": 2}, model(clock, ["I", "go"])))
            recorder.answer("never read", model(clock, ["x"]))
            await _timed(clock, recorder.answer("cut", model(clock, ["one", "two", "three"])), most=2)
            with pytest.raises(PolicyError):
                await _timed(clock, recorder.answer("fails", model(clock, ["fail"])))
        return whole

    return run(main(), virtual=True)


def test_an_answer_is_played_at_the_pace_at_which_it_came(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    whole = record(path)
    assert whole == [(100, "I"), (200, "go")]

    async def main() -> None:
        clock = Clock()
        player = CassettePlayer(path, clock)
        assert await _timed(clock, player.answer({"a": 2, "b": [1, {"x": "old"}]})) == whole
        player.answer("never read")
        cut = player.answer("cut")
        assert await _timed(clock, cut, most=2) == [(100, "one"), (200, "two")]
        with pytest.raises(CassetteError, match="answer 4 failed when it was recorded: the model went away"):
            await _timed(clock, player.answer("fails"))
        with pytest.raises(CassetteError, match="request 5 is not on the cassette"):
            player.answer("more")

    run(main(), virtual=True)


def test_the_first_request_that_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    record(path)

    async def main(request: Any) -> str:
        with pytest.raises(CassetteError) as raised:
            CassettePlayer(path, Clock()).answer(request)
        return str(raised.value)

    def told(request: Any) -> str:
        return run(main(request), virtual=True)

    assert "request 1 no longer matches" in told("x")
    assert 'request.b[1].x was "old", is "new"' in told({"b": [1, {"x": "new"}], "a": 2})
    assert "request.c is new" in told({"b": [1, {"x": "old"}], "a": 2, "c": 0})
    assert "request.b has 1 items, not 2" in told({"b": [1], "a": 2})
    assert request_key({"a": 1, "b": 2}) == request_key({"b": 2, "a": 1}) != request_key({"a": 1, "b": 3})


def test_what_was_cut_does_not_go_on_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    record(path)

    async def main() -> None:
        clock = Clock()
        player = CassettePlayer(path, clock)
        player.answer({"a": 2, "b": [1, {"x": "old"}]})
        player.answer("never read")
        with pytest.raises(CassetteError, match="answer 3 was cut when it was recorded"):
            await _timed(clock, player.answer("cut"))

    run(main(), virtual=True)


def test_a_cassette_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        with pytest.raises(CassetteError, match="cannot read the cassette"):
            CassettePlayer(tmp_path / "none", clock)
        (tmp_path / "torn").write_text('{"key": "x"\n')
        with pytest.raises(CassetteError, match="is not a cassette, or is torn"):
            CassettePlayer(tmp_path / "torn", clock)
        with pytest.raises(CassetteError, match="cannot write the cassette"), CassetteRecorder(tmp_path, clock):
            pass

    run(main(), virtual=True)

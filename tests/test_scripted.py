"""The scripted policy."""

import asyncio

import pytest

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

"""Nothing hangs and nothing is left over: quick turns, typed over drafts, answers after the end, twenty in a row."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agent import assembly, config
from agent.session import Log, Session
from policies.models.scripted import Tokens, asked
from streams.clock import run
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Ask, Fault, Outcome, OverlapCut, Played, Say, TurnCommitted, Withdraw
from tests.mind_server import MindServer, Spoken, words_of
from tests.minds import BASE, hold, typed
from tests.scenes import Percepts, spoken

SLOW = Tokens("That is so. And more of it.", first_ms=3000, each_ms=100)


def check(held: Any) -> None:
    """Every action ended once."""
    for kind in ("Ask", "Say"):
        begun = [each.id for each in held.of(Ask if kind == "Ask" else Say)]
        assert sorted(outcome.id for outcome in held.of(Outcome) if outcome.action == kind) == sorted(begun)


@pytest.mark.parametrize("apart_ms", [0, 1, 40, 300, 900, 3100])
def test_two_quick_turns_are_answered_in_order_or_the_first_is_cut(apart_ms: int) -> None:
    held = hold([typed(100, "what of it"), typed(100 + apart_ms, "and of that")], lambda ask: SLOW, tail_ms=9000)
    check(held)
    assert [turn.text for turn in held.of(TurnCommitted)] == ["what of it", "and of that"]
    assert held.said(2) == ["That is so.", "And more of it."]
    if apart_ms < 3000:
        assert not held.said(1) and held.of(OverlapCut)


@pytest.mark.parametrize("at_ms", [1560, 1660, 1760, 2200])
def test_typed_during_a_draft_there_is_one_answer_to_each(at_ms: int) -> None:
    scene = [*spoken(1, 300, 1500, "how do rainbows come about"), typed(at_ms, "and what about snow")]
    held = hold(scene, lambda ask: Tokens(f"On {asked(ask).split()[-1]}."), tail_ms=6000)
    check(held)
    standing = [ask for ask in held.asks() if ask.id not in {each.id for each in held.of(Withdraw)}]
    assert len({ask.turn for ask in standing}) == len(standing)
    assert held.said(held.of(TurnCommitted)[-1].turn) == ["On snow."]


@pytest.mark.parametrize("fails", ["", "between_tokens"])
def test_what_comes_after_the_senses_have_ended_is_said(fails: str) -> None:
    held = hold([typed(100, "what of it")], [Tokens(SLOW.text, first_ms=5000, fails=fails)], tail_ms=200)
    check(held)
    assert "so" in [word.text for word in held.of(Played)]


def test_a_stop_word_in_an_answer_ends_it_and_the_question() -> None:
    scene = [typed(100, "tell me"), *spoken(1, 2000, 2400, "stop"), typed(6000, "go on")]
    held = hold(scene, lambda ask: Tokens("One. Two. Three. " * 20, first_ms=100, each_ms=60), tail_ms=500)
    first = held.ends("Ask")[0]
    assert (first.status, first.turn) == ("cut", 1)
    assert [ask.turn for ask in held.asks()] == [1, held.of(TurnCommitted)[-1].turn]


# --- with a real server, in real time


def real(scene: Sequence[Any], url: str, *settings: str, tail_ms: float = 300, stop_s: float | None = None) -> Log:
    """A session of percepts with a model on a real socket. stop_s: it is asked to end then, with a grace of 0.5 s"""
    loaded = config.load(None, [*BASE, f'llm.url="{url}"', 'llm.model="tiny-1"', *settings])
    log = Log(PERCEPT, TURN, ACTION, FEEDBACK)
    body = assembly.AgentBody(loaded, installed=False)
    session: Session = assembly.assemble(loaded, [Percepts(scene, tail_ms)], taps=[log], senses=False, body=body)

    async def main() -> None:
        if stop_s is not None:
            asyncio.get_running_loop().call_later(stop_s, session.stop, 0.5)
        async with asyncio.timeout(30):
            await session.main()

    run(main())
    return log


def test_twenty_turns_in_a_row_leave_no_line_open() -> None:
    scene = [typed(100 + 450 * number, f"say {number}") for number in range(20)]
    with MindServer({f"say {number}": Spoken(f"Yes {number}.", first_s=0.02) for number in range(20)}) as server:
        log = real(scene, server.url, tail_ms=500)
        server.die()
    assert [turn.text for turn in log.of(TurnCommitted)] == [f"say {number}" for number in range(20)]
    assert len(server.served) == 20 and server.most <= 2, "answers that were cut had closed their lines"
    assert not log.of(Fault)
    assert {outcome.status for outcome in log.of(Outcome) if outcome.action == "Ask"} <= {"done", "cut"}
    assert server.connections <= 21


def test_who_interrupts_every_answer_closes_every_line() -> None:
    scene = [typed(100 + 350 * number, f"say {number}") for number in range(15)]
    with MindServer(
        {f"say {n}": Spoken("And so on and on. " * 50, first_s=0.05, each_s=0.03) for n in range(14)}
    ) as server:
        log = real(scene, server.url, tail_ms=300)
        server.die()
    assert len(server.served) == 15 and server.most <= 2
    for each in server.served[:14]:
        assert each.left is not None and not each.whole and each.sent < 30, words_of(each.body)
    assert [outcome.status for outcome in log.of(Outcome) if outcome.action == "Ask"] == ["cut"] * 14 + ["done"]


@pytest.mark.parametrize(
    "answer",
    [
        Spoken("", first_s=60),
        Spoken("So it is", stalls=True),
        Spoken("So it is. And on it goes. " * 60, each_s=0.1),
    ],
    ids=["before", "between", "during"],
)
def test_asked_to_end_in_an_answer_it_does_within_its_grace(answer: Spoken) -> None:
    with MindServer({"go on": answer}) as server:
        began = time.monotonic()
        log = real([typed(100, "go on")], server.url, tail_ms=20_000, stop_s=1.0)
        took = time.monotonic() - began
        while server.served[0].left is None and time.monotonic() - began < 10:
            time.sleep(0.01)
        server.die()
    assert took < 1.0 + 0.5 + 2.5
    assert server.served[0].left is not None
    assert [outcome.status for outcome in log.of(Outcome) if outcome.action == "Ask"] == ["cut"]

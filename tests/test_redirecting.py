""" "No, the other way" over the agent's voice: the motion goes on until it is turned round, and for nothing else."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent import assembly, config
from agent.sparing import BEGUN_NS, WHOLE_NS
from policies.sentences import Sentences
from streams.clock import MS
from streams.recording import Recorder
from streams.types import (
    BodyState,
    Command,
    Halt,
    Hush,
    Outcome,
    OverlapCut,
    SensesEnded,
    TurnCommitted,
    Withdraw,
    Word,
    Words,
)
from tests.minds import NOON
from tests.robot_room import BASE, Held, Room, hold, typed
from tests.scenes import spoken
from tests.test_robot_session import replayed

GO = typed(1500, "go forward two meters")  # said for a second: "Going forward two metres."
ON = 2300  # ms: when it is interrupted
STEP = 0.25  # m/s: at 1 m/s² between two reports


def over(text: str, **more: Any) -> list[Any]:
    """`text`, spoken over the announcement."""
    return spoken(1, ON, ON + 250 * len(text.split()), text, **more)


def speeds(held: Held, begin: float = 0.0) -> list[float]:
    return [p.data.speed[0] for p in held.log.packets if isinstance(p.data, BodyState) and p.t / 1e9 >= begin]


def cut(held: Held) -> float:
    """When the agent was interrupted, s."""
    return held.t(OverlapCut)


def ended(held: Held) -> float:
    """When the first motion was ended, s."""
    first = held.commands()[0]
    return next(p.t / 1e9 for p in held.log.packets if isinstance(p.data, Outcome) and p.data.id == first.id)


def test_spoken_over_its_voice_it_turns_the_speed_round_and_does_not_stop_first() -> None:
    held = hold([GO, *over("no the other way")], tail_ms=9000)
    assert [end.status for end in held.ends()] == ["cut", "done"] and len(held.of(Withdraw)) == 1
    told = speeds(held, cut(held))
    before, after = told[0], min(told)
    assert before > 0.35 and after < -0.35
    turning = told[: told.index(after) + 1]
    assert not any(a == b == 0.0 for a, b in pairwise(turning))
    assert all(abs(a - b) < STEP for a, b in pairwise(turning))
    assert ended(held) == next(p.t for p in held.log.packets if isinstance(p.data, Withdraw)) / 1e9
    assert [each.moving for each in held.of(Hush)] == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "watch out for the cat", "no no no no", "what time is it", "wait a moment please",
        "wait no the other",
    ],
)  # fmt: skip
def test_whoever_interrupts_with_anything_else_ends_it_at_once(text: str) -> None:
    held = hold([GO, *over(text)], tail_ms=3000)
    assert held.of(OverlapCut) and not any(each.moving for each in held.of(Hush))
    assert ended(held) == cut(held)


def test_what_was_not_understood_ends_it_whatever_sentence_is_nearest_to_it() -> None:
    """A shout that the recogniser rejects: its guess is never acted on."""
    shout = spoken(1, ON, ON + 750, "no the other way", partials=False, final_after_ms=100)
    rejected = [
        (at, t, Words(1, "", (), True, guess=data.text) if isinstance(data, Words) else data) for at, t, data in shout
    ]
    held = hold([GO, *rejected], tail_ms=4000)
    (decided,) = held.of(OverlapCut)
    assert decided.text == "no the other way" and not any(each.moving for each in held.of(Hush))
    assert ended(held) == cut(held)


def test_with_the_first_word_that_does_not_fit_it_ends() -> None:
    held = hold([GO, *over("not that way the other day I saw")], tail_ms=3000)
    day = next(p.t / 1e9 for p in held.log.packets if isinstance(p.data, Words) and p.data.text.endswith("day"))
    assert cut(held) <= ended(held) <= day


def words(text: str, at_ms: float) -> tuple[float, float, Words]:
    spans = tuple(
        Word(word, round((ON + 200 * n) * MS), round((ON + 200 * n + 200) * MS)) for n, word in enumerate(text.split())
    )
    return (at_ms, at_ms, Words(1, text, spans, False))


def test_words_that_hang_end_it_within_its_bound() -> None:
    scene = [each for each in over("no the other way") if not isinstance(each[2], Words)]
    held = hold([GO, scene[0], words("no the other", 3000)], tail_ms=4000)
    assert [each.moving for each in held.of(Hush)][:2] == [True, False]
    assert ended(held) - cut(held) == pytest.approx(BEGUN_NS / 1e9)
    assert speeds(held)[-1] == 0.0


def test_a_stop_in_it_stops_at_once() -> None:
    held = hold([GO, *over("no the other stop")], tail_ms=3000)
    stop = next(p.t / 1e9 for p in held.log.packets if isinstance(p.data, Words) and p.data.text.endswith("stop"))
    assert held.t(Halt) == stop and ended(held) == stop


def test_heard_badly_it_is_asked_about_and_ended_when_the_question_is_put() -> None:
    held = hold([GO, *over("no the other way", confidence=0.6)], tail_ms=4000)
    assert held.said()[-1] == "Shall I go the other way?"
    assert ended(held) == held.t(TurnCommitted, turn=2)
    assert len(held.of(Command)) == 1


def test_what_waits_behind_the_motion_does_not_begin_meanwhile() -> None:
    scene = [*spoken(1, 1000, 1900, "go forward two meters"), *spoken(2, 2100, 2700, "turn left")]
    late = spoken(3, 3900, 4900, "no the other way")
    held = hold([*scene, *late], tail_ms=5000)
    assert len(held.commands()) >= 2 and not any(each.moving for each in held.of(Hush))


def test_where_nothing_moves_there_is_nothing_to_spare() -> None:
    held = hold([typed(1500, "what can you do"), *over("no the other way")], tail_ms=3000)
    assert not any(each.moving for each in held.of(Hush))


def test_the_end_of_the_session_ends_it_and_that_replays(tmp_path: Path) -> None:
    started, *_ = over("no the other way")
    path = tmp_path / "end.mcap"
    recorder = Recorder(path, assembly.header(config.load(None, BASE), NOON))
    held = hold([GO, started, words("no the other", 3300)], Room(), taps=[recorder], tail_ms=300)
    assert [each.moving for each in held.of(Hush)][:2] == [True, False]
    assert ended(held) == held.t(SensesEnded) < cut(held) + BEGUN_NS / 1e9
    assert replayed(path).identical


def test_it_replays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "way.mcap"
    recorder = Recorder(path, assembly.header(config.load(None, BASE), NOON))
    hold([GO, *over("no the other way")], Room(), taps=[recorder], tail_ms=9000)
    performances = [replayed(path) for _ in range(5)]
    assert all(each.identical for each in performances) and len({each.digest for each in performances}) == 1


def test_a_whole_sentence_that_never_ends_has_a_bound_too() -> None:
    scene = over("no the other way")
    held = hold([GO, scene[0], words("no the", 3000), words("no the other way", 3300)], tail_ms=4000)
    assert ended(held) - cut(held) == pytest.approx(WHOLE_NS / 1e9)
    assert speeds(held)[-1] == 0.0


def test_only_what_leaves_no_doubt_counts_as_another_way() -> None:
    found = Sentences.load().begun("other_way")
    assert not any(found[each] for each in ("no the", "the other", "wait the other", "not that way the"))
    assert all(found[each] for each in ("no the other way", "other way", "wait the other direction please"))
    alarms = {"no", "wait", "no no", "wait no", "no not", "not that way", "no not that way", "the", "other"}
    assert not alarms & set(found)
    assert Sentences.load().begun("move") == {}

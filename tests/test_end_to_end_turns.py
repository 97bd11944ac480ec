"""Every turn of a composed dialogue is answered once, however its sound arrives."""

from collections import Counter
from pathlib import Path

import pytest

from streams.types import Outcome, OverlapCut, OverlapResumed, Say, TurnCommitted, TurnDropped, TurnOpened
from tests.composed import Said
from tests.dialogues import Held, hold, parts, visavis

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

DIALOGUE = [
    Said(0.6, "what time is it"),
    Said(5.0, "go and", whole=False),  # a hold: the speaker looks for words
    Said(6.1, "turn left"),
    Said(11.0, "the weather in spring is fine", known=False),
    Said(18.5, "what can you do"),
    Said(22.5, "uh huh"),  # over the answer, and not meant to end it
    Said(26.0, "what is seven times eight"),  # over the answer, and meant to
    Said(31.0, "thank you"),
]
ANSWERED = ["what time is it", "go and turn left", "", "what can you do", "what is seven times eight", "thank you"]


def check_once(held: Held) -> None:
    """No turn lost, none answered twice, every action ended once."""
    assert held.code == 0
    opened = [turn.turn for turn in held.of(TurnOpened)]
    over = [turn.turn for turn in held.of(TurnCommitted, TurnDropped) if getattr(turn, "reason", "") != "unasked"]
    assert sorted(over) == opened
    says = held.of(Say)
    assert Counter(outcome.id for outcome in held.of(Outcome) if outcome.action == "Say") == {s.id: 1 for s in says}
    committed = [turn for turn in held.of(TurnCommitted) if turn.reason != "unasked"]
    assert {turn.turn for turn in committed} <= {say.turn for say in says}
    assert len({(say.turn, say.text) for say in says}) == len(says)


@pytest.mark.parametrize("block_ms", [10, 20, 32, 100, 1000])
def test_every_turn_is_answered_once_for_every_block_size(tmp_path: Path, block_ms: int) -> None:
    held = hold(tmp_path, DIALOGUE, "--block-ms", str(block_ms))
    check_once(held)
    answered = [turn.text for turn in held.of(TurnCommitted)]
    if block_ms <= 100:
        assert answered == ANSWERED
        assert [turn.text for turn in held.of(TurnDropped)] == ["uh huh"]
        assert [resumed.text for resumed in held.of(OverlapResumed)] == ["uh huh"]
        assert len(held.of(OverlapCut)) == 1
    else:  # who hears a second late may take a backchannel for an interruption, but loses nothing
        assert [text for text in answered if text != "uh huh"] == ANSWERED
    assert visavis("replay", str(held.recording), "--check") == 0


def test_what_is_decided_does_not_depend_on_small_blocks(tmp_path: Path) -> None:
    told = []
    for block_ms in (10, 20, 32):
        held = hold(tmp_path, DIALOGUE, "--block-ms", str(block_ms))
        told.append([(p.t // 40_000_000, p.data.turn) for p in held.at(TurnCommitted, OverlapCut, OverlapResumed)])
    for times in told[1:]:
        assert [turn for _, turn in times] == [turn for _, turn in told[0]]
        assert all(abs(a - b) <= 1 for (a, _), (b, _) in zip(times, told[0], strict=True))


def test_in_real_time_too(tmp_path: Path) -> None:
    lines = [Said(0.3, "what can you do"), Said(2.6, "what time is it")]
    held = hold(tmp_path, lines, "--speed", "1", settings=["audio.tail_ms=500"])
    check_once(held)
    assert [turn.text for turn in held.of(TurnCommitted)] == ["what can you do", "what time is it"]
    assert visavis("replay", str(held.recording), "--check") == 0
    assert visavis("replay", str(held.recording), "--check", "--from", "percepts") == 0

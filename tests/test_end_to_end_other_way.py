""" "No, the other way" over the agent's voice, through the real detector of speech, turn-taker, voice and base."""

from pathlib import Path

import pytest

from streams.types import Halt, Hush, Outcome, OverlapCut, TurnCommitted, Withdraw
from tests.composed import Said
from tests.dialogues import hold, parts, visavis

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

QUICK = ["turn_end.engine=none"]
GO = Said(0.5, "go forward two meters", voice="en-us")


@pytest.mark.parametrize("at", [3.2, 3.6])
def test_the_motion_goes_on_until_it_is_turned_round(tmp_path: Path, at: float) -> None:
    held = hold(tmp_path, [GO, Said(at, "no the other way", voice="en-us")], settings=QUICK, length=at + 5)
    (cut,) = held.at(OverlapCut)
    assert cut.data.text in ("no the", "no the other")  # it is decided before all of it was heard
    assert [each.moving for each in held.of(Hush)] == [True, False]
    committed = held.at(TurnCommitted)[-1]
    (back,) = held.at(Withdraw)
    ended = next(each for each in held.at(Outcome) if each.data.action == "Command")
    assert cut.at < committed.at <= back.at <= ended.at and ended.data.status == "cut"
    assert visavis("replay", str(held.recording), "--check") == 0


def test_a_stop_after_the_same_words_stops(tmp_path: Path) -> None:
    held = hold(tmp_path, [GO, Said(3.2, "no the stop", voice="en-us")], settings=QUICK, length=8)
    (halt,) = held.at(Halt)
    assert 0 < halt.at - held.score.end_ns(1) <= 300_000_000
    ended = next(each for each in held.at(Outcome) if each.data.action == "Command")
    assert ended.at <= halt.at + 10_000_000

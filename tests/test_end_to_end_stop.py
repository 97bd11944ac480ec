""" "stop" stops the voice and what moves, within 300 ms of the end of the word; and how soon an answer comes.

Times are of the session, counted from the true end of the word in the sound. The recogniser of these tests tells a word
60 ms after it has been heard: what is measured is everything around it.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from streams.clock import MS, SECOND
from streams.types import (
    Command,
    Halt,
    Hush,
    Outcome,
    PlayStarted,
    Say,
    SpeechEnded,
    TurnCommitted,
    TurnDropped,
    TurnWaiting,
    Words,
)
from tests.composed import Said
from tests.dialogues import Held, hold, parts, visavis

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

QUICK = ["turn_end.engine=none"]


def check_stop(held: Held, line: int) -> None:
    """The last line of the dialogue is "stop": the reflex came from a partial, in time, and nothing was said to it."""
    end = held.score.end_ns(line)
    (halt,) = held.at(Halt)
    assert 0 < halt.at - end <= 300 * MS
    heard = next(packet for packet in held.at(Words) if "stop" in packet.data.text)
    assert not heard.data.final and heard.order < halt.order
    assert not [packet for packet in held.at(SpeechEnded) if end <= packet.t and packet.order < halt.order]
    assert [turn.reason for turn in held.of(TurnDropped)] == ["stop"]
    assert not [packet for packet in held.at(Say, Command, TurnCommitted) if packet.order > halt.order]
    after = held.sound[round((halt.at + 30 * MS) * held.rate / SECOND) :]
    assert not after.any()
    assert visavis("replay", str(held.recording), "--check") == 0


@pytest.mark.parametrize("at", [3.1, 3.777, 5.204, 7.93])
def test_while_the_agent_talks(tmp_path: Path, at: float) -> None:
    held = hold(tmp_path, [Said(0.5, "what can you do"), Said(at, "stop")], settings=QUICK, length=at + 3)
    check_stop(held, 1)
    (hush,) = held.at(Hush)
    assert hush.at - held.score.end_ns(1) <= 300 * MS
    (outcome,) = held.of(Outcome)
    assert outcome.status == "cut" and outcome.action == "Say"


@pytest.mark.parametrize("at", [2.6, 3.9, 5.0])
def test_while_it_moves_and_it_says_how_far_it_really_went(tmp_path: Path, at: float) -> None:
    lines = [Said(0.5, "go forward four meters"), Said(at, "stop")]
    held = hold(tmp_path, lines, settings=QUICK, length=at + 3)
    check_stop(held, 1)
    (command,) = held.at(Command)
    (halt,) = held.at(Halt)
    (moved,) = [outcome for outcome in held.of(Outcome) if outcome.action == "Command"]
    assert command.data.arguments == {"distance_m": 4.0}
    assert moved.status == "cut"
    # It gathers speed at 0.5 m/s² up to 0.5 m/s, and brakes as hard from the moment of the halt.
    ran = (halt.at - command.at) / SECOND
    way, speed = (0.25 * ran * ran, 0.5 * ran) if ran < 1 else (0.25 + 0.5 * (ran - 1), 0.5)
    assert moved.result["distance_m"] == pytest.approx(way + speed * speed, abs=0.002)


def test_while_all_is_still(tmp_path: Path) -> None:
    held = hold(tmp_path, [Said(0.5, "stop")], settings=QUICK, length=3)
    check_stop(held, 0)
    assert not held.of(Say, Hush, Outcome)


def test_in_the_same_breath_it_takes_back_what_was_asked(tmp_path: Path) -> None:
    held = hold(tmp_path, [Said(0.5, "what can you do"), Said(1.75, "stop")], settings=QUICK, length=5)
    check_stop(held, 1)
    assert not held.of(Say) and not held.sound.any()


def test_what_is_asked_after_it_is_answered(tmp_path: Path) -> None:
    lines = [Said(0.5, "stop", whole=False), Said(1.4, "what time is it")]
    held = hold(tmp_path, lines, settings=QUICK, length=5)
    assert len(held.of(Halt)) >= 1
    assert [turn.text for turn in held.of(TurnCommitted)][-1].endswith("what time is it")


def test_a_confident_end_is_answered_within_450_ms_of_the_true_end(tmp_path: Path) -> None:
    texts = [
        "what time is it",
        "hello there",
        "what is seven times eight",
        "what day is it",
        "thank you",
        "good morning",
    ]
    lines = [Said(0.5 + 4.2 * n + 0.0037 * n, text) for n, text in enumerate(texts)]
    held = hold(tmp_path, lines, settings=QUICK)
    commits = held.at(TurnCommitted)
    assert [packet.data.text for packet in commits] == texts
    offsets = []
    for line, commit in enumerate(commits):
        end = held.score.end_ns(line)
        final = [p for p in held.at(Words) if p.data.final and p.order < commit.order][-1]
        assert final.data.text == texts[line], "the recogniser's final words are in it"
        (begun,) = [p for p in held.at(PlayStarted) if p.data.turn == commit.data.turn]
        offsets.append((begun.t - end) / MS)
    assert min(offsets) >= 150 and max(offsets) <= 450, offsets
    for one, next_one in pairwise(commits):
        assert one.data.turn < next_one.data.turn


def test_at_default_settings_a_confident_end_is_too_and_a_doubtful_one_waits_a_little(tmp_path: Path) -> None:
    texts = ["turn left", "hello there", "what is seven times eight", "go forward two meters", "what can you do"]
    lines = [Said(0.5 + 6.0 * n + 0.0037 * n, text, voice="en-us") for n, text in enumerate(texts)]
    held = hold(tmp_path, lines)
    confident, doubtful = [], []
    for line, commit in enumerate(held.at(TurnCommitted)):
        waits = [p for p in held.at(TurnWaiting) if p.data.turn == commit.data.turn and p.order < commit.order]
        begun = next(p for p in held.at(PlayStarted) if p.data.turn == commit.data.turn)
        offset = (begun.t - held.score.end_ns(line)) / MS
        (confident if waits[-1].data.probability >= 0.8 else doubtful).append(offset)
    assert len(confident) + len(doubtful) == len(texts)
    assert confident and max(confident) <= 450, (confident, doubtful)
    assert max(doubtful, default=0) <= 1600, (confident, doubtful)

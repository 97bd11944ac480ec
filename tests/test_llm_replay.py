"""A recorded session with a language model is replayed without it: the same questions, answers and token times."""

from pathlib import Path
from typing import Any

import pytest

from agent import assembly, config, parts
from agent.cli import main
from agent.replay import Replay
from agent.replaying import perform
from policies.cassette import exchanges
from policies.models.scripted import Tokens
from streams.recording import Recorder, Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Ask, Delta
from tests.minds import BASE, NOON, hold, typed
from tests.scenes import spoken

STORY = "One day a fox came to the river and drank. Then he ran up the hill. And there he slept until morning."


def clock_tool(place: str) -> str:
    """The time at a place."""
    return f"noon in {place}"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "mind.mcap"
    scene = [
        *spoken(1, 300, 1500, "how do rainbows come about"),
        typed(6000, "what time is it in ulm"),
        typed(10_000, "tell me a story"),
        *spoken(2, 12_500, 13_900, "no another one please"),
    ]
    script = [
        Tokens("By rain, and by sun.", first_ms=400, each_ms=35),
        Tokens("One moment.", calls=(("clock_tool", {"place": "Ulm"}),), first_ms=300),
        Tokens("It is noon.", first_ms=250),
        Tokens(STORY, first_ms=150, each_ms=40),
        Tokens("All right: a hare.", first_ms=150),
    ]
    header = assembly.header(config.load(None, BASE), NOON)
    hold(scene, script, tools=[clock_tool], taps=[Recorder(path, header)], tail_ms=5000)
    return path


def replayed(path: Path, *assignments: str) -> Replay:
    recording = Recording.open(path)
    settings = config.reload(recording.header.config, list(assignments))
    performance = Replay(recording, mode="percepts")
    perform(performance, settings, recording)
    return performance


def test_twenty_times_the_same_without_a_model(recording: Path) -> None:
    digests = {replayed(recording).digest for _ in range(20)}
    assert len(digests) == 1
    performance = replayed(recording)
    assert performance.identical, performance.first
    assert sum(isinstance(packet.data, Ask) for packet in performance.replayed) >= 5


def test_the_recording_has_every_token_with_its_time(recording: Path) -> None:
    packets = list(Recording.open(recording).packets((ACTION, FEEDBACK)))
    made = exchanges(packets)
    assert all(each.outcome is not None for each in made)
    assert "".join(delta.text for _, delta in made[0].pieces) == "By rain, and by sun."
    times = [packet.t for packet in packets if isinstance(packet.data, Delta) and packet.data.id == made[0].ask.id]
    assert times == sorted(times) and times[1] - times[0] == 35_000_000


def test_from_the_command_line(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--check"]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_changed_prompt_tells_which_turns_it_changes(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--set", "manner.persona=a pirate"]) == 0
    told = capsys.readouterr().out
    for turn in (1, 2, 3, 4):
        assert f"turn {turn}: the model is asked something else: request.messages[0].content" in told.replace("\n", " ")
    assert "a pirate" in told


def test_a_change_that_does_not_touch_the_prompt_changes_no_question(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--set", "turns.min_wait_ms=250"]) == 0
    told = capsys.readouterr().out
    assert "TurnCommitted" in told
    assert "asked something else" not in told


def test_a_live_model_is_only_for_sessions_that_had_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plain.mcap"
    hold([typed(100, "hello")], [], "policy.engine=intents", taps=[Recorder(path, header_of("policy.engine=intents"))])
    assert main(["replay", str(path), "--live-model"]) == 2
    assert "--live-model" in capsys.readouterr().err


def header_of(*assignments: str) -> Any:
    settings = config.load(None, [*BASE, *assignments])
    assert not parts.needs_real_time(settings)
    return assembly.header(settings, NOON)

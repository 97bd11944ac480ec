"""What `visavis replay` says when there is nothing to say, and of what-ifs that it cannot answer."""

from pathlib import Path

import pytest

from agent import cli
from streams.recording import Header
from streams.topics import VOICE
from tests.sessions import STARTED, made_up, tape


@pytest.fixture
def silent(tmp_path: Path) -> str:
    """A recording in which nothing was decided."""
    path = tmp_path / "silent.mcap"
    voices = [packet for packet in made_up(1.0) if packet.topic is VOICE]
    tape(path, voices, header=Header(started=STARTED, config='{"voice": {"engine": "tones"}}'))
    return str(path)


def test_nothing_to_compare_is_said(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", silent, "--check", "--from", "percepts"]) == 0
    told = capsys.readouterr().out
    assert "nothing to compare" in told and "identical" not in told


@pytest.mark.parametrize("key", ["vad.threshold=0.9", "speech.engine=none", "audio.block_ms=10"])
def test_a_what_if_that_cannot_matter_is_named(silent: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", silent, "--from", "percepts", "--set", key, "--set", "turns.min_wait_ms=900"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "changes nothing here" in line]
    assert len(told) == 1 and told[0].startswith(key.partition("=")[0])


def test_a_check_believes_what_the_body_did(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", silent, "--from", "percepts", "--check", "--set", "speaker.latency_blocks=3"]) == 0
    assert "speaker.latency_blocks changes nothing here" in capsys.readouterr().out

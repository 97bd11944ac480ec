"""The command line against a real server that is not ours: its words are noise, the protocol is real."""

from pathlib import Path

import pytest

from streams.types import Ask, Delta, Fault, Outcome, Played, Say, TurnCommitted
from tests.composed import Said
from tests.mind_room import Room
from tests.real_server import RealServer
from tests.tiny_model import tiny_model

for package in ("torch", "transformers", "fastapi", "espeakng_loader", "av"):
    pytest.importorskip(package)


def test_a_session_with_a_tiny_model_ends_well_and_replays(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    room = Room(tmp_path)
    lines = [Said(0.6, "please greet"), Said(5.0, "and now some noise"), Said(10.0, "endless")]
    with RealServer(tiny_model(tmp_path / "served" / "model"), tmp_path / "served") as server:
        settings = ("llm.output_tokens=40", 'manner.verbosity="brief"', f'llm.model="{server.model}"')
        held = room.begin("real", lines, server.url, *settings).over(90)
    assert held.code == 0, held.out + held.err
    assert "Traceback" not in held.out + held.err
    assert [turn.text for turn in held.of(TurnCommitted)] == [line.text for line in lines]
    assert held.of(Delta)
    ends = [outcome for outcome in held.of(Outcome) if outcome.action == "Ask"]
    assert sorted(outcome.id for outcome in ends) == sorted(ask.id for ask in held.of(Ask))
    assert "done" in {outcome.status for outcome in ends}
    for turn in held.commits().values():  # each was answered aloud, if only by an apology; or the failure was told
        assert held.said(turn) or held.of(Fault), held.out
    assert held.of(Say) and held.of(Played)
    assert "Language model" in held.out
    for mode in ("media", "percepts"):
        code, told = room.visavis("replay", str(held.recording), "--check", "--from", mode)
        assert (code, "identical" in told) == (0, True), told

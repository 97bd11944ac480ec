"""The demo, as a user starts it, at full speed."""

from pathlib import Path

import pytest

from agent import demo
from agent.person import Cue
from tests.dialogues import parts, visavis

for module in ("espeakng_loader", "av", "onnxruntime", "pocketsphinx"):
    pytest.importorskip(module)
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]


def test_a_scene_that_came_out_otherwise_is_still_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SCRIPT", (Cue("hello there", after_ms=800),))
    assert visavis("demo", "--speed", "max", "--out", str(tmp_path)) == 1
    told = capfd.readouterr()
    assert "the same, bit for bit" in told.out and "left here:" in told.out and "try next:" in told.out
    assert "did not show an interruption that was yielded to, a backchannel that was ignored, a stop" in told.err
    assert str(tmp_path / "demo.mcap") in told.err and told.err.count("\n") == 1

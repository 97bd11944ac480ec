"""Robots where the extra `robot` is not installed: one line that says so, and recordings replay without it."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent import assembly, config
from streams.recording import Recorder
from tests.minds import NOON
from tests.robot_room import BASE, hold, typed

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules.update(dict.fromkeys(("aiomqtt", "paho")))
from agent.cli import main
sys.exit(main())
"""


def without(folder: Path, *line: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT, *line]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("line", ["attach mqtt://h", "stop mqtt://h --robot r1", "demo --robot"])
def test_what_is_missing_is_one_line(line: str, tmp_path: Path) -> None:
    if line.startswith("demo"):
        for module in ("av", "onnxruntime", "pocketsphinx", "espeakng_loader"):
            pytest.importorskip(module)
    done = without(tmp_path, *line.split())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install 'visavis[robot]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_session_with_a_robot_replays(tmp_path: Path) -> None:
    path = tmp_path / "robot.mcap"
    tap = Recorder(path, assembly.header(config.load(None, BASE), NOON))
    hold([typed(1500, "go forward one meter")], taps=[tap])
    done = without(tmp_path, "replay", str(path), "--from", "percepts", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "identical" in done.stdout
    what_if = without(tmp_path, "replay", str(path), "--from", "percepts", "--set", "policy.confirm_below=2.0")
    assert (what_if.returncode, what_if.stderr) == (0, "")

"""`visavis demo --robot`: the whole of it, in real time, with a broker and a robot in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.robots.demo import not_shown
from agent.session import Log
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Attached, Command, Outcome
from tests.brokers import needs_mosquitto


@pytest.mark.slow
@needs_mosquitto
def test_it_moves_a_robot_and_replays(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent.cli", "demo", "--robot", "--out", str(tmp_path)]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240, env=wide)
    # 1: a machine that is too slow may not show all of it (it says what), but what it did is replayed all the same.
    assert done.returncode == 0 or (done.returncode == 1 and "did not show" in done.stderr), done.stderr
    assert "the same, bit for bit" in done.stdout
    assert "mosquitto" in done.stdout and "found demo" in done.stdout
    recording = Recording.open(tmp_path / "robot-demo.mcap")
    packets = [packet.data for packet in recording.packets((ACTION, FEEDBACK))]
    assert any(isinstance(data, Attached) for data in packets)
    ends = [data for data in packets if isinstance(data, Outcome) and data.action == "Command"]
    assert len(ends) == sum(isinstance(data, Command) for data in packets) >= 3
    assert any(end.status == "done" for end in ends)


def test_what_it_promises_and_did_not_show_is_told() -> None:
    assert len(not_shown(Log())) == 5


@needs_mosquitto
@pytest.mark.parametrize("after_s", [0.0, 0.7, 1.2, 6.0])
def test_interrupted_it_ends_at_once_and_leaves_no_process(tmp_path: Path, after_s: float) -> None:
    """Ctrl-C goes to everything of the terminal's; after_s: since the broker stands.."""
    command = [sys.executable, "-u", "-m", "agent.cli", "demo", "--robot", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = next(line for line in process.stdout if line.startswith("broker:")).split(":")[-1].split()[0]
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        said, wrong = process.communicate(timeout=30)
    assert process.returncode == 130, wrong
    assert "report this" not in wrong and "Traceback" not in wrong and "replayed" not in said
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=1):
        pass
    programs = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"127.0.0.1:{port}" not in programs

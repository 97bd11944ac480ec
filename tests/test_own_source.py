"""The example of a source of one's own runs as it stands: turns that are typed, in a session without an ear."""

import subprocess
import sys

import pytest

from tests.dialogues import ROOT

pytest.importorskip("espeakng_loader")


def test_lines_of_text_are_turns() -> None:
    example = ROOT / "examples" / "own_source.py"
    command = [sys.executable, "-W", "error", str(example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["1 Five plus nine is fourteen.", "2 I said: Five plus nine is fourteen."]

"""The examples run as they stand, on a recording beside them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.composed import Said, compose
from tests.dialogues import ROOT, parts

pytest.importorskip("espeakng_loader")
pytest.importorskip("pocketsphinx")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]


def run(name: str, folder: Path) -> str:
    compose(folder, [Said(0.5, "what time is it", voice="en-us"), Said(5.0, "thank you", voice="en-us")], name="person")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_hello(tmp_path: Path) -> None:
    lines = run("hello.py", tmp_path).splitlines()
    assert len(lines) == 4, lines  # two turns, two answers
    assert [line.split()[0] for line in lines] == ["1", "1", "2", "2"]


def test_own_policy(tmp_path: Path) -> None:
    told = run("own_policy.py", tmp_path).splitlines()
    assert sorted(line.split()[:2] for line in told) == [
        ["Call", "done"],
        ["Call", "done"],
        ["Say", "done"],
        ["Say", "done"],
    ]
    assert {line.split()[2] for line in told if line.startswith("Call")} == {"1", "2"}


def test_a_quiz_master(tmp_path: Path) -> None:
    assert run("quiz_master.py", tmp_path).splitlines()[-2:] == ["3 I am afraid not.", "3 That was all. Points: 1."]


def test_a_receptionist_greets_who_comes_and_tells_where_to_go(tmp_path: Path) -> None:
    told = run("receptionist.py", tmp_path).splitlines()
    assert told == ["1 Good morning.", "2 The dentist is on the second floor."]


def test_an_interpreter_asks_a_model(tmp_path: Path) -> None:
    assert run("interpreter.py", tmp_path).splitlines() == ["1 Guten Morgen.", "2 Wo ist der Bahnhof?"]


def test_the_readme_shows_the_example_that_is_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- example: examples/hello.py -->\n```python\n")[2].partition("```")[0]
    assert shown == (ROOT / "examples" / "hello.py").read_text(encoding="utf-8")

"""The command line where no extra is installed: each command works, or says in one line what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent import config, graph
from agent.assembly import assemble
from streams.devices.files import AudioFile
from streams.recording import Header
from streams.topics import AUDIO, PERCEPT, VOICE
from tests.sessions import STARTED, made_up, tape

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("av", "onnxruntime", "pocketsphinx", "espeakng_loader", "webrtcvad", "sherpa_onnx", "moonshine_voice")
CORE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules.update(dict.fromkeys({EXTRAS!r}))
from agent.cli import main
sys.exit(main())
"""

NEEDS = {
    "demo": "the demo needs the package 'espeakng-loader': pip install 'visavis[default]'",
    "run --audio x.wav": "reading x.wav needs the package 'av': pip install 'visavis[files]'",
    "replay r.mcap": "pip install 'visavis[cpu]'",
    "replay r.mcap --check": "pip install 'visavis[cpu]'",
    "replay r.mcap --from percepts --set turns.min_wait_ms=800": "do without it: --set voice.engine=tones",
}
WORKS = (
    "graph",
    "graph --format dot",
    "config",
    "models list",
    "events r.mcap",
    "recover r.mcap --out whole.mcap",
    "replay r.mcap --from percepts",
    "replay r.mcap --from percepts --set turns.min_wait_ms=800 --set voice.engine=tones",
)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    sensed = [packet for packet in made_up(1.0) if packet.topic in (AUDIO, VOICE, PERCEPT)]
    tape(tmp_path / "r.mcap", sensed, finish=False, header=Header(started=STARTED))
    (tmp_path / "x.wav").touch()
    return tmp_path


def core(line: str, room: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", CORE, *line.split()]
    return subprocess.run(command, cwd=room, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("line", NEEDS)
def test_what_is_missing_is_one_line(line: str, room: Path) -> None:
    done = core(line, room)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("visavis: ") and NEEDS[line] in done.stderr


@pytest.mark.parametrize("line", WORKS)
def test_what_needs_no_extra_works(line: str, room: Path) -> None:
    done = core(line, room)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_graph_is_that_of_the_session() -> None:
    """What the classes declare is what the parts of a real session declare."""
    settings = config.load(None, ["vad.engine=webrtc", "turn_end.engine=none", "voice.engine=tones"])
    for module in ("webrtcvad", "pocketsphinx"):
        pytest.importorskip(module)
    real, told = graph.parts(assemble(settings, [AudioFile("sound file")])), graph.configured(settings)
    assert told == real

"""Composed dialogues held through the command line, and what came of them: packets of the recording, and the sound."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import cli, registry
from streams.packet import Packet
from streams.recording import Recording
from tests.composed import Said, Score, compose, read_wav, score_of
from tests.model_files import model_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The recogniser `score` may be named in a configuration, here and in child processes; models are at hand.

    In a child it comes as a stranger's would: by the entry point of an installed package.
    """
    monkeypatch.setitem(registry.BUILT_IN["recognisers"], "score", "tests.composed:reads_along")
    folders = {str(model_file(name).parent) for name in ("silero-vad", "smart-turn")}
    monkeypatch.setenv("VISAVIS_MODELS", os.pathsep.join(sorted(folders)))
    package = tmp_path / "site" / "score-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: score\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[visavis.recognisers]\nscore = tests.composed:reads_along\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(package.parent)]))


class Held:
    """A dialogue that was held.  sound: int16[samples] of the agent's voice at `rate`;  code: exit code of the run"""

    def __init__(self, code: int, score: Score, recording: Path, voice: Path) -> None:
        self.code, self.score, self.recording = code, score, recording
        self.packets: list[Packet[Any]] = [
            packet for packet in Recording.open(recording).packets() if packet.topic.name in TOLD
        ]
        self.sound, self.rate = read_wav(voice)

    def of(self, *kinds: type) -> list[Any]:
        """Payloads of these types, in order."""
        return [packet.data for packet in self.packets if isinstance(packet.data, kinds)]

    def at(self, *kinds: type) -> list[Packet[Any]]:
        """Packets with payloads of these types."""
        return [packet for packet in self.packets if isinstance(packet.data, kinds)]


TOLD = ("percept", "turn", "action", "feedback")


def hold(
    folder: Path,
    lines: Sequence[Said],
    *options: str,
    settings: Sequence[str] = (),
    length: float = 0.0,
    name: str = "scene",
) -> Held:
    """Compose `lines`, run the default agent on them with the recogniser `score`, and read what was recorded."""
    sound = compose(folder, lines, length=length, name=name)
    recording, voice = folder / f"{name}.mcap", folder / f"{name}.agent.wav"
    arguments = command(sound, *options, settings=settings)
    code = visavis(*arguments, "--record", str(recording), "--voice-out", str(voice))
    return Held(code, score_of(sound), recording, voice)


def command(sound: Path, *options: str, settings: Sequence[str] = ()) -> list[str]:
    """Arguments of `visavis run` on a composed sound."""
    chosen = ["speech.engine=score", f"speech.jsgf={sound.with_suffix('.json')}", *settings]
    return ["run", "--audio", str(sound), "--quiet", *options, *(part for one in chosen for part in ("--set", one))]


def visavis(*arguments: str) -> int:
    """The command line in this process; its exit code."""
    return cli.main(list(arguments))


def child(*arguments: str, **kinds: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with both outputs."""
    python = [sys.executable, "-m", "agent.cli", *arguments]
    return subprocess.run(python, capture_output=True, text=True, timeout=120, check=False, **kinds)

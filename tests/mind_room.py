"""Sessions with a language model in processes of their own: started, waited for, and read from their recordings."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streams.recording import Recording
from streams.types import Played, Say, TurnCommitted
from tests.composed import Said, compose
from tests.dialogues import ROOT
from tests.model_files import model_file

KEY = "sk-marker-8Yq3-never-in-a-file"
TOOLS = '''
def weather(place: str) -> str:
    """How the weather is at a place."""
    return f"rain in {place}"
'''


class Room:
    """Where sessions are held: the environment of its processes, and the files they leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = folder / "site" / "room-1.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: room\nVersion: 1\n")
        (package / "entry_points.txt").write_text(
            "[visavis.recognisers]\nscore = tests.composed:reads_along\n[visavis.tools]\nweather = room_tools:weather\n"
        )
        (package.parent / "room_tools.py").write_text(TOOLS)
        models = {str(model_file(name).parent) for name in ("silero-vad", "smart-turn")}
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(package.parent)]),
            "VISAVIS_MODELS": os.pathsep.join(sorted(models)),
            "VISAVIS_LLM_KEY": KEY,
            "COLUMNS": "200",
        }

    def begin(self, name: str, lines: Sequence[Said], url: str, *settings: str, tail_ms: int = 2500) -> "Running":
        """Start `visavis run` on composed lines, with a recording and the agent's voice."""
        sound = compose(self.folder, lines, name=name)
        chosen = ["speech.engine=score", f"speech.jsgf={sound.with_suffix('.json')}", f"audio.tail_ms={tail_ms}"]
        arguments = ["run", "--audio", str(sound), "--llm", url, "--model", "tiny-1"]
        arguments += [
            "--record",
            str(self.folder / f"{name}.mcap"),
            "--voice-out",
            str(self.folder / f"{name}.out.wav"),
        ]
        arguments += [part for each in (*chosen, *settings) for part in ("--set", each)]
        return Running(self.start(*arguments), self.folder / f"{name}.mcap")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        line = [sys.executable, "-m", "agent.cli", *arguments]
        return subprocess.Popen(
            line, env=self.environment, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def visavis(self, *arguments: str) -> tuple[int, str]:
        """The command line, to its end: exit code, and both outputs as one line."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, " ".join((out + err).split())


class Running:
    """A session under way."""

    def __init__(self, process: "subprocess.Popen[str]", recording: Path) -> None:
        self.process, self.recording = process, recording

    def over(self, timeout_s: float = 60) -> "Held":
        """Wait for its end."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return Held(self.process.returncode, out, err, self.recording)


class Held:
    """A session that was held."""

    def __init__(self, code: int, out: str, err: str, recording: Path) -> None:
        self.code, self.out, self.err, self.recording = code, out, err, recording
        assert recording.exists(), out + err
        self.packets = [
            packet
            for packet in Recording.open(recording).packets()
            if packet.topic.name in ("percept", "turn", "action", "feedback")
        ]

    def of(self, *kinds: type) -> list[Any]:
        return [packet.data for packet in self.packets if isinstance(packet.data, kinds)]

    def commits(self) -> dict[str, int]:
        """Numbers of the turns, by what was said."""
        return {turn.text: turn.turn for turn in self.of(TurnCommitted)}

    def said(self, turn: int) -> list[str]:
        return [say.text for say in self.of(Say) if say.turn == turn]

    def heard(self, turn: int) -> list[str]:
        return [word.text for word in self.of(Played) if word.turn == turn]

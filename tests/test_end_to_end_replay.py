"""Every recording replays to the same decisions: again, live, torn, mended; what-ifs tell what they change."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import cli
from agent.config import reload
from agent.replay import Replay
from agent.replaying import perform
from streams.audio.wav import write_wav
from streams.packet import Packet
from streams.recording import Recording
from streams.types import Say, TurnCommitted
from tests.composed import Said, compose, read_wav
from tests.dialogues import Held, child, command, hold, parts, visavis
from tests.sessions import recorded, tape

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

LINES = [
    Said(0.5, "what can you do"),
    Said(6.4, "what time is it"),
    Said(9.7, "go forward two meters"),
    Said(11.9, "stop"),
]


def _with(packet: Packet[Any], field: str, value: str) -> Packet[Any]:
    return msgspec.structs.replace(packet, data=msgspec.structs.replace(packet.data, **{field: value}))


def check(recording: Path, *options: str) -> int:
    return visavis("replay", str(recording), "--check", *options)


def test_twenty_times_and_under_other_hash_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = hold(tmp_path, LINES, "--block-ms", "100", settings=["turn_end.engine=none"])
    recording = Recording.open(held.recording)
    digests = set()
    for mode in ("media", "percepts"):
        for _ in range(10):
            replay = Replay(recording, mode="media" if mode == "media" else "percepts")
            perform(replay, reload(recording.header.config), recording)
            assert replay.identical and not replay.percepts
            digests.add(replay.digest)
    assert len(digests) == 1
    for seed in ("1", "4294967295"):
        again = child("replay", str(held.recording), "--check", env={**os.environ, "PYTHONHASHSEED": seed})
        assert again.returncode == 0, again.stderr
        assert f"identical: sha256 {digests.copy().pop()}" in again.stdout


def test_whatever_was_running_when_it_was_stopped(tmp_path: Path) -> None:
    """Ctrl-C at any place of the dialogue, in mid-word too: the session ends in order and replays."""
    sound = compose(tmp_path, LINES)
    for number, after in enumerate((1.1, 2.6, 6.8, 12.3)):
        source, recording = tmp_path / f"{number}.wav", tmp_path / f"{number}.mcap"
        samples, rate = read_wav(sound)
        write_wav(source, [samples[: round(after * rate)]], rate)
        shutil.copy(sound.with_suffix(".json"), source.with_suffix(".json"))
        arguments = command(source, settings=["turn_end.engine=none", "audio.tail_ms=0"])
        assert visavis(*arguments, "--record", str(recording)) == 0
        assert check(recording) == 0 and check(recording, "--from", "percepts") == 0


def test_a_live_session_with_its_real_races(tmp_path: Path) -> None:
    lines = [Said(0.3, "what can you do"), Said(2.6, "go forward two meters"), Said(4.6, "stop")]
    held = hold(tmp_path, lines, "--speed", "1", settings=["audio.tail_ms=600"])
    assert check(held.recording) == 0 and check(held.recording, "--from", "percepts") == 0


def test_killed_in_the_middle_cut_anywhere_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, recording = compose(tmp_path, LINES, length=14), tmp_path / "killed.mcap"
    arguments = command(sound, "--speed", "1", "--record", str(recording), settings=["turn_end.engine=none"])
    with subprocess.Popen([sys.executable, "-m", "agent.cli", *arguments], stdout=subprocess.DEVNULL) as process:
        while recorded(recording) < 4_900_000_000:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert Recording.open(recording).torn
    size, rng = recording.stat().st_size, random.Random(5)
    whole = recording.read_bytes()
    for length in (size, *(rng.randrange(size // 4, size) for _ in range(6))):
        torn, mended = tmp_path / "torn.mcap", tmp_path / "mended.mcap"
        torn.write_bytes(whole[:length])
        capsys.readouterr()
        assert check(torn) == 0, length
        told = capsys.readouterr().out
        assert "is torn" in told and "identical" in told
        assert visavis("recover", str(torn), "--out", str(mended)) == 0
        assert not Recording.open(mended).torn
        for mode in ("media", "percepts"):
            assert check(mended, "--from", mode) == 0


def test_the_end_of_a_recording_may_be_missing_at_any_packet(tmp_path: Path) -> None:
    held = hold(tmp_path, LINES, settings=["turn_end.engine=none"])
    recording = Recording.open(held.recording)
    packets = list(recording.packets())
    eventful = [place for place, packet in enumerate(packets) if packet.topic.name in ("turn", "action", "feedback")]
    cut = tmp_path / "cut.mcap"
    for place in eventful[:: max(1, len(eventful) // 12)] + eventful[-8:]:
        tape(cut, packets[: place + 1], header=recording.header)
        assert check(cut, "--from", "percepts") == 0, packets[place]


def test_a_decision_that_was_changed_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = hold(tmp_path, LINES, settings=["turn_end.engine=none"])
    recording = Recording.open(held.recording)
    packets = list(recording.packets())
    for kind, field, value in ((TurnCommitted, "text", "what time was it"), (Say, "text", "No.")):
        changed = tmp_path / "changed.mcap"
        place = next(n for n, packet in enumerate(packets) if isinstance(packet.data, kind))
        forged = [*packets]
        forged[place] = _with(packets[place], field, value)
        tape(changed, forged, header=recording.header)
        for mode in ("media", "percepts"):
            capsys.readouterr()
            assert check(changed, "--from", mode) == 1
            told = capsys.readouterr().out
            assert told.count("different: ") == 1 and value in told
            assert f"{packets[place].t / 1e9:.3f} s" in told
    for drop in (TurnCommitted, Say):  # left out, or at the end too much
        place = next(n for n, packet in enumerate(packets) if isinstance(packet.data, drop))
        tape(changed, packets[:place] + packets[place + 1 :], header=recording.header)
        assert check(changed) == 1


WHAT_IFS = [
    ["turns.min_wait_ms=900"],
    ["turns.max_wait_ms=500", "turns.overlap_decide_ms=100"],
    ["vad.threshold=0.8"],
    ["vad.engine=webrtc"],
    ["speech.partial_ms=400"],
    ["speech.engine=none"],
    ["turn_end.engine=none"],
    ["voice.engine=tones"],
    ["voice.espeak.rate_wpm=450"],
    ["body.motion=none"],
    ["policy.confirm_below=2.0"],
    ["reflex.words=['meters']"],
    ["speaker.latency_blocks=5"],
    ["audio.block_ms=100"],
]


def test_what_ifs_tell_what_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = hold(tmp_path, LINES)
    for changes in WHAT_IFS:
        options = [part for change in changes for part in ("--set", change)]
        for mode in ("media", "percepts"):
            capsys.readouterr()
            assert visavis("replay", str(held.recording), "--from", mode, *options) == 0, changes
            told = capsys.readouterr().out
            assert "what if" in told or "identical" in told
            if changes[0].startswith(("turns.min", "policy.confirm", "reflex", "voice.espeak")):
                assert any(line.startswith(("+", "-", "~")) for line in told.splitlines()), (changes, told)
    assert visavis("replay", str(held.recording), "--check", "--set", "turns.min_wait_ms=900") == 1


def test_events_are_json_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = hold(tmp_path, LINES[:1], settings=["turn_end.engine=none"])
    capsys.readouterr()
    assert cli.main(["events", str(held.recording), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"Audio", "Words", "TurnCommitted", "Say", "Played", "Outcome"} <= {event["type"] for event in events}
    assert all(isinstance(event["t"], float) and event["topic"] for event in events)
    assert isinstance(held, Held)

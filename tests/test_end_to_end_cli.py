"""The command line among hostile surroundings: one clear message, a non-zero exit, no traceback, nothing lost."""

import os
import resource
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from agent import cli
from streams.audio.wav import write_wav
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK, TURN
from streams.types import Command, Fault, Halt, Hush, Outcome, Played, PlayStarted, SensesEnded
from tests.composed import RATE, Said, compose, read_wav
from tests.dialogues import child, command, parts, visavis
from tests.sessions import HEADER, made_up, recorded, tape

pytest.importorskip("espeakng_loader")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

PLAINLY = msgspec.structs.replace(HEADER, config="")
PLAIN = ["--set", "speech.engine=none", "--set", "turn_end.engine=none"]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a second of quiet in room.wav, and files that are not what they seem."""
    monkeypatch.chdir(tmp_path)
    quiet = np.random.default_rng(1).normal(0, 16, RATE).astype(np.int16)
    write_wav("room.wav", [quiet], RATE)
    Path("text.wav").write_text("this is no sound\n" * 50)
    Path("empty.wav").touch()
    Path("folder").mkdir()
    Path("key.toml").write_text("[turns]\nmax_wait = 900\n")
    Path("type.toml").write_text('[turns]\nmax_wait_ms = "long"\n')
    Path("broken.toml").write_text("[turns\n")
    Path("broken.jsgf").write_text("#JSGF V1.0;\ngrammar x;\npublic <x> = hello (;\n")
    tape(Path("torn.mcap"), made_up(1.0), finish=False, header=PLAINLY)
    tape(Path("strange.mcap"), made_up(1.0))
    tape(Path("other.mcap"), made_up(1.0))
    other = Path("other.mcap").read_bytes().replace(b"visavis", b"foxglov")
    Path("other.mcap").write_bytes(other)
    Path("stub.mcap").write_bytes(Path("torn.mcap").read_bytes()[:40])
    with av.open("silent.mp4", "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    return tmp_path


RUN = "run --audio room.wav --quiet"
HOSTILE: dict[str, list[str]] = {
    f"{RUN} --config key.toml": ["key.toml", "turns.max_wait", "did you mean turns.max_wait_ms?"],
    f"{RUN} --config type.toml": ["type.toml", "turns.max_wait_ms = 'long'", "expected `int`"],
    f"{RUN} --config broken.toml": ["broken.toml", "not valid TOML", "line 1"],
    f"{RUN} --config absent.toml": ["absent.toml", "No such file"],
    f"{RUN} --config folder": ["folder"],
    f"{RUN} --config room.wav": ["room.wav", "not a text file"],
    f"{RUN} --set vad.treshold=0.4": ["vad.treshold", "did you mean vad.threshold?"],
    f"{RUN} --set vad.threshold=high": ["vad.threshold = 'high'", "expected `float`"],
    f"{RUN} --set speech": ["--set speech", "section.key=value"],
    f"{RUN} --set audio.block_ms=0": ["audio.block_ms = 0"],
    f"{RUN} --set turns.confident=0": ["turns", "confident = 0"],
    f"{RUN} --set turns.min_wait_ms=-5": ["turns", "min_wait_ms = -5"],
    f"{RUN} --set turns.max_wait_ms=100": ["turns", "max_wait_ms = 100"],
    f"{RUN} --set voice.engine=espeek": ["voice.engine = 'espeek'", "did you mean 'espeak'?"],
    f"{RUN} --set voice.espeak.language=nonsense": ["nonsense", "choose another voice"],
    f"{RUN} --set speech.engine=gramar": ["speech.engine = 'gramar'", "did you mean 'grammar'?"],
    f"{RUN} --set vad.engine=sillero": ["did you mean 'silero'?"],
    f"{RUN} --set turn_end.engine=smart": ["did you mean 'smart-turn'?"],
    f"{RUN} --set policy.engine=intent": ["did you mean 'intents'?"],
    f"{RUN} --set body.motion=simulate": ["did you mean 'simulated'?"],
    f"{RUN} --set language=xx": ["language 'xx'"],
    f"{RUN} --set policy.sentences=['absent.toml']": ["absent.toml"],
    f"{RUN} --set policy.sentences=['broken.toml']": ["broken.toml", "not valid TOML"],
    f"{RUN} --set policy.sentences=['key.toml']": ["key.toml", "unknown key"],
    f"{RUN} --set speech.jsgf=absent.jsgf": ["absent.jsgf", "No such file"],
    f"{RUN} --set speech.jsgf=broken.jsgf": ["grammar"],
    f"{RUN} --set speech.jsgf=text.wav": ["grammar"],
    f"{RUN} --set speech.jsgf=room.wav": ["room.wav"],
    "run --audio absent.wav": ["absent.wav", "no such file"],
    "run --audio text.wav": ["text.wav", "no sound or video file"],
    "run --audio empty.wav": ["empty.wav", "empty"],
    "run --audio folder": ["folder", "it is a folder"],
    "run --audio silent.mp4": ["silent.mp4", "no sound"],
    f"{RUN} --record room.wav": ["--record room.wav", "same file as --audio"],
    f"{RUN} --voice-out folder/../room.wav": ["same file as --audio"],
    f"{RUN} --record x.mcap --both-out x.mcap": ["--both-out x.mcap", "same file as --record"],
    f"{RUN} --record folder": ["folder", "it is a folder"],
    f"{RUN} --record absent/x.mcap": ["absent", "make it first"],
    f"{RUN} --voice-out text.wav/x.wav": ["text.wav is not a folder"],
    f"{RUN} --record /dev/full": ["/dev/full", "No space left"],
    "replay absent.mcap": ["absent.mcap", "No such file"],
    "replay room.wav": ["room.wav", "not an MCAP file"],
    "replay empty.wav": ["empty.wav is empty"],
    "replay folder": ["folder"],
    "replay other.mcap": ["other.mcap", "not a recording of visavis"],
    "replay strange.mcap": ["the recording's configuration cannot be read"],
    "replay stub.mcap": ["stub.mcap ends before its header is complete"],
    "replay torn.mcap --set turns.x=1": ["turns.x"],
    "events room.wav": ["not an MCAP file"],
    "events torn.mcap --topic word": ["--topic word", "percept"],
    "recover absent.mcap": ["absent.mcap"],
    "recover torn.mcap --out folder": ["folder"],
    "models path nothing": ["nothing", "silero-vad"],
    "graph --config absent.toml": ["absent.toml"],
    "config --set turns.x=1": ["turns.x"],
}


@pytest.mark.parametrize("line", HOSTILE)
def test_one_clear_message(line: str, room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in room.iterdir() if path.is_file()}
    assert cli.main(line.split()) == 2
    told = capfd.readouterr().err
    assert told.startswith("visavis: ") and told.count("\n") == 1, told
    for part in HOSTILE[line]:
        assert part in told
    assert {path: path.read_bytes() for path in room.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("wrong", ["--audio absent.wav", "--audio text.wav", "--set voice.espeak.language=nonsense"])
def test_a_run_that_cannot_start_keeps_what_is_there(room: Path, wrong: str) -> None:
    made = {"--record": "old.mcap", "--voice-out": "old.wav", "--both-out": "both.wav"}
    for name in made.values():
        Path(name).write_text("precious")
    outputs = [part for pair in made.items() for part in pair]
    assert visavis(*RUN.split(), *PLAIN, *outputs, *wrong.split()) == 2
    for name in made.values():
        assert Path(name).read_text() == "precious"
    assert visavis(*RUN.split(), *PLAIN, "--record", "old.mcap", "--voice-out", "absent/x.wav") == 2
    assert Path("old.mcap").read_text() == "precious"


def test_no_network_and_no_model_or_a_wrong_one(
    room: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VISAVIS_MODELS")
    monkeypatch.setenv("VISAVIS_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(room / "cache"))
    Path("old.mcap").write_text("precious")
    assert visavis(*RUN.split(), "--record", "old.mcap") == 2
    told = capfd.readouterr().err
    assert "silero-vad" in told and "visavis models pull silero-vad" in told and told.count("\n") == 1
    folder = room / "cache" / "visavis" / "models"
    for place in (folder, room / "mine"):
        place.mkdir(parents=True)
        (place / "silero_vad_op18_ifless.onnx").write_text("not a model")
        monkeypatch.setenv("VISAVIS_MODELS", "" if place is folder else str(place))
        assert visavis(*RUN.split(), "--record", "old.mcap") == 2
        told = capfd.readouterr().err
        assert "SHA-256" in told and str(place) in told and told.count("\n") == 1
    assert Path("old.mcap").read_text() == "precious"
    monkeypatch.setenv("VISAVIS_MODELS", "")
    assert visavis(*RUN.split(), *PLAIN, "--set", "vad.engine=webrtc") == 0


def test_a_recording_cut_in_the_middle_is_read_as_far_as_it_goes(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert visavis("events", "torn.mcap", "--json") == 0
    told = capfd.readouterr()
    assert "torn" in told.err and len(told.out.splitlines()) > 50
    assert visavis("recover", "torn.mcap") == 0
    assert not Recording.open("torn.recovered.mcap").torn


def test_a_read_only_folder(room: Path) -> None:
    Path("folder").chmod(0o555)
    if os.access("folder", os.W_OK):  # root may write anywhere, but not into what the kernel keeps
        told = child(*RUN.split(), *PLAIN, "--record", "/proc/x.mcap").stderr
    else:
        told = child(*RUN.split(), *PLAIN, "--record", "folder/x.mcap").stderr
    assert told.startswith("visavis: cannot write") and told.count("\n") == 1


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


@pytest.mark.parametrize("speed", ["max", "1"])
def test_a_full_disk_is_a_fault_and_the_conversation_goes_on(tmp_path: Path, speed: str) -> None:
    lines = [Said(0.3, "what time is it"), Said(3.3, "thank you")]
    sound = compose(tmp_path, lines)
    recording, voice = tmp_path / "full.mcap", tmp_path / "voice.wav"
    arguments = command(sound, "--speed", speed, "--record", str(recording), "--voice-out", str(voice))
    arguments.remove("--quiet")
    done = child(*arguments, "--set", "turn_end.engine=none", preexec_fn=_small_files)
    assert done.returncode == 1
    assert "fault   recorder" in done.stdout and "Traceback" not in done.stdout + done.stderr
    answers = [line for line in done.stdout.splitlines() if line[10:17] == "agent  "]
    assert len(answers) == 2, "the second turn was still answered"
    assert str(recording) in done.stderr and f"wrote {recording}" not in done.stdout
    assert visavis("replay", str(recording), "--check") == 0
    with wave.open(str(voice)) as file:
        assert file.getnframes() >= 0  # it can be opened


def _begin(recording: Path, *options: str, sound: Path) -> "subprocess.Popen[str]":
    arguments = command(sound, "--speed", "1", "--record", str(recording), *options, settings=["turn_end.engine=none"])
    arguments.remove("--quiet")
    line = [sys.executable, "-m", "agent.cli", *arguments]
    process = subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while recorded(recording) < 1_500_000_000:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGHUP, signal.SIGHUP], 129),
    ],  # the terminal was closed: kernel and shell both say so
)
def test_interrupted(tmp_path: Path, signals: list[signal.Signals], code: int) -> None:
    sound = compose(tmp_path, [Said(0.3, "thank you"), Said(1.4, "what is seven times eight")], length=60)
    recording, voice = tmp_path / "i.mcap", tmp_path / "i.wav"
    process = _begin(recording, "--voice-out", str(voice), sound=sound)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.15)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "Traceback" not in out + err and "once more" in err
    assert not Recording.open(recording).torn
    assert visavis("replay", str(recording), "--check") == 0
    with wave.open(str(voice)) as file:
        assert file.getframerate() > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_moves_when_it_is_interrupted_is_halted_at_once(tmp_path: Path, number: int) -> None:
    sound = compose(tmp_path, [Said(0.3, "go forward four meters")], length=60)
    recording = tmp_path / "i.mcap"
    process = _begin(recording, sound=sound)
    while not any(isinstance(packet.data, Command) for packet in Recording.open(recording).packets((ACTION,))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    packets = list(Recording.open(recording).packets((TURN, ACTION, FEEDBACK)))
    [told] = [packet.at for packet in packets if isinstance(packet.data, Fault)]
    [halt] = [packet for packet in packets if isinstance(packet.data, Halt)]
    [ended] = [packet.at for packet in packets if isinstance(packet.data, SensesEnded)]
    [outcome] = [packet for packet in packets if isinstance(packet.data, Outcome) and packet.data.action == "Command"]
    assert halt.t == told and halt.data.reason == "the session is being ended"
    assert outcome.data.status == "cut" and 0 <= outcome.at - halt.t < 0.5e9 and halt.at <= ended + 0.5e9
    assert "STOP: the session is being ended, everything halts" in out and '" heard' not in out
    assert "Ending" not in out, "nothing is wrong, and the report tells of no fault"
    for mode in ("media", "percepts"):
        assert visavis("replay", str(recording), "--from", mode, "--check") == 0


def test_what_is_being_said_when_it_is_interrupted_has_two_seconds(tmp_path: Path) -> None:
    sound = compose(tmp_path, [Said(0.3, "what can you do")], length=60)
    recording, voice = tmp_path / "i.mcap", tmp_path / "i.wav"
    process = _begin(recording, "--voice-out", str(voice), sound=sound)
    while not any(isinstance(packet.data, PlayStarted) for packet in Recording.open(recording).packets((FEEDBACK,))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err and f"wrote {recording}" in out and f"wrote {voice}" in out
    whole = Recording.open(recording)
    assert not whole.torn
    packets = list(whole.packets((TURN, ACTION, FEEDBACK)))
    [ended] = [packet.at for packet in packets if isinstance(packet.data, SensesEnded)]
    [hush] = [packet.at for packet in packets if isinstance(packet.data, Hush)]
    assert 1e9 < hush - ended < 3e9, "it had its two seconds (counted from the signal) and not the ten of its sentence"
    assert whole.duration - hush < 1e9
    [outcome] = [packet.data for packet in packets if isinstance(packet.data, Outcome)]
    heard = [packet.data for packet in packets if isinstance(packet.data, Played)]
    assert outcome.status == "cut" and len(heard) > 5
    told = [[word.strip(",.:") for word in text.split()] for text in (outcome.result, " ".join(w.text for w in heard))]
    assert told[0] == told[1], "the ledger is whole"
    samples, rate = read_wav(voice)
    loud = np.flatnonzero(np.abs(samples) > 300)[-1] / rate
    assert heard[-1].end_ns / 1e9 - 0.3 < loud < hush / 1e9 + 0.3
    assert visavis("replay", str(recording), "--check") == 0


def test_a_reader_that_goes_away_ends_it_in_order(tmp_path: Path) -> None:
    sound = compose(tmp_path, [Said(0.3, "thank you"), Said(3.0, "thank you")], length=60)
    recording = tmp_path / "head.mcap"
    process = _begin(recording, sound=sound)
    assert process.stdout is not None and process.stderr is not None
    assert "person" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 0
    told = process.stderr.read()
    process.stderr.close()
    assert not told
    assert not Recording.open(recording).torn
    assert visavis("replay", str(recording), "--check") == 0


@pytest.mark.parametrize("line", ["events {} --json", "events {}", "replay {} --check", "config", "graph", "--help"])
def test_output_into_a_closed_pipe_is_no_error(line: str, tmp_path: Path) -> None:
    recording = tmp_path / "r.mcap"
    tape(recording, made_up(3.0), header=PLAINLY)
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [sys.executable, "-m", "agent.cli", *line.format(recording).split()]
    done = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr

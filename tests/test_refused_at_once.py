"""What cannot begin says so in one sentence and exits with 2: no traceback, and no long silence before it."""

import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.robots.choosing import factsheets
from benchmarks.spoken_stop import unusable
from embodied.link.address import Address
from embodied.link.mqtt import dial
from embodied.link.port import LinkRefused
from embodied.node.adapters.foreign import Foreign
from embodied.remote.settings import RobotConfig
from streams import clock

ROOT = Path(__file__).resolve().parents[1]


def started(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m module words`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def empty(path: Path) -> None:
    path.mkdir()


def no_wave(path: Path) -> None:
    path.mkdir()
    (path / "a.wav").write_bytes(b"")


def silence(path: Path) -> None:
    path.mkdir()
    with wave.open(str(path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(3200))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (empty, "no .wav file"),
        (no_wave, "a.wav: it is no WAV file"),
        (silence, "a.wav: nothing is heard"),
    ],
)
def test_recordings_of_stop_words(tmp_path: Path, made: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "said"
    made(folder)
    assert said in unusable(folder, sorted(map(str, folder.glob("*.wav"))))


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("benchmarks.spoken_stop", ["--said", "nowhere"], "--said nowhere: there is no such folder"),
        ("benchmarks.spoken_stop", ["--trials", "0"], "--trials 0: at least 1"),
        ("benchmarks.chunks", ["--packages", "nowhere"], "--packages: "),
        ("policies.chunks.serve", ["nowhere", "--port", "99999"], "--port 99999: from 0 to 65535"),
    ],
)
def test_options_that_mean_nothing(module: str, words: list[str], said: str) -> None:
    done = started(module, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"mqtt://127.0.0.1:{listening.getsockname()[1]}"


def test_a_port_that_says_nothing_is_told_and_given_up(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with pytest.raises(LinkRefused, match="said nothing"):
        clock.run(factsheets(RobotConfig(url=silent, ids=("r1",))), virtual=False)
    assert time.monotonic() - begun < 16  # 4 s for each of two versions of MQTT; it was 22
    assert capsys.readouterr().err == f"connecting to {silent} ...\n"


def test_a_strange_robot_whose_broker_is_not_there_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        to = dial(Address.parse("mqtt://127.0.0.1:1"), client_id="a")
        foreign = Foreign(to, clock.Clock(), lambda topic, body, retained: None, name="r1 home")
        await foreign.open()
        assert await foreign.until(lambda: foreign.counts.failures == 1, 5)
        assert "nothing listens" in capsys.readouterr().err
        assert await foreign.until(lambda: foreign.counts.failures > 2, 10)
        assert not capsys.readouterr().err
        await foreign.close()

    clock.run(main(), virtual=False)


def test_a_stop_that_was_not_sent_says_what_happened(silent: str) -> None:
    for url, said in ((silent, f"not sent: {silent}: the broker has not answered yet"),
                      ("mqtt://127.0.0.1:1", "not sent: nothing listens at mqtt://127.0.0.1:1: ")):  # fmt: skip
        done = started("agent.cli", "stop", url, "--robot", "r1")
        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())

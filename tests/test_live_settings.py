"""What is kept of a live session's settings, and what is not."""

import stat
from pathlib import Path

import pytest

from agent import assembly, config, remembered
from agent.errors import ConfigError
from agent.parts import kept
from agent.session import Session
from streams.clock import run, wall_now
from streams.devices.microphone import Microphone
from streams.errors import SourceError
from streams.pictures import anonymous


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://bob:secret@cam.example/stream", "rtsp://cam.example/stream"),
        ("rtsp://bob:p@ss@cam.example/stream", "rtsp://cam.example/stream"),
        ("rtsp://bob:se/cret@cam.example/stream", "rtsp://cam.example/stream"),
        ("http://cam.example/video?user=bob&pwd=secret", "http://cam.example/video"),
        ("0", "0"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_no_password_of_a_camera_is_shown(address: str, shown: str) -> None:
    assert anonymous(address) == shown
    settings = config.load(None, [f'camera.source="{address}"'])
    assert "secret" not in kept(settings).camera.source
    header = assembly.header(settings, wall_now(), [f"camera.source={address}"])
    assert "secret" not in str(header.to_record()) and "p@ss" not in str(header.to_record())


def test_devices_are_remembered_for_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert remembered.recall() == {}
    path = remembered.remember({"camera": "rtsp://bob:secret@cam", "microphone": 'the "best" one'})
    assert path is not None and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert remembered.recall() == {"camera": "rtsp://bob:secret@cam", "microphone": 'the "best" one'}
    assert remembered.remember({"camera": "rtsp://bob:secret@cam"}) is None, "nothing new"
    remembered.remember({"camera": ""})
    assert remembered.recall() == {"microphone": 'the "best" one'}
    path.write_text("microphone = 3\n")
    with pytest.raises(ConfigError, match="microphone = 3"):
        remembered.recall()


def test_a_microphone_must_not_hear_its_loudspeaker_by_oversight() -> None:
    settings = config.load(None, ["vad.engine=webrtc", "turn_end.engine=none", "speech.engine=none"])
    with pytest.raises(ConfigError, match=r"echo\.engine"):
        assembly.assemble(settings, [Microphone()], senses=False)


class Absent:
    """A source that does not open."""

    name = "absent"
    writes = ()

    async def __aenter__(self) -> "Absent":
        raise SourceError("there is no such device")

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def run(self, *_: object) -> None:
        pass


def test_what_is_to_be_done_once_all_is_open_is_not_done_before() -> None:
    done: list[str] = []
    settings = config.load(None, ["voice.engine=tones", "turn_end.engine=none", "speech.engine=none"])
    session: Session = assembly.assemble(
        settings, [Absent()], senses=False, body=assembly.AgentBody(settings), opened=lambda: done.append("opened")
    )
    with pytest.raises(SourceError):
        run(session.main(), virtual=True)
    assert not done

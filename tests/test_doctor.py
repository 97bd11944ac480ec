"""The doctor: finds what is wrong, names the command that mends it, and survives what it finds."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from rich.console import Console

from agent import checkup, doctor, doctor_devices, remembered
from agent.checkup import Check
from streams.clock import Stopwatch
from streams.devices.sound import SoundDevice
from tests.sound_card import SoundCard, sound_card

Library = Callable[[str, str], None]


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_it_looks_at_everything_and_every_problem_has_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("VISAVIS_MODELS", "")
    found = doctor.checks()
    assert all(check.mend for check in found if not check.ok)
    names = by_name(found)
    assert {"python", "platform", "visavis", "onnxruntime", "pip", "voice", "cache folder", "this folder"} <= set(names)
    assert {"sound devices", "sound server", "cameras"} <= set(names)
    assert len(names) == len(found)  # `--json` can be searched by name
    assert not names["model silero-vad"].ok
    assert names["model silero-vad"].mend == "visavis models pull silero-vad"
    assert "MIT" in names["model silero-vad"].detail
    assert not any(tmp_path.iterdir())  # looking changes nothing
    assert msgspec.json.decode(msgspec.json.encode(found), type=list[Check]) == found


def test_a_wrong_model_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "silero_vad_op18_ifless.onnx").write_bytes(b"not a model")
    monkeypatch.setenv("VISAVIS_MODELS", str(tmp_path))
    check = by_name(list(doctor.model_files()))["model silero-vad"]
    assert not check.ok
    assert "SHA-256" in check.detail


def test_a_set_of_models_is_one_line_until_a_part_of_it_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("VISAVIS_MODELS", "")
    whole = by_name(list(doctor.model_files()))
    assert whole["model moonshine-small-en"].mend == "visavis models pull moonshine-small-en"
    assert whole["model yunet"] == Check(
        "model yunet",
        True,
        "not here; Apache-2.0; faces and their landmarks (YuNet n, pictures of any size)",
        "visavis models pull yunet",
    )
    assert not any("/" in name for name in whole)


def test_both_onnx_runtimes_are_a_problem() -> None:
    both = doctor.onnx_packages({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, graphics=True)
    assert not both.ok
    assert both.mend == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'visavis[gpu]'"
    assert doctor.onnx_packages({}, graphics=False).mend == "pip install 'visavis[cpu]'"
    assert doctor.onnx_packages({"onnxruntime-gpu": "1.31.1"}, graphics=False).ok


def test_what_it_advises_asks_no_index_for_visavis_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed visavis gets an extra from its own metadata; reinstalling or upgrading it would look for it."""
    monkeypatch.setattr(doctor, "requirements", lambda extra: [Requirement("numpy>=1000")])
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    found = by_name([*doctor.package(), *doctor.voice(), *doctor.extras()])
    assert found["visavis"].mend == "pip install 'numpy>=1000'"
    assert found["voice"].mend == "pip install --force-reinstall espeakng-loader"
    assert not any(
        "force-reinstall 'visavis" in check.mend or "upgrade visavis" in check.mend for check in found.values()
    )


def test_requirements_come_from_the_package_itself() -> None:
    assert "numpy" in {need.name for need in doctor.requirements("")}
    assert {need.name for need in doctor.requirements("speech")} == {"pocketsphinx"}
    assert doctor.unmet(Requirement("numpy>=1")) == ""
    assert doctor.unmet(Requirement("numpy>=1000")).endswith("is installed where >=1000 is needed")
    assert doctor.unmet(Requirement("no-such-package-at-all")) == "no-such-package-at-all is not installed"


def test_a_crash_a_hang_and_a_missing_program_are_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkup.probe("import os; os.abort()")[0] is False
    assert checkup.probe("raise OSError('it is not there')") == (False, "OSError: it is not there")
    assert checkup.run("/no/such/program") == (False, "No such file or directory")
    monkeypatch.setattr(checkup, "PROBE_S", 0.2)
    assert checkup.run(sys.executable, "-c", "import time; time.sleep(9)") == (False, "no answer in 0.2 s")


def test_folders_that_cannot_be_written_are_a_problem(tmp_path: Path) -> None:
    assert doctor.writable("x", tmp_path / "made" / "later", "mend").ok
    assert not (tmp_path / "made").exists()
    file = tmp_path / "file"
    file.write_text("in the way")
    assert not doctor.writable("x", file / "below", "mend").ok
    assert not doctor.disk("x", tmp_path, least_mb=10**12).ok


def test_a_deleted_folder_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert not all(check.ok for check in doctor.folders())


def test_the_voice_really_speaks() -> None:
    pytest.importorskip("espeakng_loader")
    (check,) = doctor.voice()
    assert check.ok
    assert "of sound" in check.detail


# --- microphone, loudspeaker, camera

MICROPHONE = SoundDevice(0, "USB microphone", "ALSA", inputs=1, outputs=0, default_input=True)
HEADSET = SoundDevice(1, "Headset", "ALSA", inputs=1, outputs=2, default_output=True)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with sound_card() as card:
        yield card


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Puts a module before the real one of that name, in the processes that the doctor starts."""

    def put(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_the_devices_of_a_card_are_named(card: SoundCard) -> None:
    pytest.importorskip("sounddevice")
    found = by_name([*doctor_devices.sound(), *doctor_devices.sound_server()])
    assert all(check.ok and not check.mend for check in found.values()), found
    assert found["microphone"].detail.endswith("(ALSA), the usual one")
    assert found["loudspeaker"].detail.endswith("(ALSA), the usual one")
    assert "pulseaudio" in found["sound server"].detail.lower()


def test_a_remembered_device_is_looked_for(card: SoundCard) -> None:
    pytest.importorskip("sounddevice")
    remembered.remember({"microphone": "VirtMic", "loudspeaker": "no such thing"})
    found = by_name(list(doctor_devices.sound()))
    assert found["microphone"] == Check("microphone", True, "virtmic (ALSA), the remembered one")
    assert not found["loudspeaker"].ok
    assert "no such thing" in found["loudspeaker"].detail and "virtspk" in found["loudspeaker"].detail
    assert found["loudspeaker"].mend == 'visavis live --loudspeaker ""'
    remembered.place().write_text("microphone = 3")
    broken = by_name(list(doctor_devices.sound()))["remembered devices"]
    assert not broken.ok
    assert broken.mend == f"rm {remembered.place()}"


def test_a_sound_server_that_hangs_is_found_in_time(card: SoundCard) -> None:
    card.freeze()
    try:
        with Stopwatch() as watch:
            (server,) = doctor_devices.sound_server()
            devices = by_name(list(doctor_devices.sound()))
    finally:
        card.thaw()
    assert not server.ok and server.mend
    assert not devices["sound devices"].ok and devices["sound devices"].mend
    assert watch.wall < 5 * doctor_devices.SOUND_S


def test_a_sound_server_that_is_not_there_is_no_problem(card: SoundCard) -> None:
    card.kill()
    (server,) = doctor_devices.sound_server()
    assert server.ok
    assert server.detail == "none runs: what ALSA knows is used"
    assert server.mend


def test_what_is_wrong_with_the_sound_library_is_told_apart(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sounddevice")
    library("sounddevice", "raise OSError('PortAudio library not found')")
    (absent,) = doctor_devices.sound()
    assert absent.ok
    assert absent.mend == "sudo apt-get install libportaudio2"
    library("sounddevice", "import os; os.abort()")
    (broken,) = doctor_devices.sound()
    assert not broken.ok
    assert broken.mend == "pip install --force-reinstall sounddevice"
    library("sounddevice", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor_devices, "SOUND_S", 0.5)
    (stuck,) = doctor_devices.sound()
    assert not stuck.ok
    assert stuck.detail == "the sound system is stuck: no answer in 0.5 s"
    assert stuck.mend


def test_the_device_that_would_be_used() -> None:
    devices = [MICROPHONE, HEADSET]
    assert doctor_devices.device(devices, "microphone", "input", "").detail == "USB microphone (ALSA), the usual one"
    assert doctor_devices.device(devices, "loudspeaker", "output", "").detail == "Headset (ALSA), the usual one"
    assert doctor_devices.device(devices, "microphone", "input", "head").ok
    gone = doctor_devices.device(devices, "microphone", "input", "Webcam")
    assert not gone.ok
    assert gone.mend == 'visavis live --microphone ""'
    none = doctor_devices.device([MICROPHONE], "loudspeaker", "output", "")
    assert none.ok  # a browser has one
    assert "visavis live --web" in none.mend


def test_an_opencv_that_does_not_start_is_a_problem(library: Library) -> None:
    pytest.importorskip("cv2")
    library("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')")
    (check,) = doctor_devices.cameras()
    assert not check.ok
    assert "libGL.so.1" in check.detail
    assert check.mend == "pip install --force-reinstall opencv-python-headless"


def test_it_says_in_words_what_is_wrong() -> None:
    out = io.StringIO()
    found = [Check("a", True, "well"), Check("b", False, "broken [x]", "mend b"), Check("c", True, "absent", "add c")]
    Console(file=out, width=80).print(doctor.render(found))
    text = [line.rstrip() for line in out.getvalue().splitlines()]
    assert text == [
        "ok       a  well",
        "PROBLEM  b  broken [x]",
        "            mend it: mend b",
        "ok       c  absent",
        "            to add it: add c",
        "",
        "1 problem",
    ]

"""The doctor: finds what is wrong, names the command that mends it, and survives what it finds."""

import io
import sys
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from rich.console import Console

from agent import doctor
from agent.doctor import Check


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
    assert doctor.probe("import os; os.abort()")[0] is False
    assert doctor.probe("raise OSError('PortAudio library not found')") == (
        False,
        "OSError: PortAudio library not found",
    )
    assert doctor.run("/no/such/program")[0] is False
    monkeypatch.setattr(doctor, "PROBE_S", 0.2)
    assert doctor.run(sys.executable, "-c", "import time; time.sleep(9)") == (False, "no answer in 0 s")


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

"""What is installed, whether it works, and the command that mends what does not: `visavis doctor`.

Each look is a small function that returns `Check`s and raises nothing (`agent/checkup.py`); those at devices are in
`agent/doctor_devices.py`, those at models that are asked in `agent/doctor_models.py`. What is absent and can be done
without is offered, what is broken is a problem.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.checkup import Check, here, probe, run
from agent.doctor_devices import cameras, sound, sound_server
from streams import models
from streams.errors import VisavisError
from streams.models import Entry
from streams.onnx import PROVIDERS
from streams.recording.header import installed

NEEDED_MODELS = ("silero-vad", "smart-turn")  # of the default configuration; here, so that nothing heavy is imported
NEEDED_EXTRAS = ("files", "speech", "voice")
OPTIONAL_EXTRAS = (
    "live", "vision", "web", "webrtc", "llm", "mcp", "wyoming", "fallback", "miniaudio", "pyaudio", "livekit", "sherpa",
    "moonshine", "transformers", "train", "robot", "sim", "lerobot",
)  # fmt: skip
FIRST = {"pyaudio": "sudo apt-get install portaudio19-dev gcc python3-dev && "}  # what pip cannot install by itself
VOICE_MEND = "pip install --force-reinstall espeakng-loader"  # of visavis itself no package index may know
FREE_MB = 200


def checks() -> list[Check]:
    """All findings, in the order of the report. Takes a second or two; starts processes; raises nothing."""
    with ThreadPoolExecutor(len(_LOOKS), thread_name_prefix="doctor") as looking:  # most of them wait for a process
        return [check for found in looking.map(lambda look: list(look()), _LOOKS) for check in found]


def render(found: Iterable[Check]) -> RenderableType:
    """The findings for people: problems say so in words, each with its command below it."""
    found = list(found)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in found:
        state = Text("ok", "dim") if check.ok else Text("PROBLEM", "bold")
        text = Text(check.detail)
        if check.mend:
            text.append(f"\n{'to add it' if check.ok else 'mend it'}: ", "dim").append(check.mend)
        grid.add_row(state, Text(check.name), text)
    bad = sum(not check.ok for check in found)
    verdict = "healthy" if not bad else f"{bad} problem{'s' if bad > 1 else ''}"
    return Group(grid, Text(f"\n{verdict}", "bold"))


# --- Python and packages


def python() -> Iterator[Check]:
    """The interpreter and the machine."""
    ok = sys.version_info >= (3, 11)
    detail = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    yield Check("python", ok, detail, "" if ok else "install Python 3.11 or newer, then make setup")
    yield Check("platform", True, f"{platform.system()} {platform.release()}, {platform.machine()}")


def package() -> Iterator[Check]:
    """visavis itself, and what it cannot do without."""
    version = installed(["visavis"]).get("visavis")
    if version is None:
        yield Check(
            "visavis", False, "runs from its source folder, but is not installed", "pip install -e '.[default]'"
        )
        return
    wrong = {str(need): text for need in requirements("") if (text := unmet(need))}
    if wrong:
        mend = f"pip install {' '.join(map(repr, wrong))}"
        yield Check("visavis", False, f"{version}; {'; '.join(wrong.values())}", mend)
    else:
        yield Check("visavis", True, version)


def extras() -> Iterator[Check]:
    """The optional packages: those of the default agent must be there."""
    for extra in (*NEEDED_EXTRAS, *OPTIONAL_EXTRAS):
        needs = requirements(extra)
        if not needs:
            continue
        wrong = [text for need in needs if (text := unmet(need))]
        mend = f"{FIRST.get(extra, '')}pip install 'visavis[{extra}]'"
        found = installed(need.name for need in needs)
        if wrong:
            yield Check(f"extra {extra}", not found and extra in OPTIONAL_EXTRAS, "; ".join(wrong), mend)
        else:
            yield Check(f"extra {extra}", True, ", ".join(f"{name} {version}" for name, version in found.items()))


def onnx() -> Iterator[Check]:
    """ONNX Runtime: exactly one of its two packages, and one that starts."""
    yield onnx_packages(installed(["onnxruntime", "onnxruntime-gpu"]), bool(shutil.which("nvidia-smi")))
    if not here("onnxruntime"):
        return
    # Unless told not to, ONNX Runtime writes a device id into the cache when it is imported, and sends telemetry.
    quiet = "import os; os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1');"
    ok, said = probe(quiet + "import onnxruntime as o; print(o.__version__, *o.get_available_providers())")
    if ok:
        version, *providers = said.split()
        ours = ", ".join(name for name, full in PROVIDERS.items() if full in providers)
        yield Check("providers", True, f"ONNX Runtime {version} has {ours or 'none that we use'}")
    else:
        mend = "pip install --force-reinstall onnxruntime"
        yield Check("providers", False, f"ONNX Runtime does not start: {said}", mend)


def onnx_packages(found: dict[str, str], graphics: bool) -> Check:
    """Exactly one of the two packages. found: versions by name;  graphics: whether there is an NVIDIA card"""
    extra = "gpu" if graphics else "cpu"
    detail = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) > 1:
        mend = f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'visavis[{extra}]'"
        return Check("onnxruntime", False, f"{detail}: both are installed and overwrite each other's files", mend)
    if not found:
        return Check("onnxruntime", False, "not installed: no model can run", f"pip install 'visavis[{extra}]'")
    return Check("onnxruntime", True, detail)


def broker() -> Iterator[Check]:
    """Where a robot's messages meet in the demo; a robot of one's own has a broker somewhere."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    detail = f"mosquitto at {found}" if found else "mosquitto is not installed; the robot demo fetches another one"
    yield Check("broker", True, detail, "" if found else "sudo apt-get install mosquitto")


def pip() -> Iterator[Check]:
    """The model store fetches through pip."""
    ok, said = run(sys.executable, "-m", "pip", "--version")
    detail = " ".join(said.split()[:2]) if ok else f"does not run, so that models cannot be fetched: {said}"
    yield Check("pip", ok, detail, "" if ok else f"{sys.executable} -m ensurepip --upgrade")


# --- models, voice


def model_files() -> Iterator[Check]:
    """Which models are here, and under which licence."""
    try:
        listing = models.listing()
    except (VisavisError, OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        yield Check("models", False, str(error), "visavis models pull")
        return
    away: dict[str, list[Entry]] = {}  # sets of which no file is here: one line is enough
    for each in listing:
        entry = each.entry
        name, _, part = entry.name.partition("/")
        if part and each.state == "missing":
            away.setdefault(name, []).append(entry)
            continue
        needed = entry.name in NEEDED_MODELS
        detail = f"{entry.licence}; {entry.purpose}"
        mend = f"visavis models pull {entry.name}"
        if each.state == "here":
            yield Check(f"model {entry.name}", True, f"{detail}; {each.path}")
        elif each.state == "missing":
            yield Check(f"model {entry.name}", not needed, f"not here; {detail}", mend)
        else:
            yield Check(f"model {entry.name}", False, each.note or f"the wrong file; {detail}", mend)
    for name, entries in away.items():
        first, count = entries[0], len(entries)
        size = sum(entry.bytes for entry in entries) / 1e6
        known = f" ({size:.0f} MB)" if all(entry.bytes for entry in entries) else ""
        detail = f"{count} files{known} not here; {first.licence}; {first.purpose}"
        yield Check(f"model {name}", True, detail, f"visavis models pull {name}")


def voice() -> Iterator[Check]:
    """Whether espeak-ng really speaks a word."""
    from embodied.voices.espeak import EspeakVoice  # noqa: PLC0415 - only the doctor's patients need a voice

    try:
        speaker = EspeakVoice()
        try:
            chunks = list(speaker.speak("ready"))
        finally:
            speaker.close()
    except (VisavisError, OSError, ValueError) as error:
        yield Check("voice", False, f"espeak-ng does not speak: {error}", VOICE_MEND)
        return
    spoken = sum(len(chunk.samples) for chunk in chunks) / speaker.rate
    loud = any(chunk.samples.any() for chunk in chunks)
    ok = loud and any(chunk.marks for chunk in chunks)
    detail = f'espeak-ng says "ready" in {spoken:.2f} s of sound' if ok else "espeak-ng runs, but gives no sound"
    yield Check("voice", ok, detail, "" if ok else VOICE_MEND)


# --- disk


def folders() -> Iterator[Check]:
    """Whether models and recordings can be written, and fit."""
    try:
        cache = models.Store.here().cache
        yield writable("cache folder", cache, f"make {cache} writable, or set XDG_CACHE_HOME to a folder that is")
        here = Path.cwd()
    except (VisavisError, OSError, RuntimeError) as error:  # no home, or a current folder that has been deleted
        yield Check("folders", False, str(error), "cd to a folder that exists, and set HOME")
        return
    yield writable("this folder", here, "cd to a folder in which you may write: recordings go there")
    for name, folder in (("cache", cache), ("this folder", here)):
        yield disk(name, folder)


def writable(name: str, folder: Path, mend: str) -> Check:
    """Whether a file can be made in `folder` (or the folder itself be made). Leaves nothing behind."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check(name, True, str(folder))
    except OSError as error:
        return Check(name, False, f"{folder} cannot be written: {error.strerror}", mend)


def disk(name: str, folder: Path, least_mb: int = FREE_MB) -> Check:
    """Free space where `folder` is."""
    try:
        free = shutil.disk_usage(_existing(folder)).free / 1e6
    except OSError as error:
        return Check(f"disk of {name}", False, f"cannot be asked: {error.strerror}", f"df {folder}")
    ok = free >= least_mb
    mend = "" if ok else f"free {least_mb} MB or more on the disk of {folder}"
    return Check(f"disk of {name}", ok, f"{free / 1000:.1f} GB free", mend)


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


# --- how to look


def requirements(extra: str) -> list[Requirement]:
    """What visavis asks for with `extra` ("": always), by its own metadata; empty if it is not installed."""
    try:
        texts = metadata.requires("visavis") or []
        needs = [Requirement(text) for text in texts]
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return []
    asked = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    always = {str(need) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})}
    return asked if not extra else [need for need in asked if str(need) not in always]


def unmet(need: Requirement) -> str:
    """Why `need` is not met, "" if it is."""
    version = installed([need.name]).get(need.name)
    if version is None:
        return f"{need.name} is not installed"
    if not need.specifier.contains(version, prereleases=True):
        return f"{need.name} {version} is installed where {need.specifier} is needed"
    return ""


_LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (
    python, package, onnx, extras, pip, model_files, voice, sound, sound_server, cameras, broker, folders,
)  # fmt: skip

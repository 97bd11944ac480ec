"""What the doctor says of microphone, loudspeaker and camera. No device is opened.

What is absent is offered; what is there and broken, or was chosen and has gone, is a problem. Without any of it a file
can be heard, and a browser lends its own devices.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent import remembered
from agent.checkup import Check, here, probe, run
from streams.devices.sound import SoundDevice, Way, choose
from streams.errors import SourceError, VisavisError

SOUND_S = 1.8
"""Patience with the sound system. It answers in a tenth of that, or it is stuck."""
LISTING = """
import sys
sys.path.append({root!r})
import msgspec
from streams.devices.sound import backend
print(msgspec.json.encode(backend("sounddevice").devices()).decode())
"""
WAYS: tuple[tuple[str, Way], ...] = (("microphone", "input"), ("loudspeaker", "output"))
BROWSER = "visavis live --web"
SERVERS = (
    ("pipewire-pulse", "systemctl --user start pipewire-pulse", "systemctl --user restart pipewire pipewire-pulse"),
    ("pulseaudio", "pulseaudio --start", "pulseaudio --kill; pulseaudio --start"),
)
"""Sound servers that `pactl` talks to, what starts them, and what starts them anew."""


def sound() -> Iterator[Check]:
    """The default sound library, and the microphone and loudspeaker that it would use."""
    if not here("sounddevice"):
        yield Check("sound devices", True, "not looked for: the package sounddevice is not installed")
        return
    ok, said = probe(LISTING.format(root=str(Path(__file__).resolve().parents[1])), SOUND_S)
    if not ok:
        yield _no_sound(said)
        return
    try:
        devices = msgspec.json.decode(said, type=list[SoundDevice])
    except msgspec.DecodeError as error:
        yield _no_sound(str(error))
        return
    able = (sum(bool(each.inputs) for each in devices), sum(bool(each.outputs) for each in devices))
    yield Check("sound devices", True, f"{able[0]} to hear with, {able[1]} to speak with")
    chosen, problem = _chosen()
    if problem is not None:
        yield problem
    for name, way in WAYS:
        yield device(devices, name, way, chosen.get(name, ""))


def _no_sound(said: str) -> Check:
    if "PortAudio library not found" in said:
        lacking = "sounddevice is installed, but PortAudio is not: a browser's microphone can be used, but none here"
        return Check("sound devices", True, lacking, "sudo apt-get install libportaudio2")
    if said.startswith("no answer"):
        return Check("sound devices", False, f"the sound system is stuck: {said}", _command(anew=True))
    return Check(
        "sound devices", False, f"sounddevice does not work: {said}", "pip install --force-reinstall sounddevice"
    )


def _chosen() -> tuple[dict[str, str], Check | None]:
    """The devices that `visavis live` remembers, and what is wrong with the file that they are in."""
    try:
        return remembered.recall(), None
    except (VisavisError, OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        try:
            mend = f"rm {remembered.place()}"
        except RuntimeError:
            mend = "set HOME"
        return {}, Check("remembered devices", False, str(error), mend)


def device(devices: list[SoundDevice], name: str, way: Way, wanted: str) -> Check:
    """The one of `devices` that a live session would use. wanted: the one that is remembered, "" for none"""
    if not any(each.inputs if way == "input" else each.outputs for each in devices):
        return Check(name, True, "there is none on this machine", f"plug one in, or take a browser's: {BROWSER}")
    try:
        found = choose(devices, wanted, way)
    except SourceError as error:
        return Check(name, False, f"the remembered one cannot be used: {error}", f'visavis live --{name} ""')
    usual = "the remembered one" if wanted else "the usual one"
    return Check(name, True, f"{found.name} ({found.api}), {usual}")


def sound_server() -> Iterator[Check]:
    """Whether PulseAudio (or PipeWire in its place) can be asked where the microphone's sound comes from. Optional."""
    if shutil.which("pactl") is None:
        detail = "not asked: without pactl nobody notices that the sound server has put another microphone in"
        yield Check("sound server", True, detail, "sudo apt-get install pulseaudio-utils")
        return
    ok, said = run("pactl", "info", patience_s=SOUND_S)
    if ok:
        name = next((line.partition(":")[2] for line in said.splitlines() if line.startswith("Server Name:")), said)
        yield Check("sound server", True, name.strip())
    elif said.startswith("no answer"):
        yield Check("sound server", False, f"it is stuck: {said}", _command(anew=True))
    else:
        yield Check("sound server", True, "none runs: what ALSA knows is used", _command(anew=False))


def _command(anew: bool) -> str:
    """What starts (or starts again) the sound server that is installed; of none, "sudo alsa force-reload"."""
    found = [(start, again) for program, start, again in SERVERS if shutil.which(program)]
    if not found:
        return "sudo alsa force-reload" if anew else ""
    return found[0][1 if anew else 0]


def cameras() -> Iterator[Check]:
    """OpenCV, and the cameras of this machine."""
    if not here("cv2"):
        yield Check("cameras", True, "not looked for: the package opencv-python-headless is not installed")
        return
    ok, said = probe("import cv2; print(cv2.__version__)")
    if not ok:
        mend = "pip install --force-reinstall opencv-python-headless"
        yield Check("opencv", False, f"OpenCV does not start: {said}", mend)
        return
    yield Check("opencv", True, f"OpenCV {said}")
    found = sorted(Path("/dev").glob("video*")) if Path("/dev").is_dir() else []
    shut = [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
    if found and shut == found:
        who = "you may open none of them"
        yield Check("cameras", True, f"{_names(found)}: {who}", "sudo usermod -aG video $USER, then log in again")
        return
    yield Check("cameras", True, _names(found) or "none on this machine (addresses and files can be looked at)")


def _names(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)

"""What a robot's factsheet says of its camera and microphone, read with mistrust: it comes from the wire.

    "observation_features": {
        "cameras": {"front": {"url": "rtsp://10.0.0.7/front", "size": [640, 480], "fov_deg": 70},
                    "hand": {"telemetry": "camera.hand", "size": [320, 240]}},
        "microphone": {"telemetry": "microphone", "rate": 16000}}

An address is opened by this machine, so only those of a stream over the network are believed: a robot must not make an
agent read its files. What is sent as telemetry is fed to `streams.devices.robot_camera` and `.robot_microphone`.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from embodied.results import clean
from embodied.robot.factsheet import Factsheet

SCHEMES = frozenset({"http", "https", "rtsp", "rtsps"})
_CHANNEL = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*", re.ASCII)
MOST = 8
FOV_DEG = 60.0
RATE = 16_000


class Eye(Struct, frozen=True):
    """A camera of a robot: either `url` or `channel` (of telemetry) is set.

    size: width and height in pixels, None unless told;  fov_deg: horizontal field of view, 60 unless told
    """

    name: str
    url: str = ""
    channel: str = ""
    size: tuple[int, int] | None = None
    fov_deg: float = FOV_DEG


class Ear(Struct, frozen=True):
    """A microphone of a robot: either `url` or `channel` is set. rate: Hertz, of telemetry"""

    url: str = ""
    channel: str = ""
    rate: int = RATE


class Media(Struct, frozen=True):
    """eyes: in the factsheet's order;  ear: None without a microphone;  passed_over: what was wrong, for people"""

    eyes: tuple[Eye, ...] = ()
    ear: Ear | None = None
    passed_over: tuple[str, ...] = ()

    def eye(self, name: str = "") -> Eye | None:
        """The camera `name`, or the first; None if there is none."""
        return next((each for each in self.eyes if name in ("", each.name)), None)

    def settings(self, name: str = "") -> dict[str, Any]:
        """Assignments of the configuration with which the agent looks through the camera `name` (or the first).

        {} without one. Of a camera over telemetry there is no source to set: only its field of view.
        """
        eye = self.eye(name)
        if eye is None:
            return {}
        return {**({"camera.source": eye.url} if eye.url else {}), "camera.fov_deg": eye.fov_deg}


def media(factsheet: Factsheet) -> Media:
    """The eyes and ears of a robot. What is not understood is passed over and told, never raised."""
    features, eyes, wrong = factsheet.observation_features, [], []
    cameras = features.get("cameras", {})
    if not isinstance(cameras, dict):
        cameras, wrong = {}, ["cameras: it must be an object"]
    for name, told in list(cameras.items())[:MOST]:
        where = _where(told)
        if isinstance(where, str):
            wrong.append(f"camera {clean(str(name), 40)}: {where}")
        else:
            eyes.append(Eye(clean(str(name), 40), *where, _size(told.get("size")), _fov(told.get("fov_deg"))))
    ear = None
    if (told := features.get("microphone")) is not None:
        where = _where(told)
        if isinstance(where, str):
            wrong.append(f"microphone: {where}")
        else:
            rate = told.get("rate", RATE)
            if isinstance(rate, int) and 8000 <= rate <= 48_000:
                ear = Ear(*where, rate)
            else:
                wrong.append("microphone: its rate must be 8000 to 48000 Hz")
    return Media(tuple(eyes), ear, tuple(wrong))


def _where(told: Any) -> tuple[str, str] | str:
    """(url, channel), one of them ""; or what is wrong."""
    if not isinstance(told, dict):
        return "it must be an object"
    url, channel = told.get("url"), told.get("telemetry")
    if isinstance(url, str) and len(url) <= 500 and clean(url, 500) == url:
        try:
            parts = urlsplit(url)
            known = parts.scheme in SCHEMES and bool(parts.hostname)
        except ValueError:
            known = False
        return (url, "") if known else "its address must begin with http://, https:// or rtsp://, and name a host"
    if isinstance(channel, str) and len(channel) <= 64 and _CHANNEL.fullmatch(channel):
        return "", channel
    return "it names neither a `url` nor a channel of `telemetry`"


def _size(told: Any) -> tuple[int, int] | None:
    good = isinstance(told, list) and len(told) == 2 and all(type(each) is int and 0 < each <= 8192 for each in told)
    return (told[0], told[1]) if good else None


def _fov(told: Any) -> float:
    number = isinstance(told, int | float) and not isinstance(told, bool)
    return float(told) if number and 1 < told < 179 else FOV_DEG

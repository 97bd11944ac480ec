"""The session header: what somebody needs to know to run the session again. The only wall time of a recording."""

import os
import platform
from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from streams.errors import RecordingError

FORMAT = 1
"""Version of the recording format. A reader refuses a newer one, and reads every older one."""

RECORD = "visavis.session"
"""Name of the MCAP metadata record that carries the header."""

PACKAGES = (
    "visavis", "numpy", "msgspec", "mcap", "onnxruntime", "onnxruntime-gpu", "pocketsphinx", "espeakng-loader", "av",
    "webrtcvad-wheels", "hassil", "sherpa-onnx", "moonshine-voice",
)  # fmt: skip


class Header(Struct, frozen=True):
    """Facts about a session, fixed before its first packet.

    started: wall time of session time 0, with its zone
    config: the configuration as text (TOML or JSON);  overrides: what was set on the command line, by dotted key
    models: SHA-256 of each model file, by name;  versions: of the packages that matter, by distribution name
    machine: facts of the machine, for people;  extra: whatever else the composer of the session wants kept (JSON)
    format: version of the recording format
    """

    started: datetime
    config: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    python: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def now(
        cls,
        started: datetime,
        *,
        config: str = "",
        overrides: dict[str, Any] | None = None,
        models: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> "Header":
        """A header with versions, Python and machine filled in from here. started: `Clock.started`."""
        return cls(
            started=started,
            config=config,
            overrides=overrides or {},
            models=models or {},
            versions=installed(PACKAGES),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            machine=machine(),
            extra=extra or {},
        )

    def to_record(self) -> dict[str, str]:
        """As MCAP metadata (text to text): texts as they are, everything else as JSON. Raises `RecordingError`."""
        if self.started.tzinfo is None:
            raise RecordingError("the recording's header needs a start time with its zone (Clock.started has one)")
        try:
            plain: dict[str, Any] = msgspec.to_builtins(self)
            return {
                key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
                for key, value in plain.items()
            }
        except (TypeError, ValueError) as error:
            raise RecordingError(f"the recording's header holds something that is not JSON: {error}") from error

    @classmethod
    def from_record(cls, record: dict[str, str], path: Path) -> "Header":
        """The header in the metadata record of `path`. Raises `RecordingError` if too new, or broken."""
        version = record.get("format", "")
        if not version.isdecimal():
            raise RecordingError(f"{path}: its session header names no format version; it was not written by visavis.")
        if int(version) > FORMAT:
            raise RecordingError(
                f"{path} is a recording of format {version}; this visavis reads up to format {FORMAT}: update visavis."
            )
        try:
            plain = {key: text if key in _TEXTS else msgspec.json.decode(text) for key, text in record.items()}
            return msgspec.convert(plain, cls)
        except msgspec.MsgspecError as error:
            raise RecordingError(f"{path}: its session header is damaged: {error}.") from error


_TEXTS = {"started", "config", "python"}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The version of each of `packages` that is installed, by distribution name."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """What kind of machine this is: nothing that names it or its user."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
    }
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                facts["cpu"] = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the architecture has to do
    return facts

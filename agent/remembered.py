"""The devices somebody chose last time, so that they need not be named again.

They lie in `devices.toml` in the folder for configuration of the user (`$XDG_CONFIG_HOME/visavis`, else
`~/.config/visavis`). Only `visavis live` reads it, and a configuration file or `--set` goes before it; `run` and
`replay` do not depend on whose machine they run on.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path

from agent import config
from agent.errors import ConfigError
from agent.settings import read_toml

KEYS = {"microphone": "microphone.device", "loudspeaker": "loudspeaker.device", "camera": "camera.source"}
"""What is remembered, and which setting it is."""


def place() -> Path:
    """The file."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "visavis" / "devices.toml"


def recall() -> dict[str, str]:
    """The names by device. Raises `ConfigError` for a file that cannot be understood."""
    path = place()
    if not path.exists():
        return {}
    found = read_toml(path)
    for key, value in found.items():
        if key not in KEYS or not isinstance(value, str):
            raise ConfigError(f"{path}: {key} = {value!r} is no device's name: mend the file, or remove it.")
    return found


def remember(chosen: Mapping[str, str]) -> Path | None:
    """Keep the names in `chosen` besides those that are remembered; "" forgets one. Returns the file if it changed.

    Raises `ConfigError` if it cannot be written.
    """
    before = recall()
    after = {key: name for key, name in {**before, **chosen}.items() if name}
    if after == before:
        return None
    path = place()
    text = "# Devices chosen with `visavis live`; remove a line, or the file, to forget.\n"
    text += "".join(f"{key} = {json.dumps(name)}\n" for key, name in sorted(after.items()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # the address of a camera may have a password in it
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot remember the devices in {path}: {error.strerror or error}") from error
    return path


def assignments(names: Mapping[str, str]) -> list[str]:
    """`names` as settings such as `microphone.device="USB microphone"`."""
    return [f"{KEYS[key]}={json.dumps(name)}" for key, name in names.items()]


def configured(arguments: argparse.Namespace, chosen: dict[str, str]) -> config.Config:
    """The configuration: its file, else the devices of last time; over it those that are `chosen`, over all `--set`."""
    devices = chosen if arguments.config else {**recall(), **chosen}
    path = Path(arguments.config) if arguments.config else None
    return config.load(path, [*assignments(devices), *arguments.set])

"""What a model and a person are told of a robot's abilities: words that come with visavis, and the operator's own.

Never the robot's: see `schema.py`. A file of the operator's, TOML or YAML:

    come_back = "Drive home to the kitchen."

    [lamp]
    description = "The lamp on its head."
    arguments = { on = "whether it is to shine" }
    reply = "All right."

    [lamp.sentences]                    # templates as in docs/intents.md = the arguments that they mean
    "(light|shine) for me" = { on = true }
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from embodied.errors import BodyError
from streams.errors import DependencyMissing


class WordsInvalid(BodyError):
    """A file of words cannot be used: names it, and what is wrong in it."""


class Told(Struct, frozen=True, forbid_unknown_fields=True):
    """The words of one capability.

    description: what it does, for a model;  arguments: what each means, by name
    sentences: how a person asks for it: template -> arguments;  reply: what is said then
    """

    description: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    sentences: dict[str, dict[str, Any]] = field(default_factory=dict)
    reply: str = ""


_LEFT = "positive is to the left (anticlockwise), negative to the right"
SHIPPED: Mapping[str, Told] = {
    "move": Told(
        "Drive straight ahead, or back.",
        {
            "distance_m": "how far, in metres: positive is forward, negative is backward",
            "speed_mps": "how fast at most, in metres per second",
        },
    ),
    "turn": Told("Turn on the spot.", {"angle_rad": f"how far, in radians: {_LEFT}"}),
    "come_back": Told("Drive back to where it started, and face as it did then."),
    "nav.goto": Told(
        "Drive to a place on the map.",
        {
            "x": "in metres, on the map",
            "y": "in metres, on the map",
            "yaw": "which way to face there, in radians, anticlockwise from the x axis of the map",
        },
    ),
    "dock": Told("Drive to the charging station."),
    "undock": Told("Leave the charging station."),
    "say": Told("Say something through the robot's own speaker.", {"text": "what to say"}),
    "lamp": Told("Switch the robot's lamp on or off.", {"on": "true: on, false: off"}),
    "beep": Told("Give a short sound."),
    "arm.home": Told("Move the arm to its resting position."),
    "arm.move_j": Told("Move the joints of the arm to positions, in radians.", {}),
    "gripper": Told("Open or close the gripper.", {"open": "true: open, false: close"}),
}


class Words:
    """All words, the operator's over those that come with visavis."""

    def __init__(self, own: Mapping[str, Told] | None = None) -> None:
        self.own: dict[str, Told] = dict(own or {})

    @staticmethod
    def load(path: str) -> "Words":
        """Of the operator's file; "" = none. Raises `WordsInvalid`, and `DependencyMissing` for YAML without PyYAML."""
        if not path:
            return Words()
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WordsInvalid(f"{path}: the words for robots cannot be read ({error}).") from error
        content = _yaml(text, path) if path.endswith((".yaml", ".yml")) else _toml(text, path)
        if not isinstance(content, dict):
            raise WordsInvalid(f"{path}: expected capabilities and their words, such as: lamp = 'The lamp.'")
        own: dict[str, Told] = {}
        for name, value in content.items():
            try:
                own[str(name)] = msgspec.convert({"description": value} if isinstance(value, str) else value, Told)
            except msgspec.ValidationError as error:
                raise WordsInvalid(f"{path}: the words of {name!r}: {error}.") from error
        return Words(own)

    def of(self, name: str) -> Told:
        """The words of a capability; where nobody has any, a sentence made of its name."""
        own, shipped = self.own.get(name, Told()), SHIPPED.get(name, Told())
        return Told(
            own.description or shipped.description or f"What the robot calls {spaced(name)!r}.",
            {**shipped.arguments, **own.arguments}, own.sentences, own.reply,
        )  # fmt: skip


def spaced(name: str) -> str:
    """A checked name as words: "arm.home" is "arm home"."""
    return " ".join(name.replace(".", " ").replace("_", " ").replace("-", " ").replace(":", " ").split())


def _toml(text: str, path: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WordsInvalid(f"{path} is no TOML: {error}.") from error


def _yaml(text: str, path: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise DependencyMissing("PyYAML", "robot", f"reading {path}", "write the words as TOML") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WordsInvalid(f"{path} is no YAML: {error}.") from error

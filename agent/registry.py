"""Names in the configuration to the parts they mean: built-in ones, and those of installed packages.

A package adds parts by entry points in the group `visavis.<kind>`, for instance

    [project.entry-points."visavis.voices"]
    mine = "my_package.voices:make"

and `voice.engine = "mine"` uses it. Tools need no key: every installed one may be called by its name. Here alone
strings become parts. Each part is made by a factory with the signature given in `KINDS`; built-in modules are imported
when they are asked for, so that nobody pays for what he does not use.
"""

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agent.errors import ConfigError

KINDS: dict[str, str] = {
    "vads": "(config: Config) -> Encoder",
    "faces": "(config: Config) -> Encoder",
    "turn_ends": "(config: Config) -> Encoder",
    "recognisers": "(config: Config, grammar: str) -> Recogniser",
    "policies": "(config: Config, wall: Callable[[int], datetime]) -> Policy",
    "models": "(config: LlmConfig, publisher: Publisher, clock: Clock, pictures: Pictures) -> Actuator",
    "voices": "(config: Config) -> Voice",
    "actuators": "(config: Config, publisher: Publisher, clock: Clock) -> Actuator, or several",
    "tools": "the function itself, as `embodied.toolbox.tool` takes it, or a `Tool`",
}

BUILT_IN: dict[str, dict[str, str]] = {
    "vads": {"silero": "agent.parts:silero", "webrtc": "agent.parts:webrtc", "auto": "agent.parts:any_vad"},
    "faces": {"yunet": "agent.parts:yunet"},
    "turn_ends": {"smart-turn": "agent.parts:smart_turn"},
    "recognisers": {
        "grammar": "agent.parts:grammar",
        "sherpa": "agent.parts:sherpa",
        "moonshine": "agent.parts:moonshine",
    },
    "policies": {"intents": "agent.parts:intents", "llm": "agent.parts:llm", "realtime": "agent.parts:realtime"},
    "models": {"openai": "agent.parts:chat_model", "transformers": "agent.parts:local_model"},
    "voices": {"espeak": "agent.parts:espeak", "tones": "agent.parts:tones"},
    "actuators": {"simulated": "agent.parts:simulated_base", "mqtt": "agent.robots.bodies:remote_bodies"},
    "tools": {},
}


def names(kind: str) -> list[str]:
    """What may be written in the configuration for this kind of part."""
    return sorted({*BUILT_IN[kind], *(point.name for point in entry_points(group=f"visavis.{kind}"))})


def find(kind: str, name: str, key: str) -> Callable[..., Any]:
    """The factory of part `name`. key: path in the configuration, for the error. Raises `ConfigError`."""
    place = BUILT_IN[kind].get(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        factory: Callable[..., Any] = getattr(import_module(module), attribute)
        return factory
    for point in entry_points(group=f"visavis.{kind}", name=name):
        loaded: Callable[..., Any] = _load(point, f"{key} = {name!r}")
        return loaded
    known = names(kind)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
    raise ConfigError(f"{key} = {name!r}: there is no such part: {hint}")


def installed(kind: str) -> dict[str, Any]:
    """All parts of this kind that installed packages have, by name. Raises `ConfigError` where one does not load."""
    points = entry_points(group=f"visavis.{kind}")
    return {point.name: _load(point, f"{kind} {point.name!r}") for point in sorted(points, key=lambda each: each.name)}


def _load(point: EntryPoint, what: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{what}: the entry point {point.value!r} cannot be loaded: {error}") from error

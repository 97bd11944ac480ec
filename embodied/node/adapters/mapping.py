"""A profile's mapping, as data: which topics of a strange robot mean what, in which units, and what the robot promises.

Six parts, as `docs/adapters.md` describes them: `transport`, `presence`, `in`, `capabilities`, `status`, `safety`.
All of it is checked before anything is sent: unknown fields, paths and topics that are none, templates that lack an
argument. Nothing in it is a program: paths are names with dots, templates are JSON with places.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from embodied.errors import BodyError
from embodied.robot.factsheet import Capability
from embodied.robot.params import Params

Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
_PATH = re.compile(r"^[A-Za-z_][\w-]*(\.([\w-]+|\*))*$")
_PLACE = re.compile(r"^\$([A-Za-z_]\w*)$")
MISSING: Any = object()


class MappingInvalid(BodyError):
    """A profile's mapping cannot be used: what is wrong, where, and what to do."""


class Transport(Struct, frozen=True, forbid_unknown_fields=True):
    """How the foreign broker is spoken to. protocol: "auto" | "5" | "3.1.1"

    password_env: the environment variable with its password, if that is not the one of our own broker
    """

    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: Annotated[int, Meta(ge=1, le=600)] = 5
    password_env: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""


class Presence(Struct, frozen=True, forbid_unknown_fields=True):
    """How to know that the foreign robot is there. silent_ms: without any reading for so long it counts as lost.

    topic, path: where it tells that it has gone (its last will), "" = nowhere;  offline: what it says then. With the
    next reading it is back.
    """

    topic: str = ""
    path: str = ""
    offline: tuple[str, ...] = ("offline",)
    silent_ms: Milliseconds = 3000


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """One value out of a message: `path`, then `values` (a table) or `value · scale + offset`.

    given: a path that must be true, or the value counts as unknown
    """

    path: str
    scale: float = 1.0
    offset: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    given: str = ""


class Inlet(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic that tells about the robot, and what is read from it. recalled: what the broker kept is wanted, too.

    read: our channel ("pose.x", "velocity.wz", "battery", "mode", "hardware_stop", "joints.NAME", "errors", ...) to a
    path or a `Source`
    """

    topic: str
    read: dict[str, str | Source]
    qos: Literal[0, 1] = 0
    recalled: bool = False


class Outlet(Struct, frozen=True, forbid_unknown_fields=True):
    """How a capability is asked for: `template` on `topic`; "$name" in it is the argument of that name."""

    topic: str
    template: Any = field(default_factory=dict)
    qos: Literal[0, 1] = 1


class Ending(Struct, frozen=True, forbid_unknown_fields=True):
    """How to know that a capability is done: `path` of what comes on `topic` is `equals` ("$name": an argument)."""

    topic: str
    path: str = ""
    equals: Any = None
    timeout_ms: Milliseconds = 5000


class Promise(Struct, frozen=True, forbid_unknown_fields=True):
    """What the foreign robot enforces by itself, as its owner knows it, when nobody speaks to it any more.

    robot_timeout_ms: it comes to rest after so long without news;  robot_way_m: it goes on for no more than so far
    supervised: neither is known, but a person stands by its hardware stop
    """

    robot_timeout_ms: Milliseconds | None = None
    robot_way_m: Annotated[float, Meta(gt=0, le=100)] | None = None
    supervised: bool = False


class Mapping(Struct, frozen=True, forbid_unknown_fields=True, rename={"inlets": "in"}, kw_only=True):
    """All of it. broker: URL of the foreign broker;  wait_s: how long to wait for the robot at the start"""

    broker: str = "mqtt://127.0.0.1:1883"
    wait_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    transport: Transport = Transport()
    presence: Presence = Presence()
    inlets: tuple[Inlet, ...] = ()
    capabilities: dict[str, Outlet] = field(default_factory=dict)
    status: dict[str, Ending] = field(default_factory=dict)
    safety: Promise = Promise()


def lint(
    mapping: Mapping, capabilities: tuple[Capability, ...], what: str, given: dict[str, Any] | None = None
) -> None:
    """Check everything that can be checked before the robot is there, and render each capability once.

    given: what templates may use besides the arguments
    Raises `MappingInvalid` for the first thing that is wrong.
    """
    for inlet in mapping.inlets:
        check_topic(inlet.topic, what)
        for channel, source in inlet.read.items():
            if channel not in CHANNELS and not channel.startswith("joints."):
                _wrong(what, f"`in` reads {channel!r}; it can read {', '.join(CHANNELS)} and joints.NAME")
            for path in (source,) if isinstance(source, str) else (source.path, source.given or source.path):
                if not _PATH.match(path):
                    _wrong(
                        what, f"{path!r} (of {inlet.topic}) is no path; write names with dots, as in pose.position.x"
                    )
            if isinstance(source, Source) and not (math.isfinite(source.scale) and math.isfinite(source.offset)):
                _wrong(what, f"scale and offset of {channel} must be finite numbers")
    if mapping.presence.topic:
        check_topic(mapping.presence.topic, what)
    known = {each.name: each for each in capabilities}
    for name in (*mapping.capabilities, *mapping.status):
        if name not in known:
            _wrong(what, f"maps {name!r}, which its factsheet does not have")
    for name, outlet in mapping.capabilities.items():
        check_topic(outlet.topic, what)
        args = {**(given or {}), **example(known[name].params)}
        Params(known[name].params, name)
        render(outlet.template, args, f"{what}: {name}")
    for name, ending in mapping.status.items():
        check_topic(ending.topic, what)
        render(ending.equals, example(known[name].params), f"{what}: status of {name}")


CHANNELS = (
    "pose.x", "pose.y", "pose.yaw", "pose.orientation", "velocity.vx", "velocity.vy", "velocity.wz", "battery", "mode",
    "hardware_stop", "bumper", "near_people", "errors",
)  # fmt: skip


def check_topic(topic: str, what: str) -> None:
    """Raises `MappingInvalid` if nothing can be published on `topic`."""
    if not topic or len(topic) > 400 or any(c in topic for c in "+#\0") or "{" in topic:
        _wrong(what, f"{topic!r} is no topic: 1 to 400 characters without + and #")


def walk(value: Any, path: str) -> Any:
    """What is at `path` of decoded JSON ("a.0.b"; "a.*.b" is a list), or `MISSING`. Never raises."""
    if not path:
        return value
    head, _, rest = path.partition(".")
    if head == "*":
        found = [walk(each, rest) for each in value] if isinstance(value, list) else []
        return [each for each in found if each is not MISSING]
    if isinstance(value, dict):
        return walk(value[head], rest) if head in value else MISSING
    if isinstance(value, list) and head.isascii() and head.isdigit() and len(head) < 6 and int(head) < len(value):
        return walk(value[int(head)], rest)
    return MISSING


def number(value: Any, source: Source) -> float | None:
    """`value` in our unit, or None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        made = float(value) * source.scale + source.offset
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def render(template: Any, args: dict[str, Any], where: str) -> Any:
    """`template` with each "$name" replaced by that argument, keeping its type; null if the argument was not given.

    Raises `MappingInvalid` for a place without a possible argument.
    """
    if isinstance(template, str) and (found := _PLACE.match(template)):
        if found[1] not in args:
            raise MappingInvalid(
                f"{where}: the template wants ${found[1]}, but there are {sorted(args) or 'no'} arguments."
            )
        return args[found[1]]
    if isinstance(template, dict):
        return {key: render(inner, args, where) for key, inner in template.items()}
    if isinstance(template, list | tuple):
        return [render(inner, args, where) for inner in template]
    return template


def example(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit `schema`, for a dry run: every property, the lowest value of each."""
    return dict(_examples(schema))


def _examples(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, inner in schema.get("properties", {}).items():
        if "enum" in inner:
            yield name, inner["enum"][0]
        elif "const" in inner:
            yield name, inner["const"]
        else:
            plain: dict[str, Any] = {
                "number": 0.0,
                "integer": 0,
                "string": "",
                "boolean": False,
                "array": [],
                "object": {},
            }
            kind = inner.get("type")
            yield name, inner.get("minimum", plain.get(kind[0] if isinstance(kind, list) else kind))


def _wrong(what: str, why: str) -> None:
    raise MappingInvalid(f"{what}: {why}. See docs/adapters.md.")

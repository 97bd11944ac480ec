"""A profile: a YAML file that says what a robot is, what it may do, how strict its guards are, and which driver it has.

Read strictly: a limit that is misspelt must not be a limit that is passed over. Secrets have no place in it.
"""

import difflib
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Struct, field, structs

from embodied.errors import BodyError
from embodied.robot.factsheet import Capability, Factsheet, Limits, Robot, Timing, Tool, compile_params
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import PROTO, Args, Name, Natural
from streams.errors import DependencyMissing

SECRETS = ("keys", "operator_key", "consent_key")
DRIVERS = {
    "simulated": "embodied.node.simulator",
    "mujoco": "embodied.node.mujoco_body",
    "vda5050": "embodied.node.adapters.vda5050",
    "homeassistant": "embodied.node.adapters.homeassistant",
    "ros2-bridge": "embodied.node.adapters.ros2_bridge",
}
"""Where `connect(profile, robot, clock) -> (Factsheet, Driver)` of each driver is; others are "module:Class"."""
BYTES_MAX = 1 << 20
_Options = TypeVar("_Options")


class ProfileInvalid(BodyError):
    """A profile cannot be used: which file, which key, what is wrong with it."""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a profile. Each is explained in docs/robots.md."""

    driver: str
    robot: Robot = Robot()
    rev: Natural = 1
    limits: Limits = Limits()
    timing: Timing = Timing()
    guards: GuardSettings = GuardSettings()
    resources: tuple[Name, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    observation_features: Args = field(default_factory=dict)
    options: Args = field(default_factory=dict)
    senses: Args = field(default_factory=dict)
    words: dict[Name, str] = field(default_factory=dict)


class Profile(Struct, frozen=True):
    """factsheet: what the robot announces; its `boot` is "" until it starts;  settings: of its guards

    driver: "simulated", "mujoco", ..., or "module:Class";  options: the driver's own
    words: for each capability, what a model is told of it;  name: of the file, for messages
    senses: cameras and a microphone that are sent as telemetry (`embodied.node.senses`)
    """

    factsheet: Factsheet
    settings: GuardSettings
    driver: str
    options: dict[str, Any]
    words: dict[str, str]
    name: str = ""
    senses: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def load(name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> "Profile":
        """The profile in a file, or a shipped one by its name. changes: values by dotted key, over those in the file.

        In a list, a dotted key goes by `name`: "capabilities.move.risk". Raises `ProfileInvalid`, `DependencyMissing`.
        """
        name, text = _text(name_or_path)
        return profile_of(read_yaml(text, name), name, changes)


def profile_of(body: Any, name: str, changes: Mapping[str, Any] | None = None) -> Profile:
    """The profile in the mapping `body`, which came from `name`. Raises `ProfileInvalid`."""
    if not isinstance(body, dict):
        raise ProfileInvalid(f"{name}: a profile is a mapping with the keys {', '.join(_File.__struct_fields__)}.")
    for key, value in (changes or {}).items():
        _change(body, key, value, name)
    guards = body.get("guards")
    if isinstance(guards, dict) and (secret := next((key for key in SECRETS if key in guards), "")):
        _wrong(name, f"guards.{secret}", "is a secret: give it with --keys FILE or in the environment, not here")
    file = strictly(body, _File, name)
    if file.driver not in DRIVERS and not re.fullmatch(r"[\w.]+:\w+", file.driver):
        _wrong(name, "driver", f"{file.driver!r} is none: use {', '.join(DRIVERS)}, or module:Class of your own")
    known = {each.name for each in file.capabilities}
    if file.capabilities and (unknown := set(file.words) - known):
        first = min(unknown)
        _wrong(name, f"words.{first}", f"is of no capability{_nearest(first, known)}")
    factsheet = Factsheet(
        PROTO, file.rev, "", file.robot, file.limits, file.timing, file.resources,
        tuple(_worded(each, file.words) for each in file.capabilities), file.observation_features,
    )  # fmt: skip
    try:
        compile_params(factsheet)
    except BodyError as error:
        raise ProfileInvalid(f"{name}: {error}") from error
    return Profile(factsheet, file.guards, file.driver, dict(file.options), dict(file.words), name, dict(file.senses))


def shipped() -> tuple[str, ...]:
    """The names of the profiles that come with visavis."""
    folder = resources.files("embodied.node") / "profiles"
    return tuple(sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml")))


def options_of(profile: Profile, kind: type[_Options]) -> _Options:
    """The options of `profile` as a `kind` (a msgspec Struct). Raises `ProfileInvalid`, naming the key."""
    return strictly(profile.options, kind, profile.name, "options")


def strictly(body: Any, kind: type[_Options], name: str, at: str = "") -> _Options:
    """`body` as `kind`. An unknown key is refused, whatever `kind` says. Raises `ProfileInvalid`, naming the key."""
    _check_keys(body, msgspec.inspect.type_info(kind), at, name)
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        path = re.sub(r"\[(\d+)\]", r".\1", where.rstrip("`")).strip(".")
        _wrong(
            name, ".".join(part for part in (at, path) if part) or "the file", f"is wrong: {what[:1].lower()}{what[1:]}"
        )


def read_yaml(text: str, name: str) -> Any:
    """What `text` says in YAML: safe types only, booleans as in YAML 1.2, no key twice. Raises `ProfileInvalid`."""
    try:
        import yaml  # noqa: PLC0415 - only the robot's side needs it
    except ImportError as error:
        raise DependencyMissing("PyYAML", "robot", "reading a robot's profile") from error

    class Loader(yaml.SafeLoader):
        """`off` is a word, and so is a date: profiles have both as values."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """As in `SafeLoader`, but no key twice."""
            seen: set[Any] = set()
            for key, _ in node.value:
                said = self.construct_object(key, deep=True)
                if isinstance(said, str) and said in seen:
                    line = key.start_mark.line + 1
                    raise ProfileInvalid(f"{name}: line {line}: the key {said!r} comes twice in the same mapping.")
                seen.add(said if isinstance(said, str) else id(said))
            return super().construct_mapping(node, deep=deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if not tag.endswith((":bool", ":timestamp"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ProfileInvalid(f"{name}: it is no YAML that can be read: {' '.join(str(error).split())}") from error


# --- inside


def _text(name_or_path: str | Path) -> tuple[str, str]:
    said = str(name_or_path)
    path = Path(said)
    if said in shipped():
        found = resources.files("embodied.node") / "profiles" / f"{said}.yaml"
        return said, found.read_text(encoding="utf-8")
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ProfileInvalid(f"{said}: a profile has {BYTES_MAX >> 20} MB at most.")
        return said, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(shipped())
        why = "there is no such profile or file" if isinstance(error, FileNotFoundError) else f"{error}"
        raise ProfileInvalid(f"{said}: {why}; the profiles that come with visavis are {names}.") from error


def _check_keys(value: Any, kind: msgspec.inspect.Type, path: str, name: str) -> None:
    match kind:
        case msgspec.inspect.StructType(fields=fields) if isinstance(value, dict):
            known = {each.encode_name: each.type for each in fields}
            for key, inner in value.items():
                here = f"{path}.{key}" if path else str(key)
                if key not in known:
                    _wrong(name, here, f"is no key there{_nearest(str(key), known)}")
                _check_keys(inner, known[key], here, name)
        case msgspec.inspect.DictType(value_type=inner_kind) if isinstance(value, dict):
            for key, inner in value.items():
                _check_keys(inner, inner_kind, f"{path}.{key}", name)
        case msgspec.inspect.VarTupleType(item_type=inner_kind) | msgspec.inspect.ListType(item_type=inner_kind) if (
            isinstance(value, list | tuple)
        ):
            for n, inner in enumerate(value):
                said = inner.get("name", n) if isinstance(inner, dict) else n
                _check_keys(inner, inner_kind, f"{path}.{said}", name)
        case msgspec.inspect.UnionType(types=kinds):
            for each in kinds:
                _check_keys(value, each, path, name)
        case msgspec.inspect.Metadata(type=inner_kind):
            _check_keys(value, inner_kind, path, name)
        case msgspec.inspect.FloatType() if isinstance(value, float) and not math.isfinite(value):
            _wrong(name, path, f"is {value}: a number that is finite is needed")
        case _:
            pass


def _change(body: dict[str, Any], key: str, value: Any, name: str) -> None:
    """Set the dotted `key`, through mappings by key and through lists by name."""
    at: Any = body
    parts = key.split(".")
    for n, part in enumerate(parts):
        if isinstance(at, list):
            # A capability's own name may have dots in it: take as many parts as make one.
            for length in range(len(parts) - n, 0, -1):
                wanted = ".".join(parts[n : n + length])
                found = next((each for each in at if isinstance(each, dict) and each.get("name") == wanted), None)
                if found is not None and n + length < len(parts):
                    _change(found, ".".join(parts[n + length :]), value, name)
                    return
            _wrong(name, key, f"there is nothing called {part!r} in {'.'.join(parts[:n])}")
        if n == len(parts) - 1:
            at[part] = value
            return
        at = at.setdefault(part, {})
        if not isinstance(at, dict | list):
            _wrong(name, key, f"{'.'.join(parts[: n + 1])} has no keys in it")


def _worded(capability: Capability, words: Mapping[str, str]) -> Capability:
    """With the words for people, where it has none of its own."""
    if capability.tool.description or capability.name not in words:
        return capability
    return structs.replace(capability, tool=Tool(words[capability.name], capability.tool.expose))


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; perhaps {near[0]!r} is meant" if near else f"; there are {', '.join(known)}"


def _wrong(name: str, path: str, what: str) -> NoReturn:
    raise ProfileInvalid(f"{name}: {path} {what}.")

"""Text to settings: TOML and `--set key=value` onto frozen structs, strictly, with errors that name the key's path.

Knows nothing of what the settings mean.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from agent.errors import ConfigError

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ConfigError` naming the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file: {error.reason} at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def apply(tables: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """`tables` with assignments such as "turns.max_wait_ms=900" laid over (values as TOML, else as bare text)."""
    result = _copy(tables)
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        path = key.strip().split(".")
        if not sign or not all(path):
            raise ConfigError(f"--set {assignment}: write it as section.key=value, such as turns.max_wait_ms=900")
        place = result
        for name in path[:-1]:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {assignment}: {name!r} is a value, not a section")
        place[path[-1]] = _value(value.strip())
    return result


def build(tables: dict[str, Any], kind: type[T], where: str) -> T:
    """`tables` as a `kind` (a frozen struct of structs). where: named in errors, such as the file's name.

    Raises `ConfigError`: unknown key (with its path and the nearest name), wrong type or value (with its path).
    """
    _check_names(tables, kind, "", where)
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".")
        if "[...]" in key:  # in a table under names of the user's own, or in a list: which one is it?
            key = _culprit(tables, kind, key)
        given = _lookup(tables, key)
        known = _choices(kind, key)
        hint = f"; one of {', '.join(map(repr, known))}" if known else ""
        raise ConfigError(f"{where}: {key or 'the file'} = {given!r}: {_lower(what)}{hint}") from error


def _culprit(tables: dict[str, Any], kind: Any, key: str) -> str:
    """`key` with the name of the entry that is wrong, where it can be found."""
    head, _, tail = key.partition("[...]")
    entries = _lookup(tables, head)
    if not isinstance(entries, dict):
        return key
    for name, entry in entries.items():
        path = head.split(".")
        alone = apply({}, [])
        place = alone
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = {name: entry}
        try:
            msgspec.convert(alone, kind)
        except msgspec.ValidationError:
            return f"{head}.{name}{tail}"
    return key


def _choices(kind: Any, key: str) -> tuple[Any, ...]:
    """What may stand at `key`, where that is one of a few words."""
    for name in filter(None, key.split(".")):
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return ()
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        if name not in fields:
            return ()
        struct = _struct(fields[name])
        kind = fields[name] if struct is None else struct
    return get_args(kind) if get_origin(kind) is Literal else ()


def prune(tables: dict[str, Any], kind: Any, path: str = "") -> tuple[dict[str, Any], list[str]]:
    """`tables` without the keys that a `kind` does not know, and the paths of those."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in tables.items():
        if name not in fields:
            dropped.append(f"{path}{name}")
            continue
        struct = _struct(fields[name])
        if struct is not None and isinstance(value, dict) and _is_table(fields[name]):
            pruned = {own: prune(each, struct, f"{path}{name}.{own}.") for own, each in value.items()}
            value = {own: each for own, (each, _) in pruned.items()}  # noqa: PLW2901
            dropped += [lost for _, below in pruned.values() for lost in below]
        elif struct is not None and isinstance(value, dict):
            value, below = prune(value, struct, f"{path}{name}.")  # noqa: PLW2901
            dropped += below
        kept[name] = value
    return kept, dropped


def _check_names(tables: dict[str, Any], kind: Any, path: str, where: str) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in tables.items():
        key = f"{path}{name}"
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            hint = f"did you mean {path}{near[0]}?" if near else "known here: " + ", ".join(sorted(fields))
            raise ConfigError(f"{where}: unknown key {key}: {hint}")
        struct = _struct(fields[name])
        if struct is not None and isinstance(value, dict):
            named = value if _is_table(fields[name]) else {"": value}
            for own, each in named.items():
                if isinstance(each, dict):
                    _check_names(each, struct, f"{key}.{own}." if own else f"{key}.", where)


def _is_table(annotation: Any) -> bool:
    """Whether it is a table of structs under names of the user's own, `dict[str, X]`."""
    return get_origin(annotation) is dict


def _struct(annotation: Any) -> Any:
    """The struct class in an annotation such as `X`, `X | None` or `dict[str, X]`."""
    for option in (annotation, *get_args(annotation)):
        if get_origin(option) is None and isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _copy(tables: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in tables.items()}


def _lookup(tables: Any, key: str) -> Any:
    for name in filter(None, key.split(".")):
        if not isinstance(tables, dict) or name not in tables:
            return None
        tables = tables[name]
    return tables


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

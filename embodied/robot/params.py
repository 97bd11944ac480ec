"""Checks arguments against the JSON Schema of a capability: a closed subset of draft 2020-12, compiled once.

Closed, because a guard must enforce what the schema promises: on the robot a keyword that is not listed here is an
error when the robot starts, never passed over when a command comes. Patterns and references are left out on purpose:
they can take for ever. An object takes no properties but those it names, as the contract refuses extra fields.
"""

import math
from collections.abc import Callable
from typing import Any

from embodied.robot.errors import FactsheetInvalid

_WORDS = {"title", "description", "default", "examples", "unit", "$schema", "$comment", "deprecated"}
_KNOWN = _WORDS | {
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
    "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_BOUNDS: dict[str, Callable[[float, float], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
}
_COUNTS = {"minItems": list, "maxItems": list, "minLength": str, "maxLength": str}
INTEGER_MAX = 2**53


class Params:
    """The compiled schema of one capability's `args`.

    strict: raise `FactsheetInvalid` for a keyword that cannot be enforced; else pass over it (an agent, which only
    wants to fail early, does so with the schemas of strange robots)
    """

    def __init__(self, schema: dict[str, Any], name: str, *, strict: bool = True) -> None:
        self.schema = schema
        if strict:
            _check_schema(schema, f"{name}.params")

    def wrong(self, args: dict[str, Any]) -> tuple[bool, str]:
        """(whether only a bound is exceeded, what is wrong in words); (False, "") if nothing is."""
        return _wrong(self.schema, args, "args")


def _check_schema(schema: Any, path: str) -> None:
    if not isinstance(schema, dict):
        raise FactsheetInvalid(f"factsheet: {path} is not a JSON Schema (an object).")
    if unknown := set(schema) - _KNOWN:
        raise FactsheetInvalid(
            f"factsheet: {path} uses {', '.join(sorted(unknown))}, which this robot cannot enforce; it knows "
            f"{', '.join(sorted(_KNOWN - _WORDS))}."
        )
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES and not (kind is None and ("enum" in schema or "const" in schema)):
            raise FactsheetInvalid(f"factsheet: {path} needs a `type` out of {', '.join(_TYPES)}.")
    if schema.get("additionalProperties", False) is not False:
        raise FactsheetInvalid(f"factsheet: {path} allows additionalProperties, but extra fields are refused.")
    for key in (*_BOUNDS, *_COUNTS):
        bound = schema.get(key, 0)
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise FactsheetInvalid(f"factsheet: {path}.{key} is not a finite number.")
    for name, inner in schema.get("properties", {}).items():
        _check_schema(inner, f"{path}.{name}")
    if missing := set(schema.get("required", ())) - set(schema.get("properties", {})):
        raise FactsheetInvalid(f"factsheet: {path} requires {', '.join(sorted(missing))}, which it does not describe.")
    if "items" in schema:
        _check_schema(schema["items"], f"{path}[]")


def _wrong(schema: Any, value: Any, path: str) -> tuple[bool, str]:
    if not isinstance(schema, dict):
        return False, ""
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if names and not any(_TYPES.get(name, lambda _: True)(value) for name in names):
        return False, f"{path}: expected {' or '.join(map(str, names))}, got {_called(value)}"
    if isinstance(value, int | float) and not _fits(value):
        return False, f"{path} is beyond what a number may be"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return False, f"{path}: {value!r:.60} is none of {schema['enum']!r:.200}"
    if "const" in schema and not _same(value, schema["const"]):
        return False, f"{path}: {value!r:.60} is not {schema['const']!r:.60}"
    if isinstance(value, str | list | tuple) and (reason := _count(schema, value, path)):
        return False, reason
    if isinstance(value, int | float) and not isinstance(value, bool):
        for key, holds in _BOUNDS.items():
            if key in schema and not holds(value, schema[key]):
                return True, f"{path} = {value} is beyond {schema[key]} ({key})"
    if isinstance(value, dict):
        return _object(schema, value, path)
    if isinstance(value, list | tuple) and "items" in schema:
        for n, each in enumerate(value):
            found = _wrong(schema["items"], each, f"{path}[{n}]")
            if found[1]:
                return found
    return False, ""


def _object(schema: dict[str, Any], value: dict[str, Any], path: str) -> tuple[bool, str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return False, f"{path}.{name} is missing"
    for name, each in value.items():
        if name not in properties:
            return False, f"{path}.{name:.60} is unknown; known: {', '.join(properties) or 'nothing'}"
        found = _wrong(properties[name], each, f"{path}.{name}")
        if found[1]:
            return found
    return False, ""


def _count(schema: dict[str, Any], value: Any, path: str) -> str:
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
    if len(value) < schema.get(low, 0):
        return f"{path} is shorter than {schema[low]}"
    if high in schema and len(value) > schema[high]:
        return f"{path} is longer than {schema[high]}"
    return ""


def _fits(value: float) -> bool:
    return abs(value) <= INTEGER_MAX if isinstance(value, int) else math.isfinite(value)


def _same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _called(value: object) -> str:
    return {"dict": "object", "list": "array", "str": "string", "NoneType": "null"}.get(
        type(value).__name__, type(value).__name__
    )

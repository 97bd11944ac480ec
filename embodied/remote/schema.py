"""JSON Schemas that came over a wire, made safe: for the checks that read them, and for the models that are shown them.

Whoever can publish a factsheet could write to a model in it. So every free text goes (titles, descriptions, examples,
comments, defaults), names and choices must look like names and choices, and what is no schema at all is refused.
"""

import math
import re
from typing import Any

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,47}")
_CHOICE = re.compile(r"[\w+:.-]+(?: [\w+:.-]+){0,3}")
_PART = re.compile(r"[A-Za-z0-9]+")
DEEP, MANY, LONG, PARTS = 6, 64, 40, 5

Schema = dict[str, Any]


class Unfit(ValueError):
    """What is no schema that can be used, and where."""


def is_name(name: str) -> bool:
    """Whether a name that came over the wire names something: a model reads it, and a sentence could stand in it."""
    return len(name) <= LONG and len(_PART.findall(name)) <= PARTS


def safe(schema: Any, where: str = "params", depth: int = 0) -> Schema:
    """`schema` with nothing in it but what checks need. Raises `Unfit`."""
    if not isinstance(schema, dict):
        raise Unfit(f"{where} is not an object")
    if depth > DEEP:
        raise Unfit(f"{where} is nested too deep")
    made: Schema = {}
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not kinds or not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
            raise Unfit(f"{where} has no type that is known")
        made["type"] = schema["type"]
    if "const" in schema:
        made["const"] = _choice(schema["const"], where)
    if "enum" in schema:
        choices = schema["enum"]
        if not isinstance(choices, list) or not 0 < len(choices) <= MANY:
            raise Unfit(f"{where}.enum is no list of up to {MANY} choices")
        made["enum"] = [_choice(each, where) for each in choices]
    for key in _BOUNDS:
        if key in schema:
            made[key] = _number(schema[key], f"{where}.{key}")
    for key in _COUNTS:
        if key in schema:
            count = _number(schema[key], f"{where}.{key}")
            if count < 0 or count != int(count):
                raise Unfit(f"{where}.{key} is no count")
            made[key] = int(count)
    if "items" in schema:
        made["items"] = safe(schema["items"], f"{where}[]", depth + 1)
    if "properties" in schema or made.get("type") == "object":
        made |= _object(schema, where, depth)
    return made


def _object(schema: Schema, where: str, depth: int) -> Schema:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or len(properties) > MANY:
        raise Unfit(f"{where}.properties is no object of up to {MANY}")
    for name in properties:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not is_name(name):
            raise Unfit(f"{where} has a name that is none")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(each, str) and each in properties for each in required):
        raise Unfit(f"{where}.required names what is not there")
    return {
        "properties": {name: safe(each, f"{where}.{name}", depth + 1) for name, each in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def _choice(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, where)
    if isinstance(value, str) and len(value) <= LONG and (not value or _CHOICE.fullmatch(value)):
        return value
    raise Unfit(f"{where} has a choice that is neither a number nor a few words")


def _number(value: Any, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unfit(f"{where} is no finite number")
    return value

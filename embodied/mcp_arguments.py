"""A light check of a call's arguments against the JSON Schema that an MCP server gave for them.

The server is the judge of its own schema; this is to refuse what is plainly wrong before anything is sent. Looks at
`type`, `enum`, `const`, `required`, `properties`, `additionalProperties: false`, `items`, `minimum` and `maximum`, and
passes over the rest: patterns and references of a stranger could keep a validator busy for hours.
"""

from operator import ge, le
from typing import Any

import msgspec

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def checked(schema: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """`arguments`, if nothing is plainly wrong with them; raises `msgspec.ValidationError` that says what is."""
    if wrong := _wrong(schema, arguments, "$"):
        raise msgspec.ValidationError(wrong)
    return dict(arguments)


def _wrong(schema: Any, value: Any, path: str) -> str:
    if not isinstance(schema, dict):
        return ""
    if reason := _wrong_value(schema, value):
        return f"{reason} - at `{path}`"
    if isinstance(value, dict):
        return _wrong_object(schema, value, path)
    if isinstance(value, list | tuple) and "items" in schema:
        return next((found for each in value if (found := _wrong(schema["items"], each, f"{path}[...]"))), "")
    return ""


def _wrong_value(schema: dict[str, Any], value: Any) -> str:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if names and not any(_is(value, name) for name in names):
        return f"expected {' or '.join(map(str, names))}, got {type(value).__name__}"
    if isinstance(choices := schema.get("enum"), list) and not any(_same(value, each) for each in choices):
        return f"{value!r:.80} is none of {choices!r:.200}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{value!r:.80} is not {schema['const']!r:.80}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        for key, ok in (("minimum", ge), ("maximum", le)):
            bound = schema.get(key)
            if isinstance(bound, int | float) and not ok(value, bound):
                return f"{value} is beyond the {key} of {bound}"
    return ""


def _wrong_object(schema: dict[str, Any], value: dict[str, Any], path: str) -> str:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            return f"missing required field `{name}` - at `{path}`"
    for name, each in value.items():
        if name in properties:
            if found := _wrong(properties[name], each, f"{path}.{name}"):
                return found
        elif schema.get("additionalProperties") is False and not schema.get("patternProperties"):
            return f"unknown field `{name}` - at `{path}`"
    return ""


def _is(value: object, name: object) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return not isinstance(name, str) or isinstance(value, _TYPES.get(name, object))


def _same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)

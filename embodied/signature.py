"""What a function's signature and docstring say of it: a struct that checks its arguments, and their JSON Schema."""

import inspect
import re
from collections.abc import Callable, Iterable
from datetime import datetime, time
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from embodied.errors import ToolError
from streams.clock import Clock

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What servers of language models take for a function's name."""

_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Params):[ \t]*\n((?:[ \t]+.*(?:\n|$)|[ \t]*\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^(\s+)\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_FIELD = re.compile(r"^:param\s+(?:[^:\n]*\s)?\*{0,2}(\w+):[ \t]*(.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
_LINE = re.compile(r"(?:^|;  )\s*(\w+): (.+?)(?=$|;  )", re.MULTILINE)
_TOLD = re.compile(r"^(?::\w+.*:|(?:Args|Arguments|Parameters|Params|Returns|Raises|Yields|Examples?):[ \t]*$)", re.M)


class Signature(NamedTuple):
    """How a function is called by name.

    arguments: struct of its parameters, which checks them strictly;  parameters: JSON Schema of an object
    description: first paragraph of the docstring;  clock: the parameter that takes the session clock, "" for none
    """

    arguments: type[msgspec.Struct]
    parameters: dict[str, Any]
    description: str
    clock: str


def signature_of(function: Callable[..., Any], name: str) -> Signature:
    """Read `function`, which is to be called `name`. Raises `ToolError` for what JSON cannot call by name."""
    if not NAME.fullmatch(name):
        raise ToolError(f"tool {name!r}: give it a name of at most 64 letters, digits, '_' and '-'")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolError(f"tool {name}: it yields; a tool returns its result at once")
    if not inspect.isroutine(function):
        raise ToolError(f"tool {name}: {type(function).__name__} is not a function or method")
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolError(f"tool {name}: its annotations cannot be read: {error}") from error
    fields: list[Any] = []
    clock = ""
    hints = {name: _with_format(hint) for name, hint in hints.items()}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(f"tool {name}: parameter {parameter} cannot be given by name")
        if parameter.name not in hints:
            raise ToolError(f"tool {name}: parameter {parameter.name!r} has no annotation")
        if hints[parameter.name] is Clock:
            clock = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], _default(parameter.default)))
    try:
        arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        (_,), parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except (TypeError, ValueError) as error:
        raise ToolError(f"tool {name}: its parameters cannot be written as JSON: {error}") from error
    parameters: dict[str, Any] = {**parts.pop(name), **({"$defs": parts} if parts else {})}
    parameters.pop("title", None)  # the name again
    description, told = described(inspect.getdoc(function) or "", parameters["properties"])
    for field, text in told.items():
        parameters["properties"][field]["description"] = text
    return Signature(arguments, parameters, description, clock)


def _with_format(hint: Any) -> Any:
    """Times of either kind, with zone or without, as such in the schema: msgspec says it only where a zone is asked."""
    if hint in (datetime, time):
        form = "date-time" if hint is datetime else "time"
        return Annotated[hint, msgspec.Meta(extra_json_schema={"format": form})]
    if get_origin(hint) in (Union, UnionType) and NoneType in (parts := get_args(hint)):
        return reduce(or_, (_with_format(part) for part in parts))
    return hint


def _default(value: Any) -> Any:
    """As a default of a struct: what may be changed is made anew for each call."""
    if isinstance(value, list | dict | set) and value:
        return msgspec.field(default_factory=lambda: type(value)(value))
    return value


def described(text: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and what it says of each of `names`.

    Reads "name: text" on a line of its own or after ";  ", the section `Args:` of Google's style, and `:param name:`.
    """
    told: dict[str, str] = {}
    for field, said in _LINE.findall(text):
        told[field] = said
    for section in _SECTION.findall(text):
        told.update(_entries(section))
    for field, said in _FIELD.findall(text):
        told[field] = said
    head = text.split("\n\n", maxsplit=1)[0]
    if found := _TOLD.search(head):
        head = head[: found.start()]
    wanted = set(names)
    return " ".join(head.split()), {field: " ".join(said.split()) for field, said in told.items() if field in wanted}


def _entries(section: str) -> dict[str, str]:
    """The entries of a Google section: lines that are further in belong to the entry before them."""
    entries: dict[str, str] = {}
    margin = field = None
    for line in section.splitlines():
        entry = _ENTRY.match(line)
        if entry and (margin is None or len(entry[1]) <= margin):
            margin, field = len(entry[1]), entry[2]
            entries[field] = entry[3]
        elif field is not None:
            entries[field] += f" {line.strip()}"
    return entries

"""What a person can say to have a robot do something: sentences for the grammar, made from its factsheet.

TOML as in docs/intents.md. What the built-in sentences know ("go forward one metre") needs none; the operator's words
go first; the rest is made of names that can be spoken: "arm home", "turn the lamp on", "open the gripper". What needs
numbers or more than one argument is for sentences of one's own, and for models.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from embodied.remote.words import Words, spaced
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.vocabulary import RESERVED

BUILT_IN = frozenset({"move", "turn", "come_back"})
"""Commands of `policies/phrases/en.toml`."""
PLEASE = "(please|can you|could you)"
REPLY = "All right."
_SWITCHES: Mapping[str, tuple[str, str]] = {
    "on": ("(turn|switch) on the {it}|(turn|switch) the {it} on|{it} on",
           "(turn|switch) off the {it}|(turn|switch) the {it} off|{it} off"),
    "open": ("open the {it}|open {it}", "(close|shut) the {it}|close {it}"),
    "enabled": ("enable the {it}", "disable the {it}"),
    "active": ("activate the {it}", "deactivate the {it}"),
    "closed": ("(close|shut) the {it}|close {it}", "open the {it}|open {it}"),
    "locked": ("lock the {it}", "unlock the {it}"),
    "up": ("raise the {it}|{it} up", "lower the {it}|{it} down"),
}  # fmt: skip
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_WORD = re.compile(r"[a-z]{2,20}")
_VOWEL = re.compile(r"[aeiouy]")
_STOPS = frozenset({"stop", "halt", "freeze", "whoa", "abort", "emergency"})
"""Answered by the reflex, before any sentence is looked at."""


def sayable(word: str) -> bool:
    """Whether a recogniser can be told how `word` sounds, as far as that can be seen without a dictionary."""
    return _WORD.fullmatch(word) is not None and _VOWEL.search(word) is not None


def sentences(
    factsheet: Factsheet, prefix: str = "", words: Words | None = None, known: Callable[[str], bool] = sayable
) -> str:  # fmt: skip
    """The sentences for what `factsheet` (cleaned by `fit`) exposes, as TOML; "" if there are none.

    prefix: of the commands' names, such as "r2.": its words are said, too ("kitchen bot lamp on")
    words: the operator's go first;  known: whether a word is in the recogniser's dictionary: what is not is left out
    """
    words = words or Words()
    before = "" if not prefix else _spoken(prefix.rstrip("."), known)
    made: list[str] = []
    for each in factsheet.capabilities:
        if each.kind not in ("goal", "instant") or not each.tool.expose or each.name in RESERVED:
            continue
        own = words.own.get(each.name)
        told = {} if own is None else own.sentences
        reply = REPLY if own is None or not own.reply else own.reply
        phrases: list[tuple[str, Mapping[str, Any]]] = [(template, dict(args)) for template, args in told.items()]
        if not phrases and before is not None and (prefix or each.name not in BUILT_IN):
            phrases = _of_name(each, before, known)
        made += [
            _intent(f"{_slug(prefix + each.name)}_{n}", template, prefix + each.name, args, reply)
            for n, (template, args) in enumerate(phrases)
        ]
    return "\n".join(made)


def _of_name(each: Capability, before: str, known: Callable[[str], bool]) -> list[tuple[str, Mapping[str, Any]]]:
    """(template, arguments) made of its name and, if it has just one, the values of its argument."""
    it = _spoken(each.name, known)
    if it is None:
        return []
    properties, required = each.params.get("properties", {}), each.params.get("required", [])
    if not required:
        return [(_asked(f"{before} {it}".strip()), {})]
    if len(required) != 1:
        return []
    name = required[0]
    schema = properties[name]
    if schema.get("type") == "boolean" and name in _SWITCHES:
        yes, no = (text.replace("{it}", f"{before} {it}".strip()) for text in _SWITCHES[name])
        if all(known(word) for word in re.findall(r"[a-z']+", f"{yes} {no}")):
            return [(_asked(f"({yes})"), {name: True}), (_asked(f"({no})"), {name: False})]
        return []
    found: list[tuple[str, Mapping[str, Any]]] = []
    for value in schema.get("enum", [])[:16]:
        said = _spoken(value, known) if isinstance(value, str) else None
        if said is not None:
            found.append((_asked(f"[set] [the] {before} {it} [to] {said}".replace("  ", " ")), {name: value}))
    return found


def _asked(phrase: str) -> str:
    """Two words or more: a single common one is what a recogniser hears in noise."""
    if " " in phrase:
        return f"[{PLEASE}] {phrase} [please]"
    return f"({PLEASE} {phrase} | {phrase} (please|now))"


def _spoken(name: str, known: Callable[[str], bool]) -> str | None:
    """A name or a value as words; None if one of them cannot be said, or stops."""
    said: list[str] = []
    for part in re.findall(r"[a-z]+|\d|\S", re.sub(r"([a-z])([A-Z])", r"\1 \2", spaced(name)).lower()):
        word = _DIGITS[int(part)] if part.isascii() and part.isdigit() else part
        if not known(word) or word in _STOPS:
            return None
        said.append(word)
    return " ".join(said) if 0 < len(said) <= 5 else None


def _intent(slug: str, template: str, name: str, args: Mapping[str, Any], reply: str) -> str:
    arguments = ", ".join(f"{_quoted(key)} = {_value(value)}" for key, value in args.items())
    return (
        f"[intents.{slug}]\nsentences = [{_quoted(template)}]\nreply = {_quoted(reply)}\n"
        f"command = {{ name = {_quoted(name)}, arguments = {{ {arguments} }} }}\n"
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_quoted(str(key))} = {_value(each)}' for key, each in value.items())} }}"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """A TOML string: those of JSON are."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _slug(name: str) -> str:
    return "robot_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

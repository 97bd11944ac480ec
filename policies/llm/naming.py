"""What a wish is called aloud: the question by which a person is asked whether it is to be done.

A yes is a yes to what the question names. So it names the action and every argument, in plain words made here; what
cannot be named in a short question cannot be asked about, and is not done. Nothing of what the offer says of itself
but its name and those of its arguments is in it, and a text that a model wrote cannot form a sentence of its own: the
marks that end one are said as pauses, and what has words enough to sound like a question ("note would you like tea") is
said before the question proper, so that nobody says yes to that.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from policies.numbers import spell
from policies.phrasing import count
from streams.types import Call, Command, Offer

LONGEST = 240  # characters of a question: about 15 s of speech
TEXT = 80
ARGUMENTS = 6
ITEMS = 5
WORDS = 3
"""An argument of so many words at most, its name included, may be said after the question proper."""
LARGEST = 1e9
_UNITS = {"m": "metre", "cm": "centimetre", "s": "second", "deg": "degree", "ms": "millisecond", "min": "minute"}
_MARKS = re.compile(r"\s*(?:[.:;!?]*[;!?][.:;!?]*|[.:]+(?=\s|$))")
_TEXT = re.compile(r"[\w '’,.:;!?@/+%&$€£()#-]+")


def question(offer: Offer, action: Call | Command) -> str | None:
    """The question that names `action`; None if none can, because there is too much to say or it cannot be said."""
    arguments = action.arguments
    if isinstance(action, Command) and (told := _motion(action.name, arguments)):
        return told
    known = offer.parameters.get("properties")
    if len(arguments) > ARGUMENTS or not set(arguments) <= set(known if isinstance(known, dict) else ()):
        return None
    does = _deed(action)
    parts = [_argument(key, value) for key, value in arguments.items()]
    if not does or None in parts:
        return None
    beside = " and ".join(part for part in parts if part)
    if not beside:
        asked = f"Shall I {does}?"
    elif all(_brief(key, value, part or "") for (key, value), part in zip(arguments.items(), parts, strict=True)):
        asked = f"Shall I {does}, with {beside}?"
    else:
        asked = f"With {beside}: shall I {does}?"
    return asked if len(asked) <= LONGEST else None


def _motion(name: str, arguments: Mapping[str, Any]) -> str:
    """The motions that the agent knows of itself; "" for any other."""
    match name, dict(arguments):
        case "move", {"distance_m": int() | float() as way, **rest} if not rest and not isinstance(way, bool):
            return f"Shall I go {'forward' if way >= 0 else 'back'} {_metres(abs(way))}?"
        case "turn", {"angle_rad": int() | float() as angle, **rest} if not rest and not isinstance(angle, bool):
            return f"Shall I turn {'left' if angle >= 0 else 'right'} {_degrees(abs(angle))}?"
        case "come_back", {**rest} if not rest:
            return "Shall I come back?"
    return ""


def _metres(way: float) -> str:
    return count(round(way, 2), "metre") if way >= 0.1 or way == 0 else count(round(100 * way, 2), "centimetre")


def _degrees(angle: float) -> str:
    degrees = math.degrees(angle)
    return count(round(degrees) if degrees >= 10 else round(degrees, 2), "degree")


def _deed(action: Call | Command) -> str:
    """What is done: "wave", "use the tool danger", "use get current time of time" (of the MCP server "time");
    "" if that cannot be said."""
    if isinstance(action, Command):
        return _name(action.name)
    server, mark, own = action.name.partition("__")
    if mark and (server := _name(server)) and (own := _name(own)):
        return f"use {own} of {server}"
    name = _name(action.name)
    return f"use the tool {name}" if name else ""


def _name(name: str) -> str:
    """A name of a tool or an argument as words; "" if there are none, or too many."""
    words = " ".join(_words(name))
    return words if len(words) <= TEXT else ""


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def _argument(key: str, value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        stem, _, unit = key.rpartition("_")
        if stem and unit == "rad":
            angle = _degrees(abs(value))
            return f"{_name(stem)} {'minus ' if value < 0 else ''}{angle}"
        if stem and unit in _UNITS:
            sign = "minus " if value < 0 else ""
            return f"{_name(stem)} {sign}{_counted(abs(value), _UNITS[unit])}"
    name, told = _name(key), _value(value)
    return f"{name} {told}" if name and told else None


def _brief(key: str, value: Any, told: str) -> bool:
    """Whether an argument that is said as `told` is too short to be taken for a question."""
    if value is None or isinstance(value, bool | int | float):
        return len(_words(key)) < WORDS
    return told.isascii() and len(_words(told)) <= WORDS  # not every script parts its words


def _value(value: Any) -> str | None:
    match value:
        case None:
            return "nothing"
        case bool():
            return "on" if value else "off"
        case int() | float():
            return _number(value)
        case str():
            return _text(value)
        case list() | tuple() if 0 < len(value) <= ITEMS:
            parts = [None if isinstance(each, list | tuple) else _value(each) for each in value]
            return None if None in parts else ", ".join(part for part in parts if part)
    return None


def _number(value: float) -> str | None:
    if abs(value) > LARGEST:
        return None
    return spell(value) if math.isclose(value, round(value, 2), rel_tol=0.01) else f"{value:.3g}"


def _counted(value: float, unit: str) -> str:
    return (
        count(round(value, 2), unit) if math.isclose(value, round(value, 2), rel_tol=0.01) else f"{value:.3g} {unit}s"
    )


def _text(value: str) -> str | None:
    """A text that is to be said: short, of letters, figures and plain signs; None for one that may hide something."""
    value = unicodedata.normalize("NFKC", value).strip()
    if len(value) > TEXT or not _TEXT.fullmatch(value):
        return None
    told = _MARKS.sub(",", value).strip(" ,.:")
    return told if re.search(r"\w", told) else None

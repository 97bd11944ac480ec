"""The embedded policy's words: times, dates, durations, distances and sums as one says them aloud. Pure functions.

No word of these may be a stop word: the agent must not stop itself by its own echo.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from policies.numbers import SMALL, spell, spell_day

METRES = {"metre": 1.0, "centimetre": 0.01, "foot": 0.3048, "inch": 0.0254, "step": 0.5}
_PLURAL = {"foot": "feet", "inch": "inches"}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

SPEAKABLE = re.compile(r"[^\W_]+(?:[ ,;.:'’-]+[^\W_]+)*")
"""What others wrote can be said if it is nothing but words and the marks between them."""


def listed(texts: Sequence[str]) -> str:
    """Texts one after the other: "fold the arm, spin, and more"."""
    return ", ".join([*texts[:-1], f"and {texts[-1]}" if len(texts) > 1 else texts[-1]])


def count(number: float, unit: str) -> str:
    """How many of what: "two metres", "half a metre", "one and a half feet"."""
    article = "an" if unit[0] in "aeiou" else "a"
    if number in (0.25, 0.5):
        return f"{'half' if number == 0.5 else 'a quarter of'} {article} {unit}"
    plural = _PLURAL.get(unit, f"{unit}s")
    if number == 1:
        return f"one {unit}"
    if number > 1 and number % 1 == 0.5:
        return f"{spell(number - 0.5)} and a half {plural}"
    return f"{spell(number)} {plural}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: "one hour and five minutes"."""
    return " and ".join(count(number, unit) for number, unit in _parts(seconds)) or "no time"


def timer_name(seconds: float) -> str:
    """What a timer is called: "five minute"."""
    return " and ".join(f"{spell(number)} {unit}" for number, unit in _parts(seconds))


def _parts(seconds: float) -> list[tuple[int, str]]:
    whole = round(seconds)
    parts = [(whole // 3600, "hour"), (whole // 60 % 60, "minute"), (whole % 60, "second")]
    return [(number, unit) for number, unit in parts if number]


def seconds_of(slots: Mapping[str, Any]) -> float:
    """The length that the slots hours, minutes and seconds add up to."""
    return sum(float(slots.get(unit, 0)) * size for unit, size in (("hours", 3600), ("minutes", 60), ("seconds", 1)))


def time_of_day(now: datetime) -> str:
    """The time on a twelve-hour clock: "ten oh five in the morning"."""
    if now.minute == 0 and now.hour in (0, 12):
        return "noon" if now.hour else "midnight"
    hour = spell(now.hour % 12 or 12)
    minute = "o'clock" if now.minute == 0 else spell(now.minute) if now.minute > 9 else f"oh {spell(now.minute)}"
    part = "in the morning" if now.hour < 12 else "in the afternoon" if now.hour < 18 else "in the evening"
    return f"{hour} {minute} {part}"


def date(now: datetime) -> str:
    """Weekday, day and month: "Saturday, the twenty first of November"."""
    return f"{_WEEKDAYS[now.weekday()]}, the {spell_day(now.day)} of {_MONTHS[now.month - 1]}"


def year(now: datetime) -> str:
    """The year as one says it: "twenty twenty six"."""
    century, rest = divmod(now.year, 100)
    if rest == 0 or (century % 10 == 0 and rest < 10):
        return spell(now.year)
    return f"{spell(century)} {spell(rest) if rest > 9 else f'oh {SMALL[rest]}'}"


def metres_of(slots: Mapping[str, Any], default_m: float) -> tuple[float, str]:
    """The distance the slots ask for in metres, and in words ("" where they leave it open)."""
    if "little" in slots:
        return float(slots["little"]), "a little"
    if "unit" not in slots:
        return default_m, ""
    number = float(slots.get("count", slots.get("few", 1))) + float(slots.get("more", 0))
    return round(number * METRES[slots["unit"]], 4), count(number, slots["unit"])


def degrees_of(slots: Mapping[str, Any], default_deg: float) -> tuple[float, str]:
    """The angle the slots ask for in degrees, and in words ("" where they leave it open)."""
    if "little_angle" in slots:
        return float(slots["little_angle"]), "a little"
    if "degrees" not in slots:
        return default_deg, ""
    return float(slots["degrees"]), count(slots["degrees"], "degree")


def result(operator: str, a: float, b: float = 0.0) -> str:
    """A sum and what it comes to, as a sentence; never raises."""
    match operator:
        case "plus":
            value = a + b
        case "minus":
            value = a - b
        case "times":
            value = a * b
        case "divided by" if b == 0:
            return "Nothing can be divided by zero."
        case "divided by":
            value = a / b
        case "percent of":
            value = a / 100 * b
        case "squared":
            value = a * a
        case "the square root of":
            value = math.sqrt(a)
        case _:
            return f"I do not know what {operator} means."
    if operator == "squared":
        sum_ = f"{spell(a)} squared"
    elif operator == "the square root of":
        sum_ = f"the square root of {spell(a)}"
    else:
        sum_ = f"{spell(a)} {operator} {spell(b)}"
    about = "" if math.isclose(value, round(value, 2), rel_tol=1e-12, abs_tol=1e-12) else "about "
    if abs(value) >= 1e12:
        return f"{sentence(sum_)} is more than I can say."
    return f"{sentence(sum_)} is {about}{spell(value)}."


def sentence(text: str) -> str:
    """`text` with a capital letter."""
    return text[:1].upper() + text[1:]

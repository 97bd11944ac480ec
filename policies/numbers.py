"""English numbers, from words and back: "two point five" is 2.5, and 2.5 is spoken "two point five".

Knows nothing of sentences. Numbers run from 0 to 999,999 with up to three decimals; no negative ones, no ordinals
(dates are the one exception, see `spell_day`).
"""

import re
from collections.abc import Callable, Sequence

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_DAYS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth
"""
SMALL = tuple(_SMALL.split())
TENS = ("", "", *_TENS.split())
DAYS = tuple(_DAYS.split())
_VALUE = {word: value for value, word in enumerate(SMALL)} | {word: 10 * ten for ten, word in enumerate(TENS) if word}
_DIGIT = _VALUE | {"oh": 0}
_FIGURES = re.compile(r"\d{1,6}(?:\.\d{1,3})?")
LIMIT = 1_000_000

Taken = tuple[float, int] | None
Part = Callable[[Sequence[str], int], Taken]


def spell(number: float) -> str:
    """`number` in words, at most two decimals; "minus" in front if it is negative."""
    number = round(number, 2)
    if number < 0:
        return f"minus {spell(-number)}"
    whole, decimals = divmod(round(number * 100), 100)
    if decimals:
        tail = f"{decimals:02d}".rstrip("0")
        return f"{_spell_whole(whole)} point {' '.join(SMALL[int(digit)] for digit in tail)}"
    return _spell_whole(whole)


def _spell_whole(number: int) -> str:
    if number < 20:
        return SMALL[number]
    if number < 100:
        ten, rest = divmod(number, 10)
        return f"{TENS[ten]} {SMALL[rest]}" if rest else TENS[ten]
    if number < 1000:
        hundred, rest = divmod(number, 100)
        head = f"{SMALL[hundred]} hundred"
        return f"{head} and {_spell_whole(rest)}" if rest else head
    if number < LIMIT:
        thousand, rest = divmod(number, 1000)
        head = f"{_spell_whole(thousand)} thousand"
        link = " and " if 0 < rest < 100 else " "
        return f"{head}{link}{_spell_whole(rest)}" if rest else head
    million, rest = divmod(number, LIMIT)
    head = f"{_spell_whole(million)} million"
    return f"{head} {_spell_whole(rest)}" if rest else head


def spell_day(day: int) -> str:
    """A day of the month as an ordinal: 21 is "twenty first"."""
    if day <= 20:
        return DAYS[day - 1]
    if day == 30:
        return "thirtieth"
    return f"{TENS[day // 10]} {DAYS[day % 10 - 1]}"


def take(words: Sequence[str], at: int) -> Taken:
    """The longest number that begins with word number `at`, and the place after it; None if none begins there."""
    if at < len(words) and _FIGURES.fullmatch(words[at]):
        return float(words[at]), at + 1
    whole = _below_million(words, at)
    if whole is None:
        return None
    value, after = whole
    digits = ""
    if after < len(words) and words[after] == "point":
        end = after + 1
        while end < len(words) and len(digits) < 3 and _DIGIT.get(words[end], 10) < 10:
            digits += str(_DIGIT[words[end]])
            end += 1
        if digits:
            return float(f"{value:.0f}.{digits}"), end
    return value, after


def _below_million(words: Sequence[str], at: int) -> Taken:
    return _with_multiple(words, at, "thousand", 1000, _below_thousand)


def _below_thousand(words: Sequence[str], at: int) -> Taken:
    return _with_multiple(words, at, "hundred", 100, _below_hundred)


def _with_multiple(words: Sequence[str], at: int, multiple: str, size: int, part: Part) -> Taken:
    head = part(words, at)
    if head is None and at < len(words) and words[at] == "a":
        head = (1, at + 1)
        if not (at + 1 < len(words) and words[at + 1] == multiple):
            return None
    if head is None or head[1] >= len(words) or words[head[1]] != multiple:
        return head
    value, after = head[0] * size, head[1] + 1
    rest_at = after + 1 if after < len(words) and words[after] == "and" else after
    rest = part(words, rest_at)
    return (value + rest[0], rest[1]) if rest is not None else (value, after)


def _below_hundred(words: Sequence[str], at: int) -> Taken:
    value = _VALUE.get(words[at]) if at < len(words) else None
    if value is None:
        return None
    if value >= 20 and at + 1 < len(words) and 1 <= _VALUE.get(words[at + 1], 0) <= 9:
        return value + _VALUE[words[at + 1]], at + 2
    return value, at + 1

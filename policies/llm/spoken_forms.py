"""Written text as one says it: units, sums of money, signs, abbreviations, addresses, a little mathematics.

Numbers stay figures, for voices read these well ("3.5", "1,234", "22nd"); so do years and ordinals, but for "3." in
German. What espeak-ng reads badly ("5 km" as letters, "$3.50", "2024-05-03", "Dr." with a pause) is written out.
"""

import re
from collections.abc import Callable
from functools import cache
from re import Match

from policies.llm.languages import Language, language
from policies.llm.markup import STUCK
from policies.llm.tidy import tidy

_NUMBER = r"\d+(?:[.,]\d+)*"
_WORD = r"[A-Za-zÀ-ÖØ-öø-ɏ]+(?:['’-][A-Za-zÀ-ÖØ-öø-ɏ]+)*"
_SIMPLE = re.compile(rf"{_WORD}(?:[,;:]? {_WORD})*[.,;:!?]?")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)(?:www\.)?([^\s/?#]+)\S*?(?=[.,;:!?)\]}\"'»”]*(?:\s|$))", re.I)
_ENDINGS = "com|org|net|edu|gov|io|ai|dev|app|info|eu|de|fr|es|uk|us|ch|at|be|nl|it|pl|jp|cn|tv|me|co"
_FILES = "py|js|ts|txt|md|json|toml|yaml|yml|csv|pdf|html|css|cpp|rs|sh|zip|jpg|jpeg|png|gif|mp3|mp4|wav|exe|docx|xlsx"
_DOMAIN = re.compile(
    rf"(?<![\w.@-])((?:[\w-]+\.)+(?:{_ENDINGS}|{_FILES}))(?:/\S*?)?(?=[.,;:!?)\]\"'»”]*(?:\s|$))", re.I
)
_MAIL = re.compile(r"(?<!\S)(?:mailto:)?([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)")
_FACES = re.compile(r"(?<!\S)(?:[:;]'?-?[)(DPpOo|/\\]+|<3|\^_*\^|¯\S*)(?=[\s.,!?]|$)")
_TEX = (
    (re.compile(r"\\(?:d|t)?frac\{([^{}]*)\}\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\sqrt\{([^{}]*)\}"), r"√ \1"),
    (re.compile(r"\\(?:text|mathrm|mathbf|mathit|operatorname|boxed)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\times\b"), "×"),
    (re.compile(r"\\cdot\b"), "×"),
    (re.compile(r"\\div\b"), "÷"),
    (re.compile(r"\\pm\b"), "±"),
    (re.compile(r"\\leq?\b"), "≤"),
    (re.compile(r"\\geq?\b"), "≥"),
    (re.compile(r"\\neq?\b"), "≠"),
    (re.compile(r"\\approx\b"), "≈"),
    (re.compile(r"\\(?:right|to|Right)arrow\b|\\to\b"), "→"),
    (re.compile(r"\\infty\b"), "∞"),
    (re.compile(r"\\(?:left|right|quad|qquad|displaystyle)\b"), " "),
    (re.compile(r"\\([A-Za-z]+)"), r"\1 "),
    (re.compile(r"(?<!\w)\$([^$\s](?:[^$]*[^$\s])?)\$(?!\w)"), r"\1"),
    (re.compile(r"\^\{([^{}]*)\}"), r"^\1"),
    (re.compile(r"_\{([^{}]*)\}"), r" \1"),
    (re.compile(r"\^2\b"), "²"),
    (re.compile(r"\^3\b"), "³"),
)


class SpokenForms:
    """`say(text)`: one clause as it is spoken, "" if there is no word in it. A pure function of the text."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._rules = _rules(language)
        self._abbreviated = frozenset(_abbreviated(language))

    def say(self, text: str) -> str:
        """`text` as it is spoken. A comma at its end stays, for it tells the voice that more will come."""
        if _SIMPLE.fullmatch(text) and self._abbreviated.isdisjoint(text.split()):
            return text
        for pattern, put in self._rules:
            text = pattern.sub(put, text)
        return tidy(text)


@cache
def spoken_forms(name: str) -> SpokenForms:
    """Those of a language, by its code. The first call for it takes some ten milliseconds."""
    return SpokenForms(language(name))


_Put = str | Callable[[Match[str]], str]


def _rules(language: Language) -> list[tuple[re.Pattern[str], _Put]]:
    """What is to be replaced by what, in order."""
    rules: list[tuple[re.Pattern[str], _Put]] = [
        (_MAIL, _mail(language)),
        (_URL, _host(language)),
        (_DOMAIN, _host(language)),
    ]
    rules += [(_FACES, ""), *_TEX]
    if language.date:
        rules.append(_date(language))
    if language.ordinals:
        rules.append(_ordinals(language))
    rules.append((re.compile(STUCK), " "))
    if not language.signs:
        return rules
    rules.append((re.compile(r"(?<=\d:\d\d)\s?[-–]\s?(?=\d{1,2}:\d\d)"), f" {language.to} "))
    rules += [*_clocks(language), *_money(language)]
    rules += [_fractions(language), *_ranges(language), _units(language), _abbreviations(language)]
    prefixes = sorted(language.prefixes, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, prefixes))})\s?(?=\d)")
    rules.append((pattern, lambda found: _as_in(found[1], language.prefixes[found[1]]) + " "))
    rules.append((re.compile(r"\b([CF])#(?!\w)"), r"\1 sharp"))
    rules += _signs(language)
    return rules


def _as_in(written: str, said: str) -> str:
    """`said`, with a capital where the abbreviation has one."""
    return said[0].upper() + said[1:] if written[0].isupper() else said


def _host(language: Language) -> Callable[[Match[str]], str]:
    return lambda found: re.sub(r":\d+$", "", found[1]).replace(".", f" {language.dot} ")


def _mail(language: Language) -> Callable[[Match[str]], str]:
    def put(found: Match[str]) -> str:
        dot = f" {language.dot} "
        return f"{found[1].replace('.', dot)} {language.at} {found[2].replace('.', dot)}"

    return put


def _ordinals(language: Language) -> tuple[re.Pattern[str], _Put]:
    months = "|".join(language.months)

    def put(found: Match[str]) -> str:
        day, word = int(found[2]), (found[1] or "").strip().lower()
        if not 1 <= day <= len(language.ordinals) or (not word and found[3] not in language.months):
            return found[0]
        ending = language.ordinal_endings.get(word, language.ordinal_endings[""])
        return f"{found[1] or ''}{language.ordinals[day - 1]}{ending} {found[3]}"

    words = "|".join(word for word in language.ordinal_endings if word)
    return re.compile(rf"((?i:\b(?:{words})) )?(?<![\d.])\b(\d{{1,2}})\. ({months}|[^\W\d_]\w*)"), put


def _date(language: Language) -> tuple[re.Pattern[str], _Put]:
    def put(found: Match[str]) -> str:
        year, month, day = (int(part) for part in found.groups())
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return found[0]
        return language.date.format(year=year, month=language.months[month - 1], day=day)

    return re.compile(r"(?<![\d-])(\d{4})-(\d\d)-(\d\d)(?![\d-])"), put


def _clocks(language: Language) -> list[tuple[re.Pattern[str], _Put]]:
    if not language.clock:
        return []
    words = "|".join(map(re.escape, language.clock_words))

    def put(found: Match[str]) -> str:
        hour, minute, word = int(found[1]), found[2], found[3] or ""
        if hour > 24 or int(minute) > 59:
            return found[0]
        said = any(word and word in form for form in (language.clock, language.hour))
        behind = f" {word}" if word and not said else ""
        if minute == "00":
            if behind:
                return f"{hour}{behind}"
            return language.hour.format(hour=hour) if hour <= 12 or "{hour}:" not in language.clock else found[0]
        small = language.small_minute + minute[1] if language.small_minute and minute[0] == "0" else ""
        if small:
            return f"{hour} {small}{behind}"
        shown = minute if "{hour}:" in language.clock else str(int(minute))
        return language.clock.format(hour=hour, minute=shown) + behind

    separator = "[:h]" if "heures" in language.clock else ":"
    return [(re.compile(rf"(?<![\d:.,])(\d{{1,2}}){separator}(\d\d)(?![\d:.,]\d|\d)(?:\s?({words})(?!\w))?"), put)]


def _money(language: Language) -> list[tuple[re.Pattern[str], _Put]]:
    signs = "".join(map(re.escape, language.currencies))
    words = "|".join(sorted(language.magnitudes, key=len, reverse=True))

    def said(number: str, sign: str, magnitude: str | None) -> str:
        one, many, cent, cents = language.currencies[sign]
        if magnitude:
            word = language.magnitudes[magnitude]
            return f"{number} {word}{'' if word.endswith(chr(39)) else ' '}{many}"
        split = re.fullmatch(r"(\d[\d.,]*)[.,](\d\d)", number)
        if split and cent:
            whole, part = split[1], int(split[2])
            unit = one if whole == "1" else many
            if part == 0:
                return f"{whole} {unit}"
            if whole == "0":
                return f"{part} {cent if part == 1 else cents}"
            return language.cents.format(whole=whole, unit=unit, cents=part, cent=cent if part == 1 else cents)
        return f"{number} {one if number == '1' else many}"

    ends = r"(?![\w])"
    return [
        (re.compile(rf"(?<!\w)([{signs}])\s?({_NUMBER})(?:\s?({words})\b)?{ends}"), lambda m: said(m[2], m[1], m[3])),
        (re.compile(rf"({_NUMBER})(?:\s({words}))?\s?([{signs}]){ends}"), lambda m: said(m[1], m[3], m[2])),
    ]


def _fractions(language: Language) -> tuple[re.Pattern[str], _Put]:
    def put(found: Match[str]) -> str:
        return (f"{found[1]} {language.mixed}" if found[1] else "") + language.fractions[found[2]]

    return re.compile(rf"(?<![\d/.,])(?:(\d+)\s)?({'|'.join(language.fractions)})(?![\d/])"), put


def _ranges(language: Language) -> list[tuple[re.Pattern[str], _Put]]:
    def put(found: Match[str]) -> str:
        left, right = found[1], found[4]
        if found[3] == "-":  # it may be part of a number: of a telephone, a season, a month
            small = len(left) <= 2 and len(right) <= 3
            rising = len(left) == len(right) and left < right
            if not (small or rising) or (right[0] == "0" and len(right) > 1):
                return found[0]
        return f"{left}{found[2] or ''} {language.to} {right}"

    number = r"\d{1,4}(?:[.,]\d{1,3})?"
    return [
        (re.compile(rf"(?<=\d)\s[-−–]\s(?={_NUMBER}[^=]*=)"), f" {language.minus} "),
        (
            re.compile(
                rf"(?<![\w.,:/–-])({number})(\s?%|\s?°C|\s?€)?(?:\s?–\s?|(-))({number})(?![\w/–-]*[-–/]\d|\w*\d|:)"
            ),
            put,
        ),
        (re.compile(r"(?<=\d)\s[-−]\s(?=\d)|(?<=\w)\s−\s?(?=\w)"), f" {language.minus} "),
        (re.compile(r"−(?=\d)"), "-"),
    ]


def _units(language: Language) -> tuple[re.Pattern[str], _Put]:
    names = "|".join(map(re.escape, sorted(language.units, key=len, reverse=True)))

    def put(found: Match[str]) -> str:
        if found[0].endswith(f"{found[1]}s"):
            return found[0]  # "the 1980s"
        one, many = language.units[found[2]]
        return f"{found[1]} {one if found[1] == '1' else many}"

    return re.compile(rf"(?<![\w.,])({_NUMBER}|½|¼|¾)\s?({names})(?![\w²³/°'’])(?:\.(?=\s+[a-z]))?"), put


def _abbreviated(language: Language) -> dict[str, str]:
    """Abbreviations and what they stand for, also with a capital."""
    table = dict(language.expand)
    small = {name: said for name, said in table.items() if name[0].islower()}
    return {name[0].upper() + name[1:]: said[0].upper() + said[1:] for name, said in small.items()} | table


def _abbreviations(language: Language) -> tuple[re.Pattern[str], _Put]:
    table = _abbreviated(language)
    pattern = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))

    def put(found: Match[str]) -> str:
        ends = found[0].endswith(".") and not found.string[found.end() :].strip(" \"')]”’»")
        return table[found[0]] + ("." if ends else "")

    return re.compile(rf"(?<![\w.])(?:{pattern})(?!\w)"), put


def _signs(language: Language) -> list[tuple[re.Pattern[str], _Put]]:
    ascii_ = "".join(re.escape(sign) for sign in language.signs if sign.isascii())
    others = "".join(re.escape(sign) for sign in language.signs if not sign.isascii())

    def put(found: Match[str]) -> str:
        return f" {language.signs[found[1]]} "

    return [
        (re.compile(rf"(?:(?<=\s)|^)([{ascii_}])\1?(?=\s|$)"), put),
        (re.compile(r"(?<=\w)\s?(=)\s?(?=\w)"), put),
        (re.compile(r"(?<=\w)(\^)(?=\w)"), put),
        (re.compile(rf"([{others}])"), put),
    ]

"""What speaking a text needs to know of a language: abbreviations, units, signs. One file each in `spoken/`."""

import tomllib
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct, field

LANGUAGES = ("en", "de", "fr", "es")


class Language(Struct, frozen=True, forbid_unknown_fields=True):
    """A language's rules. Words that stand before a full stop are lower case and without it.

    code: sentence said instead of a block of code;  dot, at: in addresses
    expand: abbreviations, as written, and what is said for them; none of them ends a sentence but those of `perhaps`
    within: further words whose full stop ends no sentence;  perhaps: it does if a capital follows
    before_number: its full stop ends none if a number follows
    starters: words that begin a sentence behind an initial or "U.S."
    months: in full;  date: from {day}, {month}, {year}
    ordinals: of the days 1 to 31 without ending, where "3." is one;  ordinal_endings: by the word in front, "" = else
    clock, hour: from {hour} and {minute}: "10:30", and "10:00";  clock_words: that may follow and are said already
    small_minute: in front of minutes below ten
    to: of ranges;  minus: between numbers;  units: one and many;  prefixes: in front of a number
    currencies: one, many, and of cents;  cents: from {whole}, {unit}, {cents}, {cent};  magnitudes: of sums
    decimal: the sign of it;  fractions, signs: what is said for them;  mixed: between a number and a fraction
    """

    code: str = ""
    dot: str = "."
    at: str = "@"
    expand: dict[str, str] = field(default_factory=dict)
    within: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    before_number: frozenset[str] = frozenset()
    starters: frozenset[str] = frozenset()
    months: tuple[str, ...] = ()
    date: str = ""
    ordinals: tuple[str, ...] = ()
    ordinal_endings: dict[str, str] = field(default_factory=dict)
    clock: str = ""
    hour: str = ""
    clock_words: tuple[str, ...] = ()
    small_minute: str = ""
    to: str = ""
    minus: str = ""
    units: dict[str, tuple[str, str]] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    currencies: dict[str, tuple[str, str, str, str]] = field(default_factory=dict)
    cents: str = ""
    magnitudes: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    fractions: dict[str, str] = field(default_factory=dict)
    mixed: str = ""
    signs: dict[str, str] = field(default_factory=dict)

    @property
    def before_ordinal(self) -> frozenset[str]:
        """Words behind which "3." is an ordinal."""
        return frozenset(self.ordinal_endings) - {""}


@cache
def language(name: str) -> Language:
    """The rules of a language, by its code such as "en", "en-us" or "de_DE". One without a file has few."""
    short = name.lower().replace("_", "-").partition("-")[0]
    if short not in LANGUAGES:
        return Language(code=_read("en")["code"])
    content = _read(short)
    found = msgspec.convert(content, Language)
    within = {part.rstrip(".").lower() for written in found.expand for part in written.split() if part.endswith(".")}
    return msgspec.structs.replace(found, within=(found.within | within) - found.perhaps - found.before_number)


def _read(short: str) -> dict[str, str]:
    return tomllib.loads((files("policies.llm") / "spoken" / f"{short}.toml").read_text(encoding="utf-8"))

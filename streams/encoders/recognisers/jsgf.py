"""The words of a JSGF grammar, and how they are pronounced.

JSGF: Java Speech Grammar Format 1.0, https://www.w3.org/TR/jsgf/. Phones are those of the CMU dictionary.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from streams.errors import GrammarInvalid

_TOP = "visavis_top"

# Letters to sounds, longest first: only for words the dictionary lacks, and only nearly right.
_SOUNDS = {
    "tion": "SH AH N", "ough": "AO", "augh": "AO", "eigh": "EY", "tch": "CH", "igh": "AY", "sch": "S K",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K", "qu": "K W", "ng": "NG", "wh": "W", "kn": "N",
    "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY", "ay": "EY", "oi": "OY", "oy": "OY",
    "au": "AO", "aw": "AO", "ar": "AA R", "er": "ER", "ir": "ER", "ur": "ER", "or": "AO R", "ie": "IY",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip


def single_top(jsgf: str) -> str:
    """The grammar with one public rule over all of its public rules: pocketsphinx takes one of several at will.

    Raises `GrammarInvalid` if there is none, or if a rule is used that nothing defines.
    """
    plain = _without_comments(jsgf)
    names = re.findall(r"\bpublic\s*<([^>]+)>", plain)
    if not names:
        raise GrammarInvalid("the grammar has no public rule: put `public` before the rule of whole sentences")
    _check_rules(plain)
    if len(names) == 1:
        return plain
    tops = " | ".join(f"<{name}>" for name in names)
    private = re.sub(r"\bpublic\s*<", "<", plain)
    return f"{private}\npublic <{_TOP}> = {tops};\n"


def _check_rules(plain: str) -> None:
    """pocketsphinx takes a rule that is not there for silence. Raises `GrammarInvalid` with the rules' names."""
    body = re.sub(r"^\s*import[^;]*;", " ", re.sub(r"\{[^}]*\}", " ", plain), flags=re.MULTILINE)
    defined = {name.strip() for name in re.findall(r"<([^>]*)>\s*=", body)} | {"NULL", "VOID"}
    missing = sorted({name.strip() for name in re.findall(r"<([^>]*)>", body)} - defined)
    if missing:
        raise GrammarInvalid(
            f"the grammar uses {', '.join(f'<{name}>' for name in missing)} and does not define it: add the rule "
            "(rules of other files cannot be imported) or take its mention out"
        )


def words_of(jsgf: str) -> list[str]:
    """Every word that a sentence of the grammar may contain, sorted."""
    plain = _without_comments(jsgf)
    plain = re.sub(r"^\s*(#JSGF[^;]*|grammar[^;]*|import[^;]*);", " ", plain, flags=re.MULTILINE)
    plain = re.sub(r"(public\s*)?<[^>]*>\s*=|<[^>]*>|\{[^}]*\}|/[\d.eE+-]+/", " ", plain)
    return sorted(set(re.sub(r"[|()\[\];*+\"]", " ", plain).split()))


def pronounce(words: Iterable[str], dictionary: Path) -> tuple[list[str], dict[str, str]]:
    """Lines of a dictionary for `words`, and of those that `dictionary` lacks the pronunciation that was made up.

    A missing word is taken for two known ones in one ("waypoint"), else its letters are sounded one after the other.
    Raises `GrammarInvalid` for a word with no letters ("90"): a grammar spells its numbers out.
    """
    known = _entries(dictionary)
    lines: list[str] = []
    guessed: dict[str, str] = {}
    for word in words:
        entries = known.get(word)
        if entries is None:
            guessed[word] = _guess(word, known)
            entries = (guessed[word],)
        lines += [f"{word}{f'({place + 1})' if place else ''} {phones}" for place, phones in enumerate(entries)]
    return lines, guessed


def _guess(word: str, known: dict[str, tuple[str, ...]]) -> str:
    letters = re.sub(r"[^a-z]", "", word.lower())
    if not letters or re.search(r"\d", word):
        raise GrammarInvalid(f"the grammar's word {word!r} cannot be pronounced: spell it in small English letters")
    splits = [(letters[:at], letters[at:]) for at in range(3, len(letters) - 2)]
    whole = [(one, two) for one, two in splits if one in known and two in known]
    if whole:
        one, two = max(whole, key=lambda pair: min(len(pair[0]), len(pair[1])))
        return f"{known[one][0]} {known[two][0]}"
    if len(letters) > 2 and letters.endswith("e"):
        letters = letters[:-1]
    sounds: list[str] = []
    while letters:
        size = next(size for size in (4, 3, 2, 1) if letters[:size] in _SOUNDS)
        if letters[1:2] != letters[:1]:  # double letters sound once
            sounds.append(_SOUNDS[letters[:size]])
        letters = letters[size if letters[1:2] != letters[:1] else 1 :]
    return " ".join(sounds)


@cache
def _entries(dictionary: Path) -> dict[str, tuple[str, ...]]:
    entries: dict[str, tuple[str, ...]] = {}
    for line in dictionary.read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        word = word.partition("(")[0]
        entries[word] = (*entries.get(word, ()), phones.strip())
    return entries


def _without_comments(jsgf: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", jsgf, flags=re.DOTALL)

"""Taking numbers and names out of texts that leave the house: plain rules, which cannot find everything.

Numbers: figures, and the words for them. Names: words with a capital within a sentence, wherever they then occur, in
lower case too (recognisers write none). A name that only ever begins a sentence, or that no text writes with a capital,
stays: read what you give away.
"""

import re
from collections.abc import Iterable
from typing import Any

from agent.tuning.wording import wording

NUMBER, NAME = "<number>", "<name>"
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_FIGURES = re.compile(r"\d+(?:[.,:/-]\d+)*")
_KEPT = frozenset({"I", "I'm", "I'll", "I'd", "I've", "OK"})
_ENDS = '.!?:;\n"“”*-#>'  # after one of these a capital says nothing
_PLAIN_KEYS = frozenset({"role", "type", "id", "tool_call_id", "recording", "reaction", "why", "label"})


def names(texts: Iterable[str]) -> frozenset[str]:
    """Words, in lower case, that somewhere stand with a capital within a sentence."""
    found: set[str] = set()
    for text in texts:
        for match in _WORD.finditer(text):
            word, before = match[0], text[: match.start()].rstrip(" ")
            if word[0].isupper() and word not in _KEPT and before and before[-1] not in _ENDS:
                found.add(_bare(word))
    return frozenset(found)


def redacted(text: str, known: frozenset[str], language: str) -> str:
    """`text` with numbers and the `known` names replaced; a series of either becomes one."""
    numbers = wording(language).numbers

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        if word.lower() in numbers:
            return NUMBER
        return NAME if _bare(word) in known else word

    text = _FIGURES.sub(NUMBER, _WORD.sub(replaced, text))
    return re.sub(rf"({NUMBER}|{NAME})(?:[\s-]+\1)+", r"\1", text)


def texts_in(value: Any, key: str = "") -> Iterable[str]:
    """All texts in a record that somebody said or wrote."""
    if isinstance(value, str):
        if key not in _PLAIN_KEYS:
            yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from texts_in(each, name)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts_in(each, key)


def redact(value: Any, known: frozenset[str], language: str, key: str = "") -> Any:
    """A record (JSON) with all such texts redacted. Numbers of the record itself, such as times, stay."""
    if isinstance(value, str):
        return value if key in _PLAIN_KEYS else redacted(value, known, language)
    if isinstance(value, dict):
        return {name: redact(each, known, language, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact(each, known, language, key) for each in value]
    return value


def _bare(word: str) -> str:
    return word.lower().replace("’", "'").removesuffix("'s")

"""Topics that are not talked about: the last look at what is about to be said.

A list of words and nothing more. The model is asked not to talk of them (`prompt.py`), and this stops what it says of
them in plain words all the same. What it cannot see: other words for the same thing, other languages, misspellings,
other inflections than an English plural, and a name of several words that is parted by the end of a clause.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_LONE = re.compile(r"(?<![^\W_])[^\W\d_](?:[\s.·*_-]+[^\W\d_](?![^\W_])){2,}")  # "p o l i t i c s", "p-o-l-..."
_WORD = re.compile(r"[^\W_]+")


def touches(text: str, topics: Sequence[str]) -> bool:
    """Whether `text` names one of `topics`, as whole words or spelt out letter by letter.

    Case, accents, invisible characters and what stands between words make no difference; a plural or possessive does
    neither.
    """
    if not topics:
        return False
    plain = _plain(text)
    spelt = _LONE.sub(lambda found: "".join(_WORD.findall(found.group())), plain)
    known = [_WORD.findall(each) for each in dict.fromkeys((plain, spelt))]
    return any(_within(topic, words) for topic in map(_words, topics) if topic for words in known)


def _within(topic: Sequence[str], words: Sequence[str]) -> bool:
    size = len(topic)
    return any(
        tuple(words[at : at + size - 1]) == topic[:-1]
        and words[at + size - 1] in (topic[-1], topic[-1] + "s", topic[-1] + "es")
        for at in range(len(words) - size + 1)
    )


@lru_cache(maxsize=256)
def _words(topic: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_plain(topic)))


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in parts if unicodedata.category(sign) not in ("Mn", "Cf"))

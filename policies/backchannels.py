"""Backchannels: the little sounds of a listener ("mm-hmm", "yeah") that do not ask for the floor.

Lists per language in `backchannels/*.toml`: `words`, as a recogniser or a person may write them, and `spoken`, those
of them a recogniser's pronouncing dictionary has.
"""

import tomllib
from functools import cache
from importlib.resources import files

from policies.errors import SentencesError
from policies.templates import plain_words

LANGUAGES = ("en", "de", "fr", "es")


@cache
def _lists(language: str) -> tuple[frozenset[tuple[str, ...]], tuple[str, ...]]:
    if language not in LANGUAGES:
        raise SentencesError(
            f"there are no backchannels for {language!r}, only {', '.join(LANGUAGES)}", f"{language}.toml"
        )
    content = tomllib.loads((files("policies") / "backchannels" / f"{language}.toml").read_text(encoding="utf-8"))
    spoken = tuple(content["spoken"])
    return frozenset(plain_words(phrase) for phrase in (*content["words"], *spoken)), spoken


def is_backchannel(text: str, language: str = "en") -> bool:
    """Whether `text` is nothing but backchannels ("yeah, okay"); case, hyphens and punctuation make no difference.

    False for no words at all. Raises `SentencesError` for a language without a list.
    """
    phrases, _ = _lists(language)
    words = plain_words(text)
    if not words:
        return False
    longest = max(map(len, phrases))
    fits = [True] + [False] * len(words)
    for end in range(1, len(words) + 1):
        fits[end] = any(
            fits[end - size] and words[end - size : end] in phrases for size in range(1, min(longest, end) + 1)
        )
    return fits[-1]


def spoken_backchannels(language: str = "en") -> tuple[str, ...]:
    """The backchannels a grammar can hold: lower case, every word in the language's pronouncing dictionary."""
    return _lists(language)[1]


def backchannels(language: str = "en") -> tuple[str, ...]:
    """All backchannels of a language as plain words ("uh huh"), for who keeps a list: spoken forms and spellings."""
    return tuple(sorted(" ".join(phrase) for phrase in _lists(language)[0]))

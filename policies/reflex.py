"""The stop reflex: a stop word in partial words stops everything, and no model is asked.

`find_stop` looks at a text, `Reflex` at the words of a session as they come. Pure: no clock, no I/O. The caller turns a
`Stop` into `Halt` for the body and `Hush` for the voice.
"""

from collections.abc import Sequence

from msgspec import Struct

from policies.templates import plain_words
from streams.types import Words

_STOP_WORDS = {
    "en": ("stop", "halt", "freeze"),
    "de": ("stopp", "stop", "halt", "anhalten"),
    "fr": ("stop", "arrête", "arrêtez", "halte"),
    "es": ("stop", "alto", "para", "detente"),
}
# What may stand beside a stop word without making it a longer sentence (used where `anywhere` is off).
_COMPANY = {
    "en": "please now it robot hey no oh okay right there just and everything moving",
    "de": "bitte sofort jetzt roboter hey nein oh okay",
    "fr": "toi vous maintenant robot hé non oh okay tout s'il plaît te",
    "es": "por favor ya ahora robot oye no oh okay",
}


def stop_words(language: str = "en") -> tuple[str, ...]:
    """The built-in stop words of a language (English for languages without a list)."""
    return _STOP_WORDS.get(language, _STOP_WORDS["en"])


def find_stop(text: str, phrases: Sequence[str], *, language: str = "en", anywhere: bool = True) -> str | None:
    """The first of the stop words or phrases in `text` as plain words, None if there is none.

    phrases: only whole words count ("stopwatch" is no "stop"); where several begin at a word, the longest is found
    anywhere: wherever in a sentence it stands, the safe choice ("don't stop" stops too); off: only when nothing else
        was said but words of courtesy of `language` ("please stop now"), for open dictation
    """
    known = sorted(filter(None, map(plain_words, phrases)), key=len, reverse=True)
    words, at = plain_words(text), 0
    found: str | None = None
    beside: list[str] = []
    while at < len(words):
        phrase = next((each for each in known if words[at : at + len(each)] == each), None)
        if phrase is None:
            beside.append(words[at])
            at += 1
        else:
            found = found or " ".join(phrase)
            at += len(phrase)
    alone = set(beside) <= set(_COMPANY.get(language, "").split())
    return found if anywhere or alone else None


def nothing_but(text: str, words: Sequence[str], language: str = "en") -> bool:
    """Whether `text` is stop words and words of courtesy only ("please stop now"), or nothing at all."""
    return not text or find_stop(text, words, language=language, anywhere=False) is not None


class Stop(Struct, frozen=True):
    """A stop word was heard. segment: the stretch of speech;  word: which stop word or phrase"""

    segment: int
    word: str


class Reflex:
    """Watches the words of every segment, partial and final, and fires at most once per segment.

    words, language, anywhere: as in `find_stop`
    """

    def __init__(self, words: Sequence[str], *, language: str = "en", anywhere: bool = True) -> None:
        self._words, self._language, self._anywhere = tuple(words), language, anywhere
        self._fired = -1

    def feed(self, heard: Words) -> Stop | None:
        """What `heard` sets off. Segments come in rising order; a late word of an earlier one fires nothing twice."""
        if heard.segment <= self._fired:
            return None
        word = find_stop(heard.text, self._words, language=self._language, anywhere=self._anywhere)
        if word is None:
            return None
        self._fired = heard.segment
        return Stop(heard.segment, word)

    def typed(self, text: str) -> str | None:
        """The stop word, if nothing but one (and courtesy) was typed: who types has time for a sentence."""
        return find_stop(text, self._words, language=self._language, anywhere=False)

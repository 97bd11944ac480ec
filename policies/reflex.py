"""The stop reflex: a stop word in partial words stops everything, and no model is asked.

Pure: no clock, no I/O. The caller turns a `Stop` into `Halt` for the body and `Hush` for the voice.
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


def nothing_but(text: str, words: Sequence[str], language: str = "en") -> bool:
    """Whether `text` is stop words and words of courtesy only ("please stop now"), or nothing at all."""
    reflex = Reflex(words, language=language, anywhere=False)
    return not text or reflex.feed(Words(0, text, (), True)) is not None


class Stop(Struct, frozen=True):
    """A stop word was heard.

    segment: the stretch of speech;  word: which stop word
    start_ns, end_ns: where it lies in the audio (the whole segment's words where the recogniser gave no times: 0, 0)
    """

    segment: int
    word: str
    start_ns: int
    end_ns: int


class Reflex:
    """Watches the words of every segment, partial and final, and fires at most once per segment.

    words: stop words or phrases; only whole words count ("stopwatch" does not)
    anywhere: fire wherever in a sentence the word stands, the safe choice ("don't stop" stops too); off: only when
        nothing else was said but words of courtesy ("please stop now"), for open dictation
    """

    def __init__(self, words: Sequence[str], *, language: str = "en", anywhere: bool = True) -> None:
        self._phrases = tuple(sorted((plain_words(word) for word in words if plain_words(word)), key=len, reverse=True))
        self._company = frozenset(_COMPANY.get(language, "").split())
        self._anywhere = anywhere
        self._fired = -1

    def feed(self, heard: Words) -> Stop | None:
        """What `heard` sets off. Segments come in rising order; a late word of an earlier one fires nothing twice."""
        if heard.segment <= self._fired or not heard.text:
            return None
        timed = [(word, each) for each in heard.words for word in plain_words(each.text)]
        words = plain_words(heard.text)
        found = self._find(words)
        if found is None:
            return None
        at, phrase = found
        self._fired = heard.segment
        # The text and its timed words agree but for markers; where they do not, find the phrase among the timed.
        if tuple(word for word, _ in timed) != words:
            again = self._find(tuple(word for word, _ in timed))
            at = -1 if again is None else again[0]
        if at < 0:
            return Stop(heard.segment, " ".join(phrase), 0, 0)
        return Stop(heard.segment, " ".join(phrase), timed[at][1].start_ns, timed[at + len(phrase) - 1][1].end_ns)

    def _find(self, words: tuple[str, ...]) -> tuple[int, tuple[str, ...]] | None:
        first: tuple[int, tuple[str, ...]] | None = None
        left: list[str] = []
        at = 0
        while at < len(words):
            phrase = next((each for each in self._phrases if words[at : at + len(each)] == each), None)
            if phrase is None:
                left.append(words[at])
                at += 1
            else:
                first = first or (at, phrase)
                at += len(phrase)
        if not self._anywhere and not self._company.issuperset(left):
            return None
        return first

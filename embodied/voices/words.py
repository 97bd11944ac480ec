"""Which samples belong to which written word: a voice's own events, brought back to the text as it was written.

espeak-ng tells where in the text each spoken word and phoneme begins. One written word may be several spoken ones
("3:30"), and several written words one spoken one ("of the"), so written words are what is between blanks,
and spoken ones are gathered under them. Pure: no I/O.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from embodied.ports import Mark

# Languages without blanks: every character of these scripts is a word of its own.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WRITTEN = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_SPOKEN_SIGNS = frozenset("%#@&")


class Written(NamedTuple):
    """One written word: `text` without the punctuation around it, and where it begins and ends in the whole."""

    text: str
    start: int
    end: int


def written_words(text: str) -> list[Written]:
    """The words of `text`, in order, each as written and without the punctuation around it."""
    return [Written(trimmed(found.group()), found.start(), found.end()) for found in _WRITTEN.finditer(text)]


def trimmed(word: str) -> str:
    """`word` without punctuation at its ends; unchanged if it is nothing else."""
    first, last = 0, len(word)
    while first < last and _is_punctuation(word[first]):
        first += 1
    while last > first and _is_punctuation(word[last - 1]):
        last -= 1
    return word[first:last] or word


def _is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign).startswith("P") and sign not in _SPOKEN_SIGNS


class Event(NamedTuple):
    """A spoken word (phoneme == "") or a phoneme begins at `sample`; it comes from character `position` of the text."""

    position: int
    sample: int
    phoneme: str


class _Spoken:
    """One spoken word: where it starts, where its phonemes start, and where its sound ends."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.phonemes: list[int] = []
        self.silent_from: int | None = None

    def phoneme(self, sample: int, name: str) -> None:
        if not name.startswith("_"):  # names with an underscore are pauses
            self.phonemes.append(sample)
            self.silent_from = None
        elif self.phonemes and self.silent_from is None:
            self.silent_from = sample

    def first(self) -> int:
        return self.phonemes[0] if self.phonemes else self.start

    def end(self, limit: int) -> int:
        return limit if self.silent_from is None else min(self.silent_from, limit)


class WordMarks:
    """Gathers events of one utterance of `text` into marks, each told once its end is known."""

    def __init__(self, text: str) -> None:
        self._words = written_words(text)
        self._told = 0  # written words that have their mark, or get none
        self._at = -1  # written word that the spoken ones in `_group` belong to
        self._group: list[_Spoken] = []

    def feed(self, events: Iterable[Event]) -> list[Mark]:
        """Marks of the words that have ended by the last of `events`."""
        marks: list[Mark] = []
        for event in events:
            if event.phoneme:
                if self._group:
                    self._group[-1].phoneme(event.sample, event.phoneme)
                continue
            word = self._word_at(event.position)
            if word > self._at:
                if self._group:
                    marks += self._tell(word, event.sample)
                self._at = word
            self._group.append(_Spoken(event.sample))
        return marks

    def finish(self, total: int) -> list[Mark]:
        """The utterance is over after `total` samples: the marks that are left."""
        return self._tell(len(self._words), total) if self._group else []

    def _word_at(self, position: int) -> int:
        word = max(self._at, 0)
        while word + 1 < len(self._words) and self._words[word + 1].start <= position:
            word += 1
        return word

    def _tell(self, until: int, limit: int) -> list[Mark]:
        """Marks of the written words before `until`, which sound in the spoken ones gathered so far."""
        # A written word that was given no spoken one is either not spoken (a dash) or was spoken together with others.
        words = [
            self._words[place].text
            for place in range(self._told, until)
            if place == self._at or any(sign.isalnum() for sign in self._words[place].text)
        ]
        group, self._group, self._told = self._group, [], until
        ends = [spoken.end(following.start) for spoken, following in pairwise(group)] + [group[-1].end(limit)]
        if len(words) == 1:
            return [_mark(words[0], group[0].first(), ends[-1])]
        if len(words) == len(group):
            return [_mark(word, spoken.first(), end) for word, spoken, end in zip(words, group, ends)]
        return _estimate(words, group, ends[-1])


def _mark(text: str, start: int, end: int, exact: bool = True) -> Mark:
    return Mark(text, start, max(start, end), exact)


def _estimate(words: list[str], group: list[_Spoken], end: int) -> list[Mark]:
    """Share sound among words spoken as one: by their letters, each from the beginning of a phoneme."""
    starts = sorted(sample for spoken in group for sample in spoken.phonemes) or [group[0].start]
    letters = sum(len(word) for word in words)
    borders, before = [], 0
    for word in words:
        place = round(before / letters * len(starts))
        borders.append(starts[min(place, len(starts) - 1)])
        before += len(word)
    return [_mark(word, start, stop, exact=False) for word, start, stop in zip(words, borders, [*borders[1:], end])]

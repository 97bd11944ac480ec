"""Several sentences in one turn: "what is five plus nine" and, a breath later, "hello there".

A turn that is no sentence is cut into at most three that are, first where the pauses between the words are longest.
What is left over is told apart, and nothing is *done* on a turn that was understood in part, or that takes something
back ("turn left no don't"). Pure and bounded: at most `LOOKS` texts are looked up, whatever was said.
"""

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from policies.backchannels import LANGUAGES, is_backchannel
from policies.sentences import Sentences, Understood
from policies.twins import DOING
from streams.types import TurnCommitted

CUTS = 12  # places that are tried, those with the longest pauses
LOOKS = 20  # about 0.2 ms each
_ENDS = {".": 10**12, "?": 10**12, "!": 10**12, ";": 10**11, ":": 10**11, ",": 10**10}  # in typed text, as if pauses
_REFUSING = frozenset({"no", "forbid", "tell_about"})


class Part(Struct, frozen=True):
    """A piece of a turn. understood: None for one that no sentence matches."""

    text: str
    understood: Understood | None

    @property
    def does(self) -> str:
        """The built-in behaviour it asks for; "" for none."""
        return self.understood.intent.does if self.understood else ""

    @property
    def acts(self) -> bool:
        """Whether it changes anything in the world."""
        if self.understood is None:
            return False
        intent = self.understood.intent
        return intent.command is not None or intent.call is not None or intent.does in DOING


def split(sentences: Sentences, turn: TurnCommitted) -> tuple[Part, ...]:
    """`turn`, which is no sentence as a whole, as up to three that are; backchannels among them are left out.

    Where that cannot be: its beginning or end, if that is a sentence and half of it at least, and the rest as a part
    that is not understood. () if there is nothing to be understood in it at all.
    """
    words, pauses = _words(turn)
    begins = [sentences.may_begin(word) for word in words]
    by_pause = sorted(range(1, len(words)), key=lambda at: (-pauses[at], not begins[at], at))[:CUTS]
    look = _Look(sentences, words)
    likely = [at for at in by_pause if begins[at] or pauses[at]]
    for at in likely:
        if look(at, len(words)) and look(0, at):
            return look.parts(0, at, len(words))
    tails = [at for at in likely if look(at, len(words))]
    heads = [at for at in likely if (tails or pauses[at]) and look(0, at)]
    inner = [(first, second) for first in heads for second in tails if first < second]
    for first, second in sorted(inner, key=lambda pair: -min(pauses[pair[0]], pauses[pair[1]])):
        if look(first, second):
            return look.parts(0, first, second, len(words))
    heads = [at for at in by_pause if look(0, at)]
    known = [(at, 0, at) for at in heads] + [(len(words) - at, at, len(words)) for at in tails]
    size, begin, end = max(known, default=(0, 0, 0))
    if 2 * size < len(words) or not size:
        return ()
    return look.parts(*sorted({0, begin, end, len(words)}))


def allowed(parts: Sequence[Part]) -> list[tuple[Part, Understood]]:
    """The parts that may be answered: none that acts if any was not understood, or takes something back."""
    doubtful = any(part.understood is None or part.does in _REFUSING for part in parts)
    acting = any(part.acts for part in parts)
    return [
        (part, part.understood)
        for part in parts
        if part.understood is not None
        and not (doubtful and part.acts)
        # Beside something else to do, or to leave undone, a yes is a word of courtesy.
        and not (part.does == "yes" and (doubtful or acting))
    ]


class _Look:
    """What the words from one place to another mean, each looked up once."""

    def __init__(self, sentences: Sentences, words: Sequence[str]) -> None:
        self._sentences = sentences
        self._words = words
        self._known: dict[tuple[int, int], Part | None] = {}
        self._looks = 0
        self._listens = sentences.language in LANGUAGES

    def __call__(self, begin: int, end: int) -> bool:
        part = self._part(begin, end)
        return part is None or part.understood is not None

    def _part(self, begin: int, end: int) -> Part | None:
        """None for a backchannel."""
        if (begin, end) not in self._known:
            text = " ".join(self._words[begin:end])
            understood = None
            if self._looks < LOOKS and self._sentences.may_begin(self._words[begin]):
                self._looks += 1
                understood = self._sentences.understand(text)
            murmur = understood is None and self._listens and is_backchannel(text, self._sentences.language)
            self._known[begin, end] = None if murmur else Part(text, understood)
        return self._known[begin, end]

    def parts(self, *places: int) -> tuple[Part, ...]:
        found = (self._part(begin, end) for begin, end in pairwise(places))
        return tuple(part for part in found if part is not None)


def _words(turn: TurnCommitted) -> tuple[list[str], list[int]]:
    """The words of a turn and the pause before each, ns; of typed text the punctuation counts as pauses."""
    words: list[str] = []
    pauses: list[int] = []
    end = turn.start_ns
    for word in turn.words:
        for place, text in enumerate(word.text.split()):
            words.append(text)
            pauses.append(0 if place else max(0, word.start_ns - end))
        end = word.end_ns
    plain = turn.text.split()
    if words != plain:
        words, pauses = plain, [0] * len(plain)
    for at, text in enumerate(words[:-1]):
        pauses[at + 1] += _ENDS.get(text[-1], 0)
    return words, pauses

"""Whether a turn is nothing but plain orders, or a plain yes or no: what may be acted on whatever else is going on.

Stricter than what the embedded policy answers: there a turn may be understood in part and asks back what is doubtful;
here every word must have its place in a sentence of the grammar, a connection ("and then") or a courtesy, and there
must be no sign that makes a quotation, a question or a list of it.
"""

import re
from collections.abc import Sequence
from typing import Literal

from policies.numbers import SMALL, TENS
from policies.sentences import Sentences
from policies.splitting import Part, split
from streams.clock import MS
from streams.types import TurnCommitted

COURTESIES = frozenset({"greeting", "thanks", "yes"})
"""Sentences that may stand beside something that is to be done."""
LONGEST = 200
"""Characters of a turn that is still a plain order."""
ORDERS = 5
"""Orders in one turn."""
UNHEARD_NS = 600 * MS
"""Speech at the beginning or the end of a turn of which no word is known: a recogniser's first word begins within a
tenth of a second of the speech, and a cough is shorter than this."""

_PLAIN = re.compile(r"(?:[^\W_]|[ .,!'’%]|(?<=\w)-)*")
_NUMBERS = "|".join(filter(None, ("a", "an", "half", *SMALL, *TENS)))  # "two and a half" is one number
_LINKS: dict[str, re.Pattern[str]] = {
    "en": re.compile(
        rf"[.,!]?\s*\b(?:and (?:then|after that)|after that|then|and(?! (?:{_NUMBERS})\b))\b|[.,!](?!\d)", re.IGNORECASE
    )
}
# Anchored, and whole: "i want you to" begins an order, "i do not want you to" and "you said i want you to" do not.
_BEFORE: dict[str, re.Pattern[str]] = {
    "en": re.compile(
        r"^\s*(?:(?:please|kindly|now|okay|ok|hey|robot|(?:could|can|would|will) you(?: (?:please|kindly))?"
        r"|i (?:want|need|would like) you to|i'd like you to)[ ,]+)+",
        re.IGNORECASE,
    )
}
_BEHIND: dict[str, re.Pattern[str]] = {
    "en": re.compile(r"(?:[ ,]+(?:please|now|for me|robot|thanks|thank you))+\s*[.!]?\s*$", re.IGNORECASE)
}


def orders(sentences: Sentences, turn: TurnCommitted) -> Sequence[Part]:
    """The parts of `turn`, each of which asks for something or is a courtesy; () if it is anything else."""
    if not plain(turn.text) or not covered(turn):
        return ()
    for parts in (_whole(sentences, turn.text), _linked(sentences, turn.text), split(sentences, turn)):
        if parts and all(part.understood is not None for part in parts):
            fit = len(parts) <= ORDERS and all(part.acts or part.does in COURTESIES for part in parts)
            return parts if fit else ()
    return ()


def assent(sentences: Sentences, turn: TurnCommitted) -> Literal["yes", "no", ""]:
    """Whether `turn` is a yes or a no and nothing else; a prohibition ("do not move") is a no."""
    if not plain(turn.text) or not covered(turn):
        return ""
    kinds = {part.does for part in _whole(sentences, turn.text) or split(sentences, turn)}
    if kinds == {"yes"}:
        return "yes"
    return "no" if kinds and kinds <= {"no", "forbid"} else ""


def plain(text: str) -> bool:
    """Whether `text` has no other signs than those of a plain sentence: no question, no quotation, no minus."""
    return len(text) <= LONGEST and _PLAIN.fullmatch(text) is not None


def covered(turn: TurnCommitted) -> bool:
    """Whether the words of `turn` are all that was said in it, as far as their times tell: not "drive forward" behind
    three seconds of something that the recogniser rejected."""
    if not turn.words:
        return True
    first, last = turn.words[0].start_ns, turn.words[-1].end_ns
    return first - turn.start_ns <= UNHEARD_NS and turn.end_ns - last <= UNHEARD_NS


def _whole(sentences: Sentences, text: str) -> Sequence[Part]:
    understood = sentences.understand(text)
    return () if understood is None else (Part(text, understood),)


def _linked(sentences: Sentences, text: str) -> Sequence[Part]:
    """Orders one after the other; () if any piece is no sentence, with or without its courtesies."""
    if sentences.language not in _LINKS:
        return ()
    pieces = [piece.strip() for piece in _LINKS[sentences.language].split(text.strip(" .,!"))]
    if len(pieces) > 2 * ORDERS or not (pieces[0] and pieces[-1]):  # "and go forward": what came before is missing
        return ()
    parts: list[Part] = []
    for piece in filter(None, pieces):
        bare = _BEHIND[sentences.language].sub("", _BEFORE[sentences.language].sub("", piece))
        parts += _whole(sentences, piece) or _whole(sentences, bare) or (Part(piece, None),)
    return parts

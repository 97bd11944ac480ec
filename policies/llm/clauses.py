"""Where speech may be cut: the ends of sentences and clauses, decided with as little of what follows as will do.

A full stop ends a sentence if what follows shows it: not in "3.5", "Dr. Lee", "e.g. this", "U.S. Army", "www.x.org" or
"am 3. Mai". Nothing is decided before the character behind the mark is there; a few marks need the word behind it.
"""

import re
import unicodedata
from collections.abc import Callable
from enum import Enum

from policies.llm.languages import Language
from policies.llm.markup import STUCK, Break

FIRST_WORDS = 3
LONG, MOST = 90, 240
_ADDRESS = 80
_STRONG = frozenset(".!?…؟۔।॥։።။។")
_WEAK = frozenset(",;:،؛—")
_DASHES = frozenset("-–—")
_WIDE_STRONG, _WIDE_WEAK = frozenset("。！？｡．"), frozenset("，、；：､")
_MARKS = _STRONG | _WEAK | _WIDE_STRONG | _WIDE_WEAK
_CLOSERS = frozenset("\"')]}”’»›“」』）】》〉」")
_QUOTES = frozenset("\"'”’»›“")
# Thai, Lao, Burmese, Khmer, Japanese, Chinese: no blanks between words
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]"
)
_OPENERS = "\"'([{“‘«‹„¿¡「『（"


class Edge(Enum):
    """What a place in the text is. The text may be cut at a clause, and should be at a sentence."""

    NONE = 0
    CLAUSE = 1
    SENTENCE = 2


class Clauses:
    """Gathers characters and hands out each clause: `out(text, end)`, which says whether there was a word in it.

    end: "break": the text's structure ended there, "finish": the text did;  "": neither
    The first one ends at the first clause of at least `FIRST_WORDS` words, later ones at sentences, or at a clause once
    they are `LONG`; none is longer than `MOST` characters. A sign of an unspaced script counts as three.
    """

    def __init__(self, out: Callable[[str, str], bool], language: Language) -> None:
        self._out = out
        self._language = language
        self._text = ""
        self._size = 0
        self._mark = 0  # place behind a mark that has not been judged, 0: there is none
        self._clause = 0  # the last place where a clause ended
        self._first = True
        self._skipping = False  # the rest of an address that is too long

    @property
    def empty(self) -> bool:
        """Nothing is gathered."""
        return not self._text

    def feed(self, sign: str) -> None:
        """The next character."""
        blank = sign.isspace()
        if self._skipping and not blank:
            return
        self._skipping = False
        if not self._text and blank:
            return
        if blank and sign != STUCK:
            sign = " "
            if self._text[-1] == " ":
                return
        self._text += sign
        self._size += 3 if sign > "\u0dff" and _UNSPACED.match(sign) else 1
        if self._mark:
            self._judge(sign)
        elif sign in _MARKS or (sign in _DASHES and self._text[-2:-1] == " "):
            self._mark = len(self._text)
        if self._size >= MOST:
            self._too_long()

    def end(self, kind: Break | None = None) -> None:
        """What has been gathered ends here, whatever it looks like. None: nothing more will come."""
        text = self._text.rstrip()
        short = 0 < len(text) < 40 and len(text.split()) <= 4 and text[-1] not in _STRONG | _WIDE_STRONG
        if kind is not None and kind.kind == "item" and short:
            self._text = text.rstrip(",;:") + ", "
            self._size += 2
            self._mark = len(self._text) - 1
            self._judge(" ")
            return
        self._hand_out(len(self._text), "finish" if kind is None else "break")

    def nudge(self) -> None:
        """Something without text follows, such as a control: a mark before it need not wait."""
        if self._mark and self._text[: self._mark].rstrip("".join(_CLOSERS))[-1:] in _STRONG | _WIDE_STRONG:
            self._hand_out(len(self._text))

    # --- judging marks

    def _judge(self, sign: str) -> None:
        """More is known of what follows the mark."""
        if len(self._text) == self._mark + 1 and (sign in _CLOSERS or sign in _MARKS):
            self._mark += 1
            return
        edge = self._edge(self._text[: self._mark], self._text[self._mark :])
        if edge is None:
            return
        mark, self._mark = self._mark, 0
        if edge is Edge.CLAUSE:
            self._clause = mark
        if edge is Edge.SENTENCE or (edge is Edge.CLAUSE and self._enough(mark)):
            self._hand_out(mark)
        if sign in _MARKS and not self._mark:
            self._mark = len(self._text)

    def _enough(self, mark: int) -> bool:
        text = self._text[:mark]
        if self._first:
            return len(text.split()) >= FIRST_WORDS or len(_UNSPACED.findall(text)) >= 4
        return self._size - (len(self._text) - mark) >= LONG

    def _edge(self, before: str, after: str) -> Edge | None:
        """What the place between `before`, which ends with a mark, and `after` is. None: that needs more of `after`."""
        body = before.rstrip("".join(_CLOSERS)) or before
        sign, following = body[-1], after[0]
        if sign in _WIDE_STRONG:
            return Edge.SENTENCE
        if sign in _WIDE_WEAK:
            return Edge.CLAUSE
        if following != " ":
            if _UNSPACED.match(following) and not sign.isalnum():
                return Edge.SENTENCE if sign in _STRONG else Edge.CLAUSE
            if sign in "!?" and following.isupper() and body[-2:-1].islower():
                return Edge.SENTENCE  # the blank has been forgotten
            return Edge.CLAUSE if sign == "—" and following.isalnum() else Edge.NONE
        behind = after.lstrip(" ")
        if sign in _DASHES:
            if not behind:
                return None
            return Edge.NONE if behind[0].isdigit() and body[:-1].rstrip()[-1:].isdigit() else Edge.CLAUSE
        if sign in _WEAK:
            return Edge.CLAUSE
        if sign == "." and not body.endswith(".."):
            edge = self._full_stop(body, behind)
        elif sign in ".…":
            edge = _unless_lower(behind)
        else:
            edge = Edge.SENTENCE
        if edge is Edge.SENTENCE and len(body) < len(before) and before[len(body)] in _QUOTES:
            return _unless_lower(behind)  # "Stop!" he said.
        return edge

    def _full_stop(self, body: str, behind: str) -> Edge | None:
        language = self._language
        head, _, word = body[:-1].rpartition(" ")
        word = word.lstrip(_OPENERS)
        low = word.lower()
        if low in language.within:
            return Edge.NONE
        if low in language.before_number:
            return None if not behind else Edge.NONE if behind[0].isdigit() else self._maybe(low, behind)
        if low in language.perhaps:
            return self._maybe(low, behind)
        if word.isdigit():
            return self._number(head, word, behind)
        if (len(word) == 1 and word.isalpha() and word.isupper()) or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", word):
            started = re.match(r"([\w'’]+)\W", behind)
            if started is None:
                return None if not behind or re.fullmatch(r"[\w'’]+", behind) else Edge.SENTENCE
            return Edge.SENTENCE if started[1] in language.starters else Edge.NONE
        return Edge.SENTENCE

    def _maybe(self, word: str, behind: str) -> Edge | None:
        if word not in self._language.perhaps:
            return Edge.SENTENCE
        if not behind:
            return None
        return Edge.NONE if behind[0].islower() or behind[0].isdigit() else Edge.SENTENCE

    def _number(self, head: str, number: str, behind: str) -> Edge | None:
        if not head.strip() or head.rstrip()[-1:] == ":":
            return Edge.NONE  # of a list
        if not self._language.ordinals or len(number) > 2:
            return Edge.SENTENCE
        if head.rsplit(" ", 1)[-1].lower() in self._language.before_ordinal:
            return Edge.NONE
        word = re.match(r"(\w+)(\W)?", behind)
        if word is None:
            return None if not behind else Edge.SENTENCE
        if word[1][0].islower():
            return Edge.NONE
        if word[2] is None:
            return None if any(month.startswith(word[1]) for month in self._language.months) else Edge.SENTENCE
        return Edge.NONE if word[1] in self._language.months else Edge.SENTENCE

    # --- cutting

    def _too_long(self) -> None:
        text = self._text
        address = text.rfind(" ") + 1
        if len(text) - address > _ADDRESS and text[address : address + _ADDRESS].count("/") > 1:
            self._text = text[: address + _ADDRESS]  # of an address only the beginning is spoken
            self._size -= len(text) - len(self._text)
            self._mark = 0
            self._skipping = True
            return
        cut = self._clause if self._clause >= MOST // 4 else text.rstrip().rfind(" ") + 1
        if cut <= 0:  # it is one word
            if unicodedata.combining(text[-1]) and self._size < 2 * MOST:
                return
            cut = len(text)
        self._hand_out(cut)

    def _hand_out(self, cut: int, end: str = "") -> None:
        piece, rest = self._text[:cut], self._text[cut:].lstrip(" ")
        if self._mark:
            self._mark = max(0, self._mark - (len(self._text) - len(rest)))
        self._text = rest
        self._size = sum(3 if _UNSPACED.match(sign) else 1 for sign in rest)
        self._clause = 0
        if piece.strip(" ") and self._out(piece.strip(" "), end):
            self._first = False


def _unless_lower(behind: str) -> Edge | None:
    if not behind:
        return None
    return Edge.CLAUSE if behind[0].islower() else Edge.SENTENCE

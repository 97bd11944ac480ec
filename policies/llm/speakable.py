"""From a model's tokens to what a voice can say: clause after clause, as early as it is certain where one ends.

Markdown, emoji, markup, thoughts and code are not spoken; units, signs and abbreviations are written out (see
`markup.py` for the stages). Knows nothing of models, turns or voices.

Controls, for the model (`CONTROLS` tells it):

    [pace: slow|normal|fast]  or a factor, 0.5 to 2: how fast it is spoken from here on
    [tone: calm|warm|cheerful|serious|soft|normal]  how it is to sound from here on
    <silence/>  or [silence]: nothing is to be said; what comes after it is not spoken

Both may stand in one tag, `[pace: slow, tone: calm]`, and a value alone will do, `[calm]`. They hold until changed,
from the next clause on. Anything else that looks like a tag, one to three lower-case words in brackets as in
`[laughs]`, is dropped; other brackets are dropped and their text is spoken.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from policies.llm.blocks import Blocks
from policies.llm.clauses import Clauses
from policies.llm.hidden import Hidden
from policies.llm.inline import Inline
from policies.llm.languages import language as rules_of
from policies.llm.markup import Break, Code, CodeBegins, Lost, Tag, Token
from policies.llm.spoken_forms import spoken_forms
from streams.types import Tone

CONTROLS = """\
What you write is spoken aloud: write plain sentences, without markdown, lists, emoji or links.
You may begin a sentence with [pace: slow], [pace: fast] or [pace: normal], and with [tone: calm], [tone: warm], \
[tone: cheerful], [tone: serious], [tone: soft] or [tone: normal]; each holds until you change it. Use them rarely.
If nothing should be said, because nobody spoke to you or there is nothing to add, answer with <silence/> alone.
"""

_PACES = {"slow": 0.8, "slower": 0.8, "normal": 1.0, "fast": 1.25, "faster": 1.25}
_TONES: dict[str, Tone] = {
    "normal": "", "neutral": "", "calm": "calm", "warm": "warm", "cheerful": "cheerful", "serious": "serious",
    "soft": "soft",
}  # fmt: skip


class Piece(Struct, frozen=True):
    """A clause or sentence to be said, or news of what is not.

    text: for the voice; "" if this piece only tells something, see the other fields
    pace, tone: as in `Say`
    silence: the model wants nothing to be said
    code: a block of code that the model wrote here, as written; it is not in `text`
    left_out: what has been left out since the last piece, each once: "thought", "emoji", "tag" (also HTML), "link"
        (its address), "picture", "code", "table" (its end), "signs" (nothing in them was a word), "silenced" (came
        after silence), "nothing" (the answer was empty)
    """

    text: str
    pace: float = 1.0
    tone: Tone = ""
    silence: bool = False
    code: str = ""
    left_out: tuple[str, ...] = ()


class Speakable:
    """Takes one answer of a model in pieces of any size and gives it in pieces for a voice.

    language: code such as "en" or "de-AT"; in one that is not in `languages.LANGUAGES` units and signs stay as they are
    Synchronous, without a clock: what it gives depends on the text only, not on how it was split. Holds some thousand
    characters at most, and 20,000 of code. One for each answer.

    The first piece ends with the first clause of three words or the first sentence, further ones with sentences, or
    with clauses where these are long, and every one within 240 characters, as soon as the mark at its end and the
    character behind that have come (a few marks need the word behind). An answer gives at least one piece.
    """

    def __init__(self, language: str = "en") -> None:
        rules = rules_of(language)
        self._code_sentence = rules.code
        self._forms = spoken_forms(language)
        self._clauses = Clauses(self._clause, rules)
        self._inline = Inline(self._token)
        self._blocks = Blocks(self._inline.feed)
        self._hidden = Hidden(self._blocks.feed)
        self._pieces: list[Piece] = []
        self._left_out: list[str] = []
        self._pace: float = 1.0  # this and the tone from the next clause on
        self._tone: Tone = ""
        self._manner: tuple[float, Tone] = (1.0, "")  # of the clause that is being gathered
        self._code_told = False
        self._silent = False
        self._any = False
        self._finished = False

    def push(self, text: str) -> Sequence[Piece]:
        """What can be said now that `text` has come as well. Raises `RuntimeError` after `finish`."""
        if self._finished:
            raise RuntimeError("this answer is finished: make another Speakable for the next one")
        for sign in text:
            self._hidden.feed(sign)
        return self._take()

    def finish(self) -> Sequence[Piece]:
        """The answer is whole: what is left of it. Nothing the second time."""
        if self._finished:
            return ()
        self._finished = True
        for stage in (self._hidden, self._blocks, self._inline):
            stage.finish()
        self._clauses.end()
        if self._left_out or not self._any:
            self._add(Piece("", left_out=tuple(self._left_out) or ("nothing",)))
        return self._take()

    def _take(self) -> Sequence[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    # --- from the stages

    def _token(self, token: Token) -> None:
        if self._silent:
            if not (isinstance(token, str) and token.isspace()) and not isinstance(token, Break):
                self._lose("silenced")
            return
        match token:
            case str():
                if self._clauses.empty:
                    self._manner = (self._pace, self._tone)
                self._clauses.feed(token)
            case Break():
                self._clauses.end(token)
            case CodeBegins():
                self._clauses.end(Break())
                self._lose("code")
                if not self._code_told:
                    self._code_told = True
                    self._manner = (self._pace, self._tone)
                    self._clause(self._code_sentence, "break")
            case Code(text):
                if text:
                    self._add(Piece("", code=text))
            case Tag(text):
                self._control(text)
            case Lost(what):
                self._lose(what)

    def _control(self, text: str) -> None:
        self._clauses.nudge()
        for part in text.lower().replace(";", ",").split(","):
            name, _, value = (each.strip() for each in part.replace("=", ":").partition(":"))
            value = value.strip("\"'")
            if name == "silence" and not value:
                self._clauses.end(Break())
                self._silent = True
                self._add(Piece("", silence=True))
            elif name in ("pace", "speed") and (pace := _pace(value)) is not None:
                self._pace = pace
            elif name == "tone" and value in _TONES:
                self._tone = _TONES[value]
            elif not value and name in _TONES and name != "normal":
                self._tone = _TONES[name]
            elif not value and name in _PACES and name != "normal":
                self._pace = _PACES[name]
            else:
                self._lose("tag")

    def _clause(self, text: str, end: str) -> bool:
        """From the clauses: whether there was a word in it."""
        said = self._forms.say(text)
        if not said:
            self._lose("signs")
            return False
        if end and said[-1] == ",":
            said = said[:-1] + "."
        elif end == "break" and said[-1].isalnum() and said[-1] < "\u0e00":
            said += "."
        pace, tone = self._manner
        self._add(Piece(said, pace, tone, left_out=tuple(self._left_out)))
        self._left_out.clear()
        self._manner = (self._pace, self._tone)  # the next clause may have begun
        return True

    def _add(self, piece: Piece) -> None:
        self._any = True
        self._pieces.append(piece)

    def _lose(self, what: str) -> None:
        if what not in self._left_out:
            self._left_out.append(what)


def _pace(value: str) -> float | None:
    if value in _PACES:
        return _PACES[value]
    try:
        factor = float(value)
    except ValueError:
        return None
    return None if math.isnan(factor) else min(2.0, max(0.5, factor))

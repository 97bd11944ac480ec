"""Markdown within a line: emphasis, code, links, pictures, tags, entities; and signs that no voice can speak.

Follows CommonMark as far as it can be decided with little in hand: a mark is held back until the characters behind it
tell what it is, a bracket until it closes (at most `HELD` characters).
"""

import html
import re
import unicodedata
from functools import lru_cache

from policies.llm.markup import Break, Lost, Sink, Tag, Token
from policies.llm.wording import NOTE

HELD = 400
_TARGET = 2000  # characters of a link's address
_TAG = 300
_SPECIAL = frozenset("*_~`[!<&\\")
_HTML = frozenset(
    """
    a abbr article aside audio b big blockquote body br button center cite code col dd del details div dl dt em figure
    font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label li link main mark meta nav
    ol option p path pre q s samp script section select small source span strike strong style sub summary sup svg table
    tbody td textarea tfoot th thead title tr tt u ul var video
    think thinking thought reasoning reflection analysis scratchpad tool_call tool_response
    """.split()  # noqa: SIM905 - readable
)
_BLOCKS = frozenset(("br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table", "ul", "ol"))
_ELEMENT = re.compile(r"[/!]?([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/?")
_WORDS = re.compile(r"[a-z]+(?: [a-z]+){0,2}")
_CONTROL = re.compile(
    r"\s*(?:(?:pace|tone|speed)\s*[:=].{0,60}|silence|slow(?:er)?|fast(?:er)?|calm|warm|cheerful|serious|soft|neutral)\s*",
    re.I,
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:\S+|[^\s@]+@[^\s@]+", re.I)


class Inline:
    """Passes on plain characters, `Tag`s, and what it is given besides characters."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._held = ""
        self._before = " "  # last character that was passed on
        self._depth = 0  # of brackets in what is held
        self._text: str | None = None  # of a link whose address is being read
        self._picture = False

    def feed(self, token: Token) -> None:
        """The next token."""
        if not isinstance(token, str):
            if isinstance(token, Break):
                self._let_go()
                self._before = " "
            self._out(token)
        elif self._held or self._text is not None:
            self._hold(token)
        elif token in _SPECIAL:
            self._held = token
            self._depth = 1
        elif token != "]":  # one without a beginning
            self._pass(token)

    def finish(self) -> None:
        """No more comes."""
        self._let_go()

    def _again(self, text: str) -> None:
        for each in text:
            self.feed(each)

    def _pass(self, sign: str) -> None:
        what = kind(sign)
        if what == "emoji":
            self._out(Lost(what))
        if what == "control" or (what == "joiner" and unicodedata.category(self._before)[0] not in "LM"):
            return
        sign = sign if what in ("", "joiner") else " "
        self._before = sign
        self._out(sign)

    def _hold(self, sign: str) -> None:
        match self._held[:1]:
            case "":
                self._in_target(sign)
            case "*" | "_" | "~":
                self._in_run(sign)
            case "`":
                self._in_code(sign)
            case "!":
                held, self._held = self._held, ""
                if sign == "[":
                    self._held, self._picture, self._depth = "[", True, 1
                else:
                    self._pass(held)
                    self.feed(sign)
            case "[":
                self._in_bracket(sign)
            case "<":
                self._in_tag(sign)
            case "&":
                self._in_entity(sign)
            case _:
                self._escaped(sign)

    def _in_run(self, sign: str) -> None:
        """A run of asterisks, underscores or tildes is emphasis, if it is neither arithmetic nor within a word."""
        mark = self._held[0]
        if sign == mark:
            self._held = (self._held + sign)[:3]
            return
        run, self._held = self._held, ""
        before = self._before
        if mark == "*":
            between = (before.isspace() and sign.isspace()) or (before.isdigit() and sign.isdigit())
            if between and len(run) < 3:
                self._pass("×" if len(run) == 1 else "^")
        elif (mark == "_" and before.isalnum() and sign.isalnum()) or (run == "~" and sign.isdigit()):
            self._pass(mark)
        self.feed(sign)

    def _in_code(self, sign: str) -> None:
        held = self._held
        ticks = len(held) - len(held.lstrip("`"))
        if ticks == len(held):
            self._held += sign
            if len(self._held) > 20:
                self._held = ""
            return
        self._held += sign
        if self._held.endswith("`" * ticks):
            code, self._held = self._held[ticks:-ticks], ""
            for each in code:
                self._pass(each)
        elif len(self._held) > HELD:
            self._let_go()

    def _in_bracket(self, sign: str) -> None:
        if self._depth:
            self._held += sign
            self._depth += (sign == "[") - (sign == "]")
            if len(self._held) > HELD:
                self._let_go()
            return
        content, self._held = self._held[1:-1], ""
        if _CONTROL.fullmatch(content):
            self._bracket(content)
            self.feed(sign)
        elif sign == "(":
            self._text, self._target, self._nested = content, 0, 1
        elif sign == "[":
            self._text, self._target, self._nested = content, 0, -1
        else:
            self._bracket(content)
            self.feed(sign)

    def _in_target(self, sign: str) -> None:
        """The address of a link; it is not spoken."""
        self._target += 1
        if self._nested < 0:
            over = sign == "]"
        else:
            self._nested += (sign == "(") - (sign == ")")
            over = self._nested == 0
        if over or self._target > _TARGET:
            self._link()

    def _link(self) -> None:
        text, self._text = self._text or "", None
        picture, self._picture = self._picture, False
        self._out(Lost("picture" if picture else "link"))
        self._again(text)
        if self._held:
            self._let_go()

    def _bracket(self, content: str) -> None:
        """`[content]` that is no link: a tag, a footnote, a box to tick, or text."""
        self._picture = False
        if _CONTROL.fullmatch(content) or _WORDS.fullmatch(content):
            self._out(Tag(content))
        elif NOTE.match(content) or re.fullmatch(r"\^.*|\d{1,3}(?:[,–-]\s?\d{1,3})*|[ xX]?", content):
            self._out(Lost("tag"))
        else:
            self._again(content if content.count("[") < 4 else content.replace("[", "").replace("]", ""))

    def _in_tag(self, sign: str) -> None:
        if len(self._held) == 1 and not (sign.isalpha() or sign in "/!|"):
            self._held = ""
            self._pass("<")
            self.feed(sign)
        elif sign == ">":
            content, self._held = self._held[1:], ""
            self._element(content)
        elif sign == "<" or len(self._held) > _TAG:
            self._let_go()
            self.feed(sign)
        else:
            self._held += sign

    def _element(self, content: str) -> None:
        name = _ELEMENT.fullmatch(content)
        if content.startswith("|") or content.startswith("!"):
            self._out(Lost("tag"))
        elif _ADDRESS.fullmatch(content) and "://" in content + "://" * ("@" in content):
            self._again(content)
        elif name and content.endswith("/") and name[1].lower() not in _HTML:
            self._out(Tag(content.rstrip("/")))
        elif name and (name[1].lower() in _HTML or "=" in name[2] or content.startswith("/")):
            self._out(Lost("tag"))
            if name[1].lower() in _BLOCKS:
                self._pass(" ")
        else:
            self._again(content)

    def _in_entity(self, sign: str) -> None:
        if sign == ";" and len(self._held) > 1:
            text, self._held = html.unescape(self._held + ";"), ""
            for each in text if len(text) < 3 else text[1:-1]:
                self._pass(each)
        elif (sign.isalnum() or (sign == "#" and len(self._held) == 1)) and sign.isascii() and len(self._held) < 12:
            self._held += sign
        else:
            rest, self._held = self._held[1:], ""
            self._pass("&")
            self._again(rest + sign)

    def _escaped(self, sign: str) -> None:
        self._held = ""
        if sign in "()[]":  # of mathematics
            return
        if sign.isalpha() and sign.isascii():
            self._pass("\\")
            self._pass(sign)
        elif sign.isascii() and not sign.isalnum() and not sign.isspace():
            self._pass(sign)
        else:
            self.feed(sign)

    def _let_go(self) -> None:
        """What is held will not be completed: its text is text."""
        if self._text is not None:
            self._link()
        held, self._held = self._held, ""
        if not held:
            return
        if held[0] == "[":
            inner = held[1:]
            if not self._depth:
                self._bracket(inner[:-1])
            elif _CONTROL.fullmatch(inner) and ":" in inner:
                self._out(Tag(inner))
            else:
                self._picture = False
                self._again(inner.replace("[", "").replace("]", ""))
                self._let_go()
        elif held[0] == "<":
            name = _ELEMENT.fullmatch(held[1:])
            if name and held.endswith("/"):
                self._element(held[1:])
            elif name and (name[1].lower() in _HTML or "=" in name[2]) and len(held) > 2:
                self._out(Lost("tag"))
            else:
                self._again(held[1:])
                self._let_go()
        elif held[0] == "`":
            for each in held.strip("`"):
                self._pass(each)
        elif held[0] in "&!":
            for each in held:
                self._pass(each)


@lru_cache(4096)
def kind(sign: str) -> str:
    """What is to be done with `sign`: "" it is text; "blank", "emoji": a blank; "control": nothing; "joiner"."""
    category = unicodedata.category(sign)
    if sign in "\t\n\v\f\r\x85\u2028\u2029":
        return "blank"
    if sign in "\u200c\u200d":  # of Persian and of Indian scripts, but also between emoji
        return "joiner"
    if category in ("Cc", "Cf", "Co", "Cs", "Cn") or sign in "\ufe0e\ufe0f\u20e3":
        return "control"
    if (category == "So" and sign not in "°№℃℉") or (category == "Sk" and sign not in "^`"):
        return "emoji"
    return ""

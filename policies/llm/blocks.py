"""Markdown's lines: headings, lists, quotes, rules, tables and fenced code, found as the characters come.

Follows CommonMark (https://spec.commonmark.org) as far as models write it, and GitHub's tables. Indented code is text.
"""

import re

from policies.llm.markup import STUCK, Break, Code, CodeBegins, Lost, Sink

CODE_CHARS = 20_000
"""So much of a block of code is kept."""
_ROW_CHARS = 2000
_CELLS = 20
_INFO_CHARS = 200
_PROSE = frozenset({"markdown", "md", "text", "txt", "plaintext"})  # fences around what is no code
_WAIT = re.compile(r"#{1,6}|[-+*]|-{2,}|\*{2,}|_+|=+|\d{1,3}[.)]?|`+|~+|•")
_RULE = re.compile(r"-{3,}|\*{3,}|_{3,}|={2,}")
_SEPARATOR = re.compile(r"[\s|:\-+]*-[\s|:\-+]*")


class Blocks:
    """Passes on the text of the lines without their marks, and a `Break` where one thing ends and another begins."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._line = ""  # the beginning of a line, while it may be a mark
        self._at_start = True
        self._indented = False
        self._fresh = False  # the line has the mark of a list in front of it
        self._list = ""  # its mark
        self._inside: str = ""  # what the last line was: "", "text", "heading", "item"
        self._fence = ""  # of the code that is open
        self._info: str | None = None  # what stands behind an opening fence, until the line ends
        self._code: list[str] | None = None
        self._code_size = 0
        self._prose = 0  # length of the fence around prose that is open
        self._row: str | None = None
        self._head: list[str] | None = None  # names of the table's columns
        self._first_row: list[str] | None = None  # perhaps these names: the next line tells

    def feed(self, sign: object) -> None:
        """The next character, or a `Lost` of the stage before."""
        if not isinstance(sign, str):
            self._out(sign)  # type: ignore[arg-type] # of the stage before: a token
        elif sign == "\r":
            pass
        elif self._code is not None:
            self._in_code(sign)
        elif self._info is not None:
            self._in_info(sign)
        elif self._row is not None:
            self._in_row(sign)
        elif self._at_start:
            self._starting(sign)
        elif sign == "\n":
            self._out(" ")
            self._new_line()
        else:
            self._out(sign)

    def finish(self) -> None:
        """No more comes."""
        if self._code is not None:
            self._end_line_of_code()
            self._end_code()
        elif self._info is not None:
            self._open_fence()
            self._end_code()
        elif self._row is not None:
            self._end_row()
        elif self._line and not _RULE.fullmatch(self._line) and self._line.strip("`~#-+*•") != "":
            self._release()
        self._end_table()

    # --- the beginning of a line

    def _new_line(self) -> None:
        self._line, self._at_start, self._indented, self._fresh = "", True, False, False

    def _starting(self, sign: str) -> None:
        line = self._line
        if not line and sign in " \t" + STUCK:
            self._indented = True
            return
        if sign == "\n":
            self._short_line(line)
            return
        if not line and sign == "|":
            self._before("row")
            self._row = sign
            return
        if not line and sign == ">":
            self._indented = False
            return
        if sign in " \t" and line:
            self._marked(line)
            return
        self._line += sign
        if not _WAIT.fullmatch(self._line) or len(self._line) > _INFO_CHARS:
            if line[:3] in ("```", "~~~"):
                self._fence, self._info, self._line = line, "", ""
                self._in_info(sign)
            else:
                self._release()

    def _marked(self, line: str) -> None:
        """`line` stands before a blank: it may be a mark."""
        if line[0] == "#":
            self._before("heading")
            self._inside, self._line, self._at_start = "heading", "", False
        elif line in ("-", "+", "*", "•"):
            self._before("item", line)
            self._inside, self._line, self._fresh = "item", "", True  # there may be marks behind the mark
        elif line[-1] in ".)" and line[:-1].isdigit():
            self._before("item", line[-1])
            self._inside, self._line, self._at_start = "item", "", False
            for each in line[:-1] + "." + STUCK:
                self._out(each)
        elif line[:3] in ("```", "~~~"):
            self._fence, self._info, self._line = line, "", ""
        else:
            self._line += " "
            self._release()

    def _short_line(self, line: str) -> None:
        """The line was nothing but `line`."""
        self._new_line()
        if line[:3] in ("```", "~~~"):
            if self._prose and len(line) >= self._prose:
                self._prose = 0
                self._before("paragraph")
            else:
                self._fence, self._info = line, ""
                self._open_fence()
        elif not line or _RULE.fullmatch(line):
            self._end_table()
            if self._inside:
                self._out(Break("item" if self._inside == "item" else "paragraph"))
                if self._inside != "item" or line:
                    self._inside = ""
                else:
                    self._inside = "items"  # more of the list may follow
        elif line.strip("#-+*•`~"):
            self._line = line
            self._release()
            self.feed("\n")

    def _before(self, kind: str, mark: str = "") -> None:
        """Something of `kind` begins. mark: of a list"""
        if kind != "row":
            self._end_table()
        same, self._list = mark == self._list, mark
        if self._inside in ("item", "items") and not same and not self._indented:
            self._out(Break("paragraph"))
        elif self._inside == "item":
            self._out(Break("item"))
        elif self._inside and self._inside != "items":
            self._out(Break("paragraph"))
        self._inside = ""

    def _release(self) -> None:
        """The line is text."""
        line, self._line = self._line, ""
        if self._inside == "heading" or (self._inside in ("item", "items") and not (self._fresh or self._indented)):
            self._before("text")
        self._end_table()
        self._inside = self._inside or "text"
        self._at_start = False
        for each in line:
            self._out(each)

    # --- code

    def _in_info(self, sign: str) -> None:
        info = self._info or ""
        if sign == "\n":
            self._open_fence()
        elif (sign == "`" and self._fence[0] == "`") or len(info) >= _INFO_CHARS:  # it is code within a line
            self._info, self._at_start = None, True
            self._line = self._fence
            self._release()
            for each in info + sign:
                self.feed(each)
        else:
            self._info = info + sign

    def _open_fence(self) -> None:
        info = (self._info or "").strip().lower()
        self._info = None
        self._new_line()
        self._before("code")
        if info in _PROSE:
            self._prose = len(self._fence)
            return
        self._code, self._code_size = [""], 0
        self._out(CodeBegins())

    def _in_code(self, sign: str) -> None:
        assert self._code is not None
        if sign == "\n":
            if self._end_line_of_code():
                self._end_code()
            elif len(self._code) < CODE_CHARS:
                self._code.append("")
            else:
                self._code[-1] = ""
        elif self._code_size < CODE_CHARS or len(self._code[-1]) < 80:
            self._code[-1] += sign
            self._code_size += 1

    def _end_line_of_code(self) -> bool:
        """Whether the line that ends closed the code."""
        assert self._code is not None
        line = self._code[-1].strip()
        closes = len(line) >= len(self._fence) and not line.strip(self._fence[0])
        if closes:
            self._code.pop()
        return closes

    def _end_code(self) -> None:
        if self._code is not None:
            self._out(Code("\n".join(self._code).rstrip()[:CODE_CHARS]))
        self._code = None
        self._new_line()

    # --- tables

    def _in_row(self, sign: str) -> None:
        row = self._row or ""
        if sign == "\n":
            self._end_row()
            self._new_line()
        elif len(row) < _ROW_CHARS:
            self._row = row + sign
        elif len(row) == _ROW_CHARS:
            self._row = row + " "
            self._out(Lost("table"))

    def _end_row(self) -> None:
        row, self._row = (self._row or "").strip(), None
        if _SEPARATOR.fullmatch(row):
            if self._first_row is not None:
                self._head, self._first_row = self._first_row, None
            return
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))][:_CELLS]
        if self._first_row is not None:
            self._say_row(self._first_row)
            self._first_row = None
        if self._head is None:
            self._first_row = cells
        else:
            self._say_row(cells)

    def _say_row(self, cells: list[str]) -> None:
        """Read as a sentence: "Planet: Mars, Moons: 2."."""
        self._head = self._head or []
        said = False
        for place, cell in enumerate(cells):
            if not cell:
                continue
            name = self._head[place] if place < len(self._head) else ""
            for each in (", " if said else "") + (f"{name}:{STUCK}" if name and len(self._head) > 1 else "") + cell:
                self._out(each)
            said = True
        self._out(Break("row"))

    def _end_table(self) -> None:
        if self._first_row is not None:
            self._say_row(self._first_row)
        self._first_row = self._head = None

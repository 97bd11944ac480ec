"""What passes between the stages that make speech of a model's text: characters, and marks of what they mean.

    hidden.py (thoughts) -> blocks.py (lines) -> inline.py (within lines) -> clauses.py -> spoken_forms.py,
    tidy.py

Each stage takes one token at a time and calls the next one. What comes out of a beginning of the text is therefore the
same however it was split.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

STUCK = "\u00a0"
"""A no-break space: never the end of a sentence, such as behind the number of a list."""


class Break(NamedTuple):
    """Something of the text's structure ends here. "item" and "cell" may be short, and are then joined by commas."""

    kind: Literal["paragraph", "heading", "item", "row"] = "paragraph"


class CodeBegins(NamedTuple):
    """A block of code begins; what is in it comes with `Code`."""


class Code(NamedTuple):
    """A block of code was here."""

    text: str


class Tag(NamedTuple):
    """A tag in brackets, `[text]`, or a self-closing one, `<text/>`: perhaps a control."""

    text: str


class Lost(NamedTuple):
    """Something was left out that cannot be spoken."""

    what: str


Token: TypeAlias = str | Break | CodeBegins | Code | Tag | Lost
"""A `str` is one character, but for what a stage puts together; nobody may rely on its length."""
Sink: TypeAlias = Callable[[Token], None]

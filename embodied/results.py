"""What comes back from tools, made fit to be told: plain JSON of a bounded size, and text without hidden characters."""

import inspect
import json
import math
import unicodedata
from typing import Any

import msgspec

RESULT_BYTES = 16_000
"""How long the JSON text of a result may be, in bytes of UTF-8; a language model reads all of it aloud to itself."""
DETAIL = 600
"""How many characters of an exception's message are told."""
_JOINERS = "\u200c\u200d"  # scripts such as Persian's cannot be written without them


def fitted(result: Any, limit: int = RESULT_BYTES) -> tuple[Any, str]:
    """`result` as JSON values, and a note: "" if that is all of it.

    Of one whose JSON text is over `limit` bytes the beginning is kept, as text (of a text, its own beginning).
    Raises `TypeError` or `ValueError` for what JSON cannot carry, among it NaN, infinities and half characters.
    """
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("it returned something to be awaited: declare it with 'async def'")
    plain = msgspec.to_builtins(result, str_keys=True)
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size <= limit:
        return plain, ""
    note = f"only the first {limit // 1000} kB of {math.ceil(size / 1000)} kB of the result are told"
    start = plain if isinstance(plain, str) else text
    return f"{_head(start, limit)} … [{note}]", note


def _head(text: str, limit: int) -> str:
    """As much of the beginning of `text` as is at most `limit` bytes of JSON."""
    kept = text[:limit]
    while (size := len(json.dumps(kept, ensure_ascii=False).encode())) > limit:
        kept = kept[: min(len(kept) - 1, len(kept) * limit // size)]
    return kept


def refused_number(value: Any) -> str:
    """The first number in JSON-like `value` that JSON does not have, as text; "" if there is none."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, float) and not math.isfinite(each):
            return str(each)
        if isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, list | tuple):
            left.extend(each)
    return ""


def shortened(text: str, limit: int = DETAIL) -> str:
    """`text`, or its beginning and an ellipsis: at most `limit` characters, half ones (surrogates) as "?"."""
    return (text if len(text) <= limit else f"{text[: limit - 1]}…").encode("utf-8", "replace").decode()


def clean(text: str, limit: int, *, lines: bool = False) -> str:
    """Text from elsewhere, in one line unless `lines` may stay: at most `limit` characters, nothing hidden in it.

    Control characters, private and unassigned ones, and those that format (directions of writing, tags, zero widths)
    are taken out: a reader would not see them, and a model would. In `lines` the two joiners of letters stay.
    """
    text = text[: 4 * limit]  # what is hidden may be most of it, but not all that is looked at
    kept = f"\n\t{_JOINERS}" if lines else "\n\t"
    seen = "".join(each for each in text if each in kept or unicodedata.category(each)[0] != "C")
    seen = "\n".join(line.rstrip() for line in seen.split("\n")).strip() if lines else " ".join(seen.split())
    return shortened(seen, limit)

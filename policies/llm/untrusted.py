"""Text that others wrote, put before a language model so that it can neither pose as an instruction nor hide.

Data stands between `<data from="...">` and `</data>`. It cannot forge the marks, because every `<` in it (look-alikes
as well) is written `&lt;`; nor the special tokens of chat templates (`<|im_end|>`, `[/INST]`); nor can it hide
anything, because control characters and invisible ones (Unicode categories Cc and Cf, the tag characters among them)
are left out. Nothing here is random, so that equal scenes give equal requests. Escaping is one-way: it is read, never
undone.

Source: "spotlighting" by delimiting, Hines et al. 2024 (arXiv:2403.14720); what a model makes of the marks is not for
sure, which is why what is risky needs a person's own words (`policies.llm.consent`).
"""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any

_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
_LESS = dict.fromkeys("<＜﹤‹〈⟨", "&lt;")
_SHORT = 2000
_JOINERS = "\u200c\u200d"  # invisible, but letters of Persian, Hindi and emoji need them
_TEMPLATE = re.compile(r"\[\s*(/?\s*[A-Z][A-Z_ ]+)\s*\]")  # [INST], [/INST], [TOOL_CALLS]
_SOURCE = re.compile(r"[^\w .-]+")
_ODD = re.compile(r"[^\x20-\x7e]|<")


def plain(text: str, limit: int) -> str:
    """`text` without anything invisible or that could be taken for a mark, on one line, "(cut at N characters)" if cut.

    limit: characters of `text` that are kept
    """
    cut = len(text) > limit
    text = _visible(text[:limit])
    return f"{text} {_told(limit)}" if cut else text


def words(text: str, limit: int) -> str:
    """`plain`, and with round brackets for square ones: the words of a person, who cannot forge a note of ours."""
    return plain(text, limit).replace("[", "(").replace("]", ")")


def data(source: str, value: Any, limit: int) -> str:
    """`value` (text, or any JSON value) between the marks.

    source: where it comes from, as the mark tells it;  limit: characters that are kept; what is longer is told behind
    the closing mark, where no data can claim it
    """
    text = value if isinstance(value, str) else compact(value)
    inside = _visible(text[:limit])
    marked = f'<data from="{_SOURCE.sub("_", source)[:64]}">{inside}</data>'
    return f"{marked} {_told(limit)}" if len(text) > limit else marked


def compact(value: Any) -> str:
    """`value` as one line of JSON, keys sorted."""
    return _JSON.encode(value)


def _told(limit: int) -> str:
    return f"(cut at {limit} characters)"


def _visible(text: str) -> str:
    return _remembered(text) if len(text) <= _SHORT else _cleaned(text)


def _cleaned(text: str) -> str:
    return _TEMPLATE.sub(r"(\1)", " ".join(_ODD.sub(_shown, text).split()))


_remembered = lru_cache(maxsize=4096)(_cleaned)  # most of a request is what it was before


def _shown(found: re.Match[str]) -> str:
    sign = found.group()
    if sign in _LESS:
        return _LESS[sign]
    if sign.isspace():
        return " "
    if sign in _JOINERS:
        return sign
    match unicodedata.category(sign):
        case "Cs":
            return "\N{REPLACEMENT CHARACTER}"  # half a character: no JSON can carry it
        case "Cc" | "Cf":
            return ""
    return sign

"""How many tokens a request has, estimated without any model's own tokenizer, rather too many than too few.

Of a text: the larger of a count by characters and 1.3 per word. By characters: an ASCII letter or blank 1/3.5, another
ASCII sign 1/2, a digit 1 (many models count each one), a Latin letter with an accent 1/2, a letter of another alphabet
1, a Chinese, Japanese or Korean sign 1.5, what lies beyond (emoji) 3. Byte-pair tokenizers of 2023 and later need less
of every one of these on ordinary text. Beside the text: `MESSAGE` tokens for each message, `TOOL` for each tool.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

MESSAGE = 6
"""Role and separators of a message."""
TOOL = 12
"""What a server writes around the schema of a tool, or around a call."""

_SHORT = 2000
_LETTERS = re.compile(r"[A-Za-z\s]+")
_DIGITS = re.compile(r"[0-9]+")


def tokens(text: str) -> int:
    """Tokens of `text`, estimated."""
    return _remembered(text) if len(text) <= _SHORT else _counted(text)


def _counted(text: str) -> int:
    letters = sum(map(len, _LETTERS.findall(text)))
    digits = sum(map(len, _DIGITS.findall(text)))
    if text.isascii():
        other, strange = len(text) - letters - digits, 0.0
    else:
        other = sum(sign < "\x80" for sign in text) - letters - digits
        strange = sum(_weight(ord(sign)) for sign in text if sign >= "\x80")
    by_characters = letters / 3.5 + digits + other / 2 + strange
    return int(max(by_characters, 1.3 * len(text.split()))) + 1


_remembered = lru_cache(maxsize=4096)(_counted)  # most of a request is what it was before


def _weight(code: int) -> float:
    if code < 0x250:
        return 0.5
    if code < 0x2E80:
        return 1.0
    return 1.5 if code < 0x10000 else 3.0


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of one message of a request, with the calls in it."""
    count = MESSAGE + tokens(str(message.get("content") or ""))
    for call in message.get("tool_calls", ()):
        count += TOOL + tokens(call["function"]["name"]) + tokens(call["function"]["arguments"])
    return count


def tool_tokens(tool: Mapping[str, Any]) -> int:
    """Tokens of one tool of a request."""
    return TOOL + tokens(msgspec.json.encode(tool).decode())


def request_tokens(request: Mapping[str, Any]) -> int:
    """Tokens of a whole request, pictures not counted."""
    return sum(map(message_tokens, request["messages"])) + sum(map(tool_tokens, request.get("tools", ())))

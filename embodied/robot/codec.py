"""Bytes to messages and back: strict UTF-8 JSON, bounded in size and depth, every number finite, every key once.

msgspec refuses NaN, Infinity, 1e999, numbers as text, 1.0 for an integer, a byte order mark and half a surrogate pair.
What it lets pass is looked at here: a key that comes twice (a broker's filter and we might read different ones), deep
nesting (it would end in a RecursionError), and size.
"""

import json
import re
from collections import Counter
from collections.abc import Hashable
from functools import cache
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from embodied.robot.errors import Malformed

BYTES_MAX = 64 * 1024
DEPTH_MAX = 16

_Message = TypeVar("_Message")
_encoder = msgspec.json.Encoder()
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def encode(message: object) -> bytes:
    """`message` as bytes to publish. Raises `Malformed` for more than 64 kB, or a number that is not finite."""
    try:
        payload = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Malformed(f"{type(message).__name__} cannot be written as JSON: {error}") from error
    if len(payload) > BYTES_MAX:
        raise Malformed(f"{type(message).__name__} has {len(payload)} bytes; a message has {BYTES_MAX} at most")
    if b"null" in payload and not _finite(msgspec.to_builtins(message)):
        raise Malformed(f"{type(message).__name__} has a number that is not finite")
    return payload


def decode(payload: bytes, kind: type[_Message]) -> _Message:
    """The message in `payload`. Raises `Malformed` and nothing else, whatever the bytes are."""
    if len(payload) > BYTES_MAX:
        raise Malformed(f"{len(payload)} bytes; a message has {BYTES_MAX} at most")
    if depth(payload) > DEPTH_MAX:
        raise Malformed(f"nested deeper than {DEPTH_MAX}")
    try:
        message: _Message = _decoder(cast(Hashable, kind)).decode(payload)
        json.loads(payload, object_pairs_hook=_once)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    return message


def depth(payload: bytes) -> int:
    """How deep brackets nest outside of strings, counted without recursion; closing ones too many count as none."""
    if payload.count(b"[") + payload.count(b"{") <= DEPTH_MAX:
        return 0
    deepest = now = 0
    for byte in _STRINGS.sub(b"", payload).translate(None, _NOT_BRACKETS):
        now += 1 if byte in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _refuse(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return made


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"the key {name!r:.80} comes twice")


def _finite(value: Any) -> bool:
    """False if a float in `value` is none that JSON has: msgspec writes those as null."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or value - value == 0

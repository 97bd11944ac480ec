"""The bytes between `remote.py` and `serve.py`: numbers as they are, described by JSON. Nothing can be executed.

One question, one answer, each one binary WebSocket message: 4 bytes (little endian) with the length of the header, the
header (JSON), and the arrays one after the other: float32 (little endian) or uint8, in row-major order. Before the
first question the server sends its `policy.json` as a text message.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from policies.chunks.errors import ChunkRefused
from policies.chunks.policy import Stitch

PROTOCOL = "visavis-chunks-1"
"""The WebSocket's subprotocol; another number is another protocol."""
MOST_HEADER = 16 << 10
MOST_QUESTION = 64 << 20
MOST_ANSWER = 1 << 20
PREVIOUS, ACTION = "previous", "action"
_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}
Arrays: TypeAlias = dict[str, NDArray[Any]]


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """One array. name: the feature, "previous" or "action";  type: of its numbers;  shape: rows first"""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    type: Literal["float32", "uint8"]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=4096)], ...], Meta(min_length=1, max_length=3)]


Parts: TypeAlias = Annotated[tuple[Part, ...], Meta(max_length=32)]


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a chunk: the arguments of `ChunkPolicy.infer`. No time is told: two machines' clocks are not compared.

    id: of this question;  parts: the features, and "previous" if something is planned
    """

    id: int
    delay: Annotated[int, Meta(ge=0, le=100_000)]
    stitch: Stitch
    parts: Parts = ()


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """A chunk (the part "action"), or why there is none. id: of the question"""

    id: int
    refused: Annotated[str, Meta(max_length=400)] = ""
    parts: Parts = ()


Header = TypeVar("Header", Question, Answer)


def described(arrays: Mapping[str, NDArray[Any]]) -> tuple[Part, ...]:
    """The parts of `arrays`. What is not uint8 goes as float32. Raises `ChunkRefused` for what has no such form."""
    try:
        return tuple(
            msgspec.convert(
                {"name": name, "type": "uint8" if each.dtype == np.uint8 else "float32", "shape": each.shape}, Part
            )
            for name, each in arrays.items()
        )
    except msgspec.ValidationError as error:
        raise ChunkRefused(f"an array cannot be sent: {error}.") from error


def pack(header: Question | Answer, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A message. header: with the parts that `described` gave for these `arrays`"""
    head = msgspec.json.encode(header)
    body = [np.ascontiguousarray(arrays[part.name], _TYPES[part.type]).tobytes() for part in header.parts]
    return b"".join((len(head).to_bytes(4, "little"), head, *body))


def unpack(message: bytes | str, kind: type[Header]) -> tuple[Header, Arrays]:
    """Header and arrays (read-only) of a message. Raises `ChunkRefused`, whatever the bytes are."""
    if isinstance(message, str):
        raise ChunkRefused("it is text, and no chunk.")
    length = int.from_bytes(message[:4], "little")
    if not 2 <= length <= MOST_HEADER or 4 + length > len(message):
        raise ChunkRefused("its header is cut off, or too long.")
    try:
        header = msgspec.json.decode(message[4 : 4 + length], type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ChunkRefused(f"its header is wrong: {error}.") from error
    arrays: Arrays = {}
    at = 4 + length
    for part in header.parts:
        count = math.prod(part.shape)
        size = count * _TYPES[part.type].itemsize
        if part.name in arrays or at + size > len(message):
            raise ChunkRefused(f"the array {part.name} is cut off, or there twice.")
        arrays[part.name] = np.frombuffer(message, _TYPES[part.type], count, at).reshape(part.shape)
        at += size
    if at != len(message):
        raise ChunkRefused(f"{len(message) - at} bytes of it belong to nothing.")
    return header, arrays

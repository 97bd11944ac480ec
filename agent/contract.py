"""Writes `docs/events.md`, the description of every event, from the payload types and their docstrings.

    python -m agent.contract > docs/events.md

A test compares the two, so that the page cannot go stale. A field that no docstring explains has its entry in
`COMMON`; a field that neither explains is an error.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as kinds

from streams.topics import ALL, Keep, Topic
from streams.types import Answered, Audio, Face, Image, Manner, Offer, ToolPiece, Word

COMMON = {
    "segment": "running number of the stretch of speech it belongs to",
    "turn": "number of the turn",
    "by_turn": "number of the turn of the person who speaks over the agent",
    "id": "running number of the action in the session, from 1",
    "text": "what was said, or is to be said",
    "words": "the words of `text` with their times",
    "guess": "as in Words",
    "complete": "as in Words",
    "confidence": "as in Words",
    "probability": "in [0, 1]",
    "decided_ns": "session time at which it was decided",
    "start_ns": "session time at which it began",
    "end_ns": "session time at which it ended",
    "until_ns": "session time at which the turn is committed, unless new evidence comes",
    "reason": "why, in a word",
    "name": "which one",
    "arguments": "its arguments by name",
    "on_cut": "what becomes of it when its turn is cut: it is finished, or cancelled",
    "detail": "reason in words",
    "evidence": "what it was decided from, by name",
    "value": "the figure",
    "message": "what and what to do",
}
MEDIA: dict[type, dict[str, tuple[str, str]]] = {
    Audio: {
        "rate": ("integer", "Hertz"),
        "start": ("integer", "index of the first sample since the stream began; a jump is a lost block"),
        "samples": ("integer", "how many samples the block has"),
        "data": ("string", "only when media are asked for: the samples, 16-bit little-endian mono, base64"),
    },
    Image: {
        "format": ("string", '"jpeg" or "png"'),
        "width": ("integer", "pixels"),
        "height": ("integer", "pixels"),
        "bytes": ("integer", "size of the compressed picture, bytes"),
        "data": ("string", "only when media are asked for: the compressed picture, base64"),
    },
}
HEAD = """\
# Events

<!-- Written by `python -m agent.contract > docs/events.md`; do not edit. -->

`visavis events recording.mcap --json` prints one JSON object a line, in the order in which things crossed the bus.
This is a stable contract: new types and fields may appear, those listed here keep their names and meaning.

Every line has, before and after the fields of its type:

| field | JSON | meaning |
|---|---|---|
| `t` | number | seconds of session time at which it *happened* (sound: the end of its last sample) |
| `topic` | string | the stream it was published on |
| `type` | string | the name of its type, as below |
| `at` | number | seconds of session time at which it was published; never decreases |
| `order` | integer | its place in the order of the whole session; a gap is a packet lost, or not asked for |

Session time begins at 0. `t` and `at` are seconds; fields whose names end in `_ns` are whole nanoseconds of session
time, or of duration (`wait_ns`, `silence_ns`). Probabilities and confidences are in [0, 1]. Turns are
counted from 1 in the order in which they were opened; what the agent does has the number of the turn it answers.
"""
_FIELDS = re.compile(r"^((?:[a-z_]+)(?:, [a-z_]+)*): +(.*)$")


def contract() -> str:
    """The page, as Markdown. Raises `LookupError` for a field that nobody has explained."""
    parts = [HEAD]
    for topic in ALL:
        parts.append(f"## Topic `{topic.name}`\n\n{_queue(topic)}\n")
        parts += [_section(each) for each in topic.types if topic.name not in ("playback", "clean")]
    parts.append("## Parts of events\n")
    parts += [_section(each) for each in (Word, Face, Manner, ToolPiece, Offer, Answered)]
    return "\n".join(parts)


def _queue(topic: Topic[Any]) -> str:
    if topic.name == "playback":
        return "What the speaker really played, as `Audio`; `start` is the place on the session's sample clock."
    if topic.name == "clean":
        return "`audio` after the echo canceller, as `Audio`. Not recorded: a replay computes it again."
    if isinstance(topic.queue, Keep):
        return "Nothing on it is ever dropped."
    return f"A slow reader gets the newest {topic.queue.depth} only; a recorder may miss some, and `order` shows it."


def _section(kind: type) -> str:
    prose, said = explain(kind)
    rows = list(_rows(kind, said))
    table = "".join(f"| `{name}` | {json} | {text} |\n" for name, json, text in rows)
    if table:
        table = f"\n| field | JSON | meaning |\n|---|---|---|\n{table}"
    return f"### {kind.__name__}\n\n{prose}\n{table}"


def _rows(kind: type, said: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    if kind in MEDIA:
        yield from ((name, json, text) for name, (json, text) in MEDIA[kind].items())
        return
    struct = kinds.type_info(kind)
    assert isinstance(struct, kinds.StructType)
    for each in struct.fields:
        meaning = said.get(each.name) or COMMON.get(each.name)
        if meaning is None:
            raise LookupError(f"{kind.__name__}.{each.name}: its docstring in streams/types.py does not explain it")
        unit = "ns: " if each.name.endswith("_ns") else ""
        yield each.name, json_type(each.type).replace("|", "\\|"), f"{unit}{meaning}".replace("|", "\\|")


def explain(kind: type) -> tuple[str, dict[str, str]]:
    """The docstring of a payload type: its prose, and what it says of each field."""
    prose: list[str] = []
    said: dict[str, str] = {}
    names: tuple[str, ...] = ()
    known = set(kind.__annotations__)
    for line in (inspect.getdoc(kind) or "").splitlines():
        for piece in line.split(";  "):
            match = _FIELDS.match(piece)
            if match and known.issuperset(match[1].split(", ")):
                names = tuple(match[1].split(", "))
                said |= dict.fromkeys(names, match[2])
            elif names and line.startswith("    "):
                said |= {name: f"{said[name]} {piece.strip()}" for name in names}
            else:
                names = ()
                prose.append(piece)
    return "\n".join(prose).strip(), said


def json_type(kind: kinds.Type) -> str:
    """What a field is in JSON, in words."""
    match kind:
        case kinds.NoneType():
            return "null"
        case kinds.BoolType():
            return "boolean"
        case kinds.IntType():
            return "integer"
        case kinds.FloatType():
            return "number"
        case kinds.StrType():
            return "string"
        case kinds.LiteralType(values=values):
            return " | ".join(msgspec.json.encode(value).decode() for value in values)
        case kinds.UnionType(types=types):
            return " or ".join(json_type(each) for each in types)
        case kinds.DictType(value_type=value):
            return f"object of {json_type(value)}"
        case kinds.VarTupleType(item_type=item) | kinds.ListType(item_type=item):
            return f"array of {json_type(item)}"
        case kinds.TupleType(item_types=items):
            return f"array of {len(items)}: {', '.join(map(json_type, items))}"
        case kinds.StructType(cls=cls):
            return cls.__name__
        case kinds.AnyType():
            return "any value"
    raise TypeError(f"no JSON name for {kind}")


if __name__ == "__main__":
    sys.stdout.write(contract())

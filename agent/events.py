"""Packets as lines for people and tools: the contract of `visavis events recording.mcap [--json]`.

One object a line. First `t` (seconds of session time at which the thing happened), `topic` and `type` (the payload's
type name), then the payload's fields under their own names and in their own units, last `at` (seconds at which it was
published) and `order` (place in the order of the bus). `docs/events.md` lists every type and field; it is generated
by `agent/contract.py`.
"""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from streams.clock import SECOND
from streams.packet import Packet
from streams.types import Audio, Image


def event(packet: Packet[Any], *, media: bool = False) -> dict[str, Any]:
    """`packet` as an object of JSON values.

    `Audio` and `Image` carry what describes them and their size; with `media` also their content, as base64 in `data`
    (samples as 16-bit little-endian). Raises `TypeError` if a tool's argument or result is not JSON.
    """
    data = packet.data
    line: dict[str, Any] = {"t": seconds(packet.t), "topic": packet.topic.name, "type": type(data).__name__}
    match data:
        case Audio():
            line |= {"rate": data.rate, "start": data.start, "samples": len(data.samples)}
            if media:
                line["data"] = _base64(data.samples.astype("<i2").tobytes())
        case Image():
            line |= {"format": data.format, "width": data.width, "height": data.height, "bytes": len(data.data)}
            if media:
                line["data"] = _base64(data.data)
        case _:
            line |= msgspec.to_builtins(data)
    return line | {"at": seconds(packet.at), "order": packet.order}


def lines(packets: Iterable[Packet[Any]], *, media: bool = False) -> Iterator[str]:
    """One line of JSON a packet, without its line end, in the order given."""
    for packet in packets:
        yield msgspec.json.encode(event(packet, media=media)).decode()


def seconds(ns: int) -> float:
    """Session time in seconds, true to the nanosecond for 26 days."""
    return round(ns / SECOND, 9)


# --- for people


def table(packets: Iterable[Packet[Any]], width: int | None = None) -> Iterator[str]:
    """The same as columns to read: time in seconds, topic, type, and the fields, times among them in seconds.

    width: columns of the terminal, None (a pipe) for whole lines
    """
    yield f"{'t':>9}  {'topic':<8}  {'type':<14}  fields"
    for packet in packets:
        fields = event(packet)
        for name in ("t", "topic", "type", "at", "order"):
            del fields[name]
        line = f"{packet.t / SECOND:9.3f}  {packet.topic.name:<8}  {type(packet.data).__name__:<14}  {_pairs(fields)}"
        line = printable(line.rstrip())
        yield line if width is None or len(line) <= width else line[: width - 1] + "…"


def _pairs(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={text}" for name, value in fields.items() for name, text in [_pair(name, value)] if text)


def _pair(name: str, value: Any) -> tuple[str, str]:
    """A field as read by people; an empty text leaves it out."""
    if name == "words":
        return name, ""  # their text is there already
    if name.endswith("_ns"):
        return name.removesuffix("_ns"), f"{value / SECOND:.3f}s"
    if isinstance(value, float):
        return name, f"{value:.3g}"
    if isinstance(value, dict):
        return name, f"{{{', '.join(' '.join(_pair(key, each)) for key, each in value.items())}}}" if value else ""
    if value is None or value == "":
        return name, ""
    return name, msgspec.json.encode(value).decode()


def printable(text: str) -> str:
    """`text` in one line and without control characters, each of which becomes one other character.

    Words of a model or the result of a tool may hold escape sequences; a terminal must never obey them.
    """
    return text.translate(_CONTROLS)


_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\ufffd") | {
    ord(blank): " " for blank in "\t\n\r\u2028\u2029"
}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""Reading past damage: every packet of a file that lies in a whole chunk, whatever became of the others.

`Recording` refuses a file with a damaged chunk, because a session with a hole in it is not what was recorded; this is
for `recover`, which says what is missing. A chunk is whole if its checksum is right. Where a record's length is wrong,
so that nobody knows where the next one begins, the next whole chunk is looked for byte by byte.
"""

import mmap
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from mcap.records import Channel
from msgspec.structs import replace

from streams.clock import SECOND
from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import records as mcap
from streams.recording.schemas import PLACE, PLACE_WIRE, WIRES, Place, Wire, place_after
from streams.topics import BY_NAME

_MESSAGE_INDEX, _LAST = 7, mcap.DATA_END
_ENTRY = 16
_LONGEST = 1 << 32
_CHUNK = re.compile(rb"\x06[\s\S]{4}\0{4}", re.DOTALL)  # the head of a chunk of less than 4 GiB
_KNOWN = {wire.topic: wire for wire in (*WIRES.values(), PLACE_WIRE)}


class Loss(NamedTuple):
    """A damaged stretch of a file.

    begin, size: bytes;  after_ns, until_ns: `at` of the packets kept on either side of it (0 if none is before it, None
    if none comes after it);  packets: how many it held at most (the order of the bus tells), None if unknown
    """

    begin: int
    size: int
    after_ns: int
    until_ns: int | None
    packets: int | None


class _Gap(NamedTuple):
    """Damaged bytes of the file. counts: messages in them by channel, as far as the index behind them tells"""

    begin: int
    end: int
    counts: dict[int, int]


def packets(path: Path) -> Iterator[Packet[Any] | Loss]:
    """Packets and losses of a recording of visavis, in order. A piece missing at the very end is no loss but torn.

    Sound after a loss stands where its time says; packets are numbered as if the lost ones had been there.
    Raises `OSError`, and `RecordingError` if a message of a whole chunk cannot be read.
    """
    wires = dict(enumerate(_KNOWN.values(), 1))  # as `Tape` numbers them, in case the chunk that says so is damaged
    places = {name: Place(name) for name in WIRES}
    heard: dict[str, int] = {}  # by topic of sound, when the last block ended
    jumped: set[str] = set()
    gaps: list[_Gap] = []
    order = -1
    at = 0
    for piece in _pieces(path):
        if isinstance(piece, _Gap):
            gaps.append(piece)
            jumped = set(WIRES)
            for channel, count in piece.counts.items():
                if channel in wires and (name := wires[channel].topic) != PLACE:
                    places[name] = replace(places[name], seq=places[name].seq + count)
            continue
        for record in mcap.records(BytesIO(piece), len(piece)):
            if record.opcode == mcap.CHANNEL:
                told = mcap.parse(Channel.read, record.body)
                if told.topic in _KNOWN:
                    wires[told.id] = _KNOWN[told.topic]
            elif record.opcode == mcap.MESSAGE and not record.torn:
                packet = _message(record.body, wires, places, heard, jumped, path)
                if packet is None:
                    continue
                missing = packet.order - order - 1
                for number, gap in enumerate(gaps):
                    first = None if len(gaps) > 1 and number else missing
                    yield Loss(gap.begin, gap.end - gap.begin, at, packet.at, first)
                gaps.clear()
                order, at = packet.order, packet.at
                yield packet
    for gap in gaps:
        yield Loss(gap.begin, gap.end - gap.begin, at, None, sum(gap.counts.values()) or None)


def _message(
    body: bytes, wires: dict[int, Wire], places: dict[str, Place], heard: dict[str, int], jumped: set[str], path: Path
) -> Packet[Any] | None:
    """The packet of a message, None for one that is only a `Place`. Keeps `places`, `heard` and `jumped` up to date."""
    _, _, channel, order, at, t = mcap.MESSAGE_HEAD.unpack_from(mcap.HEAD.pack(mcap.MESSAGE, len(body)) + body)
    wire = wires.get(channel)
    if wire is None:
        return None
    name = wire.topic
    try:
        payload = wire.decode(body[mcap.MESSAGE_BODY :], places.get(name) or Place(name))
        if name == PLACE:
            places[payload.topic] = payload
            jumped.discard(payload.topic)
            return None
        samples = getattr(payload, "samples", None)
        if samples is not None:
            begin = t - len(samples) * SECOND // payload.rate
            if name in jumped:
                passed = round((begin - heard.get(name, 0)) * payload.rate / SECOND)
                places[name] = replace(places[name], start=places[name].start + max(0, passed))
                payload = wire.decode(body[mcap.MESSAGE_BODY :], places[name])
            heard[name] = t
        jumped.discard(name)
    except ValueError as error:  # msgspec's and protobuf's decoding errors are ValueErrors
        raise RecordingError(f"{path}: message {order} cannot be read: {error}.") from error
    packet = Packet(BY_NAME[name], t, at, places[name].seq, order, payload)
    places[name] = place_after(packet)
    return packet


def _pieces(path: Path) -> Iterator[bytes | _Gap]:
    """Whole records (contents of chunks, and records outside of them), and what is damaged between them."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size, position = len(data), len(mcap.MAGIC)
        gap: _Gap | None = None
        while position + mcap.HEAD.size <= size:
            opcode, length = mcap.HEAD.unpack_from(data, position)
            end = position + mcap.HEAD.size + length
            content = _whole(data, position, size) if opcode == mcap.CHUNK else None
            if content is not None:
                yield from [gap] if gap else []
                gap = None
                yield content
            elif opcode == _MESSAGE_INDEX and _plausible(data, end, size):
                if gap:
                    channel = int.from_bytes(data[position + 9 : position + 11], "little")
                    gap.counts[channel] = (length - 6) // _ENTRY
            elif opcode == mcap.DATA_END and _plausible(data, end, size):
                break
            elif opcode not in (0, mcap.CHUNK) and _plausible(data, end, size):
                yield from [gap] if gap else []
                gap = None
                if opcode in (mcap.SCHEMA, mcap.CHANNEL, mcap.MESSAGE):
                    yield data[position:end]
            else:
                follows = end if opcode == mcap.CHUNK and _plausible(data, end, size) else _next(data, position, size)
                if follows is None:  # torn: what is whole of the last chunk
                    yield from [gap] if gap else []
                    gap = None
                    if opcode == mcap.CHUNK:
                        body = data[position + mcap.HEAD.size : end]
                        rest, _ = _contents(mcap.Record(opcode, length, body, end))
                        yield rest[: mcap.whole(rest)]
                    break
                gap = _Gap(gap.begin if gap else position, follows, gap.counts if gap else {})
                end = follows
            position = end
        yield from [gap] if gap else []


def _whole(data: mmap.mmap, position: int, size: int) -> bytes | None:
    """The content of the chunk at `position` if there is a whole one."""
    opcode, length = mcap.HEAD.unpack_from(data, position)
    end = position + mcap.HEAD.size + length
    if opcode != mcap.CHUNK or end > size:
        return None
    content, whole = _contents(mcap.Record(opcode, length, data[position + mcap.HEAD.size : end], end))
    return content if whole and mcap.whole(content) == len(content) else None


def _contents(chunk: mcap.Record) -> tuple[bytes, bool]:
    try:
        return mcap.contents(chunk)
    except RecordingError:  # compressed
        return b"", False


def _plausible(data: mmap.mmap, position: int, size: int) -> bool:
    """Whether a record (perhaps a torn one), or the magic at the end of the file, could begin here."""
    if position + mcap.HEAD.size > size:
        return position <= size
    opcode, length = mcap.HEAD.unpack_from(data, position)
    return bool(0 < opcode <= _LAST and length < _LONGEST)


def _next(data: mmap.mmap, position: int, size: int) -> int | None:
    """Where the next whole chunk begins behind `position`."""
    for found in _CHUNK.finditer(data, position + 1):
        if _whole(data, found.start(), size) is not None:
            return found.start()
    return None

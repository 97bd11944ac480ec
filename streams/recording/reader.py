"""Reading a recording: whole or torn, packet for packet as the bus carried it.

Reads the file from front to back, holds one chunk at a time, and keeps no file open between calls. A file that is still
being written, or was torn by a crash, is read up to its last whole message.
"""

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mcap.records import Channel, Metadata, Statistics
from mcap.records import Header as McapHeader

from streams.clock import SECOND
from streams.errors import RecordingError, RecordingTorn
from streams.packet import Packet
from streams.recording import header as session
from streams.recording import records as mcap
from streams.recording.schemas import PLACE, PLACE_WIRE, WIRES, Place, Wire, place_after
from streams.topics import ALL, BY_NAME, Topic

_PADDING = bytes(mcap.MESSAGE_HEAD.size)  # a message's head can be unpacked wherever a record can begin
_BODY = {mcap.SCHEMA, mcap.CHANNEL, mcap.MESSAGE, mcap.CHUNK, mcap.DATA_END}
_NOT_READ = frozenset(range(1, 256)) - {mcap.CHUNK, mcap.MESSAGE, mcap.CHANNEL, mcap.DATA_END}


class _Block(NamedTuple):
    """Bytes that are records themselves: a chunk's content, or one record that stands in no chunk.

    lost: how many bytes of it are no whole record;  last: the data section properly ends here
    """

    data: bytes
    lost: int = 0
    last: bool = False


class Recording:
    """A recorded session. Make one with `Recording.open`; it holds no file open and may be read many times.

    path: the file;  header: what the session was
    torn: "" if the file is complete, else a sentence that says where it ends and what is lost
    lost_bytes: length of the piece at the end that is no whole message
    duration: session time (ns) of the last packet;  counts: packets per topic name
    """

    def __init__(self, path: Path, header: session.Header) -> None:
        self.path = path
        self.header = header
        self.torn = ""
        self.lost_bytes = 0
        self.duration = 0
        self.counts: dict[str, int] = {}
        self._complete = False

    @classmethod
    def open(cls, path: str | PathLike[str]) -> "Recording":
        """Open a recording, torn or whole.

        Raises `RecordingError` if it cannot be read, is not ours or is of a newer format, and `RecordingTorn` if it
        ends before its header does, so that nothing at all can be read.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                recording = cls(path, _read_header(file, size, path))
                recording._complete = recording._read_statistics(file, size)
                if not recording._complete:
                    recording._scan(file, size)
                return recording
        except OSError as error:
            raise RecordingError(f"cannot read the recording {path}: {error.strerror or error}.") from error

    def packets(self, topics: Iterable[Topic[Any]] | None = None) -> Iterator[Packet[Any]]:
        """The packets of `topics` (default: all) in the order of the bus, equal to what was published.

        Samples are read-only arrays. Topics that are not asked for are passed over without being decoded. Raises
        `RecordingError` if the file is damaged other than by having lost its end; a torn end ends the iteration.
        """
        wanted = {topic.name for topic in (ALL if topics is None else topics)} | {PLACE}
        places = {name: Place(name) for name in wanted}
        last, read = -1, 0
        try:
            with self.path.open("rb") as file:
                for wire, order, at, t, body in self._messages(file, wanted):
                    name = wire.topic
                    payload = wire.decode(body, places.get(name) or Place(name))
                    if name is PLACE:
                        places[payload.topic] = payload
                        continue
                    if order <= last:
                        raise RecordingError(
                            f"{self.path}: message {order} comes after {last}: another tool has reordered the file."
                        )
                    last = order
                    packet = Packet(BY_NAME[name], t, at, places[name].seq, order, payload)
                    places[name] = place_after(packet)
                    read += 1
                    yield packet
            expected = sum(count for name, count in self.counts.items() if name in wanted)
            if self._complete and read != expected:
                raise RecordingError(
                    f"{self.path}: {read} packets can be read of {expected}: the file is damaged. {self._remedy}"
                )
        except OSError as error:
            raise RecordingError(f"cannot read the recording {self.path}: {error.strerror or error}.") from error
        except ValueError as error:  # msgspec's and protobuf's decoding errors are ValueErrors
            raise RecordingError(f"{self.path}: the message after number {last} is damaged: {error}.") from error

    def _messages(self, file: BinaryIO, wanted: set[str]) -> Iterator[tuple[Wire, int, int, int, bytes]]:
        """Wire, order, at, t and body of every whole message on a `wanted` channel."""
        wires: dict[int, Wire] = {}
        unpack = mcap.MESSAGE_HEAD.unpack_from
        for block in self._blocks(file, file.seek(0, 2)):
            position, size = 0, len(block.data)
            data = block.data + _PADDING
            while position + mcap.HEAD.size <= size:
                opcode, length, channel, order, at, t = unpack(data, position)
                begin = position + mcap.HEAD.size
                position = begin + length
                if position > size or not opcode:
                    break
                if opcode == mcap.MESSAGE:
                    wire = wires.get(channel)
                    if wire is not None:
                        yield wire, order, at, t, data[begin + mcap.MESSAGE_BODY : position]
                elif opcode == mcap.CHANNEL:
                    self._meet(data[begin:position], wires, wanted)

    def _meet(self, body: bytes, wires: dict[int, Wire], wanted: set[str]) -> None:
        channel = mcap.parse(Channel.read, body)
        if channel.topic in wanted:
            wire = PLACE_WIRE if channel.topic == PLACE else WIRES[channel.topic]
            if wire.message_encoding != channel.message_encoding:
                raise RecordingError(
                    f"{self.path}: channel {channel.topic!r} is {channel.message_encoding!r} and not "
                    f"{wire.message_encoding!r}; it was not written by visavis."
                )
            wires[channel.id] = wire

    def _blocks(self, file: BinaryIO, size: int) -> Iterator[_Block]:
        file.seek(len(mcap.MAGIC))
        for record in mcap.records(file, size, skip=_NOT_READ):
            if record.opcode == mcap.CHUNK:
                where = f"{self.path}: at byte {record.end - record.length}"
                try:
                    data, whole = mcap.contents(record)
                except RecordingError as error:
                    raise RecordingError(f"{where}: {error}. {self._remedy}") from error
                if not (whole or record.torn or mcap.only_zeros(file)):
                    raise RecordingError(f"{where}: a chunk is damaged (its checksum is wrong). {self._remedy}")
                if record.torn:
                    self._breaks_off(record)
                lost = 0 if whole else len(data) - mcap.whole(data) if data else len(record.body)
                yield _Block(data, lost)
            elif record.torn:
                self._breaks_off(record)
                return
            elif record.opcode == mcap.DATA_END:
                yield _Block(b"", last=True)
            else:
                yield _Block(mcap.HEAD.pack(record.opcode, record.length) + record.body)

    @property
    def _remedy(self) -> str:
        return f"`visavis recover {self.path}` keeps what is whole before and after it."

    def _breaks_off(self, record: mcap.Record) -> None:
        """A record reaches beyond the end of a file whose end is there: its length is wrong."""
        if self._complete:
            where = f"{self.path}: at byte {record.end - record.length}"
            raise RecordingError(f"{where}: a record is damaged (its length is wrong). {self._remedy}")

    def _read_statistics(self, file: BinaryIO, size: int) -> bool:
        """Take counts and duration from the summary. False if the file has no proper end."""
        file.seek(max(0, size - len(mcap.MAGIC) - mcap.FOOTER_BYTES))
        tail = file.read()
        opcode, length = mcap.HEAD.unpack_from(tail)
        if not tail.endswith(mcap.MAGIC) or opcode != mcap.FOOTER or length != mcap.FOOTER_BYTES - mcap.HEAD.size:
            return False
        start = int.from_bytes(tail[mcap.HEAD.size : mcap.HEAD.size + 8], "little")
        if not len(mcap.MAGIC) < start < size:
            return False
        names: dict[int, str] = {}
        file.seek(start)
        for record in mcap.records(file, size):
            if record.opcode == mcap.CHANNEL:
                channel = mcap.parse(Channel.read, record.body)
                names[channel.id] = channel.topic
            elif record.opcode == mcap.STATISTICS:
                statistics = mcap.parse(Statistics.read, record.body)
                self.duration = statistics.message_end_time
                counts = statistics.channel_message_counts
                self.counts = {names[key]: count for key, count in counts.items() if names.get(key) in BY_NAME}
                return True
        return False

    def _scan(self, file: BinaryIO, size: int) -> None:
        """Count what is there in a file without an end, and say what is missing."""
        ended = False
        for block in self._blocks(file, size):
            self.lost_bytes, ended = block.lost, block.last
        for wire, _, at, _, _ in self._messages(file, set(BY_NAME)):
            self.counts[wire.topic] = self.counts.get(wire.topic, 0) + 1
            self.duration = at
        if ended:
            self.torn = f"{self.path} has no summary: it was cut off while it was being completed. No packet is lost."
            return
        self.torn = (
            f"{self.path} has no end (the session was killed, the disk was full, or the file was cut): "
            f"it can be read up to {self.duration / SECOND:.3f} s, {sum(self.counts.values())} packets; "
            f"{f'{self.lost_bytes} bytes at its end are no whole packet, and ' if self.lost_bytes else ''}"
            "what had not been written yet (at most one chunk: 64 kB or a second) is lost."
        )


def header_of(path: Path) -> session.Header:
    """Only the session header of a recording, whatever follows it. Raises `RecordingError`."""
    try:
        with path.open("rb") as file:
            return _read_header(file, file.seek(0, 2), path)
    except OSError as error:
        raise RecordingError(f"cannot read the recording {path}: {error.strerror or error}.") from error


def _read_header(file: BinaryIO, size: int, path: Path) -> session.Header:
    """The session header, which stands before everything else. Raises `RecordingError`."""
    if size == 0:
        raise RecordingError(f"{path} is empty: nothing was recorded in it.")
    file.seek(0)
    magic = file.read(len(mcap.MAGIC))
    if not mcap.MAGIC.startswith(magic):
        raise RecordingError(f"{path} is no recording: it is not an MCAP file.")
    foreign = f"{path} is an MCAP file, but not a recording of visavis"
    for record in mcap.records(file, size):
        if record.torn:
            break
        if record.opcode == mcap.HEADER:
            profile = mcap.parse(McapHeader.read, record.body)
            foreign = f"{foreign} (its profile is {profile.profile!r}, written by {profile.library!r})."
        elif record.opcode == mcap.METADATA:
            metadata = mcap.parse(Metadata.read, record.body)
            if metadata.name == session.RECORD:
                return session.Header.from_record(metadata.metadata, path)
        elif record.opcode in _BODY:
            raise RecordingError(foreign)
    raise RecordingTorn(f"{path} ends before its header is complete: nothing can be read from it.")

"""MCAP records out of bytes: a small parser that takes what is whole and says where it ends.

The `mcap` library refuses a torn file and takes some 80 us a message; this reads only what is asked for. It leaves
decompression and the rare records to the library. Layouts: https://mcap.dev/spec#records. All little-endian.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple, TypeVar

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.records import Chunk
from mcap.stream_reader import get_chunk_data_stream
from zstandard import ZstdError

from streams.errors import RecordingError

T = TypeVar("T")

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 1, 2, 3, 4, 5, 6
STATISTICS, METADATA, DATA_END = 0x0B, 0x0C, 0x0F

HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<BQHIQq")
"""opcode, length, channel, sequence, log time, publish time (signed: see `Tape`)"""
MESSAGE_BODY = MESSAGE_HEAD.size - HEAD.size
"""Where a message's data begin in its content."""
_CHUNK_HEAD = struct.Struct("<QQQII")
"""start time, end time, uncompressed size, CRC, length of the compression's name"""
FOOTER_BYTES = HEAD.size + 20
_LENGTH = struct.Struct("<Q")


class Record(NamedTuple):
    """One record of the file. body: its content, shorter than `length` when the file ends inside it."""

    opcode: int
    length: int
    body: bytes
    end: int

    @property
    def torn(self) -> bool:
        """The file ends inside this record."""
        return len(self.body) < self.length


def records(file: BinaryIO, size: int, skip: frozenset[int] = frozenset()) -> Iterator[Record]:
    """The records from the file's position on, up to and including the first that is torn or ends the data section.

    size: of the file, in bytes;  skip: opcodes to pass over without reading them
    """
    position = file.tell()
    while position < size:
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return
        opcode, length = HEAD.unpack(head)
        position += HEAD.size + length
        if opcode == 0:  # the zeros that some file systems leave after a power cut
            return
        if opcode in skip and position <= size:
            file.seek(length, 1)
            continue
        yield Record(opcode, length, file.read(min(length, size)), position)
        if opcode == DATA_END:
            return


def contents(chunk: Record) -> tuple[bytes, bool]:
    """The records in a chunk, uncompressed, and whether they are all there.

    Of an uncompressed chunk that is torn, all bytes that are there; of a compressed one, none. Where the checksum is
    wrong, all up to the zeros at its end, which is what a power cut leaves. Raises `RecordingError` if a compressed
    chunk is damaged.
    """
    body = chunk.body
    if len(body) < _CHUNK_HEAD.size:
        return b"", False
    _, _, _, crc, name = _CHUNK_HEAD.unpack_from(body)
    begin = _CHUNK_HEAD.size + name + 8
    if len(body) < begin:
        return b"", False
    if name:
        return (b"", False) if chunk.torn else (_decompressed(body), True)
    data = body[begin:]
    if chunk.torn:
        return data, False
    if len(data) != _LENGTH.unpack_from(body, begin - 8)[0] or (crc and zlib.crc32(data) != crc):
        return data.rstrip(b"\0"), False
    return data, True


def only_zeros(file: BinaryIO) -> bool:
    """Whether nothing but zeros follows the file's position."""
    while piece := file.read(1 << 20):
        if piece.strip(b"\0"):
            return False
    return True


def whole(data: bytes) -> int:
    """How many bytes at the beginning of `data` are whole records."""
    position = 0
    while position + HEAD.size <= len(data):
        opcode, length = HEAD.unpack_from(data, position)
        if not opcode or position + HEAD.size + length > len(data):
            break
        position += HEAD.size + length
    return position


def _decompressed(body: bytes) -> bytes:
    try:
        stream, length = get_chunk_data_stream(parse(Chunk.read, body), validate_crc=True)
        return stream.read(length)
    except (McapError, ValueError, RuntimeError, ZstdError) as error:
        raise RecordingError(f"a compressed chunk is damaged: {error}") from error


def parse(read: Callable[[ReadDataStream], T], body: bytes) -> T:
    """One of the rare records, by the library's own reader. Raises `RecordingError` if its body is too short."""
    try:
        return read(ReadDataStream(BytesIO(body)))
    except (McapError, ValueError, struct.error) as error:
        raise RecordingError(f"a record is damaged: {error}") from error

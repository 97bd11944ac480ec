"""Writing a session: `Tape` makes MCAP of packets, `Recorder` is the tap that feeds one.

MCAP specification: https://mcap.dev/spec. Small uncompressed chunks, because a chunk is what a crash can cost: a chunk
is closed at 64 kB or when a second of session time has passed, whichever is first.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from mcap.writer import CompressionType, Writer

from streams.bus import Lane
from streams.clock import SECOND, Clock
from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording.header import RECORD, Header
from streams.recording.schemas import PLACE_WIRE, WIRES, Place, Wire, place_after, place_of
from streams.recording.spool import Spool
from streams.topics import RECORDED, Topic
from streams.types import Fault

CHUNK_BYTES = 64 << 10
CHUNK_NS = SECOND
BACKLOG_BYTES = 32 << 20
PROFILE = "visavis"
_U64 = (1 << 64) - 1


class Output(Protocol):
    """The file under a `Tape`. Every call may raise `OSError`."""

    def write(self, data: bytes, /) -> Any:
        """Take all of `data`."""

    def tell(self) -> int:
        """Bytes taken so far."""

    def flush(self) -> Any:
        """Hold nothing back."""


class Tape:
    """Packets to MCAP bytes, synchronously. Log time is `at`, publish time is `t`, sequence is `order`.

    Makes magic, header and the session's metadata at once. Raises what `output` raises.
    """

    def __init__(self, output: Output, header: Header) -> None:
        self._writer = Writer(
            output,  # type: ignore[arg-type] # it needs no more than an Output
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.NONE,
        )
        record = header.to_record()
        self._writer.start(profile=PROFILE, library=f"visavis {header.versions.get('visavis', '')}".strip())
        self._writer.add_metadata(RECORD, record)
        self._places: dict[str, Place] = {}
        self._since: int | None = None
        self._channels: dict[str, int] = {}
        schemas: dict[str, int] = {}
        for wire in (*WIRES.values(), PLACE_WIRE):
            self._channels[wire.topic] = self._register(wire, schemas)

    def _register(self, wire: Wire, schemas: dict[str, int]) -> int:
        if wire.schema not in schemas:
            schemas[wire.schema] = self._writer.register_schema(wire.schema, wire.schema_encoding, wire.schema_data)
        return self._writer.register_channel(wire.topic, wire.message_encoding, schemas[wire.schema])

    @property
    def since(self) -> int | None:
        """Session time (ns) of the oldest packet that is not yet in `output`, None if there is none."""
        return self._since

    def write(self, packet: Packet[Any]) -> None:
        """Add one packet; the chunk goes out when it is large or old enough. Packets come in their order."""
        name = packet.topic.name
        place = place_of(packet)
        if place != self._places.get(name, Place(name)):
            self._add(PLACE_WIRE, place, packet)
        self._places[name] = place_after(packet)
        self._add(WIRES[name], packet.data, packet)
        if self._since is None:
            self._since = packet.at
        elif packet.at - self._since >= CHUNK_NS:
            self.flush()

    def _add(self, wire: Wire, data: Any, packet: Packet[Any]) -> None:
        self._writer.add_message(
            self._channels[wire.topic],
            log_time=packet.at,
            data=wire.encode(data, packet.t),
            publish_time=packet.t & _U64,  # two's complement: a `t` before the session began comes back exactly
            sequence=packet.order,
        )

    def flush(self) -> None:
        """Close the chunk and give it to `output`."""
        self._writer.flush()  # type: ignore[no-untyped-call]
        self._since = None

    def finish(self) -> None:
        """Close the last chunk and write summary, statistics and footer, so that every tool opens the file."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._since = None


class Recorder:
    """The tap that records a session to `path` as it happens. See `docs/recording.md` for the format.

    The file is made, and the header is in it, when this returns: a file that is there is replaced then. Raises
    `RecordingError` if it cannot be made. Formatting is done on the loop (some 20 us a packet), writing in a thread; on
    the virtual clock all is done in place. When a write fails (full disk) or the disk falls 32 MiB behind, one
    `Fault` is reported, recording stops, what was written stays readable, and the session goes on.
    Cancelling `run` completes the file first, and waits for that off the loop and bounded.

    lost: packets per topic that never came here, because the topic is `Latest` (pictures only)
    """

    name = "recorder"
    reads: tuple[Topic[Any], ...] = RECORDED

    def __init__(self, path: str | PathLike[str], header: Header) -> None:
        self.path = Path(path)
        self.lost: dict[str, int] = {}
        self._spool = Spool(self.path, BACKLOG_BYTES)
        self._failed = False
        try:
            self._tape = Tape(self._spool, header)
        except OSError as error:
            self._spool.close()
            raise RecordingError(f"cannot write the recording {self.path}: {error.strerror or error}.") from error
        except BaseException:
            self._spool.close()
            raise

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Record `lane` until it ends; closes it and returns early after a failure, which it reports."""
        if not clock.virtual:
            self._spool.detach(clock)
        try:
            await self._record(lane, clock)
        except (OSError, RecordingError) as error:
            self._fail(error, report)
        finally:
            lane.close()
            self.lost = dict(lane.dropped)
            await self._finish(report)

    async def _record(self, lane: Lane, clock: Clock) -> None:
        while True:
            # A chunk must not wait for the next packet when little happens. Virtual time needs no such timer, and
            # one that is always pending would hide a deadlock.
            since = None if clock.virtual else self._tape.since
            packet = await lane.get(None if since is None else since + CHUNK_NS)
            if packet is not None:
                self._tape.write(packet)
            elif lane.ended:
                return
            else:
                self._tape.flush()

    async def _finish(self, report: Callable[[Fault], None]) -> None:
        try:
            if not self._failed and not self._spool.closed:
                self._tape.finish()
                await self._spool.aclose()
        except (OSError, RecordingError) as error:
            self._fail(error, report)
        finally:
            self._spool.close()

    def _fail(self, error: OSError | RecordingError, report: Callable[[Fault], None]) -> None:
        if self._failed:
            return
        self._failed = True
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        report(
            Fault(
                self.name,
                type(error).__name__,
                f"recording to {self.path} has stopped: {reason}; what was recorded until then can be read.",
            )
        )

    def close(self) -> None:
        """Complete the file and close it. `run` does so itself; only a session that never ran must. Idempotent."""
        try:
            if not self._failed and not self._spool.closed:
                self._tape.finish()
        finally:
            self._spool.close()

"""Making a whole file of a torn or damaged one, so that our own reader and other tools take it."""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import salvage
from streams.recording.reader import Recording, header_of
from streams.recording.salvage import Loss
from streams.recording.writer import Tape


class Recovery(NamedTuple):
    """What `recover` did.

    path: the whole file;  packets: how many are in it;  duration: session time (ns) of the last
    torn, lost_bytes: of the file it was made from, see `Recording` (torn is "" if that was whole already, or damaged)
    losses: what was damaged before its end
    """

    path: Path
    packets: int
    duration: int
    torn: str
    lost_bytes: int
    losses: tuple[Loss, ...] = ()


def recover(path: str | PathLike[str], out: str | PathLike[str] | None = None) -> Recovery:
    """Write the packets of `path`, torn, damaged or whole, to a whole one (default: `….recovered.mcap` beside it).

    Of a damaged file every whole chunk before and after the damage is kept; what was lost is in `Recovery.losses`, and
    in the new header's `extra["lost"]`. The file at `path` is left as it is, unless `out` names it; `out` appears only
    when it is complete. Raises `RecordingError` if there is nothing to recover or `out` cannot be written.
    """
    path = Path(path)
    header = header_of(path)
    torn, lost_bytes = "", 0
    try:
        losses = tuple(piece for piece in salvage.packets(path) if isinstance(piece, Loss))
        if losses:
            header = replace(header, extra={**header.extra, "lost": [loss._asdict() for loss in losses]})
        else:
            recording = Recording.open(path)
            torn, lost_bytes = recording.torn, recording.lost_bytes
    except OSError as error:
        raise RecordingError(f"cannot read the recording {path}: {error.strerror or error}.") from error
    target = Path(out) if out is not None else path.with_suffix(".recovered.mcap")
    part = target.with_name(target.name + ".part")
    packets = duration = 0
    try:
        with part.open("wb") as file:
            tape = Tape(file, header)
            for packet in salvage.packets(path):
                if isinstance(packet, Packet):
                    tape.write(packet)
                    packets += 1
                    duration = packet.at
            tape.finish()
        part.replace(target)
    except OSError as error:
        raise RecordingError(f"cannot write the recovered recording {target}: {error.strerror or error}.") from error
    finally:
        if part.exists():
            part.unlink()
    return Recovery(target, packets, duration, torn, lost_bytes, losses)

"""Making a whole file of a torn one, so that other tools read it too. Our own reader needs no such thing."""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

from streams.errors import RecordingError
from streams.recording.reader import Recording
from streams.recording.writer import Tape


class Recovery(NamedTuple):
    """What `recover` did.

    path: the whole file;  packets: how many are in it;  duration: session time (ns) of the last
    torn, lost_bytes: of the file it was made from, see `Recording` (torn is "" if that was whole already)
    """

    path: Path
    packets: int
    duration: int
    torn: str
    lost_bytes: int


def recover(path: str | PathLike[str], out: str | PathLike[str] | None = None) -> Recovery:
    """Write the packets of `path`, torn or whole, to a whole recording `out` (default: `….recovered.mcap` beside it).

    The file at `path` is left as it is, unless `out` names it; `out` appears only when it is complete. Raises
    `RecordingError` if there is nothing to recover, `out` cannot be written, or a chunk in the middle is damaged.
    """
    recording = Recording.open(path)
    target = Path(out) if out is not None else recording.path.with_suffix(".recovered.mcap")
    part = target.with_name(target.name + ".part")
    packets = 0
    try:
        with part.open("wb") as file:
            tape = Tape(file, recording.header)
            for packet in recording.packets():
                tape.write(packet)
                packets += 1
            tape.finish()
        part.replace(target)
    except OSError as error:
        raise RecordingError(f"cannot write the recovered recording {target}: {error.strerror or error}.") from error
    finally:
        if part.exists():
            part.unlink()
    return Recovery(target, packets, recording.duration, recording.torn, recording.lost_bytes)

"""Answers as LeRobot's policy server gives them, but for the memo: written here, without torch or LeRobot.

`tests/test_lerobot_pickles.py` holds them against torch's own where torch is installed, and against an answer that was
recorded of the real server (LeRobot 0.4.4, torch 2.13).
"""

import struct
from collections.abc import Sequence

import numpy as np

from policies.chunks.scaling import Floats

HELPERS = "lerobot.async_inference.helpers"
STOP = b"."


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def storage(numbers: Sequence[float] | Floats, key: str = "94403140796336") -> bytes:
    """`torch.save(torch.FloatStorage(numbers), ...)` before torch's files were zip files."""
    values = np.asarray(numbers, "<f4").ravel()
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    version = b"\x80\x02M\xe9\x03."
    system = b"\x80\x02}(" + text("little_endian") + b"\x88" + text("protocol_version") + b"M\xe9\x03u."
    described = text("storage") + named("torch", "FloatStorage") + text(key) + text("cpu") + number(len(values)) + b"N"
    kept = b"\x80\x02(" + described + b"tQ."
    keys = b"\x80\x02](" + text(key) + b"e."
    return magic + version + system + kept + keys + struct.pack("<q", len(values)) + values.tobytes()


def tensor(blob: bytes, start: int, count: int, stride: int = 1) -> bytes:
    """The call that makes a view of a storage."""
    kept = named("torch.storage", "_load_from_bytes") + raw(blob) + b"\x85R"
    hooks = named("collections", "OrderedDict") + b")R"
    shape = number(count) + b"\x85" + number(stride) + b"\x85"
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + kept + number(start) + shape + b"\x89" + hooks + b"tR"


def row(step: int, time_s: float, action: bytes) -> bytes:
    """A TimedAction. action: as a pickle without beginning and end"""
    state = (
        text("timestamp") + b"G" + struct.pack(">d", time_s) + text("timestep") + number(step) + text("action") + action
    )
    return named(HELPERS, "TimedAction") + b")\x81}(" + state + b"ub"


def answer(rows: Floats, step: int, time_s: float = 1.5, every_s: float = 0.02) -> bytes:
    """What `GetActions` answers."""
    blob, columns = storage(rows), rows.shape[1]
    each = [
        row(step + place, time_s + place * every_s, tensor(blob, place * columns, columns))
        for place in range(len(rows))
    ]
    return b"\x80\x04](" + b"".join(each) + b"e."

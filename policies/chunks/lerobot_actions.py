"""A chunk of actions as LeRobot's policy server pickles it: list[TimedAction], with a tensor of torch in each.

Read without LeRobot, torch or any unpickler (`pickled.py`), and only in the one form that these have (seen in LeRobot
0.4.0 to 0.6.1, torch 2.13): a TimedAction has timestamp, timestep and action; the action is a view of a storage,
`torch._utils._rebuild_tensor_v2`; the storage is bytes that torch would give to a second unpickler
(`torch.storage._load_from_bytes`, torch's file format before 1.6): four small pickles, the number of its elements, and
these. The second is read as the first is.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.chunks.errors import ChunkRefused
from policies.chunks.pickled import Called, Kept, Made, Named, PickleRefused, Pickles
from policies.chunks.scaling import Floats

MODULE = "lerobot.async_inference.helpers"
_ACTION, _TENSOR = (MODULE, "TimedAction"), ("torch._utils", "_rebuild_tensor_v2")
_STORAGE, _HOOKS = ("torch.storage", "_load_from_bytes"), ("collections", "OrderedDict")
_TYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2"}
_MAGIC, _FORMAT = 0x1950A86A20F9469CFC6C, 1001
_STORAGE_OPERATIONS, _ROW_OPERATIONS = 200, 64


class Chunk(NamedTuple):
    """rows: float32[rows, columns];  step_s: between two of them, as the server has it"""

    rows: Floats
    step_s: float


def most_bytes(rows: int, columns: int) -> int:
    """What an answer may have: each row has the storage of all of them."""
    return 4096 + rows * (2048 + rows * columns * 8)


def read_chunk(data: bytes, first: int, rows: int, columns: int) -> Chunk:
    """The chunk for the observation whose timestep is `first`. Raises `ChunkRefused` for anything else, as for code."""
    try:
        return _chunk(data, first, rows, columns)
    except PickleRefused as error:
        raise ChunkRefused(f"what the server answers is no chunk of actions: {error}.") from error


def _chunk(data: bytes, first: int, rows: int, columns: int) -> Chunk:
    if len(data) > most_bytes(rows, columns):
        raise PickleRefused("it is too large")
    pickles = Pickles(data, (_ACTION, _TENSOR, _STORAGE, _HOOKS), 64 + rows * _ROW_OPERATIONS)
    said = pickles.next()
    _must(not pickles.rest, "something follows it")
    _must(type(said) is list, "it is no list")
    _must(len(said) == rows, f"it has {len(said)} rows instead of {rows}")
    storages: dict[bytes, NDArray[Any]] = {}
    found, times = np.empty((rows, columns), np.float32), []
    for row, each in enumerate(said):
        _must(type(each) is Made and _is(each.kind, _ACTION) and not each.arguments, "a row is no TimedAction")
        state = each.state or {}
        _must(state.keys() == {"timestamp", "timestep", "action"}, "a TimedAction has other attributes")
        step, time = state["timestep"], state["timestamp"]
        _must(type(step) is int and step == first + row, "it belongs to another observation")
        _must(type(time) is float and math.isfinite(time), "a row has no time")
        times.append(time)
        with np.errstate(over="ignore"):  # of float64: is told below
            found[row] = _row(state["action"], columns, storages)
    _must(bool(np.isfinite(found).all()), "it has what is no number")
    return Chunk(found, (times[-1] - times[0]) / max(1, rows - 1))


def _row(tensor: Any, columns: int, storages: dict[bytes, NDArray[Any]]) -> NDArray[Any]:
    """One row of numbers. storages: that were read already, by their bytes; most are the same for all rows."""
    _must(type(tensor) is Called and _is(tensor.function, _TENSOR), "an action is no tensor")
    _must(len(tensor.arguments) == 6, "a tensor has other arguments")
    kept, start, shape, strides = tensor.arguments[:4]
    _must(type(kept) is Called and _is(kept.function, _STORAGE) and len(kept.arguments) == 1, "a tensor has no storage")
    _must(type(start) is int and _whole(shape) and _whole(strides), "a tensor has no shape")
    _must(len(shape) == 1 and shape[0] == columns, f"a row has not {columns} columns")
    (blob,) = kept.arguments
    _must(type(blob) is bytes, "a storage is no bytes")
    if blob not in storages:
        storages[blob] = _storage(blob)
    storage = storages[blob]
    stride = strides[0] if len(strides) == 1 else 0
    end = start + (columns - 1) * stride
    _must(stride > 0 and 0 <= start <= end < len(storage), "a tensor is outside its storage")
    return storage[start : end + 1 : stride]


def _storage(blob: bytes) -> NDArray[Any]:
    """The numbers of a storage as torch writes one."""
    pickles = Pickles(blob, [("torch", name) for name in _TYPES], _STORAGE_OPERATIONS)
    magic, version, system = pickles.next(), pickles.next(), pickles.next()
    _must(type(magic) is int and magic == _MAGIC, "a storage does not begin as torch's do")
    _must(type(version) is int and version == _FORMAT, "a storage has another version")
    _must(type(system) is dict and system.get("little_endian") is True, "a storage is not little endian")
    kept, keys = pickles.next(), pickles.next()
    _must(type(kept) is Kept and len(kept.key) == 6, "a storage is not described")
    kind, named, key, _, count, view = kept.key
    _must(type(kind) is str and kind == "storage" and view is None, "a storage is not described")
    _must(type(named) is Named and type(key) is str and type(count) is int, "a storage is not described")
    _must(type(keys) is list and len(keys) == 1 and type(keys[0]) is str and keys[0] == key, "there is another storage")
    form = np.dtype(_TYPES[named.name])
    told = int.from_bytes(pickles.take(8), "little", signed=True)
    _must(count == told and pickles.rest == count * form.itemsize, "a storage has not the size that it tells")
    numbers = np.frombuffer(pickles.take(pickles.rest), form)
    if named.name == "BFloat16Storage":  # the upper half of a float32
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _whole(values: Any) -> bool:
    return type(values) is tuple and all(type(each) is int for each in values)


def _is(named: Named, wanted: tuple[str, str]) -> bool:
    return (named.module, named.name) == wanted


def _must(right: bool, why: str) -> None:
    if not right:
        raise PickleRefused(why)

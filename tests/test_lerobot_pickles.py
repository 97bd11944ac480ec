"""What LeRobot's policy server answers is read, and nothing in it is ever done: no code, no flood, no trap."""

import base64
import pickle
import random
import struct
import sys
import time
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.chunks.errors import ChunkRefused
from policies.chunks.lerobot_actions import Chunk, most_bytes, read_chunk
from policies.chunks.pickled import Kept, PickleRefused, Pickles
from tests.lerobot_pickles import HELPERS, answer, named, number, raw, row, storage, tensor, text

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
GOOD = answer(ROWS, 9)
RECORDED = Path(__file__).parent / "golden" / "lerobot" / "answer-0.4.4.b64"
"""Of `lerobot.async_inference.policy_server` (LeRobot 0.4.4, torch 2.13, Python 3.11; an ACT with 6 joints)."""


def recorded() -> bytes:
    return base64.b64decode(RECORDED.read_text())


def begun(inside: bytes) -> bytes:
    return b"\x80\x04" + inside + b"."


def with_tensor(action: bytes) -> bytes:
    return begun(b"](" + row(9, 1.0, action) + b"e")


def with_storage(blob: bytes) -> bytes:
    return with_tensor(tensor(blob, 0, 3))


# --- what is read


def test_an_answer_that_was_recorded_of_the_real_server() -> None:
    rows, step_s = read_chunk(recorded(), 1, 4, 6)
    assert rows.dtype == np.float32 and rows.shape == (4, 6)
    assert rows[0] == pytest.approx([-9.929878, -7.2431374, -7.766282, 0.10245991, 9.06353, 25.421425])
    assert rows[3] == pytest.approx([-9.875505, -7.637887, -4.6714644, 1.2281115, 9.395174, 24.817776])
    assert step_s == pytest.approx(1 / 30)


def test_the_answers_of_these_tests() -> None:
    rows, step_s = read_chunk(GOOD, 9, 4, 3)
    assert np.array_equal(rows, ROWS) and step_s == pytest.approx(0.02)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
def test_what_torch_really_writes(kind: str, protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    class TimedAction:
        def __init__(self, step: int, action: Any) -> None:
            self.timestamp, self.timestep, self.action = 1.5 + step / 30, step, action

    TimedAction.__module__, TimedAction.__qualname__ = HELPERS, "TimedAction"
    for name in ("lerobot", "lerobot.async_inference", HELPERS):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[HELPERS], "TimedAction", TimedAction, raising=False)
    chunk = torch.linspace(-3, 3, 150).reshape(1, 50, 3)[:, :40].to(getattr(torch, kind)).squeeze(0)
    data = pickle.dumps([TimedAction(5 + i, action) for i, action in enumerate(list(chunk))], protocol)
    rows, step_s = read_chunk(data, 5, 40, 3)
    assert np.array_equal(rows, chunk.float().numpy()) and step_s == pytest.approx(1 / 30)
    assert len(data) <= most_bytes(40, 3)


# --- what is not


class Harm:
    """What it would do, `pickle.loads` does."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def test_code_is_not_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    import os

    for harm in (
        Harm(os.system, (f"touch {touched}",)),
        Harm(eval, (f"open({str(touched)!r}, 'w')",)),
        Harm(exec, (f"open({str(touched)!r}, 'w')",)),
        Harm(Path.touch, (touched,)),
        Harm(getattr, (touched, "touch")),
    ):
        for protocol in range(6):
            code = pickle.dumps(harm, protocol)
            inner = code[2 if protocol >= 2 else 0 : -1]
            magic_after = storage([0, 0, 0]).replace(b"\x80\x02M\xe9\x03.", code)
            for data in (
                code, begun(b"](" + inner + b"e"), with_tensor(inner), with_storage(code), with_storage(magic_after),
                GOOD[:-1] + b"0" + inner + b".", GOOD + code,
            ):  # fmt: skip
                with pytest.raises(ChunkRefused):
                    read_chunk(data, 9, 1, 3)
    pickle.loads(pickle.dumps(Harm(os.system, (f"touch {touched}",))))
    assert touched.exists()  # so it is no lame harm
    modules = set(sys.modules)
    for module in ("antigravity", "this", "lerobot.async_inference.helpers", "torch.storage"):
        with pytest.raises(ChunkRefused):
            read_chunk(begun(named(module, "TimedAction") + b")\x81"), 9, 1, 3)
    assert set(sys.modules) == modules


SMALL = storage([0, 0, 0])
BAD: dict[str, bytes] = {
    "nothing": b"",
    "no pickle": b"hello",
    "only a beginning": b"\x80\x04",
    "cut off": GOOD[:-20],
    "something after": GOOD + b"x",
    "too many rows": answer(np.zeros((2, 3), np.float32), 9),
    "no rows": begun(b"]"),
    "no list": begun(row(9, 1.0, tensor(SMALL, 0, 3))),
    "another step": answer(np.zeros((1, 3), np.float32), 8),
    "more columns": with_tensor(tensor(storage(np.zeros(4)), 0, 4)),
    "no number": answer(np.full((1, 3), np.nan, np.float32), 9),
    "too large a number": answer(np.full((1, 3), np.inf, np.float32), 9),
    "no time": begun(b"](" + row(9, float("nan"), tensor(SMALL, 0, 3)) + b"e"),
    "no tensor": with_tensor(b"N"),
    "a list for a tensor": with_tensor(b"](" + b"G" + bytes(8) + b"e"),
    "before its storage": with_tensor(tensor(SMALL, -1, 3)),
    "behind its storage": with_tensor(tensor(SMALL, 1, 3)),
    "backwards": with_tensor(tensor(SMALL, 2, 3, -1)),
    "one number for all": with_tensor(tensor(SMALL, 0, 3, 0)),
    "far behind": with_tensor(tensor(SMALL, 0, 3, 2**30)),
    "a storage cut off": with_storage(SMALL[:-1]),
    "a storage too long": with_storage(SMALL + b"\0"),
    "a storage that lies": with_storage(SMALL.replace(struct.pack("<q", 3), struct.pack("<q", 2**60))),
    "a storage of -1": with_storage(SMALL.replace(struct.pack("<q", 3), struct.pack("<q", -1))),
    "big endian": with_storage(SMALL.replace(b"\x88", b"\x89")),
    "another storage's key": with_storage(storage([0, 0, 0]).replace(b"94403140796336e", b"94403140796337e")),
    "a file of torch's today": with_storage(b"PK\x03\x04" + bytes(100)),
    "another kind of storage": with_storage(SMALL.replace(b"FloatStorage", b"QUInt4x2Storage")),
    "a hook": with_tensor(tensor(SMALL, 0, 3).replace(b"OrderedDict", b"defaultdict")),
    "a class as function": with_tensor(named(HELPERS, "TimedAction") + b")R"),
    "a state twice": begun(b"](" + row(9, 1.0, tensor(SMALL, 0, 3)) + b"}be"),
    "an attribute more": begun(b"](" + row(9, 1.0, tensor(SMALL, 0, 3))[:-2] + text("__class__") + b"Nub" + b"e"),
    "no state": begun(b"](" + named(HELPERS, "TimedAction") + b")\x81e"),
    "a state from nothing": begun(b"}b"),
    "keys that are tuples": begun(b"}()Nu"),
    "a key without a value": begun(b"}(" + text("a") + b"u"),
    "an operation of old": begun(b"](ios\nsystem\ne"),
    "an extension": begun(b"\x82\x01"),
    "a buffer from elsewhere": begun(b"\x97"),
    "a set": begun(b"\x8f"),
    "something kept elsewhere": begun(b"](NQe"),
    "a mark that is not there": begun(b"t"),
    "more than is above the mark": begun(b"NN(\x86t"),
    "nothing remembered": begun(b"h\x00"),
    "no text": begun(b"\x8c\x02\xff\xff"),
    "a name without end": begun(b"c" + b"a" * 1000),
    "a large integer": begun(b"\x8a\xff" + bytes(255)),
}


@pytest.mark.parametrize("what", BAD)
def test_anything_else_is_refused(what: str) -> None:
    with pytest.raises(ChunkRefused, match="no chunk of actions: ") as refused:
        read_chunk(BAD[what], 9, 1, 3)
    assert len(str(refused.value)) < 200 and str(refused.value).isprintable()


NESTED = 20_000
TWICE = b"".join(b"h%ch%c\x86\x94" % (place, place) for place in range(60))
FLOODS: dict[str, bytes] = {
    "bytes that are not there": begun(b"B" + struct.pack("<I", 2**32 - 1)),
    "8 exabytes": begun(b"\x8e" + struct.pack("<Q", 2**63 - 1)),
    "a text that is not there": begun(b"X" + struct.pack("<I", 2**32 - 1)),
    "remembered at the end of memory": begun(b"Nr" + struct.pack("<I", 2**32 - 1)),
    "a frame without end": b"\x80\x04\x95" + struct.pack("<Q", 2**64 - 1) + b"N.",
    "lists in lists": begun(b"]" * NESTED + b"a" * (NESTED - 1)),
    "tuples in tuples": begun(b")" + b"\x85" * NESTED),
    "twice the same, sixty times": begun(b")\x94" + TWICE),
    "with it as a key": begun(b"})\x94" + TWICE + b"Ns"),
    "with it as a shape": with_tensor(
        named("torch._utils", "_rebuild_tensor_v2") + b"(" + named("torch.storage", "_load_from_bytes") + raw(SMALL)
        + b"\x85R" + number(0) + b")\x94" + TWICE
        + number(1) + b"\x85\x89NtR"
    ),
    "a list in itself": begun(b"]\x94h\x00a"),
    "a row in its state": begun(b"](" + named(HELPERS, "TimedAction") + b")\x81\x94}(" + text("action") + b"h\x00ube"),
    "operations without end": begun(b"N(" * 100_000),
    "texts without end": begun((b"\x8c\xff" + b"a" * 255) * 400),
    "more bytes than there can be": begun(raw(bytes(most_bytes(1, 3)))),
    "storages in storages": with_storage(storage([0] * 3) * 10),
}  # fmt: skip


@pytest.mark.parametrize("what", FLOODS)
def test_floods_and_traps_end_soon_and_take_little(what: str) -> None:
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ChunkRefused):
            read_chunk(FLOODS[what], 9, 1, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 2 and peak < 8 << 20


@pytest.mark.parametrize("key", [b")\x94" + TWICE, b"]", b"N", b"K\x00", b"}"])
def test_only_texts_are_keys(key: bytes) -> None:
    """A tuple of tuples that are the same has few bytes, and a hash that takes 2**60 steps."""
    with pytest.raises(PickleRefused, match=r"key that is no text|one kind of value"):
        Pickles(begun(b"}" + key + b"Ns"), (), 100_000).next()


def test_depth_that_is_allowed_is_only_data() -> None:
    depth = 100_000
    for code in (b"]" * depth + b"a" * (depth - 1), b"N" + b"\x85" * depth, b"N" + b"\x85Q" * depth):
        nested = Pickles(begun(code), (), 3 * depth).next()
        assert type(nested) in (list, tuple, Kept)
        del nested  # which does not overflow any stack


@pytest.mark.parametrize("name", ["the recorded", "ours"])
def test_damaged_answers(name: str) -> None:
    """5000 of each: bits, bytes, pieces and operations changed, left out, doubled and moved."""
    good, shape, first = (recorded(), (4, 6), 1) if name == "the recorded" else (GOOD, (4, 3), 9)
    pieces = [good, GOOD, SMALL, *BAD.values(), pickle.dumps(Harm(print, ("no",)))]
    chance, operations = random.Random(20), bytes(range(256))
    read = refused = 0
    longest = 0.0
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(6):
                case 0 if at < len(data):
                    data[at] ^= 1 << chance.randrange(8)
                case 1 if at < len(data):
                    data[at] = chance.choice(operations)
                case 2:
                    del data[at : at + chance.randrange(1, 40)]
                case 3:
                    data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(1, 60)]
                case 4:
                    piece = chance.choice(pieces)
                    start = chance.randrange(len(piece) + 1)
                    data[at:at] = piece[start : start + chance.randrange(1, 80)]
                case _:
                    data[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
        began = time.thread_time()
        try:
            found = read_chunk(bytes(data), first, *shape)
        except ChunkRefused:
            refused += 1
        else:
            read += 1
            assert isinstance(found, Chunk) and found.rows.shape == shape and np.isfinite(found.rows).all()
        longest = max(longest, time.thread_time() - began)
    assert refused > 2500 and read > 100  # a number with another last digit is still a number
    assert longest < 1


def test_bytes_at_random_are_refused() -> None:
    chance = random.Random(4)
    for _ in range(3000):
        with pytest.raises(PickleRefused):
            Pickles(b"\x80\x04" + chance.randbytes(chance.randrange(200)) + b"\xff", (), 1000).next()

"""Reads Python pickles as what they say, without doing what they say: nothing is imported, called or made.

A pickle is a small program for a stack machine (`pickletools` in Python's library describes it). Here a "global" is but
a name, a call stays a `Called` that nobody calls, and an object a `Made` with its state in a dict. Of the machine's
operations there are those that `pickle.dumps` needs for plain data and for torch's tensors; any other ends the reading.
No values are compared or hashed but strings: nested tuples would take for ever. So time and memory are those of the
bytes.
"""

import struct
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

MOST_INTEGER = 16
"""Bytes of an integer."""


class PickleRefused(ValueError):
    """Bytes that are no pickle, or one with more in it than is read here."""


class Named(Struct, frozen=True, eq=False):
    """A class or function, by name only."""

    module: str
    name: str


class Called(Struct, frozen=True, eq=False):
    """What a call of `function` would give."""

    function: Named
    arguments: tuple[Any, ...]


class Made(Struct, eq=False):
    """What an object of the class `kind` would be; state: of its attributes, None if it has none of its own."""

    kind: Named
    arguments: tuple[Any, ...]
    state: dict[str, Any] | None = None


class Kept(Struct, frozen=True, eq=False):
    """What is kept elsewhere, as `key` says ("persistent id")."""

    key: tuple[Any, ...]


class Pickles:
    """Pickles and other bytes, one after the other in `data`.

    names: (module, name) of what may be named;  most: operations, in all pickles together
    """

    def __init__(self, data: bytes, names: Collection[tuple[str, str]], most: int) -> None:
        self._data, self._names, self._left = data, names, most
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    @property
    def rest(self) -> int:
        """Bytes that have not been read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises `PickleRefused` if there are not so many."""
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise PickleRefused("it ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def next(self) -> Any:
        """What the next pickle says: None, bool, int, float, str, bytes, tuple, list, dict (keys: str), or one of the
        four above. Lists and dicts may contain themselves. Raises `PickleRefused`."""
        self._stack, self._marks, self._memo = [], [], {}
        try:
            while (code := self.take(1)) != b".":
                self._left -= 1
                if self._left < 0:
                    raise PickleRefused("it takes too many operations")
                self._do(code)
        except (IndexError, KeyError, UnicodeDecodeError) as error:
            raise PickleRefused(f"it is damaged at byte {self._at}") from error
        if len(self._stack) != 1 or self._marks:
            raise PickleRefused("it does not end with one value")
        return self._stack.pop()

    def _do(self, code: bytes) -> None:
        if code in _PLAIN:
            self._stack.append(_PLAIN[code]())
        elif code in _NUMBERS:
            self._stack.append(self._number(_NUMBERS[code]))
        elif code in _COUNTED:
            form, value = _COUNTED[code]
            self._stack.append(value(self.take(self._number(form))))
        elif code in _PUTS:
            self._memo[self._number(_PUTS[code])] = self._stack[-1]
        elif code in _GETS:
            self._stack.append(self._memo[self._number(_GETS[code])])
        elif code in _TUPLES:
            self._stack.append(self._tail(len(self._stack) - _TUPLES[code]))
        elif code in _OTHERS:
            _OTHERS[code](self)
        else:
            raise PickleRefused(f"it wants the operation {code!r}, which is not done here")

    # --- parts of operations

    def _number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def _pop(self, kind: type) -> Any:
        """The topmost value, which must be of `kind` and be above the last mark."""
        return self._tail(len(self._stack) - 1, kind)[0]

    def _tail(self, start: int, kind: type = object) -> tuple[Any, ...]:
        """The values from place `start` on, all of `kind`, off the stack."""
        if start < (self._marks[-1] if self._marks else 0):
            raise PickleRefused("it takes what is not there")
        values = tuple(self._stack[start:])
        del self._stack[start:]
        if not all(kind is object or type(each) is kind for each in values):
            raise PickleRefused("it takes one kind of value for another")
        return values

    def _marked(self) -> tuple[Any, ...]:
        """The values above the last mark, and the mark is gone."""
        values = self._tail(self._marks[-1])
        self._marks.pop()
        return values

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind or self._marks[-1:] == [len(self._stack)]:
            raise PickleRefused("it takes one kind of value for another")
        return self._stack[-1]

    # --- operations

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self) -> None:
        self._stack.append(self._marked())

    def _append(self) -> None:
        (value,) = self._tail(len(self._stack) - 1)
        self._top(list).append(value)

    def _appends(self) -> None:
        values = self._marked()
        self._top(list).extend(values)

    def _set_item(self) -> None:
        self._set(self._tail(len(self._stack) - 2))

    def _set_items(self) -> None:
        self._set(self._marked())

    def _set(self, values: tuple[Any, ...]) -> None:
        keys = values[::2]
        if len(values) % 2 or not all(type(key) is str for key in keys):
            raise PickleRefused("a dict has a key that is no text")
        self._top(dict).update(zip(keys, values[1::2]))

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in self._names:
            shown = f"{module}.{name}"
            raise PickleRefused(f"it names {shown[:80]!r}, which has no business here")
        self._stack.append(Named(module, name))

    def _stacked_name(self) -> None:
        name, module = self._pop(str), self._pop(str)
        self._name(module, name)

    def _written_name(self) -> None:
        self._name(self._line(), self._line())

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + 256)
        if end < 0:
            raise PickleRefused("a name does not end")
        return self.take(end + 1 - self._at)[:-1].decode()

    def _call(self) -> None:
        arguments, function = self._pop(tuple), self._pop(Named)
        self._stack.append(Called(function, arguments))

    def _make(self) -> None:
        arguments, kind = self._pop(tuple), self._pop(Named)
        self._stack.append(Made(kind, arguments))

    def _state(self) -> None:
        state = self._pop(dict)
        made = self._top(Made)
        if made.state is not None:
            raise PickleRefused("an object has two states")
        made.state = state

    def _keep(self) -> None:
        self._stack.append(Kept(self._pop(tuple)))

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _protocol(self) -> None:
        if self.take(1)[0] not in (2, 3, 4, 5):
            raise PickleRefused("its protocol is not one of 2 to 5")

    def _frame(self) -> None:
        self.take(8)  # how many bytes a reader may fetch at once: all are here


def _integer(data: bytes) -> int:
    if len(data) > MOST_INTEGER:
        raise PickleRefused("an integer is too large")
    return int.from_bytes(data, "little", signed=True)


_1, _2, _4 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")
_PLAIN: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None, b"\x88": lambda: True, b"\x89": lambda: False, b")": tuple, b"]": list, b"}": dict,
}  # fmt: skip
_NUMBERS = {b"J": struct.Struct("<i"), b"K": _1, b"M": _2, b"G": struct.Struct(">d")}
_COUNTED: dict[bytes, tuple[struct.Struct, Callable[[bytes], Any]]] = {
    b"\x8c": (_1, bytes.decode), b"X": (_4, bytes.decode), b"C": (_1, bytes), b"B": (_4, bytes),
    b"\x8a": (_1, _integer),
}  # fmt: skip
_PUTS, _GETS = {b"q": _1, b"r": _4}, {b"h": _1, b"j": _4}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_OTHERS: dict[bytes, Callable[[Pickles], None]] = {
    b"\x80": Pickles._protocol, b"\x95": Pickles._frame, b"(": Pickles._mark, b"t": Pickles._tuple,
    b"a": Pickles._append, b"e": Pickles._appends, b"s": Pickles._set_item, b"u": Pickles._set_items,
    b"c": Pickles._written_name, b"\x93": Pickles._stacked_name, b"R": Pickles._call, b"\x81": Pickles._make,
    b"b": Pickles._state, b"Q": Pickles._keep, b"\x94": Pickles._memoize,
}  # fmt: skip

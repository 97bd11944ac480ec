"""ONNX files of small networks, written by hand: torch's own exporter needs two more packages, these few nodes none.

A file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/) of the messages in
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the numbers below are the fields of these messages. Operator set
13, IR version 8.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_OPSET, _IR = 13, 8


class Graph:
    """Nodes in the order in which they are computed. A method adds one and returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._name, self._made = name, 0
        self._nodes, self._tensors, self._values = b"", b"", b""

    def input(self, name: str, shape: Sequence[str | int]) -> str:
        """A float32 input; a name in `shape` is a size that is open."""
        self._values += _message(11, _value(name, shape))
        return name

    def output(self, name: str, shape: Sequence[str | int], of: str) -> None:
        """A float32 output: the value `of`."""
        self._nodes += _message(1, _node("Identity", [of], name))
        self._values += _message(12, _value(name, shape))

    def node(self, operator: str, *inputs: str) -> str:
        """An operator without attributes."""
        self._made += 1
        made = f"v{self._made}"
        self._nodes += _message(1, _node(operator, inputs, made))
        return made

    def constant(self, values: NDArray[Any] | float) -> str:
        """A float32 tensor, or int64 if `values` are integers."""
        self._made += 1
        made, array = f"c{self._made}", np.asarray(values)
        whole = np.issubdtype(array.dtype, np.integer)
        dims = b"".join(_number(1, size) for size in array.shape)
        data = array.astype("<i8" if whole else "<f4").tobytes()
        tensor = dims + _number(2, _INT64 if whole else _FLOAT) + _text(8, made) + _message(9, data)
        self._tensors += _message(5, tensor)
        return made

    def linear(self, at: str, weight: NDArray[Any], bias: NDArray[Any] | None) -> str:
        """`at` @ weight.T + bias, as torch has it."""
        found = self.node("MatMul", at, self.constant(weight.T))
        return found if bias is None else self.node("Add", found, self.constant(bias))

    def silu(self, at: str) -> str:
        """at * sigmoid(at)."""
        return self.node("Mul", at, self.node("Sigmoid", at))

    def data(self) -> bytes:
        """The file."""
        graph = self._nodes + _text(2, self._name) + self._tensors + self._values
        opset = _message(8, _text(1, "") + _number(2, _OPSET))
        return _number(1, _IR) + _text(2, "visavis") + _message(7, graph) + opset


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    """A NodeProto."""
    return b"".join(_text(1, each) for each in inputs) + _text(2, output) + _text(3, output) + _text(4, operator)


def _value(name: str, shape: Sequence[str | int]) -> bytes:
    """A ValueInfoProto of float32."""
    dims = b"".join(_message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, dims)))


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)

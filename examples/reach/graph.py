"""ONNX files of small networks, written by hand: torch's own exporter needs two more packages, these few nodes none.

A file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/) of the messages in
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the numbers below are the fields of these messages. Operator set
13, IR version 8.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.tuning.onnx_graph import message, node, number, text, value

_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_INTS = 7  # AttributeProto.AttributeType
_OPSET, _IR = 13, 8


class Graph:
    """Nodes in the order in which they are computed. A method adds one and returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._name, self._made = name, 0
        self._nodes, self._tensors, self._values = b"", b"", b""

    def input(self, name: str, shape: Sequence[str | int]) -> str:
        """A float32 input; a name in `shape` is a size that is open."""
        self._values += message(11, value(name, shape))
        return name

    def output(self, name: str, shape: Sequence[str | int], of: str) -> None:
        """A float32 output: the value `of`."""
        self._nodes += message(1, node("Identity", [of], name))
        self._values += message(12, value(name, shape))

    def node(self, operator: str, *inputs: str, **attributes: Sequence[int]) -> str:
        """An operator. attributes: those that are lists of whole numbers, such as the strides of a Conv"""
        self._made += 1
        made = f"v{self._made}"
        told = b"".join(message(5, _numbers(name, values)) for name, values in attributes.items())
        self._nodes += message(1, node(operator, inputs, made) + told)
        return made

    def constant(self, values: NDArray[Any] | float) -> str:
        """A float32 tensor, or int64 if `values` are integers."""
        self._made += 1
        made, array = f"c{self._made}", np.asarray(values)
        whole = np.issubdtype(array.dtype, np.integer)
        dims = b"".join(number(1, size) for size in array.shape)
        data = array.astype("<i8" if whole else "<f4").tobytes()
        tensor = dims + number(2, _INT64 if whole else _FLOAT) + text(8, made) + message(9, data)
        self._tensors += message(5, tensor)
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
        graph = self._nodes + text(2, self._name) + self._tensors + self._values
        opset = message(8, text(1, "") + number(2, _OPSET))
        return number(1, _IR) + text(2, "visavis") + message(7, graph) + opset


def _numbers(name: str, values: Sequence[int]) -> bytes:
    """An AttributeProto of type INTS."""
    return text(1, name) + b"".join(number(8, each) for each in values) + number(20, _INTS)

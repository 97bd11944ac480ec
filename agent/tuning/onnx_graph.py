"""The fusion model as an ONNX file, written by hand: eight nodes need no package.

The file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/) of the messages in
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the numbers below are the fields of these messages. Operator set
13, IR version 8: read by ONNX Runtime from 1.10 on.

Input `features`: float32[n, features], in the order of the metadata entry "features", none of them unknown.
Output `probability`: float32[n], that the turn is over. Normalisation and calibration are in the graph.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.turn_model import Fusion

_FLOAT = 1  # TensorProto.DataType
_OPSET, _IR = 13, 8


def onnx_bytes(fusion: Fusion) -> bytes:
    """The ONNX model of `fusion`."""
    hidden = np.array(fusion.hidden, np.float64)
    # (x - mean) / scale, and then the first layer, are one linear map; so are the last layer and the calibration.
    scaled = hidden / np.array(fusion.scale)
    bias = np.array(fusion.hidden_bias) - scaled @ np.array(fusion.mean)
    output = fusion.slope * np.array(fusion.output, np.float64)[:, None]
    shift = np.array([fusion.slope * fusion.output_bias + fusion.offset])
    nodes = [
        _node("MatMul", ["features", "hidden"], "a"),
        _node("Add", ["a", "hidden_bias"], "b"),
        _node("Tanh", ["b"], "c"),
        _node("MatMul", ["c", "output"], "d"),
        _node("Add", ["d", "output_bias"], "e"),
        _node("Clip", ["e", "least", "most"], "f"),
        _node("Sigmoid", ["f"], "g"),
        _node("Reshape", ["g", "flat"], "probability"),
    ]
    tensors = [
        _tensor("hidden", scaled.T),
        _tensor("hidden_bias", bias),
        _tensor("output", output),
        _tensor("output_bias", shift),
        _tensor("least", np.array(-50.0)),
        _tensor("most", np.array(50.0)),
        _number(1, 1) + _number(2, 7) + _text(8, "flat") + _message(9, np.array([-1], "<i8").tobytes()),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "turns")
    graph += b"".join(_message(5, tensor) for tensor in tensors)
    graph += _message(11, _value("features", ["n", len(fusion.features)])) + _message(12, _value("probability", ["n"]))
    metadata = {"features": ",".join(fusion.features), "fusion": fusion.hash}
    entries = b"".join(_message(14, _text(1, key) + _text(2, value)) for key, value in metadata.items())
    opset = _message(8, _text(1, "") + _number(2, _OPSET))
    return _number(1, _IR) + _text(2, "visavis") + _message(7, graph) + opset + entries


def _tensor(name: str, values: NDArray[np.float64]) -> bytes:
    """A TensorProto of float32."""
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, _FLOAT) + _text(8, name) + _message(9, values.astype("<f4").tobytes())


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

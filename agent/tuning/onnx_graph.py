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
        node("MatMul", ["features", "hidden"], "a"),
        node("Add", ["a", "hidden_bias"], "b"),
        node("Tanh", ["b"], "c"),
        node("MatMul", ["c", "output"], "d"),
        node("Add", ["d", "output_bias"], "e"),
        node("Clip", ["e", "least", "most"], "f"),
        node("Sigmoid", ["f"], "g"),
        node("Reshape", ["g", "flat"], "probability"),
    ]
    tensors = [
        _tensor("hidden", scaled.T),
        _tensor("hidden_bias", bias),
        _tensor("output", output),
        _tensor("output_bias", shift),
        _tensor("least", np.array(-50.0)),
        _tensor("most", np.array(50.0)),
        number(1, 1) + number(2, 7) + text(8, "flat") + message(9, np.array([-1], "<i8").tobytes()),
    ]
    graph = b"".join(message(1, node) for node in nodes) + text(2, "turns")
    graph += b"".join(message(5, tensor) for tensor in tensors)
    graph += message(11, value("features", ["n", len(fusion.features)])) + message(12, value("probability", ["n"]))
    metadata = {"features": ",".join(fusion.features), "fusion": fusion.hash}
    entries = b"".join(message(14, text(1, key) + text(2, value)) for key, value in metadata.items())
    opset = message(8, text(1, "") + number(2, _OPSET))
    return number(1, _IR) + text(2, "visavis") + message(7, graph) + opset + entries


def _tensor(name: str, values: NDArray[np.float64]) -> bytes:
    """A TensorProto of float32."""
    dims = b"".join(number(1, size) for size in values.shape)
    return dims + number(2, _FLOAT) + text(8, name) + message(9, values.astype("<f4").tobytes())


def node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    """A NodeProto."""
    return b"".join(text(1, each) for each in inputs) + text(2, output) + text(3, output) + text(4, operator)


def value(name: str, shape: Sequence[str | int]) -> bytes:
    """A ValueInfoProto of float32."""
    dims = b"".join(message(1, text(2, size) if isinstance(size, str) else number(1, size)) for size in shape)
    return text(1, name) + message(2, message(1, number(1, _FLOAT) + message(2, dims)))


def text(number: int, text: str) -> bytes:
    """A field of text."""
    return message(number, text.encode())


def message(number: int, content: bytes) -> bytes:
    """A field of bytes: a message in it, or text."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(number: int, value: int) -> bytes:
    """A field of a whole number."""
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    """A number in as many bytes as it needs, seven bits in each."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)

"""The network that sees, in torch, and the same as an ONNX graph."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu, silu

from examples.reach.graph import Graph
from examples.reach.networks import linear


class Seeing(nn.Module):
    """Picture and joints to a chunk: convolutions, where each of their channels is brightest, and two layers.

    size: (height, width) of the picture
    """

    def __init__(self, size: tuple[int, int], channels: int, width: int, rows: int, columns: int) -> None:
        super().__init__()
        self.size, self.rows, self.columns = size, rows, columns
        self.first = nn.Conv2d(3, channels, 5, stride=2)
        self.second = nn.Conv2d(channels, channels, 3)
        self.third = nn.Conv2d(channels, channels // 2, 3)
        tall, wide = ((side - 5) // 2 + 1 - 4 for side in size)
        down, across = np.meshgrid(np.linspace(-1, 1, tall), np.linspace(-1, 1, wide), indexing="ij")
        places = np.stack([down.ravel(), across.ravel()], axis=1).astype(np.float32)
        self.register_buffer("places", torch.from_numpy(places))  # of each pixel of the last convolution
        self.sharp = nn.Parameter(torch.tensor(1.0))
        self.seen = nn.Linear(channels, width)
        self.state = nn.Linear(columns, width)
        self.inner = nn.Linear(width, width)
        self.end = nn.Linear(width, rows * columns)

    def forward(self, picture: Tensor, state: Tensor) -> Tensor:
        at = self.third(relu(self.second(relu(self.first(picture)))))
        bright = torch.softmax(at.flatten(2) * self.sharp, dim=2)
        places: Any = self.places
        seen = (bright @ places).flatten(1)
        at = silu(self.seen(seen) + self.state(state))
        return self.end(at + silu(self.inner(at))).view(-1, self.rows, self.columns)  # type: ignore[no-any-return]

    def data(self) -> bytes:
        """The graph "policy" of a package."""
        graph = Graph("policy")
        at = graph.input("observation.images.front", [1, 3, *self.size])
        state = graph.input("observation.state", [1, self.columns])
        at = graph.node("Relu", _conv(graph, at, self.first, 2))
        at = graph.node("Relu", _conv(graph, at, self.second, 1))
        at = _conv(graph, at, self.third, 1)
        channels = self.third.out_channels
        at = graph.node("Reshape", at, graph.constant(np.array([1, channels, -1])))
        at = graph.node("Softmax", graph.node("Mul", at, graph.constant(self.sharp.detach().numpy())))
        places: Any = self.places
        at = graph.node("MatMul", at, graph.constant(places.numpy()))
        at = graph.node("Reshape", at, graph.constant(np.array([1, 2 * channels])))
        at = graph.silu(graph.node("Add", linear(graph, at, self.seen), linear(graph, state, self.state)))
        at = graph.node("Add", at, graph.silu(linear(graph, at, self.inner)))
        shape = graph.constant(np.array([1, self.rows, self.columns]))
        graph.output("action", [1, self.rows, self.columns], graph.node("Reshape", linear(graph, at, self.end), shape))
        return graph.data()


def _conv(graph: Graph, at: str, layer: nn.Conv2d, stride: int) -> str:
    bias = layer.bias
    assert bias is not None
    weights = graph.constant(layer.weight.detach().numpy()), graph.constant(bias.detach().numpy())
    return graph.node("Conv", at, *weights, strides=(stride, stride))

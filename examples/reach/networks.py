"""The networks in torch, and the same as ONNX graphs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from examples.reach.graph import Graph

LAST = 0.05  # the flow is not asked later than this before its end
INPUTS = {"observation.state": 6, "observation.environment_state": 2}


class Tower(nn.Module):
    """Residual layers of one width."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.into = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, at: Tensor) -> Tensor:
        for into, out in zip(self.into, self.out):
            at = at + out(silu(into(silu(at))))
        return silu(at)

    def write(self, graph: Graph, at: str) -> str:
        for into, out in zip(self.into, self.out):
            inner = linear(graph, graph.silu(at), into)
            at = graph.node("Add", at, linear(graph, graph.silu(inner), out))
        return graph.silu(at)


class Encoder(nn.Module):
    """State and goal to a context float32[n, width]."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.state = nn.Linear(INPUTS["observation.state"], width)
        self.goal = nn.Linear(INPUTS["observation.environment_state"], width)
        self.tower = Tower(width, layers)

    def forward(self, state: Tensor, goal: Tensor) -> Tensor:
        return self.tower(self.state(state) + self.goal(goal))  # type: ignore[no-any-return]

    def write(self, graph: Graph) -> str:
        state, goal = (graph.input(name, [1, size]) for name, size in INPUTS.items())
        seen = graph.node("Add", linear(graph, state, self.state), linear(graph, goal, self.goal))
        return self.tower.write(graph, seen)

    def data(self, width: int) -> bytes:
        graph = Graph("encoder")
        graph.output("context", [1, width], self.write(graph))
        return graph.data()


class Step(nn.Module):
    """The velocity of the flow. The network predicts where it ends, which small networks learn more exactly."""

    def __init__(self, width: int, layers: int, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns, self.width = rows, columns, width
        self.noisy = nn.Linear(rows * columns, width)
        self.context = nn.Linear(width, width)
        self.time = nn.Linear(1, 64)
        self.timed = nn.Linear(64, width)
        self.tower = Tower(width, layers)
        self.end = nn.Linear(width, rows * columns)

    def forward(self, context: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        return (self.ends(context, noisy, time) - noisy) / (1 - time).clamp(min=LAST)[..., None]

    def ends(self, context: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        at = self.noisy(noisy.flatten(1)) + self.context(context) + self.timed(silu(self.time(time)))
        return self.end(self.tower(at)).view(-1, self.rows, self.columns)  # type: ignore[no-any-return]

    def data(self) -> bytes:
        graph = Graph("step")
        context = graph.input("context", [1, self.width])
        noisy = graph.input("noisy", ["n", self.rows, self.columns])
        time = graph.input("time", ["n", 1])
        flat = graph.node("Reshape", noisy, graph.constant(torch.tensor([-1, self.rows * self.columns]).numpy()))
        at = graph.node("Add", linear(graph, flat, self.noisy), linear(graph, context, self.context))
        at = graph.node("Add", at, linear(graph, graph.silu(linear(graph, time, self.time)), self.timed))
        end = linear(graph, self.tower.write(graph, at), self.end)
        left = graph.node("Max", graph.node("Sub", graph.constant(1.0), time), graph.constant(LAST))
        flow = graph.node("Div", graph.node("Sub", end, flat), left)
        shape = graph.constant(torch.tensor([-1, self.rows, self.columns]).numpy())
        graph.output("velocity", ["n", self.rows, self.columns], graph.node("Reshape", flow, shape))
        return graph.data()


class OnePass(nn.Module):
    """State and goal to a chunk, at once."""

    def __init__(self, width: int, layers: int, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.encoder = Encoder(width, layers)
        self.end = nn.Linear(width, rows * columns)

    def forward(self, state: Tensor, goal: Tensor) -> Tensor:
        return self.end(self.encoder(state, goal)).view(-1, self.rows, self.columns)  # type: ignore[no-any-return]

    def data(self) -> bytes:
        graph = Graph("policy")
        end = linear(graph, self.encoder.write(graph), self.end)
        shape = graph.constant(torch.tensor([1, self.rows, self.columns]).numpy())
        graph.output("action", [1, self.rows, self.columns], graph.node("Reshape", end, shape))
        return graph.data()

    def lost(self, state: Tensor, goal: Tensor, end: Tensor) -> Tensor:
        return (self(state, goal) - end).abs().mean()  # as ACT

    def graphs(self) -> dict[str, bytes]:
        return {"policy": self.data()}

    def sample(self, state: Tensor, goal: Tensor, noise: Tensor, steps: int) -> Tensor:
        return self(state, goal)  # type: ignore[no-any-return]


class Flow(nn.Module):
    """Encoder and step."""

    def __init__(self, width: int, layers: int, rows: int, columns: int) -> None:
        super().__init__()
        self.encoder = Encoder(width, 1)
        self.step = Step(width, layers, rows, columns)

    def lost(self, state: Tensor, goal: Tensor, end: Tensor) -> Tensor:
        time = torch.rand(len(end), 1)
        noisy = (1 - time)[..., None] * torch.randn_like(end) + time[..., None] * end
        return ((self.step.ends(self.encoder(state, goal), noisy, time) - end) ** 2).mean()

    def graphs(self) -> dict[str, bytes]:
        return {"encoder": self.encoder.data(self.step.width), "step": self.step.data()}

    def sample(self, state: Tensor, goal: Tensor, noise: Tensor, steps: int) -> Tensor:
        context, at = self.encoder(state, goal), noise
        for n in range(steps):
            at = at + self.step(context, at, torch.full((1, 1), n / steps)) / steps
        return at


def linear(graph: Graph, at: str, layer: Any) -> str:
    """A torch layer in the graph."""
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    return graph.linear(at, layer.weight.detach().numpy(), bias)

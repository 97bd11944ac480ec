"""A chunk policy from a package, run by ONNX Runtime: what ACT and flow matching do at inference, in NumPy.

Graphs, all tensors float32 (N: open or fixed, 1 is used except where said):

- one_pass: "policy": inputs named as the features, state [1, columns], pictures [1, 3, height, width];
  output "action" [1, H, D] (ACT: T. Zhao et al., arXiv 2304.13705, with the latent at its mean)
- flow: "encoder": the same inputs; output "context" [1, C]. "step": inputs "context" [1, C], "noisy" [N, H, D],
  "time" [N, 1]; output "velocity" [N, H, D] (flow matching: Y. Lipman et al., arXiv 2210.02747). For best-of-n N is n.
"""

from pathlib import Path

import numpy as np

from policies.chunks import guiding
from policies.chunks.description import IMAGES, ChunkSpec
from policies.chunks.errors import ChunkRefused, PackageError
from policies.chunks.graphs import LoadedGraph, Shape
from policies.chunks.package import Package
from policies.chunks.policy import Observation, Stitch
from policies.chunks.scaling import Floats, Scaling


class OnnxPolicy:
    """A `ChunkPolicy` of a package. Made off the event loop: it loads the graphs and runs each once.

    samples: of which the nearest to the chunk before is taken ("best_of", and together with guidance "forward")
    seed: of the noise that flows begin at;  threads: of ONNX Runtime
    most: highest weight of the guidance ("forward")
    Raises `PackageError` if the graphs are not those that the description promises, `ProviderMissing`.
    """

    def __init__(
        self, package: Package, *, samples: int = 8, seed: int = 0, threads: int = 1, most: float = guiding.MOST
    ) -> None:
        self._spec = spec = package.spec
        self._samples, self._most, self._noise = samples, most, np.random.default_rng(seed)
        self._scalings = {name: Scaling(each.normal, len(each.names) or 3) for name, each in spec.observation.items()}
        self._action = Scaling(spec.action.normal, len(spec.action.names))
        if spec.action.relative:
            state = spec.observation["observation.state"].names
            self._from_state = [state.index(name) for name in spec.action.names]
        shape: Shape = (1, spec.horizon, len(spec.action.names))
        seen: dict[str, Shape] = {
            name: (1, len(each.names)) if each.size is None else (1, 3, *each.size)
            for name, each in spec.observation.items()
        }

        def load(role: str, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> LoadedGraph:
            return LoadedGraph(package.graphs[role], str(package.folder / f"{role}.onnx"), inputs, outputs, threads)

        if spec.family == "one_pass":
            self._first = load("policy", seen, {"action": shape})
        else:
            many: Shape = ("n", *shape[1:])
            self._first = load("encoder", seen, {"context": (1, "c")})
            self._step = load("step", {"context": (1, "c"), "noisy": many, "time": ("n", 1)}, {"velocity": many})
            if self._first.size("context", 1) != self._step.size("context", 1):
                raise PackageError(f"{package.folder}: encoder and step have contexts of different sizes.")
        self._warm_up()

    @classmethod
    def load(cls, folder: Path, *, samples: int = 8, seed: int = 0, threads: int = 1) -> "OnnxPolicy":
        """Of the package in `folder`. Raises as `Package.read` and the constructor."""
        return cls(Package.read(folder), samples=samples, seed=seed, threads=threads)

    @property
    def spec(self) -> ChunkSpec:
        """As in `ChunkPolicy`."""
        return self._spec

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        """As in `ChunkPolicy`."""
        feeds = {name: self._feed(name, observation) for name in self._spec.observation}
        origin = np.zeros(len(self._spec.action.names), np.float32)
        if self._spec.action.relative:
            origin = np.asarray(observation.values["observation.state"], np.float32)[self._from_state]
        (first,) = self._first.run(feeds)
        if self._spec.family == "one_pass":
            rows: Floats = self._action.out(first[0]) + origin
            return rows
        along = None
        if previous is not None and len(previous) and stitch in ("forward", "best_of"):
            target = self._target(self._action.into(previous - origin))
            along = target, guiding.weights(self._spec.horizon, delay, len(previous))
        end: Floats = self._action.out(self._flow(first, along, guided=stitch == "forward")) + origin
        return end

    def _flow(self, context: Floats, along: tuple[Floats, Floats] | None, *, guided: bool) -> Floats:
        """float32[horizon, columns]. along: what to follow, and the weights of its rows; guided, or by choice only"""
        n = 1 if along is None else self._samples
        shape = (n, self._spec.horizon, len(self._spec.action.names))
        noise = self._noise.standard_normal(shape, np.float32)

        def velocity(noisy: Floats, time: float) -> Floats:
            feeds = {"context": context, "noisy": noisy, "time": np.full((n, 1), time, np.float32)}
            return self._step.run(feeds)[0]

        target, weight = along or (None, None)
        pulled = (target, weight) if guided else (None, None)
        found, free = guiding.flow(velocity, noise, self._spec.steps, pulled[0], pulled[1], self._most)
        chosen = 0 if target is None or weight is None else guiding.nearest(free, target, weight)
        best: Floats = found[chosen]
        return best

    def _target(self, rows: Floats) -> Floats:
        """float32[horizon, columns]: `rows`, and the last of them again and again (their weight is 0)."""
        rows = rows[: self._spec.horizon]
        return np.concatenate([rows, np.repeat(rows[-1:], self._spec.horizon - len(rows), axis=0)])

    def _feed(self, name: str, observation: Observation) -> Floats:
        """One feature as the graph wants it."""
        wanted = self._spec.observation[name]
        found = observation.values.get(name)
        if found is None:
            raise ChunkRefused(f"the observation has no {name}, which the policy {self._spec.name} needs.")
        shape = (len(wanted.names),) if wanted.size is None else (*wanted.size, 3)
        if found.shape != shape:
            raise ChunkRefused(f"{name} has the shape {found.shape}; the policy {self._spec.name} needs {shape}.")
        if name.startswith(IMAGES):
            if found.dtype != np.uint8:
                raise ChunkRefused(f"{name} is {found.dtype}, not uint8.")
            scaled = self._scalings[name].into(found.astype(np.float32) / 255)
            return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])
        if not np.isfinite(found).all():
            raise ChunkRefused(f"{name} has what is no number.")
        return self._scalings[name].into(found)[None]

    def _warm_up(self) -> None:
        zeros = {
            name: np.zeros(len(each.names), np.float32) if each.size is None else np.zeros((*each.size, 3), np.uint8)
            for name, each in self._spec.observation.items()
        }
        rows = self.infer(Observation(0, zeros), None, 0)
        if rows.shape != (self._spec.horizon, len(self._spec.action.names)):
            raise PackageError(f"the graphs of {self._spec.name} give chunks of the shape {list(rows.shape)}.")

"""One wrapper for ONNX graphs, streaming or not: checked once, warmed up, shared, and with state per session.

A `Model` is the loaded graph: shared by all sessions of the process and safe to run from many threads. A `Stream` is
one session's state on it, for graphs that carry state from call to call. Knows nothing of where model files come from
(`streams/models.py`) nor of what they compute (`streams/encoders/`).

Which execution provider runs the graph is never silent: `Model.provider` says which, `Model.fallback` why not a better.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.errors import ModelMismatch, ModelMissing, ProviderMissing

Array = NDArray[Any]

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}

_loaded: dict[tuple[Any, ...], "Model"] = {}
_loading = threading.Lock()


class Tensor(NamedTuple):
    """What we will give to or take from a graph. dtype: NumPy name such as "float32"; shape: () for a scalar."""

    dtype: str
    shape: tuple[int, ...]

    def zeros(self) -> Array:
        """A fresh array of zeros of this kind."""
        return np.zeros(self.shape, self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Model:
    """A loaded graph; make it with `Model.load`. Thread safe.

    provider: "tensorrt", "cuda" or "cpu";  fallback: "" or why a provider preferred to it is not used
    """

    def __init__(
        self,
        path: Path,
        session: Any,
        provider: str,
        fallback: str,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        state: Mapping[str, str],
    ) -> None:
        self.path, self.provider, self.fallback = path, provider, fallback
        self.inputs, self.outputs, self.state = dict(inputs), dict(outputs), dict(state)
        self.session = session
        self._names = list(outputs)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        state: Mapping[str, str] | None = None,
        providers: Sequence[str] = ("tensorrt", "cuda", "cpu"),
        threads: int = 1,
    ) -> "Model":
        """The model of `path`, loaded and warmed up once per process (and kept), however many sessions ask for it.

        inputs, outputs: every tensor that will cross, by its name in the graph, in the shape that will be used
        state: input name -> name of the output that is its next value (starts as zeros)
        providers: in order of preference; the first that works is used
        threads: of one call. Idle threads sleep: spinning ones would burn a core per model.

        Raises `ProviderMissing` (no ONNX Runtime, or none of `providers`), `ModelMissing` (no such file) and
        `ModelMismatch` (not an ONNX graph, or with other tensors than these).
        """
        path = Path(path)
        try:
            stat = path.stat()
        except OSError as error:
            raise ModelMissing(
                f"cannot read the model {path}: {error.strerror}. Fetch it: visavis models pull"
            ) from error
        carried = dict(state or {})
        kinds = (tuple(inputs.items()), tuple(outputs.items()), tuple(carried.items()))
        key = (path.resolve(), stat.st_mtime_ns, stat.st_size, kinds, tuple(providers), threads)
        with _loading:
            model = _loaded.get(key)
            if model is None:
                session, provider, fallback = _open(path, providers, threads)
                _check(path, "input", session.get_inputs(), inputs)
                _check(path, "output", session.get_outputs(), outputs)
                model = cls(path, session, provider, fallback, inputs, outputs, carried)
                model.run({name: tensor.zeros() for name, tensor in inputs.items()})
                _loaded[key] = model
        return model

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """One call without carried state: all inputs by name, to the declared outputs in their order."""
        results: list[Array] = self.session.run(self._names, feeds)
        return results

    def stream(self) -> "Stream":
        """Fresh state for one session."""
        return Stream(self)


class Stream:
    """One session's buffers and state on a shared `Model`. Not thread safe: one caller at a time.

    Write the next input into `inputs[name]` (in place), call `step()`, read `outputs[name]`. Buffers are bound once
    to ONNX Runtime's I/O binding, so that a call copies nothing and allocates nothing: 53 us against 58 us by
    `session.run` for Silero (`benchmarks/vad.py` prints both). The state goes to and fro between two buffers:
    one binding reads the first and writes the second, the other the reverse.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs = {name: kind.zeros() for name, kind in model.inputs.items() if name not in model.state}
        nexts = set(model.state.values())
        self.outputs = {name: kind.zeros() for name, kind in model.outputs.items() if name not in nexts}
        # The bindings hold bare pointers into these arrays: whatever is bound must live as long as they do.
        self._state = [{name: model.inputs[name].zeros() for name in model.state} for _ in range(2)]
        self._bindings = [self._bind(self._state[0], self._state[1]), self._bind(self._state[1], self._state[0])]
        self._turn = 0
        self._run = model.session.run_with_iobinding

    def _bind(self, reads: dict[str, Array], writes: dict[str, Array]) -> Any:
        binding = self.model.session.io_binding()
        for name, array in (*self.inputs.items(), *reads.items()):
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        following = {self.model.state[name]: array for name, array in writes.items()}
        for name, array in (*self.outputs.items(), *following.items()):
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding

    def step(self) -> None:
        """One call of the graph; `outputs` are new and the state is carried on."""
        self._run(self._bindings[self._turn])
        self._turn ^= 1

    def reset(self) -> None:
        """State and buffers back to zeros, as new. Constant inputs (a sample rate) must be written again."""
        for arrays in (self.inputs, self.outputs, *self._state):
            for array in arrays.values():
                array.fill(0)


def runtime() -> Any:
    """The module `onnxruntime`, imported here for the first time. Raises `ProviderMissing`.

    Its telemetry, which recent wheels have switched on (they write a device id to the cache folder), is switched off:
    local means local. Whoever wants it sets ORT_DISABLE_TELEMETRY=0 himself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - 0.1 s; only sessions that run a model pay for it
    except ImportError as error:
        raise ProviderMissing(
            "no ONNX Runtime in this Python: pip install 'visavis[cpu]' (or 'visavis[gpu]', never both)"
        ) from error
    return onnxruntime


def _open(path: Path, providers: Sequence[str], threads: int) -> tuple[Any, str, str]:
    """A session on the first of `providers` that works: (session, provider, fallback message)."""
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    here = ort.get_available_providers()
    missed: list[str] = []
    for provider in providers:
        full = PROVIDERS.get(provider)
        if full is None:
            raise ProviderMissing(f"no execution provider is called {provider!r}: choose from {', '.join(PROVIDERS)}")
        if full not in here:
            missed.append(f"{provider} is not in this ONNX Runtime")
            continue
        chain = [full] if provider == "cpu" else [full, PROVIDERS["cpu"]]
        try:
            session = ort.InferenceSession(str(path), options, providers=chain)
        except _faults() as error:
            if provider == "cpu":
                raise ModelMismatch(
                    f"{path} is not an ONNX graph that this ONNX Runtime ({ort.__version__}) can run: {_line(error)}. "
                    "Fetch it again: visavis models pull"
                ) from error
            missed.append(f"{provider} failed: {_line(error)}")
            continue
        # ONNX Runtime quietly goes on without a provider whose libraries do not load.
        if session.get_providers()[0] == full:
            fallback = f"{path.name} runs on {provider}: {'; '.join(missed)}" if missed else ""
            return session, provider, fallback
        missed.append(f"{provider} is installed but does not start (driver or CUDA libraries missing)")
    raise ProviderMissing(
        f"none of the execution providers {', '.join(providers)} can run {path.name}: {'; '.join(missed)}. "
        "Add 'cpu' to the list, or pip install 'visavis[gpu]' in place of 'visavis[cpu]'"
    )


def _faults() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises when it cannot load a file: a dozen classes without a common parent of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    names = ("Fail", "InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NotImplemented", "NoSuchFile", "NoModel")
    return (*(getattr(state, name) for name in (*names, "EPFail", "EngineError", "RuntimeException")), RuntimeError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _check(path: Path, side: str, found: Sequence[Any], expected: Mapping[str, Tensor]) -> None:
    """Raises `ModelMismatch` unless the graph's tensors fit `expected`; named (symbolic) dimensions fit any size."""
    graph = {tensor.name: tensor for tensor in found}
    for name, kind in expected.items():
        tensor = graph.get(name)
        if tensor is None:
            raise ModelMismatch(f"{path}: the graph has no {side} {name!r}; it has {', '.join(graph) or 'none'}")
        dtype = _DTYPES.get(tensor.type, tensor.type)
        fits = len(tensor.shape) == len(kind.shape) and all(
            not isinstance(ours, int) or ours == theirs for ours, theirs in zip(tensor.shape, kind.shape)
        )
        if dtype != kind.dtype or not fits:
            raise ModelMismatch(f"{path}: {side} {name!r} should take {kind}, but is {dtype}{list(tensor.shape)}")
    unknown = set(graph) - set(expected) if side == "input" else set()
    if unknown:
        raise ModelMismatch(f"{path}: the graph wants more inputs than we know: {', '.join(sorted(unknown))}")


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}

"""The graphs of a package on ONNX Runtime: opened from bytes that were verified, and compared with what they must be.

As `streams/onnx.py` does for perception; policies see only the vocabulary of streams, and a package is untrusted until
its bytes have the checksums that `policy.json` names.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from policies.chunks.errors import PackageError
from policies.chunks.scaling import Floats
from streams.errors import ProviderMissing

Shape: TypeAlias = tuple[int | str, ...]
"""Of a tensor; a name stands for any size."""


def runtime() -> Any:
    """The module `onnxruntime`, with its telemetry switched off. Raises `ProviderMissing`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - only sessions that run a policy pay for it
    except ImportError as error:
        raise ProviderMissing("a chunk policy needs ONNX Runtime: pip install 'visavis[cpu]'") from error
    return onnxruntime


class LoadedGraph:
    """A graph that was checked: float32 in, float32 out. Used by one thread at a time.

    data: the bytes of the file;  where: its path, for errors
    inputs, outputs: every tensor, by name;  threads: of one call
    Raises `PackageError` and `ProviderMissing`.
    """

    def __init__(
        self, data: bytes, where: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], threads: int = 1
    ) -> None:
        ort = runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        # Weights in files beside the graph are not covered by its checksum: look for them where there are none.
        nowhere = str(Path(tempfile.gettempdir()) / f"none-{secrets.token_hex(16)}")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except _faults() as error:
            raise PackageError(f"{where} is no graph that ONNX Runtime can run: {_line(error)}.") from error
        _compare(where, "input", self._session.get_inputs(), inputs)
        _compare(where, "output", self._session.get_outputs(), outputs)
        self.where, self._names = where, list(outputs)

    def size(self, name: str, axis: int) -> int | str | None:
        """Of the tensor `name` along `axis`; no number if the graph leaves it open."""
        tensors = (*self._session.get_inputs(), *self._session.get_outputs())
        size: int | str | None = next(each.shape[axis] for each in tensors if each.name == name)
        return size

    def run(self, feeds: Mapping[str, Floats]) -> list[Floats]:
        """The outputs, in the order in which they were named. Raises `PackageError` if ONNX Runtime does."""
        try:
            results: list[Floats] = self._session.run(self._names, feeds)
        except _faults() as error:
            raise PackageError(f"{self.where} failed: {_line(error)}.") from error
        return results


def _compare(where: str, way: str, found: Any, wanted: Mapping[str, Shape]) -> None:
    has = {each.name: each for each in found}
    if set(has) != set(wanted):
        raise PackageError(f"{where} has the {way}s {', '.join(sorted(has))}, not {', '.join(sorted(wanted))}.")
    for name, shape in wanted.items():
        real = has[name].shape
        if has[name].type != "tensor(float)":
            raise PackageError(f"{where}: the {way} {name} is {has[name].type}, not float32.")
        same = all(
            size == want or not (isinstance(size, int) and isinstance(want, int)) for size, want in zip(real, shape)
        )
        if len(real) != len(shape) or not same:
            raise PackageError(f"{where}: the {way} {name} has the shape {real}, not {list(shape)}.")


def _faults() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its exceptions have no common ancestor of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    found = [each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (*found, RuntimeError, ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")

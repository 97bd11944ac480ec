"""The package of a chunk policy: a folder with `policy.json` and the ONNX graphs that it names. Nothing is unpickled.

`Package.read` believes nothing that it has not checked: the form of `policy.json`, size and SHA-256 of each graph.
What the graphs look like inside is checked when they are opened (`inference.py`).
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from policies.chunks.description import ChunkSpec, Graph
from policies.chunks.errors import PackageError

DESCRIPTION = "policy.json"
MOST_DESCRIPTION = 256 << 10
MOST_GRAPH = 512 << 20


class Package(NamedTuple):
    """A package that was read. graphs: the bytes of each, by its role ("policy", or "encoder" and "step")"""

    spec: ChunkSpec
    folder: Path
    graphs: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> "Package":
        """The package in `folder`. Reads files: not for the event loop. Raises `PackageError`."""
        spec = read_spec(folder)
        return cls(spec, folder, {role: _graph(folder, graph) for role, graph in spec.graphs.items()})


def read_spec(folder: Path) -> ChunkSpec:
    """Only the description: enough to see whether a policy fits a robot. Raises `PackageError`."""
    path = folder / DESCRIPTION
    try:
        spec = msgspec.json.decode(_bytes(path, MOST_DESCRIPTION), type=ChunkSpec)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PackageError(f"{path} is no description of a chunk policy: {error}.") from error
    try:
        spec.check()
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from error
    return spec


def write_package(folder: Path, spec: ChunkSpec, graphs: dict[str, bytes]) -> ChunkSpec:
    """Write a package, with the checksums of `graphs` (bytes by role) in place of those in `spec`; what was written.

    Raises `PackageError` if `spec` contradicts itself or a file cannot be written.
    """
    named = {role: Graph(f"{role}.onnx", hashlib.sha256(data).hexdigest()) for role, data in graphs.items()}
    spec = msgspec.structs.replace(spec, graphs=named)
    spec.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for role, data in graphs.items():
            (folder / f"{role}.onnx").write_bytes(data)
        (folder / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=1) + b"\n")
    except OSError as error:
        raise PackageError(f"cannot write the package {folder}: {error.strerror}.") from error
    return spec


def _graph(folder: Path, graph: Graph) -> bytes:
    data = _bytes(folder / graph.file, MOST_GRAPH)
    if hashlib.sha256(data).hexdigest() != graph.sha256:
        raise PackageError(
            f"{folder / graph.file} is not the graph that {DESCRIPTION} describes (its SHA-256 is another): "
            "copy the whole package again, or export it anew."
        )
    return data


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise PackageError(
            f"cannot read {path}: {error.strerror}. A package has {DESCRIPTION} and its graphs."
        ) from error
    if len(data) > most:
        raise PackageError(f"{path} is larger than {most >> 10} kB, the most that is read.")
    return data

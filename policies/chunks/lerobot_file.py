"""The description of a policy that LeRobot's policy server runs: a TOML file, for the server tells nothing of itself.

The file says where the server is and which policy it shall load, and what a `policy.json` says of a package: what is
observed, what is given, how numbers of the world become those that the policy was trained on. docs/lerobot.md.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from policies.chunks.description import IMAGES, Acted, ChunkSpec, Feature, Observed
from policies.chunks.errors import ChunkRefused, PackageError
from policies.chunks.lerobot_actions import most_bytes
from policies.chunks.remote import Address
from policies.chunks.scaling import Floats, Scaling

STATE = "observation.state"
MOST_FILE = 256 << 10
MOST_ANSWER = 64 << 20
_GRAPHS = {"policy": {"file": "none.onnx", "sha256": "0" * 64}}  # what checks a description wants one; there is none


class Served(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy on LeRobot's policy server.

    address: grpc://127.0.0.1:8080, or grpcs://HOST:PORT through something with TLS in front of it
    policy: LeRobot's name of its kind, such as "act";  model: the server's folder of it, or its name on a hub
    rows: of a chunk (`actions_per_chunk`);  fps: rows in a second: of the server (--fps) and of the training
    device: the server's, such as "cuda"
    name, task, drives, observation, action: as in `ChunkSpec`;  task is also told to the policy
    dt_ms: between the robot's rows, into which the policy's are brought by straight lines (0: as they come)
    patience_s: for one chunk;  load_s: for loading the policy
    ca: a PEM file: who says who the server is, with grpcs:// ("": those that gRPC comes with)
    """

    address: str
    policy: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$(?!\n)")]
    model: Annotated[str, Meta(min_length=1, max_length=400)]
    rows: Annotated[int, Meta(ge=2, le=512)]
    fps: Annotated[float, Meta(ge=1, le=200)]
    name: str
    drives: str
    observation: dict[Feature, Observed]
    action: Acted
    kind: Literal["lerobot-policy-server"]
    task: str = ""
    dt_ms: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    device: Annotated[str, Meta(pattern=r"^[a-z]{1,10}(:[0-9]{1,2})?$(?!\n)")] = "cpu"
    patience_s: Annotated[float, Meta(gt=0, le=30)] = 1.0
    load_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    ca: str = ""

    @classmethod
    def read(cls, path: Path) -> "Served":
        """What the file says; `ca` is looked for beside it. Raises `PackageError`, `RemoteRefused` for the address."""
        try:
            with path.open("rb") as file:
                text = file.read(MOST_FILE + 1)
        except OSError as error:
            raise PackageError(f"{path} cannot be read: {error.strerror}.") from error
        if len(text) > MOST_FILE:
            raise PackageError(f"{path} is larger than {MOST_FILE >> 10} kB.")
        try:
            found = msgspec.convert(tomllib.loads(text.decode()), cls)
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            raise PackageError(f"{path} is no description of a policy on LeRobot's server: {error}.") from error
        try:
            found.spec()
        except (PackageError, msgspec.ValidationError) as error:
            raise PackageError(f"{path}: {str(error).rstrip('.')}.") from error
        Address.parse(found.address, ("grpc", "grpcs"))
        return msgspec.structs.replace(found, ca=str(path.parent / found.ca)) if found.ca else found

    @property
    def server(self) -> tuple[str, int]:
        """Its host and port: it has one policy at a time."""
        return Address.parse(self.address, ("grpc", "grpcs"))[1:3]

    def spec(self) -> ChunkSpec:
        """The same as the executor needs it. Raises `PackageError`, `msgspec.ValidationError`."""
        every = 1000 / self.fps
        dt_ms = self.dt_ms or every
        described = {
            "name": self.name, "family": "one_pass", "drives": self.drives, "task": self.task, "dt_ms": dt_ms,
            "observation": msgspec.to_builtins(self.observation), "action": msgspec.to_builtins(self.action),
            "horizon": int((self.rows - 1) * every / dt_ms + 1e-6) + 1, "graphs": _GRAPHS,
        }  # fmt: skip
        spec = msgspec.convert(described, ChunkSpec)
        spec.check()
        if spec.action.relative:
            raise PackageError("action is relative, which LeRobot's policies are not")
        if most_bytes(self.rows, len(spec.action.names)) > MOST_ANSWER:
            raise PackageError(
                f"chunks of {self.rows} rows and {len(spec.action.names)} columns make answers of over "
                f"{MOST_ANSWER >> 20} MB, for LeRobot's server sends all of them with each row: take fewer `rows`"
            )
        if STATE not in spec.observation:
            raise PackageError(f"there is no {STATE}, without which LeRobot's server does nothing")
        for name, each in spec.observation.items():
            if not name.startswith(IMAGES) and name != STATE:
                raise PackageError(f"LeRobot's server does not hand on {name}: only {STATE} and pictures")
            if name.startswith(IMAGES) and each.normal != Observed().normal:
                raise PackageError(f"{name} is normalised by LeRobot's server: leave out its `normal`")
        told = [*spec.observation[STATE].names, *(name.removeprefix(IMAGES) for name in spec.observation), "task"]
        if len(set(told)) < len(told):
            raise PackageError('a column, a picture and "task" must not have the same name')
        return msgspec.structs.replace(spec, graphs={})


class Between:
    """Between our observations and rows and LeRobot's. served: must be as `Served.read` gives it."""

    def __init__(self, served: Served) -> None:
        self._served, self._spec = served, served.spec()
        self._state = self._spec.observation[STATE]
        self._into = Scaling(self._state.normal, len(self._state.names))
        self._out = Scaling(self._spec.action.normal, len(self._spec.action.names))

    def features(self) -> dict[str, Any]:
        """`lerobot_features`: which entries of a raw observation make which feature."""
        names = list(self._state.names)
        told: dict[str, Any] = {STATE: {"dtype": "float32", "shape": (len(names),), "names": names}}
        for name, each in self._spec.observation.items():
            if each.size is not None:
                told[name] = {"dtype": "image", "shape": (*each.size, 3), "names": ["height", "width", "channels"]}
        return told

    def raw(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """The raw observation: a number for each column, each picture, the task. Raises `ChunkRefused`."""
        found: dict[str, NDArray[Any]] = {}
        for name, each in self._spec.observation.items():
            shape = (*each.size, 3) if each.size is not None else (len(each.names),)
            value = values.get(name)  # once: a picture may be made only now
            if value is None or np.shape(value) != shape:
                raise ChunkRefused(
                    f"the observation has no {name} of the shape {shape}, which {self._spec.name} needs."
                )
            if (each.size is not None and value.dtype != np.uint8) or not np.isfinite(value).all():
                raise ChunkRefused(f"{name} has what is no number, or no picture of uint8.")
            found[name] = value
        state = self._into.into(np.asarray(found[STATE], np.float32))
        raw: dict[str, Any] = dict(zip(self._state.names, state.tolist()))
        for name, each in self._spec.observation.items():
            if each.size is not None:
                raw[name.removeprefix(IMAGES)] = np.ascontiguousarray(found[name])
        return {**raw, "task": self._served.task}

    def rows(self, rows: Floats, step_s: float) -> Floats:
        """float32[horizon, columns] of our spec. step_s: between the server's rows. Raises `ChunkRefused`."""
        if abs(step_s * self._served.fps - 1) > 0.01:
            raise ChunkRefused(
                f"the server's rows are {1000 * step_s:.4g} ms apart, and the description says fps = "
                f"{self._served.fps:g}: start the server with --fps={self._served.fps:g}, or mend the description."
            )
        given = self._out.out(rows)
        if not self._served.dt_ms:
            return given
        ours = np.arange(self._spec.horizon) * self._served.dt_ms
        theirs = np.arange(len(rows)) * (1000 / self._served.fps)
        return np.stack([np.interp(ours, theirs, column) for column in given.T], axis=1).astype(np.float32)

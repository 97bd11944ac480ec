"""`policy.json`: what a chunk policy observes, what it gives, and which graphs compute it.

Features have the names that LeRobot gives them: "observation.state", "observation.environment_state",
"observation.images.front", "action"; columns have names such as "j1.pos" (rad) or "x.vel" (m/s).
"""

import math
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

from policies.chunks.errors import PackageError

Column: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$(?!\n)")]
Columns: TypeAlias = Annotated[tuple[Column, ...], Meta(min_length=1, max_length=64)]
Numbers: TypeAlias = Annotated[tuple[float, ...], Meta(max_length=64)]
Feature: TypeAlias = Annotated[
    str, Meta(pattern=r"^observation\.(state|environment_state|images\.[A-Za-z0-9_]{1,40})$(?!\n)")
]
Rtc: TypeAlias = Literal["none", "forward"]
IMAGES = "observation.images."
MOST_PIXELS = 1 << 22
OLDEST_MS = 500.0
"""Of a picture, unless a package says otherwise: a robot that sends five a second may lose one."""


class Normal(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How numbers become those that the graph was trained on: (x - mean) / std, or min..max to -1..1. Empty: as is.

    All float[columns] (of a picture: float[3], of values in 0..1).
    """

    mean: Numbers = ()
    std: Numbers = ()
    min: Numbers = ()
    max: Numbers = ()


class Observed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One feature that is observed. names: of its columns;  or size: (height, width) in pixels, of a picture.

    channel: the robot's telemetry that has it, such as "joints" or "camera.hand"; "": of columns, whoever begins the
        task gives them; of a picture, it is that of the session's camera
    oldest_ms: a picture that is older is not acted upon
    """

    names: Annotated[tuple[Column, ...], Meta(max_length=64)] = ()
    size: tuple[Annotated[int, Meta(ge=8, le=4096)], Annotated[int, Meta(ge=8, le=4096)]] | None = None
    normal: Normal = Normal()
    channel: Annotated[str, Meta(max_length=64)] = ""
    oldest_ms: Annotated[float, Meta(ge=20, le=10_000)] = OLDEST_MS


class Acted(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is given. names: of the columns, in the order of the robot's capability.

    relative: the graph gives differences to "observation.state" (columns of the same names) as it was observed
    """

    names: Columns
    normal: Normal = Normal()
    relative: bool = False


class Graph(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the package. sha256: of its bytes, hexadecimal"""

    file: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,40}\.onnx$(?!\n)")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class ChunkSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A chunk policy, as its `policy.json` says. `check` finds contradictions.

    family: "one_pass": the graph "policy" gives the chunk at once (ACT);  "flow": "encoder" is run once, "step"
        `steps` times (flow matching, integrated by Euler's method from noise at 0 to actions at 1)
    drives: the robot's capability, such as "arm.chunk";  observation: by feature;  action: its columns
    dt_ms: between two rows of a chunk;  horizon: rows of a chunk
    rtc: "forward": a flow may be guided along the chunk before (`guiding.py`)
    task: what it does, for people;  trained: facts of the training, for people
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    family: Literal["one_pass", "flow"]
    drives: Annotated[str, Meta(min_length=1, max_length=64)]
    observation: Annotated[dict[Feature, Observed], Meta(min_length=1, max_length=16)]
    action: Acted
    dt_ms: Annotated[float, Meta(ge=5, le=1000)]
    horizon: Annotated[int, Meta(ge=2, le=512)]
    graphs: Annotated[dict[Literal["policy", "encoder", "step"], Graph], Meta(min_length=1, max_length=2)]
    steps: Annotated[int, Meta(ge=1, le=100)] = 10
    rtc: Rtc = "none"
    task: Annotated[str, Meta(max_length=400)] = ""
    trained: dict[str, Any] = field(default_factory=dict)
    kind: Literal["visavis-chunk-policy"] = "visavis-chunk-policy"
    format: Literal[1] = 1

    @property
    def dt(self) -> int:
        """Between two rows, ns."""
        return round(self.dt_ms * 1_000_000)

    @property
    def given(self) -> dict[str, tuple[str, ...]]:
        """Features that no telemetry has, and their columns: arguments of the task."""
        return {name: each.names for name, each in self.observation.items() if each.names and not each.channel}

    @property
    def channels(self) -> dict[str, str]:
        """Feature -> the robot's telemetry channel, of those that have one."""
        return {name: each.channel for name, each in self.observation.items() if each.channel}

    @property
    def pictures(self) -> dict[str, Observed]:
        """The features that are pictures."""
        return {name: each for name, each in self.observation.items() if each.size is not None}

    def check(self) -> None:
        """Raises `PackageError` if parts of it contradict each other."""
        _columns("action", self.action.names)
        _normal("action", self.action.normal, len(self.action.names))
        needed = {"policy"} if self.family == "one_pass" else {"encoder", "step"}
        if set(self.graphs) != needed:
            raise PackageError(f"a policy of family {self.family!r} has the graphs {', '.join(sorted(needed))}.")
        if self.family == "one_pass" and self.rtc != "none":
            raise PackageError('rtc is "forward", which only a flow can be: a policy of one pass has "none".')
        for name, each in self.observation.items():
            self._observed(name, each)
        if self.action.relative:
            state = self.observation.get("observation.state")
            if state is None or set(self.action.names) - set(state.names):
                raise PackageError("action is relative, but observation.state does not have all of its columns.")

    def _observed(self, name: str, each: Observed) -> None:
        if name.startswith(IMAGES):
            if each.names or each.size is None:
                raise PackageError(f"{name} is a picture: it has `size` and no `names`.")
            if each.size[0] * each.size[1] > MOST_PIXELS:
                raise PackageError(f"{name} has more than {MOST_PIXELS} pixels.")
            _normal(name, each.normal, 3)
        else:
            if not each.names or each.size is not None:
                raise PackageError(f"{name} has `names` and no `size`.")
            if each.oldest_ms != OLDEST_MS:
                raise PackageError(f"{name} is no picture: it has no `oldest_ms`.")
            _columns(name, each.names)
            _normal(name, each.normal, len(each.names))


def _columns(name: str, names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise PackageError(f"{name} names a column twice.")


def _normal(name: str, normal: Normal, columns: int) -> None:
    pairs = [(normal.mean, normal.std), (normal.min, normal.max)]
    used = [pair for pair in pairs if pair[0] or pair[1]]
    if len(used) > 1:
        raise PackageError(f"the normalisation of {name} is by mean and std or by min and max, not both.")
    for low, high in used:
        if len(low) != columns or len(high) != columns:
            raise PackageError(f"the normalisation of {name} does not have {columns} numbers.")
        if not all(map(math.isfinite, (*low, *high))):
            raise PackageError(f"the normalisation of {name} has what is no number.")
    if normal.std and min(normal.std) <= 0:
        raise PackageError(f"the normalisation of {name} divides by a std that is not above 0.")
    if normal.min and any(low >= high for low, high in zip(normal.min, normal.max)):
        raise PackageError(f"the normalisation of {name} has a min that is not below its max.")

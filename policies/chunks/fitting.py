"""Whether a policy was made for this robot: seen before anything moves, and said in a sentence if not."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from policies.chunks.description import ChunkSpec
from policies.chunks.errors import DoesNotFit


class Drivable(NamedTuple):
    """A capability of kind "chunk", as the robot's factsheet has it. features: columns in its order"""

    name: str
    features: tuple[str, ...]
    dt_ms: float
    horizon_max: int


class Fit(NamedTuple):
    """What the executor needs to know of the robot. rows: sent at once, at most;  limits: of each column (rad, m)"""

    rows: int
    limits: dict[str, tuple[float, float]]


def fit(
    spec: ChunkSpec, drivable: Sequence[Drivable], joints: Mapping[str, tuple[float, float]],
    channels: Mapping[str, Sequence[str]] | None = None,
) -> Fit:  # fmt: skip
    """How `spec` fits a robot. Raises `DoesNotFit`, whose sentence says which thing does not.

    drivable: its chunk capabilities;  joints: (least, most) position of each, by name ("j1")
    channels: its telemetry, channel -> columns; None: not known, then it shows when observations come
    """
    found = next((each for each in drivable if each.name == spec.drives), None)
    if found is None:
        has = ", ".join(each.name for each in drivable) or "none at all"
        raise DoesNotFit(f"{spec.name} drives {spec.drives}; of this kind the robot has {has}.")
    ours, theirs = spec.action.names, found.features
    if set(ours) != set(theirs):
        lacks = [name for name in ours if name not in theirs]
        more = [name for name in theirs if name not in ours]
        parts = [
            f"the robot has no {', '.join(lacks)}" if lacks else "",
            f"it does not drive {', '.join(more)}" if more else "",
        ]
        raise DoesNotFit(f"{spec.name} does not fit {found.name}: {' and '.join(part for part in parts if part)}.")
    if ours != theirs:
        raise DoesNotFit(
            f"{spec.name} gives {', '.join(ours)}, and {found.name} takes {', '.join(theirs)}: "
            "the order must be the same."
        )
    if abs(spec.dt_ms - found.dt_ms) > 1e-6:
        raise DoesNotFit(f"{spec.name} has a row every {spec.dt_ms:g} ms, {found.name} one every {found.dt_ms:g} ms.")
    for feature, channel in spec.channels.items():
        if channels is None or feature in spec.pictures:  # whose cameras are looked for by who knows them
            continue
        if channel not in channels:
            raise DoesNotFit(
                f"{spec.name} observes {feature} on the channel {channel!r}, which this robot does not send."
            )
        if lacks := [name for name in spec.observation[feature].names if name not in channels[channel]]:
            raise DoesNotFit(
                f"{spec.name} observes {', '.join(lacks)}, which is not on this robot's channel {channel!r}."
            )
    limits = {name: joints[name.removesuffix(".pos")] for name in ours if name.removesuffix(".pos") in joints}
    return Fit(min(spec.horizon, found.horizon_max), limits)

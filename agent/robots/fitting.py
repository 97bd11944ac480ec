"""What a skill is called, and whether its policy was made for a robot: known as soon as its factsheet is."""

import re
from collections.abc import Sequence

from agent.errors import ConfigError
from agent.robots import sight
from embodied.robot.factsheet import Factsheet
from policies.chunks.description import ChunkSpec
from policies.chunks.fitting import Drivable, Fit, fit


def called(spec: ChunkSpec) -> str:
    """The name of the command that begins it."""
    return re.sub(r"[^a-z0-9_]+", "_", spec.name.lower()).strip("_")


def fitted(spec: ChunkSpec, sheet: Factsheet) -> Fit:
    """How it fits the robot of `sheet`. Raises `DoesNotFit`, which says what does not."""
    chunks = [
        Drivable(each.name, each.action_features, each.dt_ms, each.horizon_max)
        for each in sheet.capabilities
        if each.kind == "chunk"
    ]
    joints = {name: (limit.min, limit.max) for name, limit in sheet.limits.joints.items()}
    state = sheet.observation_features.get("state")
    told = {"joints": [str(each) for each in state]} if isinstance(state, list | tuple) else None
    found = fit(spec, chunks, joints, told)
    sight.fits(spec, sheet)
    return found


def named(specs: Sequence[ChunkSpec], robot: str, sheet: Factsheet) -> str:
    """A line about the skills: how each is called, and what has to be said with it; "" if there are none.

    Raises `DoesNotFit`, and `ConfigError` for a name that is another's.
    """
    taken = {each.name for each in sheet.capabilities}
    lines = []
    for spec in specs:
        fitted(spec, sheet)
        name = called(spec)
        if name in taken:
            raise ConfigError(f"--skill: {name} is something that {robot} or another skill is asked for already")
        taken.add(name)
        needs = ", ".join(column for columns in spec.given.values() for column in columns)
        lines.append(f"{name} (needs {needs})" if needs else name)
    return f"skills: {', '.join(lines)}" if lines else ""

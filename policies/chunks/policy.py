"""The port of chunk policies: what the executor needs of one, trained or scripted."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from numpy.typing import NDArray

from policies.chunks.description import ChunkSpec
from policies.chunks.scaling import Floats

Stitch: TypeAlias = Literal["replace", "blend", "forward", "best_of"]
"""How a chunk goes over into the next, see `ChunkExecutor`."""


class Observation(NamedTuple):
    """What is known of the world at one instant.

    t: session time (ns) at which it was heard; row 0 of the chunk belongs to it
    values: by feature: float[columns] (rad, m, ...), of a picture uint8[height, width, 3] (RGB)
    """

    t: int
    values: Mapping[str, NDArray[Any]]


class ChunkPolicy(Protocol):
    """Gives a chunk of actions for an observation. Called in a thread, one call at a time; may keep state."""

    @property
    def spec(self) -> ChunkSpec:
        """What it observes and gives."""
        ...

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        """float32[horizon, columns]: row i is for the time `observation.t` + i * dt.

        previous: float32[n, columns], what is still planned from `observation.t` on (None: nothing)
        delay: of these rows, how many will have been executed when the answer is there
        stitch: "forward" and "best_of" make use of both;  with the others they mean nothing

        Raises `ChunkRefused` if this observation cannot be answered.
        """
        ...

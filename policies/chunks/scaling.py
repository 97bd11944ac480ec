"""Between the numbers of the world and those that a graph was trained on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.chunks.description import Normal

Floats = NDArray[np.float32]


class Scaling:
    """`into` the graph and `out` of it, on the last axis: (x - shift) / scale and back."""

    def __init__(self, normal: Normal, columns: int) -> None:
        shift, scale = np.zeros(columns), np.ones(columns)
        if normal.mean:
            shift, scale = np.array(normal.mean), np.array(normal.std)
        elif normal.min:
            low, high = np.array(normal.min), np.array(normal.max)
            shift, scale = (high + low) / 2, (high - low) / 2
        self._shift, self._scale = shift.astype(np.float32), scale.astype(np.float32)

    def into(self, values: NDArray[Any]) -> Floats:
        """float32[..., columns] for the graph."""
        result: Floats = ((values - self._shift) / self._scale).astype(np.float32)
        return result

    def out(self, values: NDArray[Any]) -> Floats:
        """float32[..., columns] of the graph, as the world has them."""
        result: Floats = (values * self._scale + self._shift).astype(np.float32)
        return result

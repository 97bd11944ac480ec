"""The figures by which LeRobot normalises: of each feature, in each episode and in all."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Figures: TypeAlias = dict[str, list[Any]]
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
FRAMES = 100
ACROSS = 150


def of_columns(values: NDArray[Any]) -> Figures:
    """Of float[rows, columns]: min, max, mean, std and quantiles, each float[columns]; count: [rows]."""
    values = values.astype(np.float64)
    named = {f"q{round(part * 100):02d}": np.quantile(values, part, axis=0) for part in QUANTILES}
    figures = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0), **named}
    return {**{name: each.tolist() for name, each in figures.items()}, "count": [len(values)]}


def sampled(frames: int) -> set[int]:
    """Of which frames of an episode the pictures are looked at: evenly, and not too many."""
    return set(np.linspace(0, frames - 1, min(frames, FRAMES)).round().astype(int).tolist())


def thinned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[pixels, 3] of uint8[height, width, 3]: some of them."""
    step = max(1, max(picture.shape[:2]) // ACROSS)
    return picture[::step, ::step].reshape(-1, 3)


def of_pictures(pictures: list[NDArray[np.uint8]]) -> Figures:
    """The same of pictures that were thinned: of each channel, in 0..1, shaped [3, 1, 1]; count: [pictures]."""
    figures = of_columns(np.concatenate(pictures) / 255.0)
    shaped = {name: [[[value]] for value in each] for name, each in figures.items()}
    return {**shaped, "count": [len(pictures)]}

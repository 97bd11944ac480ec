"""Pictures for a chunk policy: decoded and brought to their size when they are asked for, in the inference's thread."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.chunks.errors import ChunkRefused
from streams.pictures import decompress, opencv
from streams.types import Image


def pixels(image: Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8[height, width, 3], RGB: `image` at `size` (height, width), by areas (OpenCV's INTER_AREA).

    Its sides are squeezed to those of `size`, whatever they were. Training has to do the same; it may call this.
    Raises `ChunkRefused` if the image is damaged, `DependencyMissing` without OpenCV.
    """
    cv2 = opencv("a policy that sees")
    found = decompress(image, max(image.width, image.height, 1))  # whole: the decoder's own halving is another filter
    if found is None:
        raise ChunkRefused("the newest picture cannot be decoded.")
    height, width = size
    if found.shape[:2] != size:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(found[:, :, ::-1])


class Sight(Mapping[str, NDArray[Any]]):
    """`Observation.values` with pictures that are made at the first look. Of one thread at a time.

    columns: the features with columns;  images: feature -> (picture, (height, width) that the policy wants)
    Looking raises as `pixels`.
    """

    def __init__(
        self, columns: Mapping[str, NDArray[Any]], images: Mapping[str, tuple[Image, tuple[int, int]]]
    ) -> None:
        self._known, self._images = dict(columns), images
        self._names = (*columns, *images)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._known and name in self._images:
            self._known[name] = pixels(*self._images[name])
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without making it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

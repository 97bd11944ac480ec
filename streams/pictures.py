"""Pictures to bytes and back: compressed once, at capture, so that all who look, in a replay too, see the same pixels.

The one file that imports OpenCV; it knows nothing of where pictures come from or what is in them.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import DependencyMissing
from streams.types import Image

Pixels = NDArray[np.uint8]
"""uint8[height, width, 3], blue green red, as OpenCV has them."""


def opencv(why: str) -> Any:
    """The module `cv2`, quiet and without threads of its own. Raises `DependencyMissing`; `why` is who needs it."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2  # noqa: PLC0415 - an extra, and 0.2 s
    except ImportError as error:
        raise DependencyMissing("opencv-python-headless", "vision", why) from error
    cv2.setNumThreads(1)  # a resize on all cores would take them from the ears
    return cv2


def compress(picture: Pixels, width: int, quality: int) -> Image:
    """`picture` as a JPEG of at most `width` pixels across; quality from 1 to 100."""
    cv2 = opencv("compressing pictures")
    height, across = picture.shape[:2]
    if across > width:
        size = (width, max(1, round(height * width / across)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return Image(data.tobytes(), "jpeg", picture.shape[1], picture.shape[0])


def decompress(image: Image, longest: int) -> Pixels | None:
    """The pixels of `image`, halved as often as its longer side stays at least `longest`; None if it is damaged.

    Halving is done inside the JPEG decoder, which then has the less to do.
    """
    cv2 = opencv("looking at pictures")
    flag = cv2.IMREAD_COLOR
    if image.format == "jpeg":
        fold = max(image.width, image.height) // longest
        halved = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
        flag = next((reduced for times, reduced in halved if fold >= times), flag)
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(image.data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # no bytes at all, or too many pixels
        return None
    return pixels


def anonymous(address: str) -> str:
    """`address` of a camera as it may be shown and kept: without name, password and query (some have both there)."""
    scheme, sign, rest = address.partition("://")
    if not sign:
        return address
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    if "@" in path and "@" not in authority:  # a password with a slash in it
        authority, slash, path = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"

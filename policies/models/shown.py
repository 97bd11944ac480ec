"""A picture as a model is shown it: small, and as a data URI."""

import base64

from streams.clock import Clock
from streams.errors import DependencyMissing
from streams.packet import Packet
from streams.pictures import compress, decompress
from streams.types import Image
from streams.worker import Worker

QUALITY = 80  # of JPEG
COST = 10_000_000  # ns, declared: a camera's picture to 512 pixels
MOST_RAW = 1 << 20  # bytes of a picture that goes out as it is, where nothing can make it smaller
_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}


class Shown:
    """Makes pictures smaller, in a thread, and keeps the last result: a draft and its reply look at the same one.

    longest: side in pixels.  Must be closed.
    """

    def __init__(self, clock: Clock, longest: int) -> None:
        self._longest = longest
        self._worker = Worker(clock, "shown pictures")
        self._last: tuple[int, str] | None = None

    async def uri(self, packet: Packet[Image]) -> str:
        """`packet` as a data URI with its longer side at most `longest`; "" for one that is damaged, or too large where
        there is no OpenCV. Cancelling drops it."""
        if self._last is None or self._last[0] != packet.seq:
            self._last = packet.seq, await self._worker.work(COST, data_uri, packet.data, self._longest)
        return self._last[1]

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._worker.abandon()


def data_uri(image: Image, longest: int) -> str:
    """As `Shown.uri`, here and now. One that is small enough goes out as it was captured."""
    across = max(image.width, image.height)
    if across > longest:
        try:
            pixels = decompress(image, longest)
            if pixels is None:
                return ""
            height, width = pixels.shape[:2]
            image = compress(pixels, max(1, round(width * min(1.0, longest / max(height, width)))), QUALITY)
        except DependencyMissing:
            if len(image.data) > MOST_RAW:
                return ""
    kind = _TYPES.get(image.format, f"image/{image.format}")
    return f"data:{kind};base64,{base64.b64encode(image.data).decode('ascii')}" if image.data else ""

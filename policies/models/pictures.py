"""The newest picture, for a model that may look."""

from collections.abc import Callable
from typing import Any, Protocol

from streams.packet import Packet
from streams.topics import IMAGE, Topic
from streams.types import Image

CAMERA = "camera"
"""The component whose `Offered` says that pictures are coming in."""


class Pictures(Protocol):
    """Where a model finds what the camera sees."""

    @property
    def newest(self) -> Packet[Image] | None:
        """The newest picture; None if there was none yet."""


class _Lane(Protocol):
    def __aiter__(self) -> "_Lane": ...

    async def __anext__(self) -> Packet[Any]: ...


class NewestPicture:
    """A tap (`streams.ports.Tap`) that keeps the newest picture and nothing else."""

    reads: tuple[Topic[Any], ...] = (IMAGE,)

    def __init__(self, name: str = "newest picture") -> None:
        self.name = name
        self.newest: Packet[Image] | None = None

    async def run(self, lane: _Lane, clock: Any, report: Callable[..., None]) -> None:
        """Look until the session ends."""
        async for packet in lane:
            self.newest = packet

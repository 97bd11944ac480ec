"""Who comes into view and may be greeted: somebody where nobody was for a while, and not every minute."""

from typing import Any

from streams.clock import SECOND
from streams.packet import Packet
from streams.types import Faces, TurnOpened

STEADY_NS = SECOND  # somebody is there
EMPTY_NS = 10 * SECOND  # nobody has been there
AGAIN_NS = 120 * SECOND


class Greeter:
    """Takes packets in; `wants` while there is somebody to greet. Who speaks first needs no greeting."""

    def __init__(self) -> None:
        self._seen = -EMPTY_NS
        self._came: int | None = None
        self._greeted: int | None = None
        self.wants = False

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of faces and of turns."""
        match packet.data:
            case TurnOpened():
                self.wants, self._came, self._seen = False, None, packet.at
            case Faces(faces=faces) if faces:
                self._look(packet.t)
            case Faces() if packet.t - self._seen >= STEADY_NS:  # not only for a picture or two
                self.wants, self._came = False, None

    def take(self, now: int) -> bool:
        """Whether to greet now; it is done then."""
        if not self.wants:
            return False
        self.wants, self._came, self._greeted = False, None, now
        return True

    def _look(self, t: int) -> None:
        """Somebody is there."""
        if self._came is None and t - self._seen >= EMPTY_NS:
            self._came = t
        self._seen = t
        rested = self._greeted is None or t - self._greeted >= AGAIN_NS
        if self._came is not None and t - self._came >= STEADY_NS and rested:
            self.wants = True

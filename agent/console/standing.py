"""What still holds of the events that were told: who joins late is told that first, however old it is."""

from typing import Any, TypeAlias

from streams.packet import Packet
from streams.types import Attached, BodyState, Command, Offered, Outcome, Progress

MOST = 300
Event: TypeAlias = tuple[int, bytes]
"""When it was published (ns), and as JSON."""


class Standing:
    """Of each component its newest offers, of each robot what it is and how it stands, and commands under way."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str | int], Event] = {}

    def clear(self) -> None:
        """Another session."""
        self._events.clear()

    def note(self, packet: Packet[Any], event: Event) -> None:
        """`event` is `packet` as pages are shown it."""
        match packet.data:
            case Offered(where=where) | Attached(where=where) | BodyState(where=where):
                self._keep((type(packet.data).__name__, where), event)
            case Command(id=number):
                self._keep(("Command", number), event)
            case Progress(id=number) if ("Command", number) in self._events:
                self._keep(("Progress", number), event)
            case Outcome(action="Command", id=number):
                self._events.pop(("Command", number), None)
                self._events.pop(("Progress", number), None)

    def before(self, oldest: int) -> list[bytes]:
        """Those published before `oldest` (ns), in order."""
        events = sorted(self._events.values(), key=lambda event: event[0])
        return [encoded for at, encoded in events if at < oldest]

    def _keep(self, key: tuple[str, str | int], event: Event) -> None:
        self._events[key] = event
        while len(self._events) > MOST:
            del self._events[next(iter(self._events))]

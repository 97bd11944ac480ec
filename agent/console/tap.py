"""The tap that shows a session to the pages: events in batches, pictures as they come."""

from collections.abc import Callable
from typing import Any

from agent.console.room import Room
from agent.console.summary import encoded
from streams.bus import Lane
from streams.clock import MS, Clock
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, IMAGE, PERCEPT, TURN, VOICE, Topic
from streams.types import Fault

BATCH_NS = 50 * MS


class RoomTap:
    """Shows what happens in a session to everybody in `room`. began: called with the session's clock when it begins"""

    name = "console"
    reads: tuple[Topic[Any], ...] = (VOICE, PERCEPT, TURN, ACTION, FEEDBACK, IMAGE)

    def __init__(self, room: Room, began: Callable[[Clock], None] = lambda clock: None) -> None:
        self._room, self._began = room, began
        self._batch: list[tuple[int, bytes]] = []

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Show `lane` until it ends."""
        self._began(clock)
        due: int | None = None
        try:
            while True:
                packet = await lane.get(due)
                if packet is None and lane.ended:
                    return
                if packet is not None:
                    self._take(packet)
                if due is None and self._batch:
                    due = clock.now() + BATCH_NS
                elif due is not None and clock.now() >= due:
                    due = None
                    self._show()
        finally:
            self._show()

    def _take(self, packet: Packet[Any]) -> None:
        if packet.topic is IMAGE:
            self._room.picture(packet)
            return
        shown = (packet.at, encoded(packet))
        self._batch.append(shown)
        self._room.note(packet, shown)

    def _show(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._room.show(batch)

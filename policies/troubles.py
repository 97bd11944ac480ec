"""Which of the agent's senses are gone, and what it says of that unasked. Pure; its time is that of its packets.

A sense that comes and goes does not make the agent chatter: of each it tells at most one loss in half a minute, a
return only where it has told the loss, and nothing of what was over before it could be said.
"""

from collections.abc import Mapping
from typing import Any

from streams.clock import SECOND
from streams.packet import Packet
from streams.types import Fault, Recovered

AGAIN_NS = 30 * SECOND
GONE = "SourceLost"  # other faults of a device (lost samples, a late block) do not make it deaf


class Troubles:
    """Takes packets in; `pending` is what there is to say now, `tell` says it.

    TEXTS: by sense, what is said when it is gone and when it is back
    lost: the senses that are gone, by name
    """

    TEXTS: Mapping[str, tuple[str, str]] = {
        "microphone": ("I cannot hear you any more: the microphone is gone.", "I can hear you again."),
        "camera": ("I cannot see any more: the camera is gone.", "I can see again."),
    }

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self._told: set[str] = set()
        self._last: dict[str, int] = {}
        self._now = 0

    def feed(self, packet: Packet[Any]) -> None:
        """Take note of a fault or its end; anything else changes only the time."""
        self._now = max(self._now, packet.at)
        match packet.data:
            case Fault(where=where, error=error) if where in self.TEXTS and error == GONE:
                self.lost.add(where)
            case Recovered(where=where):
                self.lost.discard(where)

    @property
    def pending(self) -> list[str]:
        """What is to be said now."""
        texts = []
        for where, (gone, back) in self.TEXTS.items():
            if where in self.lost and where not in self._told:
                if where not in self._last or self._now - self._last[where] >= AGAIN_NS:
                    texts.append(gone)
            elif where in self._told and where not in self.lost:
                texts.append(back)
        return texts

    def tell(self) -> list[str]:
        """What is to be said now, which is then said."""
        texts = self.pending
        for where, (gone, back) in self.TEXTS.items():
            if gone in texts:
                self._told.add(where)
                self._last[where] = self._now
            elif back in texts:
                self._told.discard(where)
        return texts

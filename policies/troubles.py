"""Which of the agent's senses are gone, and what it says of that unasked. Pure; its time is that of its packets.

A sense that comes and goes does not make the agent chatter: of each it tells at most one loss in half a minute, a
return only where it has told the loss, and nothing of what was over before it could be said.
"""

from collections.abc import Mapping
from typing import Any

from streams.clock import SECOND
from streams.packet import Packet
from streams.types import Attached, BodyState, Fault, Recovered

AGAIN_NS = 30 * SECOND
GONE = frozenset({"SourceLost", "RobotSilent"})  # other faults of a device (lost samples, a late block) are not its end
UNSTOPPED = {
    "StopUnconfirmed": "Careful: the robot has not confirmed the stop. Use the stop on the robot itself.",
    "StopGivenUp": "Careful: I could not stop the robot and have given up. Use the stop on the robot itself.",
}
"""By the error's name: said whoever tells it, also of a robot that was never heard."""


class Troubles:
    """Takes packets in; `pending` is what there is to say now, `tell` says it.

    TEXTS: by sense, what is said when it is gone and when it is back; so for each robot that was attached
    lost: the senses that are gone, by name
    """

    TEXTS: Mapping[str, tuple[str, str]] = {
        "microphone": ("I cannot hear you any more: the microphone is gone.", "I can hear you again."),
        "camera": ("I cannot see any more: the camera is gone.", "I can see again."),
    }
    ROBOT = ("I have lost the robot.", "The robot is back.")
    ROBOTS = ("I have lost the robot {}.", "The robot {} is back.")

    def __init__(self) -> None:
        self._texts = dict(self.TEXTS)
        self._robots: list[str] = []
        self._loud: list[str] = []
        self.lost: set[str] = set()
        self._told: set[str] = set()
        self._last: dict[str, int] = {}
        self._now = 0

    def feed(self, packet: Packet[Any]) -> None:
        """Take note of a fault or its end; anything else changes only the time."""
        self._now = max(self._now, packet.at)
        match packet.data:
            case Attached(where=where) if where not in self._robots:
                self._robots.append(where)
                several = len(self._robots) > 1
                names = [
                    (gone.format(each), back.format(each)) for each in self._robots for gone, back in [self.ROBOTS]
                ]
                self._texts |= dict(zip(self._robots, names if several else [self.ROBOT]))
            case Fault(error=error) if error in UNSTOPPED:
                self._loud = [UNSTOPPED[error]]
            case Fault(where=where, error=error) if where in self._texts and error in GONE:
                self.lost.add(where)
            case Recovered(where=where) if where not in self._robots:
                self.lost.discard(where)
            case BodyState(where=where, link="heard"):  # what has recovered of a robot may be its broker alone
                self.lost.discard(where)

    @property
    def urgent(self) -> bool:
        """Whether somebody has to be warned: to be said also where nothing is to be said unasked."""
        return bool(self._loud)

    @property
    def pending(self) -> list[str]:
        """What is to be said now."""
        texts = list(self._loud)
        for where, (gone, back) in self._texts.items():
            if where in self.lost and where not in self._told:
                if where not in self._last or self._now - self._last[where] >= AGAIN_NS:
                    texts.append(gone)
            elif where in self._told and where not in self.lost:
                texts.append(back)
        return texts

    def tell(self, *, warnings: bool = False) -> list[str]:
        """What is to be said now, which is then said. warnings: nothing else"""
        texts, self._loud = list(self._loud) if warnings else self.pending, []
        for where, (gone, back) in self._texts.items():
            if gone in texts:
                self._told.add(where)
                self._last[where] = self._now
            elif back in texts:
                self._told.discard(where)
        return texts

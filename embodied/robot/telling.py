"""What the robot tells: each message on its topic, events no more than twice a second, and the audit notes."""

from typing import Any

from embodied.robot.decisions import Effect, Note, Tell
from embodied.robot.rates import Told
from embodied.robot.reports import Happening, Status
from embodied.robot.topics import DELIVERY, Channel, agent_topic, robot_topic
from embodied.robot.vocabulary import MS, Event, Level, Reason


class Telling:
    """Collects effects until `take`; in the order in which they happened."""

    def __init__(self, fleet: str, robot: str) -> None:
        self.fleet, self.robot = fleet, robot
        self._out: list[Effect] = []
        self._told = Told()

    def take(self) -> list[Effect]:
        """All that has come together since the last time."""
        out, self._out = self._out, []
        return out

    def order(self, effect: Effect) -> None:
        """Something for the driver, or ready made."""
        self._out.append(effect)

    def on(self, channel: Channel, message: Any, name: str = "") -> None:
        """Publish `message` on a topic of this robot."""
        way = DELIVERY[channel]
        topic = robot_topic(self.fleet, self.robot, channel, name)
        self._out.append(Tell(topic, message, way.qos, way.retain, way.expiry_s))

    def status(self, status: Status, reply: str) -> None:
        """A status goes to `status`, and to its sender's reply topic."""
        self.on("status", status)
        if reply:
            self._out.append(Tell(reply, status, 1))

    def privately(self, agent: str, status: Status) -> None:
        """A status for one agent's eyes."""
        self._out.append(Tell(agent_topic(self.fleet, agent, "reply"), status, 1))

    def event(
        self,
        kind: Event,
        level: Level,
        guard: str,
        now: int,
        *,
        reason: Reason | None = None,
        detail: str = "",
        id: str = "",
    ) -> None:
        """Something happened; the same again within half a second is counted and told later."""
        if count := self._told.count(kind, guard, now):
            happening = Happening(kind, level, max(0, now // MS), guard, reason, detail[:400], id, count)
            self.on("event", happening, kind)

    def note(self, note: Note) -> None:
        """One line of the audit log."""
        self._out.append(note)

"""What a robot says: each message of its guards as bytes on its topic, in order, and the last words at the end."""

from collections.abc import Callable, Iterable
from typing import Any

from embodied.link.link import Link
from embodied.link.port import Dial, Message, Outgoing
from embodied.node.complaints import one_line
from embodied.robot.codec import encode
from embodied.robot.decisions import Tell
from embodied.robot.errors import Malformed
from embodied.robot.properties import properties
from embodied.robot.reports import Happening
from embodied.robot.topics import DELIVERY, Channel, read_topic, robot_subscriptions, robot_topic
from embodied.robot.vocabulary import MS, SECOND, Level
from streams.clock import Clock

EVENTS_WAIT = 10 * SECOND
"""For the broker; after that they are no news."""


class Voice:
    """A robot's link, as its program uses it.

    will: what the broker says when it is gone;  hello: what is said first, after each connection
    receive: given each message that comes
    told: what was last told on each channel but telemetry;  unsaid: messages that could not be written as JSON
    """

    def __init__(
        self, dial: Dial, clock: Clock, *, fleet: str, robot: str, will: Tell, receive: Callable[[Message], None],
        hello: Callable[[], Iterable[Outgoing]],
    ) -> None:  # fmt: skip
        self.told: dict[Channel, Any] = {}
        self.unsaid = 0
        self._fleet, self._robot, self._clock, self._will = fleet, robot, clock, will
        self._leaving = False
        self._last_words = will  # "lost", unless "offline" can be said
        self.link = Link(
            dial, clock, receive=receive, subscriptions=robot_subscriptions(fleet, robot), will=_outgoing(will),
            hello=hello, goodbye=lambda: self.first([self._last_words]), name=robot,
        )  # fmt: skip

    def leave(self) -> None:
        """From now on a presence that is told waits, and comes last of all."""
        self._leaving = True

    def tell(self, tell: Tell) -> None:
        """Send it as soon as it can be."""
        if self._leaving and tell.topic == self._will.topic:
            self._last_words = tell  # "offline" comes last, when it is
            return
        self._remember(tell)
        try:
            # What is retained is told anew after a reconnection: what was true meanwhile is not.
            worth = EVENTS_WAIT if isinstance(tell.message, Happening) else None
            self.link.send(_outgoing(tell), keep=not tell.retain, valid_ns=worth)
        except Malformed:
            self.unsaid += 1  # a driver's number that is none: `diag` tells it

    def event(self, level: Level, detail: str, id: str = "") -> None:
        """Tell of something that is wrong with the robot itself. id: of the command that it happened to"""
        happening = Happening("fault", level, self._clock.now() // MS, "driver", "hardware", one_line(detail), id)
        way = DELIVERY["event"]
        self.tell(Tell(robot_topic(self._fleet, self._robot, "event", "fault"), happening, way.qos, way.retain))

    def first(self, tells: Iterable[Tell]) -> list[Outgoing]:
        """Those, for the link to send before all else. Raises `Malformed`."""
        out = []
        for each in tells:
            self._remember(each)
            out.append(_outgoing(each))
        return out

    def _remember(self, tell: Tell) -> None:
        topic = read_topic(tell.topic)
        if topic is not None and topic.who == self._robot and topic.channel != "telemetry":
            self.told[topic.channel] = tell.message


def _outgoing(tell: Tell) -> Outgoing:
    topic = read_topic(tell.topic)
    of_it = properties(topic.channel, tell.message) if topic is not None else None
    return Outgoing(tell.topic, encode(tell.message), tell.qos, tell.retain, of_it)

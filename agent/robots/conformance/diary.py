"""What one client has heard, with the time of its arrival; and waiting for what is yet to come."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from embodied.link.port import Message
from embodied.robot.codec import decode
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Factsheet
from embodied.robot.messages import Fresh
from embodied.robot.reports import (
    Connection,
    Happening,
    Heartbeat,
    LeaseState,
    Odometry,
    RobotState,
    Safety,
    Status,
    Telemetry,
)
from embodied.robot.topics import Topic, read_topic
from embodied.robot.vocabulary import SECOND
from streams.clock import Clock

T = TypeVar("T")
KEPT = 100_000
_KINDS: dict[str, Any] = {
    "connection": Connection, "factsheet": Factsheet, "state": RobotState, "heartbeat": Heartbeat, "event": Happening,
    "safety": Safety, "status": Status, "lease": LeaseState, "agent/reply": Status,
}  # fmt: skip


class Entry(NamedTuple):
    """t: arrival, ns;  message: decoded, or `Malformed`: why it could not be;  payload: as it came"""

    t: int
    topic: Topic
    message: Any
    payload: bytes
    retained: bool


class Diary:
    """Of what was heard about one robot. Bounded: the oldest is forgotten. heard: when the last heartbeat came, ns"""

    def __init__(self, robot: str, agent: str, clock: Clock) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.fresh: Fresh | None = None
        self.heard = 0
        self.estop = "none"
        self._robot, self._agent, self._clock = robot, agent, clock
        self._news = asyncio.Event()
        self._statuses: dict[str, deque[tuple[int, Status]]] = {}

    def write(self, message: Message) -> None:
        """One more. Topics that are none of this robot's are passed over."""
        topic = read_topic(message.topic)
        if topic is None or topic.who != (self._agent if topic.channel == "agent/reply" else self._robot):
            return
        kind = _KINDS.get(topic.channel)
        if topic.channel == "telemetry":
            kind = Odometry if topic.name == "odom" else Telemetry
        if kind is None:
            return
        read: Any
        try:
            read = decode(message.payload, kind)
        except Malformed as error:
            read = error
        self._keep(Entry(self._clock.now(), topic, read, message.payload, message.retained))
        if isinstance(read, Heartbeat):
            self.estop, self.heard = read.estop, self._clock.now()
            known = self.fresh
            if known is None or known.boot != read.boot or read.beat > known.beat:
                self.fresh = Fresh(read.boot, read.beat)
        elif isinstance(read, Safety):
            self.estop = read.estop
        self._news.set()

    def since(self, t: int, kind: type[T]) -> Iterator[tuple[int, T]]:
        """(arrival, message) of this kind that came at `t` (ns) or later, in order."""
        found: list[tuple[int, T]] = []
        for entry in reversed(self.entries):
            if entry.t < t:
                break
            if isinstance(entry.message, kind):
                found.append((entry.t, entry.message))
        return reversed(found)

    def newest(self, kind: type[T]) -> T | None:
        """The last of this kind."""
        return next((e.message for e in reversed(self.entries) if isinstance(e.message, kind)), None)

    def statuses(self, id: str, t: int = 0) -> list[Status]:
        """All of command `id` that came since `t`, by their running number, each once."""
        found = {status.seq: status for came, status in self._statuses.get(id, ()) if came >= t}
        return [found[seq] for seq in sorted(found)]

    async def until(self, found: Callable[[], T | None], seconds: float) -> T | None:
        """What `found` gives as soon as it is not None or False; None after `seconds`."""
        end = self._clock.now() + round(seconds * SECOND)
        while True:
            self._news.clear()
            if (value := found()) is not None and value is not False:
                return value
            if self._clock.now() >= end:
                return None
            try:
                async with asyncio.timeout_at(self._clock.deadline(end)):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def status(self, id: str, seconds: float, *states: str, t: int = 0) -> Status | None:
        """The first status of `id` in one of `states` (any, if none is named) that came since `t`."""

        def found() -> Status | None:
            for status in self.statuses(id, t):
                if not states or status.state in states:
                    return status
            return None

        return await self.until(found, seconds)

    async def next(self, kind: type[T], seconds: float, fits: Callable[[T], bool] = lambda _: True,
                   since: int | None = None) -> T | None:  # fmt: skip
        """The first of this kind that fits and comes from now (or `since`) on; None if none does."""
        t = self._clock.now() if since is None else since
        return await self.until(lambda: next((m for _, m in self.since(t, kind) if fits(m)), None), seconds)

    def _keep(self, entry: Entry) -> None:
        """At the end; the oldest goes. Statuses are found by their id: an answer that is waited for may not take long
        to find, for how long it took is told, and whoever waits hears nothing else meanwhile."""
        if len(self.entries) == KEPT and isinstance(old := self.entries[0].message, Status):
            several = self._statuses[old.id]
            several.popleft()
            if not several:
                del self._statuses[old.id]
        self.entries.append(entry)
        if isinstance(entry.message, Status):
            self._statuses.setdefault(entry.message.id, deque()).append((entry.t, entry.message))

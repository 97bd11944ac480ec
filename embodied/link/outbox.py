"""What waits to be sent. Pure: no tasks, no network, no clock of its own.

QoS 1 waits in two lanes, "first" (stops) and "then", each in the order of its coming. Its head is looked at, published,
and taken out when the broker has acknowledged it (peek, publish, pop): what a broken connection interrupted is still at
the head, and is sent again, with the same bytes. So a receiver may see it twice, and knows it by its id; nothing
overtakes within a lane. Of QoS 0 only the newest of each topic is kept.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias

from embodied.link.port import Outgoing

Lane: TypeAlias = Literal["first", "then"]
LANES: tuple[Lane, ...] = ("first", "then")


class Waiting(NamedTuple):
    """A message of QoS 1 in a lane. until: session time in ns after which it is not worth sending; None: always"""

    number: int
    message: Outgoing
    keep: bool
    until: int | None


class Lost(NamedTuple):
    """A message that will not be sent, and why, in words."""

    message: Outgoing
    why: str


class Outbox:
    """Two bounded lanes. limit: messages in each; one more is refused."""

    def __init__(self, limit: int = 256) -> None:
        if limit < 1:
            raise ValueError(f"an outbox for {limit} messages holds none: at least 1")
        self.limit = limit
        self._lanes: dict[Lane, deque[Waiting]] = {lane: deque() for lane in LANES}
        self._number = 0

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, message: Outgoing, *, first: bool = False, keep: bool = True, until: int | None = None) -> bool:
        """Put `message` at the end of its lane. False: the lane is full, and it is not in it.

        Of `first`, one that waits there with the same bytes is that message: a stop that is said again while the first
        is not acknowledged would come after all that was said since, and stop that.
        """
        lane = self._lanes["first" if first else "then"]
        for place, waiting in enumerate(lane if first else ()):
            if waiting.message == message:
                longest = None if until is None or waiting.until is None else max(until, waiting.until)
                lane[place] = waiting._replace(keep=keep or waiting.keep, until=longest)
                return True
        if len(lane) >= self.limit:
            return False
        self._number += 1
        lane.append(Waiting(self._number, message, keep, until))
        return True

    def peek(self, lane: Lane) -> Waiting | None:
        """The head of `lane`, which stays there."""
        return self._lanes[lane][0] if self._lanes[lane] else None

    def pop(self, lane: Lane, number: int) -> None:
        """Take out the head, if it is still that with `number`."""
        waiting = self._lanes[lane]
        if waiting and waiting[0].number == number:
            waiting.popleft()

    def expire(self, now: int, writing: Collection[int] = ()) -> list[Lost]:
        """Take out what is not worth sending any more at `now` (ns). writing: numbers of those on their way just now"""
        if not any(each.until is not None and each.until < now for each in self):
            return []
        return self._take(
            lambda each: each.until is not None and each.until < now and each.number not in writing,
            "it could not be sent in time",
        )

    def broke(self) -> list[Lost]:
        """Take out what was not to be kept over a broken connection."""
        return self._take(lambda each: not each.keep, "the connection broke before it was acknowledged")

    def close(self) -> list[Lost]:
        """Take out everything."""
        return self._take(lambda each: True, "the link was closed before it was acknowledged")

    def _take(self, wanted: Callable[[Waiting], bool], why: str) -> list[Lost]:
        taken: list[Lost] = []
        for name, lane in self._lanes.items():
            taken += (Lost(each.message, why) for each in lane if wanted(each))
            self._lanes[name] = deque(each for each in lane if not wanted(each))
        return taken

    def __iter__(self) -> Iterator[Waiting]:
        for lane in LANES:
            yield from self._lanes[lane]


class Newest:
    """The newest message of each topic, given out in the order in which the topics came. limit: topics"""

    def __init__(self, limit: int = 256) -> None:
        self.limit = limit
        self._waiting: dict[str, Outgoing] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Outgoing) -> Literal["new", "replaced", "full"]:
        """Keep `message`, in the place of an older one on its topic. "full": too many topics wait; not kept."""
        known = message.topic in self._waiting
        if not known and len(self._waiting) >= self.limit:
            return "full"
        self._waiting[message.topic] = message  # an older one's place in the order stays
        return "replaced" if known else "new"

    def take(self) -> Outgoing | None:
        """The message that is next, taken out."""
        for topic in self._waiting:
            return self._waiting.pop(topic)
        return None

    def clear(self) -> int:
        """Forget all. Returns how many there were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

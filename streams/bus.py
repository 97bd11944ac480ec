"""The bus: `publish` never waits, readers have lanes of their own, and loss is declared and counted.

Knows nothing of what the packets mean. All of it runs on one event loop; other threads must come in through
`loop.call_soon_threadsafe`.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, TypeVar

from streams.clock import Clock
from streams.errors import LaneOverrun
from streams.packet import Packet
from streams.topics import Keep, Topic

T = TypeVar("T")


class Lane:
    """One reader's queue over several topics, in publish order. Made by `Bus.open`; use as a context manager.

    dropped: packets lost per topic name (only topics of queue `Latest` ever lose any)
    high: the longest the queue has been
    """

    def __init__(self, bus: "Bus", topics: tuple[Topic[Any], ...], reader: str) -> None:
        self.topics = topics
        self.reader = reader
        self.dropped: dict[str, int] = {}
        self.high = 0
        self._bus = bus
        self._queue: deque[Packet[Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._open = {topic for topic in topics if topic not in bus.closed}
        self._error: LaneOverrun | None = None
        self._nudged = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def ended(self) -> bool:
        """Every topic is closed and nothing is left to read."""
        return not self._open and not self._queue

    # --- the bus's side

    def push(self, packet: Packet[Any]) -> None:
        """Take a packet in; never waits. `Keep` topics fault the reader when full, `Latest` topics drop the oldest."""
        queue = self._queue
        topic = packet.topic
        if len(queue) >= topic.queue.depth and self._full(topic):  # else `topic` alone cannot be full either
            if type(topic.queue) is Keep:
                self._overrun(topic)
                return
            self._drop_oldest(topic)
        queue.append(packet)
        if len(queue) > self.high:
            self.high = len(queue)
        if self._waiter is not None:
            self._wake()

    def end(self, topic: Topic[Any]) -> None:
        """`topic` is closed: no packet of it will come any more."""
        self._open.discard(topic)
        if not self._open:
            self._wake()

    def _full(self, topic: Topic[Any]) -> bool:
        return sum(packet.topic is topic for packet in self._queue) >= topic.queue.depth

    def _overrun(self, topic: Topic[Any]) -> None:
        self._error = LaneOverrun(topic.name, topic.queue.depth, self.reader)
        self._queue.clear()
        self._bus.forget(self)
        self._wake()

    def _drop_oldest(self, topic: Topic[Any]) -> None:
        for place, packet in enumerate(self._queue):
            if packet.topic is topic:
                del self._queue[place]
                break
        self.dropped[topic.name] = self.dropped.get(topic.name, 0) + 1

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the reader's side

    def take(self) -> Packet[Any] | None:
        """The next packet if there is one, without waiting. Raises `LaneOverrun` if the reader has fallen behind."""
        if self._queue:
            return self._queue.popleft()
        if self._error is not None:
            raise self._error
        return None

    async def get(self, deadline: int | None = None) -> Packet[Any] | None:
        """The next packet; None once `deadline` (session time, ns) passes, on a `nudge`, or when the lane has ended.

        A packet that waits in the queue always goes before the deadline. Cancel-safe: a packet is taken in the same
        step in which it is returned, so none is lost. Raises `LaneOverrun`; `RuntimeError` if a second task reads.
        """
        clock = self._bus.clock
        while True:
            packet = self.take()
            if packet is not None or not self._open:
                return packet
            if self._nudged or (deadline is not None and clock.now() >= deadline):
                self._nudged = False
                return None
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError(f"two tasks read the lane of {self.reader or 'a reader'}: open a lane for each")
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            timer = None if deadline is None else clock.call_at(deadline, self._wake)
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()

    def nudge(self) -> None:
        """Let a waiting `get` (or the next to wait) return None once: something outside the lane has changed.

        Only for readers that call `get` themselves: to an `async for`, None is the end.
        """
        self._nudged = True
        self._wake()

    def __aiter__(self) -> "Lane":
        return self

    async def __anext__(self) -> Packet[Any]:
        packet = self._queue.popleft() if self._queue else await self.get()
        if packet is None:
            raise StopAsyncIteration
        return packet

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; the bus forgets this lane and keeps its figures. What is queued can still be taken."""
        self._bus.forget(self)
        self._open.clear()
        self._wake()


class Bus:
    """Carries packets from writers to the lanes of readers, in one total order.

    clock: stamps each packet with the time of its publication.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.closed: set[Topic[Any]] = set()
        self.lanes: list[Lane] = []
        self.retired: list[Lane] = []
        self._readers: dict[Topic[Any], tuple[Lane, ...]] = {}
        self._seq: dict[Topic[Any], int] = {}
        self._order = 0

    @property
    def order(self) -> int:
        """How many packets have been published."""
        return self._order

    def open(self, *topics: Topic[Any], reader: str = "") -> Lane:
        """A new lane over `topics`; it sees what is published from now on. `reader` names it in errors and reports."""
        lane = Lane(self, tuple(dict.fromkeys(topics)), reader)
        self.lanes.append(lane)
        for topic in lane.topics:
            self._readers[topic] = (*self._readers.get(topic, ()), lane)
        return lane

    def forget(self, lane: Lane) -> None:
        """Called by `Lane.close`."""
        if lane in self.lanes:
            self.lanes.remove(lane)
            self.retired.append(lane)
        for topic in lane.topics:
            self._readers[topic] = tuple(other for other in self._readers.get(topic, ()) if other is not lane)

    def publish(self, topic: Topic[T], t: int, data: T) -> Packet[T]:
        """Put `data`, which happened at `t` (ns), on `topic`; every lane over it has it when this returns.

        Publishing on a closed topic reaches nobody and is a bug of the caller: raises `ValueError`.
        """
        if topic in self.closed:
            raise ValueError(f"topic {topic.name!r} is closed: {type(data).__name__} comes too late")
        seq = self._seq.get(topic, 0)
        self._seq[topic] = seq + 1
        order = self._order
        self._order = order + 1
        packet = Packet(topic, t, self.clock.now(), seq, order, data)
        for lane in self._readers.get(topic, ()):
            lane.push(packet)
        return packet

    def skip(self, topic: Topic[Any], seq: int) -> None:
        """The next packet on `topic` is number `seq`: what a replay leaves out keeps its numbers. Never goes back."""
        self._seq[topic] = max(seq, self._seq.get(topic, 0))

    def close(self, *topics: Topic[Any]) -> None:
        """No more packets on `topics`: lanes end when they have been read to the end. Closing twice is fine."""
        for topic in topics:
            if topic not in self.closed:
                self.closed.add(topic)
                for lane in self._readers.get(topic, ()):
                    lane.end(topic)

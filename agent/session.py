"""A session: components, their tasks and their topics, from the first packet to the last.

    sources ─> encoders ─> conductor ─> body          taps see every packet

It ends by end of stream: sources end, their topics close, lanes drain, encoders say their last word, the conductor
lets the conversation come to its end, the body falls silent, taps write their last packet. An exception anywhere
ends it at once, and the body is halted in any case.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from agent.conductor import ENDED, ENDING, INTERRUPTED, Conductor
from embodied.body import Body
from streams import clock as clocks
from streams.bus import Bus, Lane
from streams.clock import SECOND, Clock
from streams.errors import SourceLost
from streams.packet import Packet
from streams.ports import Encoder, Publisher, Source, Tap
from streams.pump import pump
from streams.topics import ACTION, AUDIO, CLEAN, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import Fault

FAULTS = 1000  # a session may last for days: the newest are kept


class BodyPort(Protocol):
    """What a session needs of a body: `embodied.body.Body` is one, a replay has another.

    One that wants to see more than ACTION has `taps`, which the session runs beside its own.
    """

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        """Carry out what comes over ACTION until it closes; publish what was done on FEEDBACK and PLAYBACK."""


@dataclass
class Desk:
    """Where each part publishes: by default straight on the bus. A replay puts its comparison in between."""

    senses: Publisher
    mind: Publisher
    body: Publisher


def straight(bus: Bus, clock: Clock) -> Desk:
    """Everything goes straight on the bus."""
    return Desk(bus, bus, bus)


class Log:
    """A tap that keeps the packets of a session in memory, for programs and tests.

    reads: by default everything but media;  packets: in their total order
    recent_s: keep only the packets of the last seconds (None: all of them)
    """

    name = "log"

    def __init__(self, *topics: Topic[Any], recent_s: float | None = None) -> None:
        self.reads: tuple[Topic[Any], ...] = topics or (PERCEPT, TURN, ACTION, FEEDBACK)
        self.packets: deque[Packet[Any]] = deque()
        self._recent = None if recent_s is None else round(recent_s * SECOND)

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Keep what comes."""
        packets = self.packets
        async for packet in lane:
            packets.append(packet)
            while self._recent is not None and packets[0].at < packet.at - self._recent:
                packets.popleft()

    def of(self, *kinds: type) -> list[Any]:
        """The payloads of the given types, in order."""
        return [packet.data for packet in self.packets if isinstance(packet.data, kinds)]


class Session:
    """One conversation, from its first packet to its last. Runs once.

    sources: where media come from; the session ends when all of them have
    encoders: in the direction of the data: one that follows another comes after it
    conductor: turn-taker, policy and reflex;  body: carries the actions out (None: every action is refused)
    taps: see every packet, may not publish;  started: wall time of session time 0, None for now
    desk: where each part publishes
    opened: called once every source is open, before the first tap runs: for what must not be done in vain, such as
        replacing a file; it may still add to `taps`
    """

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        encoders: Sequence[Encoder],
        conductor: Conductor,
        body: BodyPort | None = None,
        taps: Sequence[Tap] = (),
        started: datetime | None = None,
        desk: Callable[[Bus, Clock], Desk] = straight,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self.sources, self.encoders, self.conductor = sources, encoders, conductor
        self.body: BodyPort = body or Body(())
        self.taps = taps
        self.started = started
        self._desk, self._opened = desk, opened
        self._stopping = asyncio.Event()
        self._hurried = False
        self.bus: Bus | None = None
        self.faults: list[Fault] = []
        self.ended_ns = 0

    def run(self, *, speed: float | None = 1.0, virtual: bool | None = None) -> None:
        """Run to the end, in a loop of its own.

        speed: 1.0 is real time, None as fast as the machine goes
        virtual: on the virtual clock (default: unless in real time). Raises what a component raises.
        """
        clocks.run(self.main(), virtual=speed is None if virtual is None else virtual, speed=speed)

    async def main(self) -> None:
        """Run to the end on the running loop."""
        clock = Clock(self.started)
        bus = self.bus = Bus(clock)
        async with AsyncExitStack() as stack:
            for source in self.sources:
                await stack.enter_async_context(source)
            self._opened()
            try:
                async with asyncio.TaskGroup() as outer:
                    for tap in (*self.taps, *getattr(self.body, "taps", ())):
                        lane = stack.enter_context(bus.open(*tap.reads, reader=tap.name))
                        outer.create_task(tap.run(lane, clock, self._report), name=tap.name)
                    await self._converse(bus, clock, self._desk(bus, clock))
                    bus.close(AUDIO, IMAGE, CLEAN, VOICE, PERCEPT, TURN, ACTION, FEEDBACK, PLAYBACK)
            except BaseExceptionGroup as group:
                raise first_error(group) from group
            finally:
                self.ended_ns = clock.now()

    async def _converse(self, bus: Bus, clock: Clock, desk: Desk) -> None:
        with (
            bus.open(*self.conductor.reads, reader="conductor") as percepts,
            bus.open(ACTION, reader="body") as actions,
        ):
            async with asyncio.TaskGroup() as group:
                group.create_task(self.body.run(actions, desk.body, clock), name="body")
                conducting = self.conductor.run(percepts, desk.mind, clock, self._note)
                conversation = group.create_task(conducting, name="conductor")
                async with asyncio.TaskGroup() as senses:
                    writers = _Writers(bus, [*self.sources, *self.encoders])
                    for encoder in self.encoders:
                        pumping = writers.closing(encoder, pump(encoder, bus, clock, desk.senses))
                        senses.create_task(pumping, name=encoder.name)
                    await asyncio.sleep(0)  # every lane is open before the first packet
                    for source in self.sources:
                        listening = writers.closing(source, self._listen(source, bus, clock))
                        senses.create_task(listening, name=source.name)
                self.conductor.finish()
                await conversation
                bus.close(TURN, ACTION)

    def stop(self, grace_s: float | None = None) -> None:
        """End the sources now; the rest comes to its end as at the end of any stream. Safe to call at any time.

        grace_s: None: what is being said and done may take its time. Else what moves is halted now, for from here on
            nobody could stop it, and what is still being said after so many s of session time is cut.
        Either is told by a `Fault`, which the conductor acts upon: so it is recorded, and replays like anything else.
        """
        if grace_s is not None and not self._hurried:
            self._hurried = True
            self._tell(Fault("session", ENDING, f"{ENDED}: nothing moves any more"))
        self._stopping.set()
        if grace_s is not None:
            asyncio.get_running_loop().call_later(grace_s, self._interrupt)

    def _interrupt(self) -> None:
        if self.bus is not None and ACTION not in self.bus.closed:
            self._report(Fault("session", INTERRUPTED, "it was ended from outside: what was said and done was cut"))

    def lanes(self) -> list[Lane]:
        """The lanes of all readers, with what each dropped and how long it got."""
        return [] if self.bus is None else [*self.bus.lanes, *self.bus.retired]

    async def _listen(self, source: Source, bus: Bus, clock: Clock) -> None:
        """Run a source until it ends, is lost (which is told), or the session is stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(source.run(bus, clock), name=source.name)
                stopping = group.create_task(self._stopping.wait(), name=f"stop {source.name}")
                await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                running.cancel()
                stopping.cancel()
        except* SourceLost as lost:
            for error in lost.exceptions:
                self._report(Fault(source.name, type(error).__name__, str(error)))

    def _report(self, fault: Fault) -> None:
        """A part of the session failed in an expected way: everybody may know, and the session goes on."""
        self._note(fault)
        self._tell(fault)

    def _tell(self, fault: Fault) -> None:
        if self.bus is not None and FEEDBACK not in self.bus.closed:
            self.bus.publish(FEEDBACK, self.bus.clock.now(), fault)

    def _note(self, fault: Fault) -> None:
        """Keep a fault for the report."""
        self.faults.append(fault)
        del self.faults[:-FAULTS]


class _Writers:
    """Closes a topic when the last of those who write it has ended."""

    def __init__(self, bus: Bus, parts: Sequence[Source | Encoder]) -> None:
        self._bus = bus
        self._left: dict[Topic[Any], int] = {}
        for part in parts:
            for topic in part.writes:
                self._left[topic] = self._left.get(topic, 0) + 1

    async def closing(self, part: Source | Encoder, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            for topic in part.writes:
                self._left[topic] -= 1
                if not self._left[topic]:
                    self._bus.close(topic)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the session; what followed from it stays in the group it is raised from."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

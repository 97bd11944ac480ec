"""What stands in a session for its client: the tap that follows it, and the gate before its policy."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from agent.realtime.dialogue import Dialogue
from agent.realtime.items import Event
from agent.realtime.judging import Judging
from agent.realtime.orders import Order
from policies.errors import PolicyError
from policies.ports import Policy, urgent
from streams.bus import Lane
from streams.clock import Clock
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, PERCEPT, PLAYBACK, TURN, VOICE, Topic
from streams.types import Action, Fault, TurnCommitted


class Watcher:
    """`streams.ports.Tap`: gives every packet to `judging` and to `dialogue`, and what follows from it to `out`."""

    name = "realtime"
    reads: tuple[Topic[Any], ...] = (VOICE, PERCEPT, TURN, ACTION, FEEDBACK, PLAYBACK)

    def __init__(self, judging: Judging, out: Callable[[Sequence[Event | Order]], None]) -> None:
        self.dialogue: Dialogue | None = None
        self._judging, self._out = judging, out
        self._lane: Lane | None = None

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """As in the port."""
        self._lane = lane
        async for packet in lane:
            self._take(packet)

    def replied(self, turn: int, failed: str) -> None:
        """The policy has no more to say in `turn`; what it said before is looked at first."""
        while self._lane is not None and (packet := self._lane.take()) is not None:
            self._take(packet)
        if self.dialogue is not None:
            self._out(self.dialogue.replied(turn, failed))

    def _take(self, packet: Packet[Any]) -> None:
        heard, dialogue = self._judging.feed(packet), self.dialogue
        if dialogue is None:
            return
        if heard and dialogue.hearing.open is None and not self._judging.spoken:
            self._out(dialogue.no_speech())
        if packet.topic is not VOICE:
            self._out(dialogue.packet(packet))


class Gate:
    """A `Policy` that asks `policy`, once the turn may be answered.

    free: whether turns are answered without being asked for
    replied: told when a reply has ended by itself, and why it failed
    A turn that waits is answered after `release`; one that is cut before never is.
    """

    def __init__(self, policy: Policy, free: Callable[[], bool], replied: Callable[[int, str], None]) -> None:
        self.wants_floor, self.urgent = policy.wants_floor, urgent(policy)
        self._policy, self._free, self._replied = policy, free, replied
        self._released = -1
        self._opened = asyncio.Event()

    def observe(self, packet: Packet[Any]) -> None:
        """As in the port."""
        self._policy.observe(packet)
        self.wants_floor, self.urgent = self._policy.wants_floor, urgent(self._policy)

    def release(self, turn: int) -> None:
        """Turns up to `turn` may be answered."""
        self._released = max(self._released, turn)
        self._opened.set()

    async def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port."""
        if turn.reason not in ("typed", "unasked") and not self._free():
            while turn.turn > self._released:
                self._opened.clear()
                await self._opened.wait()
        failed = ""
        try:
            async with aclosing(self._policy.reply(turn)) as actions:
                async for action in actions:
                    yield action
        except PolicyError as error:
            failed = str(error)
            raise
        finally:
            self.wants_floor, self.urgent = self._policy.wants_floor, urgent(self._policy)
            if failed:
                self._replied(turn.turn, failed)
        self._replied(turn.turn, "")

"""The body: gives each action to the actuator that carries it out, and tells how each one ended.

Knows nothing of why an action was wanted. A cut acts in the very step in which it is read: no task, no queue between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeAlias, assert_never

from embodied.ports import Actuator, Choosy, Latching, Leaving, Steerable
from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import (
    Action,
    Ask,
    Call,
    Command,
    Declined,
    Fault,
    Halt,
    Hush,
    Outcome,
    Pause,
    Resume,
    Say,
    Steer,
    Withdraw,
)

Task: TypeAlias = Say | Call | Command | Ask

HALT_S = 1.0
"""How long an actuator may take to halt, in session time."""

_ABSENT = {
    "Say": "no voice is attached: it cannot speak",
    "Call": "no toolbox is attached: it has no functions to call",
    "Command": "no robot is attached",
    "Ask": "no model is attached: there is nobody to ask",
}


class Orders(Protocol):
    """What a body reads: a lane over ACTION."""

    def __aiter__(self) -> "Orders": ...

    async def __anext__(self) -> Packet[Any]: ...


class _Running:
    """An action in progress."""

    def __init__(self, action: Task) -> None:
        self.action = action
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self._reason = ""

    def ended(self) -> str:
        """Why it was ended early; "" while it was not."""
        return self._reason

    def end(self, reason: str) -> None:
        """Cut it. One that has not begun never will: its task sees the reason before it performs anything."""
        if not self._reason:
            self._reason = reason
            if self.begun and self.task is not None:
                self.task.cancel()


class Body:
    """Dispatches the actions of a session.

    actuators: each action goes to the first that accepts its class and, if it is `Choosy`, takes the action itself;
        `Pause`, `Resume`, `Hush` and `Halt` go to all.

    Exactly one `Outcome` is published for every `Say`, `Call`, `Command` and `Ask`, also for those that no actuator
    takes ("refused"), that come after their turn was cut ("fenced"), or that the end of the session cuts short ("cut").
    An actuator that has not halted after `HALT_S` is told by a `Fault`, and nobody waits for it.
    """

    def __init__(self, actuators: Sequence[Actuator]) -> None:
        self.actuators = tuple(actuators)
        self.fence = -1
        self._running: list[_Running] = []

    @property
    def in_progress(self) -> int:
        """How many Says, Calls, Commands and Asks have been taken and have not ended."""
        return len(self._running)

    async def run(self, orders: Orders, publisher: Publisher, clock: Clock) -> None:
        """Carry out `orders` (a lane over ACTION) until they end and what is being said and moved has come to its end.

        Calls in progress then are cut: a timer may have an hour to go. However it ends, every actuator is halted last
        (or, if it is `Leaving`, leaves).
        Raises what an actuator raises, in an `ExceptionGroup`, and `LaneOverrun`. On cancellation what is in progress
        is cut, reported, and halted.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for packet in orders:
                    self._take(packet.data, group, publisher, clock)
                for running in self._running:
                    if isinstance(running.action, Call | Ask):  # a timer may have an hour to go: the session has not
                        running.end("the session ended")
        finally:
            try:
                async with asyncio.TaskGroup() as group:
                    for actuator in self.actuators:
                        resting = actuator.leave if isinstance(actuator, Leaving) else actuator.halt
                        group.create_task(_rest(actuator, resting, publisher, clock), name=f"halt {actuator.name}")
            finally:
                for running in self._running:
                    self._tell(_outcome(running.action, "cut", "the session ended"), publisher, clock)
                self._running.clear()

    async def aclose(self) -> None:
        """Close every actuator, in reverse order, also if one of them raises; raises that then. Idempotent."""
        async with AsyncExitStack() as stack:
            for actuator in self.actuators:
                stack.push_async_callback(actuator.aclose)

    # --- orders

    def _take(self, action: Action, group: asyncio.TaskGroup, publisher: Publisher, clock: Clock) -> None:
        match action:
            case Hush():
                self._cut(action.turn, action.reason, moving=action.moving)
            case Pause():
                for actuator in self.actuators:
                    actuator.pause(action.turn)
            case Resume():
                for actuator in self.actuators:
                    actuator.resume(action.turn)
            case Halt():
                for running in self._running:
                    if isinstance(running.action, Command):
                        running.end(f"halted: {action.reason}" if action.reason else "halted")
                for actuator in self.actuators:  # begun before anything that is read after this
                    if action.latch and isinstance(actuator, Latching):
                        actuator.latch(action.reason)
                    group.create_task(_rest(actuator, actuator.halt, publisher, clock), name=f"halt {actuator.name}")
            case Withdraw():
                for running in self._running:
                    if running.action.id == action.id:
                        running.end(action.reason or "it was taken back")
            case Steer():
                for actuator in self.actuators:
                    if isinstance(actuator, Steerable):
                        actuator.steer(action)
            case Declined():
                pass  # there is nothing to do: that is what it says
            case Say() | Call() | Command() | Ask():
                self._begin(action, group, publisher, clock)
            case _:
                assert_never(action)

    def _cut(self, turn: int, reason: str, *, moving: bool) -> None:
        self.fence = max(self.fence, turn)
        for actuator in self.actuators:
            if not (moving and Command in actuator.accepts):
                actuator.cut(turn)
        for running in self._running:
            action = running.action
            if isinstance(action, Say) or (moving and isinstance(action, Command)):
                continue
            if action.turn <= turn and action.on_cut == "cancel":
                running.end(reason or "its turn was cut")

    def _begin(self, action: Task, group: asyncio.TaskGroup, publisher: Publisher, clock: Clock) -> None:
        kind = type(action)
        actuator = next((each for each in self.actuators if _takes(each, action)), None)
        if actuator is None:
            self._tell(_outcome(action, "refused", _ABSENT[kind.__name__]), publisher, clock)
        elif action.turn <= self.fence:
            self._tell(_outcome(action, "fenced", "its turn had been cut"), publisher, clock)
        else:
            running = _Running(action)
            self._running.append(running)
            carrying = self._carry(running, actuator, publisher, clock)
            running.task = group.create_task(carrying, name=f"{kind.__name__} {action.id}")

    async def _carry(self, running: _Running, actuator: Actuator, publisher: Publisher, clock: Clock) -> None:
        action = running.action
        if running.ended():
            outcome = _outcome(action, "fenced", running.ended())
        else:
            running.begun = True
            try:
                outcome = await actuator.perform(action)
            except asyncio.CancelledError:
                if not running.ended():
                    raise  # the session ends; `run` reports it
                outcome = _outcome(action, "cut", running.ended())
        self._running.remove(running)
        self._tell(outcome, publisher, clock)

    def _tell(self, outcome: Outcome, publisher: Publisher, clock: Clock) -> None:
        publisher.publish(FEEDBACK, clock.now(), outcome)


def _takes(actuator: Actuator, action: Task) -> bool:
    return type(action) in actuator.accepts and (not isinstance(actuator, Choosy) or actuator.takes(action))


async def _rest(actuator: Actuator, resting: Callable[[], Awaitable[None]], publisher: Publisher, clock: Clock) -> None:
    limit = asyncio.timeout(HALT_S)
    try:
        async with limit:
            await resting()
    except TimeoutError:
        if not limit.expired():
            raise
        message = f"{actuator.name} has not halted within {HALT_S:g} s: see that it rests, and end the session."
        publisher.publish(FEEDBACK, clock.now(), Fault(where=actuator.name, error="TimeoutError", message=message))


def _outcome(action: Task, status: Any, detail: str) -> Outcome:
    name = action.name if isinstance(action, Call | Command) else ""
    result = "" if isinstance(action, Say) else None
    return Outcome(
        turn=action.turn,
        id=action.id,
        action=type(action).__name__,
        name=name,
        status=status,
        detail=detail,
        result=result,
    )

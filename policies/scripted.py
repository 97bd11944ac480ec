"""A policy that says what it was told to: for tests, examples and demonstrations."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from streams.packet import Packet
from streams.types import Action, Say, TurnCommitted


class Timing(Protocol):
    """What a script with delays needs of the session's clock."""

    def now(self) -> int:
        """Session time in ns."""

    async def sleep_until(self, t: int) -> None:
        """Wait until session time `t` (ns)."""


class Wait(Struct, frozen=True):
    """A delay before what follows, as of a model that thinks."""

    ms: float


Step: TypeAlias = str | Action | Wait
Reply: TypeAlias = Step | Sequence[Step]


class Scripted:
    """A `Policy` with fixed replies; a text is a `Say`.

    replies: a sequence is used up turn by turn; a mapping is by turn number or by the turn's text
    clock: needed only for `Wait`;  otherwise: the reply where there is no other;  unasked: said as soon as the floor
        is free
    turns: the turns that were answered, for assertions
    """

    def __init__(
        self,
        replies: Sequence[Reply] | Mapping[int | str, Reply] = (),
        *,
        clock: Timing | None = None,
        otherwise: Reply = (),
        unasked: Reply = (),
    ) -> None:
        self.turns: list[TurnCommitted] = []
        self._replies = replies
        self._used = 0
        self._clock = clock
        self._otherwise = otherwise
        self._unasked = unasked
        self.wants_floor = bool(unasked)

    def observe(self, packet: Packet[Any]) -> None:
        """As in the port; a script pays no attention."""

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """As in the port. Which reply it is, is settled by this call."""
        self.turns.append(turn)
        steps = self._next(turn)
        return self._spoken((steps,) if isinstance(steps, str) or not isinstance(steps, Sequence) else tuple(steps))

    def _next(self, turn: TurnCommitted) -> Reply:
        if turn.reason == "unasked":
            reply, self._unasked, self.wants_floor = self._unasked, (), False
            return reply
        if isinstance(self._replies, Mapping):
            return self._replies.get(turn.turn, self._replies.get(turn.text, self._otherwise))
        self._used += 1
        return self._replies[self._used - 1] if self._used <= len(self._replies) else self._otherwise

    async def _spoken(self, steps: tuple[Step, ...]) -> AsyncGenerator[Action, None]:
        for step in steps:
            if isinstance(step, Wait):
                if self._clock is None:
                    raise ValueError("a script that waits needs a clock: Scripted(..., clock=clock)")
                await self._clock.sleep_until(self._clock.now() + round(step.ms * 1e6))
            else:
                yield Say(step) if isinstance(step, str) else step

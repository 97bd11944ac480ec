"""The port of a policy: what decides what the agent does with its turn."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol, runtime_checkable

from streams.packet import Packet
from streams.types import Action, TurnCommitted


@runtime_checkable
class Policy(Protocol):
    """Observes everything, and answers turns.

    `wants_floor` is read after every observation: while it is True, the conductor gives the policy a turn of its own
    (`TurnCommitted` with reason "unasked") as soon as nobody speaks.
    """

    wants_floor: bool

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of a percept, decision, action or feedback. Synchronous and quick; may not block."""

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """The actions that answer `turn`, in order; `turn` and `id` of each are stamped by the conductor.

        Cancelled at any await when the person interrupts: clean up in `finally`, and yield nothing more.
        """

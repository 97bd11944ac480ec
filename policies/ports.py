"""The ports of a policy: what decides what the agent does with its turn, and what it may do between turns."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from streams.packet import Packet
from streams.types import Action, TurnCommitted


@runtime_checkable
class Policy(Protocol):
    """Observes everything, and answers turns. One that inherits from this need only write `reply`.

    It is a function of the packets it observes: it reads no clock, opens no connection and draws no lots. What it wants
    to know from outside it asks for (`Ask`, `Call`), and observes the answer: that is why it can be replayed.

    `wants_floor` is read after every observation: while it is True, the conductor gives the policy a turn of its own
    (`TurnCommitted` with reason "unasked") as soon as nobody speaks.
    """

    wants_floor: bool = False

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of a percept, decision, action or feedback. Synchronous and quick; may not block."""

    def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """The actions that answer `turn`, in order; `turn` and `id` of each are stamped by the conductor.

        The stamped action has been observed when the generator goes on. Between two actions it may wait for a future
        that `observe` or `expire` resolves, and for nothing else.
        Cancelled at any await when the person interrupts: clean up in `finally`, and yield nothing more.
        """
        ...


@runtime_checkable
class Urgent(Protocol):
    """A policy that may have to warn somebody: while `urgent`, it gets the floor it wants in a manner in which nothing
    is said unasked, too. Its reply to that turn is the warning and nothing else."""

    urgent: bool


def urgent(policy: Policy) -> bool:
    """Whether `policy` has to warn somebody."""
    return isinstance(policy, Urgent) and policy.urgent


@runtime_checkable
class Redirecting(Protocol):
    """A policy that sends what moves another way, in the first step of its reply."""

    def redirects(self, text: str) -> Literal["", "begins", "whole"]:
        """Whether somebody who has said `text` so far sends the one thing that moves another way, or begins to.

        Never of a stop, nor of what is as likely to become something else.
        """
        ...


@runtime_checkable
class Spontaneous(Protocol):
    """A policy that may act outside its turns (drafts, backchannels) and has a deadline."""

    def observe(self, packet: Packet[Any]) -> None:
        """As in `Policy`; besides what others see, each hop of `Voice`."""

    @property
    def deadline(self) -> int | None:
        """Session time (ns) at which `expire` must be called, None if nothing is waited for."""

    def expire(self, now: int) -> None:
        """Session time has reached `deadline`, which lies later from now on."""

    def impulses(self) -> Sequence[Action]:
        """What is to be done now, outside any reply; each is handed out once. Read after every observation.

        The policy stamps `turn` (the person's turn it is about), the conductor `id`.
        """

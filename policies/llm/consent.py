"""Whether what a model wants done is done: what is risky needs a person's own words.

A model may be talked into anything, by what somebody says, by a picture, by what a tool returns. So its wish alone
moves nothing: a risky offer is carried out if the person's own sentence, understood without any model, asks for just
that, or if the person says yes to a question that names it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streams.types import Action, Call, Command, Offer, TurnCommitted

Wanted: TypeAlias = "Callable[[TurnCommitted], Sequence[tuple[str, dict[str, Any]]]]"


class Verdict(Struct, frozen=True):
    """What is to become of a wish. say: the question, or why not."""

    does: Literal["do", "ask", "refuse"]
    say: str = ""


class Consent:
    """Weighs wishes, and keeps the one that waits for a yes.

    wanted: the motions and calls that a sentence asks for, as understood without a model: (name, arguments)
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._pending: Action | None = None

    @property
    def pending(self) -> bool:
        """Whether a question waits for a yes."""
        return self._pending is not None

    def forget(self) -> None:
        """No question waits any more."""
        self._pending = None

    def weigh(self, offer: Offer, action: Call | Command, turn: TurnCommitted) -> Verdict:
        """May `action` be done in answer to `turn`? One that is to be asked about is kept until the next turn."""
        if not offer.risky:
            return Verdict("do")
        if (action.name, action.arguments) in [tuple(each) for each in self._wanted(turn)]:
            return Verdict("do")
        self._pending = action
        return Verdict("ask", f"Shall I {action.name.replace('_', ' ')}?")

    def hear(self, turn: TurnCommitted) -> Sequence[Action] | None:
        """What follows from the person's answer to the open question; None if `turn` is no answer to one."""
        pending, self._pending = self._pending, None
        if pending is None or turn.text not in ("yes", "yes please"):
            return None
        return [pending]

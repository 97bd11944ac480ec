"""What a person was asked about, and what was done, a moment ago: neither is asked about again so soon.

A model that wishes one thing at every turn would have no other question answered.
"""

from streams.clock import SECOND
from streams.types import TurnCommitted

WHILE_NS = 60 * SECOND


class Lately:
    """What became of wishes within `WHILE_NS`, by the question that names each: what sounds the same nags the same."""

    def __init__(self) -> None:
        self._what: dict[str, tuple[int, str]] = {}

    def note(self, question: str | None, what: str, turn: TurnCommitted) -> None:
        """In answer to `turn`, `what` became of it. Without a question it is nothing that could be asked about."""
        self._what = {key: value for key, value in self._what.items() if turn.start_ns - value[0] <= WHILE_NS}
        if question is not None:
            self._what[question] = turn.end_ns, what

    def of(self, question: str, turn: TurnCommitted) -> str:
        """What became of it before `turn`; "" for nothing lately."""
        at, what = self._what.get(question, (0, ""))
        return what if turn.start_ns - at <= WHILE_NS else ""

    def forget(self, question: str) -> None:
        """It may be asked again at once."""
        self._what.pop(question, None)

"""What the model has set going, and who tells the person what became of it."""

from typing import Protocol

from streams.clock import SECOND
from streams.types import Call, Command, Outcome

TIMER = "set_timer"  # ends when it rings
REST_NS = 60 * SECOND


class Announcer(Protocol):
    """Who tells unasked what became of actions: the fallback policy."""

    def leave(self, number: int, *, alone: bool = True) -> None:
        """What becomes of action `number` is told by others; with `alone` False by this policy after all."""


class Promises:
    """Calls and motions that a reply waits for, and those that it could not wait for.

    While a reply waits for an action, its outcome goes to the model, which tells of it. Where it waits no longer,
    or is cut: timers and motions are told by `announcer`; the result of a tool is news, for which the model is given
    the floor.

    news: how many results are to be told;  now: ns, as of the newest packet
    """

    def __init__(self, announcer: Announcer) -> None:
        self.news = 0
        self._announcer = announcer
        self._waiting: dict[int, Call | Command] = {}
        self._ended: dict[int, Outcome] = {}
        self._late: set[int] = set()
        self._resting_until = 0

    def begin(self, action: Call | Command) -> int:
        """`action`, as it was stamped, is under way, and its reply waits for it. Returns its number."""
        self._waiting[action.id] = action
        self._announcer.leave(action.id)
        return action.id

    def observe(self, outcome: Outcome) -> None:
        """A call or command has ended."""
        if outcome.id in self._waiting:
            self._ended[outcome.id] = outcome
        elif outcome.id in self._late:
            self._late.discard(outcome.id)
            self.news += 1

    def open(self, number: int) -> bool:
        """Whether it has not ended."""
        return number in self._waiting and number not in self._ended

    def in_vain(self, number: int) -> bool:
        """Whether it has ended otherwise than it was meant to."""
        outcome = self._ended.get(number)
        return outcome is not None and outcome.status != "done"

    def take(self, number: int) -> Outcome | None:
        """How it ended, which the model is told now; None if it goes on, and is told later."""
        outcome = self._ended.get(number)
        if outcome is None:
            self.leave(number)
        self._waiting.pop(number, None)
        self._ended.pop(number, None)
        return outcome

    def leave(self, number: int) -> None:
        """The reply is over before it could be told of this."""
        action, outcome = self._waiting.pop(number, None), self._ended.pop(number, None)
        if action is None:
            return
        silent = isinstance(action, Command) or action.name == TIMER
        if outcome is not None:
            self.news += not silent or outcome.status != "done"
        elif silent:
            self._announcer.leave(number, alone=False)
        else:
            self._late.add(number)

    def pressing(self, now: int) -> bool:
        """Whether there is news, and nobody failed to tell it a short while ago."""
        return self.news > 0 and now >= self._resting_until

    def told(self, count: int) -> None:
        """So much of the news has been told."""
        self.news = max(0, self.news - count)

    def failed(self, now: int) -> None:
        """The model did not tell it: not at once again."""
        self._resting_until = now + REST_NS

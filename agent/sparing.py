"""What moves, while somebody who interrupts the agent is about to send it another way: it is not stopped for that.

"No, the other way" over the agent's voice interrupts it some words before it is understood. To end the motion there
would bring the robot to rest, and then turn it round: a jerk, and half a second lost. So a motion goes on while, and
only while, what was said so far is the beginning of that and of nothing else, and not of a stop; and no longer than
the bounds below.
docs/decisions/0017-the-other-way.md
"""

from policies.ports import Policy, Redirecting
from streams.clock import MS
from streams.types import OverlapCut, SensesEnded, TurnCommitted, TurnDropped, Words

BEGUN_NS = 700 * MS
"""How long an interruption that begins like another way spares what moves: at 0.5 m/s, 0.35 m."""
WHOLE_NS = 1300 * MS
"""The same, from the interruption on, once the whole sentence was heard and its turn waits for its end: 0.65 m."""


class Sparing:
    """Whether the motions of a turn that was cut go on for now. deadline: when they end in any case, None if none do"""

    def __init__(self, policy: Policy) -> None:
        self.deadline: int | None = None
        self._policy = policy if isinstance(policy, Redirecting) else None
        self._cut: OverlapCut | None = None
        self._begun = 0
        self._answered = False

    def begin(self, cut: OverlapCut, now: int) -> bool:
        """The agent was cut `now`: may what moves go on for a moment?"""
        if self._policy is None or cut.reason != "interruption":
            return False
        understood = "confidence" in cut.evidence  # else its text is a guess, and that is never acted on
        known = self._policy.redirects(cut.text) if understood else ""
        if not known:
            return False
        if self._cut is None:  # else the bounds stay those of the first
            self._begun = now
        self._cut, self._answered = cut, False
        self.deadline = self._begun + (WHOLE_NS if known == "whole" else BEGUN_NS)
        return True

    def over(self, data: object) -> OverlapCut | None:
        """The cut that spares no more, because of what was just heard or decided."""
        if self._cut is None or self._policy is None:
            return None
        match data:
            case Words(text=text):
                known = self._policy.redirects(text)
                if not known:
                    return self.end()
                self.deadline = self._begun + (WHOLE_NS if known == "whole" else BEGUN_NS)
            case SensesEnded():
                return self.end()
            case TurnDropped(turn=turn) if turn == self._cut.by_turn:
                return self.end()
            case TurnCommitted(turn=turn):
                self._answered = turn == self._cut.by_turn
                return None if self._answered else self.end()
        return None

    def answered(self) -> OverlapCut | None:
        """The reply has done its first step: what it did not take for another way is ended as by any interruption."""
        return self.end() if self._answered else None

    def end(self) -> OverlapCut | None:
        """The cut that spares no more."""
        cut, self._cut, self.deadline, self._answered = self._cut, None, None, False
        return cut

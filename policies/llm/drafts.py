"""Drafts: the model is asked before the person's turn is certainly over (preemptive generation).

A draft is asked when the turn is likely to end, with the words heard so far. It becomes the answer only if the request
at the commit is the very same: then, and only then, the model would have been asked just that. Whatever else happens
(the person goes on, the words change, something is seen) it is withdrawn, and counted apart. So there is never an
answer to words that were not committed, and what is thrown away is bounded and known.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from policies.llm.answer import Answer
from policies.llm.settings import DraftConfig
from streams.clock import SECOND
from streams.packet import Packet
from streams.types import (
    Action,
    Ask,
    Halt,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    TurnWaiting,
    Withdraw,
)

MINUTE = 60 * SECOND


class Draft:
    """One draft: what was asked for which turn, and the answer as it comes (None until the asking was observed)."""

    def __init__(self, turn: int, ask: Ask) -> None:
        self.turn = turn
        self.ask = ask
        self.answer: Answer | None = None


class Drafts:
    """The draft of the turn that is about to end, if there is one."""

    def __init__(self, config: DraftConfig) -> None:
        self.config = config
        self._open: Draft | None = None
        self._of_turn: tuple[int, int] = (0, 0)  # turn, and its drafts so far
        self._newest = self._stopped = 0  # the turn that was opened last; the one in which a stop word was heard
        self._for_nothing: deque[int] = deque()  # when

    def consider(self, packet: Packet[Any], ask: Callable[[TurnWaiting], Ask | None]) -> list[Action]:
        """What follows from `packet`: drafts to ask, drafts to withdraw. ask: what to, if it ended so."""
        match packet.data:
            case TurnWaiting() as waiting:
                return self.likely(waiting, ask, packet.at)
            case TurnOpened(turn=turn):
                self._newest = turn
            case SpeechStarted():
                return self.drop("the person goes on", packet.at)
            case Halt():  # the reflex has answered: the model is not asked about a stop word
                self._stopped = self._newest
                return self.drop("stop", packet.at)
            case TurnDropped(turn=turn) if self._open is not None and self._open.turn == turn:
                return self.drop("the turn came to nothing", packet.at)
        return []

    def likely(self, waiting: TurnWaiting, ask: Callable[[TurnWaiting], Ask | None], now: int) -> list[Action]:
        """The turn may be over: what follows. ask: as in `consider`"""
        return self._begin(waiting.turn, ask(waiting), now) if waiting.probability >= self.config.bar else []

    def asked(self, ask: Ask, answer: Answer) -> None:
        """The draft was stamped and is under way."""
        draft = self._open
        if draft is not None and draft.answer is None and draft.turn == ask.turn and _same(draft.ask, ask):
            draft.answer = answer

    def settle(self, turn: TurnCommitted, ask: Ask, now: int) -> tuple[Answer | None, list[Action]]:
        """The turn is committed: the draft's answer if it was asked the same as `ask`, else what withdraws it."""
        draft = self._open
        if draft is None:
            return None, []
        if draft.turn == turn.turn and draft.answer is not None and _same(draft.ask, ask) and not _failed(draft.answer):
            self._open = None
            return draft.answer, []
        failed = draft.answer is not None and _failed(draft.answer)
        return None, self.drop("it failed" if failed else "it was asked something else in the end", now)

    def _begin(self, turn: int, ask: Ask | None, now: int) -> list[Action]:
        draft = self._open
        if ask is None or turn == self._stopped or (draft is not None and draft.turn == turn and _same(draft.ask, ask)):
            return []
        actions = self.drop("the words have changed", now)
        number, count = self._of_turn
        count = count if number == turn else 0
        while self._for_nothing and self._for_nothing[0] <= now - MINUTE:
            self._for_nothing.popleft()
        if count >= self.config.per_turn or len(self._for_nothing) >= self.config.per_minute:
            return actions
        self._of_turn = (turn, count + 1)
        self._open = Draft(turn, ask)
        return [*actions, ask]

    def drop(self, reason: str, now: int) -> list[Action]:
        """The draft, if there is one, is for nothing: what withdraws it."""
        draft, self._open = self._open, None
        if draft is None:
            return []
        self._for_nothing.append(now)
        if draft.answer is None:
            return []
        return [Withdraw(draft.answer.ask.id, reason, draft.turn)]


def _same(draft: Ask, ask: Ask) -> bool:
    return draft.request == ask.request and draft.picture_ns == ask.picture_ns


def _failed(answer: Answer) -> bool:
    return answer.over and not answer.whole

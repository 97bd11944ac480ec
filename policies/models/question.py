"""An `Ask` on its way: what has come of it is told as `Delta`s, and how it ended as its `Outcome`."""

import asyncio
from typing import Any, Literal

import msgspec

from policies.models.answer import Answer, Piece
from policies.models.failures import Failure, short
from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Answered, Ask, Delta, Outcome

_REMARKS = {
    "length": "it came to its greatest length (llm.output_tokens)",
    "content_filter": "the server's filter ended it",
}

MOST_DETAIL = 800  # characters


class Question:
    """One per `Ask`, made when it is performed.

    most: characters of an answer at most;  asked: session time;  model: that is asked, "" while it is not known
    answer: of the attempt in progress;  attempts: how many there were, drops of them only left something out
    image: `seq` of the picture that goes with it
    """

    def __init__(self, ask: Ask, publisher: Publisher, clock: Clock, most: int, model: str = "") -> None:
        self.ask = ask
        self.asked = clock.now()
        self.model = model
        self.answer = Answer(ask.id, most)
        self.attempts = 0
        self.drops = 0
        self.image: int | None = None
        self._publisher = publisher
        self._clock = clock
        self._most = most
        self._first: int | None = None
        self._index = 0
        self._pending = Piece()
        self._telling: asyncio.Handle | None = None

    @property
    def begun(self) -> bool:
        """Something of an answer has come: it is not asked again."""
        return self._first is not None

    def begin(self) -> None:
        """Another attempt."""
        self.attempts += 1
        self.answer = Answer(self.ask.id, self._most)

    def heard(self, piece: Piece) -> None:
        """A piece has come. All that comes in one read of the network is told in one `Delta`, when it is taken in."""
        if not piece:
            return
        if self._first is None:
            self._first = self._clock.now()
        self._pending += piece
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._soon, asyncio.current_task())

    def done(self) -> Outcome:
        """The answer is whole."""
        self._tell()
        return self._outcome("done", _REMARKS.get(self.answer.finish, ""))

    def failed(self, failure: Failure, detail: str) -> Outcome:
        """There is no answer, or only a part of it. detail: why, as it may be told"""
        self._tell()
        return self._outcome("timeout" if failure.timeout else "failed", short(detail, MOST_DETAIL), failure)

    def cut(self) -> Outcome:
        """Nobody wants it any more. What has not been told never is."""
        if self._telling is not None:
            self._telling.cancel()
        return self._outcome("cut", "it was cut")

    def _soon(self, task: "asyncio.Task[Any] | None") -> None:
        self._telling = None
        if task is None or not task.cancelling():  # else it may have been cut in this very step: `cut` or `failed` says
            self._tell()

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        piece, self._pending = self._pending, Piece()
        if piece:
            delta = Delta(self.ask.turn, self.ask.id, self._index, piece.text, piece.tools, piece.thought)
            self._index += 1
            self._publisher.publish(FEEDBACK, self._clock.now(), delta)

    def _outcome(
        self, status: Literal["done", "cut", "failed", "timeout"], detail: str, failure: Failure | None = None
    ) -> Outcome:
        answer = self.answer
        answered = Answered(
            finish=answer.finish if status == "done" else "",
            model=answer.model or self.model,
            input_tokens=answer.input_tokens,
            cached_tokens=answer.cached_tokens,
            output_tokens=answer.output_tokens,
            first_ms=None if self._first is None else (self._first - self.asked) / MS,
            whole_ms=(self._clock.now() - self.asked) / MS,
            attempts=max(1, self.attempts),
            error=failure.kind if failure is not None else "",
            retry_after_ms=failure.retry_after_ms if failure is not None else None,
            image=self.image,
        )
        return Outcome(
            turn=self.ask.turn,
            id=self.ask.id,
            action="Ask",
            name=self.model,
            status=status,
            detail=detail,
            result=msgspec.to_builtins(answered),
        )

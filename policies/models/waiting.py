"""The bounds of one question: until there is a connection, until the first token, between tokens, and in all."""

import asyncio
from types import TracebackType

from policies.llm.settings import LlmConfig
from policies.models.failures import Failure, Kind
from streams.clock import MS, Clock

TAIL_MS = 400
"""How long the count of tokens is waited for when the answer itself is there."""
CLOSE_MS = 50
"""How long the end of the response is waited for after that, without which the connection cannot be used again."""


class Waiting:
    """One attempt's time-outs, on the session clock: `async with Waiting(...) as waiting`, and tell it how far it is.

    asked: session time of the question, over all attempts: first token and whole count from there
    Leaves with a `Failure` (timeout) where a bound was passed; once the answer is there that is none.
    Comments that keep a connection alive, and chunks that say nothing, are no tokens.
    """

    def __init__(self, config: LlmConfig, clock: Clock, asked: int) -> None:
        self._config = config
        self._clock = clock
        self._first = asked + config.first_token_ms * MS
        self._whole = asked + config.whole_ms * MS
        self._limit = asyncio.timeout(None)
        self._kind: Kind = "connect"
        self._tail = self._ended = False

    async def __aenter__(self) -> "Waiting":
        await self._limit.__aenter__()
        self._until("connect", min(self._clock.now() + self._config.connect_ms * MS, self._first))
        return self

    def connected(self) -> None:
        """There is a connection: from now on it is the first token that is waited for."""
        if self._kind == "connect":
            self._until("first_token", self._first)

    def token(self) -> None:
        """A piece of the answer has come."""
        if not self._tail:
            self._until("between_tokens", self._clock.now() + self._config.between_tokens_ms * MS)

    def finished(self, ended: bool) -> None:
        """The answer is there. ended: so are its figures"""
        if not self._tail or (ended and not self._ended):
            self._tail, self._ended = True, ended
            self._until(self._kind, self._clock.now() + (CLOSE_MS if ended else TAIL_MS) * MS)

    def _until(self, kind: Kind, t: int) -> None:
        self._kind = kind if t < self._whole or self._tail else "too_long"
        if not self._limit.expired():
            self._limit.reschedule(self._clock.deadline(min(t, self._whole)))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as passed:
            if not self._limit.expired():
                raise
            if self._tail:
                return True
            raise Failure(self._kind, self._told(), timeout=True, again=self._kind == "connect") from passed
        return False

    def _told(self) -> str:
        config = self._config
        return {
            "connect": f"no connection within {config.connect_ms} ms (llm.connect_ms).",
            "first_token": f"no first token within {config.first_token_ms} ms (llm.first_token_ms).",
            "between_tokens": f"no further token within {config.between_tokens_ms} ms (llm.between_tokens_ms).",
            "too_long": f"no end of the answer within {config.whole_ms} ms (llm.whole_ms).",
        }[self._kind]

"""A circuit breaker: a model that failed several times is left in peace for a while."""

from policies.llm.settings import LlmConfig
from streams.clock import MS
from streams.types import Outcome


class Breaker:
    """Counts failures one after the other. Its time is that of the packets (ns)."""

    def __init__(self, config: LlmConfig) -> None:
        self._config = config
        self._failures = 0
        self._until = 0

    def heed(self, outcome: Outcome, now: int) -> None:
        """An `Ask` has ended. What was cut says nothing of the model."""
        if outcome.status == "done":
            self._failures, self._until = 0, 0
        elif outcome.status in ("failed", "timeout", "refused"):
            self._failures += 1
            if self._failures >= self._config.broken_after:
                self._until = now + self._config.broken_ms * MS

    def open(self, now: int) -> bool:
        """Whether nobody is to ask now. After `broken_ms` it may be tried again: one failure opens it again."""
        return now < self._until

"""Lines of text as a source: turns that somebody types, for examples, tests and demonstrations."""

from collections.abc import Sequence
from typing import Any

from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, Topic
from streams.types import Percept, Typed


class Lines:
    """`streams.ports.Source` of `Typed` turns.

    lines: each typed `every_s` seconds after the one before; what is no text is published as the percept that it is
    The stream ends `every_s` after the last.
    """

    name = "lines"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, lines: Sequence[str | Percept], every_s: float = 5.0) -> None:
        self._lines = tuple(lines)
        self._every = round(every_s * SECOND)

    async def __aenter__(self) -> "Lines":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Type."""
        for line in self._lines:
            bus.publish(PERCEPT, clock.now(), Typed(line) if isinstance(line, str) else line)
            await clock.sleep_until(clock.now() + self._every)

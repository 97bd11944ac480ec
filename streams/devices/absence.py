"""A sense somewhere else that has gone, for a moment or for good."""

import asyncio

from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Fault, Recovered

AWAY = 5 * SECOND
"""Who reloads a page, or walks through a tunnel, is back by then; only then is a sense called lost."""


class Absence:
    """Tells of a sense that has gone: at once that it is away, and that it is lost if it is not back in time.

    Both are a `Fault`, "SourceAway" and "SourceLost", of which the agent speaks of the second only; what follows either
    is `Recovered`. A sense that was given back on purpose is not missed any longer, and not told to be lost.
    """

    def __init__(self, name: str, away: int) -> None:
        self._name, self._away = name, away
        self._out: tuple[Publisher, Clock] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told = False

    def begin(self, out: tuple[Publisher, Clock] | None) -> None:
        """Of a session (None: it has ended), to which nothing has been told yet."""
        self.wanted()
        self._out, self._told = out, False

    def miss(self, why: str) -> None:
        """It is away."""
        if self._out is not None and not self._told:
            self._told = True
            bus, clock = self._out
            bus.publish(FEEDBACK, clock.now(), Fault(self._name, "SourceAway", why))
            self._timer = clock.call_at(clock.now() + self._away, self._lose, why)

    def wanted(self) -> None:
        """That is as it should be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def back(self, how: str) -> None:
        """It is there (again)."""
        self.wanted()
        if self._told and self._out is not None:
            self._told = False
            self._out[0].publish(FEEDBACK, self._out[1].now(), Recovered(self._name, how))

    def _lose(self, why: str) -> None:
        self._timer = None
        if self._out is not None:
            message = f"{why} It is not back after {self._away / SECOND:g} s."
            self._out[0].publish(FEEDBACK, self._out[1].now(), Fault(self._name, "SourceLost", message))

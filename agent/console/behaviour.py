"""How the agent behaves, as pages change it: checked, kept from session to session, and told to the one that runs."""

import unicodedata
from typing import Any

import msgspec

from agent.console.protocol import ProtocolError
from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, Topic
from streams.types import Adjusted, Manner

NAMES = 50
"""Forbidden topics at most, and tools."""


class Behaviour:
    """`streams.ports.Source` of `Adjusted`: a percept, so that it is recorded and replayed like anything else.

    Never ends by itself; cancelling `run` ends it. What is changed while no session runs, or while one is being made,
    is the first thing that the next one is told, unless it was made with that.

    manner: as it is now
    """

    name = "behaviour"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self._told = manner  # what the session knows
        self._out: tuple[Publisher, Clock] | None = None

    def handed(self) -> Manner:
        """The manner a session is made with: that one need not be told."""
        self._told = self.manner
        return self._told

    def adjust(self, changes: dict[str, Any], by: str = "console") -> bool:
        """Change fields of the manner, all or none; False if they were so already. Raises `ProtocolError`."""
        manner = adjusted(self.manner, changes)
        if manner == self.manner:
            return False
        self.manner = manner
        self._tell(by)
        return True

    def _tell(self, by: str) -> None:
        if self._out is not None and self._told != self.manner:
            bus, clock = self._out
            self._told = self.manner
            bus.publish(PERCEPT, clock.now(), Adjusted(self.manner, by))

    async def __aenter__(self) -> "Behaviour":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._out = None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what is changed, until cancelled."""
        self._out = (bus, clock)
        try:
            self._tell("console")
            while True:
                await clock.sleep_until(clock.now() + 3600 * SECOND)
        finally:
            self._out = None


def adjusted(manner: Manner, changes: dict[str, Any]) -> Manner:
    """`manner` with `changes`, in order: no control characters, no blank names, none twice. Raises `ProtocolError`."""
    ordered = {name: _ordered(value) for name, value in changes.items()}
    try:
        made = msgspec.convert(msgspec.to_builtins(manner) | ordered, Manner)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the behaviour was not changed: {str(error).replace('`$.', '`')}.") from error
    for name in ("forbidden_topics", "forbidden_tools"):
        count = len(getattr(made, name))
        if count > NAMES:
            raise ProtocolError(f"the behaviour was not changed: {name} has {count} entries, {NAMES} at most.")
    return made


def _ordered(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(
            each for each in value if each in "\n\t" or unicodedata.category(each) not in ("Cc", "Cs")
        ).strip()
    if isinstance(value, list):
        lines = [" ".join(_ordered(each).split()) if isinstance(each, str) else each for each in value]
        return [each for place, each in enumerate(lines) if each != "" and each not in lines[:place]]
    return value

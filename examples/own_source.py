"""A source of one's own: lines of text are turns, typed one after the other. No microphone, no model, no encoder."""

from typing import Any

from agent import assembly, config
from agent.session import Log, Session
from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, Topic
from streams.types import Outcome, Typed

LINES = ("what is five plus nine", "what did you just say")


class Lines:
    """Implements `streams.ports.Source`. A source of sound publishes `Audio` on AUDIO in the same way."""

    name = "lines"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)  # the session closes it when the last of its writers has ended

    async def __aenter__(self) -> "Lines":
        """Opens what is to be opened; raises `SourceError` if it cannot be."""
        return self

    async def __aexit__(self, *exc: Any) -> None:
        """Releases it."""

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publishes until the stream ends; may be cancelled at any await. All times are the session's, in ns."""
        for line in LINES:
            bus.publish(PERCEPT, clock.now(), Typed(line))
            await clock.sleep_until(clock.now() + 5 * SECOND)


settings, log = config.load(), Log()
body = assembly.AgentBody(settings)
session = Session(sources=[Lines()], encoders=[], conductor=assembly.conductor(settings), body=body, taps=[log])
session.run(speed=None)
for outcome in log.of(Outcome):
    print(outcome.turn, outcome.result)  # what was heard of each answer

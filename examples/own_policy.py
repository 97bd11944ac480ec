"""A policy and a tool of one's own, on person.wav: it repeats what it hears, and writes it down."""

from collections.abc import AsyncGenerator
from typing import Any

from agent import assembly, config
from agent.conductor import Conductor
from agent.session import Log, Session
from policies.reflex import Reflex, stop_words
from policies.turns import TurnTaker
from streams.devices.files import AudioFile
from streams.types import Action, Call, Outcome, Say, TurnCommitted


def write_down(line: str) -> int:
    """Keep a line. Its schema is made of the signature; what it returns is the result of the `Outcome`."""
    notes.append(line)
    return len(notes)


class Parrot:
    """Implements `policies.ports.Policy`. Deterministic: it must answer the same packets with the same actions."""

    wants_floor = False

    def observe(self, packet: Any) -> None:
        """Sees everything that was heard, said and done."""

    async def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """Cancelled at once when the person interrupts."""
        yield Call("write_down", {"line": turn.text or "(not understood)"})
        yield Say(f"You said: {turn.text}." if turn.text else "Pardon?")


notes: list[str] = []
settings, log, stops = config.load(), Log(), stop_words("en")
session = Session(
    sources=[AudioFile("person.wav")],
    encoders=assembly.hearing(settings),
    conductor=Conductor(TurnTaker(settings.turns, stop_words=stops), Parrot(), Reflex(stops)),
    body=assembly.AgentBody(settings, tools=[write_down]),
    taps=[log],
)
session.run(speed=None)
for outcome in log.of(Outcome):
    print(outcome.action, outcome.status, outcome.result)

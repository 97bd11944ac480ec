"""A policy that sees: a receptionist who greets who comes into view, once, and tells them where to go."""

from collections.abc import AsyncGenerator
from typing import Any

from agent import assembly, config
from agent.session import Log
from policies.ports import Policy
from streams.devices.lines import Lines
from streams.packet import Packet
from streams.types import Action, Face, Faces, Outcome, Say, TurnCommitted

ROOMS = {"dentist": "The dentist is on the second floor.", "lawyer": "The lawyer is the first door on the left."}


class Receptionist(Policy):
    """Takes the floor by itself (`wants_floor`) when somebody new is there and nobody speaks."""

    greeted = frozenset[int]()
    new = frozenset[int]()

    def observe(self, packet: Packet[Any]) -> None:
        """Sees all percepts; of the camera's (`Camera`, `VideoFile`) here only who is there."""
        if isinstance(packet.data, Faces):
            self.new = frozenset(face.id for face in packet.data.faces) - self.greeted
            self.wants_floor = bool(self.new)

    async def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """Greet unasked; else say where to go."""
        if turn.reason == "unasked":
            yield Say("Good morning, both of you." if len(self.new) == 2 else "Good morning.")
            self.greeted, self.new, self.wants_floor = self.greeted | self.new, frozenset(), False
            return
        known = [text for word, text in ROOMS.items() if word in turn.text.lower()]
        yield Say(known[0] if known else "Whom would you like to see?")


visitor = Face(1, 0.9, 0.4, 0.3, 0.2, 0.3, (), bearing_rad=0.1)
door = Lines([Faces(1, ()), Faces(2, (visitor,)), Faces(3, (visitor,)), "I am looking for the dentist", Faces(4, ())])
log = Log()
assembly.assemble(config.load(), [door], policy=Receptionist(), taps=[log]).run(speed=None)
for outcome in log.of(Outcome):
    print(outcome.turn, outcome.result)

"""The robots of a recorded session, for a what-if: they do what they did then, and nothing leaves this machine."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from embodied.ports import Actuator
from policies.cassette import canonical
from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.types import Action, Command, Outcome


class Journal:
    """What each command of a recording came to, and how long it took, by its name and arguments."""

    def __init__(self, packets: Iterable[Packet[Any]]) -> None:
        self.ended: dict[str, deque[tuple[int, Outcome]]] = {}
        begun: dict[int, tuple[str, int]] = {}
        for packet in packets:
            match packet.data:
                case Command(id=number, name=name, arguments=arguments):
                    begun[number] = (canonical([name, arguments]), packet.at)
                case Outcome(action="Command", id=number) as outcome if number in begun:
                    key, at = begun[number]
                    self.ended.setdefault(key, deque()).append((packet.at - at, outcome))


class RecalledRobots:
    """`embodied.ports.Actuator` for `Command`: each ends as the same one did when it was recorded, after as long.

    One that was not given then is refused: nobody knows what the robot would have done.
    """

    name = "the recorded robot"
    accepts: tuple[type, ...] = (Command,)

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock

    async def perform(self, action: Action) -> Outcome:
        """The recorded end of the same command. Cancelling it ends it as "cut"."""
        assert isinstance(action, Command)
        known = self._journal.ended.get(canonical([action.name, action.arguments]))
        if not known:
            detail = "it was not asked for this when the session was recorded"
            return Outcome(action.turn, action.id, "Command", action.name, "refused", detail)
        after, outcome = known.popleft() if len(known) > 1 else known[0]
        await self._clock.sleep_until(self._clock.now() + after)
        return Outcome(action.turn, action.id, "Command", action.name, outcome.status, outcome.detail, outcome.result)

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels what a cut ends."""

    def pause(self, turn: int) -> None:
        """Nothing."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing moves."""

    async def aclose(self) -> None:
        """Nothing to give back."""


def recalled_robots(packets: Iterable[Packet[Any]]) -> Any:
    """Makes the robots of a recorded session (its ACTION and FEEDBACK), as `AgentBody.moving` wants it."""
    journal = Journal(packets)

    def make(publisher: Publisher, clock: Clock) -> Sequence[Actuator]:
        return [RecalledRobots(journal, clock)]

    return make

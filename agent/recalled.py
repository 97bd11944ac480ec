"""The tools of a recorded session, for a what-if: they return what they returned then, and do nothing.

A what-if must change nothing in the world, and may not have the programs that were there when it was recorded. Timers
and the volume, which every agent has, are simulated like the rest of the body.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from embodied.errors import ToolError
from embodied.toolbox import Tool, Toolbox
from embodied.tools import DEFAULT_TOOLS
from policies.cassette import canonical
from streams.clock import Clock
from streams.packet import Packet
from streams.types import Call, Offer, Offered, Outcome


class _Memory:
    """What each call came to, and how long it took, by its name and arguments."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[str, int]] = {}
        self._ended: dict[str, list[tuple[int, Outcome]]] = {}

    def observe(self, packet: Packet[Any]) -> None:
        match packet.data:
            case Call(id=number, name=name, arguments=arguments):
                self._begun[number] = (canonical([name, arguments]), packet.at)
            case Outcome(action="Call", id=number) as outcome if number in self._begun:
                key, at = self._begun[number]
                self._ended.setdefault(key, []).append((packet.at - at, outcome))

    async def recall(self, name: str, given: dict[str, Any], clock: Clock) -> Any:
        known = self._ended.get(canonical([name, given]))
        if not known:
            raise ToolError(f"{name} was not called with these arguments when this was recorded")
        after, outcome = known.pop(0) if len(known) > 1 else known[0]
        await clock.sleep_until(clock.now() + after)
        if outcome.status != "done":
            raise ToolError(f"{outcome.status} when it was recorded: {outcome.detail}")
        return outcome.result


def recalled_tools(packets: Iterable[Packet[Any]]) -> list[Tool]:
    """The tools that a recorded session (its ACTION and FEEDBACK) had besides those of every agent."""
    memory, offers = _Memory(), dict[str, Offer]()
    for packet in packets:
        memory.observe(packet)
        if isinstance(packet.data, Offered) and packet.data.where == Toolbox.name:
            offers |= {offer.name: offer for offer in packet.data.offers if offer.name not in DEFAULT_TOOLS}
    return [
        Tool(
            offer.name,
            offer.description,
            offer.parameters,
            partial(memory.recall, offer.name),
            check=lambda arguments: {"given": arguments},
            clock="clock",
            timeout_s=None,
            risky=offer.risky,
            on_cut=offer.on_cut,
        )
        for offer in offers.values()
    ]

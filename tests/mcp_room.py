"""A toolbox beside really started MCP servers, for tests."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from embodied.mcp import McpSection, McpServer, McpTools
from embodied.toolbox import Toolbox
from streams.bus import Bus
from streams.clock import Clock, run
from streams.topics import FEEDBACK
from streams.types import Call, Outcome

ODD = Path(__file__).with_name("mcp_server.py")
OLD = Path(__file__).with_name("mcp_old_server.py")
WAIT_S = 30.0  # until something that takes a second must have happened


def program(path: Path, *args: str, **settings: Any) -> McpServer:
    return McpServer(command=sys.executable, args=(str(path), *args), **settings)


class Room:
    """A toolbox with MCP servers, on a real clock."""

    def __init__(self, box: Toolbox, clock: Clock) -> None:
        self.box, self.clock = box, clock
        self.told: list[Any] = []
        self._id = 0

    async def call(self, name: str, **arguments: Any) -> Outcome:
        self._id += 1
        return await self.box.perform(Call(name, arguments, id=self._id))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():  # noqa: ASYNC110 - what is waited for is in other processes
                await asyncio.sleep(0.02)

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.told if isinstance(each, kind)]


def visit(
    servers: dict[str, McpServer], scene: Callable[[Room], Awaitable[None]], *, virtual: bool = False, at_once: int = 8
) -> Room:
    """Run `scene` beside `servers`."""

    async def main() -> Room:
        clock = Clock()
        bus = Bus(clock)
        box = Toolbox([], clock, bus, at_once=at_once)
        room = Room(box, clock)
        with bus.open(FEEDBACK) as lane:

            async def read() -> None:
                async for packet in lane:
                    room.told.append(packet.data)

            async with asyncio.TaskGroup() as group:
                group.create_task(read())
                box.begin()
                async with McpTools(McpSection(servers), box, bus, clock):
                    await scene(room)
                bus.close(FEEDBACK)
        return room

    return run(main(), virtual=virtual)

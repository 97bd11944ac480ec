"""A small map of where the robot went, printed after each of its motions."""

from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console

from agent.robots.map_text import draw
from streams.bus import Lane
from streams.clock import Clock
from streams.topics import FEEDBACK, Topic
from streams.types import Attached, BodyState, Fault, Outcome

WAY = 600  # places kept: two minutes of five a second


class MapTap:
    """A tap that draws the first robot's map on `console` when a motion has come to its end."""

    name = "map"
    reads: tuple[Topic[Any], ...] = (FEEDBACK,)

    def __init__(self, console: Console, *, width: int = 56, height: int = 15) -> None:
        self._console, self._size = console, (width, height)

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """As the port says."""
        robot = ""
        fence: tuple[tuple[float, float], ...] = ()
        state: BodyState | None = None
        way: deque[tuple[float, float]] = deque(maxlen=WAY)
        async for packet in lane:
            match packet.data:
                case Attached() as attached if not robot:
                    robot, fence = attached.where, attached.fence
                case BodyState(where=where) as told if where == robot:
                    state = told
                    if told.pose is not None:
                        way.append(told.pose[:2])
                case Outcome(action="Command") if state is not None:
                    drawn = [line for line in draw(state, way, fence, *self._size).split("\n") if line.strip()]
                    self._console.print("\n".join(drawn), markup=False, highlight=False)

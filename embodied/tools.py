"""The tools every agent has: timers and the volume of its voice. Deterministic on a virtual clock."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Protocol

from msgspec import Meta

from embodied.toolbox import Tool, tool
from streams.clock import SECOND, Clock

DEFAULT_TOOLS = ("set_timer", "cancel_timer", "set_volume")
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Change = Annotated[float, Meta(ge=-100, le=100)]


class Loud(Protocol):
    """Something with a volume, 0 to 1, such as `SpeechActuator`."""

    volume: float


class Timers:
    """The timers that are running, in the order in which they were set."""

    def __init__(self) -> None:
        self._running: list[tuple[str, asyncio.Future[None]]] = []

    async def set_timer(self, seconds: Seconds, clock: Clock, label: str = "") -> dict[str, Any]:
        """Set a timer; the call ends when it is due ("done"), or when it is cancelled ("cut").

        seconds: time from now, at most a day;  label: what it is for, such as "tea"
        """
        loop = asyncio.get_running_loop()
        due = clock.now() + round(seconds * SECOND)
        rings: asyncio.Future[None] = loop.create_future()
        timer = clock.call_at(due, _ring, rings)
        entry = (label, rings)
        self._running.append(entry)
        try:
            await rings
        finally:
            timer.cancel()
            self._running.remove(entry)
        return {"label": label, "seconds": seconds, "due_s": due / SECOND}

    async def cancel_timer(self, label: str = "") -> dict[str, int]:
        """Cancel a running timer.

        label: the one for this (the newest, if there are several); empty: all timers
        """
        running = [rings for name, rings in self._running if label in ("", name) and not rings.done()]
        chosen = running[-1:] if label else running
        for rings in chosen:
            rings.cancel()
        return {"cancelled": len(chosen)}


def _ring(rings: "asyncio.Future[None]") -> None:
    if not rings.done():
        rings.set_result(None)


def default_tools(voice: Loud | None = None) -> list[Tool | Callable[..., Any]]:
    """`set_timer`, `cancel_timer` and, where there is a `voice`, `set_volume`."""
    timers = Timers()
    tools: list[Tool | Callable[..., Any]] = [tool(timers.set_timer, timeout_s=None), timers.cancel_timer]
    if voice is None:
        return tools
    loud = voice

    async def set_volume(percent: Percent | None = None, by_percent: Change | None = None) -> dict[str, int]:
        """Set how loud the agent speaks: to a level, or louder or quieter than now.

        percent: 0 is silent, 100 is full volume;  by_percent: what to add, in percent of full volume
        """
        if (percent is None) == (by_percent is None):
            raise ValueError("give either percent or by_percent")
        level = percent if percent is not None else loud.volume * 100 + (by_percent or 0)
        loud.volume = max(0.0, min(1.0, level / 100))
        return {"percent": round(loud.volume * 100)}

    return [*tools, set_volume]

"""The keyboard of the terminal: Enter alone is stop, a line is said to the agent."""

import asyncio
import os
import sys
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from streams.clock import Clock
from streams.ports import Publisher
from streams.topics import PERCEPT, Topic
from streams.types import StopPressed, Typed

LONGEST = 2000  # characters of a line
PENDING = 100  # lines that wait; of more, the newest


class Keyboard:
    """A `Source` of `StopPressed(by="keyboard")` and `Typed`, line by line, of `file` (default: standard input).

    began: called when the keyboard is read from here on: the moment to say so

    What was typed at a terminal before is thrown away: a line would be obeyed seconds later. Ends when the input does,
    or the terminal is gone. Reading is done by the event loop: nothing waits. Cancelling it leaves the terminal as it
    was. What cannot be waited for (an ordinary file) ends at once.
    """

    name = "keyboard"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, file: TextIO | None = None, began: Callable[[], None] = lambda: None) -> None:
        self._file = file or sys.stdin
        self._began = began

    async def __aenter__(self) -> "Keyboard":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish until the input ends."""
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        waiting, number = deque[str | None](maxlen=PENDING), self._file.fileno()
        decoder, rest = getincrementaldecoder("utf-8")("replace"), ""

        def ready() -> None:
            nonlocal rest
            try:
                data = os.read(number, 4096)
            except OSError:  # the terminal is gone
                data = b""
            *lines, rest = (rest + decoder.decode(data)).split("\n")
            waiting.extend(lines)
            rest = rest[-LONGEST:]
            if not data:
                loop.remove_reader(number)
                waiting.append(None)
            wake.set()

        if self._file.isatty():
            _forget(number)
        try:
            loop.add_reader(number, ready)
        except (PermissionError, ValueError):
            return
        self._began()
        try:
            while True:
                await wake.wait()
                wake.clear()
                while waiting:
                    line = waiting.popleft()
                    if line is None:
                        return
                    text = line.strip()[:LONGEST]
                    bus.publish(PERCEPT, clock.now(), Typed(text) if text else StopPressed("keyboard"))
        finally:
            loop.remove_reader(number)


def _forget(terminal: int) -> None:
    """Throw away what was typed and not read; not in the background, where touching the terminal stops the program."""
    import termios  # noqa: PLC0415 - not on every system

    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return
    except OSError:
        pass  # not the terminal that this program belongs to: nobody stops it
    with suppress(termios.error):
        termios.tcflush(terminal, termios.TCIFLUSH)

"""The keyboard of a real terminal: lines, Enter, and the end of the input."""

import asyncio
import os
import pty
from pathlib import Path
from typing import Any

from streams.clock import Clock, run
from streams.devices.keyboard import Keyboard
from streams.types import StopPressed, Typed


class Heard:
    """What was published."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self.three = asyncio.Event()

    def publish(self, topic: Any, t: int, data: Any) -> None:
        self.all.append(data)
        if len(self.all) == 3:
            self.three.set()


def test_enter_is_stop_and_a_line_is_said() -> None:
    async def main() -> list[Any]:
        ours, theirs = pty.openpty()
        heard = Heard()
        with os.fdopen(theirs, "r", encoding="utf-8") as terminal:
            async with asyncio.TaskGroup() as group, Keyboard(terminal) as keyboard:
                reading = group.create_task(keyboard.run(heard, Clock()))
                await asyncio.sleep(0.05)
                os.write(ours, b"turn left\n\n   \n")
                async with asyncio.timeout(5):
                    await heard.three.wait()
                reading.cancel()
        os.close(ours)
        return heard.all

    assert run(main(), virtual=False) == [Typed("turn left"), StopPressed("keyboard"), StopPressed("keyboard")]


def test_what_was_typed_before_it_is_read_is_thrown_away_and_it_is_told_from_when_on() -> None:
    async def main() -> list[Any]:
        ours, theirs = pty.openpty()
        heard, began = Heard(), asyncio.Event()
        with os.fdopen(theirs, "r", encoding="utf-8") as terminal:
            os.write(ours, b"go forward one metre\n\nand then")
            async with asyncio.TaskGroup() as group, Keyboard(terminal, began.set) as keyboard:
                assert not began.is_set()
                reading = group.create_task(keyboard.run(heard, Clock()))
                async with asyncio.timeout(5):
                    await began.wait()
                    os.write(ours, b"one\n\ntwo\n")
                    await heard.three.wait()
                reading.cancel()
        os.close(ours)
        return heard.all

    assert run(main(), virtual=False) == [Typed("one"), StopPressed("keyboard"), Typed("two")]


def test_a_terminal_that_is_closed_ends_it() -> None:
    async def main() -> list[Any]:
        ours, theirs = pty.openpty()
        heard, began = Heard(), asyncio.Event()
        with os.fdopen(theirs, "r", encoding="utf-8") as terminal:
            async with asyncio.timeout(5), asyncio.TaskGroup() as group, Keyboard(terminal, began.set) as keyboard:
                group.create_task(keyboard.run(heard, Clock()))
                await began.wait()
                os.close(ours)
        return heard.all

    assert run(main(), virtual=False) == []


def test_the_end_of_the_input_ends_it() -> None:
    async def main() -> list[Any]:
        reader, writer = os.pipe()
        heard = Heard()
        with os.fdopen(reader, "r", encoding="utf-8") as file:
            os.write(writer, "hello\n\nnächste".encode())
            os.close(writer)
            async with asyncio.timeout(5), Keyboard(file) as keyboard:
                await keyboard.run(heard, Clock())
        return heard.all

    assert run(main(), virtual=False) == [Typed("hello"), StopPressed("keyboard")]


def test_a_file_that_cannot_be_waited_for_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("hello\n", encoding="utf-8")

    async def main() -> list[Any]:
        heard = Heard()
        with path.open(encoding="utf-8") as file:
            async with asyncio.timeout(5), Keyboard(file) as keyboard:
                await keyboard.run(heard, Clock())
        return heard.all

    assert run(main(), virtual=False) == []

"""The conversation in the terminal, as it happens.

In a terminal, finished lines scroll up and what is going on (partial words, the wait, the agent's words as they are
heard) is drawn in place below them. In a pipe there are finished lines only: plain text, one event a line, unwrapped.
What is told is decided in `agent/narration.py`.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent.events import printable
from agent.narration import AGENT, ALARM, NOTE, PERSON, Line, Narrator
from streams.bus import Lane
from streams.clock import SECOND, Clock
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN, Topic
from streams.types import Fault

_WHO = {"person": PERSON, "agent": AGENT, "tool": "", "body": "", "fault": ALARM}
REDRAWS = 12  # a second, at most; rich draws in a thread of its own, so a fast replay is not slowed down


class TerminalView:
    """A `streams.ports.Tap` that shows the session on `console`; a second one makes a second view.

    live: draw what is going on in place. Default: if the console is an interactive terminal. NO_COLOR is respected
    by the console. The cursor is restored when `run` ends, also on cancellation.
    """

    name = "view"
    reads: tuple[Topic[Any], ...] = (PERCEPT, TURN, ACTION, FEEDBACK)

    def __init__(self, console: Console, *, live: bool | None = None) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal if live is None else live
        self._narrator = Narrator()

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Show what comes over `lane` until it ends."""
        live = Live(console=self._console, refresh_per_second=REDRAWS, transient=True) if self._live else None
        with live or nullcontext():
            async for packet in lane:
                self._show(self._narrator.feed(packet), live)
            self._show(self._narrator.finish(), live)

    def _show(self, lines: Sequence[Line], live: Live | None) -> None:
        if live is not None:
            live.update(_block(self._narrator.now))  # first, or a finished line would for a moment be seen twice
        for line in lines:
            if self._console.is_terminal:
                self._console.print(_block([line]))
            else:
                self._console.print(_flat(line), soft_wrap=True)


def _block(lines: Sequence[Line]) -> Group:
    """Lines in three columns: time, speaker, and words that wrap within their column."""
    rows = []
    for line in lines:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=8, justify="right", style=NOTE, no_wrap=True)
        grid.add_column(width=6, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(_time(line.t), Text(line.who, _WHO.get(line.who, "")), _safe(line.text))
        rows.append(grid)
    return Group(*rows)


def _flat(line: Line) -> Text:
    """The same in one line, for a pipe."""
    return Text(f"{_time(line.t):>8}  {line.who:<6}  ").append_text(_safe(line.text))


def _safe(text: Text) -> Text:
    """The same without control characters; styles keep their places, for no character comes or goes."""
    safe = text.copy()
    safe.plain = printable(text.plain)
    return safe


def _time(t: int) -> str:
    return f"{t / SECOND:.2f}"

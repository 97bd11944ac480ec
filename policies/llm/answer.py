"""A model's answer as it comes, and the bell that tells a reply to look at it again."""

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from streams.types import Ask, Delta, Outcome, ToolPiece


class ToolCall(Struct, frozen=True):
    """A call that a model made, put together from its pieces.

    call: the model's own name of it, or one of ours where it gave none, or the same to two
    arguments: JSON text, as it wrote it
    """

    call: str
    name: str
    arguments: str


class Answer:
    """The answer to `ask`: text as it comes, tool calls when it is whole.

    text: what has come and was not taken;  outcome: how it ended, None while it goes on;  pieces: how many came
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.outcome: Outcome | None = None
        self.pieces = 0
        self._texts: deque[str] = deque()
        self._tools: dict[int, ToolPiece] = {}

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.outcome is not None

    @property
    def whole(self) -> bool:
        """It came to its end as the model meant it to."""
        return self.outcome is not None and self.outcome.status == "done"

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls so far; they may be acted on when the answer is `whole`, and a stop in any case."""
        calls: dict[str, ToolCall] = {}
        for index in sorted(self._tools):
            piece = self._tools[index]
            name = piece.call if piece.call and piece.call not in calls else f"call_{self.ask.id}_{index}"
            calls[name] = ToolCall(name, piece.name, piece.arguments)
        return list(calls.values())

    def feed(self, delta: Delta) -> None:
        """The next piece."""
        self.pieces += 1
        if delta.text:
            self._texts.append(delta.text)
        for piece in delta.tools:
            known = self._tools.get(piece.index)
            if known is None:
                self._tools[piece.index] = piece
            else:
                self._tools[piece.index] = ToolPiece(
                    piece.index, known.call or piece.call, known.name or piece.name, known.arguments + piece.arguments
                )

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self.outcome = outcome

    def take(self) -> str:
        """The text that came since the last time."""
        text = "".join(self._texts)
        self._texts.clear()
        return text


class Bell:
    """What replies wait for: it rings when something was observed, or when a time has come."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Future[None], int | None]] = []

    @property
    def deadline(self) -> int | None:
        """The earliest time (ns) at which somebody wants to be woken."""
        return min((until for _, until in self._waiting if until is not None), default=None)

    def ring(self) -> None:
        """Everybody looks again."""
        self._wake(lambda until: True)

    def expire(self, now: int) -> None:
        """Wake those whose time has come."""
        self._wake(lambda until: until is not None and until <= now)

    async def wait(self, until: int | None = None) -> None:
        """Until it rings, or session time `until` (ns) has come. May be cancelled."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (future, until)
        self._waiting.append(entry)
        try:
            await future
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def _wake(self, due: Callable[[int | None], bool]) -> None:
        woken = [entry for entry in self._waiting if due(entry[1])]
        self._waiting = [entry for entry in self._waiting if entry not in woken]
        for future, _ in woken:
            if not future.done():
                future.set_result(None)

"""A `ChatModel` on a server that a test scripts, and what it told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel
from streams.clock import Clock, run
from streams.types import Answered, Ask, Delta, Fault, Outcome
from tests.model_servers import ModelServer, Play

REQUEST = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]}
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": {"type": "object"}}}


class Told:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, Any]] = []
        self.news = asyncio.Event()

    def publish(self, topic: Any, t: int, data: Any) -> None:
        self.packets.append((t, data))
        self.news.set()

    def of(self, kind: type) -> list[Any]:
        return [data for _, data in self.packets if isinstance(data, kind)]


class Talk:
    """server, model, clock and what was told;  `ask` asks and keeps the outcomes"""

    def __init__(self, server: ModelServer, model: ChatModel, clock: Clock, told: Told) -> None:
        self.server, self.model, self.clock, self.told = server, model, clock, told
        self.outcomes: list[Outcome] = []

    async def ask(self, request: dict[str, Any] | None = None, **more: Any) -> Outcome:
        number = len(self.outcomes) + 1
        ask = Ask(request if request is not None else REQUEST, turn=4, id=number, **more)
        async with asyncio.timeout(8):
            outcome = await self.model.perform(ask)
        assert (outcome.turn, outcome.id, outcome.action) == (4, number, "Ask")
        deltas = [delta for delta in self.deltas if delta.id == number]
        assert [delta.index for delta in deltas] == list(range(len(deltas)))
        assert all(delta.turn == 4 for delta in deltas)
        self.outcomes.append(outcome)
        return outcome

    @property
    def deltas(self) -> list[Delta]:
        return self.told.of(Delta)

    @property
    def faults(self) -> list[Fault]:
        return self.told.of(Fault)

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def thought(self) -> str:
        return "".join(delta.thought for delta in self.deltas)

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """(call, name, arguments) of the tools that were called."""
        made: dict[int, list[str]] = {}
        for delta in self.deltas:
            for piece in delta.tools:
                call = made.setdefault(piece.index, ["", "", ""])
                for place, part in enumerate((piece.call, piece.name, piece.arguments)):
                    call[place] += part
        return [(each[0], each[1], each[2]) for _, each in sorted(made.items())]


def answered(outcome: Outcome) -> Answered:
    return msgspec.convert(outcome.result, Answered)


def settings(url: str, **more: Any) -> LlmConfig:
    given = {"model": "tiny-1", "connect_ms": 1000, "first_token_ms": 3000, "between_tokens_ms": 1500, "attempts": 1}
    return LlmConfig(url=url, **{**given, **more})


async def until(condition: Callable[[], object], patience_s: float = 3.0) -> None:
    """Wait for something that happens on another task."""
    for _ in range(int(patience_s / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it has not come to pass")


def talk(
    test: Callable[[Talk], Awaitable[None]],
    *plays: Play,
    pictures: Any = None,
    models: Any = ("tiny-1", "tiny-2"),
    **more: Any,
) -> None:
    """Run `test` with a model on a server that plays `plays`. more: of the `LlmConfig`"""

    async def main() -> None:
        clock, told = Clock(), Told()
        async with ModelServer(*plays, models=models) as server:
            model = ChatModel(settings(server.url, **more), told, clock, pictures)
            try:
                await test(Talk(server, model, clock, told))
            finally:
                await model.aclose()
                await model.aclose()

    run(main())

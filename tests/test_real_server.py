"""Against a real OpenAI-compatible server that is not ours (`transformers serve`): its words are noise, or recited."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest

from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel
from streams.clock import Clock, run
from streams.types import Answered, Ask, Delta, Fault, Outcome
from tests.real_server import START_S, RealServer
from tests.tiny_model import RECITED, tiny_model

for package in ("torch", "transformers", "fastapi"):
    pytest.importorskip(package)
openai = pytest.importorskip("openai")

GREETING, UNICODE = ("".join(RECITED[name][:-1]) for name in ("greet", "unicode"))
LONG = 50_000  # tokens: the server needs half a minute for them
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("served")
    with RealServer(tiny_model(folder / "model"), folder) as server:
        print(f"transformers serve answered after {server.took_s:.1f} s")
        yield server


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


# --- the server itself, by the official client


async def stream(server: RealServer, text: str, **more: Any) -> Any:
    client = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=PATIENCE_S)
    async with client:
        request = {"model": server.model, "messages": message(text), "stream": True, "max_tokens": 30, **more}
        answer = await client.chat.completions.create(**request)
        return [chunk async for chunk in answer]


def test_the_official_client_understands_the_server(server: RealServer) -> None:
    chunks = asyncio.run(stream(server, "unicode"))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == UNICODE
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 14
    assert len(chunks) > 8

    chunks = asyncio.run(stream(server, "timer"))
    (call,) = (call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or [])
    assert (call.function.name, json.loads(call.function.arguments)) == ("set_timer", {"seconds": 90})
    assert chunks[-1].choices[0].finish_reason == "tool_calls"

    with pytest.raises(openai.BadRequestError) as refused:
        asyncio.run(stream(server, "greet", model="another"))
    assert "another" in refused.value.response.text


def test_the_official_client_fails_where_the_server_does_in_the_midst_of_an_answer(server: RealServer) -> None:
    """It tells its error in JSON that is none (transformers 5.23 does not escape it)."""
    with pytest.raises(json.JSONDecodeError):
        asyncio.run(stream(server, "broken"))


# --- our client


class Room:
    """A session with one client. told: what it published"""

    def __init__(self, server: RealServer, **settings: Any) -> None:
        self.told: list[Any] = []
        self.clock = Clock()
        config = {"model": server.model, "output_tokens": 60, "connect_ms": 5000, **settings}
        self.model = ChatModel(LlmConfig(url=server.url, **config), self, self.clock)
        self._asked = 0
        self._news = asyncio.Event()

    def publish(self, topic: Any, t: int, data: Any) -> None:
        self.told.append(data)
        self._news.set()

    def deltas(self, id: int) -> list[Delta]:
        return [data for data in self.told if isinstance(data, Delta) and data.id == id]

    async def heard(self, id: int, pieces: int) -> None:
        """Wait until so many pieces of an answer have come."""
        while len(self.deltas(id)) < pieces:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE_S)

    async def ask(self, text: str, **request: Any) -> tuple[str, Outcome, Answered]:
        self._asked += 1
        ask = Ask({"messages": message(text), **request}, id=self._asked)
        outcome = await self.model.perform(ask)
        said = "".join(delta.text for delta in self.deltas(ask.id))
        return said, outcome, msgspec.convert(outcome.result, Answered)


def meeting(server: RealServer, scene: Callable[[Room], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        room = Room(server, **settings)
        try:
            async with asyncio.timeout(START_S + 60):
                await scene(room)
        finally:
            await room.model.aclose()

    run(main())


def test_an_answer_is_streamed_with_its_counts(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        said, outcome, answered = await room.ask("please greet")
        assert (said, outcome.status, outcome.name) == (GREETING, "done", server.model)
        assert (answered.finish, answered.error, answered.attempts) == ("stop", "", 1)
        assert answered.output_tokens == len(RECITED["greet"])
        assert (answered.input_tokens or 0) > 10
        await room.ask("endless", max_tokens=500)
        deltas = room.deltas(2)
        assert len(deltas) > 2  # long enough not to come in one read, however busy the machine is
        assert [delta.index for delta in deltas] == list(range(len(deltas)))
        assert 0 < (answered.first_ms or 0) <= (answered.whole_ms or 0)

    meeting(server, scene)


def test_letters_of_all_alphabets_thoughts_and_calls(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        assert (await room.ask("unicode"))[0] == UNICODE
        said, _, _ = await room.ask("think")
        assert said == "Hello there…"
        assert "".join(delta.thought for delta in room.deltas(2)) == "They want a greeting"
        said, outcome, answered = await room.ask("timer")
        assert (said, outcome.status, answered.finish) == ("", "done", "tool_calls")
        pieces = [piece for delta in room.deltas(3) for piece in delta.tools]
        assert "".join(piece.name for piece in pieces) == "set_timer"
        assert json.loads("".join(piece.arguments for piece in pieces)) == {"seconds": 90}
        said, _, answered = await room.ask("endless")
        assert (answered.finish, answered.output_tokens) == ("length", 60)
        assert said.startswith("one two three")

    meeting(server, scene)


def test_several_questions_at_once_get_their_own_answers(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        words = {"greet": GREETING, "unicode": UNICODE, "think": "Hello there…"}
        answers = await asyncio.gather(*(room.ask(word) for word in words))
        assert [said for said, _, _ in answers] == list(words.values())
        assert {outcome.status for _, outcome, _ in answers} == {"done"}

    meeting(server, scene)


def test_a_cut_closes_the_connection_and_the_server_stops(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        asking = asyncio.ensure_future(room.ask("endless", max_tokens=LONG))
        await room.heard(1, 5)
        heard = len(room.deltas(1))
        asking.cancel()
        _, outcome, _ = await asking
        assert outcome.status == "cut"
        async with asyncio.timeout(PATIENCE_S):  # it answers one after the other: else this would wait for the first
            assert (await room.ask("greet"))[0] == GREETING
        assert len(room.deltas(1)) == heard

    meeting(server, scene, whole_ms=60_000)


def test_the_first_model_that_the_server_lists_is_taken_if_none_is_named(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        said, outcome, _ = await room.ask("greet")
        assert (said, outcome.name) == (GREETING, server.model)

    meeting(server, scene, model="")


def test_a_model_that_the_server_does_not_have_is_told(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        said, outcome, answered = await room.ask("greet")
        assert (said, outcome.status, answered.error, answered.attempts) == ("", "failed", "refused", 1)
        assert server.model in outcome.detail

    meeting(server, scene, model="another")


def test_a_field_that_the_server_does_not_know_is_left_out_and_told(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        for _ in range(2):
            said, outcome, _ = await room.ask("greet")
            assert (said, outcome.status) == (GREETING, "done")
        (fault,) = (data for data in room.told if isinstance(data, Fault))
        assert "keep_alive" in fault.message

    meeting(server, scene, extra={"keep_alive": "5m"})


def test_a_server_that_fails_in_the_midst_of_an_answer(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        said, outcome, answered = await room.ask("broken")
        assert (said, outcome.status) == ("", "failed")
        assert answered.error in ("malformed", "server")
        assert (await room.ask("greet"))[0] == GREETING

    meeting(server, scene)


def test_a_server_that_dies_in_the_midst_of_an_answer_and_comes_back(server: RealServer) -> None:
    async def scene(room: Room) -> None:
        asking = asyncio.ensure_future(room.ask("endless", max_tokens=LONG))
        await room.heard(1, 5)
        server.kill()
        said, outcome, answered = await asyncio.wait_for(asking, PATIENCE_S)
        assert said.startswith("one two three")
        assert (outcome.status, answered.error, answered.attempts) == ("failed", "closed", 1)

        said, outcome, answered = await room.ask("greet")
        assert (said, outcome.status, answered.error) == ("", "failed", "connect")

        await asyncio.to_thread(server.start)
        said, outcome, _ = await room.ask("greet")
        assert (said, outcome.status) == (GREETING, "done")

    meeting(server, scene, whole_ms=60_000)

"""What the doctor finds out about servers of chat completions."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from policies.llm.settings import LlmConfig
from policies.models import probe as probing
from policies.models.probe import Finding, Probe, look, probe, red
from streams.clock import run
from streams.pictures import decompress
from tests.chatting import settings
from tests.model_servers import DONE, Line, ModelServer, Play, chunk, event


def probed(play: Play, models: Any = ("tiny-1", "tiny-2"), patience_s: float = 10, **more: Any) -> Probe:
    async def main() -> Probe:
        async with ModelServer(play, models=models) as server:
            async with asyncio.timeout(15):
                return await probe(settings(server.url, **more), patience_s)

    return run(main())


def finding(found: Probe, name: str) -> Finding:
    return next(each for each in found.findings if each.name == name)


def able(*, tools: bool = True, pictures: bool = True, pieces: bool = True) -> Callable[[Line], Awaitable[None]]:
    async def play(line: Line) -> None:
        body = line.body
        if "image_url" in json.dumps(body) and not pictures:
            line.whole(400, {"error": {"message": "this model does not support image input"}})
        elif "tools" in body and not tools:
            line.whole(400, {"error": {"message": "tiny-1 does not support tools"}})
        elif "tools" in body:
            call = {"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"a":2,"b":3}'}}
            line.head()
            line.send(event(chunk(None, tool_calls=[call])) + event(chunk(finish="tool_calls")) + DONE)
            line.end()
        elif pieces:
            line.head()
            for word in ("Red ", "two ", "three ", "four"):
                line.send(event(chunk(word)))
                await line.writer.drain()
                await asyncio.sleep(0.02)
            line.send(event(chunk(finish="stop")) + DONE)
            line.end()
        else:
            message = {"role": "assistant", "content": "one two three four five"}
            counts = {"prompt_tokens": 5, "completion_tokens": 9}
            line.whole(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": counts})

    return play


def test_a_server_that_can_do_everything() -> None:
    found = probed(able())
    assert found.ok and found.reachable and found.streams and found.tools and found.pictures
    assert (found.model, found.models) == ("tiny-1", ("tiny-1", "tiny-2"))
    assert found.first_ms is not None and found.tokens_per_s is not None
    assert [each.name for each in found.findings] == [
        "llm server", "llm answer", "llm streaming", "llm tools", "llm pictures",
    ]  # fmt: skip
    assert "add(" in finding(found, "llm tools").detail
    assert "Red" in finding(found, "llm pictures").detail


def test_what_it_cannot_do_is_said_with_what_to_do() -> None:
    found = probed(able(tools=False, pictures=False, pieces=False))
    assert not found.ok and found.reachable
    assert not (found.streams or found.tools or found.pictures)
    for name in ("llm streaming", "llm tools"):
        assert not finding(found, name).ok and finding(found, name).mend
    assert finding(found, "llm pictures").ok  # they can be done without
    assert "llm tools" not in [each.name for each in probed(able(tools=False), tools=False).findings]


def test_a_model_that_is_not_there() -> None:
    found = probed(able(), model="big-9")
    assert not finding(found, "llm model").ok and "tiny-1" in finding(found, "llm model").mend
    assert probed(able(), model="").model == "tiny-1"
    assert probed(able(), model="qwen3", models=("qwen3:latest",)).ok
    assert probed(able(), model="x", models=None).ok  # it lists none, and answers
    assert not probed(able(), model="", models=None).ok


def test_a_server_that_is_not_there_and_an_address_that_is_none() -> None:
    async def gone() -> str:
        async with ModelServer(able()) as server:
            return server.url

    found = look(settings(run(gone())))
    assert not found.ok and not found.reachable
    assert "ollama serve" in found.findings[0].mend
    found = look(LlmConfig(url="nonsense"))
    assert not found.ok and "llm.url" in found.findings[0].detail


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(line: Line) -> None:
        await line.left(8)

    monkeypatch.setattr(probing, "LOAD_MS", 200)
    found = probed(silent, first_token_ms=200, whole_ms=200)
    assert not found.ok and not finding(found, "llm answer").ok
    monkeypatch.setattr(probing, "LOAD_MS", 9000)
    found = probed(silent, patience_s=0.3)
    assert not found.ok and "0.3 s" in found.findings[-1].detail


def test_a_key_that_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-not-to-be-seen")

    async def closed(line: Line) -> None:
        line.whole(401, {"error": {"message": "no such key: sk-not-to-be-seen"}})

    found = probed(closed, key_env="A_KEY")
    assert "A_KEY" in finding(found, "llm answer").detail
    assert "sk-not" not in repr(found)


def test_the_picture_is_one() -> None:
    pixels = decompress(red(), 96)
    assert pixels is not None and pixels.shape == (96, 96, 3)
    assert pixels[40, 40].tolist() == [0x14, 0x14, 0xDC]

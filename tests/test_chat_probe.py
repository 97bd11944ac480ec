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


def answered(reply: bytes, **more: Any) -> Probe:
    """What is found of a server that says `reply` to everybody, and hangs up."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(reply)
        writer.close()

    async def main() -> Probe:
        server = await asyncio.start_server(say, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            return await probe(settings(url, **more), 10)

    return run(main())


class Unlisting(ModelServer):
    """A server that does not tell everybody which models it has."""

    async def _answer(self, line: Line) -> None:
        if self.asked[-1][0].startswith("GET"):
            line.whole(403, {"error": {"message": "missing scope: models.read"}})
        else:
            await super()._answer(line)


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
    problem = finding(found, "llm key")
    assert "A_KEY" in problem.detail and "export A_KEY=" in problem.mend
    assert [each for each in found.findings if not each.ok] == [problem]
    assert "sk-not" not in repr(found)


@pytest.mark.parametrize("model", ["", "tiny-1"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_is_the_one_problem_where_nothing_is_told_without(status: int, model: str) -> None:
    reply = json.dumps({"error": {"message": "who are you?"}}).encode()
    found = answered(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(reply), reply), model=model)
    (problem,) = [each for each in found.findings if not each.ok]
    assert problem.name == "llm key" and "who are you?: it wants a key" in problem.detail
    assert "export VISAVIS_LLM_KEY=" in problem.mend


def test_a_key_that_may_ask_and_not_list_is_good() -> None:
    async def main() -> Probe:
        async with Unlisting(able()) as server:
            return await probe(settings(server.url, model="tiny-1"), 10)

    found = run(main())
    assert found.ok and "lists no models (HTTP 403)" in finding(found, "llm server").detail


PAGE = b"<!doctype html><title>Welcome</title>"


@pytest.mark.parametrize(
    ("reply", "words", "mend"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE), "a web page", "/v1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome", "broken JSON", "/v1"),
        (
            b"HTTP/1.1 308 X\r\nLocation: https://me:secret@far/api/v1/models?k=secret\r\nContent-Length: 0\r\n\r\n",
            "points elsewhere (HTTP 308): give 'https://far/api/v1'", "--llm",
        ),
        (b"HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "/login'", "--llm"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "closed the connection without an answer", "port"),
        (b"\x00\xff\x15\x03\x01\x00\x02\x02\x50", "does not answer in HTTP", "port"),
        (b"", "closed the connection without an answer", "log"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "HTTP 503", "log"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["", "tiny-1"])
def test_what_is_no_server_of_models_is_one_problem(reply: bytes, words: str, mend: str, model: str) -> None:
    found = answered(reply, model=model)
    (problem,) = found.findings
    assert not problem.ok and not found.reachable
    assert words in problem.detail and mend in problem.mend
    assert "secret" not in repr(problem)


def test_an_answer_in_one_piece_is_a_problem_and_a_short_one_is_not() -> None:
    async def whole(line: Line) -> None:
        line.stream("one two three four five six seven eight nine ten")

    async def short(line: Line) -> None:
        line.stream("Yes.")

    async def held(line: Line) -> None:  # by a proxy that lets it go at the end
        await asyncio.sleep(1.0)
        line.head()
        for word in ("one two ", "three four ", "five six ", "seven eight "):
            line.send(event(chunk(word)))
            await line.writer.drain()
            await asyncio.sleep(0)
        line.send(event(chunk(finish="stop")) + DONE)
        line.end()

    for play in (whole, held):
        found = probed(play, tools=False)
        assert not found.streams and not finding(found, "llm streaming").ok
    found = probed(short, tools=False)
    assert found.streams and "too short" in finding(found, "llm streaming").detail


def test_the_picture_is_one() -> None:
    pixels = decompress(red(), 96)
    assert pixels is not None and pixels.shape == (96, 96, 3)
    assert pixels[40, 40].tolist() == [0x14, 0x14, 0xDC]

"""What the doctor finds out about servers of speech-to-speech models."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from policies.models.finding import Finding
from policies.models.probe_realtime import look, probe
from policies.models.realtime_settings import RealtimeModelConfig
from streams.clock import run
from tests.realtime_client import TOKEN, deaf, serving
from tests.realtime_model_server import ModelServer, Script, Talk, model_server, saying, server

KEY = "sk-0123456789abcdef"
Found = tuple[Finding, ...]


def settings(url: str, **more: Any) -> RealtimeModelConfig:
    return RealtimeModelConfig(url=url, key_env="A_KEY", **{"connect_ms": 2000, "first_ms": 2000, **more})


def probed(script: Script, change: Callable[[ModelServer], None] = lambda model: None, **more: Any) -> Found:
    async def main() -> Found:
        async with model_server(otherwise=script) as model:
            change(model)
            async with asyncio.timeout(15):
                return await probe(settings(f"ws://127.0.0.1:{model.port}/v1/realtime?token=secret", **more))

    return run(main())


def spoken(serve: Callable[[Any], Awaitable[None]], **more: Any) -> Found:
    """What is found of a WebSocket that does as `serve` says."""

    async def main() -> Found:
        async with server.serve(serve, "127.0.0.1", 0, close_timeout=1) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with asyncio.timeout(15):
                return await probe(settings(f"ws://127.0.0.1:{port}/v1/realtime", **more))

    return run(main())


def problem(found: Found) -> Finding:
    (one,) = [each for each in found if not each.ok]
    assert one.mend and "secret" not in repr(found) and KEY not in repr(found)
    return one


def test_a_server_that_speaks() -> None:
    found = probed(saying("hello you"))
    assert [(each.name, each.ok) for each in found] == [
        ("realtime server", True), ("realtime settings", True), ("realtime answer", True),
    ]  # fmt: skip
    assert "first sound after" in found[-1].detail
    assert "secret" not in repr(found)


def test_our_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> Found:
        async with serving(deaf()) as served, asyncio.timeout(15):
            return await probe(settings(served.socket, first_ms=5000))

    monkeypatch.setenv("A_KEY", TOKEN)
    found = run(main())
    assert [each.name for each in found if each.ok] == ["realtime server", "realtime settings", "realtime answer"]
    monkeypatch.setenv("A_KEY", KEY)
    wrong = problem(run(main()))
    assert wrong.name == "realtime key" and "A_KEY" in wrong.detail and wrong.mend.startswith("export A_KEY=")
    monkeypatch.delenv("A_KEY")
    assert "not set" in problem(run(main())).detail


def test_an_address_that_is_none_and_a_key_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = problem(look(settings("https://me:secret@api.example.org/v1/realtime?k=secret")))
    assert wrong.name == "realtime server" and wrong.mend == "--realtime wss://api.example.org/v1/realtime"
    assert problem(look(settings(""))).name == "realtime server"
    assert problem(look(settings("ws://me:secret@host:x/v1"))).name == "realtime server"
    assert problem(look(settings("wss://api.example.org/v1/realtime"))).mend.startswith("export A_KEY=")
    monkeypatch.setenv("A_KEY", KEY)
    wrong = problem(look(settings("ws://api.example.org/v1/realtime")))
    assert wrong.name == "realtime key" and wrong.mend == "--realtime wss://api.example.org/v1/realtime"


def test_a_server_that_is_not_there_or_refuses() -> None:
    async def gone() -> int:
        async with model_server() as model:
            return model.port

    assert "start the server" in problem(look(settings(f"ws://127.0.0.1:{run(gone())}/v1/realtime"))).mend
    for status, words in ((404, "/v1/realtime"), (429, "account"), (500, "/v1/realtime")):
        wrong = problem(probed(saying("x"), lambda model, status=status: setattr(model, "refuse", (status, "no"))))
        assert wrong.name == "realtime server" and str(status) in wrong.detail and words in wrong.mend


@pytest.mark.parametrize("reply", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\x00\xff\x15", b"", b"HTTP/1.1 200 OK\r\n\r\n<html>"])
def test_what_is_no_websocket(reply: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(reply)
        writer.close()

    async def main() -> Found:
        async with await asyncio.start_server(say, "127.0.0.1", 0) as listening:
            async with asyncio.timeout(15):
                return await probe(settings(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"))

    assert problem(run(main())).name == "realtime server"


def test_a_websocket_of_another_kind() -> None:
    async def silent(socket: Any) -> None:
        await socket.wait_closed()

    async def chatty(socket: Any) -> None:
        await socket.send("welcome")
        await socket.wait_closed()

    async def leaving(socket: Any) -> None:
        await socket.close(1008, "no such model")

    assert "no session.created" in problem(spoken(silent, first_ms=300)).detail
    assert "no JSON" in problem(spoken(chatty)).detail
    assert "no such model" in problem(spoken(leaving)).detail


def test_what_the_server_complains_of_is_told_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)

    def complaining(code: str, created: bool = True) -> Callable[[Any], Awaitable[None]]:
        async def serve(socket: Any) -> None:
            if created:
                await socket.send(json.dumps({"type": "session.created", "session": {"model": "m-1"}}))
            error = {"type": "invalid_request_error", "code": code, "message": f"no: {KEY} {'blah ' * 900}"}
            await socket.send(json.dumps({"type": "error", "error": error}))
            await socket.wait_closed()

        return serve

    assert problem(spoken(complaining("invalid_api_key", created=False))).name == "realtime key"
    wrong = problem(spoken(complaining("unknown_voice")))
    assert wrong.name == "realtime settings" and "voice" in wrong.mend
    assert "no: *** blah" in wrong.detail and len(wrong.detail) < 300


def test_a_model_that_does_not_answer() -> None:
    async def silent(talk: Talk) -> None:
        await talk.created()

    async def fails(talk: Talk) -> None:
        await talk.created()
        await talk.done("failed", {"error": {"code": "insufficient_quota", "message": "no credit"}})

    async def noise(talk: Talk) -> None:
        await talk.created()
        await talk.send("response.output_audio.delta", response_id=talk.id, item_id="i", delta="?!")

    assert "realtime_model.first_ms" in problem(probed(silent, first_ms=300)).detail
    assert "no credit" in problem(probed(fails)).detail
    assert "not PCM" in problem(probed(noise)).detail


def test_it_is_bounded() -> None:
    async def silent(socket: Any) -> None:
        await socket.wait_closed()

    async def main() -> Found:
        async with server.serve(silent, "127.0.0.1", 0, close_timeout=1) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with asyncio.timeout(5):
                return await probe(settings(f"ws://127.0.0.1:{port}/"), 0.3)

    assert "0.3 s" in problem(run(main())).detail

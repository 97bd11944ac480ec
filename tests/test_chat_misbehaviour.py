"""Servers of chat completions that misbehave, each in one way: every one ends in a clear outcome, and nothing hangs."""

import asyncio
import gzip
import json
import socket
import sys
import threading
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from embodied.body import Body
from policies.models import chat, sse
from policies.models.chat import ChatModel
from streams.clock import MS, Clock, Stopwatch, run, wall_now
from streams.errors import DependencyMissing
from streams.packet import Packet
from streams.topics import ACTION
from streams.types import Ask, Hush, Outcome, Withdraw
from tests.chatting import REQUEST, Talk, Told, answered, settings, talk, until
from tests.model_servers import DONE, Line, ModelServer, chunk, event, good

SHORT = {"connect_ms": 300, "first_token_ms": 250, "between_tokens_ms": 150, "whole_ms": 500}


async def _left(it: Talk) -> None:
    """Wait until the server has seen that the client has gone."""
    await until(lambda: it.server.gone)


def _stalls(*sent: bytes, head: bool = True) -> Any:
    async def play(line: Line) -> None:
        if head:
            line.head()
        for data in sent:
            line.send(data)
        await line.writer.drain()
        line.server.gone += await line.left()

    return play


# --- stalls


@pytest.mark.parametrize("head", [True, False])
def test_no_first_token(head: bool) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("timeout", "first_token")
        assert "first_token_ms" in outcome.detail
        assert answered(outcome).first_ms is None and not it.deltas
        assert len(it.server.lines) == 1  # there is no time left to ask again
        await _left(it)

    talk(test, _stalls(head=head), **{**SHORT, "attempts": 3})


def test_signs_of_life_and_empty_pieces_are_no_tokens() -> None:
    async def play(line: Line) -> None:
        line.head()
        for _ in range(100):
            line.send(b": still here\n\n" + event(chunk("", role="assistant")) + event({"choices": []}))
            await line.writer.drain()
            await asyncio.sleep(0.03)

    async def test(it: Talk) -> None:
        assert answered(await it.ask()).error == "first_token"

    talk(test, play, **SHORT)


def test_no_further_token() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error, it.text) == ("timeout", "between_tokens", "Hello ")
        assert answered(outcome).finish == "" and answered(outcome).first_ms is not None
        assert len(it.server.lines) == 1  # what was begun is not asked again: nothing is said twice
        await _left(it)

    talk(test, _stalls(event(chunk("Hello "))), **{**SHORT, "attempts": 3})


def test_no_end() -> None:
    async def play(line: Line) -> None:
        line.head()
        while not line.reader.at_eof():
            line.send(event(chunk("on ")))
            await line.writer.drain()
            await asyncio.sleep(0.03)

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("timeout", "too_long")
        assert "whole_ms" in outcome.detail
        assert it.text.startswith("on on ")

    talk(test, play, **SHORT)


def test_nobody_takes_the_connection() -> None:
    async def main() -> None:
        clock = Clock()
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            try:
                for filler in fillers:  # the queue of those that wait is full
                    filler.setblocking(False)
                    filler.connect_ex(deaf.getsockname())
                await asyncio.sleep(0.05)
                url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
                model = ChatModel(settings(url, **{**SHORT, "connect_ms": 100, "first_token_ms": 5000}), Told(), clock)
                outcome = await model.perform(Ask(REQUEST, turn=1, id=1))
                assert (outcome.status, answered(outcome).error) == ("timeout", "connect")
                assert "connect_ms" in outcome.detail
                await model.aclose()
            finally:
                for filler in fillers:
                    filler.close()

    run(main())


def test_nobody_is_there() -> None:
    async def main() -> None:
        async with ModelServer(good) as server:
            url = server.url
        model = ChatModel(settings(url, attempts=2), Told(), Clock())
        outcome = await model.perform(Ask(REQUEST, turn=1, id=1))
        result = answered(outcome)
        assert (outcome.status, result.error, result.attempts) == ("failed", "connect", 2)
        assert "is the server running?" in outcome.detail
        await model.aclose()

    run(main())


def test_a_name_that_nobody_knows() -> None:
    async def main() -> None:
        model = ChatModel(settings("http://no-such-host.invalid/v1", **SHORT), Told(), Clock())
        outcome = await model.perform(Ask(REQUEST, turn=1, id=1))
        assert outcome.status in ("failed", "timeout")
        assert answered(outcome).error == "connect"
        await model.aclose()

    run(main())


def test_a_resolver_that_hangs_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    usual = socket.getaddrinfo

    def hangs(host: Any, *more: Any, **named: Any) -> Any:
        if host == "stuck.example":
            free.wait(20)
            raise socket.gaierror("no answer")
        return usual(host, *more, **named)

    async def main() -> None:
        model = ChatModel(settings("http://stuck.example/v1", **{**SHORT, "first_token_ms": 5000}), Told(), Clock())
        outcome = await model.perform(Ask(REQUEST, turn=1, id=1))
        assert (outcome.status, answered(outcome).error) == ("timeout", "connect")
        await model.aclose()

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    with Stopwatch() as watch:
        run(main())  # and its loop has ended
    free.set()
    assert watch.wall < 10


def test_without_the_library_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(DependencyMissing, match=r"visavis\[llm\]"):
            ChatModel(settings("http://localhost:1/v1"), Told(), Clock())

    monkeypatch.setitem(sys.modules, "httpx2", None)
    run(main())


# --- ends that come too early


@pytest.mark.parametrize("sent", [b"", event(chunk("Hello "))])
@pytest.mark.parametrize("orderly", [True, False])
def test_the_connection_closes_early(sent: bytes, orderly: bool) -> None:
    async def play(line: Line) -> None:
        line.head()
        line.send(sent)
        if orderly:
            line.end()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "closed")
        assert it.text == ("Hello " if sent else "")
        assert len(it.server.lines) == (1 if sent else 2)

    talk(test, play, attempts=2)


def test_the_connection_closes_without_a_word_and_the_next_try_is_answered() -> None:
    async def play(line: Line) -> None:
        pass

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, it.text, answered(outcome).attempts) == ("done", "Hello there.", 2)

    talk(test, play, good, attempts=2)


def test_a_kept_connection_that_the_server_has_closed_is_not_used() -> None:
    async def last(line: Line) -> None:
        line.stream("Yes.")
        line.keep = False

    async def test(it: Talk) -> None:
        assert (await it.ask()).status == "done"
        await asyncio.sleep(0.1)
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).attempts) == ("done", 1)
        assert it.server.connections == 2

    talk(test, last, good)


# --- rubbish


def _sends(*sent: bytes) -> Any:
    async def play(line: Line) -> None:
        line.head()
        for data in sent:
            line.send(data)
        line.end()

    return play


@pytest.mark.parametrize(
    "rubbish",
    [
        b'data: {"choices": [{"delta": {"content": "He\n\n',
        b"data: 5\n\n",
        b"data: [1, 2]\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: hello\n\n",
    ],
)
def test_broken_json_ends_the_answer_after_it_began_and_is_asked_again_before(rubbish: bytes) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error, it.text) == ("failed", "malformed", "Hello ")
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).attempts) == ("done", 2)
        assert it.text == "Hello Hello there."

    talk(test, _sends(event(chunk("Hello ")), rubbish, event(chunk("never"))), _sends(rubbish), good, attempts=2)


def test_half_a_letter_of_javascript_is_no_end() -> None:
    half = event(chunk("HALF")).replace(b"HALF", b"a\\ud83d")

    async def test(it: Talk) -> None:
        assert (await it.ask()).status == "done"
        assert it.text == "a\ufffd"

    talk(test, _sends(half, event(chunk(finish="stop")), DONE))


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream"])
def test_a_web_page_is_no_answer(kind: str) -> None:
    async def play(line: Line) -> None:
        line.whole(200, b"\n<!doctype html><html>Ollama is running", kind)

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "malformed")
        assert "/v1" in outcome.detail
        assert len(it.server.lines) == 1

    talk(test, play, attempts=3)


def test_a_stream_of_another_kind_by_its_name_is_taken() -> None:
    async def play(line: Line) -> None:
        line.head(kind="text/plain")
        line.send(b"\r\n" + event(chunk("Yes.", finish="stop")) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert ((await it.ask()).status, it.text) == ("done", "Yes.")

    talk(test, play)


@pytest.mark.parametrize("body", [b"plain words", b'{"no": "choices"}', b"[]", b'{"cut": '])
def test_an_answer_of_another_kind(body: bytes) -> None:
    async def play(line: Line) -> None:
        line.whole(200, body, "text/plain")

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert outcome.status == "failed"
        assert answered(outcome).error in ("malformed", "closed")
        assert not it.deltas

    talk(test, play)


def test_something_that_does_not_speak_http() -> None:
    async def play(line: Line) -> None:
        line.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "malformed")

    talk(test, play)


def test_a_compression_that_is_none() -> None:
    async def play(line: Line) -> None:
        line.head(Content_Encoding="gzip")
        line.send(event(chunk("Hello")))
        line.end()

    async def test(it: Talk) -> None:
        assert answered(await it.ask()).error == "malformed"

    talk(test, play)


# --- too much


def test_an_answer_without_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "SPARE", 1000)

    async def play(line: Line) -> None:
        line.head()
        while not line.reader.at_eof():
            line.send(event(chunk("word " * 50)))
            await line.writer.drain()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "too_long")
        assert len(it.text) <= 1000 + 10 * chat.CHARACTERS

    talk(test, play, output_tokens=10)


@pytest.mark.parametrize("kind", ["one event", "comments", "whole", "bomb", "complaint"])
def test_bytes_without_end_are_broken_off(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MOST_BYTES", 3 << 20)
    sent = 0

    async def play(line: Line) -> None:
        nonlocal sent
        encoding = {"Content_Encoding": "gzip"} if kind == "bomb" else {}
        line.head(400 if kind == "complaint" else 200, **encoding)
        if kind == "bomb":
            line.send(gzip.compress(b"data: " + b"x" * (16 << 20)))
            await line.writer.drain()
        block = b": x\n" * 4096 if kind == "comments" else b"x" * 16384
        line.send({"one event": b"data: ", "whole": b"{"}.get(kind, b""))
        while not line.reader.at_eof() and sent < 64 << 20:
            sent += len(block)
            line.send(block)
            await line.writer.drain()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "too_long")
        assert sent < 32 << 20

    talk(test, play)
    assert sse.MOST_EVENT < 3 << 20


# --- statuses


def _says(status: int, body: Any = None, **more: str) -> Any:
    async def play(line: Line) -> None:
        line.whole(status, body if body is not None else {"error": {"message": "because"}}, **more)

    return play


def test_too_many_requests_are_asked_again_when_the_server_says() -> None:
    async def test(it: Talk) -> None:
        before = it.clock.now()
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).attempts) == ("done", 3)
        assert it.clock.now() - before >= 1200 * MS

    soon = format_datetime(wall_now() + timedelta(seconds=1))  # a whole second: somewhere in the next one
    talk(test, _says(429, Retry_After="1"), _says(503, Retry_After="0.2"), good, attempts=3)
    talk(lambda it: _status(it, "done"), _says(429, Retry_After=soon), good, attempts=2)


async def _status(it: Talk, status: str) -> None:
    assert (await it.ask()).status == status


def test_a_wait_that_is_too_long_is_not_waited() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        result = answered(outcome)
        assert (outcome.status, result.error, result.retry_after_ms) == ("failed", "rate_limit", 60_000)
        assert len(it.server.lines) == 1
        assert "because" in outcome.detail

    talk(test, _says(429, Retry_After="60"), good, attempts=3)


def test_an_account_that_is_empty_is_not_asked_again() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (answered(outcome).error, len(it.server.lines)) == ("rate_limit", 1)
        assert "account" in outcome.detail

    talk(test, _says(429, body), good, attempts=3)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408])
def test_a_server_that_fails_is_asked_again_and_then_given_up(status: int) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        result = answered(outcome)
        assert (outcome.status, result.error, result.attempts) == ("failed", "server", 2)
        assert f"HTTP {status}" in outcome.detail
        assert (await it.ask()).status == "done"

    talk(test, _says(status, b"<html>Bad gateway</html>"), _says(status), good, attempts=2)


@pytest.mark.parametrize("status", [400, 403, 405, 413, 422])
def test_what_is_refused_is_not_asked_again(status: int) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "because" in outcome.detail
        assert len(it.server.lines) == 1

    talk(test, _says(status), attempts=3)


def test_a_model_that_is_not_there_is_told_with_those_that_are() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "tiny-1, tiny-2" in outcome.detail and "--model" in outcome.detail

    talk(test, _says(404, {"error": "model 'x' not found"}), model="x")


def test_a_path_that_is_not_there_is_told() -> None:
    async def test(it: Talk) -> None:
        assert "/v1" in (await it.ask()).detail

    talk(test, _says(404, b"404 page not found"), models=None)


def test_redirects_are_not_followed() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "http://elsewhere/v1" in outcome.detail and "secret" not in outcome.detail
        assert len(it.server.asked) == 1

    talk(test, _says(307, b"", Location="http://me:secret@elsewhere/v1?k=secret"), attempts=3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"message": "boom", "type": "server_error"}}, "server"),
        ({"error": "boom"}, "server"),
        ({"error": {"message": "boom", "code": 429}}, "rate_limit"),
        ({"error": {"message": "boom", "code": "context_length_exceeded"}}, "refused"),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "boom"}}]}, "server"),
    ],
)
def test_an_error_in_the_midst_of_a_stream(error: Any, kind: str) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error, it.text) == ("failed", kind, "Hello ")
        assert "boom" in outcome.detail
        assert (await it.ask()).status == ("done" if kind != "refused" else "failed")

    sends = _sends(event(error), DONE)
    talk(test, _sends(event(chunk("Hello ")), event(error)), sends, good, attempts=2)


def test_an_error_of_llama_cpp_in_its_own_field() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (answered(outcome).error, it.text) == ("server", "Hello ")
        assert "out of memory" in outcome.detail

    talk(test, _sends(event(chunk("Hello ")), b"error: " + json.dumps({"message": "out of memory"}).encode() + b"\n\n"))


# --- cuts


@pytest.mark.parametrize("sent", [None, b"", event(chunk("Hello "))])
def test_a_cut_closes_the_connection_and_nothing_more_is_read(sent: bytes | None) -> None:
    async def play(line: Line) -> None:
        if sent is not None:
            line.head()
            line.send(sent)
            await line.writer.drain()
        line.server.gone += await line.left()

    async def test(it: Talk) -> None:
        asking = asyncio.ensure_future(it.ask())
        await until(lambda: it.server.lines and (it.deltas or not sent))
        asking.cancel()
        outcome = await asking
        await _left(it)
        assert outcome.status == "cut"
        assert answered(outcome).error == "" and answered(outcome).finish == ""
        assert (await it.ask()).status == "done"  # the next question is answered as ever

    talk(test, play, good)


def test_what_was_read_in_the_step_of_the_cut_is_not_told() -> None:
    async def play(line: Line) -> None:
        line.head()
        line.send(event(chunk("one ")))
        await line.writer.drain()
        await asyncio.sleep(0.2)
        while not line.reader.at_eof():
            line.send(event(chunk("more ")))
            await line.writer.drain()

    async def test(it: Talk) -> None:
        asking = asyncio.ensure_future(it.ask())
        while it.text.count("more") < 20:
            it.told.news.clear()
            await it.told.news.wait()
        asking.cancel()
        before = it.text
        outcome = await asking
        await asyncio.sleep(0.05)
        assert (outcome.status, it.text) == ("cut", before)

    talk(test, play)


def test_closing_ends_what_is_in_progress_and_is_done_once() -> None:
    async def test(it: Talk) -> None:
        asking = asyncio.ensure_future(it.ask())
        await until(lambda: it.deltas)
        async with asyncio.timeout(1):
            await it.model.aclose()
            outcome = await asking
        assert (outcome.status, answered(outcome).error) == ("failed", "closed")
        assert answered(await it.ask()).error == "closed"
        assert not await it.model.warm()

    talk(test, _stalls(event(chunk("Hello "))), attempts=3)


class Orders:
    """A lane over ACTION, as far as a body needs one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def give(self, action: Any) -> None:
        self.queue.put_nowait(Packet(ACTION, 0, 0, 0, 0, action))

    def __aiter__(self) -> "Orders":
        return self

    async def __anext__(self) -> Packet[Any]:
        packet: Packet[Any] | None = await self.queue.get()
        if packet is None:
            raise StopAsyncIteration
        return packet


@pytest.mark.parametrize("end", [Hush(turn=4, reason="stop"), Withdraw(id=1, reason="another question"), None])
def test_a_body_ends_a_question_once_and_the_server_sees_it(end: Any) -> None:
    async def test(it: Talk) -> None:
        orders, body = Orders(), Body([it.model])
        running = asyncio.ensure_future(body.run(orders, it.told, it.clock))
        orders.give(Ask(REQUEST, turn=4, id=1))
        await until(lambda: it.deltas)
        if end is None:
            orders.queue.put_nowait(None)
            await running
        else:
            orders.give(end)
        await _left(it)
        await until(lambda: it.told.of(Outcome))
        orders.queue.put_nowait(None)
        await running
        (outcome,) = it.told.of(Outcome)
        assert (outcome.status, it.text) == ("cut", "Hello ")
        assert answered(outcome).model == "tiny-1"
        await body.aclose()

    talk(test, _stalls(event(chunk("Hello "))))

"""The client of chat completions against a real server that answers as it should, in all the ways there are."""

import asyncio
import base64
import gzip
import json
import logging
import zlib
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from embodied.ports import Actuator
from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel, EndpointError
from policies.models.failures import retry_after_ms
from streams.clock import SECOND, Clock, run, wall_now
from streams.errors import RealIOError, VisavisError
from streams.packet import Packet
from streams.pictures import compress
from streams.topics import IMAGE
from streams.types import Image, Say
from tests.chatting import REQUEST, TOOL, Talk, Told, answered, settings, talk
from tests.model_servers import DONE, Line, ModelServer, chunk, event, good, usage


def test_an_answer_is_told_as_it_comes_and_ends_with_its_figures() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def slowly(line: Line) -> None:
        line.head()
        line.send(event(chunk("", role="assistant")))
        for text, gate in zip(("Hello ", "there, ", "you."), gates):
            line.send(event(chunk(text)))
            await line.writer.drain()
            await gate.wait()
        line.send(event(chunk(finish="stop")) + event(usage()) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert isinstance(it.model, Actuator)
        asking = asyncio.ensure_future(it.ask())
        for count, gate in enumerate(gates, 1):
            while len(it.deltas) < count:
                it.told.news.clear()
                await it.told.news.wait()
            assert not asking.done()
            gate.set()
        outcome = await asking
        assert [delta.text for delta in it.deltas] == ["Hello ", "there, ", "you."]
        assert (outcome.status, outcome.name, outcome.detail) == ("done", "tiny-1", "")
        result = answered(outcome)
        assert (result.finish, result.model, result.error, result.attempts) == ("stop", "tiny-1", "", 1)
        assert (result.input_tokens, result.cached_tokens, result.output_tokens) == (7, 2, 3)
        assert result.first_ms is not None and result.whole_ms is not None
        assert 0 <= result.first_ms <= result.whole_ms
        assert not it.faults

    talk(test, slowly)


def test_the_request_says_what_was_configured() -> None:
    async def test(it: Talk) -> None:
        request = {**REQUEST, "tools": [TOOL], "tool_choice": "auto"}
        await it.ask(request)
        await it.ask({**REQUEST, "tools": [], "tool_choice": "auto", "max_tokens": 9})
        (_, body), (_, second) = it.server.asked
        assert it.server.asked[0][0] == "POST /v1/chat/completions"
        assert body == {
            **request,
            "model": "tiny-1",
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 400,
            "temperature": 0.5,
            "seed": 3,
            "top_k": 5,
        }
        assert "tools" not in second and "tool_choice" not in second
        assert second["max_tokens"] == 9

    talk(test, good, temperature=0.5, seed=3, extra={"top_k": 5, "chat_template": None})


def test_one_read_of_the_network_is_one_delta() -> None:
    async def at_once(line: Line) -> None:
        line.head()
        line.send(b"".join(event(chunk(f"{n} ")) for n in range(200)))
        for n in range(200, 300):
            line.send(event(chunk(f"{n} ")))  # pieces of HTTP of their own, in the same packet
        line.send(event(chunk(finish="stop")) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert (await it.ask()).status == "done"
        assert it.text == "".join(f"{n} " for n in range(300))
        assert len(it.deltas) < 10

    talk(test, at_once)


def test_connections_are_kept_and_warming_makes_the_first() -> None:
    async def test(it: Talk) -> None:
        assert await it.model.warm()
        for _ in range(3):
            assert (await it.ask()).status == "done"
        assert it.server.connections == 1
        both = await asyncio.gather(*(it.model.perform(_ask(n)) for n in (7, 8)))
        assert [each.status for each in both] == ["done", "done"]
        assert it.server.connections == 2

    talk(test, good)


def _ask(number: int) -> Any:
    from streams.types import Ask

    return Ask(REQUEST, turn=4, id=number)


def test_without_a_name_the_first_model_that_is_listed_is_asked() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, outcome.name) == ("done", "tiny-1")
        assert [path for path, _ in it.server.asked] == ["GET /v1/models", "POST /v1/chat/completions"]
        await it.ask()
        assert it.server.asked[-1][1]["model"] == "tiny-1"
        assert len(it.server.asked) == 3

    talk(test, good, model="")


def test_a_server_that_lists_no_models_wants_a_name() -> None:
    async def test(it: Talk) -> None:
        assert await it.model.warm()
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "--model" in outcome.detail

    talk(test, good, model="", models=())


def test_warming_a_server_that_is_not_there_is_no_error() -> None:
    async def main() -> None:
        async with ModelServer(good) as server:
            url = server.url
        model = ChatModel(settings(url), Told(), Clock())
        assert not await model.warm()
        await model.aclose()

    run(main())


# --- what is in an answer


def test_a_whole_answer_to_a_request_for_a_stream_is_taken() -> None:
    async def whole(line: Line) -> None:
        call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        message = {"role": "assistant", "content": "Done.", "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        line.whole(200, {"object": "chat.completion", "choices": [choice], **{"usage": usage()["usage"]}})

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).finish, answered(outcome).output_tokens) == ("done", "tool_calls", 3)
        assert (it.text, it.calls) == ("Done.", [("x", "add", '{"a": 1}')])

    talk(test, whole)


def _pieces(*pieces: list[dict[str, Any]]) -> Any:
    async def play(line: Line) -> None:
        line.head()
        for piece in pieces:
            line.send(event(chunk(None, tool_calls=piece)))
        line.send(event(chunk(finish="tool_calls")) + DONE)
        line.end()

    return play


def _piece(arguments: Any = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


@pytest.mark.parametrize(
    ("play", "calls"),
    [
        pytest.param(
            _pieces(
                [_piece("", "add", index=0, id="a", type="function")],
                [_piece('{"x"', index=0)],
                [_piece(": 1", index=0)],
                [_piece("}", index=0)],
            ),
            [("a", "add", '{"x": 1}')],
            id="arguments in pieces",
        ),
        pytest.param(
            _pieces(
                [_piece("", "add", index=0, id="a"), _piece("", "sub", index=1, id="b")],
                [_piece('{"x"', index=0), _piece('{"y"', index=1)],
                [_piece(":2}", index=1), _piece(":1}", index=0)],
            ),
            [("a", "add", '{"x":1}'), ("b", "sub", '{"y":2}')],
            id="two at once",
        ),
        pytest.param(
            _pieces([_piece('{"x":1}', "add"), _piece('{"y":2}', "sub")], [_piece('{"x":3}', "add")]),
            [("call_1_0", "add", '{"x":1}'), ("call_1_1", "sub", '{"y":2}'), ("call_1_2", "add", '{"x":3}')],
            id="neither index nor id",
        ),
        pytest.param(
            _pieces([_piece('{"x":1}', "add", index=0, id="a")], [_piece('{"x":2}', "add", index=0, id="b")]),
            [("a", "add", '{"x":1}'), ("b", "add", '{"x":2}')],
            id="the same index for all",
        ),
        pytest.param(
            _pieces([_piece('{"x"', "add", id="a")], [_piece(":1}")], [_piece("{}", "sub", id="b")]),
            [("a", "add", '{"x":1}'), ("b", "sub", "{}")],
            id="no index, goes on with the last",
        ),
        pytest.param(
            _pieces([_piece({"x": 1}, "add", index=0)]), [("call_1_0", "add", '{"x":1}')], id="arguments as an object"
        ),
        pytest.param(
            _pieces([_piece('{"x"', "add", index=0, id="a")], [_piece(":1}", "add", index=0, id="a")]),
            [("a", "add", '{"x":1}')],
            id="name and id in every piece",
        ),
        pytest.param(
            _pieces([_piece(None, "add", index=0, id="a")], [{"index": 0, "function": None}, 5]),  # type: ignore[list-item]
            [("a", "add", "")],
            id="no arguments, and rubbish",
        ),
    ],
)
def test_tools_are_called_in_all_the_ways_there_are(play: Any, calls: Any) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).finish) == ("done", "tool_calls")
        assert it.calls == calls
        assert it.text == ""

    talk(test, play)


def test_ollama_calls_a_tool_and_says_stop() -> None:
    async def play(line: Line) -> None:
        line.head()
        line.send(event(chunk(None, tool_calls=[_piece("{}", "add")])) + event(chunk(finish="stop")) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert answered(await it.ask()).finish == "tool_calls"

    talk(test, play)


def test_thoughts_are_apart_from_what_is_said() -> None:
    async def play(line: Line) -> None:
        line.head()
        for body in (
            chunk(None, reasoning_content="I "),
            chunk(None, reasoning="wonder", reasoning_content="wonder"),
            chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "."}]}, {"type": "text", "text": "Yes"}]),
            chunk("."),
        ):
            line.send(event(body))
        line.send(event(chunk(finish="stop")) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert (await it.ask()).status == "done"
        assert (it.thought, it.text) == ("I wonder.", "Yes.")

    talk(test, play)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_end_that_is_none_of_the_models_own_is_told(finish: str) -> None:
    async def play(line: Line) -> None:
        line.stream("I am", finish=finish)

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).finish) == ("done", finish)
        assert outcome.detail

    talk(test, play)


def test_a_refusal_of_the_model_is_what_it_says() -> None:
    async def play(line: Line) -> None:
        line.head()
        line.send(event(chunk(None, refusal="I cannot ")) + event(chunk(None, refusal="do that.")))
        line.send(event(chunk(finish="stop")) + DONE)
        line.end()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).finish, it.text) == ("done", "stop", "I cannot do that.")

    talk(test, play)


def test_what_is_not_known_is_left_alone() -> None:
    async def play(line: Line) -> None:
        line.head(X_Strange="yes")
        line.send(b": keep-alive\n\nretry: 5\nid: 7\n\nevent: ping\ndata: {}\n\ndata:\n\n")
        line.send(event({"choices": [], "prompt_filter_results": [{}]}))
        line.send(event({"choices": None, "usage": None, "error": None}))
        line.send(event({**chunk("Yes", made_up={"a": [1]}), "service_tier": "x", "nvext": {}}))
        line.send(event({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}))
        line.send(event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}))
        line.send(event({"choices": ["?", {"index": 0, "delta": {"content": 5, "tool_calls": "x"}}]}))
        line.send(event(chunk(".", finish="stop")) + event({"usage": {"prompt_tokens": "many"}}) + DONE)
        line.send(event(chunk("after the end")))
        line.end()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, it.text, answered(outcome).input_tokens) == ("done", "Yes.", None)

    talk(test, play)


def test_lines_end_in_three_ways_and_letters_are_cut_in_two() -> None:
    async def play(line: Line) -> None:
        line.head()
        body = b"\xef\xbb\xbf" + event(chunk("Grüße, ")).replace(b"\n", b"\r\n")
        body += event(chunk("世界 \u2028")).replace(b"\n", b"\r") + event(chunk("😀")) + event(chunk(finish="stop"))
        for byte in body:
            line.send(bytes([byte]))
            await line.writer.drain()
            await asyncio.sleep(0)
        line.send(DONE)
        line.end()

    async def test(it: Talk) -> None:
        assert (await it.ask()).status == "done"
        assert it.text == "Grüße, 世界 \u2028😀"

    talk(test, play)


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_an_answer_may_be_compressed(how: str) -> None:
    async def play(line: Line) -> None:
        assert line.headers["accept-encoding"] == "identity"
        line.head(Content_Encoding=how)
        data = event(chunk("Hello ")) + event(chunk("there.", finish="stop")) + DONE
        line.send(gzip.compress(data) if how == "gzip" else zlib.compress(data))
        line.end()

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, it.text) == ("done", "Hello there.")

    talk(test, play)


@pytest.mark.parametrize("close", [True, False])
def test_a_finished_answer_needs_no_done_and_waits_for_nobody(close: bool) -> None:
    async def play(line: Line) -> None:
        line.head(length=-1)
        line.send(event(chunk("Yes.")) + event(chunk(finish="stop")) + event(usage()))
        if not close:
            assert await line.left()

    async def test(it: Talk) -> None:
        before = it.clock.now()
        outcome = await it.ask()
        assert (outcome.status, it.text, answered(outcome).output_tokens) == ("done", "Yes.", 3)
        assert it.clock.now() - before < 4 * SECOND  # far below the 9 s between tokens

    talk(test, play, between_tokens_ms=9000, whole_ms=9000)


# --- pictures


class Newest:
    def __init__(self, image: Image | None, t: int = 0, seq: int = 3) -> None:
        self.newest = None if image is None else Packet(IMAGE, t, t, seq, 9, image)


def _photo(width: int = 900, height: int = 1200) -> Image:
    return compress(np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8), width, 60)


def test_the_newest_picture_goes_with_the_last_message_of_the_user() -> None:
    from streams.pictures import decompress

    request = {"messages": [*REQUEST["messages"], {"role": "assistant", "content": "Let me see."}]}

    async def test(it: Talk) -> None:
        outcome = await it.ask(request, picture_ns=3600 * SECOND)
        assert answered(outcome).image == 3
        _, user, _ = it.server.asked[0][1]["messages"]
        text, part = user["content"]
        assert text == {"type": "text", "text": "hello"}
        kind, _, data = part["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        shown = Image(base64.b64decode(data), "jpeg", 0, 0)
        pixels = decompress(shown, 1)
        assert pixels is not None and pixels.shape[:2] == (256, 192)
        assert request["messages"][1]["content"] == "hello"  # what was asked is as it was
        assert answered(await it.ask(request)).image is None  # not wished for
        assert isinstance(it.server.asked[1][1]["messages"][1]["content"], str)

    talk(test, good, pictures=Newest(_photo()), picture_px=256)


@pytest.mark.parametrize(
    "newest",
    [
        Newest(None),
        Newest(_photo(64, 64), t=-10 * SECOND),
        Newest(Image(b"", "jpeg", 0, 0)),
        Newest(Image(b"\xff\xd8 no", "jpeg", 900, 900)),
    ],
)
def test_no_picture_is_better_than_an_old_or_a_damaged_one(newest: Newest) -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask(picture_ns=5 * SECOND)
        assert (outcome.status, answered(outcome).image) == ("done", None)
        assert it.server.asked[0][1]["messages"] == REQUEST["messages"]

    talk(test, good, pictures=newest)


# --- what a server will not have


def _refusing(word: str, message: Any, status: int = 400) -> Any:
    """Refuses requests that have `word` anywhere in their JSON."""

    async def play(line: Line) -> None:
        if word in json.dumps(line.body):
            line.whole(status, message if isinstance(message, dict) else {"error": {"message": message}})
        else:
            line.stream("Yes.")

    return play


@pytest.mark.parametrize(
    ("word", "status", "message"),
    [
        ('"stream_options"', 400, "Unrecognized request argument supplied: stream_options"),
        ('"stream_options"', 422, {"detail": [{"type": "extra_forbidden", "loc": ["stream_options"]}]}),
        ('"max_tokens"', 400, "Unsupported parameter: 'max_tokens' is not supported with this model. "
         "Use 'max_completion_tokens' instead."),
        ('"temperature"', 400, {"error": {"message": "Unsupported value", "param": "temperature"}}),
        ('"seed"', 400, "unknown field seed"),
        ('"top_k"', 400, "top_k: Extra inputs are not permitted"),
        ('"tools"', 400, "registry.ollama.ai/library/gemma3:latest does not support tools"),
        ('"tools"', 400, {"object": "error", "message": '"auto" tool choice requires --enable-auto-tool-choice'}),
        ('"tools"', 500, "tools param requires --jinja flag"),
        ('"tools"', 404, "No endpoints found that support tool use."),
        ('"image_url"', 500, "image input is not supported - hint: you may need to provide the mmproj"),
        ('"image_url"', 400, "tiny-1 is not a multimodal model"),
        ('"image_url"', 422, "Failed to deserialize: messages[1]: unknown variant `image_url`, expected `text`"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_to_take_is_left_out_and_told_once(word: str, status: int, message: Any) -> None:
    async def test(it: Talk) -> None:
        for _ in range(2):
            outcome = await it.ask({**REQUEST, "tools": [TOOL]}, picture_ns=3600 * SECOND)
            assert outcome.status == "done", outcome
        assert len(it.server.asked) == 3  # refused once, and never sent again
        assert [answered(each).attempts for each in it.outcomes] == [2, 1]
        assert [fault.error for fault in it.faults] == ["NotSupported"]
        sent = json.dumps(it.server.asked[-1][1])
        assert word not in sent
        for other in ('"tools"', '"image_url"', '"seed"', '"top_k"', '"temperature"', '"stream_options"'):
            assert other == word or other in sent
        assert ("max_completion_tokens" in sent) == (word == '"max_tokens"')
        assert (answered(outcome).image is None) == (word == '"image_url"')

    talk(
        test,
        _refusing(word, message, status),
        pictures=Newest(_photo(64, 64)),
        temperature=1.0,
        seed=1,
        extra={"top_k": 4},
    )


def test_several_refusals_are_dealt_with_one_after_the_other() -> None:
    async def picky(line: Line) -> None:
        for name in ("stream_options", "seed", "tools"):
            if name in line.body:
                line.whole(400, {"error": {"message": f"{name} not supported"}})
                return
        line.stream("Yes.")

    async def test(it: Talk) -> None:
        outcome = await it.ask({**REQUEST, "tools": [TOOL]})
        assert (outcome.status, it.text, answered(outcome).attempts) == ("done", "Yes.", 4)

    talk(test, picky, seed=1)


def test_a_tool_that_is_wrong_does_not_take_all_tools_away() -> None:
    async def test(it: Talk) -> None:
        outcome = await it.ask({**REQUEST, "tools": [TOOL]})
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "'oneOf' is not permitted" in outcome.detail
        assert not it.faults

    talk(test, _refusing("tools", "Invalid schema for function 'add': 'oneOf' is not permitted"))


def test_a_picture_that_cannot_be_read_is_left_out_only_this_once() -> None:
    async def once(line: Line) -> None:
        line.whole(400, {"error": {"message": "Could not process image"}})

    async def test(it: Talk) -> None:
        first, second = [await it.ask(picture_ns=3600 * SECOND) for _ in range(2)]
        assert [answered(each).image for each in (first, second)] == [None, 3]
        assert not it.faults

    talk(test, once, good, good, pictures=Newest(_photo(64, 64)))


# --- keys


KEY = "sk-very-secret-0123456789"


def _everything(it: Talk, caplog: pytest.LogCaptureFixture) -> str:
    return f"{it.model!r} {it.model} {it.model.__dict__!r} {it.told.packets!r} {it.outcomes!r} {caplog.text}"


@pytest.mark.parametrize("status", [200, 401, 400, 500])
def test_a_key_goes_to_the_server_and_nowhere_else(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")

    async def play(line: Line) -> None:
        assert line.headers["authorization"] == f"Bearer {KEY}"
        if status == 200:
            line.stream("Yes.")
        else:
            line.whole(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}})

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status == "done") == (status == 200)
        if status == 401:
            assert "MY_KEY" in outcome.detail
        assert KEY not in _everything(it, caplog)

    talk(test, play, key_env="MY_KEY")


def test_a_name_and_password_of_the_address_are_used_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def play(line: Line) -> None:
        told = base64.b64decode(line.headers["authorization"].removeprefix("Basic ")).decode()
        assert told == "someone:s3cr3t@word"
        assert line.path == "/v1/chat/completions?api-version=4"
        line.whole(403, {"error": "no: s3cr3t@word"})

    async def main() -> None:
        async with ModelServer(play) as server:
            url = server.url.replace("http://", "http://someone:s3cr3t%40word@") + "/?api-version=4"
            told, clock = Told(), Clock()
            model = ChatModel(settings(url), told, clock)
            it = Talk(server, model, clock, told)
            outcome = await it.ask()
            await model.aclose()
            assert answered(outcome).error == "refused"
            everything = _everything(it, caplog)
            assert "s3cr3t" not in everything and "someone" not in everything

    run(main())


def test_without_a_key_the_answer_says_which_variable_it_belongs_into() -> None:
    async def play(line: Line) -> None:
        assert "authorization" not in line.headers
        line.whole(401, {"error": {"message": "Unauthorized"}})

    async def test(it: Talk) -> None:
        outcome = await it.ask()
        assert (outcome.status, answered(outcome).error) == ("failed", "refused")
        assert "SOME_KEY" in outcome.detail and "Unauthorized" in outcome.detail

    talk(test, play, key_env="SOME_KEY")


def _made(config: LlmConfig) -> None:
    async def main() -> None:
        model = ChatModel(config, Told(), Clock())
        await model.aclose()

    run(main())


def test_bad_addresses_and_keys_are_told_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("VISAVIS_LLM_KEY", raising=False)
    for url in ("", "localhost:11434", "ftp://a/b", "http://", "http://a:99999/v1", "http://[::1/v1"):
        with pytest.raises(EndpointError, match=r"llm\.url"):
            _made(LlmConfig(url=url))
    with pytest.raises(EndpointError, match="OPENAI_API_KEY"):
        _made(LlmConfig(url="https://api.openai.com/v1"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _made(LlmConfig(url="https://api.openai.com/v1"))
    monkeypatch.setenv("VISAVIS_LLM_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(EndpointError, match="VISAVIS_LLM_KEY") as caught:
        _made(LlmConfig())
    assert KEY not in str(caught.value)


def test_virtual_time_is_refused_and_so_are_other_actions() -> None:
    async def made() -> None:
        with pytest.raises(VisavisError, match="virtual"):
            ChatModel(LlmConfig(), Told(), Clock())

    run(made(), virtual=True)

    async def test(it: Talk) -> None:
        with pytest.raises(TypeError, match="Ask"):
            await it.model.perform(Say("hello"))

    talk(test, good)
    assert issubclass(RealIOError, VisavisError)


# --- waits that a server wishes for


def test_wishes_to_be_left_alone_are_understood() -> None:
    now = wall_now()
    then = format_datetime(now + timedelta(seconds=30))
    assert retry_after_ms({"retry-after": "2.5"}, now) == 2500
    assert retry_after_ms({"retry-after-ms": "40", "retry-after": "1"}, now) == 40
    assert retry_after_ms({"retry-after": then}, now) == pytest.approx(30_000, abs=1001)
    assert retry_after_ms({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now) == 0
    assert retry_after_ms({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, now) == 0
    for nonsense in ("", "soon", "nan", "inf", "-1e999"):
        assert retry_after_ms({"retry-after": nonsense}, now) is None
    assert retry_after_ms({}, now) is None

"""However the bytes of an answer are split on their way, and whatever they are, the same is told of them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.models.answer import Answer, Piece
from policies.models.failures import Failure
from policies.models.sse import Events
from streams.types import Delta
from tests.model_servers import DONE, chunk, event, usage

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LETTERS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, str, list[str]]:
    """A stream, its text, and the arguments of its calls."""
    texts = draw(st.lists(LETTERS, max_size=6))
    calls = draw(st.lists(st.dictionaries(LETTERS, st.integers(), max_size=3), max_size=2))
    events = [event(chunk(text)) for text in texts]
    pieces = []
    for index, call in enumerate(calls):
        whole = json.dumps(call)
        cut = draw(st.integers(0, len(whole)))
        for place, part in enumerate((whole[:cut], whole[cut:])):
            named = {"id": f"c{index}", "function": {"name": f"f{index}", "arguments": part}}
            later = {"function": {"arguments": part}}
            pieces.append(event(chunk(None, tool_calls=[{"index": index, **(later if place else named)}])))
    noise = st.sampled_from([b"", b": alive\n\n", b"event: x\nid: 4\n\n", event({"choices": []}), b"\n\n"])
    body = b"".join(each + draw(noise) for each in (*events, *pieces))
    body += event(chunk(finish="stop")) + event(usage()) + DONE
    return body.replace(b"\n", draw(ENDS)), "".join(texts), [json.dumps(call) for call in calls]


def told(parts: list[bytes]) -> tuple[str, str, dict[int, list[str]], str, int | None]:
    events, answer, whole = Events(), Answer(1), Piece()
    for part in parts:
        for data in events.push(part):
            whole += answer.event(data)
    for data in events.flush():
        whole += answer.event(data)
    calls: dict[int, list[str]] = {}
    for piece in whole.tools:
        call = calls.setdefault(piece.index, ["", "", ""])
        for place, part_of in enumerate((piece.call, piece.name, piece.arguments)):
            call[place] += part_of
    return whole.text, whole.thought, calls, answer.finish, answer.output_tokens


@given(streams(), st.data())
def test_every_split_of_a_stream_tells_the_same(stream: tuple[bytes, str, list[str]], data: st.DataObject) -> None:
    body, text, calls = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)])]
    whole = told([body])
    assert told(parts) == whole == told([bytes([byte]) for byte in body])
    assert whole[0] == text
    assert [call[2] for _, call in sorted(whole[2].items())] == calls
    assert whole[3:] == ("tool_calls" if calls else "stop", 3)


@given(st.lists(st.binary(max_size=40), max_size=20))
@example([b"\xef\xbb\xbfdata: 1", b"\r", b"\n\ndata: 2\n", b"\n"])
def test_any_bytes_give_the_same_events_however_they_come(parts: list[bytes]) -> None:
    def events(split: list[bytes]) -> list[str]:
        decoder = Events()
        return [*(each for part in split for each in decoder.push(part)), *decoder.flush()]

    body = b"".join(parts)
    assert events(parts) == events([body] if body else []) == events([bytes([byte]) for byte in body])


KEYS = st.sampled_from(
    ["choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "index", "usage",
     "finish_reason", "model", "error", "prompt_tokens", "prompt_tokens_details", "type", "text", "refusal", "code"]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**30)])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud83d", "a\udc00", "thinking", "error"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4))
def test_any_json_is_an_answer_or_a_failure(bodies: list[Any]) -> None:
    answer = Answer(1, 100)
    try:
        for body in bodies:
            piece = answer.event(json.dumps(body))
            assert isinstance(piece.text, str) and isinstance(piece.thought, str)
            msgspec.json.encode([Delta(1, 1, 0, piece.text, piece.tools, piece.thought), answer.output_tokens])
        msgspec.json.encode([answer.model, answer.input_tokens, answer.cached_tokens, answer.finish])
    except Failure as failure:
        assert msgspec.json.encode(str(failure))
        assert str(failure) and "\n" not in str(failure)


@pytest.mark.parametrize("depth", [*range(300, 1100, 50), 50_000])
@pytest.mark.parametrize(
    "inside", ['"content": [{"type": "thinking", "thinking": %s}]', '"tool_calls": [{"name": "f", "arguments": %s}]']
)
def test_depth_is_an_answer_or_a_failure(inside: str, depth: int) -> None:
    body = '{"choices": [{"delta": {' + inside % ('[{"a": ' * depth + "1" + "}]" * depth) + "}}]}"
    try:
        assert Answer(1).event(body) is not None
    except Failure as failure:
        assert failure.kind == "malformed"
    error = '{"error": ' + "[" * depth + "]" * depth + "}"
    with pytest.raises(Failure):
        Answer(1).event(error)


def test_calls_without_end_are_broken_off() -> None:
    calls = [{"index": n, "function": {"name": "f", "arguments": "{}"}} for n in range(20_000)]
    with pytest.raises(Failure, match="tools at once") as caught:
        Answer(1).object(chunk(None, tool_calls=calls))
    assert caught.value.kind == "too_long"

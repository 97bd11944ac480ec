"""Reads the answer of a chat completion, event after event. Pure: no socket, no clock.

The shape is OpenAI's (`chat.completion.chunk`, and `chat.completion` where a server does not stream). Whatever is not
known is left alone; what is missing or of another type counts as absent. What real servers do is named beside it.
"""

import json
from typing import Any, NamedTuple

import msgspec

from policies.models.failures import Failure, as_json, clean, of_error, short
from streams.types import ToolPiece

MOST_CALLS = 64
MOST_NAME = 200  # characters of the name of a model, a tool or a call


class Piece(NamedTuple):
    """What some bytes of an answer say; falsy ones say nothing."""

    text: str = ""
    tools: tuple[ToolPiece, ...] = ()
    thought: str = ""

    def __add__(self, other: tuple[Any, ...]) -> "Piece":  # as of a tuple, but piece by piece
        text, tools, thought = other
        return Piece(self.text + text, self.tools + tools, self.thought + thought)

    def __bool__(self) -> bool:
        return bool(self.text or self.tools or self.thought)


class _Call:
    """A call of the answer in the making."""

    def __init__(self, index: int, place: Any, call: str, name: str) -> None:
        self.index, self.place, self.call, self.name = index, place, call, name
        self.arguments = ""

    @property
    def whole(self) -> bool:
        """Its arguments are an object, and nothing can be added to it."""
        try:
            return isinstance(msgspec.json.decode(self.arguments), dict)
        except (msgspec.DecodeError, RecursionError):
            return False


class Answer:
    """One answer. id: of the `Ask`, to name calls that the server does not;  most: characters of it at most

    finish: as in `Answered`, "" until the server has said it;  ended: nothing more will come (`[DONE]`)
    model, input_tokens, cached_tokens, output_tokens: as the server says
    """

    def __init__(self, id: int = 0, most: int = 1_000_000) -> None:
        self.finish = ""
        self.ended = False
        self.model = ""
        self.input_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.output_tokens: int | None = None
        self._id = id
        self._most = most
        self._length = 0
        self._calls: list[_Call] = []

    def event(self, data: str) -> Piece:
        """What one event says. Raises `Failure`: broken JSON, an error of the server, or too long an answer."""
        data = data.strip()
        if not data:
            return Piece()
        if data == "[DONE]":
            self.ended = True
            self.finish = self.finish or self._finished("stop")
            return Piece()
        return self.object(decode(data))

    def object(self, body: Any) -> Piece:
        """What one decoded object says: a chunk, or a whole answer. Raises `Failure`."""
        if not isinstance(body, dict):
            raise Failure("malformed", "the server sent JSON that is no object: is this a chat completion?")
        if body.get("error"):
            raise of_error(body)
        if body.get("model") and isinstance(body["model"], str):
            self.model = short(body["model"], MOST_NAME)
        self._usage(body.get("usage"))
        choices = body.get("choices")
        listed = choices if isinstance(choices, list) else ()
        choice = next((each for each in listed if isinstance(each, dict) and not each.get("index")), None)
        if choice is None:
            return Piece()  # usage only, or news of a content filter
        if choice.get("error"):
            raise of_error(choice)
        message = choice.get("delta") or choice.get("message")
        piece = self._message(message) if isinstance(message, dict) else Piece()
        if isinstance(choice.get("text"), str) and not piece:
            piece = Piece(clean(choice["text"]))
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str):
            if reason == "error":
                raise Failure("server", "the server broke its answer off with an error.")
            self.finish = self._finished(reason)
        self._length += len(piece.text) + len(piece.thought) + sum(len(each.arguments) for each in piece.tools)
        if self._length > self._most:
            raise Failure(
                "too_long", f"the answer is longer than {self._most} characters: the server does not bound it."
            )
        return piece

    def _finished(self, reason: str) -> str:
        if self._calls and reason in ("stop", "function_call", "tool_calls"):  # Ollama says "stop"
            return "tool_calls"
        return reason if reason in ("length", "tool_calls", "content_filter") else "stop"

    def _usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else usage.get("prompt_cache_hit_tokens")
        self.input_tokens = _count(usage.get("prompt_tokens"), self.input_tokens)
        self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
        self.cached_tokens = _count(cached, self.cached_tokens)

    def _message(self, message: dict[str, Any]) -> Piece:
        text, thought = _content(message.get("content"))
        refusal = message.get("refusal")  # what the model says when it will not: it is said
        if isinstance(refusal, str):
            text += clean(refusal)
        for key in ("reasoning_content", "reasoning", "thinking"):  # vLLM and DeepSeek; Ollama and OpenRouter; others
            if isinstance(message.get(key), str) and message[key]:
                thought += clean(message[key])
                break  # some send the same under two names
        calls = message.get("tool_calls")
        tools = [self._call(each) for each in calls if isinstance(each, dict)] if isinstance(calls, list) else []
        return Piece(text, tuple(tool for tool in tools if tool is not None), thought)

    def _call(self, piece: dict[str, Any]) -> ToolPiece | None:
        """A piece of a call, under an index of our own.

        Servers number calls (`index`), name them (`id`), do both, or neither (then each piece with a name is a new
        call), and some give every call the index 0 (Ollama did).
        """
        function = piece.get("function")
        function = function if isinstance(function, dict) else piece
        name, given, place = function.get("name"), function.get("arguments"), piece.get("index")
        call = piece.get("id")
        call, name = (clean(each[:MOST_NAME]) if isinstance(each, str) else "" for each in (call, name))
        arguments = given if isinstance(given, str) else "" if given is None else as_json(given)
        chosen = next((each for each in reversed(self._calls) if each.place == place), None)
        if chosen is not None and (
            (call and chosen.call and call != chosen.call)
            or (name and name != chosen.name and chosen.name)
            or (name and not call and (place is None or chosen.whole))
        ):
            chosen = None
        if chosen is None and place is None and not name:  # it goes on with the one it names, or the last
            chosen = next((each for each in reversed(self._calls) if not call or each.call == call), None)
        new = chosen is None
        if chosen is None:
            if len(self._calls) == MOST_CALLS:
                raise Failure("too_long", f"the model calls more than {MOST_CALLS} tools at once.")
            chosen = _Call(len(self._calls), place, call, name)
            self._calls.append(chosen)
        arguments = clean(arguments)
        chosen.arguments += arguments
        fresh_name = name if new or not chosen.name else ""
        chosen.name = chosen.name or name
        if not (new or fresh_name or arguments):
            return None
        shown = (chosen.call or f"call_{self._id}_{chosen.index}") if new else ""
        return ToolPiece(chosen.index, shown, fresh_name, arguments)


def decode(data: str | bytes) -> Any:
    """JSON to builtins. Raises `Failure` ("malformed")."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return json.loads(data)  # more tolerant: half a surrogate pair (JavaScript cuts strings so), NaN
    except (ValueError, RecursionError) as error:
        raise Failure("malformed", "the server sent broken JSON: what it meant cannot be told.") from error


def complaint(data: bytes) -> Any:
    """The body of an error: decoded, where it can be, or as text."""
    if data.lstrip()[:1] == b"<":
        return "a web page"
    try:
        return decode(data)
    except Failure:
        return data.decode(errors="replace")


def _content(content: Any) -> tuple[str, str]:
    """Text and thought of a content: a text, or a list of parts (Mistral)."""
    parts = content if isinstance(content, list) else [content]
    thoughts = [part.get("thinking") for part in parts if isinstance(part, dict) and part.get("type") == "thinking"]
    inner = [part for each in thoughts for part in (each if isinstance(each, list) else [each])]
    return _joined(parts), _joined(inner)


def _joined(parts: list[Any]) -> str:
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return clean("".join(text for text in texts if isinstance(text, str)))


def _count(value: Any, before: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else before

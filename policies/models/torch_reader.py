"""What a model of transformers generates, token by token, taken apart into text, thoughts and calls of tools.

By transformers' own `ResponseParser`: with the template that the tokenizer brings, or that transformers' own server has
for its kind, or else with the marks that most open models share (`<think>` and `<tool_call>`, as Qwen and Hermes).
"""

import copy
import importlib
import json
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from policies.models.answer import Piece
from policies.models.failures import Failure
from streams.types import ToolPiece

_MARKS: dict[str, Any] = {
    "start_anchor_pattern": r"\A",
    "fields": {
        "thinking": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"content": "text"},
    },
}
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")
_PART_OF_WORD = re.compile(r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U0010ffff]+\Z")
"""Letters at the end to which more may come; not of scripts that put no blanks between words."""


class Stopped(Exception):
    """No error: nobody wants to hear more."""


def parser(tokenizer: Any, model: Any, prompt: str, tools: list[Any]) -> Any:
    """A `ResponseParser` for the answer to `prompt`, which may begin the answer itself ("<think>")."""
    parsing = importlib.import_module("transformers.utils.chat_parsing")
    template = _template(tokenizer, model)
    if template is not None:
        return parsing.ResponseParser(template, prefix=prompt, tools=tools)
    marks = copy.deepcopy(_MARKS)
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special and str(token)]
    silent = [token for token in special if not re.fullmatch(r"</?(think|tool_call)>", token)]
    if silent:
        marks["fields"]["content"]["close"] = silent
    return parsing.ResponseParser(marks, prefix="<think>" if prompt.rstrip().endswith("<think>") else "", tools=tools)


def _template(tokenizer: Any, model: Any) -> Any:
    """The one that the tokenizer brings, or that transformers' own server has for this kind of model; None if none."""
    own = getattr(tokenizer, "response_template", None)
    if own is not None:
        return own
    try:
        return importlib.import_module("transformers.cli.serving.utils").get_response_template(tokenizer, model)
    except (ImportError, AttributeError):  # not a promised place: a later version may have it elsewhere
        return None


class Reader:
    """What `generate` gives its tokens to.

    tokens: so far;  calls: of tools, so far;  torn: why its last call cannot be read, where it broke off in one
    """

    def __init__(
        self, parser: Any, tokenizer: Any, id: int, told: Callable[[Piece], None], stop: threading.Event
    ) -> None:
        self.tokens: list[int] = []
        self.calls = 0
        self.torn: Failure | None = None
        self._parser, self._id, self._told, self._stop = parser, id, told, stop
        self._letters = tokenizer.backend_tokenizer
        self._decoded = importlib.import_module("tokenizers.decoders").DecodeStream([], skip_special_tokens=False)
        self._held = ""  # the beginning of a word
        self._prompt = True

    def put(self, value: Any) -> None:
        """The next token; first of all, the prompt."""
        if self._stop.is_set():
            raise Stopped
        if self._prompt:
            self._prompt = False
            return
        for token in value.reshape(-1).tolist():
            self.tokens.append(token)
            text = self._decoded.step(self._letters, token)
            self._told(self.read(text) if text else Piece())

    def read(self, text: str) -> Piece:
        """What the next text says. Raises `Failure`."""
        return self._apart(partial(self._parser.feed, text))

    def end(self) -> None:
        """There is no more."""
        try:
            piece = self._apart(self._rest)
        except Failure as failure:
            self.torn, piece = failure, Piece()
        self._told(piece + Piece(text=self._held))
        self._held = ""

    def _rest(self) -> Any:
        return self._parser.finalize()[1]

    def _apart(self, parse: Callable[[], Any]) -> Piece:
        try:
            events = parse()
        except ValueError as error:
            why = " ".join(str(error).split())
            raise Failure("malformed", f"the model calls a tool in words that cannot be read: {why}") from error
        piece = Piece()
        for event in events:
            field, text = event.get("field"), event.get("text", "")
            if event["type"] == "region_chunk" and not event.get("dirty") and field in _THOUGHTS:
                piece += Piece(thought=text)
            elif event["type"] == "region_chunk" and field == "content":
                piece += Piece(text=self._words(text))
            elif event["type"] == "region_close" and field == "content":
                piece, self._held = piece + Piece(text=self._held), ""
            elif event["type"] == "region_close" and field == "tool_calls":
                piece += Piece(tools=(self._call(event["value"]),))
        return piece

    def _words(self, text: str) -> str:
        text = self._held + text
        part = _PART_OF_WORD.search(text)
        self._held = part.group() if part else ""
        return text[: part.start()] if part else text

    def _call(self, value: Any) -> ToolPiece:
        function = value.get("function", value) if isinstance(value, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Failure("malformed", "the model calls a tool without a name.")
        given = function.get("arguments", function.get("parameters", {}))
        arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        self.calls += 1
        return ToolPiece(self.calls - 1, f"call_{self._id}_{self.calls - 1}", function["name"], arguments)

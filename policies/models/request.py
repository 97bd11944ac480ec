"""The body of a request for a chat completion, and what a server has turned out not to take. Pure."""

import re
from typing import Any

from policies.llm.settings import LlmConfig
from policies.models.failures import said

PICTURES = "pictures"
TOOLS = "tools"
_LENGTHS = ("max_tokens", "max_completion_tokens")  # old servers know the first, OpenAI's newer models the second
_NEEDED = frozenset({"model", "messages", "stream"})
_TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")
_REFUSING = frozenset({400, 404, 415, 422, 501})
_UNABLE = re.compile(
    r"not? support|n't support|unsupported|unknown|unrecogni[sz]ed|unexpected|extra (inputs|fields)|extra_forbidden"
    r"|not (permitted|allowed|enabled|implemented|available|a multimodal)|requires|instead|missing data|at most 0"
    r"|must be a string|mmproj|no endpoints",
    re.IGNORECASE,
)
_SURELY = re.compile(
    r"support|requires|missing data|mmproj", re.IGNORECASE
)  # of a 500, which llama.cpp and Ollama give
_PICTURE = re.compile(r"image|picture|vision|multi-?modal|mmproj|content must be a string", re.IGNORECASE)
_TOOL = re.compile(r"\btools?\b|function.?call|\bfunctions?\b", re.IGNORECASE)
_SCHEMA = re.compile(r"schema|\btools?[\[.]\d|function name|tool_call_id", re.IGNORECASE)


class Form:
    """What the requests to one server look like. It learns: `refused` is told what the server did not take.

    without: names of fields that are left out from now on, "tools", or "pictures"
    """

    def __init__(self, config: LlmConfig, host: str = "") -> None:
        self._config = config
        self._length = _LENGTHS[host == "api.openai.com"]
        self.without: set[str] = set()

    def body(self, request: dict[str, Any], model: str, picture: str = "") -> dict[str, Any]:
        """The JSON of a request: `request` goes before `extra` of the configuration, and that before the rest.

        picture: its data URI, for the last message of the user; "" for none
        """
        config = self._config
        body: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if not any(name in each for name in _LENGTHS for each in (config.extra, request)):
            body[self._length] = config.output_tokens
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.seed is not None:
            body["seed"] = config.seed
        body.update(config.extra)
        body.update(request)
        body["model"] = model
        body["stream"] = True
        if picture and PICTURES not in self.without:
            body["messages"] = shown(body.get("messages", []), picture)
        for name in self.without:
            body.pop(name, None)
        if not body.get("tools"):  # an empty list is refused by some
            for name in _TOOL_FIELDS:
                body.pop(name, None)
        for given, other in (_LENGTHS, _LENGTHS[::-1]):
            if given in body and given != self._length and given in self.without:
                body[other] = body.pop(given)
        return {name: value for name, value in body.items() if value is not None}

    def refused(self, status: int, answer: Any, sent: dict[str, Any], pictured: bool) -> tuple[str, bool] | None:
        """Which part of `sent` the server will not have, going by what it says; None if it is none that can go.

        answer: its decoded error;  pictured: a picture was in it
        Returns the name and whether it is left out for good (it is, in `without`) or only this once.
        """
        text = f"{said(answer)} {_param(answer)}"
        if status not in _REFUSING and status < 500:
            return None
        unable = bool((_UNABLE if status in _REFUSING else _SURELY).search(text))
        if pictured and _PICTURE.search(text):
            if unable:
                self.without.add(PICTURES)
            return PICTURES, unable
        if not unable:
            return None
        for name in sent if status in _REFUSING else ():
            if name in _NEEDED or name == TOOLS or not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
                continue
            if name in _LENGTHS:
                return self._other_length(name)
            self.without.add(name)
            return name, True
        if "tools" in sent and _TOOL.search(text) and not _SCHEMA.search(text):
            self.without.add(TOOLS)
            return TOOLS, True
        return None

    def _other_length(self, name: str) -> tuple[str, bool]:
        other = _LENGTHS[1 - _LENGTHS.index(name)]
        if other in self.without:  # it takes neither
            self.without.add(name)
        else:
            self._length = other
        self.without.add(name)
        return name, True


def shown(messages: list[Any], picture: str) -> list[Any]:
    """`messages` with a picture (data URI) at the end of the last one of the user; one is added if there is none."""
    part = {"type": "image_url", "image_url": {"url": picture}}
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content") or []
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
            return [*messages[:place], {**message, "content": [*parts, part]}, *messages[place + 1 :]]
    return [*messages, {"role": "user", "content": [part]}]


def _param(answer: Any) -> str:
    """The field that a server says is wrong: OpenAI's `param`, or pydantic's `loc`."""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    return str(error["param"]) if isinstance(error, dict) and error.get("param") else ""

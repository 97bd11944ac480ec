"""One question to a speech-to-speech model and its answer: from the server's events to pieces, sound and an end."""

import asyncio
import base64
import binascii
from typing import Any

import msgspec
import numpy as np

from policies.models.failures import short
from policies.models.realtime_heard import Heard, Sink, Sounds
from policies.models.realtime_settings import RATE, RealtimeModelConfig
from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Answered, Ask, Delta, ToolPiece

Event = dict[str, Any]

MOST_ITEMS = 32
"""Messages and calls of one answer."""
MOST_TEXT = 200_000
"""Letters of one answer, arguments of calls among them."""
_RATE_LIMITS = ("rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "billing_hard_limit_reached")
_EXPIRED = ("session_expired",)


class Exchange:
    """The answer to `ask`.

    response: the server's name of it, "" before it has begun;  over: resolved when the answer has ended
    error, detail: why it failed, "" if it did not;  finish: as in `Answered`
    """

    def __init__(
        self, ask: Ask, config: RealtimeModelConfig, publisher: Publisher, clock: Clock, sounds: Sounds, heard: Heard
    ) -> None:
        self.ask, self.response = ask, ""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error = self.detail = self.finish = self.model = ""
        self._config, self._publisher, self._clock, self._sounds, self._heard = config, publisher, clock, sounds, heard
        self._began = clock.now()
        self._first: int | None = None
        self._deltas = 0
        self._spoken: dict[tuple[str, int], tuple[str, Sink]] = {}  # by item and part
        self._told: set[str] = set()  # sounds that have begun
        self._samples: dict[str, int] = {}
        self._calls: dict[str, int] = {}  # item: its place
        self._argued: set[str] = set()  # calls whose arguments came in pieces
        self._usage: dict[str, Any] = {}
        self._letters = 0
        self.calls: list[str] = []  # the server's names of its calls

    @property
    def begun(self) -> bool:
        """A piece of the answer has come."""
        return self._first is not None

    def take(self, event: Event) -> None:
        """An event about this answer. What is not known is passed over, what is wrong ends it as "malformed"."""
        if self.over.done():
            return
        try:
            self._take(event)
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            self.fail("malformed", short(f"{event['type']} is not as it should be: {type(error).__name__} {error}"))

    def fail(self, error: str, detail: str) -> None:
        """It ends here. error: as in `Answered`"""
        if not self.over.done():
            self.error, self.detail = error, detail
            self._close(whole=False)
            self.over.set_result(None)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._close(whole=False)
        for name, _ in self._spoken.values():
            self._sounds.cancel(name)
        if not self.over.done():
            self.over.set_result(None)

    def answered(self) -> Answered:
        """What it came to."""
        usage = self._usage
        cached = usage.get("input_token_details")
        return Answered(
            finish=self.finish,
            model=self.model or self._config.model,
            input_tokens=_count(usage.get("input_tokens")),
            cached_tokens=_count(cached.get("cached_tokens")) if isinstance(cached, dict) else None,
            output_tokens=_count(usage.get("output_tokens")),
            first_ms=None if self._first is None else (self._first - self._began) / MS,
            whole_ms=(self._clock.now() - self._began) / MS,
            error=self.error,
        )

    # --- events

    def _take(self, event: Event) -> None:
        match event["type"]:
            case "response.output_audio.delta":
                self._sound(event)
            case "response.output_audio_transcript.delta":
                text = _text(event["delta"])
                self._sink(event)[1].say(text)
                self._publish(text=text)
            case "response.output_text.delta":
                self._publish(text=_text(event["delta"]))
            case "response.output_item.added" if event["item"].get("type") == "function_call":
                self._call(event["item"])
            case "response.function_call_arguments.delta":
                self._argued.add(event["item_id"])
                self._arguments(event["item_id"], event["delta"])
            case "response.output_item.done":
                self._item_done(event["item"])
            case "response.done":
                self._done(event["response"])

    def _sound(self, event: Event) -> None:
        samples = np.frombuffer(base64.b64decode(event["delta"], validate=True), "<i2").astype(np.int16)
        name, sink = self._sink(event)
        if not len(samples):
            return
        count = self._samples[name] = self._samples.get(name, 0) + len(samples)
        self._heard.sent(name, count * 1000 // RATE)
        sink.write(samples)
        if sum(self._samples.values()) > self._config.longest_s * RATE:
            self.fail("too_long", f"its answer is longer than {self._config.longest_s} s")
        elif name not in self._told:
            self._told.add(name)
            self._publish(sound=name)

    def _sink(self, event: Event) -> tuple[str, Sink]:
        key = (str(event["item_id"]), int(event.get("content_index", 0)))
        if key not in self._spoken:
            self._bound(len(self._spoken))
            name = f"answer {self.ask.id}.{len(self._spoken)}"
            self._spoken[key] = (name, self._sounds.begin(name, RATE))
            self._heard.began(name, self.ask.turn, *key)
        return self._spoken[key]

    def _call(self, item: Event) -> None:
        if item["id"] not in self._calls:
            self._bound(len(self._calls))
            self.calls.append(_text(item["call_id"]))
            self._calls[item["id"]] = place = len(self._calls)
            self._publish(tools=(ToolPiece(place, _text(item["call_id"]), _text(item["name"])),))

    def _arguments(self, item: str, piece: str) -> None:
        self._publish(tools=(ToolPiece(self._calls[item], arguments=_text(piece)),))

    def _item_done(self, item: Event) -> None:
        if item.get("type") == "function_call":
            self._call(item)
            if item["id"] not in self._argued:
                self._argued.add(item["id"])
                self._arguments(item["id"], item.get("arguments") or "{}")
        elif item.get("status") == "completed":
            for (name, _), (_, sink) in self._spoken.items():
                if name == item.get("id"):
                    sink.end()

    def _done(self, response: Event) -> None:
        self._usage = response.get("usage") or {}
        for item in response.get("output") or ():
            if item.get("status") == "completed":
                self._item_done(item)
        status, details = response.get("status"), response.get("status_details") or {}
        reason = details.get("reason") or ""
        if status == "completed":
            self.finish = "tool_calls" if self._calls else "stop"
        elif status == "incomplete":
            self.finish = "content_filter" if reason == "content_filter" else "length"
        else:
            wrong = details.get("error") or {}
            words = short(str(wrong.get("message") or reason or "no reason was given"))
            self.fail(kind_of(wrong), f"its answer ended as {short(str(status), 40)}: {words}")
            return
        self._close(whole=True)
        if not self.over.done():
            self.over.set_result(None)

    def _bound(self, items: int) -> None:
        if items >= MOST_ITEMS:
            raise ValueError(f"more than {MOST_ITEMS} items in one answer")

    def _close(self, *, whole: bool) -> None:
        for _, sink in self._spoken.values():
            sink.end(whole)

    def _publish(self, **what: Any) -> None:
        if self.over.done():
            return
        self._letters += len(what.get("text", "")) + sum(len(piece.arguments) for piece in what.get("tools", ()))
        if self._letters > MOST_TEXT:
            self.fail("too_long", f"its answer is longer than {MOST_TEXT} letters")
            return
        now = self._clock.now()
        self._first = now if self._first is None else self._first
        ask = self.ask
        delta = Delta(turn=ask.turn, id=ask.id, index=self._deltas, **what)
        self._deltas += 1
        self._publisher.publish(FEEDBACK, now, delta)


def kind_of(error: Event) -> str:
    """The kind of an error of the server, as in `Answered`."""
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    if code in _RATE_LIMITS or kind in _RATE_LIMITS:
        return "rate_limit"
    if code in _EXPIRED:
        return "closed"
    if kind == "invalid_request_error":
        return "refused"
    return "server"


def result(answered: Answered) -> Any:
    """As the result of an `Outcome`."""
    return msgspec.to_builtins(answered)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None

"""What stands between a session and a speech-to-speech model: a tap that hears for it, and keeps the books.

It sends the microphone's sound while somebody speaks, tells the server what was really heard, gives each event to the
answer it belongs to, and sees that there is never more than one answer at once.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from policies.models.realtime_ear import Ear, Resample
from policies.models.realtime_exchange import Exchange, kind_of
from policies.models.realtime_heard import Heard
from policies.models.realtime_line import Line
from policies.models.realtime_settings import RealtimeModelConfig
from streams.clock import Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import ACTION, AUDIO, FEEDBACK, TURN, Topic
from streams.types import Audio, Fault, Recovered, TurnCommitted, TurnDropped, TurnOpened

Event = dict[str, Any]

NAME = "realtime model"
_HARMLESS = ("response_cancel_not_active", "input_audio_buffer_commit_empty", "item_truncate_invalid_item_id")


class Lane(Protocol):
    """What a tap reads."""

    def __aiter__(self) -> "Lane": ...

    async def __anext__(self) -> Packet[Any]: ...


class RealtimeLink:
    """A tap (`streams.ports.Tap`). In virtual time there is no server, and no question is answered.

    resample: makes what changes the rate of sound (`streams.audio.resample.Resampler`)
    hears: CLEAN where an echo canceller writes it, else AUDIO (a topic nobody writes would never end)
    exchange: the question that is being answered;  publisher: set by whoever asks, for `Recovered`
    Making it raises `RealtimeSetupError` for a configuration that cannot work, and `DependencyMissing`.
    """

    name = NAME

    def __init__(self, config: RealtimeModelConfig, resample: Resample, hears: Topic[Audio] = AUDIO) -> None:
        self.config = config
        self.reads: tuple[Topic[Any], ...] = (hears, TURN, ACTION, FEEDBACK)
        self.line = Line(config, self)
        self.ear = Ear(config, resample, self.line.send)
        self.heard_of = Heard(self._truncate)
        self.exchange: Exchange | None = None
        self.publisher: Publisher | None = None
        self.late = 0  # events of answers that nobody wants any more
        self._report: Callable[[Fault], None] = lambda fault: None
        self._progress: Callable[[], None] = lambda: None
        self._open: set[str] = set()  # answers that the server is making
        self._unborn = 0  # answers asked for and no more wanted, of which the server has not told yet
        self._asked = False  # `exchange` has been sent, and its answer has no name yet
        self._calm = asyncio.Event()
        self._fresh = True  # the server knows nothing of the conversation
        self._calls: set[str] = set()
        self._settings: Event = {}
        self._told: set[str] = set()

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Hold the connection until the session ends."""
        self._report = report
        if clock.virtual:
            async for _ in lane:
                pass
            return
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self.line.keep(clock), name=NAME)
            try:
                async for packet in lane:
                    self._observe(packet)
            finally:
                keeping.cancel()

    def _observe(self, packet: Packet[Any]) -> None:
        match packet.data:
            case Audio():
                self.ear.hear(packet)
            case TurnOpened(turn=turn, start_ns=start):
                if start != packet.t:  # what is typed begins in the instant in which it is decided
                    self.ear.opened(turn, start)
            case TurnCommitted(turn=turn):
                self.ear.over(turn)
            case TurnDropped(turn=turn):
                self.ear.over(turn, dropped=True)
            case _:
                self.heard_of.observe(packet)

    # --- asking

    async def calm(self, seconds: float) -> bool:
        """Wait until the server makes no answer any more, `seconds` at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._calm.wait()
        except TimeoutError:
            return False
        return True

    def ask(self, exchange: Exchange, progress: Callable[[], None]) -> None:
        """Send a question. progress: called whenever a piece of the answer has come"""
        request, line, name = exchange.ask.request, self.line, f"ask {exchange.ask.id}"
        self.exchange, self._progress, line.busy = exchange, progress, True
        self._asked = False
        settings = {"instructions": request.get("instructions", ""), "tools": request.get("tools", [])}
        if settings != self._settings:
            self._settings = settings
            line.send({"type": "session.update", "event_id": f"{name} session",
                       "session": {"type": "realtime", **settings}})  # fmt: skip
        if self._fresh:
            self._fresh = False
            for each in request.get("history", ()):
                self._item(name, _message(each["role"], each["text"]))
        for output in request.get("outputs", ()):
            self._item(name, self._output(output))
        if not self._input(name, request):
            exchange.fail("refused", "the sound of what was said is gone, and nobody made out its words")
            return
        self._asked = True
        metadata = {"ask": str(exchange.ask.id)}
        line.send({"type": "response.create", "event_id": f"{name} create", "response": {"metadata": metadata}})

    def _input(self, name: str, request: Event) -> bool:
        """What the person said or wrote, if this is its first question. False if there is nothing of it."""
        text, span = request.get("text", ""), request.get("audio", [])
        if not text and span:
            if self.ear.deliver(int(request["turn"]), *span):
                return self.line.send({"type": "input_audio_buffer.commit", "event_id": f"{name} commit"})
            text = request.get("transcript", "")
            if not text:
                return False
        return not text or self._item(name, _message("user", text))

    def _output(self, output: Event) -> Event:
        """What became of a call; of one that another connection's server made: in words."""
        if output["call"] in self._calls:
            return {"type": "function_call_output", "call_id": output["call"], "output": output["output"]}
        return _message("system", f"(what {output['name']} returned: {output['output']})")

    def _item(self, name: str, item: Event) -> bool:
        return self.line.send({"type": "conversation.item.create", "event_id": f"{name} item", "item": item})

    def let_go(self, exchange: Exchange) -> None:
        """`exchange` is over, or nobody wants it any more: an answer that the server still makes is cancelled."""
        if self.exchange is not exchange:
            return
        self._calls.update(exchange.calls)
        self.exchange, self._progress, self.line.busy = None, lambda: None, False
        if exchange.response in self._open:
            self.line.send({"type": "response.cancel", "response_id": exchange.response})
        elif self._asked:
            self._unborn += 1
            self.line.send({"type": "response.cancel"})
        self._asked = False
        self._settle()

    def _truncate(self, item: str, content: int, ms: int) -> None:
        place = {"item_id": item, "content_index": content, "audio_end_ms": ms}
        self.line.send({"type": "conversation.item.truncate", **place})

    def _settle(self) -> None:
        self._calm.clear() if self._open or self._unborn else self._calm.set()

    # --- what the connection tells

    def opened(self) -> None:
        """See `Listener`."""
        self._begin()
        self.heard_of.generation = self.line.generation

    def closed(self, why: str) -> None:
        """See `Listener`."""
        self.heard_of.generation = -1
        if self.exchange is not None:
            self.exchange.fail("closed", why)
        self._begin()

    def _begin(self) -> None:
        self._open.clear()
        self._calls.clear()
        self._told.clear()
        self._unborn, self._asked, self._fresh, self._settings = 0, False, True, {}
        self.ear.forget()
        self._settle()

    def heard(self, event: Event) -> None:
        """See `Listener`."""
        kind = event["type"]
        if kind == "error":
            error = event.get("error")
            self._error(error if isinstance(error, dict) else {})
        elif kind.startswith("response."):
            self._response(kind, event)
        elif kind == "session.updated":
            self._updated(event)

    def garbled(self, why: str) -> None:
        """See `Listener`."""
        if self.exchange is not None:
            self.exchange.fail("malformed", why)
        else:
            self._fault("Malformed", why)

    def trouble(self, message: str) -> None:
        """See `Listener`."""
        self._report(Fault(NAME, "Unreachable", f"The speech-to-speech model is not there: {message}."))

    def well(self) -> None:
        """See `Listener`."""
        if self.publisher is not None:
            self.publisher.publish(FEEDBACK, self.clock_now(), Recovered(NAME, "the model is there again"))

    clock_now: Callable[[], int] = staticmethod(lambda: 0)

    def _fault(self, error: str, message: str) -> None:
        """Told once for each connection."""
        if error not in self._told:
            self._told.add(error)
            self._report(Fault(NAME, error, message))

    # --- events

    def _response(self, kind: str, event: Event) -> None:
        response = event.get("response")
        name = response.get("id") if isinstance(response, dict) else event.get("response_id")
        if not isinstance(name, str):
            self.garbled(f"its {kind} does not say which answer it belongs to")
            return
        if kind == "response.created":
            self._created(name, response.get("metadata") if isinstance(response, dict) else None)
        exchange = self.exchange
        if exchange is None or exchange.response != name:
            self.late += kind != "response.created"
        else:
            exchange.take(event)
            if exchange.begun:
                self._progress()
                self.line.prove()
        if kind == "response.done":
            self._open.discard(name)
            self._settle()

    def _created(self, name: str, metadata: Any) -> None:
        asked = metadata.get("ask") if isinstance(metadata, dict) else None
        self._open.add(name)
        exchange = self.exchange
        ours = exchange is not None and self._asked and asked in (None, str(exchange.ask.id))
        if exchange is not None and ours and not (asked is None and self._unborn):
            exchange.response, self._asked = name, False
        else:
            if self._unborn:
                self._unborn -= 1
            else:
                self._fault("Unasked", "The model began an answer that nobody asked for; it was cancelled.")
            self.line.send({"type": "response.cancel", "response_id": name})
        self._settle()

    def _error(self, error: Event) -> None:
        code = self.line.redacted(str(error.get("code") or error.get("type") or "error"))
        words = self.line.redacted(str(error.get("message") or "no reason"))
        about = str(error.get("event_id") or "").split()
        exchange = self.exchange
        if len(about) == 3 and about[0] == "ask":
            if exchange is not None and about[1] == str(exchange.ask.id):
                self._asked = self._asked and about[2] != "create"
                exchange.fail(kind_of(error), f"the server refuses it ({code}): {words}")
            elif about[2] == "create" and self._unborn:
                self._unborn -= 1
                self._settle()
        elif code in _HARMLESS:
            pass
        elif exchange is not None and (not exchange.begun or kind_of(error) in ("closed", "rate_limit")):
            exchange.fail(kind_of(error), f"the server tells of an error ({code}): {words}")
        else:
            self._fault(code[:100], f"The model's server tells of an error: {words}")

    def _updated(self, event: Event) -> None:
        try:
            detection = event["session"]["audio"]["input"].get("turn_detection")
        except (KeyError, TypeError, AttributeError):
            return
        if detection is not None:
            self._fault("TurnDetection", "The model's server ends turns by itself, though it was asked not to.")


def _message(role: str, text: str) -> Event:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}

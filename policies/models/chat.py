"""A language model on a server that speaks OpenAI's chat completions: Ollama, llama.cpp, vLLM, LM Studio, the cloud.

An `Ask` becomes a streamed request; what comes back is told as `Delta`s, and how it ended as the `Outcome`. The shape
of requests is in `request.py`, of answers in `answer.py`; connections are in `endpoint.py`, time-outs in `waiting.py`.
"""

import asyncio
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from policies.llm.settings import LlmConfig
from policies.models.answer import complaint, decode
from policies.models.endpoint import Endpoint, EndpointError
from policies.models.failures import Failure, of_status, short
from policies.models.pictures import Pictures
from policies.models.question import Question
from policies.models.request import PICTURES, TOOLS, Form
from policies.models.shown import Shown
from policies.models.sse import Events
from policies.models.waiting import Waiting
from streams.clock import MS, Clock
from streams.packet import Packet
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Ask, Fault, Image, Outcome

__all__ = ["ChatModel", "EndpointError"]

PATH = "/chat/completions"
BACKOFF_MS = 150
"""Before the second attempt; twice that before the third, and so on."""
MOST_BYTES = 16 << 20  # of one answer, as sent
MOST_COMPLAINT = 64 << 10  # of the body of an error
CHARACTERS = 24  # of an answer per token it may have, at most; more means that the server does not heed the bound
SPARE = 20_000
DROPS = 8  # attempts at most that leave something out


class _LeftOut(Exception):
    """The server refused a part of the request that can be left out: another attempt, at once."""


class ChatModel:
    """`embodied.ports.Actuator` for `Ask`. Made inside the running loop, in real time; must be closed.

    Every end is an `Outcome`, whose `result` is an `Answered`: "done", also for an answer that a filter or the number
    of tokens ended (`finish` says so); "timeout" and "failed" with the kind in `Answered.error`; "cut" when it was
    cancelled: the connection is closed at once, and nothing more is read or told. It is asked again only before the
    first piece of an answer. Calls of tools in `Delta`s are whole only when the `Outcome` is "done".

    What a server refuses to take (tools, pictures, a field) is left out from then on, told once by a `Fault`.
    Several questions at once are several connections. Keys come from the environment and go nowhere but to the server.

    Raises `EndpointError` for an address or key that cannot be used, and where time is virtual.
    """

    name = "model"
    accepts: tuple[type, ...] = (Ask,)

    def __init__(self, config: LlmConfig, publisher: Publisher, clock: Clock, pictures: Pictures | None = None) -> None:
        if clock.virtual:
            raise EndpointError(
                f"{config.engine}: a server does not keep virtual time; run live, or replay a recording."
            )
        self._publisher = publisher
        self._clock = clock
        self._pictures = pictures
        self._endpoint = Endpoint(config, clock)
        self._config = config = replace(config, url=str(self._endpoint))  # nothing else need know a password
        self._form = Form(config, self._endpoint.host)
        self._shown = Shown(clock, config.picture_px)
        self._model = config.model
        self._told: set[str] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"ChatModel({self._model or 'the first model'!r} at {self._endpoint})"

    @property
    def url(self) -> str:
        """The server's address, as it may be shown."""
        return str(self._endpoint)

    @property
    def key_env(self) -> str:
        """The environment variable that its key is from, or would be."""
        return self._endpoint.key_env

    def redacted(self, text: str) -> str:
        """`text` without what is secret."""
        return self._endpoint.redacted(text)

    async def models(self) -> list[str]:
        """The names of the models that the server lists. Raises `Failure`; waits as long as the server does."""
        return await self._endpoint.models()

    async def warm(self) -> bool:
        """Connect, so that the first question need not, and see which models there are; False if that failed.

        Takes at most `connect_ms` and `first_token_ms` together. Raises nothing but cancellation.
        """
        try:
            async with asyncio.timeout((self._config.connect_ms + self._config.first_token_ms) / 1000):
                names = await self._endpoint.models()
        except (Failure, TimeoutError):
            return False
        self._model = self._model or (names[0] if names else "")
        return True

    async def perform(self, action: Action) -> Outcome:
        """Ask, and tell the answer as it comes. Cancelling closes the connection at once and returns "cut"."""
        if not isinstance(action, Ask):
            raise TypeError(f"a model takes Ask, not {type(action).__name__}")
        most = CHARACTERS * self._config.output_tokens + SPARE
        question = Question(action, self._publisher, self._clock, most, self._model)
        try:
            await self._answered(question)
        except asyncio.CancelledError:
            return question.cut()
        except Failure as failure:
            return question.failed(failure, self._endpoint.redacted(str(failure)))
        return question.done()

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels the questions that a cut ends (`on_cut`)."""

    def pause(self, turn: int) -> None:
        """Nothing: an answer that is not listened to may go on."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: a question is not a motion. The end of the session cancels it."""

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        self._closed = True
        self._shown.close()
        await self._endpoint.aclose()

    # --- attempts

    async def _answered(self, question: Question) -> None:
        """Ask until there is an answer. Raises `Failure`."""
        config, clock = self._config, self._clock
        picture = await self._picture(question.ask)
        backoff = BACKOFF_MS * MS
        while True:
            question.begin()
            try:
                await self._attempt(question, picture)
                return
            except _LeftOut:
                question.drops += 1
                if PICTURES in self._form.without or question.image is None:
                    picture = None
                continue
            except Failure as failure:
                if question.begun or not failure.again or self._closed:
                    raise
                if question.attempts - question.drops >= config.attempts:
                    raise
                wait = backoff if failure.retry_after_ms is None else round(failure.retry_after_ms * MS)
                if clock.now() + wait >= question.asked + config.first_token_ms * MS:
                    raise
            await clock.sleep_until(clock.now() + wait)
            backoff *= 2

    async def _attempt(self, question: Question, picture: tuple[int, str] | None) -> None:
        """Ask once. Raises `Failure`, or `_LeftOut`."""
        endpoint = self._endpoint
        async with Waiting(self._config, self._clock, question.asked) as waiting:
            if not self._model:
                self._model = await self._first_model()
            question.model = self._model
            question.image = picture[0] if picture else None
            body = self._form.body(question.ask.request, self._model, picture[1] if picture else "")
            async with endpoint.posted(PATH, body, waiting.connected) as response:
                waiting.connected()
                if not 200 <= response.status_code < 300:
                    raise await self._refusal(response, question, body)
                await self._read(response, question, waiting)

    async def _read(self, response: Any, question: Question, waiting: Waiting) -> None:
        """Read an answer to its end. Raises `Failure`."""
        answer, events = question.answer, Events()
        head, size = b"", 0
        streamed: bool | None = None  # its first byte says so: what the headers say is not to be relied on
        async with aclosing(self._endpoint.bytes(response)) as body:
            async for data in body:
                size += len(data)
                if size > MOST_BYTES:
                    raise Failure("too_long", f"the answer is longer than {MOST_BYTES} bytes.")
                if not streamed:
                    head += data
                    start = head.lstrip()[:1]
                    if start and streamed is None:
                        streamed = start not in (b"{", b"[", b"<")
                    if streamed:
                        self._take(events.push(head), question, waiting)
                else:
                    self._take(events.push(data), question, waiting)
        if streamed:
            self._take(events.flush(), question, waiting)
            if not events.seen:
                raise Failure("malformed", f"{self._endpoint} answers with something that is no stream of events.")
        elif head.strip():
            question.heard(answer.object(_whole(head, str(self._endpoint))))
        if not answer.finish:
            raise Failure("closed", "the server ended its answer before it was finished.")

    def _take(self, events: list[str], question: Question, waiting: Waiting) -> None:
        answer = question.answer
        for event in events:
            if answer.ended:
                return
            piece = answer.event(event)
            if piece:
                waiting.token()
                question.heard(piece)
        if answer.finish:
            waiting.finished(answer.ended)

    # --- what a server refuses

    async def _refusal(self, response: Any, question: Question, body: dict[str, Any]) -> Exception:
        """What an answer other than 200 comes to: a `Failure`, or `_LeftOut` with what the server will not have."""
        endpoint, status = self._endpoint, response.status_code
        if status < 400:
            return endpoint.elsewhere(response, PATH)
        text = await endpoint.text(response, MOST_COMPLAINT)
        told = complaint(endpoint.redacted(text.decode(errors="replace")).encode())
        if question.drops < DROPS:
            left = self._form.refused(status, told, body, question.image is not None)
            if left is not None:
                name, for_good = left
                if name == PICTURES:
                    question.image = None
                if for_good:
                    self._tell_once(name, _without(name))
                return _LeftOut()
        failure = of_status(status, response.headers, told, self._clock.wall(self._clock.now()))
        whole = f"{str(failure).rstrip('.')}{await self._hint(status)}"
        return Failure(failure.kind, whole, retry_after_ms=failure.retry_after_ms, again=failure.again)

    async def _hint(self, status: int) -> str:
        """What to do about it."""
        if keyed := self._endpoint.keyed(status):
            return keyed
        if status != 404:
            return "."
        try:
            async with asyncio.timeout(self._config.connect_ms / 1000):
                names = await self._endpoint.models()
        except (Failure, TimeoutError):
            return f"; {self._endpoint} lists no models either: does llm.url lack /v1 at its end?"
        if self._model in names:
            return "."
        listed = ", ".join(short(name, 60) for name in names[:8]) or "(none)"
        return f"; there are the models {listed}: take one of them by --model."

    async def _first_model(self) -> str:
        names = await self._endpoint.models()
        if not names:
            raise Failure("refused", f"{self._endpoint} lists no models: name one by --model.")
        return names[0]

    def _tell_once(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            fault = Fault(self.name, "NotSupported", f"{self._model} at {self._endpoint} {message}")
            self._publisher.publish(FEEDBACK, self._clock.now(), fault)

    # --- pictures, and the end

    async def _picture(self, ask: Ask) -> tuple[int, str] | None:
        """`seq` and data URI of the newest picture, if one is wanted, fresh and can be shown."""
        if not ask.picture_ns or self._pictures is None or PICTURES in self._form.without:
            return None
        newest: Packet[Image] | None = self._pictures.newest
        if newest is None or self._clock.now() - newest.t > ask.picture_ns:
            return None
        uri = await self._shown.uri(newest)
        return (newest.seq, uri) if uri else None


def _whole(head: bytes, where: str) -> Any:
    """A body that is no stream of events, decoded. Raises `Failure` ("malformed")."""
    if head.lstrip()[:1] == b"<":
        raise Failure("malformed", f"{where} answers with a web page: does llm.url lack /v1 at its end?", again=False)
    return decode(head)


def _without(name: str) -> str:
    told = {
        TOOLS: "takes no tools: it is asked without, and can only talk.",
        PICTURES: "takes no pictures: it is asked without, and cannot see.",
    }
    return told.get(name, f"does not take {name!r}: it is left out from now on.")

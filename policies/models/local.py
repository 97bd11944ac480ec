"""A language model in this process, on torch: for those with a GPU, or with a small model.

Needs the packages torch and transformers. Nothing is fetched: the model is a folder, or in the local cache.
"""

import asyncio
import importlib.util
import threading
from pathlib import Path
from typing import Any

import msgspec

from policies.llm.settings import LlmConfig
from policies.models.answer import Piece
from policies.models.failures import Failure
from policies.models.pictures import Pictures
from policies.models.torch_text import Count, Kept, LocalModelError, Question, TextModel, located, shared
from policies.models.waiting import Waiting
from streams.clock import MS, Clock
from streams.errors import DependencyMissing
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Answered, Ask, Delta, Fault, Outcome
from streams.worker import Worker

__all__ = ["LocalModel", "LocalModelError", "checked"]

_EXTRA = ("chat_template_kwargs", "min_p", "repetition_penalty", "top_k", "top_p")
_COLD = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}


def checked(config: LlmConfig) -> str:
    """The folder or name of the model of `config`; nothing is loaded. Raises as `LocalModel` does."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise DependencyMissing(package, "transformers", "a language model in this process", "llm.engine=openai")
    if unknown := sorted(set(config.extra) - set(_EXTRA)):
        known = ", ".join(_EXTRA)
        raise LocalModelError(f"llm.extra has {unknown[0]!r}: a model in this process knows only {known}.")
    return located(config.model)


class LocalModel:
    """`embodied.ports.Actuator` for `Ask`: a language model of transformers, which thinks in a thread of its own.

    config: `model` is a folder, or a name in the local cache of Hugging Face. Of `extra` it knows
        `chat_template_kwargs` (such as {"enable_thinking": false}), `top_p`, `top_k`, `min_p` and
        `repetition_penalty`. `connect_ms`, `attempts` and `broken_after` have no meaning here.

    Sessions with the same model share it, and it answers one question after the other. What it has read of the
    conversation is kept for the next question (`Answered.cached_tokens`). In virtual time answers take no time.
    Pictures, and tools where the chat template has no place for them, are left out, told once by a `Fault`.
    Raises `DependencyMissing`, and `LocalModelError` where there is no such model.
    """

    name = "model"
    accepts: tuple[type, ...] = (Ask,)

    def __init__(self, config: LlmConfig, publisher: Publisher, clock: Clock, pictures: Pictures | None = None) -> None:
        self._place = checked(config)
        folder = Path(self._place)
        self._called = folder.resolve().name if folder.is_dir() else self._place  # no path goes into recordings
        self._config = config
        self._publisher = publisher
        self._clock = clock
        self._pictures = pictures
        self._worker = Worker(clock, "model")
        self._model: TextModel | None = None
        self._kept = Kept()
        self._stops: set[threading.Event] = set()
        self._told: set[str] = set()

    async def warm(self) -> bool:
        """Load the model, which takes seconds; else the first question waits for it. False, and a `Fault`, if it cannot
        be loaded. On cancellation it is loaded all the same."""
        try:
            await self._loaded()
        except LocalModelError as error:
            self._tell_once(type(error).__name__, str(error))
            return False
        return True

    async def _loaded(self) -> TextModel:
        if self._model is None:
            await self._worker.work(0, self._load)
        model = self._model
        assert model is not None
        return model

    def _load(self) -> None:
        self._model = self._model or shared(self._place, self._called)

    async def perform(self, action: Action) -> Outcome:
        """Answer an `Ask`. Cancelling ends it as "cut" at once; the model stops within a layer."""
        if not isinstance(action, Ask):
            raise TypeError(f"a model takes Ask, not {type(action).__name__}")
        answering = _Answering(action, self._called, self._publisher, self._clock)
        stop = threading.Event()
        self._stops.add(stop)
        try:
            model = await self._awaited()
            question = self._question(action, model)
            # a summary reads everything anew, so as not to push the conversation out of what is kept
            kept = Kept() if action.purpose == "summary" else self._kept
            async with Waiting(self._config, self._clock, self._clock.now()) as waiting:
                waiting.connected()
                await answering.hear(self._worker, model, question, kept, stop, waiting)
        except asyncio.CancelledError:
            return answering.outcome("cut", "it was cut")
        except Failure as failure:
            return answering.outcome("timeout" if failure.timeout else "failed", str(failure), failure.kind)
        finally:
            stop.set()
            self._stops.discard(stop)
        long = answering.count.finish == "length"
        return answering.outcome("done", "it came to its greatest length (llm.output_tokens)" if long else "")

    async def _awaited(self) -> TextModel:
        """The model, once it is loaded: that does not count as its own time to think. Raises `Failure`."""
        limit = self._clock.deadline(self._clock.now() + self._config.whole_ms * MS)
        try:
            async with asyncio.timeout_at(limit):
                return await self._loaded()
        except TimeoutError as error:
            message = f"{self._called} was not loaded within {self._config.whole_ms} ms (llm.whole_ms)."
            raise Failure("first_token", message, timeout=True) from error
        except LocalModelError as error:
            raise Failure("refused", str(error)) from error

    def _question(self, ask: Ask, model: TextModel) -> Question:
        request, config, settings = ask.request, self._config, dict(self._config.extra)
        chat = {**settings.pop("chat_template_kwargs", {}), **request.get("chat_template_kwargs", {})}
        most = request.get("max_completion_tokens") or request.get("max_tokens")
        settings["max_new_tokens"] = most or config.output_tokens
        warmth = request.get("temperature", config.temperature)
        if warmth is not None:
            settings.update({"do_sample": True, "temperature": warmth} if warmth > 0 else _COLD)
        tools = [] if request.get("tool_choice") == "none" else request.get("tools") or []
        if tools and not model.takes_tools:
            tools = []
            self._tell_once("NotSupported", f"{self._called} takes no tools: it is asked without, and can only talk.")
        if ask.picture_ns and self._pictures is not None and self._pictures.newest is not None:
            self._tell_once("NotSupported", f"{self._called} takes no pictures: it is asked without, and cannot see.")
        messages = request.get("messages") or []
        return Question(ask.id, messages, tools, settings, request.get("seed", config.seed), chat)

    def _tell_once(self, error: str, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._publisher.publish(FEEDBACK, self._clock.now(), Fault(self.name, error, message))

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels the questions that a cut ends (`on_cut`)."""

    def pause(self, turn: int) -> None:
        """Nothing: an answer that is not listened to may go on."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: a question is not a motion. The end of the session cancels it."""

    async def aclose(self) -> None:
        """Stop thinking, and let the model go: its memory is free once no session holds it. Idempotent."""
        for stop in self._stops:
            stop.set()
        await self._worker.aclose()
        self._model, self._kept = None, Kept()


class _Answering:
    """One answer on its way. count: what came of it, once it has ended"""

    def __init__(self, ask: Ask, name: str, publisher: Publisher, clock: Clock) -> None:
        self.count = Count("", None, None, None)
        self._ask, self._name, self._publisher, self._clock = ask, name, publisher, clock
        self._asked = clock.now()
        self._first: int | None = None
        self._index = 0

    async def hear(
        self, worker: Worker, model: TextModel, question: Question, kept: Kept, stop: threading.Event, waiting: Waiting
    ) -> None:
        """Have the question answered, and publish what comes: one `Delta` for what is there when it is looked."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()  # at most as many as there may be tokens

        def told(piece: Piece) -> None:  # called in the thread
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def ended(done: "asyncio.Future[Count]") -> None:
            if not done.cancelled():
                done.exception()  # looked at, also where nobody waits any more
            pieces.put_nowait(None)

        thinking = worker.begin(model.answer, question, kept, told, stop)
        thinking.add_done_callback(ended)
        try:
            each: Piece | None = Piece()
            while each is not None:
                each = await pieces.get()
                piece = Piece()
                while each is not None:
                    waiting.token()  # also one that says nothing by itself: it lives
                    piece += each
                    if pieces.empty():
                        break
                    each = pieces.get_nowait()
                if piece:
                    self._publish(piece)
            self.count = await thinking
        finally:
            thinking.cancel()  # one that has not begun never will

    def _publish(self, piece: Piece) -> None:
        now = self._clock.now()
        self._first = now if self._first is None else self._first
        delta = Delta(self._ask.turn, self._ask.id, self._index, piece.text, piece.tools, piece.thought)
        self._publisher.publish(FEEDBACK, now, delta)
        self._index += 1

    def outcome(self, status: Any, detail: str, error: str = "") -> Outcome:
        """How it ended."""
        count = self.count
        answered = Answered(
            finish=count.finish,
            model=self._name,
            input_tokens=count.input_tokens,
            cached_tokens=count.cached_tokens,
            output_tokens=count.output_tokens,
            first_ms=None if self._first is None else (self._first - self._asked) / MS,
            whole_ms=(self._clock.now() - self._asked) / MS,
            error=error,
        )
        ask = self._ask
        return Outcome(ask.turn, ask.id, "Ask", self._name, status, detail, msgspec.to_builtins(answered))

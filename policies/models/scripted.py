"""A model that answers what it was told to, at the pace it was told to: for tests, examples and demonstrations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Answered, Ask, Delta, Outcome, ToolPiece


class Tokens(Struct, frozen=True):
    """An answer: `text` token by token, then `calls`.

    first_ms: until the first token;  each_ms: from one to the next
    calls: (tool, arguments) of each;  fails: ends so ("" = well), after the text, as `Answered.error`
    """

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    first_ms: float = 200.0
    each_ms: float = 20.0
    fails: str = ""


Script: TypeAlias = "Sequence[Tokens | str] | Mapping[str, Tokens | str] | Callable[[Ask], Tokens | str]"


class ScriptedModel:
    """`embodied.ports.Actuator` for `Ask`: a double of a language model, on the session's clock.

    script: answers one after the other, or by the text of the newest message of the user, or of a function of the
        `Ask`; where there is none, the answer is empty
    asked: the questions, for assertions
    """

    name = "scripted model"
    accepts: tuple[type, ...] = (Ask,)

    def __init__(self, script: Script, publisher: Publisher, clock: Clock) -> None:
        self.asked: list[Ask] = []
        self._script = script
        self._publisher = publisher
        self._clock = clock

    async def perform(self, action: Action) -> Outcome:
        """Answer. Cancelling ends it at once."""
        if not isinstance(action, Ask):
            raise TypeError(f"a model takes Ask, not {type(action).__name__}")
        answer = self._answer(action)
        self.asked.append(action)
        begun = self._clock.now()
        due, first = begun + round(answer.first_ms * MS), None
        pieces = [Delta(action.turn, action.id, n, text=token) for n, token in enumerate(tokens(answer.text))]
        for place, (name, arguments) in enumerate(answer.calls):
            call = ToolPiece(place, f"call_{action.id}_{place}", name, msgspec.json.encode(arguments).decode())
            pieces.append(Delta(action.turn, action.id, len(pieces), tools=(call,)))
        for piece in pieces:
            await self._clock.sleep_until(due)
            first = self._clock.now() if first is None else first
            self._publisher.publish(FEEDBACK, self._clock.now(), piece)
            due += round(answer.each_ms * MS)
        if not pieces:
            await self._clock.sleep_until(due)
        came = Answered(
            finish="" if answer.fails else "tool_calls" if answer.calls else "stop",
            model=self.name,
            input_tokens=len(msgspec.json.encode(action.request)) // 4,
            output_tokens=len(pieces),
            first_ms=None if first is None else (first - begun) / MS,
            whole_ms=(self._clock.now() - begun) / MS,
            error=answer.fails,
        )
        result = msgspec.to_builtins(came)
        if answer.fails:
            return Outcome(action.turn, action.id, "Ask", self.name, "failed", f"by the script: {answer.fails}", result)
        return Outcome(action.turn, action.id, "Ask", self.name, "done", "", result)

    def _answer(self, ask: Ask) -> Tokens:
        script: Any = self._script
        if callable(script):
            found = script(ask)
        elif isinstance(script, Mapping):
            found = script.get(asked(ask), "")
        else:
            found = script[len(self.asked)] if len(self.asked) < len(script) else ""
        return Tokens(found) if isinstance(found, str) else found

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels what asked for it."""

    def pause(self, turn: int) -> None:
        """Nothing: a model may go on thinking."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: an answer is not a motion."""

    async def aclose(self) -> None:
        """Nothing to give back."""


def asked(ask: Ask) -> str:
    """The text of the newest message of the user."""
    for message in reversed(ask.request.get("messages", [])):
        if message.get("role") == "user":
            content = message.get("content", "")
            return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    return ""


def tokens(text: str) -> list[str]:
    """`text` in pieces of the size of tokens: a word with the blank before it."""
    pieces: list[str] = []
    for word in text.split(" "):
        pieces.append(word if not pieces else f" {word}")
    return pieces if text else []

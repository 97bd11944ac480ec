"""For a policy of one's own that asks a model: the half of it that listens to the answers."""

from collections.abc import AsyncGenerator
from typing import Any

from policies.errors import ModelUnavailable
from policies.llm.answer import Answer, Bell
from policies.llm.speakable import Speakable
from policies.ports import Policy
from streams.packet import Packet
from streams.types import Ask, Delta, Outcome, Say


class Asking(Policy):
    """Inherit from it, yield an `Ask` in `reply`, and then all that `self.answer()` gives.

    A subclass that observes for itself calls `super().observe(packet)`.
    """

    language = "en"

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}
        self._newest: Answer | None = None
        self._bell = Bell()

    def observe(self, packet: Packet[Any]) -> None:
        """Take note of questions and answers."""
        match packet.data:
            case Ask() as ask:
                self._newest = self._answers[ask.id] = Answer(ask)
            case Delta(id=number) as delta if number in self._answers:
                self._answers[number].feed(delta)
            case Outcome(action="Ask", id=number) as outcome if number in self._answers:
                self._answers.pop(number).end(outcome)
        self._bell.ring()

    async def answer(self) -> AsyncGenerator[Say, None]:
        """The answer to the newest question, clause by clause as it comes.

        Raises `ModelUnavailable` at the end of one that failed, which is told as a `Fault`.
        """
        answer = self._newest
        if answer is None:
            raise RuntimeError("yield an Ask before you wait for its answer")
        speech = Speakable(self.language)
        while True:
            pieces = [*speech.push(answer.take()), *(speech.finish() if answer.whole else ())]
            for piece in pieces:
                if piece.text:
                    yield Say(piece.text, pace=piece.pace, tone=piece.tone)
            if answer.over:
                break
            await self._bell.wait()
        if not answer.whole and answer.outcome is not None:
            raise ModelUnavailable(f"the language model did not answer: {answer.outcome.detail}")

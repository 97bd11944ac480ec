"""A policy of one's own in some lines: a quiz master. Here its player types; `AudioFile` or `Microphone` do as well."""

from collections.abc import AsyncGenerator

from agent import assembly, config
from agent.session import Log
from policies.ports import Policy
from streams.devices.lines import Lines
from streams.types import Action, Outcome, Say, TurnCommitted

QUESTIONS = (("What is the capital of France?", "paris"), ("How many legs has a spider?", "eight"))


class QuizMaster(Policy):
    """It must answer the same packets with the same actions: then every game can be replayed."""

    asked = points = 0

    async def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """Judge the answer, then ask the next question. Cancelled at once when the player interrupts."""
        if self.asked:
            right = QUESTIONS[self.asked - 1][1] in turn.text.lower()
            self.points += right
            yield Say("Right!" if right else "I am afraid not.")
        if self.asked < len(QUESTIONS):
            yield Say(QUESTIONS[self.asked][0])
        else:
            yield Say(f"That was all. Points: {self.points}.")
        self.asked += 1


settings, log = config.load(), Log()
game = Lines(["let us play", "it is Paris", "six"])
assembly.assemble(settings, [game], policy=QuizMaster(), taps=[log]).run(speed=None)
for outcome in log.of(Outcome):
    print(outcome.turn, outcome.result)  # what was heard

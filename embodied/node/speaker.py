"""A simulated loudspeaker: says words one after the other at a speaker's pace, and knows which have been heard."""

from collections.abc import Callable
from typing import Any

from embodied.node.driver import Task
from embodied.robot.vocabulary import SECOND

PAUSE_S, LETTER_S = 0.08, 0.06  # of each word, and for each of its letters: some 150 words a minute


class Speaker:
    """The goal `say` {"text"}. heard: told each word when it has been said whole

    The result is {"words": n}, those said whole; the same is the feedback. Cancelled, it is silent at once, and the
    word under way does not count. Paused, it begins that word again.
    """

    def __init__(self, heard: Callable[[str], None] = lambda word: None) -> None:
        self._heard = heard

    async def say(self, task: Task) -> Any:
        """Say `task.command.args["text"]`."""
        words = str(task.command.args["text"]).split()
        task.result = {"words": 0}
        for n, word in enumerate(words):
            task.progress(n / len(words), task.result)
            await self._one(task, PAUSE_S + LETTER_S * len(word))
            self._heard(word)
            task.result = {"words": n + 1}
        return task.result

    async def _one(self, task: Task, seconds: float) -> None:
        before = task.now
        left = round(seconds * SECOND)
        while left > 0:
            await task.step()
            passed = task.now - before
            left = left - passed if passed <= SECOND // 10 else round(seconds * SECOND)
            before = task.now

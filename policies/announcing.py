"""What is said before a motion, and taken back when the motion is not begun: nobody hears of what does not happen.

The words go out together with the motion, for to wait until a body agrees would cost every motion its first moment. A
body that refuses does so within milliseconds, mostly before the voice has begun. So the reply stays until either is
over: the words have been heard, or the motion has ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Any

from streams.types import Action, Command, Outcome, Say, Withdraw


class Announcements:
    """Those of the reply to `turn`. Feed it all that is observed.

    texts: what is said right before motions: another text that happens to stand there is left alone
    """

    def __init__(self, turn: int, texts: Collection[str]) -> None:
        self.turn = turn
        self._texts = texts
        self._said = 0  # the newest Say of the turn, 0 = none that stands right before a motion
        self._open: dict[int, int] = {}  # number of the motion: that of the Say which announces it
        self._untrue: list[tuple[int, Outcome]] = []
        self._changed: asyncio.Future[None] | None = None

    def feed(self, data: Any) -> bool:
        """Take it in. True: it is the end of a motion that is still being announced, and the reply tells of it."""
        match data:
            case Say(turn=self.turn, text=text, id=number):
                self._said = number if text in self._texts else 0
            case Command(turn=self.turn, id=number):
                if self._said:
                    self._open[number] = self._said
                self._said = 0
            case Outcome(action="Say", id=number):
                self._open = {motion: said for motion, said in self._open.items() if said != number}
            case Outcome(action="Command", id=number) if number in self._open:
                said = self._open.pop(number)
                if data.status == "done":
                    return False
                self._untrue.append((said, data))
            case _:
                return False
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        return isinstance(data, Outcome) and data.action == "Command"

    async def carry(self, actions: Sequence[Action], told: Callable[[Outcome], str]) -> AsyncGenerator[Action, None]:
        """`actions`, one by one; then, for each announcement that turns out untrue, that it is taken back, and why.

        told: what is to be said of such an end, "" = nothing. May be cancelled: nothing more is said then.
        """
        for action in actions:
            yield action
        while self._open or self._untrue:
            while self._untrue:
                said, outcome = self._untrue.pop(0)
                yield Withdraw(said, f"the motion is {outcome.status}")
                if text := told(outcome):
                    yield Say(text)
            if self._open:
                self._changed = asyncio.get_running_loop().create_future()
                await self._changed

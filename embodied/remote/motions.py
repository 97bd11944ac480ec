"""The motions of one agent on one robot, whoever of its actuators carries them out: one turn's after the other.

A motion of a newer turn ends what older turns have under way at the *other* actuators on the same resources: an arm may
wave while the base drives. Within one actuator the robot itself says how a newer one replaces an older, which may be
smoother: it turns its speed round and does not rest first.
"""

import asyncio
from collections.abc import Callable, Collection


class Motion:
    """One motion. turn: whose wish;  ended: a newer one has taken its place: it may not begin any more"""

    def __init__(
        self, turn: int, by: object, end: Callable[[], None], before: "Motion | None", resources: Collection[str]
    ) -> None:  # fmt: skip
        self.turn, self.by, self.end = turn, by, end
        self.resources = frozenset(resources)
        self.ended = False
        self.number = 0  # in the order of their beginning; 0 = it has not begun
        self._before = before
        self._done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def its_turn(self) -> bool:
        """Wait until the motion before it in its turn is over. False: that one did not come to its end meanwhile."""
        before, self._before = self._before, None
        return before is None or before._done.done() or await asyncio.shield(before._done)

    def shares(self, other: "Motion") -> bool:
        """Whether both use a resource. Where it is not known what one uses, it is all."""
        return not self.resources or not other.resources or not self.resources.isdisjoint(other.resources)

    def over(self, done: bool) -> None:
        """Nobody carries it out any more. done: it came to its end"""
        if not self._done.done():
            self._done.set_result(done)


class Motions:
    """All of them that wait or are under way. `line_up` at first, `begin` before anything is sent, `over` at last."""

    def __init__(self) -> None:
        self._current: list[Motion] = []
        self._last: Motion | None = None
        self._begun = 0

    def __len__(self) -> int:
        return len(self._current)

    def line_up(
        self, turn: int, by: object, end: Callable[[], None], resources: Collection[str] = ()
    ) -> Motion:  # fmt: skip
        """One more, behind the others of its turn.

        by: the actuator;  end: called at once when a newer motion takes its place: it may not wait or raise
        resources: of the robot that it uses;  none: not known, so all
        """
        before = self._last if self._last is not None and self._last.turn == turn else None
        self._last = Motion(turn, by, end, before, resources)
        self._current.append(self._last)
        return self._last

    def begin(self, motion: Motion) -> bool:
        """It is about to be sent: end what is older elsewhere, in its way. False: it may not begin, a newer one has."""
        if motion.ended:
            return False
        older = [each for each in self._current if each.turn < motion.turn and each.by is not motion.by]
        for each in [each for each in older if each.shares(motion)]:
            each.ended = True
            each.end()
        self._begun += 1
        motion.number = self._begun
        return True

    def over(self, motion: Motion, done: bool) -> None:
        """It is not under way any more. done: it came to its end, and what waits behind it may begin"""
        self._current.remove(motion)
        motion.over(done)

    def newest(self, motion: Motion) -> bool:
        """Whether none is under way that began after it and shares a resource with it."""
        return all(each.number <= motion.number for each in self._current if each.shares(motion))

"""Commands that were sent and have not come to their end, as far as the agent knows."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from embodied.robot.reports import Status
from embodied.robot.vocabulary import MS, SECOND, TERMINAL
from streams.clock import Clock

SLACK = 5 * SECOND
"""Beyond a goal's own time: two to end, one and a half of a silent link, and the way there and back."""
UNANSWERED = SECOND
"""Without any status the robot is asked what became of it; then again as often."""
CUT_AGAIN, CUTS = 300 * MS, 4
KEPT = 64

Lost: TypeAlias = Literal["", "wrong_boot", "never_came", "unknown"]


class Errand:
    """One command.

    status: the newest of the robot, None before the first;  over: it has come to its end, or nobody waits any more
    lost: how it ended without a status of its end: "wrong_boot" (the robot started anew), "never_came" (the robot does
        not know it), "unknown" (nothing was heard)
    cuts: how often it was told to end;  told: called with each status that is news, and once more when it is over
    """

    def __init__(self, id: str, name: str, timeout_s: float, now: int, told: "Callable[[Errand], None]") -> None:
        self.id, self.name, self.told = id, name, told
        self.status: Status | None = None
        self.lost: Lost = ""
        self.over = asyncio.Event()
        self.cuts = 0
        self.cut_at = 0
        self.timeout = round(timeout_s * SECOND)
        self.until = now + self.timeout + SLACK
        self.heard = self.asked = now

    @property
    def final(self) -> Status | None:
        """The status of its end."""
        return self.status if self.status is not None and self.status.state in TERMINAL else None

    def cut(self, now: int) -> None:
        """It was told to end."""
        self.cuts, self.cut_at = self.cuts + 1, now


class Errands:
    """All of them, of one robot."""

    def __init__(self) -> None:
        self.open: dict[str, Errand] = {}
        self._queries: dict[str, str] = {}
        self._check = False

    def begin(self, errand: Errand) -> None:
        """It is about to be sent."""
        self.open[errand.id] = errand

    def heard(self, status: Status, now: int) -> bool:
        """Take a status, whatever way it came; False if it is none of ours. Older than what is known: passed over."""
        asked = self._queries.pop(status.id, None)
        if asked is not None:
            self._answer(asked, status, now)
            return True
        errand = self.open.get(status.id)
        if errand is None:
            return False
        before = errand.status
        if before is not None and (status.seq <= before.seq or status.state == "rejected"):
            return True  # what was accepted is refused no more: somebody else has used its id, and was refused
        errand.status, errand.heard = status, now
        begins = status.state == "running" and (before is None or before.state in ("accepted", "paused"))
        if begins or status.state in ("paused", "accepted"):
            errand.until = now + errand.timeout + SLACK
        if errand.final is not None:
            self._end(errand)
        else:
            errand.told(errand)
        return True

    async def wait(self, errand: Errand, clock: Clock) -> None:
        """Until it is over: no longer than its time, also if nobody ticks any more."""
        while not errand.over.is_set():
            try:
                async with asyncio.timeout_at(clock.deadline(errand.until)):
                    await errand.over.wait()
            except TimeoutError:
                self._overdue(errand, clock.now())

    def died(self) -> int:
        """The robot has started anew, and knows none of them; returns how many there were."""
        errands = list(self.open.values())
        for errand in errands:
            errand.lost = "wrong_boot"
            self._end(errand)
        self._queries.clear()
        return len(errands)

    def check(self) -> None:
        """The link was gone: ask for all of them at the next occasion."""
        self._check = True

    def due(self, now: int, heard: bool) -> list[Errand]:
        """Those to ask the robot for now; and ends what nobody can wait for any longer. heard: the robot is"""
        asking: list[Errand] = []
        for errand in list(self.open.values()):
            if now >= errand.until:
                self._overdue(errand, now)
            elif heard and (self._check or now - max(errand.heard, errand.asked) >= 2 * UNANSWERED or (
                errand.status is None and now - errand.asked >= UNANSWERED
            )):  # fmt: skip
                errand.asked = now
                asking.append(errand)
        if heard:
            self._check = False
        return asking

    def asked(self, query: str, errand: Errand) -> None:
        """A query with the id `query` was sent about `errand`."""
        while len(self._queries) >= KEPT:
            del self._queries[next(iter(self._queries))]
        self._queries[query] = errand.id

    def uncut(self, now: int) -> list[Errand]:
        """Those that were told to end and do not seem to have heard it."""
        return [
            errand
            for errand in self.open.values()
            if 0 < errand.cuts < CUTS
            and now - errand.cut_at >= CUT_AGAIN
            and (errand.status is None or errand.status.state != "cancelling")
        ]

    def _answer(self, id: str, status: Status, now: int) -> None:
        errand = self.open.get(id)
        if errand is None or status.state != "succeeded":
            return
        if status.result is None:
            if errand.status is None:  # commands and queries come in their order: it was lost on the way
                errand.lost = "never_came"
                self._end(errand)
            return
        found = _status(status.result)
        if found is not None and found.id == id:
            self.heard(found, now)

    def _overdue(self, errand: Errand, now: int) -> None:
        if now >= errand.until and not errand.over.is_set():
            errand.lost = "unknown"
            self._end(errand)

    def _end(self, errand: Errand) -> None:
        self.open.pop(errand.id, None)
        if not errand.over.is_set():
            errand.over.set()
            errand.told(errand)


def _status(result: Any) -> Status | None:
    try:
        return msgspec.convert(result, Status)
    except msgspec.ValidationError:
        return None

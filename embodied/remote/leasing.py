"""The lease of one robot, from the agent's side: asked for when it is needed, renewed, and never fought over."""

from collections.abc import Callable
from typing import Any, NamedTuple

from embodied.remote.saying import said
from embodied.robot.messages import LeaseSet
from embodied.robot.proposing import Watch
from embodied.robot.reports import LeaseState, Status
from embodied.robot.vocabulary import MS, RANKS, SECOND, Rank

ANSWER_NS = 500 * MS
"""An answer that has not come by then is not waited for any more."""
RETRY_NS = SECOND
LATE_NS = 100 * MS
"""A wish that was only late on its way is sent again so soon: by then there is a newer heartbeat to show."""
RENEWALS = 2
"""In the life of a lease: of 2 s, it is renewed each second."""


class _Asked(NamedTuple):
    id: str
    op: str
    rank: Rank
    at: int


class Leasehold:
    """What an agent knows of one robot's lease. Pure: the program around sends what `due` gives, and tells what came.

    id, rank: of the lease that is held, None if none is
    holder: who moves the robot, as it says itself;  why: why none is held, in words that can be said
    wanted: as which rank it is wanted, None = not at all;  refusals: how often the robot would not grant it
    """

    def __init__(self, agent: str, new_id: Callable[[], str]) -> None:
        self.id: str | None = None
        self.rank: Rank | None = None
        self.wanted: Rank | None = None
        self.holder = LeaseState()
        self.why = ""
        self.refusals = 0
        self._agent, self._new_id = agent, new_id
        self._asked: _Asked | None = None
        self._life = 2 * SECOND
        self._renewed = self._retry = 0

    def want(self, rank: Rank | None) -> None:
        """Have it as `rank` from now on; None gives it back."""
        if rank != self.wanted:
            self.wanted, self._retry, self.why = rank, 0, ""

    @property
    def held(self) -> bool:
        """Whether it is held just as it is wanted. One that is being given back is gone, whoever wants it again."""
        leaving = self._asked is not None and self._asked.op == "release"
        return self.id is not None and self.rank == self.wanted and not leaving

    @property
    def taken(self) -> str:
        """Who holds it against us, "" if nobody does."""
        other = self.holder.holder
        return other if other is not None and other != self._agent else ""

    @property
    def blocked(self) -> bool:
        """Somebody of our rank or above moves it: to ask would be to nag, for the robot tells when they let go."""
        if not self.taken or self.wanted is None or self.holder.rank is None:
            return False
        return RANKS.index(self.wanted) <= RANKS.index(self.holder.rank)

    def due(self, watch: Watch, now: int) -> LeaseSet | None:
        """What to publish on `lease/set` now, if anything."""
        if self.id is not None and now - self._renewed >= self._life:
            self._lose("it ran out")
        if self._asked is not None and now - self._asked.at < ANSWER_NS:
            return None
        if watch.fresh is None or watch.latched or watch.health(now) != "heard":
            return None
        if self.wanted is None:
            return None if self.id is None else self._ask("release", watch, now)
        if self.held:
            return self._ask("renew", watch, now) if now - self._renewed >= self._life // RENEWALS else None
        if self.blocked:
            self.why = f"{self.taken} moves it, as {self.holder.rank}"
            return None
        return None if now < self._retry else self._ask("acquire", watch, now)

    def release(self) -> LeaseSet | None:
        """What gives it back, for the goodbye."""
        if self.id is None:
            return None
        wish = LeaseSet(v=1, id=self._new_id(), sender=self._agent, op="release", lease=self.id)
        self._lose("it was given back")
        return wish

    def answered(self, status: Status, now: int) -> bool:
        """Take the robot's answer; False if it is none to this lease."""
        asked = self._asked
        if asked is None or status.id != asked.id:
            return False
        self._asked = None
        if status.state != "succeeded":
            late = status.reason == "stale" and asked.op != "release"
            self._retry = now + (LATE_NS if late else RETRY_NS)
            self.why = "" if late else said(status.detail) or "the robot refused"
            self.refusals += asked.op == "acquire" and not late
            if asked.op != "acquire" and not late:  # a rank that is refused takes away nothing
                self._lose(self.why)
        elif asked.op == "release":
            self._lose("it was given back")
        elif isinstance(result := status.result, dict) and isinstance(result.get("lease"), str):
            self.id, self.rank, self.why, self._renewed = result["lease"], asked.rank, "", asked.at
            self._life = _life(result.get("expires_ms"))
        return True

    def told(self, lease: LeaseState) -> str:
        """Take what the robot says of its lease; returns who took it away from us, "" if nobody did."""
        self.holder = lease
        if self.id is None or lease.holder == self._agent:
            return ""
        taker = self.taken
        self._lose(f"{taker} moves it, as {lease.rank}" if taker else "the robot took it back")
        return taker

    def forget(self) -> None:
        """The robot has started anew: what it granted is void."""
        self._lose("the robot has started anew")
        self._asked, self._retry, self.holder = None, 0, LeaseState()

    def _ask(self, op: Any, watch: Watch, now: int) -> LeaseSet:
        rank: Rank = self.wanted if op == "acquire" and self.wanted else self.rank or "model"
        self._asked = _Asked(self._new_id(), op, rank, now)
        lease = None if op == "acquire" else self.id
        return LeaseSet(v=1, id=self._asked.id, sender=self._agent, op=op, rank=rank, lease=lease, fresh=watch.fresh)

    def _lose(self, why: str) -> None:
        self.id, self.rank, self.why = None, None, why


def _life(expires_ms: object) -> int:
    """Of a lease, ns; what a robot says is taken within reason."""
    if isinstance(expires_ms, int) and not isinstance(expires_ms, bool):
        return min(30_000, max(500, expires_ms)) * MS
    return 2 * SECOND

"""Who may move the robot: one writer at a time. A higher rank takes over; its equals wait.

The lease's id is told to its holder alone, so that nobody else can write under it, and the holder's name is compared,
too. What rank an agent may claim is a setting of the robot, for what a message says of itself proves nothing.
"""

import hashlib
import hmac
from typing import NamedTuple

from embodied.robot.messages import LeaseSet
from embodied.robot.vocabulary import MS, RANKS, Rank, Reason


class Lease(NamedTuple):
    """id: known to the holder;  expires: ns"""

    id: str
    holder: str
    rank: Rank
    expires: int


class Answer(NamedTuple):
    """reason: None if granted;  lost: the lease that ended by it (another holder's, or the holder's own by release)."""

    reason: Reason | None
    detail: str = ""
    lost: Lease | None = None


class Desk:
    """Gives out the one lease.

    secret: of this robot, for ids that cannot be guessed;  ranks: highest rank of each agent, `default` for others
    """

    def __init__(self, secret: bytes, life_ms: int, ranks: dict[str, Rank], default: Rank) -> None:
        self.current: Lease | None = None
        self._secret, self._life, self._ranks, self._default = secret, life_ms * MS, ranks, default
        self._given = 0

    def ask(self, wish: LeaseSet, now: int) -> Answer:
        """Acquire, renew or release. An acquire by the holder itself, at the same rank, is a renewal."""
        held = self.current
        if wish.op == "acquire":
            return self._acquire(wish, held, now)
        if held is None or held.holder != wish.sender or not _equal(held.id, wish.lease):
            return Answer("no_lease", "you hold no lease: it lapsed, or a higher rank took it; acquire one")
        if wish.op == "renew":
            self.current = held._replace(expires=now + self._life)
            return Answer(None)
        self.current = None
        return Answer(None, lost=held)

    def _acquire(self, wish: LeaseSet, held: Lease | None, now: int) -> Answer:
        highest = self._ranks.get(wish.sender, self._default)
        if RANKS.index(wish.rank) > RANKS.index(highest):
            return Answer("no_lease", f"{wish.sender} may not act as {wish.rank}, only up to {highest}")
        if held is not None and held.holder == wish.sender and held.rank == wish.rank:
            self.current = held._replace(expires=now + self._life)
            return Answer(None)
        if held is not None and held.holder != wish.sender and RANKS.index(wish.rank) <= RANKS.index(held.rank):
            return Answer("busy", f"{held.holder} moves it, as {held.rank}")
        self._given += 1
        name = hmac.new(self._secret, f"lease {self._given}".encode(), hashlib.sha256).hexdigest()[:24]
        self.current = Lease(f"L{name}", wish.sender, wish.rank, now + self._life)
        return Answer(None, lost=held)

    def holds(self, sender: str, lease: str | None, now: int) -> bool:
        """Whether `sender` may move the robot now."""
        held = self.current
        return held is not None and now < held.expires and held.holder == sender and _equal(held.id, lease)

    def lapse(self, now: int) -> Lease | None:
        """The lease that has run out by now, taken away; None if none has."""
        held = self.current
        if held is None or now < held.expires:
            return None
        self.current = None
        return held


def _equal(one: str, other: str | None) -> bool:
    return other is not None and hmac.compare_digest(one.encode(), other.encode())

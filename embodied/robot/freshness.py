"""How old a message is, without common clocks: it echoes the robot's heartbeat, and the robot knows when it sent that.

A message held in the network, or recorded and played again, carries an old beat. Wall clocks (`ts`) decide nothing.
"""

from embodied.robot.messages import Fresh
from embodied.robot.vocabulary import MS, SECOND, Reason

KEPT = 256  # beats: more than any `fresh_ms` needs


class Beats:
    """The robot's own heartbeat: which beat was sent when."""

    def __init__(self, boot: str, *, hz: float = 10.0, fresh_ms: int = 600) -> None:
        self.boot = boot
        self.last = -1
        self._valid_from = 0
        self._period = round(SECOND / hz)
        self._fresh = fresh_ms * MS
        self._sent: dict[int, int] = {}
        self.due: int | None = None

    def beat(self, now: int) -> int | None:
        """The number of the beat that is to be sent now, or None. Late beats are left out, not made up for."""
        if self.due is not None and now < self.due:
            return None
        late = 0 if self.due is None else (now - self.due) // self._period
        self.due = now + self._period if self.due is None else self.due + (late + 1) * self._period
        self.last += 1
        self._sent[self.last] = now
        if len(self._sent) > KEPT:
            del self._sent[next(iter(self._sent))]
        return self.last

    def sent(self, beat: int) -> int | None:
        """When `beat` was sent, ns, if that is not too long ago to be remembered."""
        return self._sent.get(beat)

    def forget(self) -> None:
        """From now on only beats that are yet to come count: what is under way was said before this moment."""
        self._valid_from = self.last + 1

    def judge(self, fresh: Fresh | None, now: int) -> Reason | None:
        """None if `fresh` proves that its message is young; else why not: "stale" or "wrong_boot"."""
        if fresh is None:
            return "stale"
        if fresh.boot != self.boot:
            return "wrong_boot"
        sent = self._sent.get(fresh.beat)
        return "stale" if sent is None or fresh.beat < self._valid_from or now - sent > self._fresh else None

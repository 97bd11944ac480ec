"""Stopping a robot that may be far, frozen or not there: said again until it is seen, then said louder.

    at once, every 50 ms    `command/stop`, until its status comes, or the robot is seen to rest
    after 0.5 s             `estop/set` besides, until the latch is seen
    after 0.9 s             a person is told, loudly, to use the stop on the robot itself; and it goes on
    after 10 s unanswered   it is given up, and a person is told that, too

Where the broker is not reached it waits, and is sent when it is reached again within a minute. Nothing else is asked of
the robot before that: who wants something of it is told that it is being stopped.

This is software at the end of a network, and no emergency stop: see docs/robot-contract.md.
"""

from typing import Protocol

from embodied.robot.messages import Command, EstopSet
from embodied.robot.proposing import StopCall, Watch
from embodied.robot.reports import Status
from embodied.robot.vocabulary import MS, SECOND, State

EVERY = 50 * MS
ESCALATE = 500 * MS
LOUD = 900 * MS
GIVE_UP = 10 * SECOND
"""Of being connected and not answered; what was not sent has been said to nobody."""
LATEST = 60 * SECOND
"""Of not being connected: whoever finds the robot moving then has another reason for it."""
RESTS = 200 * MS
"""Odometry that shows rest for so long, all of it heard after the stop was sent, is as good as an answer."""
_NO: frozenset[State] = frozenset({"rejected", "failed", "expired"})


class StopWire(Protocol):
    """What a stop needs of the robot's client.

    agent, reply_to: who it is, and where it is answered
    rests_since: ns, since when all odometry that came shows rest; None if it does not;  rests_until: of the newest
    """

    agent: str
    reply_to: str
    watch: Watch
    rests_since: int | None
    rests_until: int

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""

    def new_id(self) -> str:
        """For one command."""

    def publish_stop(self, command: Command) -> bool:
        """Before everything else that waits; False if it cannot be sent now."""

    def publish_estop(self, message: EstopSet) -> bool:
        """The same."""

    def loud(self, error: str, message: str) -> None:
        """Tell a person."""

    def calm(self, message: str) -> None:
        """What was told is over."""


class Stopping:
    """The stop of one robot. `begin` it, `step` it every 20 to 50 ms; nothing here waits or raises.

    active: it is not yet known to stand
    """

    def __init__(self, wire: StopWire, where: str) -> None:
        self.active = False
        self._wire, self._where = wire, where
        self._told = False
        self._command: Command | None = None
        self._estop: StopCall | None = None
        self._reason = ""
        self._latch = False
        self._began = self._next = self._stepped = self._unanswered = self._unsent = 0
        self._sent: int | None = None
        self._away = False

    def begin(self, reason: str, now: int, *, latch: bool = False) -> None:
        """Stop now; to say it again puts nothing off. latch: for good, until an operator resets it"""
        wire, self._stepped, self._unanswered, self._unsent = self._wire, now, 0, 0
        if not self.active:
            self.active, self._latch, self._told = True, False, False
            self._began, self._next, self._sent, self._estop, self._away = now, now, None, None, False
            self._command = Command(v=1, id=wire.new_id(), name="stop", sender=wire.agent, reply_to=wire.reply_to)
        self._latch, self._reason = self._latch or latch, reason[:100]
        self.step(now)

    def heard(self, status: Status, now: int) -> bool:
        """Take a status; False if it is none of a stop. One that says no is no answer: it goes on, and escalates."""
        if self._command is None or status.id != self._command.id:
            return False
        if self.active and not self._latch and status.state not in _NO:
            self._end("")
        return True

    def step(self, now: int) -> None:
        """Do what is due."""
        if not self.active:
            return
        if self._seen(now):
            return
        wire = self._wire
        self._unanswered += (now - self._stepped) * wire.connected
        self._unsent += (now - self._stepped) * (not wire.connected)
        self._stepped = now
        if not wire.connected:
            self._sent, self._away = None, True
        elif now >= self._next and self._command is not None:
            self._next = now + EVERY
            # After the link was away it counts as said when the robot is back, too: it need not be stopped for good.
            self._away = self._away and wire.watch.health(now) != "heard"
            if wire.publish_stop(self._command) and self._sent is None and not self._away:
                self._sent = now
        unanswered = self._sent is not None and now - self._sent >= ESCALATE
        if wire.connected and (self._latch or unanswered):
            self._shout(now)
        if not self._told and (not wire.connected or now - self._began >= LOUD):
            self._told = True
            wire.loud("StopUnconfirmed", self._words())
        if self._unanswered >= GIVE_UP or self._unsent >= LATEST:
            self.active = False
            wire.loud("StopGivenUp", self._given_up())

    def _shout(self, now: int) -> None:
        if self._estop is None or self._estop.failed(self._wire.watch, now):
            self._estop = StopCall(self._wire.agent, self._reason, now)
        if self._estop.due(self._wire.watch, now):
            self._wire.publish_estop(self._estop.message)

    def _seen(self, now: int) -> bool:
        watch = self._wire.watch
        if watch.latched and watch.health(now) == "heard" and (self._estop is not None or not self._latch):
            escalated = self._estop is not None and not self._latch
            self._end(
                f"{self._where} did not answer the stop and was stopped for good: an operator has to reset it."
                if escalated
                else ""
            )
            return True
        since, sent = self._wire.rests_since, self._sent
        if not self._latch and since is not None and sent is not None:
            first = max(since, sent)
            if self._wire.rests_until - first >= RESTS:
                self._end("")
                return True
        return False

    def _end(self, news: str) -> None:
        self.active = False
        if self._told:
            self._told = False
            self._wire.calm(f"{self._where} has stopped.")
        if news:
            self._wire.loud("StopLatched", news)

    def _words(self) -> str:
        why = "does not answer" if self._wire.connected else "cannot be reached"
        return f"STOP NOT CONFIRMED: {self._where} {why}. Use the stop on the robot itself."

    def _given_up(self) -> str:
        connected = self._wire.connected
        why = f"has not answered for {GIVE_UP // SECOND} s" if connected else "could not be reached in time"
        return (
            f"STOP GIVEN UP: {self._where} {why}, and is not told to stop any more. Use the stop on the robot itself."
        )

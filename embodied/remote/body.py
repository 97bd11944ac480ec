"""A robot as an actuator: the agent's motions become its commands, and its ends their outcomes."""

import asyncio
import math
from typing import Any

from msgspec.structs import replace

from embodied.remote.capabilities import offers as offers_of
from embodied.remote.client import RobotClient
from embodied.remote.errands import Errand
from embodied.remote.motions import Motion
from embodied.remote.news import News
from embodied.remote.saying import why
from embodied.remote.words import Words
from embodied.robot.arguments import Refusal
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Capability
from embodied.robot.messages import Command as Wire
from embodied.robot.vocabulary import MS, SECOND
from streams.clock import Clock
from streams.ports import Publisher
from streams.types import Action, Command, Offer, Outcome, Progress, Steer

READY = SECOND
"""How long a motion waits for the lease, or for the robot to be there: not for one that is known to be gone."""
HALT = 950 * MS
"""How long `halt` waits until the robot is seen to stand: within `embodied.body.HALT_S`."""
STEP = 20 * MS
SOON = 5 * MS
"""A person waits for the answer, and may be told meanwhile that it moves."""
_LOST = {
    "wrong_boot": ("failed", "the robot has started anew, and does not know of it any more"),
    "never_came": ("failed", "the robot never got it"),
    "unknown": ("timeout", "the robot is not heard, and what became of it is not known"),
    "": ("timeout", "the robot did not say what became of it"),
}
_ENDS = {
    "succeeded": "done", "cancelled": "cut", "preempted": "cut", "rejected": "refused", "expired": "timeout",
    "failed": "failed",
}  # fmt: skip


class RobotBody:
    """`embodied.ports.Actuator` for the motions of one robot; also `Choosy`, `Steerable`, `Latching` and `Connected`.

    offers_prefix: before the names of what it can do, such as "r2." for the second of several robots
    halt: what "stop" does: "stop", or "estop" until it is reset;  words: None = those of the configuration's file
    Raises `WordsInvalid` for a file of words that cannot be used.
    """

    accepts: tuple[type, ...] = (Command,)

    def __init__(
        self, client: RobotClient, publisher: Publisher, clock: Clock, *, offers_prefix: str = "",
        words: Words | None = None,
    ) -> None:  # fmt: skip
        self.client, self.prefix = client, offers_prefix
        self.name = client.robot
        self.words = Words.load(client.link.config.words) if words is None else words
        self._clock = clock
        self._latches = client.link.config.halt == "estop"
        self._fence, self._halts = -1, 0
        self._running: dict[str, tuple[Command, Errand]] = {}
        self.news = News(client, publisher, clock, self.offers)
        client.listen(self.news)

    # --- what it can be asked for

    def offers(self) -> tuple[Offer, ...]:
        """What a policy may ask for now; nothing before the robot was found."""
        sheet, proposer = self.client.factsheet, self.client.proposer
        return () if sheet is None or proposer is None else offers_of(sheet, self.words, self.prefix, proposer.agreed)

    def takes(self, action: Action) -> bool:
        """Every motion with its prefix; without one, every motion that is not plainly another robot's."""
        if not isinstance(action, Command):
            return False
        if self.prefix:
            return action.name.startswith(self.prefix)
        others = (f"{robot}." for robot in self.client.link.config.ids if robot != self.name)
        return not action.name.startswith(tuple(others)) or self._capability(action.name) is not None

    # --- carrying out

    async def perform(self, action: Action) -> Outcome:
        """Have the robot do it, and tell what it really did.

        Motions of one turn are done one after the other (those that wait are dropped when the one before them does not
        come to its end); those of a later turn replace them as the robot says (`embodied.remote.motions`).
        Refused early where the robot would refuse it. Its end is waited for as long as the capability may take, and
        some seconds; then nobody knows. Cancelling tells the robot to end it, and returns at once how far it had come;
        its own end is told as `Progress` when it comes.
        """
        if not isinstance(action, Command):
            raise TypeError(f"a robot takes Command, not {type(action).__name__}")
        capability = self._capability(self._name(action))
        if self.client.factsheet is not None and capability is None:
            return _outcome(action, "refused", why("unknown_capability"))
        if capability is not None and not capability.moves:
            return await self._perform(action)
        resources = () if capability is None else capability.resources
        motion = self.client.motions.line_up(action.turn, self, lambda: self._overtaken(action), resources)
        outcome: Outcome | None = None
        try:
            if await motion.its_turn():
                outcome = await self._perform(action, motion)
            else:
                outcome = _outcome(action, "fenced", "what was to be done before it did not come to its end")
        except asyncio.CancelledError:
            outcome = _outcome(action, "fenced", "stopped before it began")
        finally:
            self.client.motions.over(motion, outcome is not None and outcome.status == "done")
        return outcome

    async def _perform(self, action: Command, motion: Motion | None = None) -> Outcome:
        halts = self._halts
        try:
            reason = await self._ready(action)
        except asyncio.CancelledError:
            return _outcome(action, "fenced", "stopped before it began")
        if self._halts != halts or (action.turn <= self._fence and action.on_cut == "cancel"):
            return _outcome(action, "fenced", "stopped before it began")
        if reason:
            return _outcome(action, "refused", reason)
        errand = self._send(action, motion)
        if isinstance(errand, Outcome):
            return errand
        try:
            await self.client.errands.wait(errand, self._clock)
        except asyncio.CancelledError:
            return self._cut_short(action, errand)
        return self._ended(action, errand)

    async def _ready(self, action: Command) -> str:
        """Why it cannot be asked now; "" if it can."""
        if self.client.steering.active:
            return "somebody drives it by hand"
        until, refusals = self._clock.now() + READY, self.client.lease.refusals
        while True:
            capability = self._capability(self._name(action))
            moves = capability is None or capability.moves
            if capability is not None and moves:
                self.client.use()
            reason = self.client.why_not(moves=moves)
            now = self._clock.now()
            barred = (
                self.client.lease.blocked or self.client.lease.refusals != refusals
            )  # it is not asked again so soon
            if not reason or now >= until or (moves and barred) or self.client.gone:
                return reason
            await self._clock.sleep_until(min(until, now + SOON))

    def _send(self, action: Command, motion: Motion | None) -> Errand | Outcome:
        client, name = self.client, self._name(action)
        made = client.propose(
            name, action.arguments, action.origin, turn=str(action.turn), confirmed=action.confirmed
        )  # fmt: skip
        if isinstance(made, Refusal):
            told = _outcome(action, "refused", why(made.reason, made.detail))
            return replace(told, result={"reason": made.reason, "guard": made.guard})
        if motion is not None and not client.motions.begin(motion):
            client.watch.open.pop(made.id, None)
            return _outcome(action, "fenced", "a newer motion has taken its place")
        capability = self._capability(name)
        errand = Errand(made.id, name, capability.timeout_s if capability else 1.0, self._clock.now(), self._came)
        self._running[made.id] = (action, errand)
        if not self._publish(made, errand):
            del self._running[made.id]
            return _outcome(action, "refused", why("link_lost"))
        if action.confirmed:
            self.news.offer()  # what was agreed to once may need no yes any more
        self._progress(action, "sent", None, "")
        return errand

    def _publish(self, made: Wire, errand: Errand) -> bool:
        try:
            return self.client.send(made, errand)
        except Malformed:
            return False

    def _came(self, errand: Errand) -> None:
        """A status came, or the end."""
        found = self._running.get(errand.id)
        if found is None:
            return
        action, _ = found
        status = errand.status
        if errand.over.is_set():
            del self._running[errand.id]
            if not errand.cuts:
                return  # its outcome tells it
        if errand.lost:
            self._progress(action, "unknown" if errand.lost == "unknown" else "failed", None, _LOST[errand.lost][1])
        elif status is not None:
            self._progress(action, status.state, status.progress, why(status.reason, status.detail))

    def _cut_short(self, action: Command, errand: Errand) -> Outcome:
        """What can be said without waiting."""
        if errand.over.is_set():  # it came to its end in the very instant in which it was cut
            return self._ended(action, errand)
        self._cancel(errand)
        status = errand.status
        under_way = status is not None and status.state != "accepted"
        told = "stopped on the way" if under_way else "stopped before it was under way"
        if self.client.health != "heard":  # nor does it hear us: it may go on until its own guards end it
            told = "stopped, as far as is known: the robot is not heard"
        outcome = _outcome(action, "cut", told)
        return (
            outcome
            if status is None or not under_way
            else replace(outcome, result=_way(status.feedback, status.progress))
        )

    def _ended(self, action: Command, errand: Errand) -> Outcome:
        final = errand.final
        if final is None:
            status, detail = _LOST[errand.lost]
            return _outcome(action, status, detail)
        ended = _ENDS[final.state]
        if final.state == "failed" and final.reason == "timeout":
            ended = "timeout"
        told = _outcome(action, ended, "" if ended == "done" else why(final.reason, final.detail))
        result = final.result
        if result is None and ended != "done":
            result = {"reason": final.reason} if ended == "refused" else _way(None, final.progress)
        return replace(told, result=result)

    def _overtaken(self, action: Command) -> None:
        """Another actuator of this robot begins a newer motion."""
        for each, errand in list(self._running.values()):
            if each is action:
                self._cancel(errand)

    def _cancel(self, errand: Errand) -> None:
        if not errand.cuts:
            self.client.cancel(errand)

    # --- being stopped

    def cut(self, turn: int) -> None:
        """Tell the robot, in this very step, to end what is of a turn up to `turn` and declared that a cut ends it."""
        self._fence = max(self._fence, turn)
        for action, errand in list(self._running.values()):
            if action.turn <= turn and action.on_cut == "cancel":
                self._cancel(errand)

    def pause(self, turn: int) -> None:
        """Nothing: only speech is paused."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Stop it, whoever moves it; returns when it is seen to stand, or after 0.95 s, while it is tried on.

        Also without a connection, a lease, or any word of the robot: then a person is told at once.
        """
        self._stop("halt", latch=self._latches)
        until = self._clock.now() + HALT
        while self.client.stopping.active and self._clock.now() < until:
            await self._clock.sleep_until(min(until, self._clock.now() + STEP))
            self.client.stopping.step(self._clock.now())

    async def leave(self) -> None:
        """Stop it if it is ours to stop: a robot that somebody else drives goes on. See `embodied.ports.Leaving`."""
        client = self.client
        if client.lease.held or client.errands.open or client.steering.active or client.stopping.active:
            await self.halt()

    def latch(self, reason: str) -> None:
        """Stop it for good."""
        self._stop(reason, latch=True)

    def _stop(self, reason: str, *, latch: bool) -> None:
        now = self._clock.now()
        self._halts += 1
        self.client.stopping.begin(reason, now, latch=latch)
        self.client.steering.stop(now)

    def steer(self, action: Steer) -> None:
        """Drive it by hand; see `embodied.remote.steering`."""
        if action.robot != self.name and (action.robot or self.prefix):
            return
        now, hand = self._clock.now(), self.client.steering
        if self.client.stopping.active:
            hand.stop(now, held=True)
        else:
            hand.steer(action.vx, action.vy, action.wz, now)

    # --- background

    async def serve(self) -> None:
        """Keep the agent's link, which robots share: whose body comes first keeps it."""
        await self.client.link.serve()

    async def aclose(self) -> None:
        """Nothing to give back: the lease goes with the link."""

    # --- inside

    def _name(self, action: Command) -> str:
        return action.name[len(self.prefix) :]

    def _capability(self, name: str) -> Capability | None:
        sheet = self.client.factsheet
        found = None if sheet is None else next((each for each in sheet.capabilities if each.name == name), None)
        return found if found is not None and found.kind in ("goal", "instant") else None

    def _progress(self, action: Command, state: str, progress: float | None, detail: str) -> None:
        self.news.progress(Progress(action.turn, action.id, action.name, self.name, state, progress, detail))


def _outcome(action: Command, status: Any, detail: str) -> Outcome:
    return Outcome(action.turn, action.id, "Command", action.name, status, detail)


def _way(feedback: Any, progress: float | None) -> Any:
    """How far it came, as far as that is known."""
    told = dict(feedback) if isinstance(feedback, dict) else {} if feedback is None else {"feedback": feedback}
    if progress is not None and math.isfinite(progress):
        told.setdefault("progress", progress)
    return told or None

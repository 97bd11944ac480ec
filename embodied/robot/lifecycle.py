"""The life of commands: received → rejected | accepted → running ⇄ paused → cancelling → an end, for each resource.

A resource is free only when what used it has come to its end: the driver says so. A goal that replaces another waits
for that, be it for no time at all, and begins from the speed there is, so that a change of mind is no jerk.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec

from embodied.robot.decisions import Begin, Brake, Effect, End, GoOn, Hold, Note
from embodied.robot.factsheet import Capability
from embodied.robot.messages import Command
from embodied.robot.reports import Status
from embodied.robot.vocabulary import MS, SECOND, TERMINAL, Reason, State

SHOWN = 32  # in `state`
BRIEF = 500  # bytes of results and feedback, of each command in `state`
KEPT = 1024  # last statuses, for duplicates and queries
AT_ONCE = 32  # commands under way, of all senders
CANCEL_WAIT = 2 * SECOND
FEEDBACK_MIN, FEEDBACK_MAX = 200 * MS, SECOND

NEXT: dict[State, frozenset[State]] = {
    "received": frozenset({"rejected", "accepted"}),
    "accepted": frozenset({"running", "cancelled", "preempted", "expired", "failed"}),
    "running": frozenset({"paused", "cancelling", "succeeded", "failed", "cancelled", "preempted"}),
    "paused": frozenset({"running", "cancelling", "succeeded", "failed", "cancelled", "preempted"}),
    "cancelling": frozenset({"succeeded", "failed", "cancelled", "preempted"}),
}

Tell = Callable[[Status, str], None]
Ended = Literal["succeeded", "failed", "cancelled"]


class Goal:
    """A command under way. owner: id of the lease it came under, "" for the robot's own; times in ns."""

    def __init__(self, command: Command, capability: Capability, owner: str, now: int) -> None:
        self.command, self.capability, self.owner = command, capability, owner
        self.state: State = "received"
        self.came = self.advanced = self.told = now
        self.deadline: int | None = None
        self.paused_at = self.cancel_by = 0
        self.progress = 0.0
        self.feedback: Any = None
        self.ending: tuple[State, Reason | None, str] = ("cancelled", None, "")

    @property
    def id(self) -> str:
        """Of the command."""
        return self.command.id

    @property
    def begun(self) -> bool:
        """Whether the driver knows it."""
        return self.state in ("running", "paused", "cancelling")


class Book:
    """All commands of a robot: those under way, and the last states of those that ended.

    tell: given each status and the reply topic (or "");  order: given what the driver must do
    stuck: ns without progress after which a goal has failed, 0 = never
    """

    def __init__(self, tell: Tell, order: Callable[[Effect], None], stuck: int = 10 * SECOND) -> None:
        self.goals: OrderedDict[str, Goal] = OrderedDict()
        self._tell, self._order, self._stuck = tell, order, stuck
        self._last: OrderedDict[str, tuple[Status, str]] = OrderedDict()
        self._seq = 0

    # --- what is asked of it

    def reject(self, id: str, name: str, reply: str, reason: Reason, detail: str, now: int, *, keep: bool) -> None:
        """Refuse a command. keep: its id is its own, so that its last state is this; a duplicate's is another's."""
        self._say(id, name, reply, "rejected", now, reason, detail, keep=keep)

    def answer(self, command: Command, now: int, state: State, result: Any = None, detail: str = "") -> None:
        """A command that is carried out at once, without the driver, has ended."""
        self._say(command.id, command.name, command.reply_to or "", state, now, None, detail, result=result)

    def repeat(self, id: str) -> bool:
        """Tell the last status of `id` once more; False if there is none."""
        found = self._last.get(id)
        if found is not None:
            self._tell(*found)
        return found is not None

    def last(self, id: str) -> Status | None:
        """The last status of command `id`."""
        found = self._last.get(id)
        return found and found[0]

    def shown(self) -> tuple[Status, ...]:
        """The last 32, oldest first, and in any case all that are under way; long results only by `query`."""
        statuses = [status for status, _ in self._last.values()]
        shown = (s for n, s in enumerate(statuses) if n >= len(statuses) - SHOWN or s.state not in TERMINAL)
        return tuple(map(_brief, shown))

    def users(self, resources: Iterable[str]) -> list[Goal]:
        """Goals, begun or waiting, that use one of `resources`."""
        wanted = set(resources)
        return [goal for goal in self.goals.values() if wanted & set(goal.capability.resources)]

    def refusal(self, resources: Sequence[str], *, can_wait: bool = True) -> str:
        """Why nothing new may use `resources`, neither now nor after what uses them; empty if it may.

        What is in the way decides: its `preempt` says whether it can be replaced, waited for, or neither.
        can_wait: a goal can; a stream cannot.
        """
        if len(self.goals) >= AT_ONCE:
            return f"{AT_ONCE} commands are under way already"
        users = self.users(resources)
        for goal in users:
            rule = goal.capability.preempt
            if (
                goal.begun
                and goal.state != "cancelling"
                and (rule == "reject" or (rule == "queue" and not can_wait) or not goal.capability.cancellable)
            ):
                return f"{goal.command.name} ({goal.id}) is under way and cannot be replaced"
            if not goal.begun and any(
                each.capability.preempt == "queue" and each.state != "cancelling"
                for each in self.users(goal.capability.resources)
                if each.begun
            ):
                return f"{goal.command.name} ({goal.id}) waits already"
        return ""

    def accept(self, command: Command, capability: Capability, owner: str, now: int) -> None:
        """Take a command on. What it replaces is ended first; it begins as soon as its resources are free."""
        before = self.users(capability.resources)
        goal = Goal(command, capability, owner, now)
        self.goals[command.id] = goal
        self._go(goal, "accepted", now)
        for each in before:
            if not each.begun:
                self._end(each, "preempted", None, f"replaced by {command.id}", now)
            elif each.capability.preempt != "queue":
                self.cancel(each, "preempted", None, f"replaced by {command.id}", now)
        self.begin(now)

    def clear(self, resources: Sequence[str], why: str, now: int) -> None:
        """A stream takes `resources` over: end what uses them."""
        for goal in self.users(resources):
            self.cancel(goal, "preempted", None, why, now)

    def cancel(self, goal: Goal, final: State, reason: Reason | None, detail: str, now: int) -> None:
        """Bring `goal` to an end that will be called `final`. If it has begun, the driver has to finish it first."""
        if not goal.begun:
            self._end(goal, final if final in NEXT[goal.state] else "cancelled", reason, detail, now)
        elif goal.state != "cancelling":
            goal.ending = (final, reason, detail)
            goal.cancel_by = now + CANCEL_WAIT
            self._go(goal, "cancelling", now, reason, detail)
            self._order(End(goal.id, detail or reason or final))
        elif reason is not None and goal.ending[1] is None:
            goal.ending = (final, reason, detail)

    def pause(self, goal: Goal, now: int) -> bool:
        """Pause; False if it cannot be paused."""
        if goal.state != "running" or not goal.capability.pausable:
            return False
        goal.paused_at = now
        self._go(goal, "paused", now)
        self._order(Hold(goal.id))
        return True

    def resume(self, goal: Goal, now: int) -> bool:
        """Go on; False if it is not paused. The time it stood still counts for no deadline."""
        if goal.state != "paused":
            return False
        if goal.deadline is not None:
            goal.deadline += now - goal.paused_at
        goal.advanced = now
        self._go(goal, "running", now)
        self._order(GoOn(goal.id))
        return True

    # --- what the driver says

    def progressed(self, id: str, progress: float | None, feedback: Any, now: int) -> None:
        """The driver has come further; told at most five times a second."""
        goal = self.goals.get(id)
        if goal is None or not goal.begun:
            return
        if progress is not None and math.isfinite(progress):
            progress = min(1.0, max(0.0, progress))
            if progress > goal.progress:
                goal.progress, goal.advanced = progress, now
        goal.feedback = feedback
        if now - goal.told >= FEEDBACK_MIN:
            self._go(goal, goal.state, now)

    def finished(
        self, id: str, how: Ended, now: int, reason: Reason | None = None, detail: str = "", result: Any = None
    ) -> bool:
        """The driver's command is at rest, and its resources free. False if there was no such command."""
        goal = self.goals.get(id)
        if goal is None or not goal.begun:
            return False
        final: State = how
        if goal.state == "cancelling" and how != "succeeded":
            final, reason, detail = goal.ending
        elif how == "succeeded":
            goal.progress = 1.0
        self._end(goal, final, reason, detail, now, result)
        self.begin(now)
        return True

    # --- time

    def expire(self, now: int) -> None:
        """Deal with all that is over time by `now`."""
        for goal in list(self.goals.values()):
            ttl = goal.command.ttl_ms
            if goal.state == "accepted" and ttl is not None and now - goal.came > ttl * MS:
                self._end(goal, "expired", "timeout", f"it waited for longer than its {ttl} ms", now)
            elif goal.state == "cancelling" and now >= goal.cancel_by:
                self._order(Note(now, "lifecycle", "stopped", goal.id, goal.command.name, reason="hardware"))
                self._order(Brake(2, f"{goal.command.name} was to end and did not"))
                self._end(goal, "failed", "hardware", "the driver did not end it in two seconds", now)
            elif goal.state == "running" and goal.deadline is not None and now >= goal.deadline:
                self.cancel(goal, "failed", "timeout", "not done in the time it was given", now)
            elif (
                self._stuck and goal.state == "running" and goal.capability.kind == "goal"
                and now - goal.advanced >= self._stuck
            ):  # fmt: skip
                self.cancel(goal, "failed", "obstacle", f"no progress for {self._stuck / SECOND:g} s", now)
            elif goal.begun and now - goal.told >= FEEDBACK_MAX:
                self._go(goal, goal.state, now)
        self.begin(now)

    def begin(self, now: int) -> None:
        """Begin what waits and whose resources are free."""
        for goal in list(self.goals.values()):
            if goal.state != "accepted" or any(each.begun for each in self.users(goal.capability.resources)):
                continue
            seconds = goal.capability.timeout_s
            if goal.command.timeout_s is not None:
                seconds = min(seconds, goal.command.timeout_s)
            goal.deadline, goal.advanced = now + round(seconds * SECOND), now
            self._order(Begin(goal.command, goal.capability.resources))
            self._go(goal, "running", now)

    # --- telling

    def _go(self, goal: Goal, state: State, now: int, reason: Reason | None = None, detail: str = "") -> None:
        if state != goal.state and state not in NEXT.get(goal.state, ()):
            raise AssertionError(f"{goal.id}: {goal.state} → {state} is no step of a command's life")
        goal.state, goal.told = state, now
        self._say(
            goal.id, goal.command.name, goal.command.reply_to or "", state, now, reason, detail,
            progress=goal.progress if state != "accepted" else None, feedback=goal.feedback,
        )  # fmt: skip

    def _end(self, goal: Goal, state: State, reason: Reason | None, detail: str, now: int, result: Any = None) -> None:
        if state not in NEXT[goal.state]:
            raise AssertionError(f"{goal.id}: {goal.state} → {state} is no step of a command's life")
        goal.state = state
        del self.goals[goal.id]
        progress = goal.progress if goal.deadline is not None else None
        self._say(
            goal.id,
            goal.command.name,
            goal.command.reply_to or "",
            state,
            now,
            reason,
            detail,
            progress=progress,
            result=result,
        )

    def _say(
        self, id: str, name: str, reply: str, state: State, now: int, reason: Reason | None, detail: str, *,
        progress: float | None = None, feedback: Any = None, result: Any = None, keep: bool = True,
    ) -> None:  # fmt: skip
        self._seq += 1
        status = Status(
            id=id, name=name, state=state, seq=self._seq, mono_ms=max(0, now // MS), reason=reason,
            detail=detail[:400], progress=progress, feedback=feedback, result=result,
            retriable=reason in ("stale", "busy", "rate", "link_lost", "timeout", "obstacle"),
        )  # fmt: skip
        if keep:
            self._last.pop(id, None)
            self._last[id] = (status, reply)
            while len(self._last) > KEPT:
                oldest = next((each for each, (s, _) in self._last.items() if s.state in TERMINAL), None)
                if oldest is None:
                    break
                del self._last[oldest]
        self._tell(status, reply)


def _brief(status: Status) -> Status:
    """Without what would make `state` too long to be published."""
    if status.result is None and status.feedback is None:
        return status
    if len(msgspec.json.encode((status.result, status.feedback))) <= BRIEF:
        return status
    return msgspec.structs.replace(status, result=None, feedback=None)

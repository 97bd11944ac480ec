"""What is true at the moment of a turn, as one note: the time, who is in view, what is under way. Pure."""

import math
from collections.abc import Callable, Collection
from datetime import datetime

from policies.llm import wording
from policies.llm.untrusted import plain, words
from policies.scene import Snapshot, Trouble
from streams.clock import SECOND

LASTING = frozenset({"SourceLost", "SourceAway", "OnlySilence", "McpFailed", "Unreachable", "RobotSilent"})
"""Faults that last until a `Recovered`; others tell of something that happened, and was over then."""
LOW = 0.3
"""A battery below this part of it is worth a word."""
_FRESH_S = 2.0
_TOLD = 8


def now_note(snapshot: Snapshot, told: Collection[int], wall: Callable[[int], datetime] | None) -> str:
    """Counted from `Snapshot.asked_ns`. told: ids of calls of which the reader is told elsewhere"""
    parts = []
    if wall is not None:
        now = wall(snapshot.asked_ns)
        parts.append(f"It is {now.hour:02}:{now.minute:02}.")
    parts += [_view(snapshot), _robots(snapshot), _under_way(snapshot, told), _broken(snapshot)]
    text = " ".join(part for part in parts if part)
    return f"[Now: {text}]" if text else ""


def _view(snapshot: Snapshot) -> str:
    if snapshot.sight is None:
        return ""
    age = (snapshot.asked_ns - snapshot.sight.t_ns) / SECOND
    if age > _FRESH_S:
        then = wording.people(snapshot.people)
        return f"You see nothing now; {wording.coarse(age)} ago there was in view: {then}."
    return f"In view: {wording.people(snapshot.people)}."


def _robots(snapshot: Snapshot) -> str:
    """How robots stand. Places of those that stand only: a question asked early must be the same a moment later."""
    told = []
    for robot in snapshot.robots[:_TOLD]:
        says = []
        if robot.link != "heard":
            says.append("is not heard")
        elif robot.speed != (0.0, 0.0):
            says.append("moves")
        elif robot.pose is not None:
            x, y, heading = robot.pose
            says.append(f"stands at x {x:.1f} m, y {y:.1f} m, facing {round(math.degrees(heading) / 5) * 5} degrees")
        if robot.estop == "latched":
            says.append("was stopped, and an operator has to reset it")
        if robot.guards:
            says.append(f"is held back by {', '.join(words(guard, 20) for guard in robot.guards[:4])}")
        if robot.battery is not None and robot.battery < LOW:
            says.append(f"has {round(robot.battery * 20) * 5} % of its battery left")
        if says:
            told.append(f"Robot {words(robot.where, 40)} {', '.join(says)}.")
    return " ".join(told)


def _under_way(snapshot: Snapshot, told: Collection[int]) -> str:
    timers = {timer.id: timer for timer in snapshot.timers}
    things = []
    for done in snapshot.running:
        if done.id in told:
            continue
        name = plain(done.name, 80)
        if (timer := timers.get(done.id)) is not None:
            left = wording.coarse(max(0.0, (timer.due_ns - snapshot.asked_ns) / SECOND))
            things.append(f"timer #{done.id} {words(timer.label, 40)} with {left} left".replace("  ", " "))
        else:
            age = wording.coarse(max(0.0, (snapshot.asked_ns - done.start_ns) / SECOND))
            things.append(f"{'motion' if done.kind == 'Command' else 'tool'} #{done.id} {name}, since {age}")
    more = len(things) - _TOLD
    things = [*things[:_TOLD], f"{more} more"] if more > 0 else things
    return f"Under way: {'; '.join(things)}." if things else ""


def _broken(snapshot: Snapshot) -> str:
    troubles = (event for event in snapshot.events if isinstance(event, Trouble) and not event.over)
    where = {words(event.where, 40) for event in troubles if event.error in LASTING}
    return f"Not working: {', '.join(sorted(where)[:_TOLD])}." if where else ""

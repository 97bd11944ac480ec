"""The commands that a driver is carrying out: begun, paused, ended, and reported finished exactly once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embodied.node.complaints import named, one_line
from embodied.node.driver import Driver, Task, TaskFailed
from embodied.robot.codec import encode
from embodied.robot.decisions import Begin, Sensed, Velocity
from embodied.robot.errors import Malformed
from embodied.robot.lifecycle import Ended
from embodied.robot.vocabulary import Reason

RESULT_MAX = 16 * 1024  # bytes of JSON

Progressed = Callable[[str, float | None, Any], None]
Finished = Callable[[str, Ended, Reason | None, str, Any], None]


@dataclass(eq=False)
class _Running:
    """One of them. job: None until it is started;  ended: nobody wants it any more"""

    task: Task
    resources: tuple[str, ...]
    job: asyncio.Task[None] | None = None
    ended: bool = False


class Tasks:
    """What runs now, oldest first.

    progressed, finished: told of each, the latter exactly once;  wrong: told of what a driver should not have raised
    A result that cannot be sent fails its command: nobody may be told of a success without what came of it.
    """

    def __init__(
        self, driver: Driver, progressed: Progressed, finished: Finished, wrong: Callable[[str, str, Exception], None]
    ) -> None:
        self._driver = driver
        self._progressed, self._finished, self._wrong = progressed, finished, wrong
        self._running: dict[str, _Running] = {}
        self._sensed, self._now = Sensed(), 0
        self._driven, self._posed, self._speeds = Velocity(), dict[str, float](), dict[str, float]()

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, begin: Begin, group: asyncio.TaskGroup) -> None:
        """Start `begin.command` in `group`."""
        id = begin.command.id
        task = Task(begin.command, lambda fraction, feedback: self._progressed(id, fraction, sound(feedback)[0]))
        running = self._running[id] = _Running(task, begin.resources)
        self._inform(task)
        running.job = group.create_task(self._perform(running), name=f"{begin.command.name} {id}")

    def end(self, id: str) -> None:
        """It is not wanted any more: cancel it, and take no wish of it from now on."""
        if (running := self._running.get(id)) is not None and not running.ended:
            running.ended = True
            if running.job is not None:
                running.job.cancel()

    def end_all(self) -> None:
        """End every one."""
        for id in list(self._running):
            self.end(id)

    def pause(self, id: str, paused: bool) -> None:
        """Hold it, or let it go on."""
        if (running := self._running.get(id)) is not None:
            running.task.paused = paused

    def inform(self, sensed: Sensed, now: int) -> None:
        """A control step begins: let each task take its own."""
        self._sensed, self._now = sensed, now
        for running in list(self._running.values()):
            self._inform(running.task)
            running.task.advance(sensed, now)

    def given(self, driven: Velocity, posed: Mapping[str, float], seconds: float) -> None:
        """What the motors got in this step, `seconds` after the step before."""
        before = self._posed
        self._driven, self._posed = driven, dict(posed)
        if seconds > 0:
            self._speeds = {name: (at - before.get(name, at)) / seconds for name, at in posed.items()}

    def wish(self, resource: str) -> tuple[str, Velocity]:
        """(id, velocity) of the newest that uses `resource`; ("", rest) without one."""
        for id, running in reversed(self._running.items()):
            if resource in running.resources:
                return (id, running.task.velocity) if not running.ended else ("", Velocity())
        return "", Velocity()

    def aims(self) -> tuple[str, dict[str, float]]:
        """(the id of one that runs, the positions that all of them wish)."""
        found, wished = "", dict[str, float]()
        for id, running in self._running.items():
            if running.task.joints and not running.ended and not running.task.paused:
                found = id
                wished.update(running.task.joints)
        return found, wished

    def _inform(self, task: Task) -> None:
        task.sensed, task.now = self._sensed, self._now
        task.driven, task.posed, task.speeds = self._driven, self._posed, self._speeds

    async def _perform(self, running: _Running) -> None:
        task = running.task
        how: Ended = "succeeded"
        reason: Reason | None = None
        detail, result = "", None
        try:
            result = await self._driver.perform(task)
            if running.ended:  # it kept the cancellation for itself
                how = "cancelled"
        except TaskFailed as failed:
            how, reason, detail = "failed", failed.reason, one_line(failed.detail)
            result = failed.result if failed.result is not None else task.result
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if not running.ended and own is not None and own.cancelling():
                raise  # the program ends
            how, result = ("cancelled" if running.ended else "failed"), task.result
            reason, detail = (None, "") if running.ended else ("internal", "the driver gave up without saying why")
        except Exception as error:  # noqa: BLE001 - a driver's mistake ends its command, never the robot's guards
            how, reason, result = "failed", "hardware" if isinstance(error, OSError) else "internal", task.result
            detail = one_line(f"the driver failed: {named(error)}")
            self._wrong(task.command.id, detail, error)
        if self._running.get(task.command.id) is not running:
            return  # it ended so late that its id belongs to another by now
        del self._running[task.command.id]
        told, why = sound(result)
        if why and how == "succeeded":
            how, reason, detail = "failed", "internal", one_line(f"it was done, but the driver's result {why}")
        self._finished(task.command.id, how, reason, detail, told)


def sound(value: Any) -> tuple[Any, str]:
    """(`value`, ""), or None and why it is no JSON of a bearable length: no message may become unreadable by it."""
    if value is None:
        return None, ""
    try:
        size = len(encode(value))
    except Malformed as error:
        return None, f"cannot be sent: {error}"
    return (value, "") if size <= RESULT_MAX else (None, f"has {size} bytes of JSON: {RESULT_MAX} are the most")

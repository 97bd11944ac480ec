"""The port of a robot's driver: five methods stand between the guards and the metal. Structural; nothing to inherit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.messages import Command
from embodied.robot.reports import Diagnostic
from embodied.robot.vocabulary import Reason, StopCategory


class TaskFailed(Exception):
    """Raised by `Driver.perform`: the command could not be carried out.

    reason: out of the contract's list;  detail: in words, for people and models;  retriable: a new try may help
    """

    def __init__(self, reason: Reason, detail: str, result: Any = None) -> None:
        self.reason, self.detail, self.result = reason, detail, result
        super().__init__(detail)


class Task:
    """A command that is being carried out, as its driver sees it.

    command: id, name and checked arguments;  sensed: what the robot knows of itself, newest;  now: ns
    driven, posed: what the base and the joints were given last, after the guards;  speeds: of `posed`, in rad/s
    result: JSON that is told if it is cancelled, or fails without one: set it on the way
    step: awaits the next control step (20 ms); a goal is a loop over it:

        while (left := goal - task.sensed.pose[0]) > 0.01:
            task.drive(Velocity(vx=min(0.3, left)))
            await task.step()
    """

    def __init__(self, command: Command, progressed: Callable[[float | None, Any], None]) -> None:
        self.command = command
        self.sensed = Sensed()
        self.now = 0
        self.paused = False
        self.velocity = Velocity()
        self.joints: dict[str, float] = {}
        self.driven = Velocity()
        self.posed: Mapping[str, float] = {}
        self.speeds: Mapping[str, float] = {}
        self.result: Any = None
        self._progressed = progressed
        self._next = asyncio.Event()

    def drive(self, velocity: Velocity) -> None:
        """Wish this velocity of the base, until another is wished. What it gets is what the guards allow."""
        self.velocity = velocity

    def aim(self, joints: Mapping[str, float]) -> None:
        """Wish these positions (rad) of joints, until others are wished."""
        self.joints = dict(joints)

    def progress(self, fraction: float | None = None, feedback: Any = None) -> None:
        """Tell how far it has come (0 to 1), with JSON of its own. Agents hear it five times a second at most."""
        self._progressed(fraction, feedback)

    async def step(self) -> None:
        """Wait for the next control step in which the task is not paused; `sensed` and `now` are new then."""
        while True:
            await self._next.wait()
            if not self.paused:
                return

    def advance(self, sensed: Sensed, now: int) -> None:
        """For the node: a control step begins."""
        self.sensed, self.now = sensed, now
        waiting, self._next = self._next, asyncio.Event()
        waiting.set()


@runtime_checkable
class Driver(Protocol):
    """A robot's hardware. All methods run on one event loop; none but `perform` may wait."""

    def sense(self, now: int) -> Sensed:
        """What the robot knows of itself, at `now` (ns): called every 20 ms."""

    def actuate(self, velocity: Velocity, joints: Mapping[str, float], now: int) -> None:
        """Give this to the motors: every 20 ms, the only thing that may move them.

        Motors without news for 200 ms must stop by themselves.
        """

    async def perform(self, task: Task) -> Any:
        """Carry out `task.command`, and return its result (JSON). Raises `TaskFailed`.

        Cancelled when it is not wanted any more: clean up and let the cancellation pass, within two seconds. Its wishes
        end with it.
        """

    def brake(self, category: StopCategory, why: str) -> None:
        """Stop by your own means, too: `actuate` goes to zero in any case. Category as in IEC 60204-1."""

    async def close(self) -> None:
        """Motors off; give back devices. Idempotent."""


@runtime_checkable
class Telling(Protocol):
    """A driver that tells more than `Sensed` has, such as a thumbnail of its camera."""

    def channels(self, now: int) -> Mapping[str, Mapping[str, Any]]:
        """The values (JSON) of each channel of telemetry: five times a second it is asked, new objects are told."""


@runtime_checkable
class Diagnosed(Protocol):
    """A driver that knows how its parts are."""

    def diagnose(self) -> Sequence[Diagnostic]:
        """Asked once a second."""

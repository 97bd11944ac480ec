"""The program around the guards (docs/robot-contract.md): messages in, 50 steps a second, orders to the driver.

    link ──► Guarded ──► effects, in order ──► link | driver | audit log
                ▲   └──► drive, joints ──────► driver.actuate, the only way to the motors
    driver.sense┘

One process cannot watch itself: if this loop hangs, the motor controllers' own time-out must stop the motors.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import structs

from embodied.errors import BodyError
from embodied.link.port import Dial, Message, Outgoing
from embodied.node.complaints import Complaints, named
from embodied.node.driver import Driver
from embodied.node.reporting import Reporting
from embodied.node.senses import Sense
from embodied.node.sensing import checked
from embodied.node.tasks import Tasks
from embodied.node.voice import Voice
from embodied.robot.admission import BASE
from embodied.robot.decisions import Begin, Brake, Effect, End, GoOn, Heard, Hold, Note, Sensed, Tell, Velocity
from embodied.robot.factsheet import Factsheet
from embodied.robot.guarded import Guarded
from embodied.robot.lifecycle import Ended
from embodied.robot.motion import Reach
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import MS, SECOND, Reason
from streams.clock import Clock

STEP = 20 * MS
REST_WITHIN = 2 * SECOND
CLOSE_WITHIN = 2 * SECOND


class DriverFailed(BodyError):
    """The driver raised where it may not: in `sense`, `actuate` or `brake`; or `sense` gave what is no `Sensed`.

    The robot was stopped.
    """


class GuardsFailed(BodyError):
    """A mistake of this program itself: its guards, or what takes notes of them, raised. The robot was stopped."""


class LinkEnded(BodyError):
    """The link stopped trying to reach the broker, without being asked to."""


class RobotNode:
    """A robot on the network: `driver` behind its guards. One `run` for each.

    factsheet: what it announces; without a `boot` one is made of `secret`;  secret: random bytes, new at each start
    dial: to the broker;  clock: of this robot;  fleet, robot: its ids;  settings: of the guards;  audit: given notes
    reach: where the tool is, if the factsheet has a workspace;  stepped: called after each control step (a watchdog)
    senses: cameras and a microphone, whose pictures and sound go out as telemetry; one that fails is told as an event
    sensed, driven, told: newest, to look at: `told` has what was last told on each channel but telemetry
    unclosed: after `run`, why the driver could not be closed, "" if it was
    Tracebacks of the driver's mistakes go to stderr; agents are told one line.
    Raises `FactsheetInvalid`.
    """

    def __init__(
        self, factsheet: Factsheet, driver: Driver, dial: Dial, clock: Clock, *, fleet: str, robot: str,
        settings: GuardSettings | None = None, secret: bytes, audit: Callable[[Note], None] | None = None,
        reach: Reach | None = None, stepped: Callable[[], None] = lambda: None, senses: Sequence[Sense] = (),
    ) -> None:  # fmt: skip
        if not factsheet.boot:
            factsheet = structs.replace(factsheet, boot=hashlib.sha256(b"boot" + secret).hexdigest()[:12])
        self.factsheet, self.fleet, self.robot = factsheet, fleet, robot
        self.sensed, self.driven = Sensed(), Velocity()
        self.guarded = Guarded(factsheet, fleet=fleet, robot=robot, secret=secret, settings=settings, reach=reach)
        self._driver, self._clock, self._audit, self._stepped = driver, clock, audit, stepped
        self.unclosed = ""
        self._complaints = Complaints()
        self._tasks = Tasks(driver, self._progressed, self._finished, self._wrong)
        self._senses = senses
        self._effects: deque[Effect] = deque()
        self._doing = self._leaving = False
        self._failure: DriverFailed | GuardsFailed | None = None
        self._gave = 0
        self._posed: dict[str, float] = {}
        self._group: asyncio.TaskGroup | None = None
        self._voice = Voice(
            dial, clock, fleet=fleet, robot=robot, will=self.guarded.will(), receive=self._receive, hello=self._hello
        )
        self.link, self.told = self._voice.link, self._voice.told
        self._reporting = Reporting(self._voice, self._complaints, clock, factsheet, driver, fleet=fleet, robot=robot)

    async def run(self) -> None:
        """Be the robot until cancelled; then come to rest, say goodbye and close the driver, within some five seconds.

        Whatever happens, the motors get their zero and the driver is closed. But a `perform` that keeps its
        cancellation for itself is waited for after that: nothing can end it but the process.
        Raises `DriverFailed` and `GuardsFailed` (the network was told that the robot is lost) and `LinkRefused`.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                link = group.create_task(self.link.run(), name="link")
                senses = [group.create_task(self._reporting.sense(each), name="sense") for each in self._senses]
                try:
                    await self._control(link)
                except BodyError:
                    raise
                except Exception as error:
                    raise self._broke("the control loop", error) from error
                finally:
                    await self._leave()
                    for task in (link, *senses):
                        task.cancel()
        except BaseExceptionGroup as several:
            raise next((e for e in several.exceptions if isinstance(e, BodyError)), several.exceptions[0]) from several

    # --- the loop

    async def _control(self, link: asyncio.Task[None]) -> None:
        due = self._clock.now()
        while not link.done():  # what it raised ends the group; it has no business to end otherwise
            self._reporting.step(self._clock.now() - due)
            await self._step()
            self._stepped()
            due += STEP * max(1, -(-(self._clock.now() + 1 - due) // STEP))  # the next on the grid: none is made up for
            await self._clock.sleep_until(due)
        raise LinkEnded(f"robot {self.robot}: its link to the broker has ended; it was stopped.")

    async def _step(self) -> None:
        now = self._clock.now()
        try:
            self.sensed, faults = checked(self._driver.sense(now))
        except Exception as error:
            raise self._failed("sense", error) from error
        for fault in faults:
            self._reporting.trouble(fault, f"a sensor gave what is no number: {fault}", now)
        self._ask(lambda: self.guarded.sense(self.sensed, now))
        self._ask(lambda: self.guarded.tick(now))
        self._tasks.inform(self.sensed, now)
        await asyncio.sleep(0)  # the tasks take their step, so that their wishes are of now
        self._move()
        self._reporting.report(self.sensed, now, tasks=len(self._tasks), parts=(self._driver, self._audit))
        if self._failure is not None:
            raise self._failure

    def _move(self) -> None:
        """What is wished, held back by the guards, to the motors."""
        now = self._clock.now()
        try:
            goal, wanted = self._tasks.wish(BASE)
            self.driven = self.guarded.drive(now, goal, wanted)
            self._posed = self.guarded.joints(now, *self._tasks.aims())
        except Exception as error:  # noqa: BLE001 - without guards nothing moves
            self.driven = Velocity()
            self._failure = self._failure or self._broke("the way to the motors", error)
        self._tasks.given(self.driven, self._posed, (now - self._gave) / SECOND)
        self._gave = now
        try:
            self._driver.actuate(self.driven, self._posed, now)
        except Exception as error:
            raise self._failed("actuate", error) from error

    # --- effects, first come first served

    def _ask(self, guards: Callable[[], Iterable[Effect]]) -> None:
        """Do what the guards say. What they raise ends the loop at its next step: here the link or a task may call."""
        try:
            self._do(guards())
        except Exception as error:  # noqa: BLE001 - as above
            self._failure = self._failure or self._broke("the guards", error)

    def _do(self, effects: Iterable[Effect]) -> None:
        self._effects.extend(effects)
        if self._doing:
            return  # what an answer of the driver brings comes after what is there already
        self._doing = True
        try:
            while self._effects:
                self._one(self._effects.popleft())
        finally:
            self._doing = False

    def _one(self, effect: Effect) -> None:
        match effect:
            case Tell():
                self._voice.tell(effect)
            case Begin():
                if self._group is not None:
                    self._tasks.begin(effect, self._group)
            case End(id=id):
                self._tasks.end(id)
            case Hold(id=id):
                self._tasks.pause(id, True)
            case GoOn(id=id):
                self._tasks.pause(id, False)
            case Brake(category=category, why=why):
                try:
                    self._driver.brake(category, why)
                except Exception as error:  # noqa: BLE001 - as above; the loop tells it, for here the link may call
                    self._failure = self._failure or self._failed("brake", error)
            case Note():
                if self._audit is not None:
                    self._audit(effect)

    def _progressed(self, id: str, fraction: float | None, feedback: Any) -> None:
        self._ask(lambda: self.guarded.progressed(id, self._clock.now(), fraction, feedback))

    def _finished(self, id: str, how: Ended, reason: Reason | None, detail: str, result: Any) -> None:
        now = self._clock.now()
        self._ask(lambda: self.guarded.finished(id, how, now, reason=reason, detail=detail, result=result))

    def _wrong(self, id: str, detail: str, error: Exception) -> None:
        self._complaints.tell("perform", error, self._clock.now())
        self._voice.event("urgent", detail, id)

    # --- the network

    def _receive(self, message: Message) -> None:
        if not self._leaving:
            heard = Heard(message.topic, message.payload, message.retained)
            self._ask(lambda: self.guarded.hear(heard, self._clock.now()))

    def _hello(self) -> list[Outgoing]:
        try:
            return self._first(self.guarded.hello(self._clock.now()))
        except Exception as error:  # noqa: BLE001 - as in `_ask`
            self._failure = self._failure or self._broke("the guards", error)
            return []

    def _first(self, effects: Sequence[Effect]) -> list[Outgoing]:
        """Those to be told, for the link to send before all else; the others are done."""
        self._do([each for each in effects if not isinstance(each, Tell)])
        return self._voice.first([each for each in effects if isinstance(each, Tell)])

    # --- the end

    def _failed(self, where: str, error: Exception) -> DriverFailed:
        self._complaints.tell(where, error, self._clock.now())
        failure = DriverFailed(f"robot {self.robot}: its driver failed in `{where}` ({named(error)}); it was stopped.")
        self._failure = failure
        return failure

    def _broke(self, where: str, error: Exception) -> GuardsFailed:
        self._complaints.tell(where, error, self._clock.now())
        failure = GuardsFailed(f"robot {self.robot}: {where} failed ({named(error)}); it was stopped.")
        self._failure = failure
        return failure

    async def _leave(self) -> None:
        """To rest, then off. A second cancellation makes it shorter; the motors get their zero in any case."""
        now = self._clock.now()
        try:
            self._part(now)
            until = now + REST_WITHIN
            while self._clock.now() < until and (len(self._tasks) or not self.driven.still):
                self._quietly(self._move)
                self._quietly(self._stepped)
                await self._clock.sleep_until(self._clock.now() + STEP)
        finally:
            self._quietly(self._still)
            await self._close()

    def _part(self, now: int) -> None:
        """The last words, as far as the guards can still say some. Each step by itself: none may keep the next away."""
        failure = self._failure
        if failure is not None:
            self._quietly(lambda: self._voice.event("fatal", str(failure)))
            self._quietly(lambda: self._do(self.guarded.stop("its own driver failed", now)))
            self._leave_off()
        else:
            self._leave_off()
            self._quietly(lambda: self._do(self.guarded.goodbye(now)))
        self._quietly(self._tasks.end_all)

    def _leave_off(self) -> None:
        """From now on nothing is heard, and of presence only the last word counts."""
        self._leaving = True
        self._voice.leave()

    def _quietly(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DriverFailed:
            pass  # told already; on with it, for the next try may stop the motors
        except Exception as error:  # noqa: BLE001 - as above
            self._complaints.tell("leaving", error, self._clock.now())

    def _still(self) -> None:
        """Zero to the motors, without asking anybody; the joints stay where they were sent last."""
        self.driven = Velocity()
        self._driver.actuate(self.driven, self._posed, self._clock.now())

    async def _close(self) -> None:
        try:
            async with asyncio.timeout_at(self._clock.deadline(self._clock.now() + CLOSE_WITHIN)):
                await self._driver.close()
            return
        except TimeoutError:
            self.unclosed = f"it did not end within {CLOSE_WITHIN / SECOND:g} s"
        except Exception as error:  # noqa: BLE001 - the last thing a driver does; it is told, and ends nothing else
            self.unclosed = named(error)
            self._complaints.tell("close", error, self._clock.now())
        said = f"robot {self.robot}: its driver could not be closed ({self.unclosed})."
        self._complaints.say(said)
        self._quietly(lambda: self._voice.event("critical", said))

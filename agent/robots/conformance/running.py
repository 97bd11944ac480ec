"""Tries one promise after the other, and leaves the robot standing whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from agent.robots.conformance.others import Disturbed
from agent.robots.conformance.party import Party
from agent.robots.conformance.promises import Broken, NotTried, Promise, Result, whole
from agent.robots.conformance.stage import NotHeard, Program, Stage, Wire
from embodied.link.port import Dial, LinkBroken, LinkError, Outgoing
from embodied.robot.vocabulary import SECOND, Rank
from streams.clock import Clock
from streams.errors import VisavisError

PATIENCE = 150.0  # s for one promise, a restart included
LEAVE = 12.0  # s to leave the robot standing
AFRESH = 5.0  # s to stop it by a new connection
LATER = 0.3  # s within which what others do to a robot is told


UNTOUCHED = Program()


class Trial:
    """All that stays the same from promise to promise.

    latched: whether the robot was left stopped, because it could not be reset
    ended: why the trial could not go on to its end, in a sentence; "" if it could
    agent, second: (dial, the agent's id, the key of its seal): the one that misbehaves, on `wire`, and the other
    spare: dials with another client id, to stop the robot when the connections have ended
    passing: ids that are of this run alone
    """

    def __init__(
        self, agent: tuple[Dial, str, bytes], second: tuple[Dial, str, bytes], wire: Wire, clock: Clock, *, fleet: str,
        robot: str, program: Program = UNTOUCHED, operator_key: bytes = b"", speed: float = 0.2, rank: Rank = "policy",
        spare: Dial | None = None, passing: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._agent, self._second, self._wire, self.clock = agent, second, wire, clock
        self._fleet, self._robot, self._program = fleet, robot, program
        self._operator_key, self._speed, self._rank = operator_key, speed, rank
        self._spare, self._passing = spare or second[0], passing
        self._turns = 0
        self._sessions: set[str] = set()
        self.latched = False
        self.ended = ""

    async def run(self, promises: Sequence[Promise], told: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """Try `promises` in their order; `told` is given each result as it comes.

        It ends at once, with `ended`, when the robot is not there or not heard any more, when the broker cannot be
        used, when an option proves to be wrong, and when somebody else holds the robot's lease or commands it: a
        promise that was being tried is then not judged. What was not reached is "not run". Cancelled, the robot is left
        standing first.
        """
        results: list[Result] = []
        for each in promises:
            start = self.clock.now()
            result = await self._one(each)
            if result is not None:
                results.append(result._replace(seconds=(self.clock.now() - start) / SECOND))
                told(results[-1])
            if self.ended:
                break
        return whole(promises, results, self.ended)

    async def _one(self, promise: Promise) -> Result | None:
        """None: it was not begun."""
        begun, stage = False, None
        outcome: Result | VisavisError | None = None
        try:
            async with self.stage() as stage:
                outcome = await self._watched(promise, stage)
                begun = stage.begun
        except VisavisError as error:
            if isinstance(outcome, Result):
                self.ended = str(error)  # only afterwards: what was seen counts
                return outcome
            outcome = error
        if isinstance(outcome, Result):
            if stage is not None and stage.trouble is not None:
                self.ended = str(stage.trouble)
            return outcome
        self.ended = str(outcome)
        if isinstance(outcome, Disturbed) and (begun or self._turns > 1):
            when = "while" if begun else "before"
            self.ended = f"the trial was disturbed {when} trying {promise.name}: {outcome}, and try again"
        if isinstance(outcome, NotHeard):
            self.ended = f"no robot {self._robot} was found in fleet {self._fleet}: {outcome}"
            if begun or self._turns > 1:
                when = "while" if begun else "before"
                self.ended = (
                    f"the robot is not heard any more: its program ended, or was cut off, {when} trying {promise.name} "
                    f"({outcome})"
                )
        return Result(promise, "not run", self.ended, 0.0) if begun else None

    async def _watched(self, promise: Promise, stage: Stage) -> Result | VisavisError:
        """Try it, until something makes that useless. Neither task raises: a group that fails would wrap it."""
        async with asyncio.TaskGroup() as tasks:
            attempt = tasks.create_task(_verdict(promise, stage))
            watch = tasks.create_task(stage.watch())
            await asyncio.wait((attempt, watch), return_when=asyncio.FIRST_COMPLETED)
            over = watch.result() if watch.done() else None
            attempt.cancel()
            watch.cancel()
        return over or attempt.result()

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """Fresh clients for one promise; afterwards the robot stands, and nobody holds the lease.

        Raises `LinkError` with the reason if a connection cannot be made, or has ended.
        """
        self._turns += 1
        agent, second = (
            Party(
                dial,
                self.clock,
                fleet=self._fleet,
                robot=self._robot,
                name=name,
                key=key,
                passing=name in self._passing,
            )
            for dial, name, key in (self._agent, self._second)
        )
        stage = Stage(
            agent, second, self._wire, self._program, operator_key=self._operator_key, speed=self._speed,
            rank=self._rank, side=1 if self._turns % 2 else -1, sessions=self._sessions,
        )  # fmt: skip
        self._sessions |= {agent.session, second.session}
        entered = False
        try:
            async with second.here(), agent.here():
                entered = True
                try:
                    yield stage
                finally:
                    try:
                        async with asyncio.timeout(LEAVE):
                            await stage.leave()
                    except TimeoutError:
                        pass  # nothing more can be done from here
                    self.latched = second.diary.estop == "latched"
        finally:
            ended = entered and (second.gone is not None or agent.gone is not None)
            unreached = await self._afresh(second) if ended or (entered and not stage.stopped) else None
        if ended:
            raise _why(second, agent, unreached)

    async def _afresh(self, second: Party) -> LinkError | None:
        """Stop the robot by a connection of its own. Returns why that could not be."""
        body = second.packed(second.envelope("stop", origin=None, fresh=None, lease=None))
        try:
            async with asyncio.timeout(AFRESH), self._spare(None) as connection:
                await connection.publish(Outgoing(second.topic("command", "stop"), body, 1))
        except LinkError as error:
            return error
        except TimeoutError:
            return LinkBroken(f"the broker has not answered for {AFRESH:g} s")
        return None


def _why(second: Party, agent: Party, unreached: LinkError | None) -> LinkError:
    """Why a connection has ended: it is the broker, or somebody else with the same id."""
    if unreached is not None:
        return LinkBroken(f"{unreached}; the robot could not be told to stop: it has to do so by itself")
    if second.gone is not None and agent.gone is not None:
        return LinkBroken(
            f"the broker ended the connections of {second.name} and {agent.name}, and is there: it was started "
            "anew, or another client uses these ids"
        )
    name, option = (second.name, "--operator") if second.gone is not None else (agent.name, "--agent")
    return LinkBroken(f"another client uses the id {name}: the broker ended our connection; give another {option}")


async def _verdict(promise: Promise, stage: Stage) -> Result | VisavisError:
    try:
        async with asyncio.timeout(PATIENCE):
            await stage.ready()
            return Result(promise, "passed", await promise.attempt(stage), 0.0)
    except Broken as broken:
        result = Result(promise, "failed", str(broken), 0.0)
    except NotTried as not_tried:
        result = Result(promise, "not run", str(not_tried), 0.0)
    except TimeoutError:
        result = Result(promise, "failed", f"it was not over after {PATIENCE:g} s", 0.0)
    except VisavisError as error:
        return error
    await stage.there()  # what a robot that is gone has not done is not its fault
    await stage.wait(LATER)
    return stage.others() or result  # nor what it did for somebody else

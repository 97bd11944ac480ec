"""Tries one promise after the other, and leaves the robot standing whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from agent.robots.conformance.party import Party
from agent.robots.conformance.promises import Broken, NotTried, Promise, Result
from agent.robots.conformance.stage import Program, Stage, Wire
from embodied.link.port import Dial, LinkError, LinkRefused
from embodied.robot.vocabulary import SECOND, Rank
from streams.clock import Clock
from streams.errors import VisavisError

PATIENCE = 150.0  # s for one promise, a restart included
LEAVE = 12.0  # s to leave the robot standing


UNTOUCHED = Program()


class Trial:
    """All that stays the same from promise to promise.

    latched: whether the robot was left stopped, because it could not be reset
    agent, second: (dial, the agent's id, the key of its seal): the one that misbehaves, on `wire`, and the other
    """

    def __init__(
        self, agent: tuple[Dial, str, bytes], second: tuple[Dial, str, bytes], wire: Wire, clock: Clock, *, fleet: str,
        robot: str, program: Program = UNTOUCHED, operator_key: bytes = b"", speed: float = 0.2, rank: Rank = "policy",
    ) -> None:  # fmt: skip
        self._agent, self._second, self._wire, self.clock = agent, second, wire, clock
        self._fleet, self._robot, self._program = fleet, robot, program
        self._operator_key, self._speed, self._rank = operator_key, speed, rank
        self._turns = 0
        self.latched = False

    async def run(self, promises: Sequence[Promise], told: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """Try `promises` in their order; `told` is given each result as it comes.

        Raises `LinkRefused` if the broker does not want us. Cancelled, the robot is left standing first.
        """
        results = []
        for each in promises:
            start = self.clock.now()
            result = await self._one(each)
            result = result._replace(seconds=(self.clock.now() - start) / SECOND)
            results.append(result)
            told(result)
        return results

    async def _one(self, promise: Promise) -> Result:
        try:
            async with self.stage() as stage, asyncio.timeout(PATIENCE):
                await stage.ready()
                return Result(promise, "passed", await promise.attempt(stage), 0.0)
        except Broken as broken:
            return Result(promise, "failed", str(broken), 0.0)
        except NotTried as not_tried:
            return Result(promise, "not run", str(not_tried), 0.0)
        except LinkRefused:
            raise
        except LinkError as error:
            return Result(promise, "failed", f"a connection broke on the way: {error}", 0.0)
        except TimeoutError:
            return Result(promise, "failed", f"it was not over after {PATIENCE:g} s", 0.0)

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """Fresh clients for one promise; afterwards the robot stands, and nobody holds the lease."""
        self._turns += 1
        agent, second = (
            Party(dial, self.clock, fleet=self._fleet, robot=self._robot, name=name, key=key)
            for dial, name, key in (self._agent, self._second)
        )
        stage = Stage(
            agent, second, self._wire, self._program, operator_key=self._operator_key, speed=self._speed,
            rank=self._rank, side=1 if self._turns % 2 else -1,
        )  # fmt: skip
        # A failure inside comes through as it is: the parties' task groups must not wrap it.
        wrong: Broken | NotTried | VisavisError | TimeoutError | None = None
        async with second.here(), agent.here():
            try:
                yield stage
            except (Broken, NotTried, VisavisError, TimeoutError) as error:
                wrong = error
            finally:
                try:
                    async with asyncio.timeout(LEAVE):
                        await stage.leave()
                except TimeoutError:
                    pass  # nothing more can be done from here
                self.latched = second.diary.estop == "latched"
        if wrong is not None:
            raise wrong

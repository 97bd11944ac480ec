"""Where one promise is tried: an agent on a way that can be spoilt, a second one that watches, and the robot."""

import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple, Protocol

from agent.robots.conformance.means import Errand, Means
from agent.robots.conformance.motion import Motion
from agent.robots.conformance.others import Disturbed, Others
from agent.robots.conformance.party import Party
from agent.robots.conformance.promises import Broken, NotTried, check
from embodied.robot.codec import encode
from embodied.robot.estop import proof
from embodied.robot.factsheet import Capability, Factsheet
from embodied.robot.messages import EstopReset
from embodied.robot.reports import Connection, Safety, Status
from embodied.robot.vocabulary import SECOND, Rank, State
from streams.clock import Clock
from streams.errors import VisavisError

ALIVE = 10.0  # s to wait for a robot to be there
SILENT = 3.0  # s without a heartbeat: it is there no more
LOOK_EVERY = 0.1  # s
TOGETHER = 0.3  # s within which both connections end if it is the broker that ends them


class NotHeard(VisavisError):
    """The robot is not there: nothing can be tried on it."""


class Wire(Protocol):
    """The way between the agent and the broker, as far as it can be spoilt."""

    def hold(self) -> None:
        """Nothing passes, nothing is lost."""

    def release(self) -> None:
        """What was held comes now."""

    def blackhole(self, on: bool = True) -> None:
        """All vanishes."""


class Program(NamedTuple):
    """The robot's program, as far as it may be meddled with; each None if it may not.

    restart: ends it, roughly, and starts it again; freeze and thaw: SIGSTOP and SIGCONT, or what amounts to them
    """

    restart: Callable[[], Awaitable[None]] | None = None
    freeze: Callable[[], Awaitable[None]] | None = None
    thaw: Callable[[], Awaitable[None]] | None = None


class Stage:
    """agent: misbehaves;  second: behaves, sees everything, and may be an operator;  both connected already

    operator_key: with which a reset of the stop is proven;  speed: of the base in trials, m/s;  side: +1 or -1: which
    way it is driven, so that it does not go further and further;  sessions: of our parties of earlier promises
    """

    def __init__(
        self, agent: Party, second: Party, wire: Wire, program: Program, *, operator_key: bytes = b"",
        speed: float = 0.2, rank: Rank = "policy", side: int = 1,
        sessions: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.agent, self.second, self.wire, self.program = agent, second, wire, program
        self.clock: Clock = agent.clock
        self.rank: Rank = rank
        self.side = side
        self._operator_key, self._speed = operator_key, speed
        self._others = Others(
            second.diary, second.robot, (agent.name, second.name), {*sessions, agent.session, second.session}
        )
        self._factsheet: Factsheet | None = None
        self._quiet = self._frozen = False
        self.trouble: VisavisError | None = None
        self.stopped = False

    # --- what there is

    async def ready(self) -> None:
        """Wait until the robot is heard. Raises `NotHeard` if it is not, `Disturbed` if somebody else has its lease."""
        there: Factsheet | None = None
        for party in (self.second, self.agent):
            diary = party.diary
            there = await diary.until(lambda d=diary: d.fresh and d.newest(Factsheet), ALIVE)  # type: ignore[misc]
            if there is None:
                raise NotHeard(self._missing(party))
        if others := self.others():
            raise others  # before anything is done to it: nor is it stopped, it is theirs
        self._factsheet = there

    def _missing(self, party: Party) -> str:
        diary = party.diary
        if party is self.agent:
            return f"{party.name} does not hear the robot: may it read the robot's topics at the broker?"
        if diary.fresh is not None:
            return "heartbeats are heard, and no factsheet that can be read"
        if diary.newest(Factsheet) is not None:
            return f"a factsheet is kept for it, and no heartbeat was heard for {ALIVE:g} s: its program is not running"
        return f"nothing was heard of it for {ALIVE:g} s: --robot and --fleet, and is its program running?"

    def others(self) -> Disturbed | None:
        """Somebody else who has to do with the robot."""
        found = self._others()
        return Disturbed(f"{found}: end it, or wait") if found else None

    async def watch(self) -> VisavisError:
        """Wait for what makes going on useless, and return it.

        A connection that has ended, a silent robot, somebody else who moves it.
        """
        while True:
            await self.wait(LOOK_EVERY)
            for party in (self.second, self.agent):
                if party.gone is not None:
                    await self.wait(TOGETHER)
                    return party.gone
            if self._factsheet is not None and (others := self.others()):
                return others
            if self._factsheet is not None and not self._quiet and self._silent(SILENT):
                # With a broker that stands still nothing is heard, either.
                return await self.second.check() or NotHeard(f"no heartbeat came for {SILENT:g} s")

    def _silent(self, seconds: float) -> bool:
        return self.now - self.second.diary.heard > seconds * SECOND

    async def there(self) -> None:
        """Return when it is sure that what was seen is the robot's own doing: it is still heard. Else wait for ever."""
        late = LOOK_EVERY + 2 / self.factsheet.timing.beat_hz
        while self.second.gone or self.agent.gone or (not self._quiet and self._silent(late)):
            await self.wait(LOOK_EVERY)

    @property
    def begun(self) -> bool:
        """Whether the robot was heard, so that something may have been done to it."""
        return self._factsheet is not None

    @property
    def factsheet(self) -> Factsheet:
        """Of the robot."""
        if self._factsheet is None:
            raise NotTried("no factsheet was heard")
        return self._factsheet

    @property
    def means(self) -> Means:
        """What the robot can be asked to do."""
        return Means(self.factsheet, self._speed)

    @property
    def motion(self) -> Motion:
        """Of the robot, as the second party hears it, whatever happens to the agent's way."""
        return Motion(self.second.diary, self.factsheet.limits.radius_m)

    @property
    def boot(self) -> str:
        """Of the robot, as it was last heard."""
        fresh = self.second.diary.fresh
        return fresh.boot if fresh is not None else ""

    @property
    def proves(self) -> bool:
        """Whether an operator's key was given."""
        return bool(self._operator_key)

    @property
    def now(self) -> int:
        """ns."""
        return self.clock.now()

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    # --- what a promise needs

    async def stream(self) -> Capability:
        """The base's stream, with a robot that is not stopped and says where it is; else `NotTried`."""
        if (found := self.means.stream) is None:
            raise NotTried("the robot has no stream with the quantity vx: nothing drives its base directly")
        await self.movable()
        return found

    async def errand(self) -> Errand:
        """A goal, likewise."""
        if (found := self.means.errand) is None:
            raise NotTried("the robot has no goal with an angle, a distance or joints whose arguments can be guessed")
        await self.movable()
        return found

    async def movable(self) -> None:
        """Raises `NotTried` unless the robot may move, and says where it is."""
        if self.second.diary.estop == "latched":
            raise NotTried("the robot is stopped and was not reset: give --operator-key or operator credentials")
        if await self.second.diary.until(lambda: self.motion.told, 1.0) is None:
            raise NotTried("the robot tells neither telemetry/odom nor telemetry/joints: motion cannot be measured")

    async def lease(self, party: Party | None = None, rank: Rank | None = None) -> None:
        """Acquire it. Raises `NotTried` if the robot does not give it."""
        party = party or self.agent
        answer: Status | None = None
        for _ in range(10):
            answer = await party.wish("acquire", rank or self.rank)
            if answer is not None and answer.state == "succeeded":
                return
            await self.wait(0.3)
        raise NotTried(f"the lease is not given as {rank or self.rank}: {told(answer)}")

    # --- what is often done

    async def drive(self, seconds: float, speed: float | None = None, *, party: Party | None = None,
                    hz: float = 20, **fields: Any) -> int:  # fmt: skip
        """Send setpoints for this long, straight on; the time of the last one, ns."""
        party, means = party or self.agent, self.means
        if means.stream is None:
            raise NotTried("the robot has no stream for its base")
        wish = self.side * means.speed if speed is None else speed
        end, last = self.now + round(seconds * SECOND), self.now
        while True:
            last = self.now
            party.setpoint(means.stream.name, means.drive(wish), **fields)
            if self.now >= end:
                return last
            await self.wait(1 / hz)

    async def refused(self, status: Status | None, *reasons: str, what: str = "it") -> str:
        """Check that a command was rejected, and why. Returns it in words."""
        check(status is not None, f"{what}: no answer")
        if status is None or status.state != "rejected" or (reasons and status.reason not in reasons):
            raise Broken(f"{what}: {told(status)} instead of rejected ({' or '.join(reasons)})")
        return f"{what}: {told(status)}"

    async def still(self, since: int, seconds: float, what: str, most: float = 0.005) -> str:
        """Check that the robot does not move for this long."""
        await self.wait(seconds)
        way = self.motion.way(since)
        check(way <= most, f"{what}: it moved {way * 100:.1f} cm")
        return f"moved {way * 100:.1f} cm"

    async def stand(self) -> None:
        """Wait until the robot stands, for 3 s at most."""
        await self.second.diary.until(lambda: self.motion.rest(self.now - SECOND // 3) is not None, 3.0)
        await self.wait(0.1)

    async def end(self, id: str, seconds: float, *states: State, party: Party | None = None) -> Status:
        """Wait for the end of a command. Raises `Broken` if it comes to none, or to another than `states`."""
        status = await (party or self.agent).diary.status(
            id, seconds, "rejected", "succeeded", "failed", "cancelled", "preempted", "expired"
        )
        if status is None:
            seen = (party or self.agent).diary.statuses(id)
            raise Broken(
                f"it has not ended after {seconds:g} s; the last that was told: {told(seen[-1:] and seen[-1])}"
            )
        if states and status.state not in states:
            raise Broken(f"{told(status)} instead of {' or '.join(states)}")
        return status

    # --- the stop

    def estop(self, payload: bytes, *, times: int = 1) -> None:
        """Stop it, by the second party."""
        for _ in range(times):
            self.second.publish(self.second.topic("estop/set"), payload)

    def reset(self, token: str, *, proven: bool = True) -> None:
        """Ask for a reset, by the second party."""
        signed = proof(token, self._operator_key) if self._operator_key and proven else None
        body = EstopReset(token, self.second.name, signed)
        self.second.publish(self.second.topic("estop/reset"), encode(body))

    async def cleared(self) -> bool:
        """Reset the stop, if it is latched and that can be done. Whether it is not latched any more."""
        diary = self.second.diary
        if diary.estop != "latched":
            return True
        safety = await diary.until(
            lambda: next((s for s in [diary.newest(Safety)] if s and s.reset_allowed and s.reset_token), None), 6.0
        )
        if safety is not None and safety.reset_token:
            self.reset(safety.reset_token)
        return await diary.until(lambda: diary.estop == "none", 1.5) is True

    async def leave(self) -> None:
        """Whatever happened: the way is mended, the robot stands, the stop is reset, the leases are given back.

        `stopped`: whether the broker has the order to stop;  `trouble`: a program that cannot be let go on.
        """
        self.wire.blackhole(False)
        self.wire.release()
        try:
            await self.thaw()
        except VisavisError as error:
            self.trouble = error  # the rest is done all the same
        if not self.begun:
            self.stopped = True  # nothing was done to it
            return
        self.stopped = await self.second.say("stop") or await self.agent.say("stop")
        if self.second.gone is None and not self._silent(SILENT):
            await self.stand()
            await self.cleared()
        for party in (self.agent, self.second):
            if party.lease and party.gone is None and not self._silent(SILENT):
                party.beating = True
                await party.wish("release")
                party.lease = ""

    async def freeze(self) -> None:
        """Freeze the robot's program; until `thaw` nobody wonders that it is silent."""
        if self.program.freeze is not None:
            self._quiet = self._frozen = True
            await self.program.freeze()

    async def thaw(self) -> None:
        """Let it go on, if it was frozen."""
        if self._frozen and self.program.thaw is not None:
            await self.program.thaw()
            self.second.diary.heard = self.now
            self._quiet = self._frozen = False

    async def restart(self) -> None:
        """End the robot's program and start it again."""
        if self.program.restart is None:
            raise NotTried("give --restart-command, which ends the robot's program and starts it again")
        self._quiet = True
        await self.program.restart()

    async def online(self, boot: str, seconds: float = 30.0) -> None:
        """Wait for a robot that was started anew: another boot than `boot`, for both parties."""
        for party in (self.second, self.agent):
            diary = party.diary

            def anew(diary: Any = diary) -> bool:
                sheet = diary.newest(Factsheet)
                return bool(
                    diary.fresh and diary.fresh.boot != boot and sheet is not None and sheet.boot == diary.fresh.boot
                )

            if await diary.until(anew, seconds) is None:
                raise Broken(f"the robot was not heard with a new boot within {seconds:g} s of its restart")
        there = self.second.diary.newest(Connection)
        check(there is not None and there.state == "online", f"connection says {there and there.state}")
        self._factsheet = self.second.diary.newest(Factsheet)
        self._quiet = False


def token() -> str:
    """Something nobody guesses, for ids and leases that are made up."""
    return secrets.token_hex(6)


def told(status: Status | list[Any] | None) -> str:
    """A status in words."""
    if not isinstance(status, Status):
        return "no answer"
    why = f" ({status.reason})" if status.reason else ""
    return f"{status.state}{why}"

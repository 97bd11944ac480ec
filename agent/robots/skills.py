"""A policy of action chunks as something that a robot can do: a `Command` begins it, a cut ends it.

The executor (policies/chunks) plans and ticks; the client (embodied/remote) is asked for the lease, and sends what is
planned as setpoints of the robot's chunk capability. The robot checks every row, and rests when nothing comes.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from agent.robots.fitting import called, fitted
from agent.robots.sight import Eyes
from embodied.remote.client import RobotClient
from embodied.remote.motions import Motion
from embodied.robot.arguments import Refusal
from embodied.robot.factsheet import Factsheet
from embodied.robot.reports import Happening, Heartbeat, Telemetry
from embodied.robot.vocabulary import RANKS
from policies.chunks.beats import Beats
from policies.chunks.executor import PACE, ChunkExecutor, Pace
from policies.chunks.looking import Sight
from policies.chunks.policy import ChunkPolicy, Observation, Stitch
from policies.chunks.told import ActionChunk, Event, Tick
from policies.errors import PolicyError
from policies.models.pictures import Pictures
from streams.clock import MS, SECOND, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Command, Controlled, Fault, Offer, Outcome

LEASE_S = 2.0
USUAL_S, LONGEST_S = 10.0, 300.0
OVERTAKEN = "a newer motion has taken its place"
LINK = 20 * MS  # to the robot and back; rows so near are not changed any more


class Skill:
    """`embodied.ports.Actuator` for `Command`s with the name of the policy.

    policy: loaded;  client: of the robot that it drives;  stitch: how a chunk goes over into the next
    prefix: before the name, for one of several robots

    Arguments: "seconds" (default 10, at most 300), and the columns of what no telemetry tells, such as a goal. Done
    when its time is over. Refused if the policy was not made for this robot (`policies.chunks.fitting`), or the robot
    may not be moved, or there is no picture for a policy that sees; failed when the robot is stopped, steered by hand
    or not heard meanwhile. Pictures that become too old on the way are told ("ChunkBlind"), and the robot rests.
    """

    accepts: tuple[type, ...] = (Command,)

    def __init__(
        self, policy: ChunkPolicy, client: RobotClient, publisher: Publisher, clock: Clock, *,
        stitch: Stitch | None = None, prefix: str = "",
    ) -> None:  # fmt: skip
        spec = policy.spec
        self.name = prefix + called(spec)
        self._policy, self._client, self._publisher, self._clock = policy, client, publisher, clock
        self._stitch: Stitch = stitch or ("forward" if spec.rtc == "forward" else "replace")
        self._beats = Beats()
        self._beat: Heartbeat | None = None
        self._telemetry: dict[str, tuple[Telemetry, int]] = {}
        self._eyes = Eyes(spec, self._telemetry.get)
        self._unseen = ""  # why nothing could be seen the last time
        self._given: Mapping[str, float] = {}
        self._executor: ChunkExecutor | None = None
        self._found = asyncio.Event()
        self._wrong = "the robot has not told what it can do"
        self._busy = False  # one is under way, or waits for the lease
        self._current: Command | None = None
        self._lease: str | None = None  # under which it moves
        self._ended = asyncio.Event()
        self._why = ""
        self._fence = -1
        client.listen(self)

    def look(self, pictures: Pictures) -> None:
        """The session has a camera: its newest picture is there. Without one the policy may still see by telemetry."""
        self._eyes.camera = pictures

    def offers(self) -> tuple[Offer, ...]:
        """The policy, as one thing more that the robot can do."""
        spec = self._policy.spec
        columns = {name: {"type": "number"} for names in spec.given.values() for name in names}
        seconds = {"type": "number", "minimum": 0.1, "maximum": LONGEST_S, "description": "for how long, in seconds"}
        parameters = {
            "type": "object", "properties": {**columns, "seconds": seconds}, "required": list(columns),
            "additionalProperties": False,
        }  # fmt: skip
        return (Offer(self.name, spec.task or spec.name, parameters, "command", risky=True, on_cut="cancel"),)

    def takes(self, action: Action) -> bool:
        """See `embodied.ports.Choosy`."""
        return isinstance(action, Command) and action.name == self.name

    async def serve(self) -> None:
        """Tick from when the robot is known on. See `embodied.ports.Connected`."""
        while True:
            await self._found.wait()
            self._found.clear()
            executor = self._made()
            if executor is None:
                continue
            self._executor = executor
            try:
                async with asyncio.TaskGroup() as group:
                    running = group.create_task(executor.run(), name=self.name)
                    await self._found.wait()  # the robot has told of itself anew
                    running.cancel()
            finally:
                self._executor = None
                self._end("the robot has told of itself anew")

    def _made(self) -> ChunkExecutor | None:
        sheet = self._client.factsheet
        if sheet is None:
            return None
        try:
            found = fitted(self._policy.spec, sheet)
        except PolicyError as error:
            self._wrong = str(error)
            self._publisher.publish(FEEDBACK, self._clock.now(), Fault(self.name, type(error).__name__, self._wrong))
            return None
        self._wrong = ""
        spec = self._policy.spec
        blind = not any(each.channel and each.names for each in spec.observation.values())
        oldest = max((round(each.oldest_ms * MS) for each in spec.pictures.values()), default=0) if blind else 0
        return ChunkExecutor(
            self._policy, self._clock, observe=self._observe, tick=self._tick, send=self._send, told=self._told,
            stitch=self._stitch, limits=found.limits, link=lambda: LINK,
            pace=Pace(most_rows=found.rows, oldest=max(PACE.oldest, oldest)),
        )  # fmt: skip

    # --- doing it

    async def perform(self, action: Action) -> Outcome:
        """Do it for its time. Cancelled: the robot is told at once, and the arm holds."""
        assert isinstance(action, Command)
        if self._executor is None:
            return self._outcome(action, "refused", self._wrong)
        if self._busy:
            return self._outcome(action, "refused", f"{self.name} is under way already")
        if wrong := self._refusal(action):
            return self._outcome(action, "refused", wrong)
        self._busy, self._given = True, action.arguments
        drives = self._drives(self._client.factsheet)
        resources = () if drives is None else drives.resources
        motion = self._client.motions.line_up(action.turn, self, self._overtaken, resources)
        outcome: Outcome | None = None
        seconds = float(action.arguments.get("seconds", USUAL_S))
        try:
            outcome = await self._carried_out(action, seconds, motion)
            return outcome
        finally:
            self._busy = False
            self._client.motions.over(motion, outcome is not None and outcome.status == "done")

    async def _carried_out(self, action: Command, seconds: float, motion: Motion) -> Outcome:
        try:
            if not await motion.its_turn():
                return self._outcome(action, "fenced", "what was to be done before it did not come to its end")
            self._client.use()
            if RANKS.index(self._client.rank) < RANKS.index("policy"):  # what a policy wants is believed of no lower
                self._client.raise_to("policy")
            why = await self._allowed()
        except asyncio.CancelledError:
            return self._outcome(action, "fenced", "stopped before it began")
        if why or self._executor is None:
            return self._outcome(action, "refused", why or self._wrong)
        if isinstance(seen := self._eyes.look(self._clock.now()), str):
            return self._outcome(action, "refused", seen)
        if action.turn <= self._fence and action.on_cut == "cancel":
            return self._outcome(action, "fenced", "stopped before it began")
        if not self._client.motions.begin(motion):
            return self._outcome(action, "fenced", OVERTAKEN)
        self._current, self._why, self._lease = action, "", self._client.lease.id
        self._ended.clear()
        self._executor.begin(self._policy.spec.task or self.name)
        try:
            async with asyncio.timeout_at(self._clock.deadline(self._clock.now() + round(seconds * SECOND))):
                await self._ended.wait()
        except TimeoutError:
            return self._outcome(action, "done")
        except asyncio.CancelledError:
            return self._outcome(action, "cut", "stopped on the way")
        finally:
            self._rest(motion)
        return self._outcome(action, "cut" if motion.ended else "failed", self._why)

    async def _allowed(self) -> str:
        """Wait for the lease; why the robot may not be moved, "" if it may."""
        until = self._clock.now() + round(LEASE_S * SECOND)
        while (why := self._client.why_not(moves=True)) and not self._client.gone and self._clock.now() < until:
            await self._clock.sleep_until(self._clock.now() + 20 * MS)
        return why or ("it is stopped; an operator has to reset it" if self._client.watch.latched else "")

    def _rest(self, motion: Motion) -> None:
        """Plan nothing more; and the robot is told to leave out what it has of the last chunk, about a second.

        Not if something newer moves it: that has ended the chunk at the robot, and would be ended with it.
        """
        if self._executor is not None:
            self._executor.cancel()
        self._current = None
        client = self._client
        if client.lease.id is None or client.lease.id != self._lease or not client.motions.newest(motion):
            return
        capability = self._drives(client.factsheet)
        for resource in capability.resources if capability is not None else ():
            client.tell("cancel", {"target": "*", "resource": resource}, first=True)

    def _overtaken(self) -> None:
        """Another actuator begins a newer motion: from this step on nothing is sent that could take its place."""
        if self._executor is not None and self._current is not None:
            self._executor.cancel()
        self._end(OVERTAKEN)

    def _drives(self, sheet: Factsheet | None) -> Any:
        capabilities = () if sheet is None else sheet.capabilities
        return next((each for each in capabilities if each.name == self._policy.spec.drives), None)

    def _refusal(self, command: Command) -> str:
        given = {name for names in self._policy.spec.given.values() for name in names}
        if unknown := set(command.arguments) - given - {"seconds"}:
            return f"{self.name} takes {', '.join(sorted(given | {'seconds'}))}, not {', '.join(sorted(unknown))}"
        if missing := given - set(command.arguments):
            return f"{self.name} needs {', '.join(sorted(missing))}"
        for name, value in command.arguments.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                return f"{name} is no number"
        if missing_eyes := self._eyes.missing():
            return f"{self.name} {missing_eyes}"
        seconds = command.arguments.get("seconds", USUAL_S)
        return "" if 0.1 <= seconds <= LONGEST_S else f"seconds is from 0.1 to {LONGEST_S:g}"

    # --- the executor's side: on the loop, returns at once

    def _observe(self) -> Observation | None:
        """Columns as they were heard, and pictures, which may be older: those are made in the inference's thread."""
        columns, seen = self._columns(), self._eyes.look(self._clock.now())
        self._unseen = seen if isinstance(seen, str) else ""
        if columns is None or isinstance(seen, str):
            return None
        if not seen:
            return columns
        spec, t = self._policy.spec, columns.t
        if not any(each.channel and each.names for each in spec.observation.values()):
            t = min(each.t for each in seen.values())  # nothing else tells of when it is
        images = {name: (each.image, size) for name, each in seen.items() if (size := spec.pictures[name].size)}
        return Observation(t, Sight(columns.values, images))

    def _columns(self) -> Observation | None:
        values: dict[str, Any] = {}
        oldest = self._clock.now()
        for feature, seen in self._policy.spec.observation.items():
            if not seen.names:
                continue
            if seen.channel:
                found = self._telemetry.get(seen.channel)
                if found is None or any(name not in found[0].values for name in seen.names):
                    return None
                source: Mapping[str, Any] = found[0].values
                oldest = min(oldest, found[1])
            else:
                source = self._given
            values[feature] = np.array([float(source[name]) for name in seen.names], np.float32)
        return Observation(oldest, values)

    def _send(self, chunk: ActionChunk) -> None:
        args = self._beats.wire(chunk)
        if args is None:
            return
        refusal = self._client.setpoint(self._policy.spec.drives, args)
        if isinstance(refusal, Refusal):
            self._end(refusal.detail)

    def _tick(self, tick: Tick) -> None:
        current = self._current
        if current is None:
            return
        self._client.use()
        if why := self._client.why_not(moves=True):
            self._end(why)
        elif self._client.watch.latched:
            self._end("the robot was stopped")
        if tick.action is None:
            return
        spec, seen = self._policy.spec, self._columns()
        known = {} if seen is None else seen.values
        state = {
            name: float(value)
            for feature, each in spec.observation.items()
            if feature in known and each.names
            for name, value in zip(each.names, known[feature])
        }
        action = {name: float(value) for name, value in zip(spec.action.names, tick.action)}
        chunk = int(tick.chunk.removeprefix("k") or -1) if tick.state == "moving" else -1
        self._publisher.publish(
            FEEDBACK, self._clock.now(),
            Controlled(self._client.robot, current.id, self.name, tick.task, state, action, chunk, spec.dt_ms),
        )  # fmt: skip

    def _told(self, event: Event) -> None:
        if event.kind != "fed":
            why = f": {self._unseen}" if event.kind == "blind" and self._unseen else ""
            self._publisher.publish(
                FEEDBACK, self._clock.now(), Fault(self.name, f"Chunk{event.kind.title()}", f"{event.detail}{why}")
            )

    def _end(self, why: str) -> None:
        if self._current is not None and not self._ended.is_set():
            self._why = why
            self._ended.set()

    # --- the client's listener

    def attached(self, factsheet: Factsheet) -> None:
        """See `embodied.remote.client.Listener`."""
        self._found.set()

    def ticked(self, now: int) -> None:
        """The same."""
        beat = self._client.heartbeat
        if beat is not None and beat is not self._beat:
            self._beat = beat
            self._beats.heard(beat.boot, beat.beat, beat.mono_ms, now)
        for channel, telemetry in self._client.telemetry.items():
            if channel not in self._telemetry or self._telemetry[channel][0] is not telemetry:
                self._telemetry[channel] = (telemetry, now)

    def happened(self, event: Happening) -> None:
        """The same."""

    def fault(self, error: str, message: str) -> None:
        """The same: `RobotBody` tells it."""

    def recovered(self, message: str) -> None:
        """The same."""

    # --- the body's orders

    def cut(self, turn: int) -> None:
        """What is of a turn up to `turn` does not begin any more."""
        self._fence = max(self._fence, turn)

    def pause(self, turn: int) -> None:
        """Nothing: only speech is paused."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Plan nothing more: the robot itself is stopped by its own actuator."""
        self._end("halted")

    async def aclose(self) -> None:
        """The policy may be used again by another session; who loaded it closes it."""

    def _outcome(
        self, command: Command, status: Literal["done", "cut", "fenced", "refused", "failed"], detail: str = ""
    ) -> Outcome:
        return Outcome(command.turn, command.id, "Command", command.name, status, detail)

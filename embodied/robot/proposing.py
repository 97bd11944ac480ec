"""The agent's side: what it heard of a robot, and the same guards once more, to fail early and to explain.

The robot enforces; this only spares a journey, and keeps what only an agent can know: whether the robot is still heard,
what one turn of a person may set in motion, and who has said yes.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal

from embodied.robot.arguments import Arguments, Refusal
from embodied.robot.budget import Budget
from embodied.robot.consent import Consents, needs_consent
from embodied.robot.decisions import Sensed
from embodied.robot.factsheet import Capability, Factsheet, compatible, compile_params
from embodied.robot.messages import Command, EstopSet, Fresh, Origin, Setpoint
from embodied.robot.rates import Rate
from embodied.robot.reports import Connection, Heartbeat, Safety, Status
from embodied.robot.topics import agent_topic
from embodied.robot.vocabulary import MS, SECOND, TERMINAL, Source

SUSPEND = 500 * MS  # without a heartbeat: send no setpoints
UNKNOWN = 2 * SECOND  # and what became of goals is not known
STOP_REPEATS, STOP_EVERY, STOP_LOUD = 5, 50 * MS, 1 * SECOND

Health = Literal["heard", "suspended", "unknown"]


class Watch:
    """What an agent has heard of one robot. Feed it; ask `health` before each setpoint."""

    def __init__(self) -> None:
        self.boot = ""
        self.fresh: Fresh | None = None
        self.latched = False
        self.open: dict[str, Status | None] = {}
        self._heard: int | None = None

    def beat(self, message: Heartbeat, now: int) -> list[str]:
        """A heartbeat. Returns ids of goals that died with an older boot of the robot ("wrong_boot")."""
        gone: list[str] = []
        if message.boot != self.boot:
            gone = list(self.open) if self.boot else []
            self.boot, self.open = message.boot, {}
        elif self.fresh is not None and message.beat < self.fresh.beat:
            return []  # late: an older one must not make what is sent older
        self.fresh = Fresh(message.boot, message.beat)
        self.latched = message.estop == "latched"
        self._heard = now
        return gone

    def safety(self, message: Safety) -> None:
        """How the stop stands, as the robot says."""
        self.latched = message.estop == "latched"

    def connection(self, message: Connection) -> None:
        """Presence; the late will of an older boot means nothing."""
        if message.state in ("lost", "offline") and message.boot == self.boot:
            self._heard = None

    def sent(self, id: str) -> None:
        """Command `id` was sent, and its end is awaited."""
        self.open[id] = None

    def status(self, message: Status) -> None:
        """What became of a command, from `status`, the reply topic, or `state.commands`. Older ones are passed over."""
        if message.id not in self.open:
            return
        known = self.open[message.id]
        if known is not None and message.seq < known.seq:
            return
        if message.state in TERMINAL:
            del self.open[message.id]
        else:
            self.open[message.id] = message

    def health(self, now: int) -> Health:
        """ "heard"; "suspended" after 0.5 s: send no setpoints; "unknown" after 2 s: say that goals are unknown.

        When the robot is heard again, ask with "query", and never send a command anew.
        """
        silent = UNKNOWN if self._heard is None else now - self._heard
        return "heard" if silent < SUSPEND else "suspended" if silent < UNKNOWN else "unknown"


class StopCall:
    """A stop that is under way: five times at 50 ms, then on until the latch is seen or a second has gone."""

    def __init__(self, by: str, reason: str, now: int) -> None:
        self.message = EstopSet(by, reason)
        self.sent = 0
        self._began = now

    def due(self, watch: Watch, now: int) -> bool:
        """Whether to publish it once more; True at once the first time."""
        if self.sent >= STOP_REPEATS and (watch.latched or self.failed(watch, now)):
            return False
        if now < self._began + self.sent * STOP_EVERY:
            return False
        self.sent += 1
        return True

    def failed(self, watch: Watch, now: int) -> bool:
        """The robot does not answer: a person must be told, loudly, to use the stop on the robot itself."""
        return not watch.latched and now - self._began >= STOP_LOUD


class Proposer:
    """Makes commands and setpoints that the robot will probably accept, or says why not.

    trusted: names that may be proposed at all, from a file that the operator trusts; None = all that the robot exposes
    Raises `FactsheetInvalid` for a factsheet that contradicts itself; `compatible` says whether its version fits.
    """

    def __init__(
        self, factsheet: Factsheet, *, fleet: str, agent: str, trusted: Sequence[str] | None = None,
        consents: Consents | None = None, budget: Budget | None = None, goals_per_s: int = 2, goals_per_min: int = 10,
    ) -> None:  # fmt: skip
        self.factsheet, self.watch = factsheet, Watch()
        self.consents, self.budget = consents or Consents(), budget or Budget()
        self.lease: str | None = None
        self.compatible = compatible(factsheet)
        self.capabilities = {each.name: each for each in factsheet.capabilities}
        self._arguments = Arguments(factsheet, compile_params(factsheet, strict=False))
        self._agent, self._reply = agent, agent_topic(fleet, agent, "reply")
        self._trusted = None if trusted is None else frozenset(trusted)
        self._second, self._minute = Rate(goals_per_s, 1.0), Rate(goals_per_min, 60.0)
        self._seqs: dict[str, int] = {}
        self._agreed: set[str] = set()

    @property
    def agreed(self) -> Collection[str]:
        """Capabilities to which a person has said yes, since the robot told of itself: "first" asks no more."""
        return self._agreed

    def propose(
        self, id: str, name: str, args: dict[str, Any], source: Source, now: int, *, turn: str = "",
        tool_call: str = "", confirm: str | None = None, sensed: Sensed | None = None,
    ) -> Command | Refusal:  # fmt: skip
        """A command ready to be sent, or why the robot would refuse it.

        "needs_confirm": ask the person, `consents.ask` with a new id, and propose again with the token of the yes
        """
        refusal = self._refusal(name, args, source, now, turn, confirm, sensed or Sensed())
        if refusal is not None:
            return refusal
        self.watch.sent(id)
        if confirm:
            self._agreed.add(name)
        return Command(
            v=1, id=id, name=name, sender=self._agent, args=args, fresh=self.watch.fresh, lease=self.lease,
            reply_to=self._reply, origin=Origin(source, turn[:64], tool_call[:64]), confirm=confirm,
        )  # fmt: skip

    def setpoint(self, name: str, args: dict[str, Any], now: int, *, ttl_ms: int | None = None) -> Setpoint | Refusal:
        """A setpoint or a chunk, numbered. Streams are suspended when the robot has not been heard for 0.5 s."""
        capability = self.capabilities.get(name)
        if capability is None or capability.kind not in ("stream", "chunk"):
            return Refusal("capability", "unknown_capability", f"{name} is no stream of this robot")
        if self.watch.health(now) != "heard" or self.watch.fresh is None:
            return Refusal("link", "link_lost", "the robot is not heard")
        if self.watch.latched:
            return Refusal("estop", "estop_latched", "the robot is stopped")
        if self.lease is None:
            return Refusal("lease", "no_lease", "acquire the lease first")
        if capability.kind == "stream" and (found := self._arguments.refusal(args, capability, Sensed())):
            return found
        seq = self._seqs[name] = self._seqs.get(name, -1) + 1
        return Setpoint(1, name, self._agent, seq, self.watch.fresh, self.lease, args, ttl_ms=ttl_ms)

    def _refusal(
        self, name: str, args: dict[str, Any], source: Source, now: int, turn: str, confirm: str | None, sensed: Sensed
    ) -> Refusal | None:
        capability = self.capabilities.get(name)
        if not self.compatible:
            return Refusal("version", "unknown_capability", f"the robot speaks {self.factsheet.proto}, not 1.x")
        if capability is None or capability.kind not in ("goal", "instant"):
            return Refusal("capability", "unknown_capability", f"this robot has no {name!r}")
        by_person = source in ("speech", "text", "vision")
        if by_person and (not capability.tool.expose or (self._trusted is not None and name not in self._trusted)):
            return Refusal("expose", "not_exposed", f"{name} is not for wishes from {source}")
        if capability.moves and (found := self._link(now)):
            return found
        if found := self._arguments.refusal(args, capability, sensed):
            return found
        if confirm is None and needs_consent(capability, source, agreed_before=name in self._agreed):
            return Refusal("consent", "needs_confirm", "ask the person, and wait for a yes")
        if capability.kind == "goal" and capability.moves and by_person:
            return self._plan(capability, args, turn, now, sensed)
        return None

    def _link(self, now: int) -> Refusal | None:
        if self.watch.health(now) != "heard":
            return Refusal("link", "link_lost", "the robot is not heard")
        if self.watch.latched:
            return Refusal("estop", "estop_latched", "the robot is stopped; an operator has to reset it")
        if self.lease is None:
            return Refusal("lease", "no_lease", "acquire the lease first")
        return None

    def _plan(
        self, capability: Capability, args: dict[str, Any], turn: str, now: int, sensed: Sensed
    ) -> Refusal | None:
        at = None if sensed.pose is None else sensed.pose[:2]
        if not (self._second.take("", now) and self._minute.take("", now)):
            return Refusal("rate", "rate", "too many motions; wait")
        if why := self.budget.take(turn, capability, args, at, now):
            return Refusal("budget", "limit", why)
        return None

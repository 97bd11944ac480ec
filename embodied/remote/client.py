"""One robot, for one agent to ask something of: what may be asked now, and that it gets there.

The robot enforces. What is here knows, fails early, and says what it does not know.
"""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from embodied.link.port import Outgoing
from embodied.remote.agent_link import AgentLink
from embodied.remote.errands import Errand
from embodied.remote.known import Known
from embodied.remote.motions import Motions
from embodied.remote.steering import Steering
from embodied.remote.stopping import Stopping
from embodied.robot.arguments import Refusal
from embodied.robot.codec import encode
from embodied.robot.decisions import Sensed, Velocity
from embodied.robot.errors import Malformed
from embodied.robot.messages import Command, EstopSet, LeaseSet, Origin, Setpoint
from embodied.robot.properties import properties
from embodied.robot.reports import Status
from embodied.robot.seal import seal
from embodied.robot.topics import DELIVERY, Channel, robot_topic
from embodied.robot.vocabulary import SECOND, Rank, Source

VALID = SECOND
"""What moves something and could not be sent by then is not sent: the robot would call it stale."""
IDLE = 5 * SECOND
"""A lease that nothing was done with for so long is given back: others may want to move the robot, and to ask anew
takes a few milliseconds."""


class RobotClient(Known):
    """Robot `robot`, over `link`, to which it adds itself.

    watch: what was heard;  factsheet: of what can be used, None before it was found or when it cannot be used
    lease: the lease;  state, safety, odometry, telemetry: the newest;  stopping, steering, motions: see there
    rank: as which the agent asks for the lease
    """

    def __init__(self, link: AgentLink, robot: str) -> None:
        super().__init__(link, robot)
        self.stopping, self.steering = Stopping(self, robot), Steering(self, robot)
        self.motions = Motions()
        self._used = self._seq = 0
        link.add(self)

    def why_not(self, *, moves: bool) -> str:
        """Why nothing can be asked of it just now, in words that can be said; "" if it can. moves: what moves it"""
        if self.stopping.active:
            return "it is being stopped"
        if not self.connected:
            return "there is no connection to it"
        if self.factsheet is None or self.proposer is None:
            return "it has not told what it can do"
        if self.watch.boot and self.factsheet.boot != self.watch.boot:
            return "it has just started anew"
        health = self.watch.health(self._now())
        if health == "unknown" or (moves and health != "heard"):
            return f"it {self.gone}" if self.gone else "it is not heard"
        if moves and self.watch.latched:
            return ""  # the proposer says that better
        if moves and not self.lease.held:
            return self.lease.why or "it has not said yet that we may move it"
        fresh = self.watch.fresh
        if moves and self._after is not None and fresh is not None and fresh.beat < self._after:
            return "it was stopped just now"
        return ""

    # --- what is asked of it

    def use(self) -> None:
        """The lease is needed; it is asked for with the next tick."""
        self._used = self._now()
        if self.lease.wanted is None:
            self.lease.want(self.rank)
            self._keep_lease(self._now())

    def raise_to(self, rank: Rank) -> None:
        """Have the lease as `rank` until no motion is under way: to change it ends what was begun under it."""
        if not self.steering.active:
            self.lease.want(rank)

    def propose(
        self, name: str, args: dict[str, Any], source: Source, *, turn: str = "", confirmed: bool = False
    ) -> Command | Refusal:  # fmt: skip
        """A command ready to be sent, or why the robot would refuse it.

        confirmed: a person has just said yes to this very command with these arguments
        """
        if self.proposer is None:
            return Refusal("link", "link_lost", "it has not told what it can do")
        id, now = self.link.new_id(), self._now()
        token: str | None = None
        if confirmed:
            self._consents.ask(id, name, args, now)
            token = self._consents.agree(id, now)
        self.proposer.lease = self.lease.id
        found = self.odometry
        velocity = Velocity() if found is None else Velocity(found.vx, found.vy, found.wz)
        sensed = Sensed(pose=self.pose, velocity=velocity)
        return self.proposer.propose(id, name, args, source, now, turn=turn, confirm=token, sensed=sensed)

    def send(self, command: Command, errand: Errand) -> bool:
        """Send what `propose` gave; `errand` is told what becomes of it. False: it was not sent."""
        self._used = self._now()
        sent = self._command(command)
        if sent:
            self.errands.begin(errand)
        else:
            self.watch.open.pop(command.id, None)
        return sent

    def cancel(self, errand: Errand) -> None:
        """End what was sent, now.

        Before everything else that waits; but if its command may be waiting there itself, also behind it: what comes
        first and finds nothing to end has ended nothing.
        """
        now = self._now()
        errand.cut(now)
        self.tell("cancel", {"target": errand.id}, first=True)
        if errand.status is None:
            self.tell("cancel", {"target": errand.id})

    def tell(self, name: str, args: dict[str, Any], *, first: bool = False) -> str:
        """Send one of the commands that every robot knows; returns its id."""
        id = self.link.new_id()
        command = Command(
            v=1, id=id, name=name, sender=self.agent, args=args, fresh=self.watch.fresh, lease=self.lease.id,
            reply_to=self.reply_to,
        )  # fmt: skip
        self._command(command, first=first, keep=True)
        return id

    def setpoint(
        self, name: str, args: dict[str, Any], *, ttl_ms: int | None = None, source: Source = "policy"
    ) -> Refusal | None:  # fmt: skip
        """Send a setpoint, or a chunk as `args`; the newest of each stream counts. None, or why it was not sent.

        The lease must be held: see `use`. Whoever streams for long calls `use` now and then.
        """
        if self.proposer is None:
            return Refusal("link", "link_lost", "it has not told what it can do")
        if not self.connected:
            return Refusal("link", "link_lost", "there is no connection to it")
        if self.stopping.active:
            return Refusal("estop", "estop_latched", "it is being stopped")
        if self.steering.active and source != "operator":
            return Refusal("lease", "busy", "somebody drives it by hand")
        now = self._now()
        self._used = now
        self.proposer.lease = self.lease.id if self.lease.held else None
        made = self.proposer.setpoint(name, args, now, ttl_ms=ttl_ms)
        if isinstance(made, Refusal):
            return made
        self._seq += 1  # rises over new factsheets, too
        setpoint = replace(made, seq=self._seq, origin=Origin(source))
        try:
            self._publish("stream", setpoint, name, keep=False)
        except Malformed as error:
            return Refusal("schema", "schema", str(error))
        return None

    # --- StopWire, SteerWire

    def new_id(self) -> str:
        """See `StopWire`."""
        return self.link.new_id()

    def publish_stop(self, command: Command) -> bool:
        """See `StopWire`."""
        return self._command(command, first=True)

    def publish_estop(self, message: EstopSet) -> bool:
        """See `StopWire`."""
        return self._publish("estop/set", message, first=True, keep=False)

    # --- Ears

    def answered(self, status: Status) -> bool:
        """See `Ears`."""
        now = self._now()
        if self.lease.answered(status, now):
            self._told_lease()
            return True
        return self._status(status, now)

    def tick(self, now: int) -> None:
        """See `Ears`."""
        self._read_factsheet(now)
        self._health(now)
        self.stopping.step(now)
        self.steering.step(now)
        if self.steering.active or self.errands.open:
            self._used = now
        elif self.lease.wanted is not None and now - self._used >= IDLE:
            self.lease.want(None)
        elif self.lease.wanted is not None and not self.motions and not self.steering.active:
            self.lease.want(self.rank)
        self._keep_lease(now)
        heard = self.connected and self.watch.health(now) == "heard"
        for errand in self.errands.due(now, heard):
            self.errands.asked(self.tell("query", {"id": errand.id}), errand)
        if heard:
            for errand in self.errands.uncut(now):
                self.cancel(errand)
        for id in [each for each in self.watch.open if each not in self.errands.open]:
            del self.watch.open[id]
        self._tell(now)

    def parting(self) -> Iterable[Outgoing]:
        """See `Ears`."""
        wish = self.lease.release()
        return () if wish is None else (self._outgoing("lease/set", wish),)

    # --- inside

    def _keep_lease(self, now: int) -> None:
        if self.connected and (wish := self.lease.due(self.watch, now)) is not None:
            self._publish("lease/set", wish, keep=False)

    def _command(self, command: Command, *, first: bool = False, keep: bool = False) -> bool:
        return self._publish("command", command, command.name, first=first, keep=keep)

    def _publish(
        self, channel: Channel, message: Any, name: str = "", *, first: bool = False, keep: bool = False
    ) -> bool:  # fmt: skip
        outgoing = self._outgoing(channel, message, name)
        return self.link.send(outgoing, first=first, keep=keep, valid_ns=(5 if keep else 1) * VALID)

    def _outgoing(self, channel: Channel, message: Any, name: str = "") -> Outgoing:
        payload = encode(message)
        if self.link.seal_key and isinstance(message, Command | Setpoint | LeaseSet):
            payload = seal(payload, self.link.seal_key)
        topic = robot_topic(self.link.config.fleet, self.robot, channel, name)
        way = DELIVERY[channel]
        return Outgoing(topic, payload, way.qos, way.retain, properties(channel, message))

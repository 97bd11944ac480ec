"""The guards of one robot together, and the acts that several of them end in: a stop, the loss of a lease."""

from embodied.robot.admission import BASE, Gate, uses_base
from embodied.robot.codec import encode
from embodied.robot.decisions import Brake, Note, Sensed
from embodied.robot.duplicates import Seen
from embodied.robot.errors import FactsheetInvalid
from embodied.robot.estop import Latch
from embodied.robot.factsheet import Factsheet, base_quantity, compile_params
from embodied.robot.freshness import Beats
from embodied.robot.leases import Desk, Lease
from embodied.robot.lifecycle import Book, Goal
from embodied.robot.links import Link
from embodied.robot.messages import Command
from embodied.robot.motion import Reach
from embodied.robot.motors import Motors
from embodied.robot.reports import LeaseState, RobotState, Safety
from embodied.robot.setpoints import Setpoints
from embodied.robot.settings import GuardSettings
from embodied.robot.telling import Telling
from embodied.robot.vocabulary import MS, SECOND, Reason, State


class Post:
    """What `Guarded` is made of. Raises `FactsheetInvalid` if the factsheet promises what cannot be enforced."""

    def __init__(
        self, factsheet: Factsheet, settings: GuardSettings, fleet: str, robot: str, secret: bytes, reach: Reach | None
    ) -> None:
        timing = factsheet.timing
        self.factsheet, self.settings = factsheet, settings
        self.params = compile_params(factsheet)
        self.capabilities = {each.name: each for each in factsheet.capabilities}
        self.telling = Telling(fleet, robot)
        self.beats = Beats(factsheet.boot, hz=timing.beat_hz, fresh_ms=timing.fresh_ms)
        self.latch = Latch(secret, factsheet.boot, settings.stop_category, settings.operator_key)
        self.desk = Desk(secret, timing.lease_ms, settings.ranks, settings.default_rank)
        self.gate = Gate(factsheet, settings, self.params, self.latch, self.beats, self.desk)
        self.seen = Seen()
        self.book = Book(self.telling.status, self.telling.order, round(settings.stuck_s * SECOND))
        self.streams = Setpoints(timing)
        self.motors = Motors(factsheet, settings, reach)
        self.sensed = Sensed()
        self.link: Link | None = None
        self.changed = True
        self._own = 0
        self._check(reach)

    def _check(self, reach: Reach | None) -> None:
        if self.factsheet.limits.workspace is not None and reach is None:
            raise FactsheetInvalid("factsheet: limits.workspace needs `reach`, which says where the tool is.")
        encode(self.factsheet)  # raises `Malformed` if it is too long to be published
        for each in self.capabilities.values():
            base = {"vx", "vy", "wz"} & set(each.quantities.values()) or any(map(base_quantity, each.action_features))
            if each.kind in ("stream", "chunk") and base and BASE not in each.resources:
                raise FactsheetInvalid(f"factsheet: {each.name!r} moves the base, but `resources` lacks {BASE!r}.")

    # --- acts

    def stop(self, source: str, now: int) -> None:
        """The latched stop: everything ends, the lease too, and what is under way in the network is void."""
        if not self.latch.set(source, now):
            self.telling.note(Note(now, "estop", "repeated", sender=source))
            return
        self.motors.stopping()
        self.end_all("failed", "estop_latched", f"stopped by {source}", now)
        self.telling.order(Brake(self.latch.category, f"stopped by {source}"))
        self.desk.current, self.link = None, None
        self.tell_lease()
        self.tell_safety()
        self.telling.note(Note(now, "estop", "stopped", sender=source))
        self.telling.event("guard_trip", "critical", "estop", now, reason="estop_latched", detail=f"by {source}")

    def halt(self, source: str, now: int) -> None:
        """The plain stop: everything ends, and may begin again by a message that is said after this."""
        self.end_all("cancelled", None, f"stopped by {source}", now)
        self.beats.forget()
        self.telling.order(Brake(2, f"stopped by {source}"))
        self.telling.note(Note(now, "stop", "stopped", sender=source))
        if self.desk.current is not None and self.desk.current.holder != source:
            self.desk.current, self.link = None, None
            self.tell_lease()

    def end_all(self, final: State, reason: Reason | None, detail: str, now: int) -> None:
        """End every stream and every command."""
        self.streams.drop()
        for goal in list(self.book.goals.values()):
            self.book.cancel(goal, final, reason, detail, now)
        self.changed = True

    def lose(self, lease: Lease, final: State, reason: Reason | None, detail: str, now: int) -> None:
        """`lease` has ended: so do its streams and commands."""
        self.streams.drop()
        for goal in list(self.book.goals.values()):
            if goal.owner == lease.id:
                self.book.cancel(goal, final, reason, detail, now)
        self.telling.note(Note(now, "lease", "changed", sender=lease.holder, reason=reason, detail=detail))
        self.changed = True

    def unlink(self, detail: str, now: int) -> None:
        """The holder's agent is silent: streams end, and each goal does what it declared for this case."""
        lease = self.desk.current
        if lease is None:
            return
        for name in self.streams.drop():
            self.telling.note(Note(now, "link", "stopped", name=name, sender=lease.holder, reason="link_lost"))
        docks = self._leave(lease, detail, now)
        self.telling.event("guard_trip", "urgent", "link", now, reason="link_lost", detail=detail)
        self.telling.note(Note(now, "link", "stopped", sender=lease.holder, reason="link_lost", detail=detail))
        if docks:
            self.dock(now)

    def _leave(self, lease: Lease, detail: str, now: int) -> bool:
        docks = False
        for goal in [each for each in self.book.goals.values() if each.owner == lease.id]:
            wish = goal.capability.on_link_loss if goal.begun else "stop"  # nothing begins without its agent
            if wish == "continue" or (wish == "hold" and self.book.pause(goal, now)):
                continue
            docks = docks or wish == "dock"
            self.book.cancel(goal, "failed", "link_lost", detail, now)
        return docks

    def lapse(self, now: int) -> None:
        """The lease ran out unrenewed: nobody holds it, and paused goals end, too."""
        lease = self.desk.current
        if lease is None or now < lease.expires:
            return
        if (self.link is None or not self.link.lost) and self._moves_for(lease):
            self.unlink("the lease was not renewed", now)  # else it was let lapse, as after a stop: no guard was needed
        self.desk.lapse(now)
        for goal in [each for each in self.book.goals.values() if each.owner == lease.id and each.state == "paused"]:
            self.book.cancel(goal, "failed", "link_lost", "nobody came back for it", now)
        self.link = None
        self.telling.note(Note(now, "lease", "changed", sender=lease.holder, detail="ran out"))
        self.tell_lease()

    def _moves_for(self, lease: Lease) -> bool:
        return bool(self.streams.live) or any(goal.owner == lease.id for goal in self.book.goals.values())

    def adopt(self, lease: Lease, now: int) -> None:
        """Somebody holds a new lease: what goes on of the same agent is theirs, what goes on of another's ends."""
        for goal in [each for each in self.book.goals.values() if each.owner not in ("", lease.id)]:
            if goal.command.sender == lease.holder:
                goal.owner = lease.id
            else:
                self.book.cancel(goal, "preempted", "no_lease", f"{lease.holder} took over", now)

    def dock(self, now: int) -> None:
        """Begin the robot's own way home, if it has one; else it stands."""
        capability = self.capabilities.get(self.settings.dock)
        if capability is None or capability.kind != "goal" or self.book.refusal(capability.resources):
            return
        self._own += 1
        command = Command(1, f"own-{self.factsheet.boot}-{self._own}"[:64], capability.name, self.telling.robot)
        self.book.accept(command, capability, "", now)
        self.telling.note(Note(now, "link", "accepted", command.id, command.name, command.sender, detail="goes home"))

    def sense(self, sensed: Sensed, now: int) -> None:
        """What the robot knows of itself, newly."""
        before, self.sensed = self.sensed, sensed
        if sensed.hardware_stop:
            self.stop("hardware", now)
        if sensed.mode != before.mode:
            self._mode(now)
        if sensed.bumper and not before.bumper:
            self.streams.drop({BASE})
            for goal in [each for each in self.book.goals.values() if uses_base(each.capability)]:
                self.book.cancel(goal, "failed", "obstacle", f"bumped: {sensed.bumper}", now)
            self.telling.order(Brake(2, "bumped"))
            self.telling.event("bump", "warning", "bumper", now, reason="obstacle", detail=sensed.bumper)
            self.telling.note(Note(now, "obstacle", "stopped", reason="obstacle", detail=f"bumper {sensed.bumper}"))
        self.changed = self.changed or (sensed.mode, sensed.errors) != (before.mode, before.errors)

    def _mode(self, now: int) -> None:
        mode = self.sensed.mode
        self.telling.note(Note(now, "mode", "changed", detail=mode))
        if mode == "automatic":
            self.motors.arm.follow(self.sensed.joints)
            return
        self.end_all("failed", "mode", f"the robot is in mode {mode} now", now)
        self.telling.order(Brake(2, f"mode {mode}"))
        if mode == "manual":
            self.telling.event("human_override", "info", "mode", now, reason="mode", detail=mode)

    # --- telling

    def tell_lease(self) -> None:
        """Publish who holds the lease."""
        self.telling.on("lease", self.lease_state())
        self.changed = True

    def tell_safety(self) -> None:
        """Publish how the stop stands."""
        self.telling.on("safety", self.safety())
        self.changed = True

    def lease_state(self) -> LeaseState:
        """Without the lease's id: that is its holder's alone."""
        lease = self.desk.current
        return LeaseState() if lease is None else LeaseState(lease.holder, lease.rank, max(0, lease.expires // MS))

    def safety(self) -> Safety:
        """The stop, its token, and what holds the base."""
        latch, guards = self.latch, tuple(sorted(self.motors.held))
        if not latch.latched:
            return Safety("none", latch.category, guards=guards)
        return Safety(
            "latched", latch.category, latch.source[:100], max(0, latch.since // MS), self.rests, latch.token, guards
        )

    @property
    def rests(self) -> bool:
        """Whether the base stands, and the hardware's own stop is not pressed: then the stop may be reset."""
        v = self.sensed.velocity
        still = abs(v.vx) < _STILL and abs(v.vy) < _STILL and abs(v.wz) < _STILL
        return self.motors.stands and still and not self.sensed.hardware_stop

    def state(self) -> RobotState:
        """Everything that an agent which was away has to know."""
        uses: dict[str, str | None] = dict.fromkeys(self.factsheet.resources)
        for live in self.streams.live.values():
            uses.update(dict.fromkeys(live.capability.resources, live.capability.name))
        for goal in self.book.goals.values():
            if goal.begun:
                uses.update(dict.fromkeys(goal.capability.resources, goal.id))
        battery = self.sensed.battery if self.sensed.battery is not None and 0 <= self.sensed.battery <= 1 else None
        return RobotState(
            self.factsheet.boot, self.factsheet.rev, self.sensed.mode, self.safety(), self.lease_state(),
            self.book.shown(), uses, battery, tuple(error[:200] for error in self.sensed.errors[:20]),
        )  # fmt: skip


_STILL = 0.02  # m/s and rad/s, of a sensor


def running_on(post: Post, id: str, resource: str) -> Goal | None:
    """The goal `id`, if it runs and uses `resource`."""
    goal = post.book.goals.get(id)
    return goal if goal is not None and goal.state == "running" and resource in goal.capability.resources else None

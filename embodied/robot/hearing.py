"""What a message does to a guarded robot, channel by channel. Whatever comes, nothing is raised."""

import math
from typing import Any, Literal

import msgspec

from embodied.robot.admission import uses_base
from embodied.robot.arguments import Refusal
from embodied.robot.codec import decode
from embodied.robot.decisions import Heard, Note
from embodied.robot.errors import Malformed
from embodied.robot.factsheet import Capability, base_quantity, joint_of
from embodied.robot.links import Link
from embodied.robot.messages import (
    AgentConnection,
    AgentHeartbeat,
    CancelArgs,
    Chunk,
    Command,
    EstopReset,
    EstopSet,
    IdArgs,
    LeaseSet,
    Salvage,
    Setpoint,
)
from embodied.robot.post import Post
from embodied.robot.rates import Rate
from embodied.robot.reports import Status
from embodied.robot.seal import sealed
from embodied.robot.setpoints import CHUNK_GRACE, Live, track
from embodied.robot.topics import Topic, agent_topic, read_topic
from embodied.robot.vocabulary import MS, RESERVED, Reason

FAST_MPS = 0.5
_NEAR = 1e-9


class Hearing:
    """Reads messages for one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._wishes = Rate(10, 1.0)

    def hear(self, heard: Heard, now: int) -> None:
        """Deal with one message."""
        post, topic = self._post, read_topic(heard.topic)
        if topic is None or topic.fleet != post.telling.fleet:
            self._ignore("topic", f"not for this robot: {str(heard.topic)[:80]}", now)
        elif topic.channel in ("agent/heartbeat", "agent/connection"):
            self._agent(topic, heard, now)
        elif topic.who != post.telling.robot:
            self._ignore("topic", "for another robot", now)
        elif topic.channel == "estop/set":
            self._estop(heard, now)
        elif topic.channel == "command" and topic.name == "stop":
            self._stop(heard, now)
        elif heard.retained:
            self._refuse_unread(heard, "retained", "a retained message is no wish of now", now)
        else:
            self._read(topic, heard, now)

    def _read(self, topic: Topic, heard: Heard, now: int) -> None:
        try:
            if topic.channel == "command":
                self._command(topic, decode(heard.payload, Command), heard.payload, now)
            elif topic.channel == "stream":
                self._setpoint(topic, decode(heard.payload, Setpoint), heard.payload, now)
            elif topic.channel == "lease/set":
                self._lease(decode(heard.payload, LeaseSet), heard.payload, now)
            elif topic.channel == "estop/reset":
                self._reset(decode(heard.payload, EstopReset), now)
            else:
                self._ignore("topic", f"nobody tells a robot its {topic.channel}", now)
        except Malformed as error:
            self._refuse_unread(heard, "schema", str(error), now)

    # --- stopping: never refused

    def _estop(self, heard: Heard, now: int) -> None:
        try:
            wish = decode(heard.payload, EstopSet)
            source = wish.by or "somebody"
        except Malformed:
            source = "a message that could not be read"
        self._post.stop(source, now)

    def _stop(self, heard: Heard, now: int) -> None:
        """Even a malformed, retained or repeated one stops; only its answer needs an id."""
        try:
            command = decode(heard.payload, Command)
        except Malformed:
            self._post.halt("a message that could not be read", now)
            self._refuse_unread(heard, "schema", "stopped all the same", now)
            return
        self._post.halt(command.sender, now)
        if not heard.retained and self._post.seen.meet(command.id, heard.payload, now) != "other":
            self._post.book.answer(self._answerable(command), now, "succeeded")

    def _reset(self, wish: EstopReset, now: int) -> None:
        post = self._post
        why = post.latch.reset(wish, stands=post.rests)
        verdict: Literal["rejected", "accepted"] = "rejected" if why else "accepted"
        post.telling.note(Note(now, "estop", verdict, name="estop/reset", sender=wish.by, detail=why))
        if why:
            post.telling.event("guard_trip", "warning", "estop_reset", now, detail=why)
            return
        post.beats.forget()
        post.motors.arm.follow(post.sensed.joints)
        post.tell_safety()

    # --- commands

    def _command(self, topic: Topic, command: Command, payload: bytes, now: int) -> None:
        post = self._post
        if command.name != topic.name:
            raise Malformed(f"`name` is {command.name!r}, the topic's {topic.name!r}")
        if command.reply_to and command.reply_to != agent_topic(topic.fleet, command.sender, "reply"):
            raise Malformed("`reply_to` is not the reply topic of the sender")
        if not self._authentic(command.sender, payload, now):
            return
        met = post.seen.meet(command.id, payload, now)
        if met == "same":
            if not post.book.repeat(command.id):
                self._refuse(command, Refusal("duplicate", "duplicate", "it came before, and is forgotten"), now)
            post.telling.note(Note(now, "duplicate", "repeated", command.id, command.name, command.sender))
        elif met == "other":
            self._refuse(
                command, Refusal("duplicate", "duplicate", "this id was used for something else"), now, keep=False
            )
        elif command.name in RESERVED:
            self._reserved(command, now)
        else:
            self._offered(command, now)

    def _offered(self, command: Command, now: int) -> None:
        post = self._post
        capability = post.capabilities.get(command.name)
        if capability is None or capability.kind not in ("goal", "instant"):
            detail = "this robot cannot do that" if capability is None else f"{command.name} is a {capability.kind}"
            self._refuse(command, Refusal("capability", "unknown_capability", detail), now)
            return
        refusal = post.gate.refusal(command, capability, post.sensed, now)
        if refusal is None and (why := post.book.refusal(capability.resources)):
            refusal = Refusal("busy", "busy", why)
        if refusal is None and not post.seen.accept(command.id):
            refusal = Refusal("duplicate", "rate", "too many commands in ten minutes")
        if refusal is not None:
            self._refuse(command, refusal, now)
            return
        post.telling.note(Note(now, "gate", "accepted", command.id, command.name, command.sender))
        if capability.kind == "goal":
            post.streams.drop(set(capability.resources))
        lease = post.desk.current
        owner = lease.id if capability.moves and lease is not None else ""
        post.book.accept(command, capability, owner, now)
        post.changed = True

    def _reserved(self, command: Command, now: int) -> None:
        try:
            if command.name == "cancel":
                wish = msgspec.convert(command.args, CancelArgs)
                self._cancel(command, wish, now)
            else:
                self._one(command, msgspec.convert(command.args, IdArgs).id, now)
        except msgspec.ValidationError as error:
            self._refuse(command, Refusal("schema", "schema", str(error)), now)

    def _cancel(self, command: Command, wish: CancelArgs, now: int) -> None:
        post, found = self._post, 0
        for goal in list(post.book.goals.values()):
            fits = wish.target in ("*", goal.id) and (not wish.resource or wish.resource in goal.capability.resources)
            if fits and (goal.capability.cancellable or wish.target == "*"):
                post.book.cancel(goal, "cancelled", None, f"cancelled by {command.sender}", now)
                found += 1
        if wish.target == "*":
            found += len(post.streams.drop({wish.resource} if wish.resource else None))
        post.telling.note(Note(now, "cancel", "accepted", command.id, "cancel", command.sender, detail=wish.target))
        post.book.answer(command, now, "succeeded", {"cancelled": found})
        post.changed = True

    def _one(self, command: Command, id: str, now: int) -> None:
        """query, pause and resume: about one command."""
        post = self._post
        if command.name == "query":
            last = post.book.last(id)
            post.book.answer(command, now, "succeeded", None if last is None else msgspec.to_builtins(last))
            return
        goal = post.book.goals.get(id)
        refusal: Refusal | None = None
        if goal is None:
            refusal = Refusal("lifecycle", "unknown_capability", f"{id} is not under way")
        elif command.name == "resume":
            free = not post.latch.latched and post.desk.holds(command.sender, command.lease, now)
            stale = post.beats.judge(command.fresh, now)
            if stale:
                refusal = Refusal("freshness", stale, "echo the newest heartbeat")
            elif not free:
                refusal = Refusal("lease", "estop_latched" if post.latch.latched else "no_lease", "you may not move it")
            elif not post.book.resume(goal, now):
                refusal = Refusal("lifecycle", "busy", f"{id} is {goal.state}, not paused")
            elif lease := post.desk.current:
                goal.owner = lease.id
        elif not post.book.pause(goal, now):
            refusal = Refusal("lifecycle", "busy", f"{id} cannot be paused")
        if refusal is not None:
            self._refuse(command, refusal, now)
            return
        post.telling.note(Note(now, "lifecycle", "accepted", command.id, command.name, command.sender))
        post.book.answer(command, now, "succeeded")

    # --- streams

    def _setpoint(self, topic: Topic, setpoint: Setpoint, payload: bytes, now: int) -> None:
        post = self._post
        if setpoint.name != topic.name:
            raise Malformed(f"`name` is {setpoint.name!r}, the topic's {topic.name!r}")
        if not self._authentic(setpoint.sender, payload, now):
            return
        refusal = self._take(setpoint, now)
        if refusal is None:
            post.telling.note(Note(now, "gate", "accepted", setpoint.id, setpoint.name, setpoint.sender))
            return
        post.telling.note(
            Note(
                now,
                refusal.guard,
                "rejected",
                setpoint.id,
                setpoint.name,
                setpoint.sender,
                refusal.reason,
                refusal.detail,
            )
        )
        post.telling.event(
            "guard_trip",
            "warning",
            f"{setpoint.name} {refusal.guard}",
            now,
            reason=refusal.reason,
            detail=refusal.detail,
        )

    def _take(self, setpoint: Setpoint, now: int) -> Refusal | None:
        post = self._post
        capability = post.capabilities.get(setpoint.name)
        if capability is None or capability.kind not in ("stream", "chunk"):
            return Refusal("capability", "unknown_capability", "this robot has no such stream")
        if refusal := post.gate.refusal(setpoint, capability, post.sensed, now):
            return refusal
        if not post.streams.in_order(setpoint.lease, setpoint.name, setpoint.seq):
            return Refusal("order", "out_of_order", "`seq` must rise")
        if why := post.book.refusal(capability.resources, can_wait=False):
            return Refusal("busy", "busy", why)
        live = (
            self._chunk(setpoint, capability, now)
            if capability.kind == "chunk"
            else self._values(setpoint, capability, now)
        )
        if isinstance(live, Refusal):
            return live
        if post.sensed.bumper == "any" and uses_base(capability):
            return Refusal("obstacle", "obstacle", "the bumper is pressed")
        if post.book.users(capability.resources):
            post.book.clear(capability.resources, f"{capability.name} took over", now)
        if capability.name not in post.streams.live:
            post.changed = True
        post.streams.put(live)
        return None

    def _values(self, setpoint: Setpoint, capability: Capability, now: int) -> Live | Refusal:
        values: dict[str, Any] = {}
        if capability.action_features:
            if set(setpoint.args) != set(capability.action_features):
                return Refusal("schema", "schema", f"args must be just {', '.join(capability.action_features)}")
            named = setpoint.args
        else:
            named = {quantity: setpoint.args.get(name, 0.0) for name, quantity in capability.quantities.items()}
        for name, value in named.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9
            if not number:
                return Refusal("schema", "schema", f"{name} is no number, or an absurd one")
            values[base_quantity(name) or name] = float(value)
        speed = min(math.hypot(values.get("vx", 0.0), values.get("vy", 0.0)), self._post.factsheet.limits.v_max)
        fast = speed > FAST_MPS + _NEAR
        ttl = self._post.streams.ttl(setpoint.ttl_ms, capability, fast=fast)
        return Live(capability, setpoint.lease, now + ttl, values)

    def _chunk(self, setpoint: Setpoint, capability: Capability, now: int) -> Live | Refusal:
        try:
            chunk = msgspec.convert(setpoint.args, Chunk)
        except msgspec.ValidationError as error:
            return Refusal("schema", "schema", str(error))
        if chunk.names != capability.action_features:
            return Refusal("schema", "schema", f"names must be {', '.join(capability.action_features)}, in this order")
        if len(chunk.actions) > capability.horizon_max:
            return Refusal("limits", "limit", f"{len(chunk.actions)} steps; {capability.horizon_max} at most")
        if wrong := self._rows(chunk):
            return wrong
        sent = self._post.beats.sent(chunk.t0_beat)
        if sent is None:
            return Refusal("freshness", "stale", f"beat {chunk.t0_beat} is none that is remembered")
        rows, _ = track(chunk, sent, now)
        if rows is None:
            return Refusal("freshness", "stale", "none of its steps is for the next second")
        expires = rows.end + CHUNK_GRACE
        if setpoint.ttl_ms is not None:
            expires = min(expires, now + setpoint.ttl_ms * MS)
        return Live(capability, setpoint.lease, expires, {}, rows)

    def _rows(self, chunk: Chunk) -> Refusal | None:
        """A policy that leaves the limits is broken: its chunk is refused whole, for clamping would bend the way."""
        limits = self._post.factsheet.limits
        bounds = [
            (-1e9, 1e9)
            if base_quantity(name)
            else (limits.joints[joint_of(name)].min, limits.joints[joint_of(name)].max)
            for name in chunk.names
        ]
        for n, row in enumerate(chunk.actions):
            if len(row) != len(chunk.names):
                return Refusal("schema", "schema", f"row {n} has {len(row)} numbers for {len(chunk.names)} names")
            for (low, high), value in zip(bounds, row):
                if not low <= value <= high:
                    return Refusal("limits", "limit", f"row {n}: {value} is outside {low} to {high}")
        return None

    # --- leases and agents

    def _lease(self, wish: LeaseSet, payload: bytes, now: int) -> None:
        post = self._post
        if not self._authentic(wish.sender, payload, now):
            return
        refusal: Refusal | None = None
        if not self._wishes.take(wish.sender, now):
            refusal = Refusal("rate", "rate", "too often")
        elif wish.op != "release" and post.latch.latched:
            refusal = Refusal("estop", "estop_latched", f"stopped by {post.latch.source}")
        elif wish.op != "release" and (stale := post.beats.judge(wish.fresh, now)):
            refusal = Refusal("freshness", stale, "echo the newest heartbeat")
        if refusal is None:
            before = post.desk.current
            answer = post.desk.ask(wish, now)
            if answer.lost is not None:
                self._taken_from(answer.lost, wish, now)
            if answer.reason is not None:
                refusal = Refusal("lease", answer.reason, answer.detail)
            elif post.desk.current != before:
                self._granted(before, wish, now)
        self._answer_lease(wish, refusal, now)

    def _granted(self, before: Any, wish: LeaseSet, now: int) -> None:
        post, lease = self._post, self._post.desk.current
        if lease is None:
            post.link = None
        elif before is None or before.id != lease.id:
            post.link = Link(lease.holder, post.telling.robot, now)
            post.adopt(lease, now)
            if wish.rank in ("teleop", "operator"):
                post.telling.event("human_override", "info", "lease", now, detail=f"{lease.holder} as {lease.rank}")
        post.tell_lease()

    def _taken_from(self, lost: Any, wish: LeaseSet, now: int) -> None:
        if wish.op == "release":
            self._post.lose(lost, "cancelled", None, f"{lost.holder} let go", now)
        else:
            self._post.lose(lost, "preempted", "no_lease", f"{wish.sender} took over as {wish.rank}", now)

    def _answer_lease(self, wish: LeaseSet, refusal: Refusal | None, now: int) -> None:
        """To the wisher alone: the lease's id is in it."""
        post, lease = self._post, self._post.desk.current
        result: dict[str, Any] | None = None
        if refusal is None and lease is not None and wish.op != "release":
            result = {"lease": lease.id, "rank": lease.rank, "expires_ms": post.factsheet.timing.lease_ms}
        status = Status(
            wish.id, f"lease.{wish.op}", "rejected" if refusal else "succeeded", 0, max(0, now // MS),
            refusal and refusal.reason, refusal.detail if refusal else "", result=result,
        )  # fmt: skip
        post.telling.privately(wish.sender, status)
        post.telling.note(
            Note(
                now,
                "lease",
                "rejected" if refusal else "accepted",
                wish.id,
                wish.op,
                wish.sender,
                refusal and refusal.reason,
                refusal.detail if refusal else wish.rank,
            )
        )

    def _agent(self, topic: Topic, heard: Heard, now: int) -> None:
        link = self._post.link
        if link is None or link.agent != topic.who:
            return
        try:
            if topic.channel == "agent/heartbeat":
                if not heard.retained:
                    link.beat(decode(heard.payload, AgentHeartbeat), self._post.beats, now)
            elif link.gone(decode(heard.payload, AgentConnection)) and not link.lost:
                link.lost = True
                self._post.unlink(f"{link.agent} is gone", now)
        except Malformed as error:
            self._ignore("schema", str(error), now)

    # --- refusing

    def _authentic(self, sender: str, payload: bytes, now: int) -> bool:
        keys = self._post.settings.keys
        if not keys or ((key := keys.get(sender)) is not None and sealed(payload, key)):
            return True
        self._post.telling.event("guard_trip", "urgent", "seal", now, reason="schema", detail=f"not sealed by {sender}")
        self._ignore("seal", f"not sealed by {sender}", now)
        return False

    def _answerable(self, command: Command) -> Command:
        if command.reply_to in (None, agent_topic(self._post.telling.fleet, command.sender, "reply")):
            return command
        return msgspec.structs.replace(command, reply_to=None)

    def _refuse(self, command: Command, refusal: Refusal, now: int, *, keep: bool = True) -> None:
        reply = command.reply_to or ""
        self._post.book.reject(command.id, command.name, reply, refusal.reason, refusal.detail, now, keep=keep)
        self._post.telling.note(
            Note(
                now, refusal.guard, "rejected", command.id, command.name, command.sender, refusal.reason, refusal.detail
            )
        )

    def _refuse_unread(self, heard: Heard, reason: Reason, detail: str, now: int) -> None:
        """What could not be read, or may not be: answered if it says whose it is, and told in any case."""
        post = self._post
        try:
            salvage = decode(heard.payload, Salvage)
            reply = agent_topic(post.telling.fleet, salvage.sender, "reply")
            post.book.reject(salvage.id, salvage.name, reply, reason, detail, now, keep=False)
        except Malformed:
            salvage = None
        post.telling.note(
            Note(
                now,
                "schema" if reason == "schema" else "retained",
                "rejected",
                salvage.id if salvage else "",
                salvage.name if salvage else "",
                salvage.sender if salvage else "",
                reason,
                detail[:400],
            )
        )
        post.telling.event("guard_trip", "warning", reason, now, reason=reason, detail=detail)

    def _ignore(self, guard: str, detail: str, now: int) -> None:
        self._post.telling.note(Note(now, guard, "ignored", detail=detail[:400]))

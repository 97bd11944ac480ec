"""What a message does to a guarded robot, channel by channel. Whatever comes, nothing is raised."""

from typing import Literal

import msgspec

from embodied.robot.arguments import Refusal
from embodied.robot.codec import decode
from embodied.robot.decisions import Heard, Note
from embodied.robot.errors import Malformed
from embodied.robot.lending import Lending
from embodied.robot.messages import (
    AgentConnection,
    AgentHeartbeat,
    CancelArgs,
    Command,
    EstopReset,
    EstopSet,
    IdArgs,
    LeaseSet,
    Salvage,
    Setpoint,
)
from embodied.robot.post import Post
from embodied.robot.seal import sealed
from embodied.robot.streaming import Streaming
from embodied.robot.topics import Topic, agent_topic, read_topic
from embodied.robot.vocabulary import RESERVED, Reason


class Hearing:
    """Reads messages for one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._lending, self._streaming = Lending(post), Streaming(post)

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
            moves = goal.capability.moves  # what does not, such as speech, began without a lease and a heartbeat
            free = not moves or (not post.latch.latched and post.desk.holds(command.sender, command.lease, now))
            stale = post.beats.judge(command.fresh, now) if moves else None
            if stale:
                refusal = Refusal("freshness", stale, "echo the newest heartbeat")
            elif not free:
                refusal = Refusal("lease", "estop_latched" if post.latch.latched else "no_lease", "you may not move it")
            elif not post.book.resume(goal, now):
                refusal = Refusal("lifecycle", "busy", f"{id} is {goal.state}, not paused")
            elif moves and (lease := post.desk.current):
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
        refusal = self._streaming.take(setpoint, now)
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

    # --- leases and agents

    def _lease(self, wish: LeaseSet, payload: bytes, now: int) -> None:
        if self._authentic(wish.sender, payload, now):
            self._lending.ask(wish, now)

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

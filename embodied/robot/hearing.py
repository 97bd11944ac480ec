"""What a message does to a guarded robot, channel by channel. Whatever comes, nothing is raised."""

from typing import Literal

import msgspec

from embodied.robot.codec import decode
from embodied.robot.commanding import Commanding
from embodied.robot.decisions import Heard, Note
from embodied.robot.errors import Malformed
from embodied.robot.lending import Lending
from embodied.robot.messages import (
    AgentConnection,
    AgentHeartbeat,
    Command,
    EstopReset,
    EstopSet,
    LeaseSet,
    Salvage,
    Setpoint,
)
from embodied.robot.post import Post
from embodied.robot.seal import sealed
from embodied.robot.streaming import Streaming
from embodied.robot.topics import Topic, agent_topic, read_topic
from embodied.robot.vocabulary import Reason


class Hearing:
    """Reads messages for one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._commanding, self._lending, self._streaming = Commanding(post), Lending(post), Streaming(post)

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
        if command.name != topic.name:
            raise Malformed(f"`name` is {command.name!r}, the topic's {topic.name!r}")
        if command.reply_to and command.reply_to != agent_topic(topic.fleet, command.sender, "reply"):
            raise Malformed("`reply_to` is not the reply topic of the sender")
        if self._authentic(command.sender, payload, now):
            self._commanding.take(command, payload, now)

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

"""Commands: what is offered, and those that every robot knows (cancel, query, pause, resume); each once.

`stop` is not here: it is obeyed before it is read (`hearing.py`).
"""

import msgspec

from embodied.robot.arguments import Refusal
from embodied.robot.decisions import Note
from embodied.robot.messages import CancelArgs, Command, IdArgs
from embodied.robot.post import Post
from embodied.robot.vocabulary import RESERVED


class Commanding:
    """Takes the commands of one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def take(self, command: Command, payload: bytes, now: int) -> None:
        """Deal with a command that was read, and is from whom it says. It is answered in any case."""
        post = self._post
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

    def _refuse(self, command: Command, refusal: Refusal, now: int, *, keep: bool = True) -> None:
        reply = command.reply_to or ""
        self._post.book.reject(command.id, command.name, reply, refusal.reason, refusal.detail, now, keep=keep)
        self._post.telling.note(
            Note(
                now, refusal.guard, "rejected", command.id, command.name, command.sender, refusal.reason, refusal.detail
            )
        )

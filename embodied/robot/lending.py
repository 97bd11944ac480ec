"""Wishes for the lease: judged, answered to the wisher alone, and what follows when it changes hands."""

from typing import Any

from embodied.robot.arguments import Refusal
from embodied.robot.decisions import Note
from embodied.robot.leases import Lease
from embodied.robot.links import Link
from embodied.robot.messages import LeaseSet
from embodied.robot.post import Post
from embodied.robot.rates import Rate
from embodied.robot.reports import Status
from embodied.robot.vocabulary import MS

WISHES_PER_S = 10


class Lending:
    """Gives the lease of one `Post`."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._wishes = Rate(WISHES_PER_S, 1.0)

    def ask(self, wish: LeaseSet, now: int) -> None:
        """Answer a wish, and do what follows of it."""
        post = self._post
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

    def _granted(self, before: Lease | None, wish: LeaseSet, now: int) -> None:
        post, lease = self._post, self._post.desk.current
        if lease is None:
            post.link = None
        elif before is None or before.id != lease.id:
            post.link = Link(lease.holder, post.telling.robot, now)
            post.adopt(lease, now)
            if wish.rank in ("teleop", "operator"):
                post.telling.event("human_override", "info", "lease", now, detail=f"{lease.holder} as {lease.rank}")
        post.tell_lease()

    def _taken_from(self, lost: Lease, wish: LeaseSet, now: int) -> None:
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

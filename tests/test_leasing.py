"""The lease from the agent's side: what an answer to a renewal means."""

import itertools

from embodied.remote.leasing import Leasehold
from embodied.robot.proposing import Watch
from embodied.robot.reports import Heartbeat, Status
from embodied.robot.vocabulary import MS, SECOND, Reason


def held() -> tuple[Leasehold, Watch, int]:
    """A lease that was just granted, what was heard, and now."""
    numbers = itertools.count()
    lease, watch, now = Leasehold("agent1", lambda: f"i{next(numbers)}"), Watch(), 10 * SECOND
    watch.beat(Heartbeat("b1", 1, 0, "automatic", "none"), now)
    lease.want("model")
    wish = lease.due(watch, now)
    assert wish is not None and wish.op == "acquire"
    lease.answered(Status(wish.id, "acquire", "succeeded", 1, 0, result={"lease": "L1", "expires_ms": 2000}), now)
    assert lease.held
    return lease, watch, now


def refused(reason: Reason) -> tuple[Leasehold, Watch, int]:
    """The same, and its renewal a second later was refused."""
    lease, watch, now = held()
    now += SECOND
    watch.beat(Heartbeat("b1", 11, 1000, "automatic", "none"), now)
    wish = lease.due(watch, now)
    assert wish is not None and wish.op == "renew"
    now += 5 * MS
    assert lease.answered(Status(wish.id, "renew", "rejected", 2, 1000, reason=reason), now)
    return lease, watch, now


def test_a_renewal_that_came_late_is_asked_again_and_the_lease_kept() -> None:
    lease, watch, now = refused("stale")
    assert lease.held and lease.why == ""
    watch.beat(Heartbeat("b1", 12, 1100, "automatic", "none"), now)
    again = lease.due(watch, now)
    assert again is not None and again.op == "renew" and again.fresh is not None and again.fresh.beat == 12


def test_one_that_is_refused_for_good_ends_it() -> None:
    lease, _, _ = refused("no_lease")
    assert not lease.held and lease.why


def test_late_again_and_again_it_runs_out_all_the_same() -> None:
    lease, watch, now = refused("stale")
    now += 2 * SECOND
    watch.beat(Heartbeat("b1", 30, 3000, "automatic", "none"), now)
    lease.due(watch, now)
    assert not lease.held


def test_a_wish_that_came_late_is_no_refusal_and_is_sent_again() -> None:
    lease, watch, now = held()
    lease.forget()
    lost = lease.due(watch, now)
    assert lost is not None and lost.op == "acquire"
    assert lease.answered(Status(lost.id, "lease.acquire", "rejected", 2, 0, reason="stale"), now + 5 * MS)
    assert lease.refusals == 0 and lease.why == ""
    watch.beat(Heartbeat("b1", 2, 100, "automatic", "none"), now + 100 * MS)
    assert lease.due(watch, now + 50 * MS) is None
    again = lease.due(watch, now + 105 * MS)
    assert again is not None and again.op == "acquire" and again.fresh is not None and again.fresh.beat == 2


def test_one_that_is_being_given_back_is_not_held_though_it_is_wanted_again() -> None:
    lease, watch, now = held()
    lease.want(None)
    back = lease.due(watch, now)
    assert back is not None and back.op == "release"
    lease.want("model")  # before the robot has answered
    assert not lease.held
    assert lease.answered(Status(back.id, "lease.release", "succeeded", 2, 0), now + 5 * MS)
    again = lease.due(watch, now + 5 * MS)
    assert again is not None and again.op == "acquire"
    lease.answered(Status(again.id, "lease.acquire", "succeeded", 3, 0, result={"lease": "L2"}), now + 10 * MS)
    assert lease.held

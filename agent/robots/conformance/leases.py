"""Promises: one writer at a time, who has to renew; a higher rank takes over; the lease's id is a secret."""

from agent.robots.conformance.promises import Broken, NotTried, check, promise
from agent.robots.conformance.stage import Stage, token, told
from embodied.robot.reports import LeaseState
from embodied.robot.vocabulary import SECOND


@promise(
    "lease.needed",
    "a goal without a lease, one with a lease that was made up, and setpoints likewise",
    "rejected, no_lease; nothing moves",
)
async def needed(stage: Stage) -> str:
    """Whoever moves it has asked first."""
    errand = await stage.errand()
    start, name = stage.now, errand.capability.name
    args = errand.args(errand.little, 1)
    await stage.refused(await stage.agent.ask(name, args), "no_lease", what="without a lease")
    await stage.refused(await stage.agent.ask(name, args, lease=token()), "no_lease", what="with another's")
    if stage.means.stream is not None:
        await stage.drive(0.5)
    return f"no_lease, {await stage.still(start, 0.3, 'without a lease')}"


@promise(
    "lease.secret",
    "a lease is acquired",
    "its id is in the answer to its holder, and nowhere that others read",
    moves=False,
)
async def secret(stage: Stage) -> str:
    """Whoever knows it could write under it."""
    start = stage.now
    await stage.lease()
    await stage.wait(0.5)
    id = stage.agent.lease.encode()
    check(bool(id), "the answer has no lease id in its result")
    leaks = {e.topic.channel for e in stage.second.diary.entries if e.t >= start and id in e.payload}
    check(not leaks, f"it is published on {', '.join(sorted(leaks))}")
    holder = stage.second.diary.newest(LeaseState)
    check(holder is not None and holder.holder == stage.agent.name, "lease does not tell who holds it")
    return f"told to its holder alone; {stage.agent.name} on lease"


@promise(
    "lease.other",
    "a second agent, of the same rank, asks for it, and sends a goal with the holder's lease id",
    "busy; rejected, no_lease; nothing moves",
)
async def other(stage: Stage) -> str:
    """An equal waits."""
    errand = await stage.errand()
    await stage.lease()
    start = stage.now
    answer = await stage.second.wish("acquire", stage.rank)
    await stage.refused(answer, "busy", what="its wish for the lease")
    args = errand.args(errand.little, 1)
    status = await stage.second.ask(errand.capability.name, args, lease=stage.agent.lease)
    await stage.refused(status, "no_lease", what="its goal")
    return f"busy, then no_lease; {await stage.still(start, 0.4, 'by somebody without the lease')}"


@promise(
    "lease.expiry",
    "the agent drives on, and beats on, but does not renew",
    "the lease ends after lease_ms; at rest; setpoints and goals: no_lease",
)
async def expiry(stage: Stage) -> str:
    """It lives only as long as it is renewed."""
    await stage.stream()
    agent, life = stage.agent, stage.factsheet.timing.lease_ms / 1000
    agent.renewing = False
    await stage.lease()
    granted = stage.now
    await stage.drive(life + 1.0, min(0.1, stage.means.speed))
    gone = next((t for t, s in stage.second.diary.since(granted, LeaseState) if s.holder is None), None)
    check(gone is not None, f"lease still names a holder {life + 1:g} s after it was given")
    after = ((gone or 0) - granted) / SECOND
    check(after <= life + 0.4, f"it ended after {after:.2f} s, not {life:g}")
    start = stage.now
    await stage.drive(0.5)
    seen = await stage.still(start, 0.2, "by setpoints under a lease that has run out")
    errand = stage.means.errand
    if errand is not None:
        status = await agent.ask(errand.capability.name, errand.args(errand.little, 1))
        await stage.refused(status, "no_lease", what="a goal under it")
    agent.lease = ""
    return f"ended after {after:.2f} s, {seen}"


@promise("lease.release", "it is given back while a goal runs, and used again", "the goal ends; then no_lease")
async def release(stage: Stage) -> str:
    """What is given back is gone."""
    errand = await stage.errand()
    await stage.lease()
    agent, lease, name = stage.agent, stage.agent.lease, errand.capability.name
    await agent.pace()
    id = agent.command(name, errand.args(errand.much, 1))
    await agent.diary.status(id, 2.0, "running")
    answer = await agent.wish("release")
    check(answer is not None and answer.state == "succeeded", f"the release: {told(answer)}")
    end = await stage.end(id, 3.0)
    check(end.state != "succeeded", "the goal went on to its end")
    await stage.refused(await agent.ask(name, errand.args(errand.little, 1), lease=lease), "no_lease")
    return f"the goal {told(end)}; then no_lease"


@promise(
    "lease.takeover",
    "a second agent asks for it with a higher rank, while a goal of the first runs",
    "granted; the goal ends preempted; the first's next goal: no_lease",
)
async def takeover(stage: Stage) -> str:
    """operator > teleop > policy > model."""
    errand = await stage.errand()
    await stage.lease(rank="model")
    agent, second, name = stage.agent, stage.second, errand.capability.name
    await agent.pace()
    # As a model's wish by text, for that is what it counts as; what is not exposed or needs a yes is another promise.
    id = agent.command(name, errand.args(errand.much, 1), origin={"source": "text"})
    first = await agent.diary.status(id, 2.0, "running", "rejected")
    if first is None or first.state == "rejected":
        raise NotTried(f"a goal of the lowest rank: {told(first)}")
    answer: object = None
    for rank in ("operator", "teleop", "policy"):
        status = await second.wish("acquire", rank)
        answer = told(status)
        if status is not None and status.state == "succeeded":
            break
    else:
        raise Broken(f"a higher rank is not given it: {answer}")
    end = await stage.end(id, 3.0)
    check(end.state == "preempted", f"the first one's goal: {told(end)} instead of preempted")
    old = agent.lease
    await stage.refused(await agent.ask(name, errand.args(errand.little, 1), lease=old), "no_lease")
    agent.lease = ""
    return f"granted as {rank}; the goal {told(end)}; then no_lease"

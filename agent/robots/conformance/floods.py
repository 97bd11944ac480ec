"""Promises: somebody who floods it is refused, and the robot stays itself."""

from collections import Counter
from itertools import pairwise

from agent.robots.conformance.promises import check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.reports import Happening, Heartbeat
from embodied.robot.vocabulary import SECOND


async def _alive(stage: Stage, start: int) -> str:
    """Check that it answers, and that its heart beat all the time."""
    status = await stage.second.ask("query", {"id": "nothing"})
    check(status is not None and status.state == "succeeded", f"a query during the flood: {told(status)}")
    await stage.wait(0.5)
    beats = [t for t, _ in stage.second.diary.since(start, Heartbeat)]
    gap = max((b - a for a, b in pairwise(beats)), default=SECOND * 9) / SECOND
    check(gap <= 0.5, f"no heartbeat for {gap:.2f} s")
    return f"a query was answered, heartbeats at most {gap:.2f} s apart"


@promise("floods.commands", "forty goals at once, without a lease", "`rate` for most; nothing moves; it still answers")
async def commands(stage: Stage) -> str:
    """Two goals a second."""
    errand = await stage.errand()
    await stage.agent.pace()
    await stage.wait(1.1)
    start = stage.now
    args = errand.args(errand.little, 1)
    ids = [stage.agent.command(errand.capability.name, args) for _ in range(40)]
    diary = stage.agent.diary
    await diary.until(lambda: all(diary.statuses(id, start) for id in ids), 3.0)
    last = [told(diary.statuses(id)[-1] if diary.statuses(id) else None) for id in ids]
    seen = await _alive(stage, start)
    reasons = Counter(last)
    check("no answer" not in reasons, f"{reasons['no answer']} of 40 were not answered")
    check(all(each.startswith("rejected") for each in last), f"not all were rejected: {dict(reasons)}")
    check(reasons["rejected (rate)"] >= 30, f"only {reasons['rejected (rate)']} of 40 were refused for their rate")
    still = await stage.still(start, 0.3, "by the flood")
    await stage.wait(1.0)
    return f"{reasons['rejected (rate)']} of 40: rate; {still}; {seen}"


@promise(
    "floods.stream",
    "300 setpoints in a second (to stand still), with the lease",
    "an event says rate; it still answers",
)
async def stream(stage: Stage) -> str:
    """Fifty setpoints a second."""
    capability = await stage.stream()
    await stage.lease()
    start = stage.now
    for _ in range(50):
        for _ in range(6):
            stage.agent.setpoint(capability.name, stage.means.drive(0.0))
        await stage.wait(0.02)
    event = await stage.second.diary.next(Happening, 1.0, lambda e: e.reason == "rate", since=start)
    seen = await _alive(stage, start)
    check(event is not None, "no event says rate")
    return f"rate told; {seen}"

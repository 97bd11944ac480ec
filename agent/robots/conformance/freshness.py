"""Promises: nothing old is done, however it comes to be old. What is fresh says the robot's own heartbeat."""

from agent.robots.conformance.promises import NotTried, check, promise
from agent.robots.conformance.stage import Stage, token
from embodied.robot.messages import Fresh
from embodied.robot.vocabulary import SECOND, TERMINAL

OLD = 0.35  # s beyond what is allowed
HOLD = 3.0


@promise("freshness.none", "a goal without `fresh`", "rejected, stale")
async def none(stage: Stage) -> str:
    """An echo is needed."""
    return await _goal(stage, None)


@promise("freshness.stale", "a goal that echoes a beat 350 ms too old", "rejected, stale; nothing moves")
async def stale(stage: Stage) -> str:
    """Held too long."""
    old = stage.agent.diary.fresh
    await stage.wait(stage.factsheet.timing.fresh_ms / 1000 + OLD)
    return await _goal(stage, old)


@promise("freshness.future", "a goal that echoes a beat which is yet to come", "rejected, stale")
async def future(stage: Stage) -> str:
    """Guessed."""
    now = stage.agent.diary.fresh
    return await _goal(stage, Fresh(now.boot, now.beat + 100_000) if now else None)


@promise("freshness.boot", "a goal that echoes another boot", "rejected, wrong_boot")
async def boot(stage: Stage) -> str:
    """Of another life of the robot."""
    now = stage.agent.diary.fresh
    return await _goal(stage, Fresh(token(), now.beat if now else 0), "wrong_boot")


async def _goal(stage: Stage, fresh: Fresh | None, reason: str = "stale") -> str:
    errand = await stage.errand()
    await stage.lease()
    start = stage.now
    status = await stage.agent.ask(errand.capability.name, errand.args(errand.little, 1), fresh=fresh)
    seen = await stage.refused(status, reason)
    return f"{seen}, {await stage.still(start, 0.4, 'by it')}"


@promise(
    "freshness.recorded",
    "setpoints of 1 s are recorded, and played again 1.5 s later: as they were, and with new "
    "numbers; a goal likewise, under a new id",
    "all refused, 0.0 cm",
)
async def recorded(stage: Stage) -> str:
    """What was said once is not said again."""
    stream = await stage.stream()
    await stage.lease()
    agent, means = stage.agent, stage.means
    old, tape = agent.diary.fresh, []
    for _ in range(20):
        tape.append(agent.setpoint(stream.name, means.drive(means.speed)))
        await stage.wait(0.05)
    await stage.wait(0.7)
    await stage.stand()
    await _stood(stage)
    start = stage.now
    for payload in tape:
        agent.publish(agent.topic("stream", stream.name), payload, 0)
        agent.setpoint(stream.name, means.drive(means.speed), fresh=old)
        await stage.wait(0.05)
    seen = await stage.still(start, 0.3, "by what was played again")
    if means.errand is not None:
        await stage.refused(
            await agent.ask(means.errand.capability.name, means.errand.args(means.errand.little, 1), fresh=old), "stale"
        )
    return f"{len(tape)} played twice: {seen}"


async def _stood(stage: Stage) -> None:
    await stage.wait(0.3)
    if stage.motion.way(stage.now - SECOND // 4) > 0.005:
        raise NotTried("it does not come to rest without setpoints (links.deadman), so that nothing can be told apart")


@promise(
    "freshness.late",
    "the agent drives, the network holds setpoints and renewals for 1.2 s, and lets them through while "
    "the lease still lives",
    "at rest before; nothing held is done, 0.0 cm",
)
async def late(stage: Stage) -> str:
    """The lease alone would not have refused them."""
    stream = await stage.stream()
    await stage.lease()
    agent, means = stage.agent, stage.means
    await stage.drive(0.4)
    stage.wire.hold()
    for _ in range(9):
        agent.setpoint(stream.name, means.drive(stage.side * means.speed))
        await stage.wait(0.1)
    await _stood(stage)
    start = stage.now
    stage.wire.release()
    seen = await stage.still(start, 0.7, "by what was held")
    return f"9 setpoints held for 1.2 s: {seen}"


@promise(
    "freshness.held",
    "the agent drives, the network holds all for 3 s while it goes on sending setpoints, goals and "
    "renewals, then lets them through at once",
    "at rest before the release; every held command is refused, 0.0 cm moved after it",
)
async def held(stage: Stage) -> str:
    """The network that hangs, and comes back."""
    stream = await stage.stream()
    await stage.lease()
    agent, means, errand = stage.agent, stage.means, stage.means.errand
    await stage.drive(0.6)
    stage.wire.hold()
    ids: list[str] = []
    for n in range(round(HOLD / 0.1)):
        agent.setpoint(stream.name, means.drive(means.speed))
        if errand is not None and n % 3 == 0:
            ids.append(agent.command(errand.capability.name, errand.args(errand.little, 1)))
        await stage.wait(0.1)
    await _stood(stage)
    start = stage.now
    stage.wire.release()
    await stage.wait(1.5)
    way = stage.motion.way(start)
    check(way <= 0.005, f"it moved {way * 100:.1f} cm after the release")
    answered = 0
    for id in ids:
        statuses = stage.second.diary.statuses(id)
        answered += bool(statuses)
        check(all(s.state == "rejected" for s in statuses), f"a held command became {statuses and statuses[-1].state}")
    check(answered == len(ids), f"{len(ids) - answered} of {len(ids)} held commands were not answered")
    ended = sum(s.state in TERMINAL for id in ids for s in stage.second.diary.statuses(id))
    return f"{ended} commands and {round(HOLD / 0.1)} setpoints held: all refused, moved {way * 100:.1f} cm"

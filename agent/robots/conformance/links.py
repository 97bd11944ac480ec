"""Promises: an agent that is gone, frozen or cut off moves nothing for long."""

from agent.robots.conformance.motion import bound
from agent.robots.conformance.promises import NotTried, check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.vocabulary import SECOND, State

TTL = 0.5
LOOSE = 0.2  # s: the robot's control step, and the network


async def rests(stage: Stage, last: int, ttl: float = TTL) -> str:
    """Check that it comes to rest after the last setpoint at `last` (ns) as the contract has it. Returns how."""
    motion, brake = stage.motion, stage.factsheet.limits.brake
    await stage.wait(ttl + 1.2)
    speed = motion.speed(last - SECOND // 3, last + SECOND // 10)
    check(speed > 0.03, "it did not move before: nothing is proven")
    rest, way = motion.rest(last), motion.way(last)
    most = bound(speed, ttl, brake)
    check(rest is not None, f"it still moves {ttl + 1.2:.1f} s after the last setpoint, and went {way * 100:.0f} cm")
    took = ((rest or last) - last) / SECOND
    within = ttl + speed / brake + LOOSE + motion.period()
    check(way <= most, f"it went {way * 100:.1f} cm at {speed:.2f} m/s; {most * 100:.1f} cm are allowed")
    check(took <= within, f"it stood after {took:.2f} s; {within:.2f} s are allowed")
    return f"{speed:.2f} m/s: at rest after {took:.2f} s and {way * 100:.1f} cm (of {most * 100:.1f})"


@promise(
    "links.deadman",
    "the agent drives, and sends no more setpoints (its heartbeat and lease go on)",
    "at rest within ttl and braking: v·(ttl + 0.1 s) + v²/2a + 5 cm",
)
async def deadman(stage: Stage) -> str:
    """A setpoint counts for its time to live."""
    await stage.stream()
    await stage.lease()
    return await rests(stage, await stage.drive(0.8))


@promise("links.blackhole", "the network swallows all while the agent drives", "the same")
async def blackhole(stage: Stage) -> str:
    """No reset, no end of the connection: silence."""
    await stage.stream()
    await stage.lease()
    last = await stage.drive(0.8)
    await stage.wait(0.02)  # so that the last setpoint is through
    stage.wire.blackhole()
    for _ in range(10):
        await stage.drive(0.05)
    return await rests(stage, last)


@promise(
    "links.silent",
    "the agent's heartbeat ends while a goal runs (the lease is renewed on)",
    "after link_ms the goal does what its on_link_loss says",
)
async def silent(stage: Stage) -> str:
    """A frozen agent renews nothing; a half dead one might."""
    errand = await stage.errand()
    agent, limit = stage.agent, stage.factsheet.timing.link_ms / 1000
    await stage.lease()
    agent.beating, start = False, stage.now
    await agent.pace()
    id = agent.command(errand.capability.name, errand.args(errand.much, 1))
    ends: tuple[State, ...] = ("rejected", "succeeded", "failed", "cancelled", "preempted", "paused")
    status = await agent.diary.status(id, limit + 1.5, *ends)
    took = (stage.now - start) / SECOND
    agent.beating = True
    if status is not None and status.state == "succeeded" and took < limit + 0.2:
        raise NotTried(f"{errand.capability.name} was done after {took:.1f} s, before {limit:g} s of silence were over")
    rule = errand.capability.on_link_loss
    seen = f"{told(status)} after {took:.2f} s; on_link_loss is {rule}"
    match rule:
        case "continue":
            check(status is None or status.state == "succeeded", seen)
        case "hold":
            check(status is not None and status.state in ("paused", "failed"), seen)
        case _:
            check(status is not None and status.state == "failed" and status.reason == "link_lost", seen)
    check(rule == "continue" or took <= limit + 0.5, seen)
    await stage.second.ask("cancel", {"target": "*"})
    return seen

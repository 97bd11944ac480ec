"""Promises: a robot whose program is restarted or frozen does nothing that was meant before."""

from agent.robots.conformance.promises import NotTried, check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.messages import Fresh
from embodied.robot.reports import Connection
from embodied.robot.vocabulary import SECOND


@promise(
    "restarts.frozen",
    "the robot's program is frozen for 2 s (SIGSTOP), while setpoints and goals are sent to it",
    "on waking nothing of it is done: refused, 0.0 cm",
)
async def frozen(stage: Stage) -> str:
    """Its own clock has gone on."""
    if stage.program.freeze is None or stage.program.thaw is None:
        raise NotTried("give --pid of the robot's program (on this machine), or --freeze-command and --thaw-command")
    stream = await stage.stream()
    await stage.lease()
    agent, means = stage.agent, stage.means
    await stage.stand()
    await stage.freeze()
    ids: list[str] = []
    for n in range(20):
        agent.setpoint(stream.name, means.drive(means.speed))
        if means.errand is not None and n % 6 == 0:
            ids.append(agent.command(means.errand.capability.name, means.errand.args(means.errand.little, 1)))
        await stage.wait(0.1)
    await stage.wait(0.2)  # the newest beat that anybody can echo is older than fresh_ms by now
    start = stage.now
    await stage.thaw()
    await stage.wait(1.5)
    way = stage.motion.way(start)
    check(way <= 0.005, f"it moved {way * 100:.1f} cm on waking")
    for id in ids:
        statuses = stage.second.diary.statuses(id)
        check(bool(statuses), "a command sent to the frozen robot has no answer")
        check(statuses[-1].state == "rejected", f"a command sent to the frozen robot: {told(statuses[-1])}")
    agent.lease = ""
    return f"{len(ids)} goals and 20 setpoints: refused, moved {way * 100:.1f} cm"


@promise(
    "restarts.retained",
    "a command that the broker keeps (retained), done once; then the robot is restarted",
    "it is not done again",
)
async def retained(stage: Stage) -> str:
    """A broker hands old commands to who comes new."""
    await _restartable(stage)
    found = stage.means.instant
    errand = stage.means.errand
    if found is not None:
        name, args = found[0].name, found[1]
    elif errand is not None:
        name, args = errand.capability.name, errand.args(errand.little, 1)
    else:
        raise NotTried("there is no command whose arguments can be guessed")
    agent, boot = stage.agent, stage.boot
    await stage.lease()
    topic = agent.topic("command", name)
    body = agent.envelope(name, args)
    id = str(body["id"])
    # To who is subscribed already it is news, and may be done; who starts anew has no memory of that.
    agent.publish(topic, agent.packed(body), retain=True)
    await stage.end(id, 15.0)
    await stage.wait(0.2)  # its end is told twice
    try:
        start = stage.now
        await stage.restart()
        await stage.online(boot)
        await stage.wait(1.0)
    finally:
        agent.publish(topic, b"", retain=True)
        agent.lease = ""
    done = [s for s in stage.second.diary.statuses(id, start) if s.state != "rejected"]
    check(not done, f"a retained command after the restart: {told(done and done[-1])}")
    return f"{name}: not done"


@promise(
    "restarts.boot",
    "the robot's program is ended roughly and started again",
    "connection says lost (its will), then online with a new boot; the lease and what echoes the old boot are void",
)
async def boot(stage: Stage) -> str:
    """A new life."""
    await _restartable(stage)
    errand = await stage.errand()
    await stage.lease()
    agent, lease, old = stage.agent, stage.agent.lease, stage.boot
    beat = agent.diary.fresh
    start = stage.now
    await stage.restart()
    await stage.online(old)
    said = [c for _, c in stage.second.diary.since(start, Connection)]
    check(any(c.state in ("lost", "offline") and c.boot == old for c in said), "nobody told that the old one is gone")
    new, moved = stage.boot, stage.now
    args = errand.args(errand.little, 1)
    await stage.wait(0.3)
    stale = await agent.ask(errand.capability.name, args, lease=lease, fresh=beat or Fresh(old, 0))
    await stage.refused(stale, "wrong_boot", what="what echoes the old boot")
    void = await agent.ask(errand.capability.name, args, lease=lease)
    await stage.refused(void, "no_lease", what="under the old lease")
    agent.lease = ""
    seen = await stage.still(moved, 0.3, "after the restart")
    return f"{old} → {new} within {(moved - start) / SECOND:.1f} s, lost told, old lease void, {seen}"


async def _restartable(stage: Stage) -> None:
    if stage.program.restart is None:
        raise NotTried("give --restart-command, which ends the robot's program and starts it again")
    await stage.movable()

"""Promises: at QoS 1 a message may come twice, a stream's late; nothing is done twice, nothing out of order."""

from agent.robots.conformance.promises import check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.reports import Happening
from embodied.robot.vocabulary import TERMINAL


@promise(
    "repetition.same",
    "a goal whose bytes come three times at once, and once more after its end",
    "done once: one beginning, one end; each later one gets the last status again",
)
async def same(stage: Stage) -> str:
    """Same id, same bytes."""
    errand = await stage.errand()
    await stage.lease()
    agent = stage.agent
    await agent.pace()
    body = agent.envelope(errand.capability.name, errand.args(errand.little, 1))
    id, payload, topic = str(body["id"]), agent.packed(body), agent.topic("command", errand.capability.name)
    start = stage.now
    for _ in range(3):
        agent.publish(topic, payload)
    last = await stage.end(id, errand.capability.timeout_s + 2, "succeeded")
    await stage.stand()
    went, after = stage.motion.way(start), stage.now
    agent.publish(topic, payload)
    again = await agent.diary.status(id, 2.0, t=after)
    check(again is not None, "no answer to the repetition after its end")
    await stage.wait(0.6)
    told_later = [s for s in agent.diary.statuses(id, after) if s.state not in TERMINAL]
    check(not told_later, f"it began anew: {told(told_later and told_later[0])}")
    seen = await stage.still(after, 0.4, "by the repetition")
    statuses = agent.diary.statuses(id)
    accepted = [s for s in statuses if s.state == "accepted"]
    ends = [s for s in statuses if s.state in TERMINAL]
    check(len(accepted) == 1, f"accepted {len(accepted)} times")
    check(len(ends) == 1 and ends[0].seq == last.seq, f"it ended {len(ends)} times")
    return f"done once (it went {went * 100:.0f} cm); repetition: {told(again)} again, {seen}"


@promise("repetition.other", "a second command with an id that was used", "rejected, duplicate; nothing moves")
async def other(stage: Stage) -> str:
    """Same id, other bytes."""
    errand = await stage.errand()
    await stage.lease()
    first = stage.agent.command("query", {"id": "nothing"})
    await stage.agent.diary.status(first, 1.0)
    start = stage.now
    await stage.agent.pace()
    stage.agent.command(errand.capability.name, errand.args(errand.little, 1), id=first)
    status = await stage.agent.diary.status(first, 2.0, "rejected", "accepted", "running", t=start)
    seen = await stage.refused(status, "duplicate")
    return f"{seen}, {await stage.still(start, 0.4, 'by it')}"


@promise(
    "repetition.order",
    "setpoints to stand, then older ones (lower seq) to drive",
    "the older ones do not count; an event says out_of_order",
)
async def order(stage: Stage) -> str:
    """The newest wins, not the last to arrive."""
    stream = await stage.stream()
    await stage.lease()
    agent, means = stage.agent, stage.means
    agent.setpoint(stream.name, means.drive(0.0), seq=1_000_000)
    await stage.wait(0.2)
    start = stage.now
    for n in range(10):
        agent.setpoint(stream.name, means.drive(means.speed), seq=900_000 + n)
        agent.setpoint(stream.name, means.drive(means.speed), seq=1_000_000)
        await stage.wait(0.05)
    seen = await stage.still(start, 0.3, "by setpoints with a lower seq")
    event = await stage.second.diary.next(Happening, 1.0, lambda e: e.reason == "out_of_order", since=start)
    check(event is not None, "no event says out_of_order")
    return f"{seen}, out_of_order told"

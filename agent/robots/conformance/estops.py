"""Promises: the stop. It is software at the end of a network, and no safety-rated emergency stop."""

from agent.robots.conformance.promises import Broken, NotTried, check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.reports import Safety
from embodied.robot.vocabulary import SECOND

RAMP = 0.25
LOOSE = 0.1  # s: the network, the broker, and a control step


async def _stopped(stage: Stage, payload: bytes) -> str:
    """Drive, stop, and go on sending setpoints: what came of it, in words."""
    await stage.stream()
    await stage.lease()
    await stage.drive(0.8)
    start = stage.now
    stage.estop(payload, times=1)
    await stage.drive(1.0)
    motion = stage.motion
    speed = motion.speed(start - SECOND // 3, start + SECOND // 20)
    check(speed > 0.03, "it did not move before: nothing is proven")
    check(stage.second.diary.estop == "latched", "neither safety nor heartbeat says latched after 1 s")
    latched = next((t for t, s in stage.second.diary.since(start, Safety) if s.estop == "latched"), None)
    check(latched is not None, "heartbeats say latched, but safety does not")
    rest, way = motion.rest(start), motion.way(start)
    check(rest is not None, f"it still moves after 1 s, and went {way * 100:.0f} cm")
    took = ((rest or start) - start) / SECOND
    within = RAMP + motion.period() + LOOSE
    check(took <= within, f"it stood after {took:.2f} s; {RAMP:g} s are promised")
    seen = await stage.still((rest or start) + SECOND // 10, 0.3, "while stopped, with setpoints coming")
    told_after = ((latched or start) - start) / SECOND
    return f"at rest after {took:.2f} s and {way * 100:.1f} cm, told after {told_after:.2f} s; {seen}"


@promise(
    "estop.malformed",
    "bytes that mean nothing on estop/set, by somebody without a lease, while the agent drives on",
    "latched, at rest within 0.25 s; setpoints go unheard",
)
async def malformed(stage: Stage) -> str:
    """Whatever comes there stops it."""
    return await _stopped(stage, b"\xffstop!")


@promise(
    "estop.latch",
    "a stop as the contract has it, five times; then goals, and wishes for the lease",
    "latched once, with its source; estop_latched for all that moves",
)
async def latch(stage: Stage) -> str:
    """It stays."""
    errand = await stage.errand()
    await stage.lease()
    lease = stage.agent.lease
    start = stage.now
    stage.estop(b'{"by":"conformance","reason":"a trial"}', times=5)
    safety = await stage.second.diary.next(Safety, 1.0, lambda s: s.estop == "latched", since=start)
    check(safety is not None and safety.source == "conformance", f"source: {safety and safety.source!r}")
    args = errand.args(errand.little, 1)
    status = await stage.agent.ask(errand.capability.name, args, lease=lease)
    await stage.refused(status, "estop_latched", what="a goal")
    await stage.refused(await stage.agent.wish("acquire", stage.rank), "estop_latched", what="a lease")
    tokens = {s.reset_token for _, s in stage.second.diary.since(start, Safety) if s.estop == "latched"}
    check(len(tokens) == 1, f"{len(tokens)} tokens for one stop")
    seen = await stage.still(start, 0.4, "while stopped")
    stage.agent.lease = ""
    return f"latched by {safety and safety.source}, goals and leases: estop_latched; {seen}"


@promise(
    "estop.reset",
    "resets with a wrong token, without the operator's proof, and then right, while the agent goes on "
    "sending setpoints",
    "only the right one resets; nothing moves after it under the old lease",
)
async def reset(stage: Stage) -> str:
    """A reset permits, and restarts nothing."""
    await stage.stream()
    await stage.lease()
    diary = stage.second.diary
    await stage.drive(0.6)
    start = stage.now
    stage.estop(b"{}")
    old = stage.agent.lease
    await stage.drive(0.8)
    stage.reset("0123456789abcdef")
    await stage.drive(0.3)
    check(diary.estop == "latched", "a wrong token reset it")
    safety = await diary.until(
        lambda: next((s for s in [diary.newest(Safety)] if s and s.reset_allowed and s.reset_token), None), 6.0
    )
    check(safety is not None, "safety does not allow a reset 6 s after the stop, or has no token")
    token = (safety.reset_token if safety is not None else None) or ""
    if stage.proves:
        stage.reset(token, proven=False)
        await stage.drive(0.3)
        if diary.estop == "none":
            raise Broken("it was reset without a proof: it does not ask for the operator's key that was given")
    before = stage.now
    stage.reset(token)
    await stage.drive(1.0)
    if diary.estop == "latched":
        raise NotTried("it does not reset: give --operator-key, or credentials that may publish estop/reset")
    seen = await stage.still(before, 0.3, "after the reset, by setpoints under the old lease", most=0.003)
    means = stage.means
    if means.errand is not None:
        args = means.errand.args(means.errand.little, 1)
        status = await stage.agent.ask(means.errand.capability.name, args, lease=old)
        await stage.refused(status, "no_lease", what="a goal under the old lease")
    stage.reset(token)
    stage.estop(b"{}")
    await diary.until(lambda: diary.estop == "latched", 1.0)
    stage.reset(token)
    await stage.wait(0.4)
    check(diary.estop == "latched", "the token of an earlier stop reset a later one")
    await stage.cleared()
    await stage.lease()
    went = stage.now
    await stage.drive(0.4)
    await stage.stand()
    check(stage.motion.way(went) > 0.005, "with a new lease, after the reset, it does not move any more")
    return f"only the right token resets; {seen}; with a new lease it moves ({(stage.now - start) / SECOND:.0f} s)"


@promise("estop.answers", "query and cancel while it is stopped", "both are answered", moves=False)
async def answers(stage: Stage) -> str:
    """A stopped robot is not a deaf one."""
    stage.estop(b"{}")
    await stage.second.diary.until(lambda: stage.second.diary.estop == "latched", 1.0)
    query = await stage.agent.ask("query", {"id": "nothing"}, lease=None, fresh=None)
    cancel = await stage.agent.ask("cancel", {"target": "*"}, lease=None, fresh=None)
    check(query is not None and query.state == "succeeded", f"query: {told(query)}")
    check(cancel is not None and cancel.state == "succeeded", f"cancel: {told(cancel)}")
    return "both answered"

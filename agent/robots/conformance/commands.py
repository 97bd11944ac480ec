"""Promises: the life of a command, and what ends, holds and asks about one."""

from itertools import pairwise

from agent.robots.conformance.means import Errand
from agent.robots.conformance.promises import Broken, NotTried, check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.reports import Happening, RobotState, Status
from embodied.robot.vocabulary import MS, SECOND, TERMINAL, State

_NEXT: dict[str, set[State]] = {
    "accepted": {"running", "cancelled", "preempted", "expired", "failed"},
    "running": {"running", "paused", "cancelling", *TERMINAL} - {"rejected", "expired"},
    "paused": {"running", "paused", "cancelling", *TERMINAL} - {"rejected", "expired"},
    "cancelling": {"cancelling", *TERMINAL} - {"rejected", "expired"},
}  # fmt: skip


async def _running(stage: Stage, errand: Errand, side: int = 1) -> str:
    """A goal that lasts, under way; its id."""
    await stage.lease()
    await stage.agent.pace()
    id = stage.agent.command(errand.capability.name, errand.args(errand.much, side))
    status = await stage.agent.diary.status(id, 2.0, "running", "rejected")
    if status is None or status.state == "rejected":
        raise Broken(f"a goal within all limits: {told(status)}")
    return id


@promise(
    "commands.life",
    "a goal that can be done",
    "accepted within 200 ms, running (once a second at least, five "
    "times at most), one end: succeeded; state.commands has it",
)
async def life(stage: Stage) -> str:
    """accepted → running → succeeded."""
    errand = await stage.errand()
    await stage.lease()
    agent = stage.agent
    await agent.pace()
    start = stage.now
    id = agent.command(errand.capability.name, errand.args(errand.little, -1))
    first = await agent.diary.status(id, 2.0)
    took = (stage.now - start) / MS
    check(first is not None and first.state == "accepted", f"first: {told(first)}")
    check(took <= 200, f"accepted after {took:.0f} ms")
    end = await stage.end(id, errand.capability.timeout_s + 2, "succeeded")
    await stage.wait(0.6)
    statuses = agent.diary.statuses(id)
    for a, b in pairwise(statuses):
        check(b.state in _NEXT.get(a.state, ()), f"{a.state} → {b.state}")
    check(sum(s.state in TERMINAL for s in statuses) == 1, "it ended more than once")
    running = [s.mono_ms for s in statuses if s.state == "running"]
    gaps = [b - a for a, b in pairwise(running)]
    check(max(gaps, default=0) <= 1300, f"nothing was told for {max(gaps, default=0)} ms")
    check(min(gaps, default=1000) >= 150, f"told again after {min(gaps, default=0)} ms")
    state = stage.second.diary.newest(RobotState)
    check(state is not None and any(s.id == id and s.state == end.state for s in state.commands),
          "state.commands does not have its end")  # fmt: skip
    return f"accepted after {took:.1f} ms, {len(statuses)} statuses, {told(end)}"


@promise(
    "commands.cancel",
    "somebody without the lease cancels a running goal",
    "the cancel succeeds, the goal ends cancelled, the robot rests",
)
async def cancel(stage: Stage) -> str:
    """Cancel has its own answer."""
    errand = await stage.errand()
    if not errand.capability.cancellable:
        raise NotTried(f"{errand.capability.name} is not cancellable")
    id = await _running(stage, errand)
    await stage.wait(0.3)
    start = stage.now
    status = await stage.second.ask("cancel", {"target": id}, fresh=None, lease=None)
    check(status is not None and status.state == "succeeded", f"the cancel: {told(status)}")
    await stage.end(id, 2.5, "cancelled")
    return await _rests(stage, start)


async def _rests(stage: Stage, start: int) -> str:
    await stage.stand()
    after = stage.now
    await stage.still(after, 0.4, "after its end")
    rest = stage.motion.rest(start)
    return f"at rest after {((rest or start) - start) / SECOND:.2f} s" if stage.motion.places(start) else "at rest"


@promise(
    "commands.stop",
    "`stop`, malformed and without anything, by somebody without the lease, while a goal runs",
    "the goal ends, the robot rests; setpoints and goals of before do not count",
)
async def stop(stage: Stage) -> str:
    """Never refused, not even for its form."""
    errand = await stage.errand()
    id = await _running(stage, errand)
    old, lease = stage.agent.diary.fresh, stage.agent.lease
    await stage.wait(0.3)
    start = stage.now
    stage.second.publish(stage.second.topic("command", "stop"), b"stop, please")
    end = await stage.end(id, 2.5, "cancelled", "failed", "preempted")
    name = errand.capability.name
    await stage.refused(await stage.agent.ask(name, errand.args(errand.little, 1), fresh=old, lease=lease),
                        what="a goal said before it")  # fmt: skip
    stage.agent.lease = ""
    return f"the goal {told(end)}, {await _rests(stage, start)}"


@promise(
    "commands.query",
    "`query` of a command that ended, and of one that never was",
    "its last status in the result; null",
    moves=False,
)
async def query(stage: Stage) -> str:
    """Nothing depends on one message."""
    id = stage.agent.command("no.such.thing")
    last = await stage.agent.diary.status(id, 2.0)
    status = await stage.agent.ask("query", {"id": id})
    result = status.result if status is not None else None
    check(isinstance(result, dict) and result.get("id") == id and last is not None
          and result.get("state") == last.state, f"the result is {result}")  # fmt: skip
    none = await stage.agent.ask("query", {"id": "never-was"})
    check(none is not None and none.state == "succeeded" and none.result is None, f"never-was: {told(none)}")
    return f"{last and last.state} in the result"


@promise("commands.pause", "a goal is paused for 1 s, and resumed", "paused and at rest; then it goes on to its end")
async def pause(stage: Stage) -> str:
    """Hold, and go on."""
    errand = await stage.errand()
    if not errand.capability.pausable:
        raise NotTried(f"{errand.capability.name} is not pausable")
    id = await _running(stage, errand)
    await stage.wait(0.3)
    await stage.agent.ask("pause", {"id": id})
    check(await stage.agent.diary.status(id, 1.0, "paused") is not None, "it was not paused")
    await stage.stand()
    await stage.still(stage.now, 0.5, "while paused")
    resumed = await stage.agent.ask("resume", {"id": id})
    check(resumed is not None and resumed.state == "succeeded", f"resume: {told(resumed)}")
    end = await stage.end(id, errand.capability.timeout_s + 2, "succeeded")
    return f"at rest while paused, then {told(end)}"


@promise(
    "commands.preempt",
    "a second goal while one runs that uses the same",
    "what `preempt` of the running one says: replace, reject or queue",
)
async def preempt(stage: Stage) -> str:
    """A change of mind."""
    errand = await stage.errand()
    rule = errand.capability.preempt
    first = await _running(stage, errand)
    await stage.agent.pace()
    second = stage.agent.command(errand.capability.name, errand.args(errand.little, -1))
    answer: Status | None = await stage.agent.diary.status(second, 2.0)
    if rule == "reject":
        seen = await stage.refused(answer, "busy", what="the second")
        await stage.agent.ask("cancel", {"target": first})
        return seen
    check(answer is not None and answer.state == "accepted", f"the second: {told(answer)}")
    end = await stage.end(first, errand.capability.timeout_s + 2, "preempted" if rule == "replace" else "succeeded")
    last = await stage.end(second, errand.capability.timeout_s + 2, "succeeded")
    seqs = {s.state: s.seq for s in stage.agent.diary.statuses(second)}
    check(seqs.get("running", 0) > end.seq, "the second began before the first had ended")
    return f"the first {told(end)}, then the second {told(last)}"


@promise(
    "commands.instant", "something that is done at once and cannot harm, without lease and echo", "done", moves=False
)
async def instant(stage: Stage) -> str:
    """Risk 0 needs nothing."""
    if (found := stage.means.instant) is None:
        raise NotTried("the robot has no instant command of risk 0 whose arguments can be guessed")
    capability, args = found
    id = stage.agent.command(capability.name, args, fresh=None, lease=None)
    end = await stage.end(id, 5.0, "succeeded")
    events = [e for _, e in stage.second.diary.since(stage.now - SECOND, Happening) if e.id == id]
    return f"{capability.name}: {told(end)}" + (f", {len(events)} events" if events else "")

"""Promises: no message makes it faster, or go further, than its factsheet says."""

from agent.robots.conformance.promises import Broken, NotTried, check, promise
from agent.robots.conformance.stage import Stage, told
from embodied.robot.reports import Happening

FAST_FOR = 0.7  # s; long enough to reach 0.5 m/s at 1 m/s²


@promise("limits.goal", "a goal far beyond what is allowed", "rejected: limit, or geofence; nothing moves")
async def goal(stage: Stage) -> str:
    """Goals are refused, not clamped."""
    errand = await stage.errand()
    limits = stage.factsheet.limits
    properties = errand.capability.params.get("properties", {})
    beyond: tuple[str, float] | None = None
    for name, quantity in errand.capability.quantities.items():
        if "maximum" in properties.get(name, {}):
            beyond = (name, float(properties[name]["maximum"]) * 2 + 1)
        elif quantity in ("distance", "speed", "vx"):
            beyond = (name, 3 * max(limits.distance_max_m, limits.v_max))
    args = errand.args(errand.little, 1)
    if beyond is None and limits.joints and "joints" in errand.capability.quantities.values():
        name = next(n for n, q in errand.capability.quantities.items() if q == "joints")
        far = {joint: each.max + 1.0 for joint, each in limits.joints.items()}
        args = {**args, name: list(far.values()) if isinstance(args[name], list) else far}
    elif beyond is not None:
        args = {**args, beyond[0]: beyond[1]}
    else:
        raise NotTried(f"nothing bounds the arguments of {errand.capability.name}")
    await stage.lease()
    start = stage.now
    seen = await stage.refused(await stage.agent.ask(errand.capability.name, args), "limit", "geofence")
    return f"{seen}, {await stage.still(start, 0.4, 'by it')}"


@promise(
    "limits.stream",
    "setpoints of five times the highest speed, for 0.7 s",
    "clamped and told (limit_clamped); the odometry never says more than v_max",
)
async def stream(stage: Stage) -> str:
    """Streams are clamped."""
    await stage.stream()
    await stage.lease()
    most = stage.factsheet.limits.v_max
    start = stage.now
    await stage.drive(FAST_FOR, stage.side * 5 * most, ttl_ms=200)
    await stage.wait(0.2)
    await stage.stand()
    speed = stage.motion.straight(start)
    told_it = await stage.second.diary.next(Happening, 1.0, lambda e: e.kind == "limit_clamped", since=start)
    check(speed <= most * 1.05 + 0.01, f"it went at {speed:.2f} m/s; v_max is {most:g}")
    check(speed > 0.02, "setpoints beyond the limit were not clamped but did nothing at all")
    check(told_it is not None, f"no event limit_clamped (it went at {speed:.2f} m/s)")
    return f"at most {speed:.2f} m/s of {most:g}; limit_clamped told"


@promise(
    "limits.acceleration", "setpoints for the speed of these trials, from rest", "the speed rises no faster than a_max"
)
async def acceleration(stage: Stage) -> str:
    """From one second's odometry."""
    await stage.stream()
    await stage.lease()
    start = stage.now
    await stage.drive(0.6)
    places = stage.motion.places(start)
    if len(places) < 4:
        raise Broken("it tells its odometry less than six times a second")
    most = stage.factsheet.limits.a_max
    moving = next((n for n, p in enumerate(places) if p.speed > 0.01), None)
    check(moving is not None, "it did not move at all")
    period = stage.motion.period()
    # A place says the speed of its instant, but arrives when it does: one period, and a tenth of a second, are loose.
    begin = places[max(0, (moving or 0) - 1)]
    fastest = max((p.speed for p in places), default=0.0)
    when = next(p.t for p in places if p.speed >= fastest * 0.95)
    least = fastest * 0.95 / most - period - 0.1
    took = (when - begin.t) / 1e9
    check(took >= least, f"{fastest:.2f} m/s after {took:.2f} s; with {most:g} m/s² that takes {fastest / most:.2f} s")
    return f"{fastest:.2f} m/s after {took:.2f} s"


@promise(
    "limits.reset_token", "`estop/reset` with a made-up token while nothing is latched", "nothing changes", moves=False
)
async def reset_token(stage: Stage) -> str:
    """A reset of nothing."""
    before = stage.second.diary.estop
    stage.reset("made-up")
    await stage.wait(0.4)
    check(stage.second.diary.estop == before, f"the stop was {before}, and is {stage.second.diary.estop}")
    status = await stage.agent.ask("query", {"id": "nothing"})
    check(status is not None and status.state == "succeeded", f"afterwards: {told(status)}")
    return f"still {before}"

"""Promises: answers come at once, and what is malformed, unknown or not for the asker is refused and moves nothing."""

from collections.abc import Callable
from typing import TypeAlias

from agent.robots.conformance.promises import Broken, NotTried, check, promise
from agent.robots.conformance.stage import Stage, token, told
from embodied.robot.reports import Happening, Heartbeat
from embodied.robot.vocabulary import MS

NO_SUCH = "no.such.thing"
Spoil: TypeAlias = Callable[[bytes], bytes]


@promise(
    "forms.answers", "ten commands it does not know, one after the other", "each is answered within 200 ms", moves=False
)
async def answers(stage: Stage) -> str:
    """How long accepted or rejected takes, with the broker's part in it."""
    took = []
    for _ in range(10):
        start = stage.now
        status = await stage.agent.diary.status(stage.agent.command(NO_SUCH), 2.0)
        check(status is not None, "no answer within 2 s")
        took.append((stage.now - start) / MS)
        await stage.wait(0.1)
    check(max(took) <= 200, f"the slowest took {max(took):.0f} ms")
    return f"{sorted(took)[5]:.1f} ms in the middle, {max(took):.1f} ms at most"


@promise("forms.unknown", "a command that the factsheet does not have", "rejected, unknown_capability", moves=False)
async def unknown(stage: Stage) -> str:
    """Nothing is guessed."""
    return await stage.refused(await stage.agent.ask(NO_SUCH), "unknown_capability")


@promise(
    "forms.malformed",
    "a goal with NaN, Infinity, 1e999, numbers as text, unknown fields, a key twice, too deep, "
    "too long, of version 2, cut in the middle, empty",
    "each is refused (rejected, schema; where no id can be read, an event), nothing moves, the heart beats on",
)
async def malformed(stage: Stage) -> str:
    """Strict JSON."""
    errand = await stage.errand()
    await stage.lease()
    name, args = errand.capability.name, errand.args(errand.little, 1)
    start, refused = stage.now, 0
    for what, made in _spoilt(name).items():
        await stage.agent.pace()
        body = stage.agent.envelope(name, args)
        payload = made(stage.agent.packed(body))
        sent = stage.now
        stage.agent.publish(stage.agent.topic("command", name), payload)
        await _refusal(stage, str(body["id"]), sent, what)
        refused += 1
    status = await stage.agent.ask(name, {**args, "nobody_knows_this": 1})
    await stage.refused(status, "schema", what="an unknown argument")
    status = await stage.agent.ask(name, dict.fromkeys(args, "fast"))
    await stage.refused(status, "schema", what="text for numbers")
    seen = await stage.still(start, 0.3, "after what must be refused")
    beats = [b for _, b in stage.second.diary.since(start, Heartbeat)]
    check(len(beats) > 0, "no heartbeat came meanwhile")
    return f"{refused + 2} refused, {seen}"


def _spoilt(name: str) -> dict[str, Spoil]:
    def put(text: bytes) -> Spoil:
        return lambda payload: payload[:-1] + b"," + text + b"}"

    return {
        "an unknown field": put(b'"speed":9'),
        "NaN": put(b'"timeout_s":NaN'),
        "Infinity": put(b'"timeout_s":Infinity'),
        "1e999": put(b'"timeout_s":1e999'),
        "a number as text": put(b'"timeout_s":"9"'),
        "a key twice": put(b'"name":"' + name.encode() + b'"'),
        "nested too deep": put(b'"ts":' + b"[" * 40 + b"]" * 40),
        "70 kB": put(b'"ts":"' + b"x" * 70_000 + b'"'),
        "version 2": lambda payload: payload.replace(b'"v":1', b'"v":2', 1),
        "cut in the middle": lambda payload: payload[: len(payload) // 2],
        "nothing": lambda payload: b"",
        "no JSON": lambda payload: b"\xff\x00 go",
    }


async def _refusal(stage: Stage, id: str, sent: int, what: str) -> None:
    """Wait for a rejection, or, as nobody can be answered, an event (of which at most two a second come)."""
    diary = stage.second.diary

    def found() -> bool:
        events = [e for _, e in diary.since(sent, Happening) if e.reason in ("schema", "duplicate")]
        return bool(events) or bool(diary.statuses(id, sent))

    check(await diary.until(found, 1.5) is not None, f"{what}: neither a rejection nor an event within 1.5 s")
    for status in diary.statuses(id, sent):
        if status.state != "rejected":
            raise Broken(f"{what}: {told(status)} instead of rejected (schema)")
    await stage.wait(0.5)


@promise(
    "forms.setpoints",
    "setpoints with NaN, text, an absurd number, an unknown field, and without a lease field",
    "none counts: nothing moves, and an event tells it",
)
async def setpoints(stage: Stage) -> str:
    """The same for streams."""
    stream = await stage.stream()
    await stage.lease()
    agent, start = stage.agent, stage.now
    good = stage.means.drive(stage.means.speed)
    key = next(name for name, quantity in stream.quantities.items() if quantity == "vx")
    for n in range(10):
        agent.setpoint(stream.name, {**good, key: "fast"})
        agent.setpoint(stream.name, {**good, key: 1e300})
        agent.setpoint(stream.name, {**good, "nobody_knows_this": 1.0})
        agent.setpoint(stream.name, good, nobody_knows_this=1)
        agent.setpoint(stream.name, good, lease=token())
        body = agent.packed({"v": 1, "name": stream.name, "from": agent.name, "seq": 1000 + n, "args": good,
                            "fresh": agent.diary.fresh, "lease": agent.lease})  # fmt: skip
        agent.publish(agent.topic("stream", stream.name), body[:-1] + b',"ttl_ms":NaN}', 0)
        await stage.wait(0.15)
    seen = await stage.still(start, 0.2, "after setpoints that must not count")
    events = [e for _, e in stage.second.diary.since(start, Happening)]
    check(bool(events), "no event told of it")
    return f"{seen}, {len(events)} events"


@promise("forms.exposed", "a wish by speech for what the factsheet does not expose", "refused, not_exposed")
async def exposed(stage: Stage) -> str:
    """What people and models may not ask for."""
    await stage.movable()
    await stage.lease()
    start, means = stage.now, stage.means
    hidden = next((c for c in stage.factsheet.capabilities if c.kind == "goal" and not c.tool.expose), None)
    if hidden is not None and means.errand is not None and hidden.name == means.errand.capability.name:
        args = means.errand.args(means.errand.little, 1)
        return await stage.refused(
            await stage.agent.ask(hidden.name, args, origin={"source": "speech"}), "not_exposed", "limit"
        )
    if means.stream is None or means.stream.tool.expose:
        raise NotTried("all that can be tried is exposed")
    await stage.drive(0.6, origin={"source": "speech"})
    seen = await stage.still(start, 0.2, "by a wish from speech for a stream that is not exposed")
    event = await stage.second.diary.next(Happening, 1.0, lambda e: e.reason == "not_exposed", since=start)
    check(event is not None, "no event says not_exposed")
    return f"{means.stream.name}: {seen}, not_exposed told"

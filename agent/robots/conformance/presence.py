"""Promises: it is there, it says what it is, and it goes on saying so."""

import json
from itertools import pairwise

from agent.robots.conformance.promises import Broken, check, promise
from agent.robots.conformance.stage import Stage
from embodied.robot.errors import FactsheetInvalid
from embodied.robot.factsheet import Factsheet, compatible, compile_params
from embodied.robot.reports import Connection, Heartbeat, LeaseState, RobotState
from embodied.robot.schema_files import published
from embodied.robot.vocabulary import MS, SECOND


@promise(
    "presence.online",
    "nothing: a new client listens",
    "connection is retained: online, with the boot of the heartbeats, and a version of the contract",
    moves=False,
)
async def online(stage: Stage) -> str:
    """Presence is what the broker keeps."""
    kept = [e for e in stage.agent.diary.entries if e.topic.channel == "connection"]
    check(bool(kept) and kept[0].retained, "nothing was retained on connection")
    said = kept[-1].message
    if not isinstance(said, Connection):
        raise Broken(f"connection cannot be read: {said}")
    beat = stage.agent.diary.fresh
    check(said.state == "online", f"connection says {said.state} while heartbeats come")
    check(beat is not None and said.boot == beat.boot, f"connection has boot {said.boot}, heartbeats {beat}")
    return f"online, boot {said.boot}, proto {said.proto}"


@promise(
    "presence.factsheet",
    "nothing: a new client listens",
    "factsheet is retained, valid against the published "
    "schema, does not contradict itself, and has a version that is understood",
    moves=False,
)
async def factsheet(stage: Stage) -> str:
    """The announcement can be believed."""
    kept = [e for e in stage.agent.diary.entries if e.topic.channel == "factsheet"]
    check(bool(kept) and kept[0].retained, "nothing was retained on factsheet")
    sheet = kept[-1].message
    if not isinstance(sheet, Factsheet):
        raise Broken(f"it does not fit the contract: {sheet}")
    wrong = _against_schema(json.loads(kept[-1].payload))
    check(not wrong, f"it does not fit the schema: {wrong}")
    check(compatible(sheet), f"proto {sheet.proto} is none that is understood")
    beat = stage.agent.diary.fresh
    check(beat is not None and sheet.boot == beat.boot, f"its boot is {sheet.boot}, that of the heartbeats {beat}")
    try:
        compile_params(sheet)
    except FactsheetInvalid as error:
        raise Broken(str(error)) from error
    return f"rev {sheet.rev}, {len(sheet.capabilities)} capabilities"


def _against_schema(document: object) -> str:
    """What is wrong with it; "" if nothing is, or if the package for it is not here (decoding is as strict)."""
    try:
        import jsonschema  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
    except ImportError:
        return ""
    schema = json.loads(published("factsheet").read_text(encoding="utf-8"))
    found = next(jsonschema.Draft202012Validator(schema).iter_errors(document), None)
    return "" if found is None else f"{found.json_path}: {found.message}"


@promise(
    "presence.heartbeat",
    "nothing, for 2 s",
    "heartbeats at the rate of the factsheet (± 25 %), one boot, beat and mono_ms rising",
    moves=False,
)
async def heartbeat(stage: Stage) -> str:
    """The pulse."""
    start = stage.now
    await stage.wait(2.0)
    beats = [beat for _, beat in stage.second.diary.since(start, Heartbeat)]
    hz = stage.factsheet.timing.beat_hz
    rate = len(beats) / 2.0
    check(abs(rate - hz) <= max(0.25 * hz, 1), f"{rate:g} a second, {hz:g} are announced")
    check(len({beat.boot for beat in beats}) == 1, "the boot changed")
    rising = all(a.beat < b.beat and a.mono_ms < b.mono_ms for a, b in pairwise(beats))
    check(rising, "beat or mono_ms did not rise")
    return f"{rate:g} a second"


@promise(
    "presence.state",
    "a lease is acquired and released; then nothing for 6 s",
    "state within 0.5 s of the change, and every 5 s without one",
    moves=False,
)
async def state(stage: Stage) -> str:
    """An agent that was away learns all."""
    start = stage.now
    await stage.lease()

    def held() -> int | None:
        for t, said in stage.second.diary.since(start, RobotState):
            if said.lease.holder == stage.agent.name:
                return t
        return None

    # From the moment in which the lease itself was announced: what it takes to acquire it is not meant here.
    seen = await stage.second.diary.until(held, 2.0)
    granted = next(
        (t for t, lease in stage.second.diary.since(start, LeaseState) if lease.holder == stage.agent.name), start
    )
    check(seen is not None, "state did not tell of the lease within 2 s")
    late = ((seen or 0) - granted) / MS
    check(late <= 500, f"state told of the lease {late:.0f} ms late")
    await stage.agent.wish("release")
    await stage.wait(0.5)
    quiet = stage.now
    again = await stage.second.diary.next(RobotState, 6.0, since=quiet)
    check(again is not None, "no state for 6 s")
    return f"{late:.0f} ms after the change, again after {(stage.now - quiet) / SECOND:.1f} s"

"""Whatever anybody publishes on the topics that an agent reads: nothing raises, and the session is not flooded."""

import asyncio
import json
import random
from typing import Any

import pytest

from embodied.robot.codec import encode
from embodied.robot.reports import Happening, Heartbeat, LeaseState, Odometry, RobotState, Safety, Status
from embodied.robot.topics import ROOT, agent_subscriptions, robot_topic
from streams.types import Fault, Tripped
from tests.remote_room import Room, attached, move, virtual

NAMES = ("distance_m", "move", "lease", "boot", "id", "seq", "state", "result", "params", "enum", "robot", "limits")


def topics(here: Room) -> list[str]:
    found = [each.replace("+", random.Random(1).choice(["odom", "bump", "joints"])) for each, _ in
             agent_subscriptions("home", "r1", "agent1")]  # fmt: skip
    return [*found, f"{ROOT}/home/r1/telemetry/odom", f"{ROOT}/home/r1/event/fault"]


def anything(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(9 if depth < 4 else 6)
    match kind:
        case 0:
            return None
        case 1:
            return dice.choice([True, False])
        case 2:
            return dice.choice([0, -1, 2**53, 10**400, 3, 1e308, -0.0])
        case 3 | 4:
            return dice.choice(["", "running", "succeeded", "agent1", "\n\x00", "ü" * 50, "L1", "online", "r1-b"])
        case 5:
            return dice.random()
        case 6:
            return [anything(dice, depth + 1) for _ in range(dice.randrange(4))]
        case _:
            return {dice.choice(NAMES): anything(dice, depth + 1) for _ in range(dice.randrange(5))}


def damaged(dice: random.Random, message: Any) -> bytes:
    body = json.loads(encode(message)) if not isinstance(message, dict) else dict(message)
    for _ in range(dice.randrange(3)):
        key = dice.choice([*body, *NAMES]) if body else dice.choice(NAMES)
        if dice.random() < 0.2:
            body.pop(key, None)
        else:
            body[key] = anything(dice)
    payload = json.dumps(body).encode()
    if dice.random() < 0.2:
        at = dice.randrange(len(payload))
        payload = payload[:at] + bytes([dice.randrange(256)]) + payload[at + dice.randrange(3) :]
    return payload


@pytest.mark.parametrize("seed", range(4))
def test_anything_on_every_topic(seed: int) -> None:
    dice = random.Random(seed)

    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            seen = {m.topic: m.payload for who, m in here.broker.log if who == "r1"}
            genuine = [json.loads(each) for each in seen.values()]
            here.do(move(2.0))
            await here.wait(0.2)
            before = len(here.told.all)
            for n in range(1500):
                topic = dice.choice(topics(here))
                roll = dice.random()
                if roll < 0.3:
                    payload = damaged(dice, json.loads(seen.get(topic, b"{}") or b"{}") or {"a": 1})
                elif roll < 0.5:
                    payload = damaged(dice, {**dice.choice([g for g in genuine if isinstance(g, dict)])})
                elif roll < 0.6:
                    id = dice.choice([*client.errands.open, "x"])
                    payload = damaged(dice, Status(id, "move", dice.choice(["running", "paused", "failed"]), n, n))
                elif roll < 0.8:
                    payload = json.dumps(anything(dice)).encode()
                else:
                    payload = dice.randbytes(dice.randrange(40)) + b"[" * dice.choice([0, 0, 20_000])
                here.inject(topic, payload, retain=dice.random() < 0.1)
                if n % 50 == 0:
                    await here.wait(0.02)
                    here.bodies[0].offers()
            await here.wait(1)
            assert client.link.malformed > 100
            assert len(here.told.all) - before < 150
            assert await here.bodies[0].halt() is None  # and a stop can be said all the same
            assert here.sent("command", "stop")

    virtual(main)


def test_a_flood_of_events_is_counted() -> None:
    async def main() -> None:
        async with attached() as here:
            for n in range(2000):
                kind: Any = ("bump", "limit_clamped", "guard_trip")[n % 3]
                event = Happening(kind, "info", n, f"guard{n % 7}", "limit", "<b>x</b>" * 20)
                here.inject(robot_topic("home", "r1", "event", kind), encode(event))
                if n % 10 == 0:
                    await here.wait(0.01)
            tripped = here.told.of(Tripped)
            assert 2 < len(tripped) <= 20 and sum(each.count for each in tripped) > 500
            assert all("<" not in each.detail for each in tripped)

    virtual(main)


def test_a_flood_of_boots_factsheets_and_statuses() -> None:
    async def main() -> None:
        async with attached() as here:
            node = here.robots["r1"]
            task = here.do(move(2.0))
            await here.wait(0.3)
            (id,) = here.bodies[0].client.errands.open
            for n in range(500):
                states: Any = ("running", "paused")
                here.inject(
                    robot_topic("home", "r1", "status"), encode(Status(id, "move", states[n % 2], 1000 + n, n))
                )  # fmt: skip
            await here.wait(0.1)
            for n in range(500):
                here.inject(
                    robot_topic("home", "r1", "heartbeat"), encode(Heartbeat(f"b{n}", 1, 1, "automatic", "none")), qos=0
                )
                sheet = json.loads(encode(node.factsheet)) | {"rev": n, "boot": f"b{n}"}
                here.inject(robot_topic("home", "r1", "factsheet"), json.dumps(sheet).encode())
                here.inject(robot_topic("home", "r1", "lease"), encode(LeaseState("x", "operator", n)))
                here.inject(robot_topic("home", "r1", "safety"), encode(Safety("latched" if n % 2 else "none")))
                here.inject(
                    robot_topic("home", "r1", "state"),
                    encode(RobotState(f"b{n}", 1, "automatic", Safety("none"), LeaseState())),
                )
                here.inject(robot_topic("home", "r1", "telemetry", "odom"), encode(Odometry(n, n, 1e300, -1e300, 1e9)))
            await here.wait(1)
            assert (await task).status == "failed"
            assert len(here.told.of(Fault)) <= 12 and len(here.told.all) < 120

    virtual(main)


def test_retained_ones_are_no_news() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            await here.kill()
            for channel, message in (
                ("heartbeat", Heartbeat("old", 9, 9, "automatic", "none")),
                ("status", Status("x", "move", "running", 1, 1)),
            ):
                name: Any = channel
                here.inject(robot_topic("home", "r1", name), encode(message), retain=True)
            here.serving[0].cancel()
            await asyncio.wait([here.serving[0]])
            from embodied.remote.agent_link import AgentLink
            from embodied.remote.client import RobotClient

            link = AgentLink(client.link.config, here.broker.dial("agent1"), here.clock)
            fresh = RobotClient(link, "r1")
            task = here.group.create_task(link.serve())
            await here.wait(0.5)
            assert fresh.fresh is None and fresh.health == "unknown" and fresh.factsheet is not None
            task.cancel()

    virtual(main)

"""Devices of Home Assistant's MQTT discovery, behind our guards; virtual time. See `tests/ha_device.py`."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embodied.link.memory import MemoryBroker
from embodied.link.port import Outgoing
from embodied.node.adapters import homeassistant
from embodied.node.adapters.foreign import NobodyThere, decoded
from embodied.node.adapters.ha_discovery import discovered
from embodied.node.adapters.mapping import MappingInvalid
from embodied.node.profile import Profile
from streams.clock import Clock, run
from tests.adapter_room import Room, changed, damaged, furnished
from tests.ha_device import BOX, IRRIGATION, KITCHEN, Devices

ENTITIES: dict[str, Any] = {
    "irrigation": {"name": "garden"}, "kitchen_light": {"name": "kitchen"}, "bell_1": {"name": "bell"},
    "level_1": {"name": "level"}, "blind": {"name": "blind", "self_stopping": True},
    "robot_1": {"name": "robot", "self_stopping": True}, "clever_1": {"name": "clever"},
}  # fmt: skip


@asynccontextmanager
async def home(entities: dict[str, Any] = ENTITIES) -> AsyncIterator[tuple[Room, Devices, MemoryBroker]]:
    clock = Clock()
    ours, theirs = MemoryBroker(clock), MemoryBroker(clock, delay_ms=5)
    devices = Devices(theirs.dial("devices"), clock, IRRIGATION, KITCHEN, BOX)
    profile = changed(Profile.load("homeassistant"), entities=entities)
    async with asyncio.TaskGroup() as group:
        living = group.create_task(devices.link.run())
        made = await homeassistant.attach(profile, "r1", clock, theirs.dial("adapter"))
        async with furnished(made, ours.dial, clock, profile.settings) as room:
            yield room, devices, theirs
        living.cancel()


def test_what_is_listed_becomes_capabilities_and_nothing_else() -> None:
    async def main() -> None:
        async with home() as (room, _, _):
            known = {each.name: each for each in room.node.factsheet.capabilities}
            assert set(known) == {
                "switch.garden", "light.kitchen", "button.bell", "number.level", "cover.blind.open",
                "cover.blind.close", "cover.blind.stop", "vacuum.robot.start", "vacuum.robot.stop",
                "vacuum.robot.return",
            }  # fmt: skip
            assert not any(each.kind in ("stream", "chunk", "goal") for each in known.values())
            assert known["vacuum.robot.start"].risk == 2 and known["vacuum.robot.stop"].risk == 0
            await room.agent.until(lambda: "state" in room.agent.told)
            assert any("clever_1" in each and "program" in each for each in room.agent.told["state"]["errors"])

    run(main(), virtual=True)


def test_what_may_hurt_is_not_offered_without_its_owners_word() -> None:
    async def main() -> None:
        async with home({"blind": {"name": "blind"}, "robot_1": {"name": "robot"}}) as (room, _, _):
            assert {each.name for each in room.node.factsheet.capabilities} == {"cover.blind.stop", "vacuum.robot.stop"}

    run(main(), virtual=True)


@pytest.mark.parametrize(
    ("name", "args", "topic", "payload"),
    [
        ("switch.garden", {"on": True}, "homeassistant/switch/irrigation/set", "ON"),
        ("switch.garden", {"on": False}, "homeassistant/switch/irrigation/set", "OFF"),
        ("light.kitchen", {"on": True, "brightness": 1.0}, "homeassistant/light/kitchen/set",
         '{"state": "ON", "brightness": 255}'),
        ("number.level", {"value": 7.5}, "box/level", '{"to": 7.5}'),
        ("cover.blind.open", {}, "box/blind", "OPEN"),
        ("vacuum.robot.start", {}, "box/robot", "start"),
        ("vacuum.robot.return", {}, "box/robot", "return_to_base"),
    ],
)  # fmt: skip
def test_what_the_device_says_it_has_done_has_succeeded(name: str, args: Any, topic: str, payload: str) -> None:
    async def main() -> None:
        async with home() as (room, devices, theirs):
            status = await room.agent.ended(room.agent.command(name, args))
            assert (status["state"], status.get("result")) == ("succeeded", {"confirmed": True}), status
            assert devices.got == [(topic, payload)]
            assert not any(each.retain for who, each in theirs.log if who == "adapter")

    run(main(), virtual=True)


def test_what_nobody_can_confirm_is_said_to_be_unconfirmed() -> None:
    async def main() -> None:
        async with home() as (room, devices, _):
            status = await room.agent.ended(room.agent.command("button.bell"))
            assert (status["state"], status["result"]) == ("succeeded", {"confirmed": False})
            assert devices.got == [("box/bell", "RING")]

    run(main(), virtual=True)


def test_a_device_that_does_not_answer_or_says_something_else_has_failed() -> None:
    async def main() -> None:
        async with home() as (room, devices, _):
            for answer in (
                lambda topic, payload: [],
                lambda topic, payload: [("homeassistant/switch/irrigation/state", "OFF")],
            ):
                devices.answer = answer
                begun = room.agent.clock.now()
                status = await room.agent.ended(room.agent.command("switch.garden", {"on": True}))
                assert (status["state"], status["reason"]) == ("failed", "timeout")
                assert 4.9 < (room.agent.clock.now() - begun) / 1e9 < 5.3
            devices.answer = lambda topic, payload: []
            devices.say("homeassistant/switch/irrigation/state", "ON")
            await room.agent.rest(0.1)
            status = await room.agent.ended(room.agent.command("switch.garden", {"on": True}))
            assert status["result"] == {"confirmed": True, "already": True}

    run(main(), virtual=True)


def test_a_number_is_held_to_its_span_and_its_steps() -> None:
    async def main() -> None:
        async with home() as (room, devices, _):
            for value, reason in ((4.5, "limit"), (25.5, "limit"), (7.3, "limit"), ("7", "schema"), (1e300, "limit")):
                status = await room.agent.ended(room.agent.command("number.level", {"value": value}))
                assert status["reason"] == reason, (value, status)
            assert devices.got == []

    run(main(), virtual=True)


def test_what_is_not_available_is_not_asked() -> None:
    async def main() -> None:
        async with home() as (room, devices, theirs):
            devices.say("box/there", '{"state": "offline"}', retain=True)
            await room.agent.rest(0.2)
            status = await room.agent.ended(room.agent.command("number.level", {"value": 7.5}))
            assert (status["reason"], devices.got) == ("link_lost", [])
            assert (await room.agent.ended(room.agent.command("switch.garden", {"on": True})))["state"] == "succeeded"
            devices.say("box/there", '{"state": "online"}', retain=True)
            await room.agent.rest(0.2)
            assert (await room.agent.ended(room.agent.command("number.level", {"value": 7.5})))["state"] == "succeeded"
            theirs.stop()
            await room.agent.rest(0.2)
            assert (await room.agent.ended(room.agent.command("switch.garden", {"on": False})))["reason"] == "link_lost"

    run(main(), virtual=True)


def test_the_stop_stops_what_moves() -> None:
    async def main() -> None:
        async with home() as (room, devices, _):
            await room.agent.ended(room.agent.command("vacuum.robot.start"))
            await room.agent.ended(room.agent.command("cover.blind.open"))
            devices.got.clear()
            room.agent.stop()
            await room.agent.until(lambda: len(devices.got) == 2, 0.5)
            assert sorted(devices.got) == [("box/blind", "STOP"), ("box/robot", "stop")]

    run(main(), virtual=True)


def test_a_second_announcement_cannot_turn_a_capability_to_another_topic() -> None:
    async def main() -> None:
        async with home() as (room, devices, _):
            devices.say(IRRIGATION[0], json.dumps({"name": "garden", "cmd_t": "box/robot", "stat_t": "x"}), retain=True)
            await room.agent.rest(0.2)
            await room.agent.ended(room.agent.command("switch.garden", {"on": True}))
            assert devices.got == [("homeassistant/switch/irrigation/set", "ON")]

    run(main(), virtual=True)


def test_nothing_announced_is_an_error_in_words() -> None:
    async def main() -> None:
        clock = Clock()
        theirs = MemoryBroker(clock)
        profile = changed(Profile.load("homeassistant"), entities={"nobody": {"name": "nobody"}}, wait_s=1.0)
        with pytest.raises(NobodyThere, match="nobody: did not announce itself"):
            await homeassistant.attach(profile, "r1", clock, theirs.dial("adapter"))
        with pytest.raises(MappingInvalid, match="same name"):
            await homeassistant.attach(
                changed(profile, entities={"a": {"name": "x"}, "b": {"name": "x"}}), "r1", clock, theirs.dial("adapter")
            )

    run(main(), virtual=True)


def test_whatever_devices_say_nothing_is_raised() -> None:
    chance = random.Random(11)
    for n in range(4000):
        component = chance.choice(["device", "switch", "number", "cover"])
        body = decoded(damaged(chance))
        for entity in discovered(f"homeassistant/{component}/x{n}/config", body) or ():
            assert isinstance(entity.left, str)

    async def main() -> None:
        async with home() as (room, _, theirs):
            topics = [
                "box/there",
                "box/robot/is",
                "box/level/is",
                IRRIGATION[0],
                BOX[0],
                "homeassistant/light/kitchen/state",
            ]
            for n in range(1000):
                theirs.publish(Outgoing(chance.choice(topics), damaged(chance)))
                if n % 50 == 0:
                    room.agent.command("switch.garden", {"on": True})
                    await room.agent.rest(0.05)
            room.agent.stop()
            await room.agent.until(lambda: room.agent.told["heartbeat"]["estop"] == "latched")

    run(main(), virtual=True)

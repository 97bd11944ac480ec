"""A robot with ROS 2 behind a bridge, behind our guards; virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from embodied.errors import BodyError
from embodied.link.memory import MemoryBroker
from embodied.link.port import Outgoing
from embodied.node.adapters import ros2_bridge
from embodied.node.profile import Profile
from streams.clock import Clock, run
from tests.adapter_room import Room, changed, damaged, furnished
from tests.ros_bridge import Bridge

PROMISE = {"robot_timeout_ms": 500}


@asynccontextmanager
async def field(**options: Any) -> AsyncIterator[tuple[Room, Bridge, MemoryBroker]]:
    clock = Clock()
    ours, theirs = MemoryBroker(clock), MemoryBroker(clock, delay_ms=5)
    bridge = Bridge(theirs.dial("bridge"), clock)
    profile = changed(Profile.load("ros2-bridge"), **{"safety": PROMISE, **options})
    async with asyncio.TaskGroup() as group:
        living = group.create_task(bridge.run())
        made = await ros2_bridge.attach(profile, "r1", clock, theirs.dial("adapter"))
        async with furnished(made, ours.dial, clock, profile.settings) as room:
            yield room, bridge, theirs
        living.cancel()


async def streaming(room: Room, seconds: float, vx: float = 0.3) -> None:
    for _ in range(round(seconds * 10)):
        room.agent.stream("base.velocity", {"vx": vx})
        await room.agent.rest(0.1)


def test_goals_are_driven_by_odometry() -> None:
    async def main() -> None:
        async with field() as (room, bridge, _):
            status = await room.agent.ended(room.agent.command("move", {"distance_m": 1.0}), 15)
            assert status["state"] == "succeeded", status
            assert bridge.x == pytest.approx(1.0, abs=0.08)
            await room.agent.rest(1.1)
            status = await room.agent.ended(room.agent.command("turn", {"angle_rad": 1.5}), 15)
            assert status["state"] == "succeeded", status
            assert bridge.yaw == pytest.approx(1.5, abs=0.15)

    run(main(), virtual=True)


def test_a_velocity_is_repeated_while_it_is_wanted_and_then_there_is_silence() -> None:
    async def main() -> None:
        async with field() as (room, bridge, _):
            await streaming(room, 3.0)
            moving = [t for t, vx, _ in bridge.got if vx > 0]
            gaps = [(b - a) / 1e6 for a, b in pairwise(moving)]
            assert 90 <= max(gaps) <= 130, max(gaps)
            assert max(vx for _, vx, _ in bridge.got) <= 0.3
            await room.agent.rest(2.0)
            assert [vx for _, vx, _ in bridge.got[-5:]] == [0.0] * 5
            said = len(bridge.got)
            await room.agent.rest(3.0)
            assert len(bridge.got) == said

    run(main(), virtual=True)


def test_a_stop_is_said_at_once() -> None:
    async def main() -> None:
        async with field() as (room, bridge, _):
            await streaming(room, 1.5)
            room.agent.stop()
            begun = room.agent.clock.now()
            await room.agent.until(lambda: bridge.v == 0.0, 0.3)
            assert room.agent.clock.now() - begun < 0.15e9

    run(main(), virtual=True)


def test_without_odometry_it_stands() -> None:
    async def main() -> None:
        async with field() as (room, bridge, _):
            goal = room.agent.command("move", {"distance_m": 3.0})
            await room.agent.until(lambda: bridge.x > 0.5)
            bridge.frozen = True  # nothing comes of it any more, and it hears nothing
            there = bridge.x
            await room.agent.rest(3.0)
            assert bridge.v == 0.0 and bridge.x - there < 0.5 * 0.6
            assert (await room.agent.ended(goal, 12.0))["state"] == "failed"
            refused = await room.agent.ended(room.agent.command("move", {"distance_m": 1.0}))
            assert refused["reason"] == "link_lost" and "said nothing" in refused["detail"]

    run(main(), virtual=True)


def test_a_lost_link_leaves_the_robot_to_its_own_timeout_and_a_last_will_is_believed() -> None:
    async def main() -> None:
        async with field() as (room, bridge, theirs):
            goal = room.agent.command("move", {"distance_m": 3.0})
            await room.agent.until(lambda: bridge.x > 0.5)
            there = bridge.x
            theirs.drop("adapter")
            theirs.refuse("adapter", None)
            theirs.up = False
            await room.agent.rest(2.0)
            assert bridge.v == 0.0 and bridge.x - there < 0.5 * 0.7
            theirs.up = True
            await room.agent.ended(goal, 15)
            await room.agent.rest(6.0)
            theirs.drop("bridge")
            await room.agent.rest(0.1)
            refused = await room.agent.ended(room.agent.command("turn", {"angle_rad": 1.0}))
            assert refused["reason"] == "link_lost" and "last will" in refused["detail"]

    run(main(), virtual=True)


def test_nothing_moves_without_the_robots_own_timeout() -> None:
    async def main() -> None:
        async with field(safety={}) as (room, bridge, _):
            assert room.node.factsheet.capabilities == ()
            assert (await room.agent.ended(room.agent.command("move", {"distance_m": 1.0})))[
                "reason"
            ] == "unknown_capability"
            await room.agent.until(lambda: "state" in room.agent.told)
            assert any("robot_timeout_ms" in each for each in room.agent.told["state"]["errors"])
            assert bridge.got == []

    run(main(), virtual=True)


def test_other_capabilities_are_templates_that_are_confirmed() -> None:
    async def main() -> None:
        clock = Clock()
        ours, theirs = MemoryBroker(clock), MemoryBroker(clock)
        bridge = Bridge(theirs.dial("bridge"), clock)
        params = {"type": "object", "properties": {"on": {"type": "boolean"}, "hue": {"type": "number"}}}
        lamp = {"name": "lamp", "kind": "instant", "risk": 0, "tool": {"expose": True}, "params": params}
        profile = Profile.load("ros2-bridge", {"capabilities": [lamp], "words": {}})
        profile = changed(
            profile, safety=PROMISE,
            capabilities={"lamp": {"topic": "ros/lamp", "template": {"data": "$on", "hue": "$hue"}}},
            status={"lamp": {"topic": "ros/lamp/is", "path": "data", "equals": "$on", "timeout_ms": 1000}},
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            living = group.create_task(bridge.run())
            made = await ros2_bridge.attach(profile, "r1", clock, theirs.dial("adapter"))
            async with furnished(made, ours.dial, clock, profile.settings) as room:
                goal = room.agent.command("lamp", {"on": True})
                await room.agent.until(lambda: any(m.topic == "ros/lamp" for _, m in theirs.log))
                theirs.publish(Outgoing("ros/lamp/is", b'{"data": true}'))
                assert (await room.agent.ended(goal))["result"] == {"confirmed": True}
                assert (await room.agent.ended(room.agent.command("lamp", {"on": False})))["reason"] == "timeout"
            living.cancel()

    run(main(), virtual=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"in": [{"topic": "a/+", "read": {"pose.x": "x"}}]}, "is no topic"),
        ({"in": [{"topic": "a", "read": {"pose.q": "x"}}]}, "reads 'pose.q'"),
        ({"in": [{"topic": "a", "read": {"pose.x": "x..y"}}]}, "is no path"),
        ({"capabilities": {"base.velocity": {"topic": "c", "template": {"a": "$speed"}}}}, r"wants \$speed"),
        ({"capabilities": {"fly": {"topic": "c"}}}, "maps 'fly'"),
        ({"capabilities": {}}, "needs options.capabilities.base.velocity"),
        ({"repeat_hz": 1000}, "repeat_hz"),
        ({"saftey": {}}, "saftey"),
    ],
)
def test_a_wrong_mapping_is_found_before_anything_is_sent(options: dict[str, Any], says: str) -> None:
    async def main() -> None:
        clock = Clock()
        profile = changed(Profile.load("ros2-bridge"), **{"safety": PROMISE, **options})
        with pytest.raises(BodyError, match=says):
            await ros2_bridge.attach(profile, "r1", clock, MemoryBroker(clock).dial("adapter"))

    run(main(), virtual=True)


def test_whatever_the_bridge_says_nothing_is_raised() -> None:
    async def main() -> None:
        async with field() as (room, bridge, theirs):
            chance = random.Random(3)
            for n in range(2000):
                theirs.publish(Outgoing(chance.choice(["ros/odom", "ros/bridge"]), damaged(chance)))
                if n % 50 == 0:
                    room.agent.stream("base.velocity", {"vx": 0.2})
                    await room.agent.rest(0.05)
            room.agent.stop()
            await room.agent.until(lambda: room.agent.told["heartbeat"]["estop"] == "latched")
            await room.agent.until(lambda: bridge.v == 0.0, 1.0)

    run(main(), virtual=True)

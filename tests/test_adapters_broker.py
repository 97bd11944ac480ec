"""Each adapter over a real broker, with processes that are really killed and frozen. In real time."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from embodied.link.address import Address
from embodied.link.broker import Broker, find, running
from embodied.link.mqtt import dial
from embodied.link.port import Dial
from embodied.node.adapters import homeassistant, ros2_bridge, vda5050
from embodied.node.profile import Profile
from streams.clock import Clock
from tests.adapter_room import Room, changed, furnished
from tests.ha_device import BOX, IRRIGATION, KITCHEN, Devices
from tests.ros_bridge import Bridge
from tests.vda_agv import Agv

pytestmark = pytest.mark.skipif(find() is None, reason="mosquitto is not installed: apt install mosquitto")


def to(broker: Broker, client_id: str) -> Dial:
    return dial(Address.parse(broker.url), client_id=client_id)


@asynccontextmanager
async def yard(theirs: Broker, ours: Broker) -> AsyncIterator[Room]:
    profile = changed(Profile.load("vda5050"), broker=theirs.url, presence={"silent_ms": 1500})
    clock = Clock()
    made = await vda5050.connect(profile, "r1", clock)
    async with furnished(made, lambda name: to(ours, name), clock, profile.settings) as room:
        yield room


def test_an_order_goes_there_and_back_over_one_real_broker() -> None:
    async def main() -> None:
        async with running() as broker, asyncio.TaskGroup() as group:
            agv = Agv(to(broker, "agv"), Clock())
            living = group.create_task(agv.run())
            async with yard(broker, broker) as room:
                goal = room.agent.command("nav.goto", {"x": 0.8, "y": 0.0})
                status = await room.agent.ended(goal, 8)
                assert (status["state"], agv.wrong) == ("succeeded", [])
                goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
                await room.agent.until(lambda: agv.x > 1.0)
                agv.estop = "MANUAL"
                await room.agent.until(lambda: room.agent.told["safety"]["estop"] == "latched", 1.5)
                assert room.agent.told["safety"]["source"] == "hardware"
                assert (await room.agent.ended(goal))["state"] == "failed"
            living.cancel()

    asyncio.run(main())


def test_an_agv_that_is_frozen_and_then_killed() -> None:
    async def main() -> None:
        async with running() as ours, running() as theirs:
            agv = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.vda_agv", theirs.url)
            try:
                async with yard(theirs, ours) as room:
                    agent = room.agent
                    goal = agent.command("nav.goto", {"x": 9.0, "y": 0.0})
                    await agent.until(lambda: room.node.sensed.pose is not None and room.node.sensed.pose[0] > 0.2)
                    os.kill(agv.pid, signal.SIGSTOP)
                    status = await agent.ended(goal, 6)
                    assert (status["state"], status["reason"]) == ("failed", "link_lost")
                    os.kill(agv.pid, signal.SIGCONT)  # it still has the order: it is cancelled, and paused
                    await agent.until(lambda: room.driver._agv.paused and room.driver._agv.idle, 6)
                    assert room.node.sensed.pose is not None and room.node.sensed.pose[0] < 2.5
                    agv.kill()
                    await agent.until(lambda: any("not online" in each for each in room.node.sensed.errors), 3)
                    refused = await agent.ended(agent.command("nav.goto", {"x": 1.0, "y": 0.0}))
                    assert refused["reason"] == "link_lost"
            finally:
                if agv.returncode is None:
                    agv.kill()
                await agv.wait()

    asyncio.run(main())


def test_the_foreign_broker_is_killed_and_comes_back() -> None:
    async def main() -> None:
        async with running() as ours, running() as theirs, asyncio.TaskGroup() as group:
            agv = Agv(to(theirs, "agv"), Clock())
            living = group.create_task(agv.run())
            async with yard(theirs, ours) as room:
                goal = room.agent.command("nav.goto", {"x": 9.0, "y": 0.0})
                await room.agent.until(lambda: agv.x > 0.2)
                there = agv.x
                theirs.kill()
                assert (await room.agent.ended(goal, 6))["reason"] == "link_lost"
                await theirs.restart()
                await room.agent.until(lambda: agv.paused and not agv.nodes, 12)
                assert agv.x - there <= 2.05
                assert agv.wrong == []
            living.cancel()

    asyncio.run(main())


def test_home_and_ros_over_a_real_broker() -> None:
    async def main() -> None:
        async with running() as broker, asyncio.TaskGroup() as group:
            devices = Devices(to(broker, "devices"), Clock(), IRRIGATION, KITCHEN, BOX)
            bridge = Bridge(to(broker, "bridge"), Clock())
            living = [group.create_task(devices.link.run()), group.create_task(bridge.run())]
            clock = Clock()
            entities = {"irrigation": {"name": "garden"}, "robot_1": {"name": "robot", "self_stopping": True}}
            profile = changed(Profile.load("homeassistant"), broker=broker.url, entities=entities)
            made = await homeassistant.connect(profile, "home", clock)
            async with furnished(made, lambda name: to(broker, name), clock, profile.settings) as room:
                for name, args in (("switch.garden", {"on": True}), ("vacuum.robot.start", {})):
                    assert (await room.agent.ended(room.agent.command(name, args)))["result"] == {"confirmed": True}
            assert ("box/robot", "stop") in devices.got  # the adapter went, and it did not go on cleaning alone
            profile = changed(Profile.load("ros2-bridge"), broker=broker.url, safety={"robot_timeout_ms": 500})
            made = await ros2_bridge.connect(profile, "ros", clock)
            async with furnished(made, lambda name: to(broker, name), clock, profile.settings) as room:
                goal = room.agent.command("move", {"distance_m": 3.0})
                await room.agent.until(lambda: bridge.x > 0.2)
                room.agent.stop()
                await room.agent.until(lambda: bridge.v == 0.0, 1.0)
                assert (await room.agent.ended(goal))["reason"] == "estop_latched"
            for each in living:
                each.cancel()

    asyncio.run(main())

"""Agent and robot over a real mosquitto, in real time: a motion, a stop, a broker that is killed or hangs in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from embodied.link import broker as brokers
from embodied.link.address import Address
from embodied.link.mqtt import dial
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.remote.agent_link import AgentLink
from embodied.remote.body import RobotBody
from embodied.remote.client import RobotClient
from embodied.remote.finding import find
from embodied.remote.settings import RobotConfig
from embodied.remote.words import Words
from streams import clock as time
from streams.clock import SECOND, Clock
from streams.types import Steer
from tests.remote_room import FLEET, Told, move

pytestmark = pytest.mark.skipif(
    brokers.find() is None, reason="needs mosquitto: apt-get install mosquitto"
)  # fmt: skip


class Scene:
    def __init__(self, clock: Clock, broker: brokers.Broker) -> None:
        self.clock, self.broker, self.told = clock, broker, Told(clock)
        self.told.publish = lambda topic, t, data: self.told.all.append((t, data))  # type: ignore[method-assign]
        profile = Profile.load("diff-drive")
        self.robot = SimulatedRobot(profile)
        settings = replace(profile.settings, ranks={"agent1": "teleop"})
        self.node = RobotNode(
            profile.factsheet, self.robot, self.dial("r1"), clock, fleet=FLEET, robot="r1", settings=settings,
            secret=b"secret",
        )  # fmt: skip
        self.config = RobotConfig(ids=("r1",), fleet=FLEET)
        self.link = AgentLink(self.config, self.dial("agent1"), clock)
        self.client = RobotClient(self.link, "r1")
        self.body = RobotBody(self.client, self.told, clock, words=Words())

    def dial(self, client_id: str):  # type: ignore[no-untyped-def]
        return dial(Address.parse(self.broker.url), client_id=client_id)

    async def until(self, what, seconds: float = 10.0) -> float:  # type: ignore[no-untyped-def]
        begun = self.clock.now()
        while not what():
            assert self.clock.now() - begun < seconds * SECOND, self.told.all[-5:]
            await asyncio.sleep(0.002)
        return (self.clock.now() - begun) / SECOND

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with brokers.running() as broker:
        here = Scene(Clock(), broker)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(here.node.run()), group.create_task(here.body.serve())]
            await here.until(lambda: not here.client.why_not(moves=False) and here.client.health == "heard")
            yield here
            for task in tasks:
                task.cancel()


def test_a_motion_a_stop_and_a_hand() -> None:
    async def main() -> None:
        async with scene() as here:
            found = await find(here.config, here.dial("finds"), here.clock)
            assert [(each.robot, each.online) for each in found] == [("r1", True)]
            outcome = await here.body.perform(move(0.3))
            assert outcome.status == "done" and outcome.result["distance_m"] == pytest.approx(0.3, abs=0.1)
            task = asyncio.ensure_future(here.body.perform(move(-1.0, turn=2)))
            await here.until(lambda: abs(here.robot.velocity.vx) > 0.3)
            begun = here.clock.now()
            task.cancel()
            await here.body.halt()
            seen = (here.clock.now() - begun) / SECOND
            rest = await here.until(lambda: abs(here.robot.velocity.vx) < 0.01)
            assert seen < 0.5 and rest < 1.0 and not here.told.faults("StopUnconfirmed")
            assert (await task).status == "cut"
            for _ in range(6):
                here.body.steer(Steer(vx=0.3))
                await here.wait(0.1)
            assert here.robot.velocity.vx > 0.1
            await here.until(lambda: here.robot.velocity.vx < 0.01)
            assert (await here.body.perform(move(0.1, turn=3))).status == "done"

    time.run(main())


def test_a_broker_that_is_killed() -> None:
    async def main() -> None:
        async with scene() as here:
            task = asyncio.ensure_future(here.body.perform(move(2.0)))
            await here.until(lambda: here.robot.velocity.vx > 0.3)
            here.broker.kill()
            await here.until(lambda: not here.client.connected)
            begun = here.clock.now()
            await here.body.halt()
            assert (here.clock.now() - begun) / SECOND < 1.5 and here.told.faults("StopUnconfirmed")
            await here.until(lambda: here.robot.velocity.vx < 0.01)  # the robot's own link guard
            x = here.robot.pose[0]
            await here.broker.restart()
            await here.until(lambda: here.client.connected and here.client.health == "heard", 15)
            outcome = await asyncio.wait_for(task, 10)
            assert outcome.status in ("failed", "cut"), outcome
            await here.wait(0.5)
            assert here.robot.pose[0] == pytest.approx(x, abs=0.05)  # nothing was sent again
            await here.until(lambda: not here.client.stopping.active, 12)
            again = await here.body.perform(move(0.1, turn=2))
            assert again.status == "done", again

    time.run(main())


def test_a_broker_that_hangs() -> None:
    async def main() -> None:
        async with scene() as here:
            task = asyncio.ensure_future(here.body.perform(move(2.0)))
            await here.until(lambda: here.robot.velocity.vx > 0.3)
            here.broker.freeze()
            try:
                begun = here.clock.now()
                await here.body.halt()
                assert (here.clock.now() - begun) / SECOND < 1.5
                assert here.told.faults("StopUnconfirmed")  # said within a second, though the connection stands
                await here.until(lambda: here.robot.velocity.vx < 0.01)
            finally:
                here.broker.thaw()
            await asyncio.wait_for(task, 20)
            assert task.result().status in ("failed", "cut")

    time.run(main())

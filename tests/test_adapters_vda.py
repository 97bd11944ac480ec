"""An AGV behind our guards: orders, their updates, their ends, and everything that goes wrong on the way. Virtual time,
but for the last tests, which have a real broker and a process that is really killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embodied.link.memory import MemoryBroker
from embodied.node.adapters import vda5050
from embodied.node.profile import Profile
from streams.clock import Clock, run
from tests.adapter_room import Room, changed, furnished
from tests.vda_agv import Agv


@asynccontextmanager
async def yard(**options: Any) -> AsyncIterator[tuple[Room, Agv, MemoryBroker]]:
    clock = Clock()
    ours, theirs = MemoryBroker(clock), MemoryBroker(clock, delay_ms=5)
    agv = Agv(theirs.dial("agv"), clock)
    profile = changed(Profile.load("vda5050"), **options)
    async with asyncio.TaskGroup() as group:
        living = group.create_task(agv.run())
        made = await vda5050.attach(profile, "r1", clock, theirs.dial("adapter"))
        async with furnished(made, ours.dial, clock, profile.settings) as room:
            yield room, agv, theirs
        living.cancel()


def test_a_long_way_is_driven_in_short_orders() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0, "yaw": 1.0})
            await room.agent.until(lambda: room.agent.state(goal) == "running" and agv.x > 2.5, 20)
            assert 0.3 < room.agent.last(goal)["progress"] < 0.8
            status = await room.agent.ended(goal, 20)
            assert status["state"] == "succeeded", status
            assert status["result"] == {"x": 5.0, "y": 0.0, "yaw": 1.0}
            assert abs(agv.x - 5.0) < 0.01
            assert agv.wrong == []
            assert agv.base_max <= 2.001
            orders = [body for kind, body in agv.got if kind == "order"]
            assert len({body["orderId"] for body in orders}) == 1
            assert [body["orderUpdateId"] for body in orders] == list(range(len(orders)))
            assert len(orders) >= 3
            assert room.node.told["state"].battery == pytest.approx(0.805)

    run(main(), virtual=True)

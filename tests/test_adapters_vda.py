"""An AGV behind our guards: orders, their updates, their ends, and everything that goes wrong on the way. Virtual time,
but for the last tests, which have a real broker and a process that is really killed."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embodied.link.memory import MemoryBroker
from embodied.link.port import Outgoing
from embodied.node.adapters import vda5050
from embodied.node.adapters.foreign import NobodyThere
from embodied.node.profile import Profile
from streams.clock import Clock, run
from tests.adapter_room import Room, changed, damaged, furnished
from tests.vda_agv import ROOT, Agv


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


def test_a_cancelled_way_is_cancelled_at_the_agv_and_the_next_one_begins() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            agent = room.agent
            goal = agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await agent.until(lambda: agv.x > 0.5)
            agent.command("cancel", {"target": goal})
            assert (await agent.ended(goal))["state"] == "cancelled"
            there = agv.x
            await agent.rest(1.0)
            assert agv.x == there and agv.order and not agv.nodes
            other = agent.command("nav.goto", {"x": 0.0, "y": 0.5})
            assert (await agent.ended(other, 20))["state"] == "succeeded"
            assert agv.wrong == []

    run(main(), virtual=True)


def test_another_place_replaces_the_first_when_the_agv_has_let_go_of_it() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            first = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            second = room.agent.command("nav.goto", {"x": 0.5, "y": 1.0})
            assert (await room.agent.ended(second, 20))["state"] == "succeeded"
            assert room.agent.state(first) == "preempted"
            assert agv.wrong == []

    run(main(), virtual=True)


def test_pause_and_resume_are_the_agvs_own() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            agent = room.agent
            goal = agent.command("nav.goto", {"x": 2.0, "y": 0.0})
            await agent.until(lambda: agv.x > 0.5)
            agent.command("pause", {"id": goal})
            await agent.until(lambda: agv.paused)
            there = agv.x
            await agent.rest(5.0)
            assert agv.x == there
            agent.command("resume", {"id": goal})
            assert (await agent.ended(goal, 20))["state"] == "succeeded"
            assert not agv.paused

    run(main(), virtual=True)


def test_the_stop_pauses_and_cancels_and_is_taken_back_by_a_new_goal_only() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            agent = room.agent
            goal = agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await agent.until(lambda: agv.x > 0.5)
            agent.stop()
            await agent.until(lambda: agv.paused and not agv.nodes, 0.3)
            assert (await agent.ended(goal))["reason"] == "estop_latched"
            await agent.until(lambda: agent.told["safety"].get("reset_allowed"))
            agent.reset()
            await agent.until(lambda: room.node.told["heartbeat"].estop == "none")
            await agent.rest(2.0)
            assert agv.paused
            agent.lease = ""
            await agent.acquire()
            assert (await agent.ended(agent.command("nav.goto", {"x": 1.5, "y": 0.0}), 20))["state"] == "succeeded"

    run(main(), virtual=True)


def test_a_stop_and_a_pause_that_were_lost_are_said_again() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            agent = room.agent
            goal = agent.command("nav.goto", {"x": 9.0, "y": 0.0})
            await agent.until(lambda: agv.x > 0.3)
            agv.deaf = True
            agent.command("pause", {"id": goal})
            await agent.rest(0.3)
            agv.deaf = False
            await agent.until(lambda: agv.paused, 1.0)
            agent.command("resume", {"id": goal})
            await agent.until(lambda: not agv.paused, 1.0)
            agv.deaf = True
            agent.stop()
            await agent.rest(0.5)
            agv.deaf = False
            await agent.until(lambda: agv.paused and not agv.nodes, 1.5)

    run(main(), virtual=True)


@pytest.mark.parametrize("pressed", ["MANUAL", "AUTOACK", "something of 4.0"])
def test_an_emergency_stop_pressed_at_the_agv_is_ours_too(pressed: str) -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            agv.unchecked = pressed not in ("MANUAL", "AUTOACK")
            agv.estop = pressed
            await room.agent.until(lambda: room.agent.told["safety"]["estop"] == "latched", 1.0)
            assert room.agent.told["safety"]["source"] == "hardware"
            assert (await room.agent.ended(goal))["state"] == "failed"
            assert not agv.nodes  # released, it would not go on

    run(main(), virtual=True)


def test_by_hand_nobody_drives_it() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            agv.mode = "MANUAL"
            assert (await room.agent.ended(goal))["reason"] == "mode"
            assert not agv.nodes
            assert (await room.agent.ended(room.agent.command("nav.goto", {"x": 1.0, "y": 0.0})))["reason"] == "mode"
            said = len(agv.got)
            agv.by_hand = 0.3  # a person drives it away: nobody says a word
            await room.agent.rest(5.0)
            assert room.node.sensed.velocity.vx == 0.3 and len(agv.got) == said

    run(main(), virtual=True)


def test_a_silent_agent_ends_the_way() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            room.agent.beats = False
            there = agv.x
            await room.agent.until(lambda: not agv.nodes, 3.0)
            assert agv.x - there < 0.4 * 2.5
            assert (await room.agent.ended(goal))["reason"] == "link_lost"

    run(main(), virtual=True)


def test_an_agv_that_falls_silent_fails_the_way_and_never_has_more_than_its_base() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 9.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            agv.frozen = True
            status = await room.agent.ended(goal, 6.0)
            assert (status["state"], status["reason"]) == ("failed", "link_lost")
            assert "said nothing" in status["detail"]
            assert [body["actions"][0]["actionType"] for kind, body in agv.got if kind == "instantActions"].count(
                "stateRequest"
            )
            agv.frozen = False  # it wakes up, and still has the order that it did not hear the end of
            await room.agent.until(lambda: agv.paused and not agv.nodes, 4.0)
            assert agv.x < 2.5
            again = room.agent.command("nav.goto", {"x": 3.0, "y": 0.0})
            assert (await room.agent.ended(again, 20))["state"] == "succeeded"

    run(main(), virtual=True)


def test_without_a_link_to_its_broker_the_agv_ends_with_its_base_and_is_stopped_afterwards() -> None:
    async def main() -> None:
        async with yard() as (room, agv, theirs):
            goal = room.agent.command("nav.goto", {"x": 9.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            theirs.drop("adapter")
            theirs.up = False
            there = agv.x
            status = await room.agent.ended(goal, 6.0)
            assert status["reason"] == "link_lost"
            await room.agent.rest(10.0)
            assert agv.x - there <= 2.001  # what VDA 5050 lets it do
            theirs.up = True
            await room.agent.until(lambda: agv.paused and not agv.nodes, 15.0)
            assert agv.wrong == []

    run(main(), virtual=True)


def test_what_the_agv_refuses_fails_with_its_words() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            agv.refuse = "noRouteError"
            status = await room.agent.ended(room.agent.command("nav.goto", {"x": 5.0, "y": 0.0}))
            assert status["reason"] == "hardware" and "noRouteError" in status["detail"]
            agv.refuse, agv.deaf = "", True
            status = await room.agent.ended(room.agent.command("nav.goto", {"x": 5.0, "y": 0.0}))
            assert status["reason"] == "timeout"

    run(main(), virtual=True)


def test_an_agv_that_stands_before_an_obstacle_fails_after_ten_seconds() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
            await room.agent.until(lambda: agv.x > 0.5)
            agv.field = True
            status = await room.agent.ended(goal, 13.0)
            assert (status["reason"], agv.nodes) == ("obstacle", [])
            assert any("protective field" in each for each in room.agent.told["state"]["errors"])

    run(main(), virtual=True)


def test_the_guards_hold_the_agv_back_by_ending_its_way() -> None:
    """The fence is not crossed by a way that goes round it in a straight line."""

    async def main() -> None:
        clock = Clock()
        ours, theirs = MemoryBroker(clock), MemoryBroker(clock, delay_ms=5)
        agv = Agv(theirs.dial("agv"), clock)
        profile = Profile.load("vda5050", {"limits.geofence": {
            "polygon": [[-1, -1], [6, -1], [6, 1], [-1, 1]], "frame": "map",
            "keep_out": [[[2.5, -0.5], [3, -0.5], [3, 0.5], [2.5, 0.5]]]}})  # fmt: skip
        async with asyncio.TaskGroup() as group:
            living = group.create_task(agv.run())
            made = await vda5050.attach(profile, "r1", clock, theirs.dial("adapter"))
            async with furnished(made, ours.dial, clock, profile.settings) as room:
                goal = room.agent.command("nav.goto", {"x": 5.0, "y": 0.0})
                status = await room.agent.ended(goal, 20)
                assert (status["state"], status["reason"]) == ("failed", "obstacle")
                assert agv.x < 2.5, agv.x
                out = room.agent.command("nav.goto", {"x": 2.7, "y": 0.0})
                assert (await room.agent.ended(out))["reason"] == "geofence"
            living.cancel()

    run(main(), virtual=True)


def test_its_own_actions_are_capabilities() -> None:
    async def main() -> None:
        async with yard(actions={"beep": {"risk": 0, "expose": True, "resource": "horn"}}) as (room, agv, _):
            sheet = room.node.factsheet
            known = {each.name: each for each in sheet.capabilities}
            assert set(known) == {"nav.goto", "agv.beep", "agv.lift_up"}  # no pause of its own, no object
            assert known["agv.beep"].risk == 0 and known["agv.beep"].tool.expose
            assert known["agv.lift_up"].risk == 2 and not known["agv.lift_up"].tool.expose
            assert sheet.limits.v_max == 0.4 and sheet.robot.model == "Double 1"
            agent = room.agent
            assert (await agent.ended(agent.command("agv.beep", {"times": 2})))["state"] == "succeeded"
            lifted = await agent.ended(agent.command("agv.lift_up", {"height": 0.3}))
            assert (lifted["state"], lifted["result"]) == ("succeeded", {"result": "as wanted"})
            agv.fails.add("beep")
            await agent.rest(1.1)
            assert (await agent.ended(agent.command("agv.beep")))["reason"] == "hardware"
            assert (await agent.ended(agent.command("agv.beep", {"times": "x"})))["reason"] == "schema"
            await agent.rest(1.1)
            way = agent.command("nav.goto", {"x": 1.0, "y": 0.0})
            assert (await agent.ended(way, 20))["state"] == "succeeded"
            assert agv.wrong == []

    run(main(), virtual=True)


def test_without_a_promise_nothing_that_moves_is_offered() -> None:
    async def main() -> None:
        clock = Clock()
        theirs = MemoryBroker(clock)
        agv = Agv(theirs.dial("agv"), clock)
        async with asyncio.TaskGroup() as group:
            living = group.create_task(agv.run())
            for safety, wanted in (({}, set()), ({"supervised": True}, {"nav.goto", "agv.beep", "agv.lift_up"})):
                profile = changed(Profile.load("vda5050"), safety=safety)
                sheet, driver = await vda5050.attach(profile, "r1", clock, theirs.dial("adapter"))
                assert {each.name for each in sheet.capabilities} == wanted
                assert all(each.confirm == "always" and each.risk >= 2 for each in sheet.capabilities)
                assert any("stand by" in each or "not offered" in each for each in driver.sense(clock.now()).errors)
                await driver.close()
            living.cancel()

    run(main(), virtual=True)


def test_nobody_there_is_said_in_one_sentence() -> None:
    async def main() -> None:
        clock = Clock()
        profile = changed(Profile.load("vda5050"), wait_s=1.0)
        with pytest.raises(NobodyThere, match="nothing came on uagv/v2/example/0001/state"):
            await vda5050.attach(profile, "r1", clock, MemoryBroker(clock).dial("adapter"))
        down = MemoryBroker(clock)
        down.up = False
        with pytest.raises(NobodyThere, match="no connection"):
            await vda5050.attach(profile, "r1", clock, down.dial("adapter"))

    run(main(), virtual=True)


def test_whatever_an_agv_says_nothing_is_raised_and_the_way_goes_on() -> None:
    async def main() -> None:
        async with yard() as (room, agv, _):
            chance = random.Random(7)
            goal = room.agent.command("nav.goto", {"x": 3.0, "y": 0.0})
            await room.agent.until(lambda: room.agent.state(goal) == "running")
            for n in range(3000):
                kind = chance.choice(["state", "visualization", "connection", "factsheet"])
                agv.link.send(Outgoing(f"{ROOT}/{kind}/{n}" if n % 50 == 0 else f"{ROOT}/{kind}", damaged(chance)))
                if n % 20 == 0:
                    await room.agent.rest(0.02)
            await room.agent.rest(1.0)
            assert room.agent.told["heartbeat"]["boot"] == room.node.factsheet.boot

    run(main(), virtual=True)

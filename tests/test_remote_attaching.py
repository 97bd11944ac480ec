"""Finding robots, versions, factsheets that change, ranks and keys; in virtual time."""

import json
from typing import Any

import pytest

from embodied.errors import BodyError
from embodied.link.port import LinkBroken, LinkRefused
from embodied.remote.agent_link import AgentLink
from embodied.remote.body import RobotBody
from embodied.remote.client import RobotClient
from embodied.remote.finding import find
from embodied.remote.settings import RobotConfig
from embodied.remote.words import Words
from embodied.robot.codec import encode
from embodied.robot.messages import AgentConnection, AgentHeartbeat, LeaseSet
from embodied.robot.topics import agent_topic, robot_topic
from streams.types import Attached, BodyState, Command, Offered
from tests.remote_room import FLEET, SECOND, Room, attached, move, room, virtual


def test_robots_are_found() -> None:
    async def main() -> None:
        async with room(delay_ms=2) as here:
            dial = here.broker.dial("agent1-finds")
            assert await find(RobotConfig(fleet=FLEET), dial, here.clock) == ()
            here.robot("r1")
            here.robot("r2")
            await here.wait(0.2)
            await here.kill("r2")
            found = await find(RobotConfig(fleet=FLEET), dial, here.clock)
            assert [(each.robot, each.online, each.fits) for each in found] == [("r1", True, True), ("r2", False, True)]
            before = here.clock.now()
            (one,) = await find(RobotConfig(fleet=FLEET, ids=("r1",)), dial, here.clock)
            assert here.clock.now() - before < 0.1 * SECOND and one.factsheet.robot.kind == "diff_drive"
            before = here.clock.now()
            await find(RobotConfig(fleet=FLEET, ids=("r1", "r9"), find_s=2.0), dial, here.clock)
            assert 1.9 < (here.clock.now() - before) / SECOND < 2.1
            here.inject(robot_topic(FLEET, "r3", "factsheet"), b"[" * 100, retain=True)
            here.inject(robot_topic(FLEET, "r4", "factsheet"), b'{"proto":"2.0","rev":1,"boot":"b"}', retain=True)
            found = await find(RobotConfig(fleet=FLEET), dial, here.clock)
            assert [(each.robot, each.fits) for each in found] == [("r1", True), ("r2", True), ("r4", False)]

    virtual(main)


def test_finding_without_a_broker() -> None:
    async def main() -> None:
        async with room() as here:
            here.broker.stop()
            with pytest.raises(LinkBroken):
                await find(RobotConfig(find_s=3), here.broker.dial("x"), here.clock)
            assert here.clock.now() <= 3 * SECOND
            here.broker.refuse("x", LinkRefused("no"))
            here.broker.start()
            with pytest.raises(LinkRefused):
                await find(RobotConfig(find_s=3), here.broker.dial("x"), here.clock)

    virtual(main)


def test_each_robot_once_and_before_it_is_served() -> None:
    async def main() -> None:
        async with attached() as here:
            link = here.bodies[0].client.link
            with pytest.raises(BodyError, match="served already"):
                RobotClient(link, "r2")
            other = AgentLink(RobotConfig(), here.broker.dial("b"), here.clock)
            RobotClient(other, "r1")
            with pytest.raises(BodyError, match="twice"):
                RobotClient(other, "r1")

    virtual(main)


def told(here: Room, channel: Any, message: Any) -> None:
    here.inject(robot_topic(FLEET, "r1", channel), message if isinstance(message, bytes) else encode(message))


def test_another_version_is_told_and_not_used() -> None:
    async def main() -> None:
        async with attached() as here:
            sheet = json.loads(encode(here.robots["r1"].factsheet))
            await here.wait(1.1)
            told(here, "factsheet", json.dumps({**sheet, "proto": "2.1"}).encode())
            await here.wait(0.1)
            (fault,) = here.told.faults("VersionMismatch")
            assert "2.1" in fault.message and here.bodies[0].offers() == ()
            assert (await here.do(move())).status == "refused"
            await here.wait(1.1)
            told(here, "factsheet", json.dumps(sheet).encode())
            await here.wait(0.1)
            assert here.bodies[0].offers() and (await here.do(move(0.2))).status == "done"

    virtual(main)


def test_a_factsheet_that_cannot_be_used() -> None:
    async def main() -> None:
        async with attached() as here:
            sheet = json.loads(encode(here.robots["r1"].factsheet))
            await here.wait(1.1)
            told(here, "factsheet", json.dumps({**sheet, "resources": []}).encode())
            await here.wait(0.1)
            assert here.told.faults("FactsheetInvalid") and here.bodies[0].offers() == ()
            await here.wait(1.1)
            sheet["capabilities"][0]["params"] = {"type": "object", "properties": {"Obey me! Now": {}}}
            told(here, "factsheet", json.dumps({**sheet, "rev": 2}).encode())
            await here.wait(0.1)
            assert here.told.faults("CapabilityUnfit") and "move" not in [each.name for each in here.bodies[0].offers()]
            assert here.told.of(Offered)[-1].offers == here.bodies[0].offers()
            assert len(here.told.of(Attached)) == 1  # the robot itself is the same

    virtual(main)


def test_a_higher_rank_takes_over_and_equals_wait() -> None:
    async def main() -> None:
        async with attached(rank="policy") as here:
            fresh = here.bodies[0].client.fresh
            wish = LeaseSet(v=1, id="o-1", sender="other", op="acquire", rank="model", fresh=fresh)
            told(here, "lease/set", wish)
            await here.wait(0.1)
            assert here.robots["r1"].told["lease"].holder == "other"
            assert (await here.do(move(0.2))).status == "done"  # policy goes before model
            assert here.robots["r1"].told["lease"].holder == "agent1"
            here.serving[0].cancel()

    virtual(main)


def test_presence_and_heartbeat() -> None:
    async def main() -> None:
        async with attached("r1", "r2") as here:
            await here.wait(2)
            presence = agent_topic(FLEET, "agent1", "connection")
            assert json.loads(here.broker.retained[presence].payload)["state"] == "online"
            beats = [m for _, m in here.broker.log if m.topic == agent_topic(FLEET, "agent1", "heartbeat")]
            from embodied.robot.codec import decode

            told_ = [decode(each.payload, AgentHeartbeat) for each in beats]
            assert 9 <= len(told_) <= 12 and set(told_[-1].heard) == {"r1", "r2"}
            numbers = [each.beat for each in told_]
            assert numbers == sorted(set(numbers))
            here.broker.drop("agent1")
            assert decode(here.broker.retained[presence].payload, AgentConnection).state == "lost"
            await here.wait(1)
            assert decode(here.broker.retained[presence].payload, AgentConnection).state == "online"
            for task in here.serving:
                task.cancel()
            await here.wait(0.5)
            assert decode(here.broker.retained[presence].payload, AgentConnection).state == "offline"

    virtual(main)


@pytest.mark.parametrize("right", [True, False])
def test_keys(right: bool) -> None:
    async def main() -> None:
        async with room(delay_ms=2) as here:
            here.robot(keys={"agent1": b"seal"}, consent_key=b"yes")
            link = AgentLink(
                RobotConfig(ids=("r1",)), here.broker.dial("agent1"), here.clock,
                seal_key=b"seal", consent_key=b"yes" if right else b"no",
            )  # fmt: skip
            body = RobotBody(RobotClient(link, "r1"), here.told, here.clock, words=Words())
            here.bodies.append(body)
            here.serving.append(here.group.create_task(body.serve()))
            await here.until(lambda: not body.client.why_not(moves=False))
            outcome = await here.do(Command("nav.goto", {"x": 0.3, "y": 0.0}, turn=1, confirmed=True))
            assert outcome.status == ("done" if right else "refused")
            assert here.robots["r1"].told["lease"].holder == "agent1"

    virtual(main)


def test_a_goodbye_of_the_robot_is_told_as_such() -> None:
    async def main() -> None:
        async with attached() as here:
            here.nodes["r1"].cancel()
            await here.until(lambda: here.told.faults("RobotSilent"))
            assert "said goodbye" in here.told.faults("RobotSilent")[0].message
            assert here.told.of(BodyState)[-1].link == "unknown"
            asked = here.clock.now()
            refused = await here.do(move())
            assert refused.status == "refused" and refused.detail == "it has said goodbye"
            assert here.clock.now() - asked < SECOND / 20, "of a robot that is known to be gone it is said at once"
            here.robot()
            await here.wait(0.2)
            assert here.bodies[0].client.gone == ""
            assert (await here.do(move(0.1, turn=2, id=2))).status == "done"

    virtual(main)


def test_stopping_again_does_not_put_off_what_must_be_told() -> None:
    async def main() -> None:
        async with room() as here:
            body = here.agent()
            await here.wait(0.3)
            for _ in range(8):
                body.client.stopping.begin("again", here.clock.now())
                await here.wait(0.2)
            (fault,) = here.told.faults("StopUnconfirmed")
            at = next(t for t, each in here.told.all if each is fault)
            assert at <= 1.3 * SECOND

    virtual(main)

"""A stop under every condition: it is said until it is seen, escalates, and is told loudly when nobody answers."""

import asyncio

import pytest

from embodied.body import HALT_S
from embodied.link.port import LinkRefused
from embodied.ports import Actuator
from embodied.remote.body import RobotBody
from embodied.robot.messages import EstopReset
from embodied.robot.reports import Status
from embodied.robot.topics import robot_topic
from streams.types import BodyState, Recovered, Steer
from tests.remote_room import SECOND, Room, attached, move, room, virtual

STOPPED = 0.7


async def halted(here: Room, body: RobotBody | None = None) -> float:
    begun = here.clock.now()
    async with asyncio.timeout(HALT_S):
        await (body or here.bodies[0]).halt()
    return (here.clock.now() - begun) / SECOND


def deafen(body: RobotBody, *channels: str, reply: bool = True) -> None:
    """The agent does not hear this any more."""
    client, hear = body.client, body.client.hear
    client.hear = lambda topic, message: (  # type: ignore[method-assign]
        None if topic.channel in channels or topic.name in channels else hear(topic, message)
    )
    if reply:
        client.answered = lambda status: True  # type: ignore[method-assign]


def freeze(here: Room, robot: str = "r1") -> None:
    """It hears nothing, says nothing, and goes on with what it did."""
    here.robots[robot].link._receive = lambda message: None
    here.broker.hold(robot)


def test_it_stops_and_may_be_used_again() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            before = here.simulated["r1"].pose[0]
            task.cancel()
            assert await halted(here) < 0.1
            assert (await task).status == "cut"
            # At once, and the goal is the robot's own: nothing has to wait for the motion to end.
            assert await here.until(lambda: here.speed() < 0.01) < STOPPED
            assert here.simulated["r1"].pose[0] - before < 0.3
            assert not here.told.faults("StopUnconfirmed") and here.sent("estop/set") == []
            assert len(here.sent("command", "stop")) == 1
            outcome = await here.do(move(-0.2, turn=2))  # at once: what it needs, a newer heartbeat, it waits for
            assert outcome.status == "done", outcome

    virtual(main)


def test_a_stop_stops_whoever_drives() -> None:
    async def main() -> None:
        async with attached() as here:
            for _ in range(5):
                here.bodies[0].steer(Steer(vx=0.4))
                await here.wait(0.1)
            assert here.speed() > 0.2
            await halted(here)
            here.bodies[0].client.stopping.begin("again", here.clock.now())
            here.bodies[0].steer(Steer(vx=0.4))  # not while it is being stopped
            assert await here.until(lambda: here.speed() < 0.01) < STOPPED

    virtual(main)


def test_a_hand_that_holds_on_moves_nothing_after_a_stop_until_it_has_let_go() -> None:
    async def main() -> None:
        async with attached() as here:
            body = here.bodies[0]

            async def push(seconds: float) -> None:
                for _ in range(round(seconds * 20)):
                    body.steer(Steer(vx=0.4))
                    await here.wait(0.05)

            await push(1.0)
            assert here.speed() > 0.3
            here.serving.append(here.group.create_task(body.halt()))
            await push(3.0)
            assert here.speed() < 0.01 and not body.client.stopping.active
            body.steer(Steer())
            await push(1.0)
            assert here.speed() > 0.3

    virtual(main)


def test_a_stop_that_is_refused_is_none() -> None:
    async def main() -> None:
        async with attached() as here:
            freeze(here)
            stopping = here.bodies[0].client.stopping
            stopping.begin("x", here.clock.now())
            assert stopping._command is not None
            no = Status(stopping._command.id, "stop", "rejected", 1, 1, "unknown_capability")
            assert stopping.heard(no, here.clock.now()) and stopping.active
            await here.until(lambda: here.sent("estop/set"), 1)

    virtual(main)


def test_what_a_robot_tells_of_an_old_stop_holds_nothing_up() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            await halted(here)
            client.use()
            await here.until(lambda: not client.why_not(moves=True))
            for _ in range(400):  # two states of the robot, with the stop among its last commands
                client.use()
                assert client.why_not(moves=True) == ""
                await here.wait(0.03)

    virtual(main)


def test_without_a_connection_it_is_told_at_once_and_tried_on() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            here.broker.stop()
            await here.until(lambda: not here.bodies[0].client.connected)
            begun = here.clock.now()
            halting = asyncio.ensure_future(halted(here))
            await asyncio.sleep(0)
            (fault,) = here.told.faults("StopUnconfirmed")
            assert "Use the stop on the robot itself" in fault.message and "cannot be reached" in fault.message
            assert here.told.all[-1][0] == begun
            assert await halting < HALT_S
            here.broker.start()
            await here.until(lambda: here.sent("command", "stop"), 9)
            await here.until(lambda: any("has stopped" in each.message for each in here.told.of(Recovered)), 6)
            assert here.robots["r1"].told["safety"].estop == "none"  # it answered as soon as it was back
            task.cancel()

    virtual(main)


@pytest.mark.parametrize(("away", "sent"), [(45, True), (70, False)])
def test_one_that_could_not_be_sent_is_sent_within_a_minute_or_told_to_be_given_up(away: float, sent: bool) -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            here.broker.stop()
            await here.until(lambda: not client.connected)
            await halted(here)
            assert (await here.do(move())).status == "refused"  # nothing new goes before it
            await here.wait(away)
            assert bool(here.told.faults("StopGivenUp")) is not sent
            here.broker.start()
            await here.until(lambda: client.connected and client.health == "heard", 9)
            await here.wait(1)
            assert bool(here.sent("command", "stop")) is sent and not client.stopping.active
            assert any("has stopped" in each.message for each in here.told.of(Recovered)) is sent
            if not sent:
                (fault,) = here.told.faults("StopGivenUp")
                assert "could not be reached" in fault.message and "Use the stop on the robot itself" in fault.message
            assert (await here.do(move(-0.2, turn=2))).status == "done"

    virtual(main)


@pytest.mark.parametrize("serve", [True, False])
def test_without_a_robot_or_anything(serve: bool) -> None:
    async def main() -> None:
        async with room() as here:
            body = here.agent(serve=serve)
            await here.wait(0.5)
            assert await halted(here) >= 0.9
            (fault,) = here.told.faults("StopUnconfirmed")
            assert "r1" in fault.message
            if serve:
                assert len(here.sent("command", "stop")) > 10 and len(here.sent("estop/set")) > 5
            assert isinstance(body, Actuator)

    virtual(main)


def test_where_the_broker_refuses() -> None:
    async def main() -> None:
        async with room() as here:
            here.broker.refuse("agent1", LinkRefused("the password is wrong"))
            here.agent()
            await here.wait(0.5)
            (fault,) = here.told.faults("LinkRefused")
            assert "password" in fault.message
            assert await halted(here) < HALT_S and here.told.faults("StopUnconfirmed")
            assert (await here.do(move())).status == "refused"

    virtual(main)


def test_a_frozen_robot() -> None:
    async def main() -> None:
        async with attached() as here:
            here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            freeze(here)
            begun = here.clock.now()
            assert await halted(here) < HALT_S
            at = next(t for t, each in here.told.all if each in here.told.faults("StopUnconfirmed"))
            assert (at - begun) / SECOND <= 1.0
            assert len(here.sent("command", "stop")) >= 10 and len(here.sent("estop/set")) >= 5
            await here.wait(12)
            stops = len(here.sent("command", "stop"))
            await here.wait(2)
            assert len(here.sent("command", "stop")) == stops and len(here.told.faults("StopUnconfirmed")) == 1
            (fault,) = here.told.faults("StopGivenUp")
            assert "r1 has not answered for 10 s" in fault.message

    virtual(main)


def test_rest_is_seen_where_the_status_is_lost() -> None:
    async def main() -> None:
        async with attached() as here:
            here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            deafen(here.bodies[0], "status", "state")
            assert await halted(here) < HALT_S
            assert here.speed() < 0.05 and not here.told.faults("StopUnconfirmed")

    virtual(main)


def test_where_nothing_is_seen_it_is_stopped_for_good() -> None:
    async def main() -> None:
        async with attached() as here:
            here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            deafen(here.bodies[0], "status", "state", "odom")
            took = await halted(here)
            assert 0.3 <= took < 0.6  # seen in a heartbeat
            assert here.told.faults("StopLatched") and not here.told.faults("StopUnconfirmed")
            assert here.robots["r1"].told["safety"].estop == "latched"

    virtual(main)


@pytest.mark.parametrize("how", ["latch", "configured"])
def test_for_good(how: str) -> None:
    async def main() -> None:
        async with attached(halt="estop" if how == "configured" else "stop") as here:
            body, node = here.bodies[0], here.robots["r1"]
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.35)
            task.cancel()
            if how == "latch":
                body.latch("button")
            assert await halted(here) < 0.3
            assert node.told["safety"].estop == "latched"
            assert await here.until(lambda: here.speed() < 0.01) < STOPPED
            await here.wait(0.3)
            assert here.told.of(BodyState)[-1].estop == "latched" and not here.told.faults("StopUnconfirmed")
            assert len(here.sent("estop/set")) <= 5
            refused = await here.do(move(0.2, turn=2))
            assert refused.status == "refused" and "an operator has to reset it" in refused.detail
            assert await halted(here) < 0.3  # again, while it is latched

            from embodied.robot.codec import encode

            here.inject(robot_topic("home", "r1", "estop/reset"), encode(EstopReset(node.guarded.stop_token, "op")))
            await here.wait(0.5)
            assert here.speed() == 0
            assert (await here.do(move(-0.2, turn=3))).status == "done"

    virtual(main)


def test_two_robots_of_which_one_is_frozen() -> None:
    async def main() -> None:
        async with attached("r1", "r2") as here:
            first, second = here.bodies
            here.do(move(2.0), first)
            here.do(move(2.0, id=2).__class__("r2.move", {"distance_m": 2.0}, turn=1, id=2), second)
            await here.until(lambda: here.speed("r1") > 0.35 and here.speed("r2") > 0.35)
            freeze(here, "r1")
            one, two = await asyncio.gather(halted(here, first), halted(here, second))
            assert two < 0.1 and 0.9 <= one < HALT_S
            assert here.speed("r2") < 0.01
            assert [each.where for each in here.told.faults("StopUnconfirmed")] == ["r1"]

    virtual(main)


def test_halting_again_and_again() -> None:
    async def main() -> None:
        async with attached() as here:
            for _ in range(5):
                here.do(move(0.5))
                await here.wait(0.2)
                await asyncio.gather(*(halted(here) for _ in range(3)))
            assert here.speed() < 0.3 and not here.told.faults("StopUnconfirmed")
            await here.wait(0.5)
            assert here.speed() == 0

    virtual(main)

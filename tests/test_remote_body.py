"""A robot as an actuator: real guards, a simulated robot, a broker in memory, virtual time."""

import asyncio
from itertools import pairwise

import pytest

from embodied.ports import Actuator, Choosy, Connected, Latching, Steerable
from policies.troubles import Troubles
from streams.packet import Packet
from streams.topics import FEEDBACK
from streams.types import Attached, BodyState, Command, Offered, Progress, Recovered, Steer
from tests.remote_room import MS, Room, attached, move, room, virtual


def test_it_is_found_offered_and_moves() -> None:
    async def main() -> None:
        async with attached() as here:
            body = here.bodies[0]
            for port in (Actuator, Choosy, Steerable, Latching, Connected):
                assert isinstance(body, port)
            assert [each.name for each in body.offers()] == ["move", "turn", "come_back", "nav.goto", "say", "lamp"]
            assert here.told.of(Offered)[-1].offers == body.offers()
            (found,) = here.told.of(Attached)
            assert (found.where, found.kind, found.speeds) == ("r1", "diff_drive", (0.5, 1.5))
            outcome = await here.do(move(0.5))
            assert (outcome.status, outcome.detail, outcome.action, outcome.id) == ("done", "", "Command", 1)
            assert outcome.result["distance_m"] == pytest.approx(0.5, abs=0.05)
            assert here.simulated["r1"].pose[0] == pytest.approx(0.5, abs=0.05)
            states = [each.state for each in here.told.of(Progress)]
            assert states[0] == "sent" and "accepted" in states and "running" in states
            last = here.told.of(BodyState)[-1]
            assert (last.holder, last.rank, last.link, last.mode) == ("agent1", "model", "heard", "automatic")
            times = [t for t, each in here.told.all if isinstance(each, BodyState)]
            assert all(b - a >= 200 * MS for a, b in pairwise(times))

    virtual(main)


def test_the_lease_is_kept_and_given_back() -> None:
    async def main() -> None:
        async with attached() as here:
            node = here.robots["r1"]
            assert node.told["lease"].holder is None
            await here.do(move(0.2))
            await here.wait(4)
            assert node.told["lease"].holder == "agent1"  # renewed, though nothing was asked for
            await here.wait(1.5)
            assert node.told["lease"].holder is None  # and given back some seconds after its last use
            await here.do(move(-0.2))
            assert node.told["lease"].holder == "agent1"
            here.serving[0].cancel()
            await here.until(lambda: node.told["lease"].holder is None, 1.0)

    virtual(main)


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        (move(99.0), "refused", "beyond what is allowed"),
        (Command("move", {}, turn=1), "refused", "distance m is missing"),
        (Command("move", {"distance_m": float("nan")}, turn=1), "refused", "does not understand"),
        (Command("fly", {}, turn=1), "refused", "it cannot do that"),
        (Command("base.velocity", {"vx": 0.1}, turn=1), "refused", "it cannot do that"),
        (Command("stop", {}, turn=1), "refused", "it cannot do that"),
        (Command("nav.goto", {"x": 1.0, "y": 0.0}, turn=1), "refused", "a person has to say yes"),
        (Command("nav.goto", {"x": 9.0, "y": 0.0}, turn=1, confirmed=True), "refused", "outside of where it may be"),
        (move(0.2, origin="vision"), "refused", "a person has to say yes"),
    ],
)
def test_what_it_refuses_and_in_what_words(action: Command, status: str, words: str) -> None:
    async def main() -> None:
        async with attached() as here:
            outcome = await here.do(action)
            assert outcome.status == status and words in outcome.detail
            assert here.speed() == 0 and here.sent("command", action.name) == []

    virtual(main)


def test_a_yes_is_bound_to_the_command() -> None:
    async def main() -> None:
        async with attached() as here:
            outcome = await here.do(Command("nav.goto", {"x": 0.5, "y": 0.0}, turn=1, id=1, confirmed=True))
            assert outcome.status == "done"
            (sent,) = here.sent("command", "nav.goto")
            assert sent.confirm and sent.origin.source == "speech" and sent.origin.turn == "1"

    virtual(main)


def test_one_turn_may_set_only_so_much_in_motion() -> None:
    async def main() -> None:
        async with attached() as here:
            wishes = [await here.do(move(1.0 if n % 2 == 0 else -1.0, id=n)) for n in range(6)]
            assert [each.status for each in wishes] == ["done"] * 5 + ["refused"]
            assert "ask the person" in wishes[-1].detail
            assert (await here.do(move(0.2, turn=2))).status == "done"

    virtual(main)


def test_a_cut_is_sent_at_once_and_its_end_is_told_later() -> None:
    async def main() -> None:
        async with attached() as here:
            body = here.bodies[0]
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.3)
            before = len(here.sent("command", "cancel"))
            now = here.clock.now()
            body.cut(1)
            task.cancel()
            outcome = await task
            assert here.clock.now() == now  # without waiting
            assert outcome.status == "cut" and 0 < outcome.result["progress"] < 1
            assert await here.until(lambda: here.speed() < 0.01) < 0.6
            assert len(here.sent("command", "cancel")) == before + 1
            await here.wait(0.5)
            assert [each.state for each in here.told.of(Progress)][-1] == "cancelled"

    virtual(main)


def test_a_cut_that_a_silent_robot_may_not_have_heard_is_not_told_as_its_end() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.3)
            here.broker.hold("r1")
            await here.until(lambda: here.bodies[0].client.health != "heard", 3)
            task.cancel()
            outcome = await task
            assert outcome.status == "cut"
            assert outcome.detail == "stopped, as far as is known: the robot is not heard"

    virtual(main)


def test_a_cut_that_finishes_leaves_it() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(0.5, on_cut="finish"))
            await here.until(lambda: here.speed() > 0.1)
            here.bodies[0].cut(1)
            assert (await task).status == "done"

    virtual(main)


def test_a_cut_before_it_was_accepted_moves_nothing() -> None:
    async def main() -> None:
        async with attached() as here:
            await here.do(Command("lamp", {"on": True}, turn=1))
            here.bodies[0].client.use()
            await here.until(lambda: here.bodies[0].client.lease.held)
            here.broker.hold("agent1")
            task = here.do(move(2.0))
            await here.wait(0.01)
            task.cancel()
            assert (await task).status == "cut"
            await here.wait(0.2)
            here.broker.release("agent1")
            await here.wait(3)
            assert abs(here.simulated["r1"].pose[0]) < 0.05

    virtual(main)


def test_a_cut_before_it_began_is_fenced() -> None:
    async def main() -> None:
        async with room() as here:
            here.agent()
            task = here.do(move())
            await here.wait(0.3)
            task.cancel()
            assert (await task).status == "fenced"

    virtual(main)


def test_a_cut_in_the_instant_of_success_tells_the_success() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            task = here.do(move(0.3))
            await here.until(lambda: client.errands.open)
            (errand,) = client.errands.open.values()
            while not errand.over.is_set():
                await here.wait(0.001)
            task.cancel()
            outcome = await task
            assert outcome.status == "done" and outcome.result["distance_m"] == pytest.approx(0.3, abs=0.05)

    virtual(main)


def test_nobody_there() -> None:
    async def main() -> None:
        async with room() as here:
            here.agent()
            outcome = await here.do(move())
            assert outcome.status == "refused" and outcome.detail == "it has not told what it can do"
            here.broker.stop()
            await here.wait(0.1)
            outcome = await here.do(move())
            assert outcome.status == "refused" and outcome.detail == "there is no connection to it"

    virtual(main)


def test_a_reconnection_in_the_middle_of_a_goal() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(0.5))
            await here.until(lambda: here.speed() > 0.1)
            here.broker.drop("agent1")
            outcome = await task
            # The robot saw the agent's will, and ended it; the agent learns it, and sends nothing again.
            assert outcome.status == "failed" and "cannot be reached" in outcome.detail
            assert len(here.sent("command", "move")) == 1
            await here.wait(1)
            assert (await here.do(move(0.2, turn=2))).status == "done"

    virtual(main)


def test_a_reboot_in_the_middle_of_a_goal() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.1)
            await here.kill()
            here.robot()
            outcome = await task
            assert outcome.status == "failed" and "started anew" in outcome.detail
            assert len(here.told.faults("RobotRestarted")) == 1
            await here.wait(0.5)
            assert (await here.do(move(0.3, turn=2))).status == "done"

    virtual(main)


def test_the_end_of_a_silent_robot_is_not_known() -> None:
    async def main() -> None:
        async with attached() as here:
            task = here.do(move(0.5))
            await here.until(lambda: here.speed() > 0.1)
            here.broker.hold("r1")
            await here.until(lambda: here.told.faults("RobotSilent"), 3)
            assert here.told.of(BodyState)[-1].link == "unknown"
            here.broker.release("r1")
            outcome = await task
            assert outcome.status in ("done", "failed")  # as the robot said in the end
            await here.until(lambda: any("heard again" in each.message for each in here.told.of(Recovered)), 2)

            second = here.do(move(0.5, turn=2))
            await here.until(lambda: here.speed() > 0.1)
            await here.kill()
            waited = await here.until(second.done, 80)
            assert second.result().status == "timeout" and "not known" in second.result().detail and waited < 70

    virtual(main)


def test_a_lost_status_is_asked_for() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            hear, answered = client.hear, client.answered
            client.hear = lambda topic, message: (  # type: ignore[method-assign]
                None if topic.channel in ("status", "state") else hear(topic, message)
            )
            client.answered = lambda status: (  # type: ignore[method-assign]
                answered(status) if status.name == "query" or status.name.startswith("lease") else False
            )
            outcome = await here.do(move(0.3))
            assert outcome.status == "done" and here.sent("command", "query")

    virtual(main)


def test_who_took_the_lease_is_told_and_not_fought() -> None:
    async def main() -> None:
        async with attached() as here:
            here.told.all.clear()
            mine = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.1)
            op = Operator(here)
            await op.acquire()
            outcome = await mine
            assert outcome.status == "cut" and "took over" in outcome.detail
            (fault,) = here.told.faults("LeaseTaken")
            assert "op" in fault.message and "operator" in fault.message
            wishes = len(here.sent("lease/set"))
            again = await here.do(move(0.2, turn=2))
            assert again.status == "refused" and again.detail == "op moves it, as operator"
            assert len(here.sent("lease/set")) == wishes
            op.beating = False
            await here.wait(4)  # its lease ran out
            assert (await here.do(move(0.2, turn=3))).status == "done"
            assert here.told.of(Recovered)

    virtual(main)


def test_two_robots_on_one_connection() -> None:
    async def main() -> None:
        async with attached("r1", "r2") as here:
            first, second = here.bodies
            assert here.broker.clients.count("agent1") == 1
            assert "r2.move" in [each.name for each in second.offers()]
            there = Command("r2.move", {"distance_m": 0.4}, turn=1, id=2)
            assert second.takes(there) and not first.takes(there) and first.takes(move()) and not second.takes(move())
            one, two = await asyncio.gather(here.do(move(0.2), first), here.do(there, second))
            assert (one.status, two.status, two.name) == ("done", "done", "r2.move")
            assert here.simulated["r2"].pose[0] == pytest.approx(0.4, abs=0.05)
            assert {each.where for each in here.told.of(Offered)} == {"r1", "r2"}

    virtual(main)


def test_driving_by_hand() -> None:
    async def main() -> None:
        async with attached() as here:
            body = here.bodies[0]
            goal = here.do(move(2.0))
            await here.until(lambda: here.speed() > 0.2)
            for _ in range(10):
                body.steer(Steer(vx=5.0, wz=0.0))
                await here.wait(0.1)
            assert (await goal).status == "cut"
            assert here.speed() == pytest.approx(0.5, abs=0.05)  # of what was wished, what the limits allow
            assert here.told.of(BodyState)[-1].rank == "teleop"
            assert (await here.do(move(0.2, turn=2))).detail == "somebody drives it by hand"
            assert await here.until(lambda: here.speed() < 0.01, 2) < 1.2
            await here.wait(0.5)
            assert (await here.do(move(0.2, turn=3))).status == "done"
            assert here.told.of(BodyState)[-1].rank == "model"
            streams = here.sent("stream", "base.velocity")
            assert 18 <= len(streams) <= 34  # 1.5 s at 20 a second

            body.steer(Steer(vx=0.3))
            await here.until(lambda: here.speed() > 0.1)
            body.steer(Steer())
            assert await here.until(lambda: here.speed() < 0.01, 1) < 0.4

    virtual(main)


def test_a_hand_that_may_not_is_told() -> None:
    async def main() -> None:
        async with room(delay_ms=2) as here:
            here.robot(ranks={})
            body = here.agent()
            await here.until(lambda: not body.client.why_not(moves=False))
            for _ in range(10):
                body.steer(Steer(vx=0.3))
                await here.wait(0.1)
            (fault,) = here.told.faults("SteerRefused")
            assert "may not act as teleop" in fault.message and here.speed() == 0

    virtual(main)


class Operator:
    """Somebody else with a higher rank, who does it by hand."""

    def __init__(self, here: Room) -> None:
        self.here, self.beating = here, True

    async def acquire(self) -> None:
        from embodied.robot.codec import encode
        from embodied.robot.messages import LeaseSet
        from embodied.robot.topics import robot_topic

        fresh = self.here.bodies[0].client.fresh
        wish = LeaseSet(v=1, id="op-1", sender="op", op="acquire", rank="operator", fresh=fresh)
        self.here.inject(robot_topic("home", "r1", "lease/set"), encode(wish))
        await self.here.wait(0.05)


def test_a_robot_may_have_a_dot_in_its_id() -> None:
    async def main() -> None:
        async with attached("r1", "kitchen.bot") as here:
            first, second = here.bodies
            action = Command("kitchen.bot.move", {"distance_m": 0.1}, turn=1, id=1)
            assert second.takes(action) and not first.takes(action)
            assert (await here.do(action, second)).status == "done"

    virtual(main)


def test_a_yes_is_forgotten_with_the_robots_boot_on_both_sides() -> None:
    async def main() -> None:
        async with attached() as here:
            body = here.bodies[0]
            assert body.client.proposer is not None
            body.client.proposer._agreed.add("beep")
            before = body.client.proposer
            await here.kill()
            here.robot()
            await here.until(lambda: body.client.proposer not in (None, before))
            assert not body.client.proposer.agreed
            assert all(offer.consent == (offer.name == "nav.goto") for offer in body.offers())

    virtual(main)


def test_a_robot_is_back_when_it_is_heard_and_not_when_its_broker_is() -> None:
    async def main() -> None:
        async with attached() as here:
            troubles = Troubles()

            def told() -> list[str]:
                for at, data in here.told.all:
                    troubles.feed(Packet(FEEDBACK, at, at, 0, 0, data))
                here.told.all.clear()
                return troubles.tell()

            await here.kill()
            here.broker.stop()
            await here.wait(4)
            assert told() == ["I have lost the robot."]
            here.broker.start()
            await here.wait(10)
            assert here.told.of(Recovered) and told() == []
            here.robot()
            await here.wait(3)
            assert told() == ["The robot is back."]

    virtual(main)

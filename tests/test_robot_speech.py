"""The loudspeaker of a robot: what is said over there is accounted for here, to the word. Virtual time, real guards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from embodied.link.memory import MemoryBroker
from embodied.node.node import RobotNode
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.remote.agent_link import AgentLink
from embodied.remote.client import RobotClient
from embodied.remote.settings import RobotConfig
from embodied.remote.speaker import RobotSpeech
from embodied.remote.spoken import pieces
from streams.clock import MS, SECOND, Clock, run
from streams.types import Fault, Outcome, Played, PlayStarted, Recovered, Say

TEXT = "the red ball lies near the big blue box"


class Scene:
    """A robot with a loudspeaker, an agent that speaks through it, and what that told."""

    def __init__(self, clock: Clock, broker: MemoryBroker, robot: SimulatedRobot, client: RobotClient) -> None:
        self.clock, self.broker, self.robot, self.client = clock, broker, robot, client
        self.told: list[tuple[int, Any]] = []
        self.speech = RobotSpeech(client, self, clock)

    def publish(self, topic: Any, t: int, data: Any) -> None:
        assert t <= self.clock.now()
        self.told.append((t, data))

    def of(self, kind: Any) -> list[Any]:
        return [data for _, data in self.told if isinstance(data, kind)]

    async def wait(self, seconds: float) -> None:
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    def say(self, text: str = TEXT, turn: int = 1, id: int = 1, **more: Any) -> "asyncio.Task[Outcome]":
        return asyncio.create_task(self.speech.perform(Say(text, turn=turn, id=id, **more)))


@asynccontextmanager
async def scene(changes: dict[str, Any] | None = None, *, found: bool = True) -> AsyncIterator[Scene]:
    clock = Clock()
    broker = MemoryBroker(clock, delay_ms=2)
    profile = Profile.load("diff-drive", changes)
    robot = SimulatedRobot(profile)
    settings = replace(profile.settings, ranks={"agent1": "policy"})
    node = RobotNode(
        profile.factsheet, robot, broker.dial("r1"), clock, fleet="home", robot="r1", settings=settings, secret=b"1"
    )
    link = AgentLink(RobotConfig(ids=("r1",)), broker.dial("agent1"), clock)
    made = Scene(clock, broker, robot, RobotClient(link, "r1"))
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(node.run())] if found else []
        jobs.append(group.create_task(link.serve()))
        if found:
            while made.client.health != "heard" or made.client.factsheet is None:
                await made.wait(0.05)
        yield made
        jobs[-1].cancel()
        await asyncio.sleep(0)
        jobs[0].cancel()


def test_each_word_is_told_once_in_order_at_about_its_time() -> None:
    async def main() -> None:
        async with scene() as s:
            outcome = await s.say()
            assert outcome == Outcome(1, 1, "Say", "", "done", "", TEXT)
            assert s.of(PlayStarted) == [PlayStarted(1, 1)]
            played = s.of(Played)
            assert [word.text for word in played] == TEXT.split() == s.robot.said
            assert [word.index for word in played] == list(range(9))
            assert {word.quality for word in played} == {"estimated"}
            at = s.told[0][0]
            for word in played:
                assert at <= word.start_ns < word.end_ns <= s.clock.now()
                at = word.end_ns
                assert abs((word.end_ns - word.start_ns) / MS - (80 + 60 * len(word.text))) < 250

    run(main(), virtual=True)


def test_what_is_cut_counts_as_far_as_the_robot_really_said_it() -> None:
    async def main() -> None:
        async with scene() as s:
            first, second = s.say(), s.say("and more", id=2)
            await s.wait(1.35)
            at = s.clock.now()
            s.speech.cut(1)
            outcomes = await first, await second
            assert s.clock.now() - at < 300 * MS
            assert outcomes[0].status == "cut"
            assert outcomes[0].result.split() == s.robot.said == [word.text for word in s.of(Played)]
            assert 2 <= len(s.robot.said) <= 5
            assert (outcomes[1].status, outcomes[1].result) == ("fenced", "")
            late = await s.say("too late", id=3)
            assert late.status == "fenced"
            said = list(s.robot.said)
            await s.wait(3)
            assert s.robot.said == said
            assert (await s.say("next", turn=2, id=4)).status == "done"

    run(main(), virtual=True)


def test_says_are_spoken_in_their_order_also_of_later_turns_and_backchannels() -> None:
    async def main() -> None:
        async with scene() as s:
            says = [s.say("one two", id=1), s.say("mm-hm", id=2, backchannel=True), s.say("three", turn=2, id=3)]
            s.speech.cut(0)
            assert [(await each).status for each in says] == ["done"] * 3
            assert s.robot.said == ["one", "two", "mm-hm", "three"]
            assert [started.id for started in s.of(PlayStarted)] == [1, 2, 3]

    run(main(), virtual=True)


def test_pause_and_resume_are_the_robots_and_no_word_is_told_meanwhile() -> None:
    async def main() -> None:
        async with scene() as s:
            saying = s.say()
            await s.wait(1.3)
            s.speech.pause(1)
            await s.wait(0.5)
            before = list(s.robot.said)
            waits = s.say("behind", id=2)
            await s.wait(5)
            assert s.robot.said == before and not saying.done()
            s.speech.resume(1)
            at = s.clock.now()
            assert (await saying).status == "done" and (await waits).status == "done"
            assert s.robot.said == [*TEXT.split(), "behind"]
            after = [word for word in s.of(Played) if word.end_ns > at]
            assert all(word.start_ns >= at - 700 * MS for word in after)  # the silence is nobody's word
            assert after[0].end_ns - after[0].start_ns < 1500 * MS

    run(main(), virtual=True)


def test_nothing_is_begun_while_paused_and_a_cut_ends_that() -> None:
    async def main() -> None:
        async with scene() as s:
            s.speech.pause(1)
            saying = s.say()
            await s.wait(2)
            assert s.robot.said == [] and not saying.done()
            s.speech.cut(1)
            assert (await saying).status == "fenced"
            assert (await s.say("free", turn=2, id=2)).status == "done"

    run(main(), virtual=True)


def test_a_stop_of_the_robot_by_somebody_else_ends_it_where_it_was() -> None:
    async def main() -> None:
        async with scene() as s:
            saying = s.say()
            await s.wait(1.3)
            s.client.tell("cancel", {"target": "*"}, first=True)
            outcome = await saying
            assert outcome.status == "cut" and outcome.detail
            assert outcome.result.split() == s.robot.said

    run(main(), virtual=True)


def test_a_robot_that_is_not_there_fails_is_told_once_and_is_told_to_be_back() -> None:
    async def main() -> None:
        async with scene() as s:
            await s.say("before")
            s.broker.hold("r1")
            s.broker.drop("r1")
            await s.wait(1)
            for id in (2, 3):
                outcome = await s.say(id=id)
                assert (outcome.status, outcome.result) == ("failed", "")
            assert [fault.error for fault in s.of(Fault)] == ["RobotMute"]
            s.broker.release("r1")
            await s.wait(6)
            last = await s.say("back again", id=4)
            assert last.status == "done", last
            assert len(s.of(Recovered)) == 1

    run(main(), virtual=True)


def test_without_a_robot_or_a_text_nothing_is_said() -> None:
    async def main() -> None:
        async with scene(found=False) as s:
            assert (await s.say()).status == "failed"
            assert (await s.say(" ", id=2)).status == "done"
            assert (await s.say("", id=3, source="song")).status == "failed"

    run(main(), virtual=True)


def test_cancelling_returns_what_was_heard_by_then_at_once() -> None:
    async def main() -> None:
        async with scene() as s:
            saying = s.say()
            await s.wait(1.35)
            at = s.clock.now()
            saying.cancel()
            outcome = await saying
            assert s.clock.now() == at
            assert outcome.status == "cut" and 0 < len(outcome.result.split()) <= len(s.robot.said) + 1
            await s.wait(0.2)
            said = list(s.robot.said)
            await s.wait(2)
            assert s.robot.said == said

    run(main(), virtual=True)


def test_a_robot_that_cannot_pause_says_its_piece_and_no_more() -> None:
    async def main() -> None:
        async with scene({"capabilities.say.pausable": False}) as s:
            saying, behind = s.say(), s.say("behind", id=2)
            await s.wait(1.3)
            s.speech.pause(1)
            assert (await saying).status == "done"
            await s.wait(2)
            assert not behind.done()
            s.speech.resume(1)
            assert (await behind).status == "done"

    run(main(), virtual=True)


def test_a_long_text_goes_in_pieces_and_many_short_ones_within_the_rate() -> None:
    async def main() -> None:
        async with scene() as s:
            text = " ".join(f"{n} is a number." for n in range(60))
            assert (await s.say(text)).result == text
            assert len(s.of(PlayStarted)) == 1 and len(s.of(Played)) == 240
            quick = [s.say("a", turn=2, id=10 + n) for n in range(6)]
            assert [(await each).status for each in quick] == ["done"] * 6

    run(main(), virtual=True)


def test_pieces_end_with_sentences_where_they_can() -> None:
    words = ["aa", "bb.", "cc", "dd", "ee"]
    assert list(pieces(words, 10)) == [["aa", "bb."], ["cc", "dd", "ee"]]
    assert list(pieces(["x" * 50, "y"], 10)) == [["x" * 50], ["y"]]
    assert [word for piece in pieces(TEXT.split(), 12) for word in piece] == TEXT.split()


def test_it_speaks_while_somebody_else_moves_the_robot() -> None:
    async def main() -> None:
        async with scene() as s:
            other = RobotClient(
                link := AgentLink(RobotConfig(agent="op", ids=("r1",)), s.broker.dial("op"), s.clock), "r1"
            )
            serving = asyncio.create_task(link.serve())
            for _ in range(40):
                other.use()
                await s.wait(0.05)
            assert other.lease.held
            outcome = await s.say("please mind your toes")
            assert outcome.status == "done" and s.robot.said == ["please", "mind", "your", "toes"]
            assert other.lease.held
            serving.cancel()

    run(main(), virtual=True)


def test_a_robot_that_went_silent_is_not_waited_for() -> None:
    async def main() -> None:
        async with scene() as s:
            s.broker.hold("r1")
            await s.wait(3)
            begun = s.clock.now()
            assert (await s.say()).status == "failed"
            assert s.clock.now() - begun < 2 * SECOND
            s.broker.release("r1")

    run(main(), virtual=True)

"""The conductor with real turn-taking, a scripted policy and a real simulated body, on the virtual clock."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agent.conductor import Conductor
from agent.session import BodyPort, Log, Session
from embodied.body import Body
from embodied.motion import SimulatedBase
from policies.errors import PolicyError
from policies.reflex import Reflex, stop_words
from policies.turns import TurnConfig, TurnTaker
from streams.bus import Lane
from streams.clock import MS, Clock, run
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import (
    Command,
    Fault,
    Halt,
    Hush,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Pause,
    PlayStarted,
    Resume,
    Say,
    SensesEnded,
    TurnCommitted,
    TurnDropped,
)
from tests.scenes import Percepts, spoken


class Echo:
    """A policy that answers with what it was told."""

    wants_floor = False

    def observe(self, packet: Any) -> None:
        pass

    async def reply(self, turn: TurnCommitted) -> Any:
        yield Say(f"you said {turn.text}. and that was all of it")


class Mouth:
    """A body of one line: every Say takes a second, unless it is hushed."""

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        saying: dict[int, tuple[Say, int]] = {}
        while True:
            first = min((due for _, due in saying.values()), default=None)
            packet = await lane.get(first)
            if packet is None:
                if lane.ended and not saying:
                    return
                for number, (say, due) in list(saying.items()):
                    if due <= clock.now():
                        del saying[number]
                        publisher.publish(FEEDBACK, clock.now(), Outcome(say.turn, number, "Say", "", "done"))
                if lane.ended and saying:
                    await clock.sleep_until(min(due for _, due in saying.values()))
                continue
            match packet.data:
                case Say() as say:
                    publisher.publish(FEEDBACK, clock.now(), PlayStarted(say.turn, say.id))
                    saying[say.id] = (say, clock.now() + 1000 * MS)
                case Hush(turn=turn):
                    for number, (say, _) in list(saying.items()):
                        if say.turn <= turn:
                            del saying[number]
                            publisher.publish(FEEDBACK, clock.now(), Outcome(say.turn, number, "Say", "", "cut"))
                case Pause():
                    saying = {n: (say, due + 10**12) for n, (say, due) in saying.items()}
                case Resume():
                    saying = {n: (say, due - 10**12) for n, (say, due) in saying.items()}


def converse(scene: Sequence[Any], config: TurnConfig | None = None, policy: Echo | None = None) -> Log:
    log = Log()
    words = stop_words("en")
    conductor = Conductor(TurnTaker(config, stop_words=words), policy or Echo(), Reflex(words))
    session = Session(sources=[Percepts(scene)], encoders=[], conductor=conductor, body=Mouth(), taps=[log])
    session.run(speed=None)
    return log


def test_a_confident_end_is_answered_within_the_shortest_wait() -> None:
    log = converse(spoken(1, 1000, 2000, "what time is it"))
    (commit,) = [packet for packet in log.packets if isinstance(packet.data, TurnCommitted)]
    assert commit.data.text == "what time is it"
    assert commit.t == 2000 * MS + TurnConfig().min_wait_ms * MS
    assert commit.data.reason == "silence"
    assert [say.turn for say in log.of(Say)] == [1]


def test_two_turns_are_answered_once_each() -> None:
    log = converse([*spoken(1, 1000, 2000, "what time is it"), *spoken(2, 5000, 6000, "thank you")])
    assert [commit.text for commit in log.of(TurnCommitted)] == ["what time is it", "thank you"]
    assert [say.turn for say in log.of(Say)] == [1, 2]


def test_a_hold_is_waited_for_and_joined() -> None:
    scene = [
        *spoken(1, 1000, 1600, "go forward and", complete=False, p_end=0.1),
        *spoken(2, 2300, 3000, "turn left", p_end=0.9),
    ]
    log = converse(scene)
    assert [commit.text for commit in log.of(TurnCommitted)] == ["go forward and turn left"]


def test_an_interruption_pauses_then_cuts_and_is_answered() -> None:
    scene = [*spoken(1, 1000, 2000, "what time is it"), *spoken(2, 2700, 3400, "turn left please")]
    log = converse(scene)
    assert [type(d) for d in log.of(OverlapPaused, OverlapCut, OverlapResumed)] == [OverlapPaused, OverlapCut]
    assert log.of(Hush)[0].turn == 1
    assert [commit.turn for commit in log.of(TurnCommitted)] == [1, 2]
    assert [say.turn for say in log.of(Say)] == [1, 2]


def test_a_backchannel_does_not_take_the_turn() -> None:
    scene = [*spoken(1, 1000, 2000, "what time is it"), *spoken(2, 2600, 2900, "uh huh", complete=True)]
    log = converse(scene)
    assert [type(d) for d in log.of(OverlapPaused, OverlapCut, OverlapResumed)] == [OverlapPaused, OverlapResumed]
    assert [type(a) for a in log.of(Pause, Resume, Hush)] == [Pause, Resume]
    assert len(log.of(TurnCommitted)) == 1
    assert log.of(TurnDropped)[0].reason == "backchannel"


def test_a_cough_does_not_take_the_turn() -> None:
    scene = [*spoken(1, 1000, 2000, "what time is it"), *spoken(2, 2600, 2850, "", guess="four")]
    log = converse(scene)
    assert log.of(OverlapResumed)[0].reason == "noise"
    assert len(log.of(TurnCommitted)) == 1


def test_stop_is_a_reflex_from_a_partial() -> None:
    scene = [*spoken(1, 1000, 2000, "what time is it"), *spoken(2, 2600, 2900, "stop")]
    log = converse(scene)
    halt = next(packet for packet in log.packets if isinstance(packet.data, Halt))
    assert halt.at <= 3000 * MS
    assert log.of(Hush)[0].turn == 1
    assert len(log.of(TurnCommitted)) == 1
    assert log.of(TurnDropped)[0].reason == "stop"


@pytest.mark.parametrize("guess", ["four"])
def test_speech_that_nobody_understood_is_given_to_the_policy_once(guess: str) -> None:
    log = converse(spoken(1, 1000, 2500, "", guess=guess, p_end=0.8))
    (commit,) = log.of(TurnCommitted)
    assert commit.text == ""
    assert commit.guess == guess


def test_a_final_that_never_comes_is_not_waited_for_forever() -> None:
    scene = [item for item in spoken(1, 1000, 2000, "turn left") if getattr(item[2], "final", None) is not True]
    log = converse(scene)
    (commit,) = log.of(TurnCommitted)
    assert (commit.text, commit.reason) == ("turn left", "no_final")


class Broken(Echo):
    """A policy whose model server is down."""

    async def reply(self, turn: TurnCommitted) -> Any:
        yield Say("one moment")
        raise PolicyError("the model server is down")


def test_a_policy_that_fails_as_expected_is_told_and_the_session_goes_on() -> None:
    log = converse([*spoken(1, 1000, 2000, "hello"), *spoken(2, 5000, 6000, "thank you")], policy=Broken())
    assert [fault.message for fault in log.of(Fault)] == ["the model server is down"] * 2
    assert [say.turn for say in log.of(Say)] == [1, 2]


def test_without_a_body_every_action_is_refused_and_the_session_ends() -> None:
    log = Log()
    conductor = Conductor(TurnTaker(), Echo(), Reflex(()))
    Session(sources=[Percepts(spoken(1, 500, 900, "hello"))], encoders=[], conductor=conductor, taps=[log]).run(
        speed=None
    )
    assert [outcome.status for outcome in log.of(Outcome)] == ["refused"]


class Drives:
    """A policy that drives a long way and talks of it; a second motion follows when `more` is set."""

    wants_floor = False

    def __init__(self) -> None:
        self.more = asyncio.Event()

    def observe(self, packet: Any) -> None:
        self.wants_floor = isinstance(packet.data, Outcome)  # it would say how far it came

    async def reply(self, turn: TurnCommitted) -> Any:
        yield Command("move", {"distance_m": 5.0})
        await self.more.wait()
        yield Command("move", {"distance_m": 1.0})


async def _ended(policy: Any, body: BodyPort | None, *, grace_s: float | None, after_s: float = 2.0) -> Session:
    """A session of one turn, stopped after `after_s`."""
    clock, log = Clock(), Log()
    conductor = Conductor(TurnTaker(), policy, Reflex(()))
    percepts = Percepts(spoken(1, 100, 500, "go"), tail_ms=60_000)
    body = body or Body((SimulatedBase(clock),))
    session = Session(sources=[percepts], encoders=[], conductor=conductor, body=body, taps=[log])
    session.log = log  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as group:
        group.create_task(session.main())
        await clock.sleep_until(round(after_s * 1000) * MS)
        session.stop(grace_s)
        session.stop(grace_s)
        if isinstance(policy, Drives):
            await clock.sleep_until(round(after_s * 1000 + 200) * MS)
            policy.more.set()
    return session


def test_who_ends_a_session_halts_what_moves_and_nothing_begins_any_more() -> None:
    async def main() -> Session:
        return await _ended(Drives(), None, grace_s=2.0)

    session = run(main(), virtual=True)
    log: Log = session.log  # type: ignore[attr-defined]
    [halt] = [packet for packet in log.packets if isinstance(packet.data, Halt)]
    assert (halt.data.reason, halt.t, halt.at) == ("the session is being ended", 2000 * MS, 2000 * MS)
    first, second = (packet for packet in log.packets if isinstance(packet.data, Outcome))
    assert (first.data.status, first.at) == ("cut", 2000 * MS)
    assert (second.data.status, second.data.detail) == ("fenced", "the session is being ended")
    assert not [turn for turn in log.of(TurnCommitted) if turn.reason == "unasked"], "nobody is there to be told"
    assert session.ended_ns < 4000 * MS, "nothing else was waited for"
    assert not session.faults, "that somebody ended it is no fault of its own"


def test_a_session_whose_input_is_over_lets_a_motion_come_to_its_end() -> None:
    async def main() -> Session:
        return await _ended(Drives(), None, grace_s=None)

    log: Log = run(main(), virtual=True).log  # type: ignore[attr-defined]
    assert not log.of(Halt)
    assert [outcome.status for outcome in log.of(Outcome)] == ["done", "done"]


def test_where_nothing_moves_what_is_said_goes_on_and_nothing_is_halted() -> None:
    async def main() -> Session:
        return await _ended(Echo(), Mouth(), grace_s=2.0, after_s=1.3)

    log: Log = run(main(), virtual=True).log  # type: ignore[attr-defined]
    assert not log.of(Halt)
    assert [outcome.status for outcome in log.of(Outcome)] == ["done"]


@pytest.mark.parametrize("turns_of_the_loop", [0, 1, 2, 3, 5, 50])
def test_a_session_stopped_at_any_time_ends_in_order(turns_of_the_loop: int) -> None:
    log = Log()
    conductor = Conductor(TurnTaker(), Echo(), Reflex(()))
    session = Session(sources=[Percepts([], tail_ms=60_000)], encoders=[], conductor=conductor, taps=[log])

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.main())
            for _ in range(turns_of_the_loop):
                await asyncio.sleep(0)
            session.stop()
            await running

    run(main(), virtual=True)
    assert session.ended_ns == 0, "nothing was waited for"
    assert len(log.of(SensesEnded)) == 1

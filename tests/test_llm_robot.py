"""A language model and a robot: what it is told of it, what it may do with it, and what it needs a yes for."""

from typing import Any

import msgspec

from agent import assembly, config
from agent.session import Log
from policies.models.scripted import ScriptedModel, Tokens
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Ask, BodyState, Command, Declined, Outcome, Say
from tests.minds import BASE as MIND
from tests.minds import NOON, typed
from tests.robot_room import BASE, Room
from tests.scenes import Percepts


def hold(scene: Any, script: Any, room: Room | None = None, tail_ms: float = 8000) -> tuple[Log, Room]:
    """A session of `scene` with a scripted model and the robots of `room`."""
    room = room or Room()
    loaded = config.load(None, [*MIND, *BASE[4:]])

    def model(publisher: Any, clock: Any, pictures: Any) -> ScriptedModel:
        return ScriptedModel(script, publisher, clock)

    log = Log(PERCEPT, TURN, ACTION, FEEDBACK)
    body = assembly.AgentBody(loaded, installed=False, model=model, moving=room.moving)
    session = assembly.assemble(
        loaded, [Percepts(scene, tail_ms)], taps=[log], senses=False, body=body, started=NOON
    )  # fmt: skip
    session.run(speed=None)
    return log, room


def asked(log: Log, place: int = -1) -> str:
    """The text of a question to the model."""
    return msgspec.json.encode([each for each in log.of(Ask) if each.purpose == "reply"][place].request).decode()


def test_it_is_told_how_the_robot_stands_and_what_it_can_do() -> None:
    log, _ = hold([typed(2000, "what is the robot doing")], [Tokens("It stands.")])
    request = asked(log)
    assert "Robot r1 stands at x 0.0 m, y 0.0 m, facing 0 degrees." in request
    assert "nav_goto" in request and "Drive to a place on the map." in request
    assert len(log.of(BodyState)) < 60


def test_a_motion_that_was_plainly_asked_for_is_done() -> None:
    script = [Tokens("Going.", calls=(("move", {"distance_m": 1.0}),)), Tokens("Done.")]
    log, room = hold([typed(2000, "go forward one meter")], script)
    (end,) = [each for each in log.of(Outcome) if each.action == "Command"]
    assert end.status == "done" and abs(room.robot.pose[0] - 1.0) < 0.05


def test_what_it_thought_of_itself_waits_for_a_yes_and_the_robot_wants_to_see_it() -> None:
    script = [Tokens("", calls=(("nav_goto", {"x": 0.6, "y": 0.3}),)), Tokens("There.")]
    log, room = hold([typed(2000, "could you have a look over there"), typed(9000, "yes")], script, tail_ms=10_000)
    (command,) = log.of(Command)
    assert command.confirmed and command.name == "nav.goto"
    assert [each.status for each in log.of(Outcome) if each.action == "Command"] == ["done"]
    assert abs(room.robot.pose[0] - 0.6) < 0.05


def test_without_the_yes_nothing_moves() -> None:
    script = [Tokens("", calls=(("move", {"distance_m": 1.0}),)), Tokens("All right.")]
    log, room = hold([typed(2000, "tell me a story about a robot that drives away")], script)
    assert not log.of(Command) and room.robot.pose == (0.0, 0.0, 0.0)
    assert any("Shall I" in say.text or "?" in say.text for say in log.of(Say))


def test_what_the_robot_refuses_goes_back_to_it_in_words() -> None:
    script = [
        Tokens("", calls=(("move", {"distance_m": 9.0}),)),
        Tokens("I cannot go that far."),
    ]
    log, room = hold([typed(2000, "go forward nine meters")], script)
    (end,) = [each for each in log.of(Outcome) if each.action == "Command"]
    assert end.status == "refused" and "fence" in end.detail
    assert "fence" in asked(log) and room.robot.pose == (0.0, 0.0, 0.0)


def test_a_plan_that_runs_away_ends_at_its_budget() -> None:
    again = Tokens("", calls=(("turn", {"angle_rad": 0.3}),))
    log, room = hold([typed(2000, "turn left")], [again] * 12 + [Tokens("Enough.")], tail_ms=30_000)
    done = [each for each in log.of(Outcome) if each.action == "Command" and each.status == "done"]
    assert len(done) <= 5
    assert log.of(Declined) or len(log.of(Command)) <= 6
    assert abs(room.robot.pose[2]) <= 1.6


def test_an_argument_of_another_kind_is_refused_and_nobody_is_asked_about_it() -> None:
    script = [Tokens("", calls=(("turn", {"angle_rad": "NaN"}),)), Tokens("Sorry.")]
    log, room = hold([typed(2000, "turn a bit")], script)
    assert not log.of(Command) and not any("NaN" in say.text for say in log.of(Say))
    assert "another kind" in log.of(Declined)[0].reason and room.robot.pose[2] == 0.0

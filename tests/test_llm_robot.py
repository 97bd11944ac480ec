"""A language model and a robot: what it is told of it, what it may do with it, and what it needs a yes for."""

from typing import Any

import msgspec

from agent import assembly, config
from agent.session import Log
from policies.llm.offers import tools_of
from policies.models.scripted import ScriptedModel, Tokens
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Ask, BodyState, Command, Declined, Halt, Manner, Offer, Offered, Outcome, Say
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


def stopped(log: Log) -> float:
    """When it was halted, s."""
    return next(p.t for p in log.packets if isinstance(p.data, Halt)) / 1e9


def test_it_stops_what_moves_as_a_spoken_stop_does_and_nobody_is_asked() -> None:
    script = [
        Tokens("Going.", calls=(("move", {"distance_m": 2.0}),)), Tokens("On my way."),
        Tokens("", calls=(("stop", {}),)), Tokens("I stand."),
    ]  # fmt: skip
    scene = [typed(2000, "go forward two meters"), typed(4000, "there is a cat before you")]
    log, room = hold(scene, script)
    (halt,) = log.of(Halt)
    assert halt.reason == "the model" and not log.of(Declined)
    (end,) = [each for each in log.of(Outcome) if each.action == "Command"]
    assert end.status == "cut" and 0.2 < room.robot.pose[0] < 1.9
    rest = next(p.at / 1e9 for p in log.packets if isinstance(p.data, Outcome) and p.data.id == end.id)
    assert rest - stopped(log) < 0.1
    asks = [each for each in room.broker.log if each[1].topic.endswith("/command/stop")]
    assert asks and log.of(Say)[-1].text == "I stand."
    assert '"name":"stop"' in asked(log, 0) and "stop" in asked(log)


def test_it_stops_also_unasked_for_and_in_its_last_round() -> None:
    again = Tokens("", calls=(("stop", {}),))
    log, _ = hold([typed(2000, "turn left")], [again] * 12 + [Tokens("Enough.")], tail_ms=30_000)
    assert len(log.of(Halt)) >= 3 and not log.of(Declined)


def test_a_stop_counts_though_its_answer_breaks_off() -> None:
    script = [
        Tokens("Going.", calls=(("move", {"distance_m": 2.0}),)), Tokens("On my way."),
        Tokens("", calls=(("stop", {}),), fails="ConnectionReset"),
    ]  # fmt: skip
    log, room = hold([typed(2000, "go forward two meters"), typed(4000, "there is a cat before you")], script)
    assert [each.reason for each in log.of(Halt)] == ["the model"] and room.robot.pose[0] < 1.9
    (end,) = [each for each in log.of(Outcome) if each.action == "Command"]
    assert end.status == "cut"


def test_without_anything_that_moves_there_is_nothing_to_stop() -> None:
    offered = [Offered("toolbox", (Offer("stop", "A tool of the user's.", {}),))]
    (tool,) = tools_of(offered, Manner(), look=False).tools
    assert tool.name.startswith("stop_")
    offered.append(Offered("r1", (Offer("move", "Drive.", {}, "command"),)))
    assert tools_of(offered, Manner(), look=False).tools[0].name == "stop"
    assert "stop" not in [each.name for each in tools_of(offered, Manner(forbidden_tools=("stop",)), look=False).tools]

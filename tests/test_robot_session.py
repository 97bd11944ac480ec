"""A whole session with a robot in virtual time: said, moved, interrupted, stopped, lost, found, recorded, replayed."""

import math
from pathlib import Path
from typing import Any

import pytest

from agent import assembly, config
from agent.cli import main
from agent.replay import Replay
from agent.replaying import as_replay, perform
from embodied.remote.settings import RobotConfig
from embodied.robot.settings import GuardSettings
from streams.recording import Recorder, Recording
from streams.types import (
    Attached,
    BodyState,
    Command,
    Fault,
    Halt,
    Offered,
    Outcome,
    Progress,
    Recovered,
    Steered,
    StopPressed,
    Withdraw,
)
from tests.minds import NOON
from tests.robot_room import BASE, Held, Room, hold, typed
from tests.scenes import Percepts, spoken

HANDS = GuardSettings(ranks={"agent1": "teleop"})


def far(held: Held) -> float:
    """How far the robot really is from where it began, m."""
    return math.hypot(*held.room.robot.pose[:2])


def test_it_goes_where_it_is_told_and_says_how_far_it_went() -> None:
    held = hold([typed(1500, "go forward one meter")])
    (end,) = held.ends()
    assert (end.status, end.name) == ("done", "move")
    assert abs(end.result["distance_m"] - 1.0) < 0.03
    assert abs(far(held) - 1.0) < 0.03
    assert held.said() == ["Going forward one metre."]
    states = [each.state for each in held.of(Progress)]
    assert states[0] == "sent" and "accepted" in states and "running" in states


def test_the_robot_is_told_of_before_anything_is_asked() -> None:
    held = hold([typed(1500, "turn left")])
    (attached,) = held.of(Attached)
    assert (attached.where, attached.speeds) == ("r1", (0.5, 1.5))
    offered = {offer.name: offer for each in held.of(Offered) if each.where == "r1" for offer in each.offers}
    assert {"move", "turn", "come_back", "nav.goto", "lamp"} <= set(offered)
    assert offered["nav.goto"].consent and not offered["move"].consent
    assert any(each.pose is not None for each in held.of(BodyState))


def test_the_other_way_turns_the_speed_round_without_a_stop_in_between() -> None:
    held = hold([typed(1500, "turn left"), typed(2400, "no the other way")])
    assert len(held.of(Withdraw)) == 1
    ends = {end.id: end.status for end in held.ends()}
    assert list(ends.values()) == ["cut", "done"]
    assert held.room.robot.pose[2] < -0.5  # to the left at first, and then a right angle to the right


def test_a_stop_stops_it_and_it_can_be_used_again() -> None:
    held = hold([typed(1500, "go forward two meters"), typed(3500, "stop"), typed(5000, "come back")], tail_ms=9000)
    assert [end.status for end in held.ends()] == ["cut", "done"]
    assert len(held.of(Halt)) == 1
    assert far(held) < 0.05
    assert not held.of(Fault)


def test_a_spoken_stop_reaches_the_robot_in_the_instant_in_which_the_word_is_known() -> None:
    scene = [typed(1500, "go forward two meters"), *spoken(1, 4000, 4400, "stop")]
    held = hold(scene)
    at = next(packet.at for packet in held.log.packets if isinstance(packet.data, Halt))
    asked = [each for each in held.room.broker.log if each[1].topic.endswith("/command/stop")]
    assert asked
    rests = [p for p in held.log.packets if isinstance(p.data, BodyState) and p.at > at and p.data.speed == (0.0, 0.0)]
    assert (rests[0].at - at) / 1e9 < 0.6


def test_pressed_for_good_it_stays_stopped() -> None:
    pressed = (3000, 3000, StopPressed("console", latch=True))
    held = hold([typed(1500, "go forward two meters"), pressed, typed(5000, "come back")], tail_ms=5000)
    assert [end.status for end in held.ends()] == ["cut", "refused"]
    assert held.of(BodyState)[-1].estop == "latched"
    assert far(held) > 0.3
    assert any("stopped" in text for text in held.said())


def test_steered_by_hand_it_goes_and_stops_when_they_let_go() -> None:
    steering = [(2000 + 100 * n, 2000 + 100 * n, Steered(0.3, 0.0, 0.0, "console")) for n in range(15)]
    held = hold([*steering, (3500, 3500, Steered(by="console"))], Room(settings=HANDS), tail_ms=3000)
    assert 0.25 < far(held) < 0.5
    assert any(state.rank == "teleop" for state in held.of(BodyState))
    assert held.of(BodyState)[-1].speed == (0.0, 0.0)


def test_who_steered_leaves_the_robot_to_others_some_seconds_later() -> None:
    holders: list[str | None] = []

    def look(room: Room) -> None:
        holders.append(room.nodes["r1"].told["lease"].holder)

    steering = [(4500 + 100 * n, 4500 + 100 * n, Steered(0.0, 0.0, 0.5, "console")) for n in range(10)]
    room = Room(settings=HANDS, happening=[(5000, look), (12_000, look)])
    hold([typed(1500, "turn left"), *steering], room, tail_ms=9000)
    assert holders == ["agent1", None]


def test_who_may_not_steer_is_told_why() -> None:
    steering = [(2000 + 100 * n, 2000 + 100 * n, Steered(0.3, 0.0, 0.0, "console")) for n in range(10)]
    held = hold(steering, tail_ms=3000)
    (fault,) = held.of(Fault)
    assert fault.error == "SteerRefused" and "teleop" in fault.message
    assert far(held) == 0


def test_who_steers_goes_before_what_was_asked() -> None:
    steering = [(2500 + 100 * n, 2500 + 100 * n, Steered(0.0, 0.0, 0.5, "console")) for n in range(10)]
    held = hold([typed(1500, "go forward two meters"), *steering], Room(settings=HANDS), tail_ms=3000)
    (end,) = held.ends()
    assert end.status in ("cut", "failed")
    assert far(held) < 1.0


def test_an_agent_that_is_cut_off_stops_moving_it_and_says_so() -> None:
    room = Room(
        happening=[(3000, lambda room: room.broker.hold("agent1")), (9000, lambda r: r.broker.release("agent1"))]
    )
    held = hold([typed(1500, "go forward two meters")], room, tail_ms=12_000)
    (end,) = held.ends()
    assert end.status in ("failed", "cut", "timeout")
    assert 0.2 < far(held) < 2.2


def test_a_robot_that_is_gone_is_told_and_so_is_its_return() -> None:
    def freeze(room: Room) -> None:
        room.broker.hold("robot-r1")

    def wake(room: Room) -> None:
        room.broker.release("robot-r1")

    room = Room(happening=[(4000, freeze), (8000, wake)])
    held = hold([typed(1500, "turn left")], room, tail_ms=10_000)
    assert [fault.error for fault in held.of(Fault) if fault.where == "r1"] == ["RobotSilent"]
    assert [each.where for each in held.of(Recovered)] == ["r1"]
    assert "I have lost the robot." in held.said() and "The robot is back." in held.said()


def test_risky_motions_wait_for_a_yes_and_the_robot_sees_it() -> None:
    sentence = (
        'policy.texts=[["own", """[intents.kitchen]\\nsentences=["go to the kitchen"]\\n'
        'command={ name = "nav.goto", arguments = { x = 0.8, y = 0.4 } }\\nconfirm = "Shall I go to the kitchen?"\\n'
        '[intents.yes]\\ndoes = "yes"\\nsentences = ["yes"]"""]]'
    )
    held = hold([typed(1500, "go to the kitchen"), typed(5000, "yes")], None, sentence, tail_ms=8000)
    (command,) = held.commands()
    assert command.confirmed
    assert [end.status for end in held.ends()] == ["done"]
    assert math.dist(held.room.robot.pose[:2], (0.8, 0.4)) < 0.05


def test_two_robots_are_asked_by_their_names() -> None:
    sentence = (
        'policy.texts=[["own", """[intents.other]\\nsentences=["the other one go"]\\n'
        'command={ name = "r2.move", arguments = { distance_m = 0.5 } }"""]]'
    )
    held = hold([typed(1500, "the other one go")], Room(robots=("r1", "r2")), sentence, tail_ms=5000)
    assert [end.status for end in held.ends()] == ["done"]
    assert math.hypot(*held.room.drivers["r2"].pose[:2]) > 0.4
    assert far(held) < 1e-6


# --- recorded and replayed


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "robot.mcap"
    scene: list[Any] = [
        typed(1500, "go forward one meter"), *spoken(1, 6000, 6900, "turn left"), typed(7600, "no the other way"),
        typed(11_000, "go forward two meters"), *spoken(2, 13_000, 13_400, "stop"), typed(16_000, "come back"),
    ]  # fmt: skip
    hold(scene, taps=[Recorder(path, assembly.header(config.load(None, BASE), NOON))], tail_ms=9000)
    return path


def replayed(path: Path) -> Replay:
    recorded = Recording.open(path)
    performance = Replay(recorded, mode="percepts")
    perform(performance, config.reload(recorded.header.config, []), recorded)
    return performance


def test_twenty_times_the_same_without_any_robot(recording: Path) -> None:
    performances = [replayed(recording) for _ in range(20)]
    assert all(each.identical for each in performances)
    assert len({each.digest for each in performances}) == 1
    assert sum(isinstance(packet.data, Command) for packet in performances[0].replayed) == 5


def test_the_command_line_replays_it_and_moves_nothing(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--check"]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_what_if_believes_the_recorded_robot(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--set", "policy.move_m=2"]) == 0
    assert main(["replay", str(recording), "--from", "percepts", "--set", "voice.tones_ms=1"]) == 2
    assert main(["replay", str(recording), "--from", "percepts", "--set", "policy.turn_deg=45"]) == 0
    told = capsys.readouterr().out
    assert "0.785398" in told


def test_real_motion_has_to_be_asked_for_twice(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(recording), "--from", "percepts", "--live-body"]) == 2
    told = capsys.readouterr().err
    assert "r1" in told and "twice" in told
    assert main(["replay", str(recording), "--live-body", "--live-body", "--check"]) == 2


def test_real_motion_needs_the_robot_before_anything_begins(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiomqtt")
    settings = ("--set", "robot.url=mqtt://127.0.0.1:1", "--set", "robot.find_s=0.5")
    assert main(["replay", str(recording), "--from", "percepts", "--live-body", "--live-body", *settings]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and "127.0.0.1:1" in told.err
    assert "fault" not in told.out and "replayed" not in told.out


def test_a_replay_that_moves_robots_has_an_id_of_its_own() -> None:
    settings = config.load(None, [*BASE, "robot.agent=agent7"])
    assert as_replay(settings).robot.agent == "agent7-replay"
    assert as_replay(settings, {"robot.agent"}).robot.agent == "agent7"
    assert len(as_replay(config.load(None, [*BASE, f"robot.agent={'x' * 64}"])).robot.agent) == 64


def test_without_robots_there_is_no_body_to_ask_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.mcap"
    loaded = config.load(
        None, ["voice.engine=tones", "speech.engine=none", "turn_end.engine=none", "vad.engine=webrtc"]
    )

    session = assembly.assemble(
        loaded, [Percepts([typed(500, "hello")])], senses=False, started=NOON,
        taps=[Recorder(path, assembly.header(loaded, NOON))],
    )  # fmt: skip
    session.run(speed=None)
    assert main(["replay", str(path), "--live-body", "--live-body"]) == 2
    assert "robots" in capsys.readouterr().err


def test_motions_of_one_turn_are_done_one_after_the_other() -> None:
    held = hold([*spoken(1, 1500, 2500, "go forward one meter"), *spoken(2, 2700, 3300, "turn left")], tail_ms=9000)
    first, second = held.ends()
    assert [(first.name, first.status), (second.name, second.status)] == [("move", "done"), ("turn", "done")]
    x, y, heading = held.room.robot.pose
    assert abs(x - 1.0) < 0.03 and abs(y) < 0.03 and abs(heading - math.pi / 2) < 0.05


def test_what_was_to_come_after_a_motion_that_was_stopped_does_not_come() -> None:
    scene = [*spoken(1, 1500, 2500, "go forward one meter"), *spoken(2, 2700, 3300, "turn left"), typed(5500, "stop")]
    held = hold(scene, tail_ms=5000)
    assert [end.status for end in held.ends()] == ["cut", "fenced"]
    assert abs(held.room.robot.pose[2]) < 0.01


def test_a_session_that_ends_leaves_a_robot_alone_that_somebody_else_moves() -> None:
    held = hold([typed(1500, "hello")], tail_ms=3000)
    assert not [each for each in held.room.broker.log if each[1].topic.endswith("/command/stop")]
    held = hold([typed(1500, "go forward one meter")], tail_ms=500)
    assert [each for each in held.room.broker.log if each[1].topic.endswith("/command/stop")]


def test_every_command_has_one_end() -> None:
    held = hold(
        [typed(1500, "go forward one meter"), typed(1600, "turn left"), typed(1700, "come back")], tail_ms=15_000
    )
    ids = [end.id for end in held.of(Outcome)]
    assert len(ids) == len(set(ids))
    assert {each.id for each in held.commands()} <= set(ids)


def test_an_unconfirmed_stop_is_said_also_where_nothing_is_to_be_said_unasked() -> None:
    def frozen(room: Room) -> None:
        room.nodes["r1"].link._receive = lambda message: None  # type: ignore[method-assign]
        room.broker.hold("robot-r1")

    room = Room(happening=[(2500, frozen)])
    held = hold(
        [typed(1500, "go forward one meter"), (3000, 3000, StopPressed("console"))], room, "manner.proactivity=none"
    )
    assert next(each.error for each in held.of(Fault) if each.error.startswith("Stop")) == "StopUnconfirmed"
    assert held.said()[-1].startswith("Careful: the robot has not confirmed the stop.")


# --- what it can do


def test_asked_what_it_can_do_it_tells_of_the_robot_in_the_words_that_come_with_visavis() -> None:
    (told,) = hold([typed(1500, "what can you do")], tail_ms=15_000).said()
    assert "tell me to move" in told
    assert told.endswith(
        "The robot can also do this: drive to a place on the map, say something through the robot's own speaker, and "
        "switch the robot's lamp on or off."
    )


def test_of_an_arm_it_does_not_say_that_it_drives(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('gripper = "Hold your cup, or let go of it."\n', encoding="utf-8")
    agent = RobotConfig(url="mqtt://nowhere", ids=("r1",), find_s=1, words=str(tmp_path / "words.toml"))
    room = Room(profile="arm", settings=GuardSettings(odometry_needed=False), agent=agent)
    (told,) = hold([typed(1500, "what can you do")], room, 'manner.forbidden_tools=["arm.home"]', tail_ms=15_000).said()
    assert told.endswith(
        "change my volume. The robot can do this: move the joints of the arm to positions, and hold your cup."
    )
    assert "drive" not in told and "move." not in told

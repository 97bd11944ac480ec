"""A chunk policy as a skill of a robot: begun by a command, executed behind the guards, ended by time or a person."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from agent import assembly, config
from agent.replay import Replay
from agent.replaying import perform
from embodied.remote.settings import RobotConfig
from embodied.robot.codec import decode
from embodied.robot.messages import Command as Wire
from embodied.robot.reports import LeaseState
from embodied.robot.settings import GuardSettings
from policies.chunks.policy import Observation
from policies.chunks.scaling import Floats
from streams.recording import Recorder, Recording
from streams.types import Controlled, Fault, Offered, Outcome, StopPressed
from tests.chunk_scenes import Script
from tests.minds import NOON
from tests.robot_room import BASE, Held, Room, hold, typed

JOINTS = ("j1.pos", "j2.pos", "j3.pos", "j4.pos", "j5.pos", "gripper.pos")
SENTENCE = (
    'policy.texts=[["own", """[intents.wave]\\nsentences=["wave"]\\n'
    'command={ name = "wave", arguments = { seconds = 2 } }"""]]'
)
OTHERS = (
    'policy.texts=[["own", """[intents.wave]\\nsentences=["wave"]\\n'
    'command={ name = "wave", arguments = { seconds = 2 } }\\n'
    '[intents.point]\\nsentences=["point"]\\ncommand={ name = "arm.move_j", arguments = { j1 = -0.5 } }"""]]'
)
BUILT_IN = (
    'policy.texts=[["own", """[lists]\ndirection.values = { "forward" = 1 }\n[intents.wave]\nsentences=["wave"]\n'
    'command={ name = "wave", arguments = { seconds = 2 } }\n'
    '[intents.go]\nsentences=["go forward one meter"]\ncommand={ name = "move", arguments = { distance_m = 1.0 } }"""]]'
)
GUARDS = GuardSettings(odometry_needed=False)


def toward(goal: float, speed: float = 0.5) -> Any:
    """Joint j1 goes to `goal` (rad) at `speed` (rad/s); the others stay."""

    def answer(observation: Observation) -> Floats:
        state = np.asarray(observation.values["observation.state"], np.float32)
        rows = np.repeat(state[None, :], 20, axis=0)
        way = np.sign(goal - state[0]) * np.minimum(speed * 0.02 * np.arange(20), abs(goal - state[0]))
        rows[:, 0] = state[0] + way
        return rows.astype(np.float32)

    return answer


def wave(answer: Any = None, **changed: Any) -> Script:
    return Script(answer or toward(0.6), names=JOINTS, name="wave", task="wave an arm", **changed)


def held(
    scene: Any, policy: Any = None, *taps: Any, tail_ms: float = 5000, sentences: str = SENTENCE,
    happening: Sequence[Any] = (),
) -> Held:  # fmt: skip
    room = Room(profile="arm", skills=[policy or wave()], settings=GUARDS, happening=happening)
    return hold(scene, room, sentences, tail_ms=tail_ms, taps=taps)


def cancels(session: Held) -> list[str]:
    """What the robot was told to cancel of all that moves a resource."""
    sent = [decode(each.payload, Wire) for _, each in session.room.broker.log if each.topic.endswith("/command/cancel")]
    return [str(each.args["resource"]) for each in sent if each.args["target"] == "*"]


def test_it_is_offered_done_and_every_step_is_told() -> None:
    session = held([typed(1500, "wave")])
    assert "wave" in [offer.name for each in session.of(Offered) for offer in each.offers]
    (end,) = session.ends()
    assert (end.name, end.status) == ("wave", "done")
    assert abs(session.room.robot.joints["j1"] - 0.6) < 0.05
    steps = session.of(Controlled)
    assert 85 <= len(steps) <= 105
    assert {each.task for each in steps} == {"wave an arm"}
    assert set(steps[0].action) == set(JOINTS) == set(steps[0].state)
    assert session.t(Outcome, name="wave") - session.t(Controlled) < 2.1


def test_a_stop_ends_it_and_the_arm_holds() -> None:
    session = held([typed(1500, "wave"), typed(2300, "stop")], wave(toward(1.5)))
    (end,) = session.ends()
    assert end.status == "cut"
    assert 0.05 < session.room.robot.joints["j1"] < 0.7
    after = [each for each in session.log.packets if isinstance(each.data, Controlled) and each.t > 2.35e9]
    assert not after
    assert set(cancels(session)) <= {"arm", "gripper"}


def test_when_its_time_is_over_the_rest_of_its_chunk_is_left_out() -> None:
    assert cancels(held([typed(1500, "wave")], wave(toward(1.5)))) == ["arm", "gripper"]


def test_a_stop_that_stays_refuses_the_next() -> None:
    pressed = (2300, 2300, StopPressed("console", latch=True))
    session = held([typed(1500, "wave"), pressed, typed(4000, "wave")], tail_ms=4000)
    assert [end.status for end in session.ends()] == ["cut", "refused"]


def test_a_newer_motion_ends_it_and_is_not_ended_by_it() -> None:
    session = held([typed(1500, "wave"), typed(2300, "point")], wave(toward(1.5)), sentences=OTHERS)
    assert {end.name: end.status for end in session.ends()} == {"wave": "cut", "arm.move_j": "done"}
    assert "a newer motion" in next(end.detail for end in session.ends() if end.name == "wave")
    assert abs(session.room.robot.joints["j1"] + 0.5) < 0.05
    assert cancels(session) == []  # the goal has ended the chunk at the robot; "*" would have ended the goal
    assert session.room.clients["r1"].lease.wanted == "model"  # again, when nothing is under way


def test_it_ends_an_older_motion() -> None:
    session = held([typed(1500, "point"), typed(1600, "wave")], sentences=OTHERS)
    assert {end.name: end.status for end in session.ends()} == {"wave": "done", "arm.move_j": "cut"}
    assert abs(session.room.robot.joints["j1"] - 0.6) < 0.05


def test_an_arm_waves_while_the_base_drives(tmp_path: Path) -> None:
    def profile(name: str) -> Any:
        return yaml.safe_load((files("embodied.node") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8"))

    body, arm = profile("diff-drive"), profile("arm")
    body["limits"]["joints"] = arm["limits"]["joints"]
    for key in ("resources", "capabilities"):
        body[key] += arm[key]
    body["observation_features"] = arm["observation_features"]
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    for scene in ([typed(1500, "go forward one meter"), typed(3500, "wave")],
                  [typed(1500, "wave"), typed(2500, "go forward one meter")]):  # fmt: skip
        room = Room(
            profile=str(tmp_path / "both.yaml"), skills=[wave()], settings=GuardSettings(ranks={"agent1": "policy"}),
            agent=RobotConfig(url="mqtt://nowhere", ids=("r1",), find_s=1, rank="policy"),
        )  # fmt: skip
        session = hold(scene, room, BUILT_IN, tail_ms=6000)
        assert {end.name: end.status for end in session.ends()} == {"wave": "done", "move": "done"}
        ends = [packet.t for packet in session.log.packets if packet.data in session.ends()]
        begun = [packet.t for packet in session.log.packets if packet.data in session.commands()]
        assert begun[1] < min(ends)  # both were under way at once
        assert abs(room.robot.joints["j1"] - 0.6) < 0.05 and abs(room.robot.pose[0] - 1.0) < 0.05


def test_it_cancels_nothing_where_somebody_else_moves_the_robot() -> None:
    def taken(room: Room) -> None:
        lease = room.clients["r1"].lease
        lease.told(LeaseState(holder="op", rank="operator"))

    session = held([typed(1500, "wave")], wave(toward(1.5)), happening=[(2300, taken)])
    (end,) = session.ends()
    assert end.status == "failed" and "op moves it" in end.detail
    assert cancels(session) == []


def test_a_policy_for_another_robot_is_refused_in_words() -> None:
    session = held([typed(1500, "wave")], Script(toward(0.6), names=("j1.pos", "j9.pos"), name="wave"))
    (end,) = session.ends()
    assert end.status == "refused" and "j9.pos" in end.detail
    assert [fault.error for fault in session.of(Fault)] == ["DoesNotFit"]


def test_one_that_gives_nonsense_moves_nothing() -> None:
    def nonsense(observation: Observation) -> Floats:
        return np.full((20, 6), np.nan, np.float32)

    session = held([typed(1500, "wave")], wave(nonsense))
    assert session.room.robot.joints["j1"] == 0.0
    assert any(fault.error == "ChunkRefused" for fault in session.of(Fault))


def test_arguments_that_it_does_not_take_are_refused() -> None:
    sentence = SENTENCE.replace("seconds = 2", "second = 2")
    session = hold([typed(1500, "wave")], Room(profile="arm", skills=[wave()], settings=GUARDS), sentence)
    (end,) = session.ends()
    assert end.status == "refused" and "seconds" in end.detail


def test_a_recording_of_it_replays_without_policy_and_robot(tmp_path: Path) -> None:
    path = tmp_path / "wave.mcap"
    header = assembly.header(config.load(None, [*BASE, SENTENCE]), NOON)
    held([typed(1500, "wave"), typed(6000, "wave")], None, Recorder(path, header))
    recording = Recording.open(path)
    performance = Replay(recording, mode="percepts")
    perform(performance, config.reload(recording.header.config, []), recording)
    assert performance.identical

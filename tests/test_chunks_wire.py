"""Chunks on their way to a robot: rows for the right instant without a common clock, and for the right robot only."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.robot.codec import encode
from embodied.robot.freshness import Beats as RobotBeats
from embodied.robot.messages import Chunk, Fresh, Setpoint
from embodied.robot.setpoints import track
from policies.chunks.beats import Beats
from policies.chunks.description import Acted, Observed
from policies.chunks.errors import DoesNotFit
from policies.chunks.fitting import Drivable, fit
from policies.chunks.told import ActionChunk
from streams.clock import MS, SECOND
from tests.chunk_scenes import DT, spec

AHEAD = 7_777 * SECOND + 123_456  # the robot's clock is something else altogether


def planned(at: int, rows: int = 40, id: str = "k2") -> ActionChunk:
    """Each row is the session time for which it is, in seconds."""
    times = ((at + np.arange(rows) * DT) / SECOND).astype(np.float64)
    return ActionChunk(id, at, at // DT, DT, ("j1.pos",), times[:, None], "k1", "reach")  # type: ignore[arg-type]


def heard(delays: list[int]) -> tuple[Beats, RobotBeats]:
    """Ten beats a second, each of which takes so long (ns) to the agent."""
    agent, robot = Beats(), RobotBeats("boot")
    for n, delay in enumerate(delays):
        now = n * 100 * MS  # of the agent's clock
        beat = robot.beat(AHEAD + now)
        assert beat == n
        agent.heard("boot", beat, (AHEAD + now) // MS, now + delay)
    return agent, robot


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.integers(2 * MS, 60 * MS), min_size=10, max_size=40),
    offset=st.integers(0, 30 * MS),
    up=st.integers(1 * MS, 50 * MS),
    look=st.integers(0, 300 * MS),
)
def test_the_robot_does_each_row_when_it_was_meant(delays: list[int], offset: int, up: int, look: int) -> None:
    """That is: when what the agent sees of the robot is of that instant, too."""
    agent, robot = heard(delays)
    now = (len(delays) - 1) * 100 * MS + delays[-1]
    args = agent.wire(planned(now - offset))
    assert args is not None
    chunk = msgspec.convert(msgspec.json.decode(msgspec.json.encode(args)), Chunk)
    sent = robot.sent(chunk.t0_beat)
    assert sent is not None
    arrives = AHEAD + now + up
    rows, _ = track(chunk, sent, arrives)
    assert rows is not None
    at = arrives + look
    wanted = (at - AHEAD + min(delays)) / SECOND  # the quickest way is what beats and telemetry take
    if rows.start <= at <= rows.end:
        assert rows.at(at)["j1.pos"] == pytest.approx(wanted, abs=0.0012)  # whole ms of the heartbeat


def test_a_whole_message_fits_the_contract() -> None:
    agent, _ = heard([5 * MS] * 12)
    args = agent.wire(planned(1150 * MS, 64))
    assert args is not None
    message = Setpoint(1, "arm.chunk", "agent1", 1, Fresh("boot", 11), "L1", args)
    assert len(encode(message)) < 64 << 10
    assert args["supersedes"] == "k1" and args["t0_beat"] == 11 and args["horizon_valid"] == len(args["actions"])


def test_nothing_goes_out_before_a_beat_or_after_its_time() -> None:
    assert Beats().wire(planned(0)) is None
    agent, _ = heard([5 * MS] * 30)
    assert agent.wire(planned(0, rows=40)) is None  # 0.8 s of rows, 2.9 s ago
    agent.heard("another boot", 3, 50, 4 * SECOND)
    args = agent.wire(planned(4 * SECOND))
    assert args is not None and args["t0_beat"] == 3 and args["step0"] == 0


def test_an_old_beat_is_passed_over() -> None:
    agent, _ = heard([5 * MS] * 10)
    before = agent.wire(planned(900 * MS))
    agent.heard("boot", 4, AHEAD // MS + 400, 2 * SECOND)
    assert agent.wire(planned(900 * MS)) == before


# --- whether a policy fits a robot

NAMES = ("j1.pos", "j2.pos", "gripper.pos")
JOINTS = {"j1": (-1.5, 1.5), "j2": (-1.0, 1.0), "gripper": (0.0, 0.04)}
ARM = Drivable("arm.chunk", NAMES, 20.0, 12)


def test_what_fits_tells_how() -> None:
    found = fit(spec(NAMES), [ARM], JOINTS, {"joints": NAMES})
    assert found.rows == 12 and found.limits == {f"{name}.pos": limits for name, limits in JOINTS.items()}
    base = ("x.vel", "theta.vel")
    driven = spec(base, drives="base.chunk", observation={"observation.state": Observed(base)}, action=Acted(base))
    assert fit(driven, [Drivable("base.chunk", base, 20.0, 64)], {}).limits == {}


@pytest.mark.parametrize(
    ("robot", "says"),
    [
        ([], "has none at all"),
        ([ARM._replace(name="head.chunk")], "drives arm.chunk; of this kind the robot has head.chunk"),
        ([ARM._replace(features=("j1.pos", "j2.pos"))], "the robot has no gripper.pos"),
        ([ARM._replace(features=(*NAMES, "j3.pos"))], "it does not drive j3.pos"),
        ([ARM._replace(features=NAMES[::-1])], "the order must be the same"),
        ([ARM._replace(dt_ms=33.0)], "a row every 20 ms, arm.chunk one every 33 ms"),
    ],
)
def test_what_does_not_fit_says_what(robot: list[Drivable], says: str) -> None:
    with pytest.raises(DoesNotFit, match=says):
        fit(spec(NAMES), robot, JOINTS)


def test_what_it_observes_must_be_told() -> None:
    with pytest.raises(DoesNotFit, match="on the channel 'joints', which this robot does not send"):
        fit(spec(NAMES), [ARM], JOINTS, {"odom": ["x"]})
    with pytest.raises(DoesNotFit, match=r"observes gripper\.pos, which is not on"):
        fit(spec(NAMES), [ARM], JOINTS, {"joints": ["j1.pos", "j2.pos"]})

"""The guards: whatever comes, in whatever order, the motors get only what they may."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.robot.budget import Budget
from embodied.robot.codec import encode
from embodied.robot.consent import Consents, consent_token
from embodied.robot.decisions import Heard, Note, Scan, Sensed, Tell, Velocity
from embodied.robot.errors import FactsheetInvalid
from embodied.robot.estop import proof
from embodied.robot.factsheet import Capability, Workspace
from embodied.robot.fences import allowed, speed_for, way_left
from embodied.robot.guarded import Guarded
from embodied.robot.messages import Fresh
from embodied.robot.proposing import Proposer, StopCall, Watch
from embodied.robot.reports import Heartbeat, LeaseState, RobotState, Safety, Status
from embodied.robot.seal import seal
from embodied.robot.settings import GuardSettings
from embodied.robot.topics import robot_topic
from embodied.robot.vocabulary import MS, SECOND
from tests.robot_scenes import FLEET, ROBOT, SQUARE, STEP, Scene, chunk, factsheet, obj, text

GO = {"args": {"distance_m": 1.0}}
numbers = st.floats(-20, 20, allow_nan=False)


def leased(**fields: Any) -> Scene:
    scene = Scene(**fields)
    assert scene.lease().state == "succeeded"
    return scene


def reason(status: Status | None) -> str | None:
    assert status is not None
    return status.reason


# --- limits


@settings(max_examples=60, deadline=None)
@given(
    wishes=st.lists(st.tuples(numbers, numbers, numbers, st.booleans(), st.integers(1, 120)), min_size=5, max_size=40),
    jerk=st.sampled_from([0.0, 4.0]),
    holonomic=st.booleans(),
)
def test_speed_and_its_change_stay_within_limits(wishes: list[Any], jerk: float, holonomic: bool) -> None:
    scene = leased(sheet=factsheet(jerk_max=jerk, holonomic=holonomic))
    limits = scene.sheet.limits
    last, rise = Velocity(), 0.0
    for n, (vx, vy, wz, near, ms) in enumerate(wishes):
        scene.sensed["near_people"] = near
        scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": vx, "vy": vy, "wz": wz}, n)
        for _ in range(3):
            v = scene.step(ms * MS)
            dt, long = min(ms / 1000, 0.1), ms / 1000
            speed, before = math.hypot(v.vx, v.vy), math.hypot(last.vx, last.vy)
            assert speed <= limits.v_max + 1e-9
            assert abs(v.wz) <= limits.w_max + 1e-9
            assert holonomic or v.vy == 0
            assert speed - before <= limits.a_max * dt + 1e-9
            assert before - speed <= limits.brake * long + 1e-9
            assert not near or speed <= max(limits.v_near, before - limits.brake * long) + 1e-9
            assert abs(v.wz) - abs(last.wz) <= limits.alpha_max * dt + 1e-9
            assert v.vx * last.vx + v.vy * last.vy >= -1e-9  # never from forward to backward without standing
            assert not jerk or (speed - before) / dt <= rise + jerk * dt + 1e-6
            rise = max(0.0, speed - before) / dt
            last = v


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, st.integers(1, 100)), min_size=3, max_size=40))
def test_joints_stay_within_limits(wishes: list[Any]) -> None:
    scene = leased()
    last = dict(scene.joints)
    for n, (j1, j2, ms) in enumerate(wishes):
        scene.lease(op="renew")
        scene.stream("arm.joints", {"j1.pos": j1, "j2.pos": j2}, n)
        scene.step(ms * MS)
        for name, limits in scene.sheet.limits.joints.items():
            assert limits.min - 1e-9 <= scene.joints[name] <= limits.max + 1e-9
            assert abs(scene.joints[name] - last[name]) <= limits.v_max * min(ms / 1000, 0.1) + 1e-9
        last = dict(scene.joints)


def test_the_tool_stays_in_its_box_and_slow() -> None:
    box = Workspace((0.0, -0.4, -1.0), (0.9, 0.4, 1.0), 0.25)

    def reach(q: Any) -> tuple[float, float, float]:
        j1, j2 = q.get("j1", 0.0), q.get("j2", 0.0)
        return 0.4 * math.cos(j1) + 0.4 * math.cos(j1 + j2), 0.4 * math.sin(j1) + 0.4 * math.sin(j1 + j2), 0.0

    sheet = factsheet(workspace=box)
    with pytest.raises(FactsheetInvalid, match="reach"):
        Scene(sheet=sheet)
    guarded = Guarded(sheet, fleet=FLEET, robot=ROBOT, secret=b"x", reach=reach)
    arm = guarded._post.motors.arm
    arm.sync({"j1": 0.0, "j2": 0.0})
    tool = reach(arm.now)
    for n in range(400):
        arm.step({"j1": math.sin(n / 30) * 3, "j2": math.cos(n / 17) * 3}, 0.02)
        before, tool = tool, reach(arm.now)
        assert math.dist(before, tool) <= 0.25 * 0.02 + 1e-9
        assert abs(tool[1]) <= 0.4 + 1e-9


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"distance_m": 11.0}, "limit"),
        ({"distance_m": 21.0}, "limit"),
        ({"distance_m": 1.0, "speed_mps": 0.6}, "limit"),
        ({"distance_m": "1"}, "schema"),
        ({"distance_m": True}, "schema"),
        ({"distance_m": 1.0, "spede_mps": 0.1}, "schema"),
        ({}, "schema"),
        ({"distance_m": 10**400}, "schema"),
    ],
)
def test_goals_beyond_limits_are_refused(args: Any, why: str) -> None:
    scene = leased()
    body = scene.envelope("nav.move", args=args)
    payload = text({**body, "fresh": {"boot": scene.fresh.boot, "beat": scene.fresh.beat}})  # type: ignore[union-attr]
    effects = scene.hear(robot_topic(FLEET, ROBOT, "command", "nav.move"), payload)
    told = [e.message for e in effects if isinstance(e, Tell) and isinstance(e.message, Status)]
    assert [status.reason for status in told] == [why]
    assert not scene.begun


def test_streams_beyond_limits_are_clamped_and_told() -> None:
    scene = leased()
    scene.stream("base.velocity", {"vx": 3.0}, 1)
    scene.run(0.2)
    assert scene.events("limits")
    assert 0 < scene.velocity.vx <= 0.5


# --- chunks


def test_a_chunk_is_followed_and_then_held() -> None:
    scene = leased()
    beat = scene.fresh.beat  # type: ignore[union-attr]
    rows = [[0.01 * n, 0.0] for n in range(20)]
    note = scene.stream(
        "arm.chunk", chunk(beat, rows, step0=(scene.now - scene.guarded._post.beats.sent(beat)) // STEP), 1
    )  # type: ignore[operator]
    assert note is not None and note.verdict == "accepted"
    scene.run(0.36)
    assert scene.joints["j1"] == pytest.approx(0.18, abs=0.02)
    scene.run(0.6)
    assert scene.joints["j1"] == pytest.approx(0.19, abs=1e-6)
    assert scene.events("arm.chunk ttl")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"names": ["j2.pos", "j1.pos"]}, "schema"),
        ({"actions": [[0.0]]}, "schema"),
        ({"actions": [[0.0, 9.0]]}, "limit"),
        ({"actions": [[0.0, 0.0]] * 65}, "limit"),
        ({"t0_beat": 10_000}, "stale"),
        ({"step0": 10**9}, "stale"),
        ({"extra": 1}, "schema"),
        ({"dt_ms": 0}, "schema"),
    ],
)
def test_chunks_that_are_wrong_are_refused_whole(change: Any, why: str) -> None:
    scene = leased()
    note = scene.stream("arm.chunk", {**chunk(scene.fresh.beat, [[0.1, 0.1]] * 5), **change}, 1)  # type: ignore[union-attr]
    assert note is not None
    assert (note.verdict, note.reason) == ("rejected", why)
    before = dict(scene.joints)
    scene.run(0.2)
    assert scene.joints == before


# --- staleness


def test_what_was_held_or_recorded_moves_nothing() -> None:
    scene = leased()
    held = [scene.envelope("nav.move", **GO) for _ in range(5)]
    stream = robot_topic(FLEET, ROBOT, "stream", "base.velocity")
    setpoints = [scene.envelope("base.velocity", args={"vx": 0.5}, seq=n) for n in range(20)]
    for _ in range(30):
        scene.lease(op="renew")
        scene.run(0.1)
    for body in held:
        assert reason(scene.send(body)) == "stale"
    for body in setpoints:
        scene.hear(stream, body)
    scene.run(0.5)
    assert (scene.x, scene.y, scene.yaw, scene.begun) == (0, 0, 0, [])


def test_a_recording_played_back_at_once_is_done_once() -> None:
    scene = leased()
    body = scene.envelope("nav.move", **GO)
    assert scene.send(body).state == "running"  # type: ignore[union-attr]
    assert scene.send(body).state == "running"  # type: ignore[union-attr]  # its last status, once more
    assert reason(scene.send({**body, "args": {"distance_m": 2.0}})) == "duplicate"
    assert scene.begun == [body["id"]]
    setpoint = {"vx": 0.1}
    assert scene.stream("base.velocity", setpoint, 7).verdict == "accepted"  # type: ignore[union-attr]
    for seq in (7, 6, 0):
        assert scene.stream("base.velocity", setpoint, seq).reason == "out_of_order"  # type: ignore[union-attr]


def test_another_boot_a_beat_to_come_and_none_at_all() -> None:
    scene = leased()
    beat = scene.fresh.beat  # type: ignore[union-attr]
    assert reason(scene.command("nav.move", fresh=Fresh("boot-0", beat), **GO)) == "wrong_boot"
    assert reason(scene.command("nav.move", fresh=Fresh("boot-1", beat + 5), **GO)) == "stale"
    scene.run(1)
    body = scene.envelope("nav.move", **GO)
    del body["fresh"]
    assert reason(scene.send(body)) == "stale"


@pytest.mark.parametrize("ts", ["2026-11-19T12:00:00Z", "2026-11-21T12:00:00Z", "1970-01-01", "tomorrow"])
def test_wall_clocks_decide_nothing(ts: str) -> None:
    scene = leased()
    assert scene.command("nav.move", ts=ts, **GO).state == "running"  # type: ignore[union-attr]


def test_retained_commands_are_refused() -> None:
    scene = leased()
    assert reason(scene.send(scene.envelope("nav.move", **GO), retained=True)) == "retained"
    assert not scene.begun


# --- deadman and link


@pytest.mark.parametrize(
    ("v_max", "vx", "ttl", "expected"), [(0.5, 0.5, None, 0.5), (0.5, 0.4, 100, 0.1), (1.0, 0.9, 1000, 0.25)]
)
def test_a_stream_that_ends_stops_the_base(v_max: float, vx: float, ttl: int | None, expected: float) -> None:
    scene = leased(sheet=factsheet(v_max=v_max))
    for n in range(60):
        scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": vx}, n, ttl_ms=ttl)
        scene.step()
    assert scene.velocity.vx == pytest.approx(vx)
    x, t = scene.x, scene.now
    while not scene.velocity.still:
        scene.step()
    assert (scene.now - t) / SECOND <= expected + vx / 3.0 + 0.05
    assert scene.x - x <= vx * (expected + 0.02) + vx**2 / 6 + 0.01


@pytest.mark.parametrize("into", [1, 7, 13, 19])
def test_no_wish_is_driven_beyond_its_time(into: int) -> None:
    """What a step gives to the motors lasts until the next step: the last one within a setpoint's time brakes."""
    scene = leased()
    scene.run(0.1)
    for n in range(30):
        scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": 0.5}, n)
        scene.step()
    scene.now += into * MS
    scene.stream("base.velocity", {"vx": 0.5}, 30)
    over = scene.now + 500 * MS
    scene.step(STEP - into * MS)
    gave = {}
    while not scene.velocity.still:
        gave[scene.now] = scene.velocity.vx
        scene.step()
    braking = min(t for t, vx in gave.items() if vx < 0.5)
    assert over - STEP < braking <= over
    assert all(vx == 0.5 for t, vx in gave.items() if t < braking)


def test_silence_of_the_agent_ends_its_goals_as_they_declare() -> None:
    scene = leased()
    move = scene.command("nav.move", **GO)
    scene.beating["a"] = False
    for _ in range(14):
        scene.run(0.1)
        scene.lease(op="renew")
    assert scene.running
    scene.run(0.2)
    assert not scene.running
    assert reason(scene.statuses(move.id)[-1]) == "link_lost"  # type: ignore[union-attr]
    scene.beating["a"] = True
    scene.lease()
    scene.command("nav.goto", args={"x": 1, "y": 1})
    scene.beating["a"] = False
    scene.run(4)
    assert scene.running  # "continue"


def test_a_heartbeat_held_in_the_network_is_no_life() -> None:
    scene = leased()
    scene.beating["a"] = False
    scene.command("nav.move", **GO)
    old = scene.fresh
    for n in range(20):
        scene.run(0.1)
        scene.hear(f"robot/v1/{FLEET}/agents/a/heartbeat", {"session": "s", "beat": n, "heard": {ROBOT: old}})
        scene.lease(op="renew")
    scene.run(0.4)
    assert not scene.running


# --- the stop


@settings(max_examples=40, deadline=None)
@given(
    payload=st.one_of(st.binary(max_size=200), st.just(b""), st.just(b'{"by":"x"}')),
    after=st.lists(st.tuples(st.sampled_from(["stream", "goal", "lease", "chunk", "step"]), numbers), max_size=30),
)
def test_latched_means_rest_and_a_reset_moves_nothing(payload: bytes, after: list[tuple[str, float]]) -> None:
    scene = leased()
    for n in range(40):
        scene.stream("base.velocity", {"vx": 0.5}, n)
        scene.step()
    scene.stop(payload)
    assert not scene.running

    def annoy(first: int) -> None:
        for n, (what, number) in enumerate(after):
            match what:
                case "stream":
                    scene.stream("base.velocity", {"vx": number}, first + n)
                case "goal":
                    scene.command("nav.move", **GO)
                case "lease":
                    scene.lease()
                case "chunk":
                    scene.stream("arm.chunk", chunk(scene.fresh.beat, [[0.5, 0.5]] * 20), first + n)  # type: ignore[union-attr]
            scene.wanted = Velocity(number, 0, number)
            scene.step()

    joints = dict(scene.joints)
    scene.run(0.26)
    assert scene.velocity.still  # within the ramp
    at = (scene.x, scene.yaw)
    annoy(100)
    assert (scene.x, scene.yaw) == at
    assert scene.joints == joints
    assert not scene.begun
    held = [scene.envelope("nav.move", **GO), scene.envelope("base.velocity", args={"vx": 0.5}, seq=500)]
    scene.run(0.1)
    scene.reset()
    scene.hear(robot_topic(FLEET, ROBOT, "command", "nav.move"), held[0])
    scene.hear(robot_topic(FLEET, ROBOT, "stream", "base.velocity"), held[1])
    scene.wanted = Velocity(0.5)
    scene.run(0.5)
    assert (scene.x, scene.yaw) == at
    assert not scene.begun
    scene.lease()
    assert scene.command("nav.move", **GO).state == "running"  # type: ignore[union-attr]
    scene.run(0.2)
    assert scene.x > at[0]


def test_a_stop_from_full_speed_rests_within_a_quarter_second() -> None:
    scene = leased(sheet=factsheet(v_max=2.0))
    for n in range(150):
        scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": 2.0, "wz": 0.5}, n)
        scene.step()
    assert scene.velocity.vx == pytest.approx(2.0)
    scene.stop()
    scene.run(0.26)
    assert scene.velocity.still


def test_only_its_own_token_and_proof_reset_the_stop() -> None:
    scene = leased(settings=GuardSettings(operator_key=b"key"))
    scene.stop()
    first = scene.guarded.stop_token
    for token, mac in (("", None), ("x", None), (first, None), (first, "0" * 64), ("é", proof("é", b"key"))):
        scene.reset(token, **({"proof": mac} if mac else {}))
        assert scene.guarded.stop_token == first
    scene.reset(proof=proof(first, b"key"))
    assert scene.guarded.stop_token == ""
    scene.stop()
    scene.reset(first, proof=proof(first, b"key"))
    assert scene.guarded.stop_token not in ("", first)


def test_the_stop_is_not_reset_while_it_moves_or_is_pressed() -> None:
    scene = leased()
    for n in range(40):
        scene.stream("base.velocity", {"vx": 0.5}, n)
        scene.step()
    scene.stop()
    scene.step()
    scene.reset()
    assert scene.guarded.stop_token
    scene.run(0.5)
    assert [e.message for e in scene.effects if isinstance(e, Tell) and isinstance(e.message, Safety)][-1].reset_allowed
    scene.sensed["hardware_stop"] = True
    scene.step()
    scene.reset()
    assert scene.guarded.stop_token


def test_plain_stop_is_never_refused_and_nothing_of_before_moves_after_it() -> None:
    scene = leased()
    move = scene.command("nav.move", **GO)
    late = scene.envelope("base.velocity", args={"vx": 0.5}, seq=1)
    stop = {"v": 1, "id": "s1", "name": "stop", "from": "a"}
    assert scene.send(stop).state == "succeeded"  # type: ignore[union-attr]
    assert scene.statuses(move.id)[-1].state == "cancelled"  # type: ignore[union-attr]
    scene.hear(robot_topic(FLEET, ROBOT, "stream", "base.velocity"), late)
    scene.run(0.2)
    assert scene.x == 0
    assert scene.command("nav.move", **GO).state == "running"  # type: ignore[union-attr]
    for payload in (b"", b"\xff", b"{", text({**stop, "more": 1})):
        scene.hear(robot_topic(FLEET, ROBOT, "command", "stop"), payload)
        assert not scene.running
    assert scene.guarded.stop_token == ""
    assert reason(scene.command("nav.move", **GO)) in ("stale", "no_lease")  # a stranger's stop takes the lease, too


# --- leases


def test_a_lease_that_is_let_lapse_after_a_stop_is_no_guard_trip_but_one_under_which_it_moves_is() -> None:
    scene = leased()
    scene.command("nav.move", **GO)
    old = scene.fresh
    assert scene.command("stop").state == "succeeded"  # type: ignore[union-attr]
    assert reason(scene.lease(op="renew", fresh=old)) == "stale"  # it was on its way already: its holder gives it up
    scene.run(3)
    assert not scene.events("link")
    ran_out = [e for e in scene.effects if isinstance(e, Note) and e.guard == "lease" and e.detail == "ran out"]
    assert len(ran_out) == 1
    assert reason(scene.command("nav.move", **GO)) == "no_lease"
    scene.lease()
    scene.command("nav.move", **GO)
    scene.run(3)
    assert [event.detail for event in scene.events("link")] == ["the lease was not renewed"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "op", "llm"]),
            st.sampled_from(["acquire", "renew", "release", "move", "wait", "steal"]),
            st.sampled_from(["model", "policy", "teleop", "operator"]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_there_are_never_two_writers(acts: list[tuple[str, str, str]]) -> None:
    scene = Scene()
    for n, (agent, act, rank) in enumerate(acts):
        if act == "wait":
            scene.run(0.3)
        elif act == "move":
            note = scene.stream("base.velocity", {"vx": 0.1}, n, agent)
            holder = scene.guarded._post.desk.current
            taken = note is not None and note.verdict == "accepted"
            assert not taken or (holder is not None and holder.holder == agent)
        elif act == "steal":
            for lease in list(scene.leases.values()):
                note = scene.stream("base.velocity", {"vx": 0.1}, n, agent, lease=lease)
                if note is not None and note.verdict == "accepted":
                    assert scene.guarded._post.desk.current.holder == agent  # type: ignore[union-attr]
        else:
            scene.lease(agent, act, rank)
        live = {each.owner for each in scene.guarded._post.streams.live.values()}
        held = scene.guarded._post.desk.current
        assert live <= ({held.id} if held else set())
        scene.step()
    for effect in scene.effects:
        if isinstance(effect, Tell) and isinstance(effect.message, LeaseState):
            assert not any(lease in str(effect.message) for lease in scene.leases.values())


def test_the_higher_rank_takes_over_and_what_an_agent_may_not_be_it_is_not() -> None:
    scene = Scene()
    assert scene.lease("llm", rank="model").state == "succeeded"
    move = scene.command("nav.move", "llm", **GO)
    assert move is not None
    assert reason(scene.lease("b", rank="operator")) == "no_lease"
    assert scene.lease("b", rank="policy").state == "succeeded"
    assert scene.statuses(move.id)[-1].state == "preempted"
    assert reason(scene.command("nav.move", "llm", **GO)) == "no_lease"
    assert reason(scene.lease("a", rank="policy")) == "busy"
    assert scene.lease("op", rank="operator").state == "succeeded"
    assert reason(scene.command("nav.move", "b", **GO)) == "no_lease"
    scene.sensed["mode"] = "manual"
    scene.run(0.1)
    assert scene.stream("base.velocity", {"vx": 0.1}, 1, "op").verdict == "accepted"  # type: ignore[union-attr]


def test_other_modes_move_nothing() -> None:
    scene = leased()
    scene.command("nav.move", **GO)
    for mode in ("manual", "teach", "charging", "service"):
        scene.sensed["mode"] = mode
        scene.step()
        scene.lease()
        assert not scene.running
        assert scene.stream("base.velocity", {"vx": 0.1}, 1).reason == "mode"  # type: ignore[union-attr]


def test_with_keys_only_the_sealed_is_heard() -> None:
    scene = Scene(settings=GuardSettings(keys={"a": b"k" * 32}))
    wish = {"v": 1, "id": "l1", "from": "a", "op": "acquire", "rank": "policy",
            "fresh": {"boot": scene.fresh.boot, "beat": scene.fresh.beat}}  # type: ignore[union-attr]  # fmt: skip
    topic, payload = robot_topic(FLEET, ROBOT, "lease/set"), text(wish)
    for wrong in (payload, seal(payload, b"other"), seal(payload, b"k" * 32).replace(b"policy", b"teleop")):
        scene.hear(topic, wrong)
        assert scene.guarded._post.desk.current is None
    scene.hear(topic, seal(payload, b"k" * 32))
    assert scene.guarded._post.desk.current is not None


# --- rights


def test_a_yes_is_bound_to_what_was_asked() -> None:
    scene = leased()
    wish: dict[str, Any] = {"args": {"x": 1.0, "y": 0.5}, "origin": {"source": "speech"}}
    assert reason(scene.command("nav.goto", **wish)) == "needs_confirm"
    consents = Consents()
    consents.ask("c-yes", "nav.goto", wish["args"], scene.now)
    token = consents.agree("c-yes", scene.now + SECOND)
    assert consents.agree("c-yes", scene.now + SECOND) is None
    scene.run(1)
    other = {"args": {"x": 2.0, "y": 0.5}, "origin": {"source": "speech"}}
    assert reason(scene.command("nav.goto", id="c-other", confirm=token, **other)) == "needs_confirm"
    assert scene.command("nav.goto", id="c-yes", confirm=token, **wish).state == "running"  # type: ignore[union-attr]
    consents.ask("late", "nav.goto", wish["args"], scene.now)
    assert consents.agree("late", scene.now + 9 * SECOND) is None


@pytest.mark.parametrize("source", ["speech", "text", "vision", "policy", "operator"])
def test_what_can_hurt_always_needs_a_yes(source: str) -> None:
    scene = leased()
    assert reason(scene.command("arm.cut", origin={"source": source})) == "needs_confirm"
    token = consent_token("c-ok", "arm.cut", {})
    scene.run(1)
    assert scene.command("arm.cut", id="c-ok", origin={"source": source}, confirm=token).state == "running"  # type: ignore[union-attr]


def test_what_a_picture_says_moves_nothing() -> None:
    scene = leased()
    assert reason(scene.command("nav.move", origin={"source": "vision"}, **GO)) == "needs_confirm"
    assert scene.command("lamp", args={"on": True}, origin={"source": "vision"}).state == "running"  # type: ignore[union-attr]


def test_who_claims_to_be_more_is_believed_only_with_the_rank() -> None:
    scene = Scene()
    scene.lease("llm", rank="model")
    args = {"x": 1, "y": 1}
    for source in ("operator", "policy"):
        assert reason(scene.command("nav.goto", "llm", args=args, origin={"source": source})) == "needs_confirm"
        scene.run(1)
        scene.lease("llm", "renew")
    assert scene.stream("base.velocity", {"vx": 0.1}, 1, "llm").reason == "not_exposed"  # type: ignore[union-attr]


def test_unknown_and_flooding() -> None:
    scene = leased()
    assert reason(scene.command("self.destruct")) == "unknown_capability"
    assert reason(scene.command("base.velocity", args={"vx": 0.1})) == "unknown_capability"
    answers = [scene.command("nav.move", **GO) for _ in range(5)]
    assert [reason(answer) for answer in answers] == [None, None, "rate", "rate", "rate"]
    spoken = 0
    for _ in range(20):
        scene.lease(op="renew")
        scene.run(1)
        answer = scene.command("nav.move", origin={"source": "speech"}, **GO)
        spoken += reason(answer) is None
    assert spoken == 10
    taken = [scene.stream("base.velocity", {"vx": 0.1}, n).verdict for n in range(200)]  # type: ignore[union-attr]
    assert taken.count("accepted") == 60


# --- places


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-2, 2), st.integers(2, 40)), min_size=5, max_size=25))
def test_whatever_is_streamed_it_stays_inside_the_fence(wishes: list[tuple[float, float, int]]) -> None:
    scene = leased(sheet=factsheet(geofence=SQUARE, radius_m=0.2))
    n = 0
    for vx, wz, steps in wishes:
        for _ in range(steps):
            n += 1
            if n % 10 == 0:
                scene.lease(op="renew")
            scene.stream("base.velocity", {"vx": vx, "wz": wz}, n)
            scene.step()
            assert allowed((scene.x, scene.y), SQUARE), (scene.x, scene.y)
            assert max(abs(scene.x), abs(scene.y)) <= 3.0 - 0.2 + 1e-6  # not even its rim is outside


def test_straight_at_the_border_it_stops_before_it_and_says_so() -> None:
    scene = leased(sheet=factsheet(geofence=SQUARE, radius_m=0.2))
    for n in range(500):
        if n % 10 == 0:
            scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": 0.5}, n)
        scene.step()
    assert 2.6 < scene.x <= 2.75
    assert scene.events("geofence")
    assert reason(scene.command("nav.move", **GO)) == "geofence"
    scene.run(1)
    assert reason(scene.command("nav.goto", args={"x": 1.5, "y": 1.5})) == "geofence"


def test_stopping_distance() -> None:
    assert speed_for(0.5**2 / 6 + 0.05, 3.0, 0.1) == pytest.approx(0.5)
    assert way_left((0, 0), 0.0, SQUARE) == pytest.approx(3.0)
    assert way_left((0, 1.5), 0.0, SQUARE) == pytest.approx(1.0)


def test_an_obstacle_stops_it_and_an_old_or_broken_sensor_too() -> None:
    scene = leased(settings=GuardSettings(ranges_needed=True))
    wall = 2.0

    def look() -> None:
        far = tuple(
            (wall - scene.x) / math.cos(a) if math.cos(a) > 0.1 else math.inf for a in (-0.2, -0.1, 0.0, 0.1, 0.2)
        )
        scene.scan = Scan(scene.now, -0.2, 0.1, far)

    for n in range(400):
        if n % 10 == 0:
            scene.lease(op="renew")
        look()
        scene.stream("base.velocity", {"vx": 0.5}, n)
        scene.step()
    assert 1.4 < scene.x <= wall - 0.2 - 0.30 + 1e-6
    assert scene.events("obstacle")
    wall = 50.0
    scene.lease(op="renew")
    look()
    scene.stream("base.velocity", {"vx": 0.5}, 1000)
    scene.run(0.2)
    assert scene.velocity.vx > 0.1
    for n in range(40):  # the sensor is silent from here on
        scene.lease(op="renew")
        scene.stream("base.velocity", {"vx": 0.5}, 2000 + n)
        scene.step()
    assert scene.velocity.still
    scene.scan = Scan(scene.now, 0.0, 0.1, (math.nan, math.nan, 9.0))
    scene.stream("base.velocity", {"vx": 0.5}, 3000)
    scene.run(0.2)
    assert scene.velocity.still


def test_bumped_it_fails_the_goal_and_can_only_back_off() -> None:
    scene = leased()
    move = scene.command("nav.move", **GO)
    scene.wanted = Velocity(0.3)
    scene.run(0.3)
    scene.sensed["bumper"] = "front"
    scene.step()
    assert reason(scene.statuses(move.id)[-1]) == "obstacle"  # type: ignore[union-attr]
    scene.stream("base.velocity", {"vx": 0.3}, 1)
    scene.run(0.3)
    assert scene.velocity.still
    scene.stream("base.velocity", {"vx": -0.3}, 2)
    scene.run(0.3)
    assert scene.velocity.vx < 0


def test_without_odometry_it_stands() -> None:
    scene = leased()
    scene.blind = True
    for n in range(60):
        scene.stream("base.velocity", {"vx": 0.3}, n)
        scene.step()
    assert scene.velocity.still
    assert scene.events("odometry")


# --- the life of commands


def test_a_goal_that_replaces_another_waits_for_its_end_and_keeps_the_speed() -> None:
    scene = leased()
    first = scene.command("nav.move", **GO)
    scene.wanted = Velocity(0.4)
    scene.run(0.6)
    second = scene.command("nav.move", args={"distance_m": 2.0})
    assert first and second
    assert [s.state for s in scene.statuses(first.id)][-2:] == ["cancelling", "preempted"]
    order = [
        s.id
        for s in (e.message for e in scene.effects if isinstance(e, Tell))
        if isinstance(s, Status) and s.state in ("preempted", "running")
    ]
    assert order.index(first.id) < len(order) - 1 - order[::-1].index(second.id)
    scene.step()
    assert scene.velocity.vx == pytest.approx(0.4)  # no jerk


def test_queue_reject_and_busy() -> None:
    scene = leased()
    sweep = scene.command("sweep")
    waiting = scene.command("nav.move", ttl_ms=5000, **GO)
    assert sweep and waiting
    assert (sweep.state, waiting.state) == ("running", "accepted")
    scene.run(1)
    assert reason(scene.command("nav.move", **GO)) == "busy"
    assert scene.stream("base.velocity", {"vx": 0.1}, 1).reason == "busy"  # type: ignore[union-attr]
    scene.running.remove(sweep.id)
    scene.do(scene.guarded.finished(sweep.id, "succeeded", scene.now, result={"m2": 3}))
    assert scene.running == [waiting.id]
    scene.lease(op="renew")
    scene.run(1)
    dock = scene.command("dock")
    assert dock and scene.statuses(dock.id)[-1].state == "running"
    scene.run(0.6)
    assert reason(scene.command("nav.move", **GO)) == "busy"


def test_what_waits_too_long_expires_and_what_takes_too_long_fails() -> None:
    scene = leased()
    scene.command("sweep", timeout_s=3.0)
    waiting = scene.command("nav.move", ttl_ms=700, **GO)
    for _ in range(20):
        scene.lease(op="renew")
        scene.run(0.2)
    assert waiting and scene.statuses(waiting.id)[-1].state == "expired"
    sweep = scene.begun[0]
    assert (scene.statuses(sweep)[-1].state, scene.statuses(sweep)[-1].reason) == ("failed", "timeout")


def test_without_progress_a_goal_fails_and_a_driver_that_does_not_end_is_told() -> None:
    scene = leased(stubborn=True)
    move = scene.command("nav.move", **GO)
    assert move
    for n in range(30):
        scene.lease(op="renew")
        scene.do(scene.guarded.progressed(move.id, scene.now, progress=min(n, 5) / 10))
        scene.run(0.5)
    last = scene.statuses(move.id)[-1]
    assert (last.state, last.reason) == ("cancelling", "obstacle") or last.reason == "hardware"
    scene.run(2.1)
    assert scene.statuses(move.id)[-1].reason == "hardware"
    states = [s.state for s in scene.statuses(move.id)]
    assert states[:2] == ["accepted", "running"]


def test_cancel_pause_resume_query() -> None:
    scene = leased()
    move = scene.command("nav.move", **GO)
    assert move
    assert scene.command("pause", args={"id": move.id}).state == "succeeded"  # type: ignore[union-attr]
    scene.wanted = Velocity(0.4)
    scene.run(0.4)
    assert scene.x == 0
    assert scene.command("resume", args={"id": move.id}).state == "succeeded"  # type: ignore[union-attr]
    scene.run(0.4)
    assert scene.x > 0
    asked = scene.command("query", args={"id": move.id})
    assert asked and asked.result["state"] == "running"
    cancelled = scene.command("cancel", "stranger", args={"target": move.id})
    assert cancelled and cancelled.result == {"cancelled": 1}
    assert scene.statuses(move.id)[-1].state == "cancelled"
    assert reason(scene.command("cancel", args={"goal": "x"})) == "schema"
    assert [s.id for s in scene.guarded._post.state().commands].count(move.id) == 1


def test_every_decision_is_noted() -> None:
    scene = leased()
    scene.effects.clear()
    scene.command("nav.move", **GO)
    scene.command("nope")
    scene.stop()
    verdicts = [(e.guard, e.verdict) for e in scene.effects if isinstance(e, Note)]
    assert verdicts == [("gate", "accepted"), ("capability", "rejected"), ("estop", "stopped")]


# --- the agent's side


def proposer(now: int) -> Proposer:
    made = Proposer(factsheet(), fleet=FLEET, agent="a")
    made.watch.beat(Heartbeat("boot-1", 5, 0, "automatic", "none"), now)
    made.lease = "L1"
    return made


def test_an_agent_fails_early_for_the_same_reasons() -> None:
    now = 10 * SECOND
    p = proposer(now)
    for n, (name, args, source, why) in enumerate(
        [
            ("nope", {}, "text", "unknown_capability"),
            ("nav.move", {"distance_m": 30}, "text", "limit"),
            ("nav.move", {}, "text", "schema"),
            ("nav.goto", {"x": 1, "y": 1}, "speech", "needs_confirm"),
            ("grip", {}, "vision", "needs_confirm"),
        ]
    ):
        answer = p.propose(f"c{n}", name, args, source, now)  # type: ignore[arg-type]
        assert getattr(answer, "reason", None) == why
    assert p.propose("ok", "nav.move", {"distance_m": 1.0}, "speech", now).name == "nav.move"  # type: ignore[union-attr]
    late = p.setpoint("base.velocity", {"vx": 0.1}, now + 600 * MS)
    assert getattr(late, "reason", None) == "link_lost"
    assert (p.watch.health(now), p.watch.health(now + SECOND), p.watch.health(now + 3 * SECOND)) == (
        "heard",
        "suspended",
        "unknown",
    )
    assert p.watch.beat(Heartbeat("boot-2", 0, 0, "automatic", "none"), now + SECOND) == ["ok"]


def test_a_runaway_plan_ends_at_the_agent() -> None:
    budget, move = Budget(), next(c for c in factsheet().capabilities if c.name == "nav.move")
    assert [budget.take("t1", move, {"distance_m": 2.0}, None, 0) == "" for _ in range(4)] == [True, True, False, False]
    assert [budget.take("t2", move, {"distance_m": -0.1}, None, 0) == "" for _ in range(7)].count(True) == 5
    assert budget.take("t3", move, {"distance_m": 1}, None, 0) == ""
    assert "older" in budget.take("t3", move, {"distance_m": 1}, None, 61 * SECOND)


def test_a_stop_is_repeated_until_the_latch_is_seen_else_said() -> None:
    watch = Watch()
    call, sent = StopCall("a", "stop", 0), 0
    for t in range(0, 2000, 10):
        sent += call.due(watch, t * MS)
    assert 20 <= sent <= 21
    assert call.failed(watch, SECOND)
    call, sent = StopCall("a", "stop", 0), 0
    for t in range(0, 2000, 10):
        if t == 120:
            watch.safety(Safety("latched"))
        sent += call.due(watch, t * MS)
    assert (sent, call.failed(watch, 2 * SECOND)) == (5, False)


@pytest.mark.parametrize(
    "capability",
    [
        Capability("x", "stream", {"type": "object", "properties": {"vx": {"type": "number"}}}, resources=("base",)),
        Capability("x", "goal", obj(a={"type": "string", "pattern": "(a+)+"}), resources=("base",)),
        Capability("x", "goal", {"$ref": "#"}, resources=("base",)),
        Capability("x", "goal"),
        Capability("x", "goal", resources=("wings",)),
        Capability("x", "chunk", resources=("arm",), action_features=("j9.pos",)),
        Capability("x", "stream", resources=("arm",), action_features=("x.vel",)),
        Capability("cancel", "goal", resources=("base",)),
    ],
)  # fmt: skip
def test_a_factsheet_that_cannot_be_enforced_is_refused_at_the_start(capability: Capability) -> None:
    sheet = msgspec.structs.replace(factsheet(), capabilities=(capability,))
    with pytest.raises(FactsheetInvalid, match="factsheet"):
        Guarded(sheet, fleet=FLEET, robot=ROBOT, secret=b"x")


def test_sensed_nonsense_moves_nothing_and_raises_nothing() -> None:
    scene = leased(sheet=factsheet(geofence=SQUARE))
    for n, pose in enumerate([(math.nan, 0.0, 0.0), (math.inf, 0.0, 0.0), None]):
        scene.stream("base.velocity", {"vx": 0.3}, n)
        scene.sensed["pose"] = pose
        scene.run(0.2)
        assert scene.velocity.still
    scene.do(scene.guarded.sense(Sensed(), scene.now))
    scene.do(scene.guarded.hear(Heard("", b""), scene.now))


def test_what_continued_without_its_agent_is_its_again_or_ends() -> None:
    for agent, state in (("a", "running"), ("b", "preempted")):
        scene = leased()
        goto = scene.command("nav.goto", args={"x": 1, "y": 1})
        waiting = scene.command("lamp", args={"on": True})
        scene.beating["a"] = False
        scene.run(3)
        assert goto and waiting and scene.running[0] == goto.id
        scene.lease(agent)
        assert scene.statuses(goto.id)[-1].state == state


def test_nothing_that_waits_begins_without_its_agent() -> None:
    scene = leased()
    scene.command("sweep")
    waiting = scene.command("nav.goto", args={"x": 1, "y": 1})
    scene.beating["a"] = False
    scene.run(3)
    assert waiting and not scene.running
    assert scene.statuses(waiting.id)[-1].reason == "link_lost"


def test_a_higher_rank_may_cancel_and_so_may_anybody_the_robots_own_way_home() -> None:
    sheet = factsheet()
    docks = tuple(
        msgspec.structs.replace(c, on_link_loss="dock") if c.name == "nav.move" else c for c in sheet.capabilities
    )
    scene = leased(sheet=msgspec.structs.replace(sheet, capabilities=docks), settings=GuardSettings(dock="dock"))
    scene.command("nav.move", **GO)
    scene.beating["a"] = False
    scene.run(2)
    assert [id.startswith("own-") for id in scene.running] == [True]
    scene.wanted = Velocity(0.2)
    scene.run(0.3)
    assert scene.x > 0
    assert scene.command("cancel", "stranger", args={"target": "*"}).result == {"cancelled": 1}  # type: ignore[union-attr]
    scene.run(0.3)
    assert scene.velocity.still


def test_the_state_is_never_too_long_to_publish() -> None:
    scene = leased()
    for _ in range(40):
        scene.lease(op="renew")
        scene.run(0.6)
        lamp = scene.command("lamp", args={"on": True})
        assert lamp
        scene.do(scene.guarded.finished(lamp.id, "succeeded", scene.now, result="x" * 9000, detail="y" * 9000))
    scene.sensed["battery"] = math.nan
    scene.run(6)
    states = [e.message for e in scene.effects if isinstance(e, Tell) and isinstance(e.message, RobotState)]
    assert all(len(encode(state)) < 64 * 1024 for state in states)
    assert len(states[-1].commands) == 32
    last = scene.command("query", args={"id": states[-1].commands[-1].id})
    assert last and len(last.result["result"]) == 9000

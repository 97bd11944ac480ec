"""A robot that keeps the contract passes; each broken one is caught by just the promises that it breaks."""

import argparse
import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.robots.conformance.command import add
from agent.robots.conformance.diary import Diary
from agent.robots.conformance.means import Means
from agent.robots.conformance.motion import Motion, bound
from agent.robots.conformance.party import Party
from agent.robots.conformance.promises import Result, promises
from agent.robots.conformance.report import summary
from agent.robots.conformance.running import Trial
from agent.robots.conformance.stage import Program
from agent.robots.conformance.wires import Gate
from embodied.link.address import Address
from embodied.link.broker import find, running
from embodied.link.memory import MemoryBroker
from embodied.link.mqtt import dial
from embodied.link.port import Message
from embodied.robot.codec import encode
from embodied.robot.factsheet import Capability, Factsheet, JointLimits, Limits
from embodied.robot.reports import Odometry, Status
from embodied.robot.topics import robot_topic
from embodied.robot.vocabulary import MS, State
from streams import clock
from streams.clock import Clock
from streams.errors import VisavisError
from tests.conformance_robot import FLEET, ROBOT, factsheet, obj, robot

KEY = bytes(range(32))
NEEDS_PROCESS = {"restarts.frozen"}


def tried(
    fault: str = "", only: str = "", *, knows: bytes | None = None, given: bytes = b"", restarts: bool = True
) -> list[Result]:
    """All promises on one robot, in virtual time."""

    async def main() -> list[Result]:
        time = Clock()
        broker = MemoryBroker(time, delay_ms=2)
        gate = Gate(broker.dial("agent1"))
        async with asyncio.TaskGroup() as tasks:
            lives: list[asyncio.Task[None]] = []

            def start() -> None:
                secret = b"same" if fault == "keeps_boot" else bytes([len(lives)]) * 16
                node = robot(broker.dial(ROBOT), time, fault=fault, secret=secret, operator_key=knows)
                lives.append(tasks.create_task(node.run()))

            async def restart() -> None:
                lives[-1].cancel()
                await asyncio.wait([lives[-1]])
                start()

            start()
            trial = Trial(
                (gate.dial, "agent1", b""), (broker.dial("operator1"), "operator1", b""), gate, time,
                fleet=FLEET, robot=ROBOT, program=Program(restart if restarts else None), operator_key=given,
            )  # fmt: skip
            chosen = [p for p in promises() if p.name.startswith(only)]
            results = await trial.run(chosen)
            assert not broker.retained.keys() & {robot_topic(FLEET, ROBOT, "command", "lamp")}
            lives[-1].cancel()
        return results

    return clock.run(main(), virtual=True)


def named(results: list[Result], verdict: str) -> set[str]:
    return {each.promise.name for each in results if each.verdict == verdict}


def test_a_robot_that_keeps_the_contract_passes_all() -> None:
    results = tried()
    assert not named(results, "failed"), [(r.promise.name, r.seen) for r in results if r.verdict == "failed"]
    assert named(results, "not run") == NEEDS_PROCESS
    assert len(results) > 40


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("ignores_ttl", {"links.deadman", "links.blackhole"}),
        ("executes_duplicates", {"repetition.same", "repetition.other"}),
        ("accepts_stale", {"freshness.none", "freshness.stale", "freshness.future", "freshness.recorded",
                           "freshness.late"}),
        ("accepts_any_boot", {"freshness.boot", "restarts.boot"}),
        ("keeps_boot", {"restarts.boot", "restarts.retained"}),
        ("reset_restarts", {"estop.reset"}),
        ("any_token_resets", {"estop.reset"}),
        ("needs_no_lease", {"forms.setpoints", "lease.needed", "lease.other", "lease.expiry", "lease.release",
                            "lease.takeover", "floods.commands", "estop.reset", "restarts.boot"}),
        ("takes_any_order", {"repetition.order"}),
        ("stops_gently", {"estop.malformed"}),
        ("reads_before_it_stops", {"commands.stop", "estop.malformed"}),
        ("no_rates", {"floods.commands", "floods.stream"}),
        ("too_fast", {"limits.stream"}),
        ("too_sudden", {"limits.acceleration"}),
        ("obeys_retained", {"restarts.retained"}),
    ],
)  # fmt: skip
def test_a_broken_robot_is_caught(fault: str, caught: set[str]) -> None:
    results = tried(fault)
    assert named(results, "failed") == caught, [(r.promise.name, r.seen) for r in results if r.verdict == "failed"]


def test_without_the_operators_key_the_robot_stays_stopped_and_that_is_told() -> None:
    results = tried("", "estop", knows=KEY)
    assert named(results, "failed") == set()
    assert {"estop.latch", "estop.reset"} <= named(results, "not run")
    assert "--operator-key" in results[1].seen


def test_with_the_operators_key_the_reset_is_proven() -> None:
    assert named(tried("", "estop", knows=KEY, given=KEY), "passed") >= {"estop.reset", "estop.latch"}


def test_a_key_that_the_robot_does_not_ask_for_is_found_out() -> None:
    assert named(tried("", "estop.reset", given=KEY), "failed") == {"estop.reset"}


def test_nothing_is_tried_on_a_robot_that_is_not_there() -> None:
    async def main() -> list[Result]:
        time = Clock()
        broker = MemoryBroker(time)
        gate = Gate(broker.dial("agent1"))
        trial = Trial((gate.dial, "agent1", b""), (broker.dial("o"), "o", b""), gate, time, fleet=FLEET, robot=ROBOT)
        return await trial.run(promises()[:2])

    results = clock.run(main(), virtual=True)
    assert named(results, "passed") == named(results, "failed") == set()
    assert "nothing was tried" in summary(results)
    assert "no robot r1 was found in fleet lab" in results[0].seen


# --- what goes away on the way


def cut_short(
    harm: Callable[[MemoryBroker, list[asyncio.Task[None]], Clock], Awaitable[None]], chosen: list[str]
) -> tuple[list[Result], str, list[str], float]:
    """While the promises are tried, `harm` is done: results, why it ended, who sent stops after the harm, seconds."""

    async def main() -> tuple[list[Result], str, list[str], float]:
        time = Clock()
        broker = MemoryBroker(time, delay_ms=2)
        gate = Gate(broker.dial("agent1"))
        async with asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(robot(broker.dial(ROBOT), time, secret=b"1" * 16).run())]
            trial = Trial(
                (gate.dial, "agent1", b""), (broker.dial("operator1"), "operator1", b""), gate, time,
                fleet=FLEET, robot=ROBOT, spare=broker.dial("spare"),
            )  # fmt: skip
            at: list[int] = []

            async def harming() -> None:
                await harm(broker, lives, time)
                at.append(time.now())
                broker.log.clear()

            tasks.create_task(harming())
            results = await trial.run([p for p in promises() if p.name in chosen])
            took = (time.now() - at[0]) / 1e9
            stops = [who for who, message in broker.log if message.topic.endswith("/command/stop")]
            lives[0].cancel()
        return results, trial.ended, stops, took

    return clock.run(main(), virtual=True)


DRIVEN = ["presence.online", "lease.expiry", "commands.life", "estop.latch"]


def test_a_broker_that_dies_is_not_the_robots_fault() -> None:
    async def harm(broker: MemoryBroker, lives: list[asyncio.Task[None]], time: Clock) -> None:
        await time.sleep_until(time.now() + 2000 * MS)
        broker.stop()

    results, ended, _, took = cut_short(harm, DRIVEN)
    assert [each.verdict for each in results] == ["passed", "not run", "not run", "not run"]
    assert [each.reached for each in results] == [True, True, False, False]
    assert "is down" in ended
    assert "could not be told to stop" in ended
    assert took < 2


def test_a_robot_that_dies_on_the_way_is_noticed() -> None:
    async def harm(broker: MemoryBroker, lives: list[asyncio.Task[None]], time: Clock) -> None:
        await time.sleep_until(time.now() + 2000 * MS)
        lives[0].cancel()

    results, ended, stops, took = cut_short(harm, DRIVEN)
    assert [each.verdict for each in results] == ["passed", "not run", "not run", "not run"]
    assert "not heard any more" in ended
    assert "lease.expiry" in ended
    assert stops
    assert took < 6


@pytest.mark.parametrize(("whose", "option"), [("operator1", "--operator"), ("agent1", "--agent")])
def test_somebody_with_the_same_id_is_named_and_the_robot_is_stopped(whose: str, option: str) -> None:
    async def harm(broker: MemoryBroker, lives: list[asyncio.Task[None]], time: Clock) -> None:
        await time.sleep_until(time.now() + 2000 * MS)
        async with broker.dial(whose)(None):
            pass

    results, ended, stops, took = cut_short(harm, DRIVEN)
    assert named(results, "failed") == set()
    assert f"another client uses the id {whose}" in ended
    assert option in ended
    assert "spare" in stops
    assert took < 8


def lease_of_another(broker: MemoryBroker, time: Clock) -> Party:
    return Party(broker.dial("agentB"), time, fleet=FLEET, robot=ROBOT, name="agentB")


def test_who_holds_the_lease_already_is_told_before_anything_is_done() -> None:
    async def main() -> tuple[list[Result], str, set[str]]:
        time = Clock()
        broker = MemoryBroker(time, delay_ms=2)
        gate = Gate(broker.dial("agent1"))
        async with asyncio.TaskGroup() as tasks:
            life = tasks.create_task(robot(broker.dial(ROBOT), time, secret=b"1" * 16).run())
            async with lease_of_another(broker, time).here() as other:
                await other.diary.until(lambda: other.diary.fresh, 5)
                assert await other.wish("acquire", "policy") is not None
                assert other.lease
                broker.log.clear()
                trial = Trial(
                    (gate.dial, "agent1", b""), (broker.dial("operator1"), "operator1", b""), gate, time,
                    fleet=FLEET, robot=ROBOT,
                )  # fmt: skip
                results = await trial.run([p for p in promises() if p.name in DRIVEN])
                sent = {who for who, message in broker.log if "/command/" in message.topic}
            life.cancel()
        return results, trial.ended, sent

    results, ended, sent = clock.run(main(), virtual=True)
    assert ended == "agentB holds the lease of r1: end it, or wait"
    assert named(results, "not run") == set(DRIVEN)
    assert not sent  # it is not stopped, either: it is theirs


@pytest.mark.parametrize(
    ("does", "said"), [("lease", "agentB holds the lease"), ("stop", "somebody else commands r1 (stop")]
)
def test_somebody_who_meddles_makes_no_broken_promise(does: str, said: str) -> None:
    async def harm(broker: MemoryBroker, lives: list[asyncio.Task[None]], time: Clock) -> None:
        await time.sleep_until(time.now() + 2000 * MS)
        async with lease_of_another(broker, time).here() as other:
            await other.diary.until(lambda: other.diary.fresh, 5)
            if does == "lease":
                while not other.lease:
                    await other.wish("acquire", "policy")  # busy, until that of the trial has run out
            else:
                await other.say("stop")

    results, ended, stops, _ = cut_short(harm, DRIVEN)
    assert [each.verdict for each in results] == ["passed", "not run", "not run", "not run"]
    assert "the trial was disturbed while trying lease.expiry" in ended
    assert said in ended
    assert stops or does == "stop"


# --- what it measures with


def test_a_way_is_measured_from_the_place_before() -> None:
    async def main() -> None:
        time = Clock()
        diary = Diary(ROBOT, "a", time)
        motion = Motion(diary, 0.2)
        for n in range(11):
            speed = 0.1 if n < 6 else 0.0
            told = Odometry(n, n * 100, min(n, 6) * 0.01, 0.0, 0.0, speed)
            diary.write(Message(robot_topic(FLEET, ROBOT, "telemetry", "odom"), encode(told)))
            await time.sleep_until(time.now() + 100 * MS)
        assert motion.way(0) == pytest.approx(0.06)
        assert motion.way(350 * MS) == pytest.approx(0.03)
        assert motion.rest(0) == 600 * MS
        assert motion.speed(0) == pytest.approx(0.1)
        assert motion.straight(0) == pytest.approx(0.1)
        assert motion.period() == pytest.approx(0.1)

    clock.run(main(), virtual=True)
    assert bound(0.5, 0.5, 3.0) == pytest.approx(0.5 * 0.6 + 0.25 / 6 + 0.05)


def test_places_from_before_a_restart_are_no_way() -> None:
    """The new program counts its places from another one: it did not go from the old one there."""

    async def main() -> None:
        time = Clock()
        diary = Diary(ROBOT, "a", time)
        for n, (mono_ms, x) in enumerate(
            [(9000, 0.0), (9040, 0.01), (9080, 0.096), (20, 0.0), (60, 0.0), (100, 0.002)]
        ):
            told = Odometry(n, mono_ms, x, 0.0, 0.0, 0.0)
            diary.write(Message(robot_topic(FLEET, ROBOT, "telemetry", "odom"), encode(told)))
            await time.sleep_until(time.now() + 40 * MS)
        assert Motion(diary, 0.2).way(110 * MS) == pytest.approx(0.002)

    clock.run(main(), virtual=True)


def test_a_diary_finds_statuses_by_their_id_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.robots.conformance.diary.KEPT", 4)

    async def main() -> None:
        time = Clock()
        diary = Diary(ROBOT, "a", time)
        states: list[State] = ["accepted", "running", "running", "succeeded"]
        for n, state in enumerate(states):
            for _ in range(2 if n == 1 else 1):  # the second one came twice
                body = encode(Status("c1", "lamp", state, n, n * 100))
                diary.write(Message(robot_topic(FLEET, ROBOT, "status"), body))
            await time.sleep_until(time.now() + 100 * MS)
        assert [each.seq for each in diary.statuses("c1")] == [1, 2, 3]  # the first is forgotten
        assert [each.seq for each in diary.statuses("c1", 200 * MS)] == [2, 3]
        assert [(t, each.seq) for t, each in diary.since(100 * MS, Status)] == [
            (100 * MS, 1), (100 * MS, 1), (200 * MS, 2), (300 * MS, 3)
        ]  # fmt: skip
        for n in range(4):
            diary.write(Message(robot_topic(FLEET, ROBOT, "status"), encode(Status("c2", "lamp", "running", 9 + n, 0))))
        assert diary.statuses("c1") == []
        assert len(diary.statuses("c2")) == 4
        assert diary._statuses.keys() == {"c2"}

    clock.run(main(), virtual=True)


def test_what_a_robot_is_asked_to_do_is_within_its_limits() -> None:
    means = Means(factsheet(), 0.9)
    assert means.speed == 0.5
    assert means.errand is not None
    assert means.errand.capability.name == "turn"
    assert means.errand.args(0.6, -1) == {"angle_rad": -0.6}
    assert means.instant is not None
    assert means.instant[1] == {"on": False}
    joints = {"j1": JointLimits(-1.0, 2.0)}
    sheet = Factsheet(
        "1.0", 1, "b", limits=Limits(joints=joints), resources=("arm",),
        capabilities=(Capability("arm.go", "goal", obj("q", q={"type": "object", "additionalProperties": True}),
                                 resources=("arm",), quantities={"q": "joints"}),),
    )  # fmt: skip
    arm = Means(sheet, 0.2)
    assert arm.stream is None
    assert Means(Factsheet("1.0", 1, "b"), 0.2).errand is None


# --- the program, with a real broker


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    return parser.parse_args(["conformance", *words])


def run(*words: str) -> int:
    arguments = parsed(*words)
    return int(arguments.command(arguments))


def test_the_list_and_what_cannot_be_tried(capsys: pytest.CaptureFixture[str]) -> None:
    url = "mqtt://127.0.0.1:1"
    assert run(url, "--robot", "r1", "--list", "--only", "estop") == 0
    assert "estop.reset" in capsys.readouterr().out
    for words, said in (
        (["--only", "nonsense"], "--list"),
        (["--speed", "9", "--yes"], "--speed"),
        (["--agent", "one", "--operator", "one"], "two different"),
        ([], "--yes"),
        (["--yes", "--pid", "/no/such/file"], "--pid"),
        (["--yes", "--pid", "9999999"], "there is no such process"),
        (["--yes", "--pid", "0"], "no process of a robot"),
        (["--yes"], "127.0.0.1:1"),
        (["--yes", "--json", "/no/such/x.json"], "there is no folder /no/such"),
        (["--yes", "--json", "same.key", "--agent-key", "same.key"], "--agent-key"),
        (["--yes", "--freeze-command", "true"], "--thaw-command"),
        (["--yes", "--operator-key", "/no/such/file"], "--operator-key"),
    ):
        with pytest.raises(VisavisError, match=said):
            run(url, "--robot", "r1", *words)


needs_broker = pytest.mark.skipif(find() is None, reason="mosquitto is not installed: apt install mosquitto")


async def with_robot(tmp_path: Path, work: Callable[[str, Path], Awaitable[Any]]) -> Any:
    """A real broker and a robot in a process of its own; `work` is given the url and a file with its pid."""
    async with running() as broker:
        pid = tmp_path / "pid"
        command = shlex.join([sys.executable, "-m", "agent.robots.node_command", "robot", "--broker", broker.url,
                              "--robot", ROBOT, "--fleet", FLEET])  # fmt: skip
        start = f"{command} >{tmp_path}/robot.log 2>&1 </dev/null & echo $! >{pid}\n"
        script = tmp_path / "restart.sh"
        script.write_text(f"test -f {pid} && kill -9 $(cat {pid})\nsleep 0.2\n{start}")
        subprocess.run(["sh", str(script)], check=True)  # noqa: ASYNC221 - it returns at once
        try:
            return await work(broker.url, pid)
        finally:
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass


@needs_broker
def test_the_command_on_a_real_robot_behind_a_real_broker(tmp_path: Path) -> None:
    chosen = ["presence.online", "freshness.late", "links.blackhole", "restarts.frozen", "restarts.boot"]

    async def work(url: str, pid: Path) -> tuple[int, str]:
        words = [url, "--robot", ROBOT, "--fleet", FLEET, "--yes", "--pid", str(pid),
                 "--json", str(tmp_path / "r.json"),
                 "--restart-command", f"sh {tmp_path}/restart.sh"]  # fmt: skip
        for name in chosen:
            words += ["--only", name]
        code = f"import sys; from tests.test_conformance import run; sys.exit(run(*{words!r}))"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    code, out = asyncio.run(with_robot(tmp_path, work))
    assert code == 0, out
    told = json.loads((tmp_path / "r.json").read_text())
    assert {each["verdict"] for each in told["promises"]} == {"passed"}
    assert len(told["promises"]) == len(chosen)
    assert re.search(r"5 passed, 0 failed, 0 not run", out)
    assert "pending" not in out


def test_a_broker_that_is_down_is_told_at_once_and_the_report_is_written(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    with pytest.raises(VisavisError, match=r"127\.0\.0\.1:1"):
        run("mqtt://127.0.0.1:1", "--robot", "r1", "--yes", "--json", str(file))
    told = json.loads(file.read_text())
    assert {each["verdict"] for each in told["promises"]} == {"not run"}
    assert "127.0.0.1:1" in told["ended"]


def test_ctrl_c_is_not_lost_while_it_imports() -> None:
    """In a callback of the collector, where Python itself would only say that it ignores it."""
    code = (
        "import os, signal, sys, weakref\n"
        "class Thing: pass\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'agent.robots.conformance.trying':\n"
        "            thing = Thing()\n"
        "            kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "            del thing\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from agent.cli import main\n"
        "sys.exit(main(['conformance', 'mqtt://127.0.0.1:1', '--robot', 'r1', '--list']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")


@needs_broker
def test_no_robot_is_one_sentence_after_ten_seconds_and_ctrl_c_writes_the_report(tmp_path: Path) -> None:
    async def work() -> tuple[int, str, int]:
        async with running() as broker:

            async def start(file: str) -> asyncio.subprocess.Process:
                words = [sys.executable, "-m", "agent.cli", "conformance", broker.url, "--robot", "nobody", "--yes"]
                return await asyncio.create_subprocess_exec(
                    *words, "--json", str(tmp_path / file), stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip

            absent, ended = await start("absent.json"), await start("ended.json")
            # Not before both are at it: a Ctrl-C while the interpreter itself starts is lost now and then.
            async with dial(Address.parse(broker.url), client_id="watch")(None) as connection, asyncio.timeout(60):
                await connection.recall([("robot/v1/home/agents/+/connection", 1)])
                there: set[str] = set()
                async for message in connection.messages():
                    there |= {message.topic} if b"online" in message.payload else set()
                    if len(there) == 4:  # two agents each
                        break
            ended.send_signal(signal.SIGINT)
            await ended.wait()
            out, _ = await absent.communicate()
            return absent.returncode or 0, out.decode(), ended.returncode or 0

    code, out, interrupted = asyncio.run(work())
    assert code == 2, out
    assert "no robot nobody was found" in " ".join(out.split())
    assert "Traceback" not in out
    assert interrupted == 130
    assert json.loads((tmp_path / "ended.json").read_text())["ended"] == "it was interrupted"
    assert {each["verdict"] for each in json.loads((tmp_path / "absent.json").read_text())["promises"]} == {"not run"}


@needs_broker
def test_a_trial_that_is_ended_leaves_the_robot_standing(tmp_path: Path) -> None:
    """Ctrl-C while it drives: stopped, and the lease released."""

    async def work(url: str, pid: Path) -> tuple[int, str]:
        words = [url, "--robot", ROBOT, "--fleet", FLEET, "--yes", "--only", "lease.expiry"]
        code = (
            "import sys; from tests.test_conformance import run\n"
            f"try: sys.exit(run(*{words!r}))\n"
            "except KeyboardInterrupt as end: sys.exit(end.args[0] if end.args else 130)"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        heard: list[Message] = []
        async with dial(Address.parse(url), client_id="watch")(None) as connection:
            await connection.recall([(f"robot/v1/{FLEET}/{ROBOT}/#", 1)])
            async with asyncio.timeout(20):
                async for message in connection.messages():
                    heard.append(message)
                    if message.topic.endswith("/odom") and abs(json.loads(message.payload).get("vx", 0)) > 0.05:
                        break
                process.send_signal(signal.SIGTERM)
                await process.wait()
            async with asyncio.timeout(5):
                lease, speed = "?", 1.0
                async for message in connection.messages():
                    body = json.loads(message.payload)
                    if message.topic.endswith("/lease"):
                        lease = body.get("holder", "")
                    elif message.topic.endswith("/odom"):
                        speed = body.get("vx", 0.0)
                    if lease == "" and speed == 0.0:
                        break
        return process.returncode or 0, lease

    code, lease = asyncio.run(with_robot(tmp_path, work))
    assert code == 143
    assert lease == ""

"""`visavis robot` as people run it: a real broker, real processes, really frozen and killed."""

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiomqtt")
pytest.importorskip("yaml")

from agent.robots import node_command
from embodied.link.address import Address
from embodied.link.mqtt import dial
from embodied.robot.topics import robot_topic
from streams.clock import Clock, run
from tests.dialogues import ROOT
from tests.node_room import FLEET, ROBOT, Agent

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto: apt-get install mosquitto")
BOUND_S = 15.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    assert MOSQUITTO is not None
    process = subprocess.Popen([MOSQUITTO, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"mqtt://127.0.0.1:{port}"
    process.terminate()
    process.wait(5)


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    while STARTED:
        ended(STARTED[-1], signal.SIGKILL)


def heed_interrupts(ignored: int | None = None) -> None:
    """A shell in the background starts what it starts with Ctrl-C ignored, and that is inherited; so does nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)


def program(
    url: str, *more: str, folder: Path = ROOT, command: tuple[str, ...] = (), terminal: int | None = None,
    ignored: int | None = None,
) -> subprocess.Popen[str]:  # fmt: skip
    """terminal: it writes to, in place of pipes;  ignored: a signal"""
    out = subprocess.PIPE if terminal is None else terminal
    start = command or ("-m", "agent.robots.node_command", "robot", "--fleet", FLEET, "--robot", ROBOT, "--broker", url)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *start, *more], cwd=folder, stdout=out, stderr=out, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        preexec_fn=lambda: heed_interrupts(ignored),  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    STARTED.append(process)
    return process


@asynccontextmanager
async def agent(url: str) -> AsyncIterator[Agent]:
    async with dial(Address.parse(url), client_id="a")(None) as connection, asyncio.TaskGroup() as group:
        made = Agent(connection, Clock())
        background = [group.create_task(made.listen()), group.create_task(made.beat())]
        try:
            yield made
        finally:
            for each in background:
                each.cancel()


def ended(process: subprocess.Popen[str], number: int | None = None) -> tuple[int, str, str]:
    if number is not None and process.poll() is None:
        process.send_signal(number)
    if process in STARTED:
        STARTED.remove(process)
    try:
        out, err = process.communicate(timeout=BOUND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return process.returncode, out, err


async def until(what: Any, seconds: float = BOUND_S) -> None:
    for _ in range(round(seconds / 0.05)):
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


def last(made: Agent, channel: str) -> Any:
    return made.of(channel)[-1] if made.of(channel) else {}


@needs_broker
@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_it_drives_and_says_goodbye(broker: str, protocol: str, tmp_path: Path) -> None:
    audit = tmp_path / "log.jsonl"
    robot = program(broker, "--audit", str(audit), "--show", "--protocol", protocol, "--watchdog", "5")

    async def main() -> None:
        async with agent(broker) as made:
            await made.acquire()
            status = await made.do("move", {"distance_m": 0.4})
            assert status["state"] == "succeeded", status
            assert abs(last(made, "telemetry/odom")["x"] - 0.4) < 0.03
            assert (await made.do("move", {"distance_m": 99}))["reason"] == "limit"
            await made.publish(robot_topic(FLEET, ROBOT, "estop/set"), b"now!")
            await until(lambda: last(made, "safety").get("estop") == "latched")
            await made.wait(0.6)
            robot.send_signal(signal.SIGINT)
            await until(lambda: last(made, "connection").get("state") == "offline")

    run(main())
    code, out, err = ended(robot)
    assert (code, err) == (130, "")
    assert "connected, MQTT " + ("5" if protocol == "auto" else "3.1.1") in out
    assert "a as policy" in out and "STOPPED by" in out and ("x +0.39" in out or "x +0.40" in out)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert "started" in lines[0] and "boot" in lines[0]
    assert any(line.get("name") == "move" and line.get("reason") == "limit" for line in lines)
    assert lines[-1]["t"] >= lines[1]["t"]


@needs_broker
def test_killed_it_is_lost_and_started_again_it_is_another(broker: str) -> None:
    robot = program(broker)

    async def main() -> tuple[str, str]:
        async with agent(broker) as made:
            await made.acquire()
            boot = last(made, "factsheet")["boot"]
            robot.kill()
            await until(lambda: last(made, "connection").get("state") == "lost", 3)
            again = program(broker)
            try:
                await until(lambda: last(made, "connection").get("state") == "online")
                await until(lambda: last(made, "factsheet")["boot"] != boot)
                stale = await made.begin("move", {"distance_m": 0.3}, fresh={"boot": boot, "beat": 1})
                assert (await made.ended(stale))["reason"] == "wrong_boot"
                await made.wait(0.5)
            finally:
                code, _, err = ended(again, signal.SIGTERM)
            assert (code, err) == (143, "")
            return boot, last(made, "factsheet")["boot"]

    try:
        first, second = run(main())
    finally:
        ended(robot, signal.SIGKILL)
    assert first != second


@needs_broker
def test_frozen_while_it_drives_its_motors_stop_and_nothing_old_moves_it(broker: str) -> None:
    robot = program(broker)

    async def main() -> None:
        async with agent(broker) as made:
            await made.acquire()
            id = await made.begin("move", {"distance_m": 2.5})
            await until(lambda: last(made, "telemetry/odom").get("vx", 0) > 0.3)
            robot.send_signal(signal.SIGSTOP)
            x = last(made, "telemetry/odom")["x"]
            await made.begin("move", {"distance_m": 1.0})  # held, and delivered when it wakes
            await made.wait(3)
            robot.send_signal(signal.SIGCONT)
            await until(lambda: made.statuses(id) and made.statuses(id)[-1]["state"] in ("failed", "preempted"))
            await made.wait(1.0)
            after = last(made, "telemetry/odom")
            assert after["vx"] == 0 and after["x"] - x < 0.35  # 200 ms on, then the motors' own brake
            assert any(body[0]["level"] == 1 and "late" in body[0]["msg"] for body in made.of("diag"))

    try:
        run(main())
    finally:
        code, _, err = ended(robot, signal.SIGTERM)
    assert (code, err) == (143, "")


@needs_broker
def test_the_watchdog_ends_a_program_that_hangs(broker: str, tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(
        "import time\n"
        "from embodied.node.simulator import SimulatedRobot\n"
        "class Hanging(SimulatedRobot):\n"
        "    def sense(self, now):\n"
        "        if now > 1_000_000_000: time.sleep(60)\n"
        "        return super().sense(now)\n"
    )
    robot = program(broker, "--driver", "hanging:Hanging", "--watchdog", "1", folder=tmp_path)
    code, _, err = ended(robot)
    assert code == 1 and "Timeout" in err and "hanging.py" in err and "sense" in err


@needs_broker
def test_a_robot_of_ones_own(broker: str) -> None:
    """The example, as a program and as a driver of `visavis robot`, as docs/robots.md has it."""

    async def main() -> None:
        async with agent(broker) as made:
            await made.acquire()
            assert (await made.do("move", {"distance_m": 0.3}))["state"] == "succeeded"
            assert abs(last(made, "telemetry/odom")["x"] - 0.3) < 0.03

    given = ("--driver", "examples.own_robot:Rover", "--set", "guards.ranges_needed=false")
    robot = program(broker, *given)
    try:
        run(main())
    finally:
        code, _, err = ended(robot, signal.SIGINT)
    assert (code, err) == (130, "")
    robot = program(broker, command=("examples/own_robot.py", broker))

    async def online() -> None:
        async with dial(Address.parse(broker), client_id="b")(None) as connection:
            await connection.recall([("robot/v1/home/rover/connection", 1)])
            async for message in connection.messages():
                if b"online" in message.payload:
                    await asyncio.sleep(0.5)
                    return

    try:
        run(online())
    finally:
        code, _, err = ended(robot, signal.SIGINT)
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--profile", "dif-drive"], "no such profile"),
        (["--set", "limits.v_maxx=1"], "perhaps 'v_max' is meant"),
        (["--set", "limits"], "write KEY=VALUE"),
        (["--driver", "nowhere:Robot"], "no module nowhere"),
        (["--keys", "nowhere.toml"], "nowhere.toml"),
        (["--audit", "nowhere/log"], "no folder nowhere; make it first"),
        (["--driver", "broken:Broken"], "broken:Broken cannot be made: OSError: no serial port on this robot (/"),
        (["--driver", "unreadable:Robot"], "cannot be loaded: ZeroDivisionError: division by zero (/"),
        (["--robot", "a/b"], "a/b"),
        (["--broker", "http://x"], "mqtt://"),
        (["--watchdog", "-1"], "--watchdog"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unreadable.py").write_text("1 / 0\n")
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def __init__(self, profile):\n        raise OSError('no serial port\\non this robot')\n"
    )
    given = ["visavis", "robot", "--robot", ROBOT, "--broker", "mqtt://127.0.0.1:1", *options]
    monkeypatch.setattr(sys, "argv", given)
    assert node_command.main() == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1, err


def test_without_a_broker_it_says_so_and_tries_on() -> None:
    robot = program("mqtt://127.0.0.1:1")
    assert robot.stdout is not None
    first = [robot.stdout.readline() for _ in range(2)]
    assert re.fullmatch(r"not connected: \S.*\n", first[1]) and "not tried yet" not in first[1]
    code, _, err = ended(robot, signal.SIGTERM)
    assert (code, err) == (143, "")


@needs_broker
def test_a_terminal_that_is_closed_ends_it_in_order(broker: str) -> None:
    ours, theirs = pty.openpty()
    robot = program(broker, "--show", terminal=theirs)
    os.close(theirs)

    async def main() -> None:
        async with agent(broker) as made:
            await made.acquire()
            await until(lambda: last(made, "connection").get("state") == "online")
            robot.send_signal(signal.SIGSTOP)  # the terminal goes and the signal comes at one instant
            os.close(ours)
            robot.send_signal(signal.SIGHUP)
            robot.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.01)
            robot.send_signal(signal.SIGHUP)  # the first was the kernel's, this is the shell's
            await until(lambda: last(made, "connection").get("state") not in ("online", None))
            assert last(made, "connection")["state"] == "offline", "it said goodbye"

    run(main())
    code, _, _ = ended(robot)
    assert code in (129, -signal.SIGHUP)  # the shell's may come when Python is no more


def test_who_says_nohup_keeps_it() -> None:
    robot = program("mqtt://127.0.0.1:1", ignored=signal.SIGHUP)
    assert robot.stdout is not None
    while "not connected" not in (line := robot.stdout.readline()):
        assert line
    robot.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert robot.poll() is None
    code, _, err = ended(robot, signal.SIGTERM)
    assert (code, err) == (143, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("blocks", ["time.sleep(60)", "while True: pass"])
def test_a_second_signal_ends_it_also_while_the_driver_keeps_the_loop(blocks: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "blocking.py").write_text(
        "import time\n"
        "from embodied.node.simulator import SimulatedRobot\n"
        "class Blocking(SimulatedRobot):\n"
        "    def sense(self, now):\n"
        "        print('blocks', flush=True)\n"
        f"        {blocks}\n"
    )
    robot = program("mqtt://127.0.0.1:1", "--driver", "blocking:Blocking", folder=tmp_path)
    assert robot.stdout is not None
    while "blocks" not in (line := robot.stdout.readline()):
        assert line
    robot.send_signal(number)
    time.sleep(1)
    assert robot.poll() is None
    began = time.monotonic()
    code, _, _ = ended(robot, number)
    assert code == 128 + number and time.monotonic() - began < 4  # before the alarm would end it


@pytest.mark.parametrize(
    ("closing", "told"),
    [
        ("raise OSError('the port is gone')", "OSError: the port is gone"),
        ("await asyncio.Event().wait()", "within 2 s"),
    ],
)
def test_a_driver_that_cannot_be_closed_is_told_by_the_exit_code(closing: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import asyncio\n"
        "from embodied.node.simulator import SimulatedRobot\n"
        "class Stuck(SimulatedRobot):\n"
        "    async def close(self):\n"
        f"        {closing}\n"
    )
    robot = program("mqtt://127.0.0.1:1", "--driver", "stuck:Stuck", folder=tmp_path)
    assert robot.stdout is not None
    while "not connected" not in (line := robot.stdout.readline()):
        assert line
    code, _, err = ended(robot, signal.SIGTERM)
    assert code == 1 and f"could not be closed ({told}" in err.replace("it did not end ", "")

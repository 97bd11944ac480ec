"""A policy on LeRobot's policy server: off unless allowed, rows where they belong, and an arm that holds if it fails.

The server is `tests/lerobot_server.py`, which behaves as LeRobot's and unpickles what it is sent. The real one was
tried by hand: docs/lerobot.md says which and how.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc")

import grpc

from agent.errors import ConfigError
from agent.robots.policies import load, specs
from embodied.remote.settings import RobotConfig
from policies.chunks.errors import ChunkRefused, PackageError
from policies.chunks.executor import ChunkExecutor
from policies.chunks.lerobot import LeRobotPolicy
from policies.chunks.lerobot_file import Served
from policies.chunks.policy import Observation
from policies.chunks.remote import Address, RemoteRefused
from policies.chunks.told import Event, Tick
from streams.clock import MS, SECOND, Clock, run
from streams.errors import DependencyMissing
from tests.brokers import certificates, needs_openssl
from tests.lerobot_pickles import answer
from tests.lerobot_server import Server, fields, message, start

ROOT = Path(__file__).parent.parent
FILE = """
kind = "lerobot-policy-server"
address = "ADDRESS"
policy = "act"
model = "me/pick"
rows = 20
fps = 50
name = "pick"
task = "Pick it up."
drives = "arm.chunk"

[observation."observation.state"]
names = ["j1.pos", "j2.pos"]
channel = "joints"

[action]
names = ["j1.pos", "j2.pos"]
"""
PICTURE = '[observation."observation.images.front"]\nsize = [480, 640]\n'
SEEN = Observation(3 * SECOND, {"observation.state": np.array([2.0, -1.0], np.float32)})


def described(folder: Path, port: int | str = 1, **changed: str) -> Served:
    address = port if isinstance(port, str) else f"grpc://127.0.0.1:{port}"
    text = FILE.replace("ADDRESS", address)
    for old, new in changed.items():
        text = f"{old} = {new}\n" + "\n".join(line for line in text.split("\n") if not line.startswith(f"{old} ="))
    (folder / "pick.toml").write_text(text)
    return Served.read(folder / "pick.toml")


def program(*options: str) -> tuple["subprocess.Popen[str]", int]:
    """The server in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lerobot_server", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@contextlib.contextmanager
def served(*options: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    process, port = program(*options)
    try:
        yield process, port
    finally:
        end(process)


@contextlib.contextmanager
def asking(found: Served) -> Iterator[LeRobotPolicy]:
    policy = LeRobotPolicy(found, allow_remote=True)
    try:
        yield policy
    finally:
        policy.close()


class Liar(Server):
    """Answers what it likes: `answers` is given the timestep of the observation, which are 1, 2, 3, ..."""

    def __init__(self, answers: Callable[[int], bytes]) -> None:
        super().__init__()
        self.answers, self.step = answers, 0

    def instruct(self, data: bytes, _: Any) -> bytes:
        self.loads += 1
        return b""

    def observe(self, parts: Any, _: Any) -> bytes:
        assert b"TimedObservation" in b"".join(fields(part)[2] for part in parts)
        self.step += 1
        return b""

    def act(self, _: bytes, __: Any) -> bytes:
        threading.Event().wait(0.05)  # asked at the same time as the observation is sent
        return self.answers(self.step)


@contextlib.contextmanager
def lying(answers: Callable[[int], bytes], **options: Any) -> Iterator[tuple[Liar, int]]:
    liar = Liar(answers)
    listening, port = start(liar, **options)
    try:
        yield liar, port
    finally:
        listening.stop(None).wait()


def refused(policy: LeRobotPolicy, match: str, seen: Observation = SEEN) -> None:
    with pytest.raises(ChunkRefused, match=match) as why:
        policy.infer(seen, None, 0)
    assert str(why.value).isprintable() and len(str(why.value)) < 400


def right(step: int, rows: int = 20, fps: float = 50) -> bytes:
    return message(answer(np.zeros((rows, 2), np.float32), step, 3.0, 1 / fps))


# --- off, and to whom


def test_it_is_off_unless_somebody_says_so(tmp_path: Path) -> None:
    found, truthy = described(tmp_path), 1
    for options in ({}, {"allow_remote": False}, {"allow_remote": truthy}):
        with pytest.raises(RemoteRefused, match=r"allow_remote=True.*--allow-remote-policy"):
            LeRobotPolicy(found, **options)  # type: ignore[arg-type]
    with pytest.raises(RemoteRefused, match="allow-remote-policy"):
        load(RobotConfig(skills=(str(tmp_path / "pick.toml"),)))
    with pytest.raises(RemoteRefused, match="UNAVAILABLE"):
        LeRobotPolicy(found, allow_remote=True)


def test_only_this_machine_or_tls(tmp_path: Path) -> None:
    for address in ("grpc://10.0.0.7:8080", "grpc://robot.example:8080", "grpc://127.0.0.1.example:1"):
        with pytest.raises(RemoteRefused, match=r"grpcs://, or a tunnel \(ssh -L"):
            described(tmp_path, address)
    for address in (
        "127.0.0.1:8080",
        "http://127.0.0.1:1",
        "ws://127.0.0.1:1",
        "grpc://me:secret@127.0.0.1:1",
        "grpc://",
    ):
        with pytest.raises(RemoteRefused):
            described(tmp_path, address)
    assert Address.parse("grpcs://gpu.example:8443", ("grpc", "grpcs"))[1:] == ("gpu.example", 8443, True)


@needs_openssl
def test_tls_is_checked(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    liar = Liar(right)
    pair = (made["broker.key"].read_bytes(), made["broker"].read_bytes())
    listening, port = start(liar, tls=grpc.ssl_server_credentials([pair]))
    try:
        with asking(described(tmp_path, f"grpcs://127.0.0.1:{port}", ca='"ca.pem"')) as policy:
            assert policy.infer(SEEN, None, 0).shape == (20, 2)
        with pytest.raises(RemoteRefused, match="UNAVAILABLE"):  # whom the public authorities do not know
            LeRobotPolicy(described(tmp_path, f"grpcs://127.0.0.1:{port}", load_s="3"), allow_remote=True)
        with pytest.raises(RemoteRefused, match="UNAVAILABLE"):  # who has no TLS at all
            LeRobotPolicy(described(tmp_path, port, load_s="3"), allow_remote=True)
        assert liar.loads == 1
    finally:
        listening.stop(None).wait()


# --- the description


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind", '"another"', "kind"),
        ("rows", "1", "rows"),
        ("rows", "5000", "rows"),
        ("fps", "0", "fps"),
        ("policy", '"os.system"', "policy"),
        ("device", '"cuda:0; rm"', "device"),
        ("secret", "1", "unknown field"),
        ("names", "[]", "names"),
        ("names", '["task", "j2.pos"]', "the same name"),
        ("names", '["j1.pos", "j1.pos"]', "twice"),
        ("dt_ms", "1", "dt_ms"),
        ("dt_ms", "700", "horizon"),
    ],
)
def test_a_description_that_is_none_says_why(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=rf"pick\.toml.*{said}"):
        if old == "names":
            (tmp_path / "pick.toml").write_text(
                FILE.replace('["j1.pos", "j2.pos"]', new).replace("ADDRESS", "grpc://[::1]")
            )
            Served.read(tmp_path / "pick.toml")
        described(tmp_path, **{old: new})


def test_what_the_server_would_not_hand_on_is_refused(tmp_path: Path) -> None:
    for more, said in (
        ('[observation."observation.environment_state"]\nnames = ["goal.x"]\n', "does not hand on"),
        (PICTURE + "normal = { mean = [0, 0, 0], std = [1, 1, 1] }\n", "leave out its `normal`"),
        ("[action.normal]\nmean = [0]\nstd = [1]\n", "does not have 2 numbers"),
    ):
        (tmp_path / "pick.toml").write_text(FILE.replace("ADDRESS", "grpc://127.0.0.1") + more)
        with pytest.raises(PackageError, match=said):
            Served.read(tmp_path / "pick.toml")
    (tmp_path / "pick.toml").write_text(FILE.replace("observation.state", "observation.images.front"))
    with pytest.raises(PackageError):
        Served.read(tmp_path / "pick.toml")
    many = ", ".join(f'"c{place}"' for place in range(60))
    (tmp_path / "pick.toml").write_text(FILE.replace("rows = 20", "rows = 512").replace('"j1.pos", "j2.pos"', many))
    with pytest.raises(PackageError, match="fewer `rows`"):
        Served.read(tmp_path / "pick.toml")
    with pytest.raises(PackageError, match="cannot be read"):
        Served.read(tmp_path / "none.toml")


# --- a server that behaves as theirs


def test_rows_come_back_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "lerobot"):  # to import it is an error from here on
        monkeypatch.setitem(sys.modules, name, None)
    with served() as (_, port):
        found = described(tmp_path, port)
        with asking(found) as policy:
            spec = policy.spec
            assert (spec.horizon, spec.dt, spec.drives, spec.task) == (20, 20 * MS, "arm.chunk", "Pick it up.")
            for place in range(5):  # the same state each time: theirs would leave it out unless it must go
                rows = policy.infer(SEEN, np.zeros((3, 2), np.float32), 2)
                want = np.array([2.0, -1.0]) + np.arange(20)[:, None] / 100
                assert rows.dtype == np.float32 and rows.flags.writeable and rows == pytest.approx(want), place
            refused(policy, "no observation.state", Observation(0, {}))
            refused(policy, "no number", Observation(0, {"observation.state": np.array([np.nan, 0])}))
            refused(policy, "shape", Observation(0, {"observation.state": np.zeros(3)}))
        policy.close()
        refused(policy, "closed|channel")


def test_degrees_and_another_rate(tmp_path: Path) -> None:
    """The policy thinks in degrees, 30 rows in a second; the robot has radians, 50 rows in a second."""
    with served("--fps", "30") as (_, port):
        described(tmp_path, port, fps="30", dt_ms="20")
        text = (tmp_path / "pick.toml").read_text()
        degrees = "normal = { mean = [0, 0], std = [0.0174533, 0.0174533] }\n"
        (tmp_path / "pick.toml").write_text(text.replace("\n[action]", degrees + "\n[action]") + degrees)
        with asking(Served.read(tmp_path / "pick.toml")) as policy:
            assert policy.spec.horizon == 32  # 19 / 30 s
            rows = policy.infer(SEEN, None, 0)
    want = np.array([2.0, -1.0]) + np.radians(np.arange(32) * 0.02 * 30 / 100)[:, None]
    assert rows == pytest.approx(want, abs=1e-5)


def test_a_picture_and_the_task_are_told(tmp_path: Path) -> None:
    """In this process, to look at what came; 921 kB, in one part, and 3.7 MB, in several."""
    for size in ((480, 640), (960, 1280)):
        text = FILE + PICTURE.replace("[480, 640]", str(list(size)))
        program_text = (
            "import tests.lerobot_server as s, sys\ns.pretend()\nserver = s.Server()\nl, port = s.start(server)\n"
            "print(port, flush=True)\nsys.stdin.readline()\nseen, config = server.seen[-1], server.config\n"
            "image = seen.observation['front']\n"
            "print(image.shape, image.dtype, int(image.astype(int).sum()), seen.observation['task'], seen.timestamp)\n"
            "print(config.policy_type, config.pretrained_name_or_path, config.device, config.lerobot_features)\n"
            "l.stop(0)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program_text], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            (tmp_path / "pick.toml").write_text(text.replace("ADDRESS", f"grpc://127.0.0.1:{port}"))
            picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
            with asking(Served.read(tmp_path / "pick.toml")) as policy:
                policy.infer(Observation(SEEN.t, {**SEEN.values, "observation.images.front": picture}), None, 0)
                refused(policy, "images.front")
            told, _ = process.communicate("\n", timeout=20)
        finally:
            process.kill()
            process.wait()
        assert f"({size[0]}, {size[1]}, 3) uint8 {int(picture.astype(int).sum())} Pick it up. 3.0" in told
        assert "act me/pick cpu {'observation.state': {'dtype': 'float32', 'shape': (2,), " in told
        assert f"'observation.images.front': {{'dtype': 'image', 'shape': ({size[0]}, {size[1]}, 3)" in told


# --- servers that do not


def hostile(_: int) -> bytes:
    return message(b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00exit\x85R.")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (hostile, "no chunk of actions: it names 'os.system'"),
        (lambda step: right(step - 1), "another observation"),
        (lambda step: right(step, rows=19), "19 rows instead of 20"),
        (lambda step: right(step, fps=30), "33.33 ms apart.*--fps=50"),
        (lambda step: b"", "gives nothing"),
        (lambda step: b"\xff\xff\xff", "INTERNAL"),
        (lambda step: message(bytes(1 << 20)), "RESOURCE_EXHAUSTED"),
        (lambda step: int("\x1b[31m"), r"literal for int\(\) with base 10: "),
        (lambda step: bytes(-step), "UNKNOWN: Exception calling application"),
    ],
)
def test_what_is_no_chunk_is_refused(answers: Callable[[int], bytes], said: str, tmp_path: Path) -> None:
    wrong = [True]
    either = lying(lambda step: answers(step) if wrong[0] else right(step))
    with either as (_, port), asking(described(tmp_path, port)) as policy:
        refused(policy, said)
        refused(policy, said)
        wrong[0] = False
        assert policy.infer(SEEN, None, 0).shape == (20, 2)


def test_small_answers_do_not_become_large(tmp_path: Path) -> None:
    """A megabyte of nothing is a kilobyte when it is compressed."""
    big = message(bytes(1 << 20))
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        with lying(lambda step: big, compression=compression) as (_, port), asking(described(tmp_path, port)) as policy:
            refused(policy, "UNIMPLEMENTED|INTERNAL|RESOURCE_EXHAUSTED")


def test_a_server_that_gives_nothing_loads_its_policy_seldom(tmp_path: Path) -> None:
    with lying(lambda step: b"") as (liar, port), asking(described(tmp_path, port)) as policy:
        policy._closed = Unhurried()  # type: ignore[assignment]
        for _ in range(20):
            refused(policy, "gives nothing")
        assert liar.loads == 1 + 5  # after the 1st, 2nd, 4th, 8th and 16th


class Unhurried(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        return False


def test_a_policy_that_cannot_be_loaded_is_told_at_once(tmp_path: Path) -> None:
    with served() as (_, port), pytest.raises(RemoteRefused, match="Policy type none not supported"):
        LeRobotPolicy(described(tmp_path, port, policy='"none"'), allow_remote=True)
    with served("--load", "30") as (_, port), pytest.raises(RemoteRefused, match="no answer within 1 s"):
        LeRobotPolicy(described(tmp_path, port, load_s="1"), allow_remote=True)


def test_a_port_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(RemoteRefused, match=r"no answer within 0\.5 s"):
            LeRobotPolicy(described(tmp_path, mute.getsockname()[1], load_s="0.5"), allow_remote=True)


def test_one_that_is_too_slow_is_not_waited_for(tmp_path: Path) -> None:
    """And what it answers in the end is not taken for the answer to another question."""
    with served("--think", "0.6") as (process, port), asking(described(tmp_path, port, patience_s="0.3")) as policy:
        for place in range(3):
            seen = Observation(0, {"observation.state": np.full(2, place, np.float32)})
            refused(policy, "no answer within 0.3 s", seen)
        assert process.poll() is None


# --- servers that come and go


def test_killed_begun_anew_and_frozen(tmp_path: Path) -> None:
    """In an executor: what was planned is finished, the arm holds, and goes on when the server is back."""
    process, port = program("--load", "0.4")
    found = described(tmp_path, port, patience_s="0.5")
    policy = LeRobotPolicy(found, allow_remote=True)
    ticks: list[Tick] = []
    told: list[Event] = []
    processes = [process]

    async def main() -> None:
        clock = Clock()
        state = np.array([0.5, -0.5], np.float32)
        executor = ChunkExecutor(
            policy, clock, observe=lambda: Observation(clock.now(), {"observation.state": state}), tick=ticks.append,
            told=told.append, stitch="replace",
        )  # fmt: skip

        async def until(what: Callable[[], bool]) -> None:
            end_at = clock.now() + 15 * SECOND
            while not what() and clock.now() < end_at:
                await clock.sleep_until(clock.now() + 20 * MS)
            assert what(), [event.detail for event in told]

        async with asyncio.TaskGroup() as group:
            running = group.create_task(executor.run())
            executor.begin("pick")
            await until(lambda: sum(tick.state == "moving" for tick in ticks) > 20)
            process.kill()
            await until(lambda: any(event.kind == "starving" for event in told))
            held = [tick.action for tick in ticks if tick.state == "starved"]
            assert held and all(np.array_equal(held[0], each) for each in held if each is not None)  # type: ignore[arg-type]
            again, _ = await asyncio.to_thread(program, "--load", "0.4", "--port", str(port))
            processes.append(again)
            told.clear()
            await until(lambda: ticks[-1].state == "moving")
            again.send_signal(signal.SIGSTOP)
            told.clear()
            await until(lambda: any(event.kind == "starving" for event in told))
            again.send_signal(signal.SIGCONT)
            await until(lambda: ticks[-1].state == "moving")
            running.cancel()

    try:
        run(main(), virtual=False)
    finally:
        policy.close()
        for each in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGCONT)
            end(each)


# --- how a user names it


def test_a_file_is_a_skill(tmp_path: Path) -> None:
    with served() as (_, port):
        described(tmp_path, port)
        settings = RobotConfig(skills=(str(tmp_path / "pick.toml"),), allow_remote_policy=True)
        (policy,) = load(settings)
        assert isinstance(policy, LeRobotPolicy)
        policy.close()
        (tmp_path / "same.toml").write_text((tmp_path / "pick.toml").read_text().replace("127.0.0.1", "localhost"))
        with pytest.raises(ConfigError, match="Start a server for each"):
            load(RobotConfig(skills=(*settings.skills, str(tmp_path / "same.toml")), allow_remote_policy=True))
    with pytest.raises(ConfigError, match="without --web"):
        specs(settings)


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(DependencyMissing, match=r"visavis\[lerobot\]"):
        LeRobotPolicy(described(tmp_path), allow_remote=True)


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "lerobot.md").read_text()
    begin = text.index('kind = "lerobot-policy-server"')
    (tmp_path / "pick.toml").write_text(text[begin : text.index("```", begin)])
    spec = Served.read(tmp_path / "pick.toml").spec()
    assert spec.horizon == 82 and set(spec.observation) == {"observation.state", "observation.images.front"}

"""A policy on a server: off unless allowed, the same answers as in the process, and an arm that holds when it fails."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("websockets")

from websockets.asyncio import server as sockets

from policies.chunks import serve
from policies.chunks.description import Graph
from policies.chunks.errors import ChunkRefused
from policies.chunks.executor import ChunkExecutor
from policies.chunks.inference import OnnxPolicy
from policies.chunks.policy import Observation
from policies.chunks.remote import Address, RemotePolicy, RemoteRefused
from policies.chunks.remote_frames import PROTOCOL, Answer, Part, Question, described, pack, unpack
from policies.chunks.told import Event, Tick
from streams.clock import MS, SECOND, Clock, run
from tests.chunk_scenes import Script, one_pass, spec

TOKEN = "a-token-for-the-tests"
ROOT = Path(__file__).parent.parent
SEEN = Observation(0, {"observation.state": np.array([2.0, -1.0], np.float32)})
GRAPHS = {name: Graph(f"{name}.onnx", "0" * 64) for name in ("encoder", "step")}
PLAIN = spec(rows=4, graphs=GRAPHS)


def program(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    """The server in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "policies.chunks.serve", str(folder), "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, serve.TOKEN: TOKEN},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    return process, int(line.strip().rpartition(":")[2])


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process, port = program(folder)
    try:
        yield process, f"ws://127.0.0.1:{port}"
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@contextlib.contextmanager
def remote(url: str, **options: Any) -> Iterator[RemotePolicy]:
    policy = RemotePolicy(url, TOKEN, allow_remote=True, **options)
    try:
        yield policy
    finally:
        policy.close()


@contextlib.contextmanager
def liar(attend: Callable[[Any], Any], **options: Any) -> Iterator[str]:
    """A server in a thread that does what it likes."""
    stop: list[Callable[[], object]] = []
    ports: list[int] = []
    up = threading.Event()

    async def main() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        chosen: Any = {"subprotocols": [PROTOCOL], "close_timeout": 0.1, **options}
        async with sockets.serve(attend, "127.0.0.1", 0, **chosen) as listening:
            ports.append(next(iter(listening.sockets)).getsockname()[1])
            up.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert up.wait(5)
        yield f"ws://127.0.0.1:{ports[0]}"
    finally:
        stop[0]()
        thread.join(5)


# --- off, and to whom


def test_it_is_off_unless_somebody_says_so() -> None:
    truthy: Any = 1
    for options in ({}, {"allow_remote": False}, {"allow_remote": truthy}):
        with pytest.raises(RemoteRefused, match=r"allow_remote=True .--allow-remote-policy"):
            RemotePolicy("ws://127.0.0.1:1", TOKEN, **options)


def test_only_this_machine_or_tls() -> None:
    for url in ("ws://10.0.0.7:80", "ws://robot.example:80", "ws://127.0.0.1.example", "ws://[fe80::1]:80"):
        with pytest.raises(RemoteRefused, match="wss://"):
            Address.parse(url)
    for url in ("http://127.0.0.1", "ws:///x", "", "ws://127.0.0.1:99999", "ws://me:secret@127.0.0.1", "wss://x/?t=1"):
        with pytest.raises(RemoteRefused):
            Address.parse(url)
    assert Address.parse("ws://localhost:7000/x")[1:] == ("127.0.0.1", 7000, False)
    assert Address.parse("wss://robot.example")[1:] == ("robot.example", 443, True)
    assert Address.parse("ws://[::1]:9")[1:] == ("::1", 9, False)
    for token in ("", "short", "with a blank in it.", "line\nbreak-is-refused"):
        with pytest.raises(RemoteRefused, match="token"):
            RemotePolicy("ws://127.0.0.1:1", token, allow_remote=True)
    with pytest.raises(RemoteRefused, match="Connect call failed"):
        RemotePolicy("ws://127.0.0.1:1", TOKEN, allow_remote=True)


# --- the real server


def test_it_answers_as_in_the_process(tmp_path: Path) -> None:
    here = OnnxPolicy.load(one_pass(tmp_path))
    with served(tmp_path) as (_, url), remote(url) as there:
        assert there.spec == here.spec
        for state in ([2.0, -1.0], [0.25, 1e-3]):
            seen = Observation(77, {"observation.state": np.array(state, np.float32), "more": np.zeros(1)})
            rows = there.infer(seen, np.zeros((3, 2), np.float32), 2)
            assert rows.dtype == np.float32 and rows.flags.writeable
            assert np.array_equal(rows, here.infer(seen, None, 0))
        bad = Observation(0, {"observation.state": np.array([np.nan, 0], np.float32)})
        with pytest.raises(ChunkRefused, match=r"refuses: observation\.state has what is no number"):
            there.infer(bad, None, 0)
        with pytest.raises(ChunkRefused, match="not all"):
            there.infer(Observation(0, {}), None, 0)
        with pytest.raises(ChunkRefused, match="cannot be sent"):
            there.infer(Observation(0, {"observation.state": np.zeros((1, 1, 1, 1))}), None, 0)
        assert there.infer(SEEN, None, 0).shape == (4, 2)
        with pytest.raises(RemoteRefused, match="401"):
            RemotePolicy(url, "another-token-than-that", allow_remote=True)
    with pytest.raises(ChunkRefused, match="closed"):
        there.infer(SEEN, None, 0)


def test_any_policy_can_be_served_and_a_port_that_is_taken_is_told() -> None:
    policy = Script(lambda seen: np.tile(seen.values["observation.state"] + 1, (4, 1)), rows=4)
    ports: list[int] = []
    wrong: list[str] = []

    async def main() -> None:
        up = asyncio.Event()

        def ready(port: int) -> None:
            ports.append(port)
            up.set()

        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve.serve(policy, TOKEN, 0, ready))
            await up.wait()
            try:
                await serve.serve(policy, TOKEN, ports[0])
            except RemoteRefused as error:
                wrong.append(str(error))
            await asyncio.to_thread(talk, f"ws://127.0.0.1:{ports[0]}")
            serving.cancel()

    def talk(url: str) -> None:
        with remote(url) as one, remote(url) as other:
            for each in (one, other, one):
                assert each.spec.name == "scripted" and each.spec.horizon == 4
                assert np.array_equal(each.infer(SEEN, None, 3, "forward"), [[3.0, 0.0]] * 4)

    run(main(), virtual=False)
    assert policy.asked[0][1:] == (None, 3, "forward")
    assert "cannot serve" in wrong[0]


def test_a_browser_and_a_fifth_client_are_not_served(tmp_path: Path) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    async def main(url: str) -> None:
        allowed = {"Authorization": f"Bearer {TOKEN}"}
        with pytest.raises(InvalidStatus, match="401"):
            await connect(url, proxy=None, additional_headers=allowed, origin="http://evil.example")  # type: ignore[arg-type]
        async with contextlib.AsyncExitStack() as stack:
            ours: Any = [PROTOCOL]
            for _ in range(4):
                line = await stack.enter_async_context(
                    connect(url, proxy=None, additional_headers=allowed, subprotocols=ours)
                )
                await line.recv()
            with pytest.raises(InvalidStatus, match="503"):
                await connect(url, proxy=None, additional_headers=allowed, subprotocols=ours)

    with served(one_pass(tmp_path)) as (_, url):
        asyncio.run(main(url))


def test_no_bytes_upset_the_server(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(one_pass(tmp_path))
    state = {"observation.state": np.zeros(2, np.float32)}
    good = pack(Question(5, 0, "replace", described(state)), state)
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(3000):
        bytes_ = bytearray(good)
        for _ in range(int(random.integers(1, 4))):
            bytes_[int(random.integers(len(bytes_)))] = int(random.integers(256))
        cut = bytes(bytes_[: int(random.integers(len(bytes_) + 1))]) if random.random() < 0.3 else bytes(bytes_)
        refused += bool(unpack(serve.answered(policy, cut), Answer)[0].refused)
    assert refused > 2000
    for odd in ("text", b"", b"\xff" * 9, b"\x02\0\0\0{}", good + b"x"):
        assert unpack(serve.answered(policy, odd), Answer)[0].refused
    wide = {**state, "previous": np.zeros((2, 7), np.float32)}
    answer, _ = unpack(serve.answered(policy, pack(Question(6, 0, "replace", described(wide)), wide)), Answer)
    assert answer.id == 6 and "other columns" in answer.refused


def test_the_program_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "policies.chunks.serve", str(tmp_path / "none"), "--port", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "policy.json" in done.stderr and "Traceback" not in done.stderr


# --- a server that lies


def answering(answer: Callable[[Question], Any], hello: Any = None) -> Callable[[Any], Any]:
    async def attend(connection: Any) -> None:
        with contextlib.suppress(Exception):  # whatever the client does, this server does not mind
            await connection.send(msgspec.json.encode(PLAIN).decode() if hello is None else hello)
            async for message in connection:
                await connection.send(answer(unpack(message, Question)[0]))

    return attend


def chunk(question: Question, rows: Any, number: int = 0) -> bytes:
    arrays = {"action": np.asarray(rows)}
    return pack(Answer(number or question.id, "", described(arrays)), arrays)


HUGE = Part("action", "float32", (4096, 4096, 64))
LIES: dict[str, Callable[[Question], Any]] = {
    "what is no number": lambda q: chunk(q, np.full((4, 2), np.nan)),
    r"no chunk of the shape \(4, 2\)": lambda q: chunk(q, np.zeros((5, 2))),
    "no chunk of the shape": lambda q: chunk(q, np.zeros((4, 2), np.uint8)),
    "another question": lambda q: chunk(q, np.zeros((4, 2)), 99),
    "it is text": lambda q: "hello",
    "cut off": lambda q: chunk(q, np.zeros((4, 2)))[:-1],
    "belong to nothing": lambda q: chunk(q, np.zeros((4, 2))) + b"x",
    "header is wrong": lambda q: b"\x02\0\0\0[]",
    "refuses: no": lambda q: pack(Answer(q.id, "no\n\n"), {}),
    "no chunk": lambda q: pack(Answer(q.id), {}),
    "1009": lambda q: b"x" * (2 << 20),
    "is cut off": lambda q: pack(
        Answer(q.id, "", (Part("action", "float32", (4096, 4096, 64)),)), {"action": np.zeros(1)}
    ),
}


@pytest.mark.parametrize("words", LIES)
def test_a_lie_is_a_chunk_refused(words: str) -> None:
    with liar(answering(LIES[words])) as url, remote(url) as policy:
        for _ in range(2):
            with pytest.raises(ChunkRefused, match=words):
                policy.infer(SEEN, None, 0)


@pytest.mark.parametrize("hello", ["", "{}", "[" * 100_000, b"\xff\xfe", msgspec.json.encode(PLAIN).decode() + "x"])
def test_what_is_no_policy_is_not_begun_with(hello: Any) -> None:
    with liar(answering(lambda q: b"", hello)) as url, pytest.raises(RemoteRefused, match="no chunk policy"):
        RemotePolicy(url, TOKEN, allow_remote=True)


def test_a_policy_that_contradicts_itself_or_changes() -> None:
    wrong = msgspec.structs.replace(PLAIN, family="one_pass")
    with liar(answering(lambda q: b"", msgspec.json.encode(wrong).decode())) as url, pytest.raises(RemoteRefused):
        RemotePolicy(url, TOKEN, allow_remote=True)
    hellos = [PLAIN, msgspec.structs.replace(PLAIN, name="other")]

    async def attend(connection: Any) -> None:
        await connection.send(msgspec.json.encode(hellos.pop(0)).decode())
        await connection.recv()  # and hangs up

    with liar(attend) as url, remote(url) as policy:
        with pytest.raises(ChunkRefused, match="1000"):
            policy.infer(SEEN, None, 0)
        with pytest.raises(ChunkRefused, match="another policy than at first"):
            policy.infer(SEEN, None, 0)
        assert policy.spec == PLAIN


def test_a_redirection_is_not_followed() -> None:
    async def elsewhere(connection: Any, request: Any) -> Any:
        response = connection.respond(302, "")
        response.headers["Location"] = "ws://192.0.2.1:9/"
        return response

    with (
        liar(answering(lambda q: b""), process_request=elsewhere) as url,
        pytest.raises(RemoteRefused, match="redirect"),
    ):
        RemotePolicy(url, TOKEN, allow_remote=True)


# --- in time


class Arm:
    """A robot that does what the executor ticks."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.ticks: list[Tick] = []
        self.events: list[Event] = []
        self.at: dict[int, Callable[[], object]] = {}

    def run(self, enough: Callable[[], bool], most_s: float = 20) -> None:
        async def main() -> None:
            clock = Clock()
            state = np.array([2.0, -1.0], np.float32)
            self.executor = ChunkExecutor(
                self.policy, clock, observe=lambda: Observation(clock.now(), {"observation.state": state}),
                tick=self._tick, told=self.events.append, stitch="replace",
            )  # fmt: skip
            self.executor.begin("hold")
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.executor.run())
                while not enough() and clock.now() < most_s * SECOND:
                    await clock.sleep_until(clock.now() + 50 * MS)
                running.cancel()

        run(main(), virtual=False)

    def _tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        for t in [t for t in self.at if t <= tick.t // MS]:
            self.at.pop(t)()

    def states(self, begin: int, end: int) -> set[str]:
        return {tick.state for tick in self.ticks if begin * MS <= tick.t < end * MS}

    def jumps(self) -> float:
        done = np.array([tick.action for tick in self.ticks if tick.action is not None])
        return float(abs(np.diff(done, axis=0)).max())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_dies_or_freezes_in_the_middle_and_comes_back(tmp_path: Path, how: signal.Signals) -> None:
    process, port = program(one_pass(tmp_path, rows=20, gain=1.0))
    started = [process]

    def again() -> None:
        if how == signal.SIGSTOP:
            process.send_signal(signal.SIGCONT)
        else:
            process.wait()
            started.append(program(tmp_path, port)[0])

    try:
        with remote(f"ws://127.0.0.1:{port}", patience_s=0.3) as policy:
            arm = Arm(policy)
            # Under a second of work, more than one without a server; then as long as a new one takes to start.
            arm.at = {800: lambda: process.send_signal(how), 2300: lambda: threading.Thread(target=again).start()}
            arm.run(lambda: len(arm.ticks) > 150 and {tick.state for tick in arm.ticks[-20:]} == {"moving"})
            assert arm.states(500, 800) == {"moving"}
            assert arm.states(1600, 2300) == {"starved"}  # and every step of it came
            assert len([tick for tick in arm.ticks if 1600 * MS <= tick.t < 2300 * MS]) > 20
            assert arm.ticks[-1].state == "moving"  # it is there again
            assert arm.jumps() < 1e-3  # it held
            kinds = [event.kind for event in arm.events]
            assert {"refused", "starving", "fed"} <= set(kinds) and "stuck" not in kinds
            assert arm.executor.latency.p95 < 250 * MS  # failures are no latency
    finally:
        for each in started:
            each.send_signal(signal.SIGCONT) if each.poll() is None else None
            end(each)


def test_a_slow_server_is_refused_in_time_and_its_late_answer_is_nobodys() -> None:
    waits = [0.0, 0.6, 0.0, 0.0]

    async def attend(connection: Any) -> None:
        with contextlib.suppress(Exception):
            await connection.send(msgspec.json.encode(PLAIN).decode())
            async for message in connection:
                question = unpack(message, Question)[0]
                await asyncio.sleep(waits.pop(0))
                await connection.send(chunk(question, np.full((4, 2), question.id)))

    with liar(attend) as url, remote(url, patience_s=0.2) as policy:
        assert policy.infer(SEEN, None, 0)[0, 0] == 1
        with pytest.raises(ChunkRefused, match=r"within 0\.2 s"):
            policy.infer(SEEN, None, 0)
        assert [policy.infer(SEEN, None, 0)[0, 0] for _ in range(2)] == [3, 4]


def test_a_server_that_takes_nothing_does_not_hold_the_thread(tmp_path: Path) -> None:
    """A picture that fits into no buffer, to a process that is frozen."""
    with served(one_pass(tmp_path)) as (process, url), remote(url, patience_s=0.3) as policy:
        process.send_signal(signal.SIGSTOP)
        told: list[str] = []
        big = Observation(0, {"observation.state": np.zeros((4000, 4000), np.float32)})

        def ask() -> None:
            try:
                policy.infer(big, None, 0)
            except ChunkRefused as error:
                told.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
        assert len(told) == 1 and "within 0.3 s" in told[0]
        process.send_signal(signal.SIGCONT)


def test_virtual_time_has_no_server(tmp_path: Path) -> None:
    async def main(policy: RemotePolicy) -> None:
        with pytest.raises(ChunkRefused, match="virtual time"):
            policy.infer(SEEN, None, 0)

    with served(one_pass(tmp_path)) as (_, url), remote(url) as policy:
        run(main(policy), virtual=True)


def test_tls_is_checked(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
        capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, "apt install openssl"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    answer = answering(lambda q: chunk(q, np.ones((4, 2))), msgspec.json.encode(PLAIN).decode())
    with liar(answer, ssl=context) as url:
        secure = url.replace("ws://127.0.0.1", "wss://localhost")
        with pytest.raises(RemoteRefused, match="CERTIFICATE_VERIFY_FAILED"):
            RemotePolicy(secure, TOKEN, allow_remote=True)
        with remote(secure, tls=ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))) as policy:
            assert (policy.infer(SEEN, None, 0) == 1).all()

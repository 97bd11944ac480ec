"""Real processes around a real broker: robots, agents with a voice or a console, and somebody who watches the wire.

async with running() as broker, watching(broker.url) as wire, robot(broker.url) as r1, agent(broker.url) as talk:
    await talk.says("go forward two meters")
    await wire.until(lambda: wire.speed() > 0.3)
    talk.program.kill()
    await wire.until(wire.rests)
"""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from embodied.link.address import Address
from embodied.link.mqtt import dial
from embodied.link.port import Connection, Outgoing
from embodied.robot.vocabulary import TERMINAL
from tests.console_page import Page, opened
from tests.dialogues import ROOT

BOUND_S = 30.0
LIGHT = [
    "speech.engine=none", "turn_end.engine=none", "vad.engine=webrtc", "voice.engine=tones", "faces.engine=none",
]  # fmt: skip
"""Settings of an agent that is typed to: it loads no model."""


class Told(NamedTuple):
    """t: s, of our clock;  body: of JSON, or the bytes that are none."""

    t: float
    topic: str
    body: Any
    retained: bool


class Wire:
    """All that goes over a broker, as a client sees it that may read everything."""

    def __init__(self, connection: Connection, fleet: str) -> None:
        self.connection, self.root = connection, f"robot/v1/{fleet}"
        self.told: list[Told] = []
        self._latest: dict[str, Told] = {}

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def listen(self) -> None:
        async for message in self.connection.messages():
            try:
                body = msgspec.json.decode(message.payload)
            except msgspec.DecodeError:
                body = message.payload
            found = Told(self.now(), message.topic.removeprefix(f"{self.root}/"), body, message.retained)
            self.told.append(found)
            self._latest[found.topic] = found

    async def publish(self, topic: str, body: Any, qos: Any = 1, *, retain: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.connection.publish(Outgoing(f"{self.root}/{topic}", payload, qos, retain))

    async def until(self, true: Callable[[], Any], within_s: float = BOUND_S) -> float:
        """Wait until it is so; how long that took (s). Fails with the end of what was told."""
        began = self.now()
        while not true():
            if self.now() - began > within_s:
                quiet = ("heartbeat", "telemetry", "diag", "ping")
                last = [t for t in self.told if not any(each in t.topic for each in quiet)][-12:]
                raise AssertionError(f"not so within {within_s} s; last: {last}")
            await asyncio.sleep(0.005)
        return self.now() - began

    def of(self, topic: str, since: float = 0.0) -> list[Told]:
        """What came on a topic, "r1/status" or the like, since then (s)."""
        return [each for each in self.told if each.topic == topic and each.t >= since]

    def latest(self, topic: str) -> Any:
        """The newest body on a topic; {} if none came."""
        found = self._latest.get(topic)
        return {} if found is None else found.body

    # --- about a robot

    def odometry(self, robot: str = "r1") -> Any:
        return self.latest(f"{robot}/telemetry/odom")

    def x(self, robot: str = "r1") -> float:
        return float(self.odometry(robot).get("x", 0.0))

    def speed(self, robot: str = "r1") -> float:
        return abs(float(self.odometry(robot).get("vx", 0.0)))

    def rests(self, robot: str = "r1") -> bool:
        found = self.odometry(robot)
        return bool(found) and abs(found["vx"]) < 0.01 and abs(found["wz"]) < 0.02

    def rested(self, since: float, robot: str = "r1") -> float:
        """After how many seconds it stood, and stood from then on, by the robot's own clock after the first report."""
        places = self.of(f"{robot}/telemetry/odom", since)
        moving = [p for p in places if abs(p.body["vx"]) >= 0.01 or abs(p.body["wz"]) >= 0.02]
        assert places and moving is not None
        return (moving[-1].body["mono_ms"] - places[0].body["mono_ms"]) / 1000 + 0.04 if moving else 0.0

    def ends(self, robot: str = "r1") -> dict[str, Any]:
        """The last status of each command that came to its end, by id."""
        return {each.body["id"]: each.body for each in self.of(f"{robot}/status") if each.body["state"] in TERMINAL}

    def asked(self, robot: str = "r1", since: float = 0.0) -> list[Told]:
        """Everything that was said to it: commands, setpoints, leases, stops."""
        heads = tuple(f"{robot}/{each}" for each in ("command/", "stream/", "lease/set", "estop/"))
        return [each for each in self.told if each.topic.startswith(heads) and each.t >= since]


@asynccontextmanager
async def watching(url: str, *, fleet: str = "home", name: str = "watch", **options: Any) -> AsyncIterator[Wire]:
    """Somebody who watches, and may publish. options: of `Address.parse`"""
    async with dial(Address.parse(url, **options), client_id=name)(None) as connection:
        wire = Wire(connection, fleet)
        await connection.recall([("robot/v1/#", 1)])
        listening = asyncio.ensure_future(wire.listen())
        try:
            yield wire
        finally:
            listening.cancel()
            await asyncio.wait([listening])


class Program:
    """`visavis ...` in a process of its own; what it says is in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self.log = process, log

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    async def says(self, pattern: str, within_s: float = BOUND_S) -> str:
        """Wait until it has said that; the first group."""
        for _ in range(round(within_s / 0.05)):
            if found := re.search(pattern, self.said):
                return found.group(found.lastindex or 0)
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise AssertionError(f"it did not say {pattern!r} (exit code {self.process.returncode}): {self.said[-2000:]}")

    async def ended(self, number: signal.Signals | None = None, within_s: float = 60.0) -> int:
        """Its exit code, once it has ended. number: a signal for it before"""
        if number is not None:
            self.send(number)
        async with asyncio.timeout(within_s):
            return await self.process.wait()


@asynccontextmanager
async def visavis(
    *words: str, folder: Path, name: str, environment: dict[str, str] | None = None
) -> AsyncIterator[Program]:
    """The program, killed at the end of the block if it still runs, and with us if we die."""
    setpriv = shutil.which("setpriv")
    bound = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    log = folder / f"{name}.log"
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(environment or {})}
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *bound, sys.executable, "-m", "agent.cli", *words, stdin=asyncio.subprocess.DEVNULL, stdout=out,
            stderr=out, cwd=folder, env=surroundings,
        )  # fmt: skip
    program = Program(process, log)
    try:
        yield program
    finally:
        if process.returncode is None:
            program.thaw()
            program.kill()
            await process.wait()


@asynccontextmanager
async def robot(
    url: str, *options: str, folder: Path, id: str = "r1", ranks: str = "{agent1: teleop}",
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Program]:  # fmt: skip
    """A simulated robot, connected."""
    words = ("robot", "--broker", url, "--robot", id, "--set", f"guards.ranks={ranks}", *options)
    async with visavis(*words, folder=folder, name=id, environment=environment) as program:
        await program.says("connected, MQTT")
        yield program


class Talk:
    """An agent with a console, and somebody at its page."""

    def __init__(self, program: Program, page: Page) -> None:
        self.program, self.page = program, page

    async def says(self, text: str) -> None:
        """Type a line."""
        await self.page.send(type="text", text=text)

    async def told(self, kind: str, within_s: float = BOUND_S, **fields: Any) -> dict[str, Any]:
        """The first event of this type with these fields."""

        def found(page: Page) -> Any:
            events = page.of(kind)
            return next((e for e in events if all(str(v) in str(e.get(k)) for k, v in fields.items())), None)

        try:
            return dict(await self.page.until(found, within_s))
        except TimeoutError:
            seen = [
                (e["type"], e.get("error") or e.get("status") or e.get("state"))
                for e in self.page.events
                if e["type"] != "Voice"
            ][-30:]
            raise AssertionError(f"no {kind} with {fields} came: {self.page.of(kind)[-5:]}, {seen}") from None


@asynccontextmanager
async def agent(
    url: str, *options: str, folder: Path, id: str = "agent1", robots: Sequence[str] = ("r1",),
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Talk]:  # fmt: skip
    """`visavis attach --web`, its page opened, and the robots attached."""
    chosen = [part for one in LIGHT for part in ("--set", one)]
    named = [part for one in robots for part in ("--robot", one)]
    words = ["attach", url, *named, "--agent", id, "--web", "--port", "0", *chosen, *options]
    surroundings = {"XDG_DATA_HOME": str(folder / "data"), **(environment or {})}
    async with AsyncExitStack() as stack:
        program = await stack.enter_async_context(
            visavis(*words, folder=folder, name=id, environment=surroundings)
        )  # fmt: skip
        address = await program.says(r"(http://\S+token=\S+)")
        talk = Talk(program, await stack.enter_async_context(opened(address)))
        for each in robots:
            await talk.told("Attached", where=each)
            await talk.told("BodyState", where=each, link="heard")
        yield talk

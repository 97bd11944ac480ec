"""A broker that we start ourselves, for the demo and for tests: mosquitto if it is there, else an embedded amqtt.

    async with running() as broker:
        print(broker.words)
        link = Link(dial(Address.parse(broker.url), client_id="agent1"), ...)

It listens on this machine only, keeps nothing on disk, and ends with the block.
"""

import asyncio
import getpass
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from embodied.link.embedded import HELPER, BrokerFailed, environment

HOST = "127.0.0.1"
START_S = 15.0
STOP_S = 3.0
_PLACES = "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"


def find() -> Path | None:
    """Where mosquitto is, if it is installed."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(_PLACES))
    return Path(found) if found else None


def free_port() -> int:
    """A port on this machine that nobody used a moment ago."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


class Broker:
    """A broker process. Made by `running`.

    kind: which;  port: stays the same over `restart`;  process: its process, a new one after each start
    """

    def __init__(self, kind: Literal["mosquitto", "amqtt"], command: Sequence[str], port: int, log: Path) -> None:
        self.kind, self.port = kind, port
        self._command, self._log = tuple(command), log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """For `Address.parse`."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def words(self) -> str:
        """What it is, in a sentence for the user."""
        if self.kind == "mosquitto":
            return f"mosquitto on {HOST}:{self.port}"
        return f"the embedded broker amqtt on {HOST}:{self.port}: MQTT 3.1.1 only (for MQTT 5: apt install mosquitto)"

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that runs, or ran last."""
        if self._process is None:
            raise BrokerFailed(f"{self.kind} was not started")
        return self._process

    def log(self) -> str:
        """What it has said so far, over all starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang (SIGSTOP), until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    async def start(self) -> None:
        """Start the process, and wait until it listens. Raises `BrokerFailed` with what it said.

        In a session of its own: Ctrl-C at our terminal is for us, who end it when nobody needs it any more.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            async with asyncio.timeout(START_S):
                while not await _listens(self.port):
                    if self._process.returncode is not None:
                        raise BrokerFailed(f"{self.kind} ended at its start: {self._last()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise BrokerFailed(f"{self.kind} does not listen after {START_S:.0f} s: {self._last()}") from None

    async def stop(self) -> None:
        """End it, with a word first; killed after 3 s. Idempotent."""
        process = self._process
        if process is None:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await process.wait()
        self._signal(signal.SIGKILL)
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
            with suppress(ConnectionError):
                await process.stdin.wait_closed()

    async def restart(self) -> None:
        """Start it again on the same port, after it ended or was killed, else after stopping it."""
        await self.stop()
        await self.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _last(self) -> str:
        return " / ".join(self.log().strip().splitlines()[-3:]) or "it said nothing"


@asynccontextmanager
async def running(
    port: int = 0,
    *,
    config_lines: Sequence[str] = (),
    nodelay: bool = True,
    kind: Literal["auto", "mosquitto", "amqtt"] = "auto",
    cache: Path | None = None,
) -> AsyncIterator[Broker]:
    """A broker on `port` (0: a free one) of 127.0.0.1, for the length of the block.

    config_lines: more lines for mosquitto, as for TLS, passwords and access (see `embodied.link.acl`); they follow its
    listener, and without `allow_anonymous` among them everybody may come;  nodelay: `set_tcp_nodelay`
    kind: "auto" takes mosquitto if it is installed, else amqtt;  cache: where amqtt is kept (see `environment`)
    Raises `BrokerFailed`.
    """
    mosquitto = find() if kind != "amqtt" else None
    if mosquitto is None and kind == "mosquitto":
        raise BrokerFailed("mosquitto is not installed: apt install mosquitto")
    if mosquitto is None and config_lines:
        raise BrokerFailed("TLS, passwords and access lists need mosquitto: apt install mosquitto")
    with tempfile.TemporaryDirectory(prefix="visavis-broker-") as made:
        folder, chosen = Path(made), port or free_port()
        if mosquitto is not None:
            config = folder / "mosquitto.conf"
            config.write_text("\n".join(configuration(chosen, config_lines, nodelay=nodelay)) + "\n")
            command = [*dying_with_us(), str(mosquitto), "-c", str(config)]
            broker = Broker("mosquitto", command, chosen, folder / "log")
        else:
            python = await environment(cache)
            command = [str(python), "-I", str(HELPER), HOST, str(chosen)]
            broker = Broker("amqtt", command, chosen, folder / "log")
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()


def configuration(port: int, more: Sequence[str] = (), *, nodelay: bool = True) -> list[str]:
    """The lines of a mosquitto.conf for a listener on this machine only."""
    lines = [
        f"set_tcp_nodelay {'true' if nodelay else 'false'}",  # else each QoS 1 message waits for 40 ms and more
        "persistence false",
        "log_dest stderr",
        "log_type error", "log_type warning", "log_type notice", "log_type information",
        f"user {getpass.getuser()}",  # started as root it would else become another, who may not read our files
        f"listener {port} {HOST}",
        *more,
    ]  # fmt: skip
    if not any(line.split()[:1] == ["allow_anonymous"] for line in more):
        lines.append("allow_anonymous true")
    return lines


def dying_with_us(by: Literal["KILL", "TERM"] = "KILL") -> list[str]:
    """How to start a process that gets a signal when this one ends, even killed. Linux: setpriv(1), if it is there."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", by] if setpriv and sys.platform == "linux" else []


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return True

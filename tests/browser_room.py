"""`visavis live --web` as people have it: a program, a real Chromium on a software sound card, a wire between.

    person ─> VirtMic ─> Chromium ═(wire)═ visavis live --web ═> Chromium ─> Speaker ─> what the person hears

Both ends of the sound are recorded at the card. The wire is a TCP relay that can be cut and held, as networks are.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.sound_card import SoundCard, until

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--use-fake-ui-for-media-stream"),
]
RATE = 16_000
LOUD = 150


class Wire:
    """Carries connections to `target` (host, port). address: of its near end;  up: whether it lets anything through"""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._server.getsockname()
        self.up = True
        self._flows = threading.Event()
        self._flows.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if not self.up:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self._flows.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Every connection ends; new ones are refused until `mend`."""
        self.up = False
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        """New connections are let through, and what was held goes on."""
        self.up = True
        self._flows.set()

    def hold(self) -> None:
        """Nothing arrives until `mend`, and nobody is told."""
        self._flows.clear()

    def close(self) -> None:
        """The end."""
        self.mend()
        self.cut()
        self._server.close()


class Program:
    """The child process. recordings: its folder;  wire: between it and pages

    address: by the wire, else as it was printed (`direct`)
    """

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.recordings = folder / "recordings"
        self._log = folder / "log.txt"
        command = [sys.executable, "-u", "-m", "agent.cli", "live", "--web", "--port", "0"]
        command += ["--recordings", str(self.recordings), *options]
        environment = {**environment, "XDG_CONFIG_HOME": str(folder)}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or "token=" in self.printed, 60, "no address is printed")
        assert self.process.poll() is None, self.printed
        (line,) = [line for line in self.printed.splitlines() if line.startswith("http://")]
        host, _, rest = line.removeprefix("http://").partition("/")
        self.direct = line
        self.wire = Wire(("127.0.0.1", int(host.rpartition(":")[2])))
        self.address = f"http://127.0.0.1:{self.wire.address[1]}/{rest}"

    @property
    def printed(self) -> str:
        """All it has said."""
        return self._log.read_text()

    def end(self) -> int:
        """Ctrl-C, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it does not end:\n{self.printed}") from None
        finally:
            self.wire.close()


class Desk:
    """Card, program and browser. heard: the speaker's sound, int16 at 16 kHz;  complaints: errors of pages"""

    def __init__(self, card: SoundCard, program: Program, browser: Any, ear: Any) -> None:
        self.card, self.program, self.browser = card, program, browser
        self._ear = ear
        self.complaints: list[str] = []

    @property
    def heard(self) -> np.ndarray[Any, np.dtype[np.int16]]:
        """What the speaker has played so far."""
        return np.asarray(self._ear.samples)

    def open(self, address: str = "", **options: Any) -> Any:
        """A page in a browser context of its own."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 820}} | options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address or self.program.address)
        return page

    def sounds(self, last_s: float = 0.1) -> bool:
        """Whether the speaker was heard within the last moments."""
        return bool(np.abs(self.heard[-round(last_s * RATE) :]).max(initial=0) > LOUD)

    def until_loud(self, within_s: float = 15.0) -> None:
        """Wait until the speaker is heard."""
        until(self.sounds, within_s, "the speaker is silent")

    def until_quiet(self, for_s: float = 0.7, within_s: float = 20.0) -> None:
        """Wait until it has been silent for `for_s`."""
        until(lambda: not self.sounds(for_s), within_s, "the speaker does not fall silent")


def renderers() -> list[int]:
    """Process ids of pages in browsers that this process started."""
    parents, pages = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            number = int(folder.name)
            parents[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                pages.append(number)

    def ours(number: int) -> bool:
        while number := parents.get(number, 0):
            if number == os.getpid():
                return True
        return False

    return [number for number in pages if ours(number)]


@contextmanager
def browsing(*flags: str, mute: bool = False) -> Iterator[Any]:
    """Chromium on the card this process is led to."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *flags], ignore_default_args=[] if mute else ["--mute-audio"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def desk(*flags: str, environment: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> Iterator[Desk]:
    """Everything, until the context is left. flags: of Chromium;  options: of `visavis live --web`"""
    with contextlib.ExitStack() as stack:
        card = stack.enter_context(SoundCard())
        stack.enter_context(card.here())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="desk-")))
        program = Program(folder, {**card.environment, **(environment or {})}, *options)
        stack.callback(lambda: program.process.poll() is None and program.end())
        browser = stack.enter_context(browsing(*flags))
        ear = stack.enter_context(card.listen(RATE))
        yield Desk(card, program, browser, ear)


def wait_for(true: Callable[[], bool], page: Any, seconds: float, what: str) -> None:
    """As `until`, while the browser's events are taken (Playwright does so only while it is asked something)."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        page.wait_for_timeout(50)

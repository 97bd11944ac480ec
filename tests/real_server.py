"""A real OpenAI-compatible server that is not ours: `transformers serve`, in a process of its own, on a tiny model."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.tiny_model import into_cache

START_S = 90.0
"""How long it may take to answer; it took 6 s on two cores."""
STOP_S = 10.0
ALONE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class RealServer:
    """`transformers serve` on the model `folder`. Use as a context manager; it can be killed and restarted.

    home: an empty folder for its cache and its log
    model: its name there;  url: of the API, with "/v1";  took_s: how long the last start took
    """

    model = "tests/tiny"

    def __init__(self, folder: Path, home: Path) -> None:
        into_cache(folder, home, self.model)  # it lists only models that are in the cache
        self.took_s = 0.0
        self._home = home
        self._log = home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> "RealServer":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; fails with what it wrote if it does not within `START_S`."""
        began = time.monotonic()
        command = [str(Path(sys.executable).with_name("transformers")), "serve", self.model, "--device", "cpu"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **ALONE, "HF_HOME": str(self._home)},
            )
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() - began > START_S:
                self.kill()
                raise AssertionError(f"transformers serve did not start:\n{self.log()[-4000:]}")
            time.sleep(0.1)
        self.took_s = time.monotonic() - began

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url.removesuffix("/v1") + "/health", timeout=1) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """As a crash: at once, and connections break off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def stop(self) -> None:
        """Ask it to end; it is killed if it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

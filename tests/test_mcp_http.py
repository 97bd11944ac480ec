"""An MCP server over streamable HTTP, in a process of its own that comes and goes."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embodied.mcp import McpServer
from streams.types import Fault, Recovered
from tests.mcp_room import ODD, WAIT_S, Room, visit


class Served:
    """The odd server over HTTP, in a process of its own. `stop` it at the end."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(ODD), "http", str(self.port)], stderr=subprocess.DEVNULL)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def configured(self, **settings: Any) -> McpServer:
        return McpServer(url=f"http://127.0.0.1:{self.port}/mcp", tools=("*",), **settings)


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    try:
        yield server
    finally:
        server.stop()


def up(served: Served) -> Served:
    """Start it, and wait until it listens, so that the first attempt is a good one."""
    served.start()
    until = time.monotonic() + WAIT_S
    while not served.listens():
        assert time.monotonic() < until
        time.sleep(0.02)
    return served


def test_tools_over_http(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_AUTH", "Bearer secret-1234")
    told = tmp_path / "told"

    async def scene(room: Room) -> None:
        await room.until(lambda: room.box.tools)
        assert (await room.call("far__echo", text="well", times=2)).result == {"result": "wellwell"}
        assert (await room.call("far__headers")).result == {"result": "Bearer secret-1234"}
        assert (await room.call("far__broken")).status == "failed"
        assert "only the first" in str((await room.call("far__huge", kilobytes=300)).result)
        over = await room.call("far__huge", kilobytes=9000)
        assert over.status == "failed"
        assert "longer than 8 MB" in over.detail
        late = await room.call("far__slow", seconds=60, told=str(told))
        assert late.status == "timeout"
        await room.until(lambda: told.read_text().split() == ["begun", "cancelled"])
        assert (await room.call("far__grow")).status == "done"
        await room.until(lambda: "far__grown" in room.box.tools)

    settings = up(served).configured(header_env={"Authorization": "ODD_AUTH"}, timeout_s=3)
    assert not visit({"far": settings}, scene).of(Fault)


def test_a_server_far_away_is_waited_for_lost_and_found(served: Served) -> None:
    async def scene(room: Room) -> None:
        await room.until(lambda: room.of(Fault))  # nobody there
        served.start()
        await room.until(lambda: room.of(Recovered) and room.box.tools)
        died = await room.call("far__die")
        assert (died.status, died.detail) == ("failed", "McpFailed: the server has gone")
        await room.until(lambda: not room.box.tools)
        served.stop()
        served.start()
        await room.until(lambda: room.box.tools)
        assert (await room.call("far__echo", text="back")).result == {"result": "back"}

    room = visit({"far": served.configured()}, scene)
    assert [each.where for each in room.of(Fault)] == ["mcp:far"] * 2
    assert [each.where for each in room.of(Recovered)] == ["mcp:far"] * 2
    assert not any(str(served.port) in each.message for each in room.of(Fault))

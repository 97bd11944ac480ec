"""An MCP server over streamable HTTP, in a process of its own that comes and goes."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from embodied.mcp import McpServer
from streams.types import Fault, Recovered
from tests.mcp_room import ODD, Room, visit


class Served:
    """The odd server over HTTP, in a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, str(ODD), "http", str(self.port)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def test_over_http_it_is_waited_for_used_lost_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_AUTH", "Bearer secret-1234")
    served = Served()
    told = tmp_path / "told"

    async def scene(room: Room) -> None:
        await room.until(lambda: room.of(Fault))  # nobody there
        served.start()
        await room.until(lambda: room.of(Recovered) and room.box.tools)
        assert (await room.call("far__echo", text="well", times=2)).result == {"result": "wellwell"}
        assert (await room.call("far__headers")).result == {"result": "Bearer secret-1234"}
        assert (await room.call("far__broken")).status == "failed"
        assert "only the first" in str((await room.call("far__huge", kilobytes=300)).result)
        late = await room.call("far__slow", seconds=60, told=str(told))
        assert late.status == "timeout"
        await room.until(lambda: told.read_text().split() == ["begun", "cancelled"])
        assert (await room.call("far__grow")).status == "done"
        await room.until(lambda: "far__grown" in room.box.tools)
        died = await room.call("far__die")
        assert died.status == "failed"
        await room.until(lambda: not room.box.tools)
        served.stop()
        served.start()
        await room.until(lambda: room.box.tools)
        assert (await room.call("far__echo", text="back")).result == {"result": "back"}

    server = McpServer(
        url=f"http://127.0.0.1:{served.port}/mcp",
        header_env={"Authorization": "ODD_AUTH"},
        tools=("*",),
        timeout_s=3,
        start_s=5,
    )
    try:
        room = visit({"far": server}, scene)
    finally:
        served.stop()
    assert [each.where for each in room.of(Fault)] == ["mcp:far"] * 2
    assert [each.where for each in room.of(Recovered)] == ["mcp:far"] * 2
    assert not any("secret" in each.message or str(served.port) in each.message for each in room.of(Fault))

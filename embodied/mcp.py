"""MCP servers: their tools, in the toolbox of the agent, for as long as each server is there.

Model Context Protocol, https://modelcontextprotocol.io: revisions 2024-11-05 to 2026-07-28, as its official SDK speaks
them. What a server says (names, descriptions, results, errors) is data from elsewhere and is bounded and cleaned; what
it asks for (sampling, elicitation, roots) is refused, and the instructions it sends for a model are not used.
"""

import asyncio
import importlib
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, TypeAlias

from msgspec import Meta, Struct, field

from embodied.toolbox import Toolbox
from streams.clock import Clock
from streams.errors import DependencyMissing
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Fault, OnCut
from streams.worker import Worker

if TYPE_CHECKING:
    from embodied.mcp_connection import Connection

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600)]
ServerName: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$", max_length=24)]


class McpServer(Struct, frozen=True, forbid_unknown_fields=True):
    """One MCP server: either a `command` that is started and spoken to over its standard input, or a `url`.

    command, args: the program; it inherits PATH, HOME and the like, and nothing else of the environment but
    env_keys: names of environment variables that it is given as well, such as those of its keys
    url: of a server that is there (streamable HTTP), with the path, such as "http://localhost:8000/mcp"
    header_env: header → name of the environment variable that holds its value, such as Authorization = "MCP_AUTH"
    tools: names of the tools that may be used, as the server names them; "*": all, also those that come later
    risky: those of them to which a person must agree each time; "*": all. What the server itself calls destructive
        is risky in any case
    timeout_s: after which a call is given up, and cancelled at the server;  start_s: until it must have answered once
    on_cut: what an interruption does to a call: "finish" lets it go on
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env_keys: tuple[str, ...] = ()
    url: str = ""
    header_env: dict[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    risky: tuple[str, ...] = ()
    timeout_s: Seconds = 30.0
    start_s: Seconds = 30.0
    on_cut: OnCut = "finish"

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError("an MCP server has either a command or a url")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url = {self.url!r}: it must begin with http:// or https://")
        if self.url and (self.args or self.env_keys):
            raise ValueError("args and env_keys are for a command, not for a url")
        if self.command and self.header_env:
            raise ValueError("header_env is for a url, not for a command")


class McpSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The MCP servers of the agent, each under a name of its own, which its tools bear: `weather__forecast`.

    servers: name (letters, digits, single '-' and '_' between them) → the server
    """

    servers: dict[ServerName, McpServer] = field(default_factory=dict)


def require() -> None:
    """Load the SDK, which takes about a second: best done before a session begins. Raises `DependencyMissing`."""
    try:
        importlib.import_module("embodied.mcp_connection")
    except ImportError as error:  # it is not there, or an older one that has other names
        if (error.name or "").split(".")[0] not in ("mcp", "mcp_types", "anyio", "httpx2"):
            raise
        raise DependencyMissing("mcp", "mcp", "an MCP server") from error


class McpTools:
    """Keeps the tools of MCP servers in a toolbox, each while its server is there. Use as an async context manager.

    section: the servers;  toolbox: gets their tools, named `server__tool`, as group "mcp:server"
    publisher: told with a `Fault` when a server cannot be reached or has gone, and with `Recovered` when it is back

    Entering returns at once: tools appear when their server has answered. One that dies takes its tools with it, its
    calls end as "failed", and it is started or reached again after 1 s, 2 s, 4 s, up to a minute. On a virtual clock
    nothing is started. Leaving ends every server, which may take some seconds where one does not end by itself.
    """

    def __init__(self, section: McpSection, toolbox: Toolbox, publisher: Publisher, clock: Clock) -> None:
        self._section, self._toolbox = section, toolbox
        self._publisher, self._clock = publisher, clock
        self._connections: list[Connection] = []
        self._leaving = False

    async def __aenter__(self) -> "McpTools":
        self._group = await asyncio.TaskGroup().__aenter__()
        if self._section.servers and not self._clock.virtual:
            self._group.create_task(self._begin(), name="mcp")
        return self

    async def _begin(self) -> None:
        loading = Worker(self._clock, "mcp")
        try:
            await loading.work(0, require)
        except DependencyMissing as error:
            fault = Fault("mcp", type(error).__name__, str(error))
            self._publisher.publish(FEEDBACK, self._clock.now(), fault)
            return
        finally:
            loading.abandon()
        from embodied.mcp_connection import Connection  # noqa: PLC0415 - it loads the SDK

        if not self._leaving:
            for name, server in self._section.servers.items():
                connection = Connection(name, server, self._toolbox, self._publisher, self._clock)
                self._connections.append(connection)
                self._group.create_task(connection.run(), name=f"mcp {name}")

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leaving = True
        for connection in self._connections:
            connection.stop()
        # Not as failed, whatever happened: a second cancellation would leave processes behind.
        await self._group.__aexit__(None, None, None)

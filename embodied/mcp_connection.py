"""One MCP server over its life: connected, listened to, lost, and connected again. Loads the SDK (`mcp`).

One task owns the connection, for the SDK's cancel scopes belong to the task that opened them; calls come from the
tasks of the toolbox, which the SDK allows. It is ended by cancelling a scope of anyio's, not the task: only so is the
SDK's shutdown of a process shielded.
"""

import logging
import math
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import CONNECTION_CLOSED, Implementation, ToolListChangedNotification

from embodied.errors import McpFailed
from embodied.mcp import McpServer
from embodied.mcp_http import http_client
from embodied.mcp_streams import Errors, Watched
from embodied.mcp_words import listed, result_of
from embodied.results import clean
from embodied.toolbox import Toolbox
from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Fault, Feedback, Recovered

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEADY_S = 30.0
"""A connection that stood this long was a good one: the next pause is short again."""
LIST_S = 10.0
"""How long a server may take to list its tools again."""
LOOK_S = 15.0
"""How often a server behind a url is looked at: nothing else tells that it has gone."""
QUIET_S = 1.0
"""At least this long between two lists, however often a server says that its tools have changed."""
PAGES = 20

logging.getLogger("mcp").addHandler(logging.NullHandler())  # its warnings are not for our standard error


class Connection:
    """The tools of one server, in `toolbox` as group "mcp:name" while it is there. `run` it once; `stop` ends that."""

    def __init__(self, name: str, server: McpServer, toolbox: Toolbox, publisher: Publisher, clock: Clock) -> None:
        self.where = f"mcp:{name}"
        self._name, self._server = name, server
        self._toolbox, self._publisher, self._clock = toolbox, publisher, clock
        self._scope = anyio.CancelScope()
        self._wake = anyio.Event()
        self._ended = self._down = self._stopped = False
        self._starting = False  # a process: that is not to be cut short, for nobody would have it then
        self._calls = 0
        self._notes: dict[str, str] = {}
        self._secrets: set[str] = set()
        self._errors: Errors | None = None

    def stop(self) -> None:
        """End the connection; `run` returns when the server has ended, or has been killed: 7 s later at most."""
        self._stopped = True
        if not self._starting:
            self._scope.cancel()

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost, until `stop`."""
        pause = FIRST_PAUSE_S
        with self._scope:
            while True:
                begun = self._clock.now()
                reason = await self._hold()
                if self._stopped:
                    return
                self._tell_down(reason)
                if self._clock.now() - begun > STEADY_S * SECOND:
                    pause = FIRST_PAUSE_S
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _hold(self) -> str:
        """Be connected for as long as it lasts; why it did not last longer."""
        self._ended = False
        try:
            with anyio.move_on_after(self._server.start_s) as limit:
                async with Client(
                    self._transport(),
                    message_handler=self._hear,
                    client_info=Implementation(name="visavis", version="1"),
                    cache=None,
                ) as client:
                    await self._list(client)
                    limit.deadline = math.inf
                    self._tell_up()
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._listen, client)
                        await self._keep(client)
                        group.cancel_scope.cancel()
            if limit.cancelled_caught:
                return f"it has not answered within {self._server.start_s:g} s"
            return "it has gone"
        except Exception as error:  # noqa: BLE001 - whatever a server or the SDK comes up with, the session goes on
            return _said(error)
        finally:
            if not self._stopped:
                self._toolbox.remove(self.where)

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[tuple[Any, Any]]:
        server = self._server
        if server.url:
            headers = {header: self._secret(key) for header, key in server.header_env.items()}
            async with (
                http_client(headers, LIST_S, max(300.0, server.timeout_s)) as http,
                streamable_http_client(server.url, http_client=http) as (read, write),
            ):
                yield Watched(read, self._end), write
            return
        environment = {key: self._secret(key) for key in server.env_keys}
        started = StdioServerParameters(
            command=server.command, args=list(server.args), env=environment, encoding_error_handler="replace"
        )
        async with Errors() as self._errors:
            self._starting = True
            try:
                async with stdio_client(started, errlog=self._errors.file) as (read, write):
                    self._begun()
                    self._errors.inherited()
                    yield Watched(read, self._end), write
            finally:
                self._begun()

    def _begun(self) -> None:
        """The process has been started, or could not be."""
        self._starting = False
        if self._stopped:
            self._scope.cancel()

    def _secret(self, key: str) -> str:
        value = os.environ.get(key)
        if value is None:
            raise McpFailed(f"the environment variable {key} is not set, which its configuration names")
        if len(value) >= 6:  # shorter ones stand in any sentence
            self._secrets.add(value)
        return value

    # --- while it is connected

    async def _hear(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._wake.set()

    def _end(self) -> None:
        self._ended = True
        self._wake.set()

    async def _listen(self, client: Client) -> None:
        """Since 2026-07-28 changes are told to those who subscribe; that the stream is lost may mean the server is."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                self._wake.set()  # something may have changed before we listened
                async for _ in changes:
                    self._wake.set()
        except ListenNotSupportedError:
            return  # an older revision: `_hear` is told
        except (SubscriptionLost, MCPError):
            self._wake.set()

    async def _keep(self, client: Client) -> None:
        """List the tools again whenever there is reason to; return, or raise, when the server has gone."""
        while True:
            with anyio.move_on_after(LOOK_S if self._server.url else math.inf):
                await self._wake.wait()
            self._wake = anyio.Event()
            if self._ended:
                return
            try:
                with anyio.fail_after(LIST_S):
                    await self._list(client)
            except TimeoutError:
                if not self._calls:  # a server that is busy with a call may be one that cannot do two things at once
                    raise McpFailed(f"it has not answered for {LIST_S:g} s") from None
            await anyio.sleep(QUIET_S)

    async def _list(self, client: Client) -> None:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            found += [each.model_dump(by_alias=True, mode="json", exclude_none=True) for each in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        tools, notes = listed(self._name, self._server, found, lambda own: self._calling(client, own))
        for word, note in notes.items():
            if self._notes.get(word) != note:
                self._publish(Fault(self.where, word.split(" ", maxsplit=1)[0], f"MCP server {self._name!r}: {note}."))
        self._notes = notes
        if self._signatures(tools) != self._signatures(self._toolbox.group(self.where)):
            self._toolbox.add(tools, self.where)

    @staticmethod
    def _signatures(tools: Any) -> list[Any]:
        return [each.offer for each in tools]

    def _calling(self, client: Client, own: str) -> Callable[..., Awaitable[Any]]:
        async def call(**arguments: Any) -> Any:
            self._calls += 1
            try:
                answer = await client.call_tool(own, arguments)
            except MCPError as error:
                if error.code != CONNECTION_CLOSED:
                    raise McpFailed(self._fit(str(error))) from error
                self._wake.set()  # see whether it is there at all
                raise McpFailed("the server has gone") from error
            finally:
                self._calls -= 1
            return result_of(answer.model_dump(by_alias=True, mode="json"))

        return call

    # --- what is told

    def _tell_up(self) -> None:
        if self._down:
            self._down = False
            self._publish(Recovered(self.where, f"MCP server {self._name!r} is there again."))

    def _tell_down(self, reason: str) -> None:
        """Once for each time that it goes, not for each attempt."""
        if self._down:
            return
        self._down = True
        said = self._errors.said if self._errors is not None else ""
        last = f" It said at last: {self._fit(said[-400:])}" if said.strip() else ""
        message = f"MCP server {self._name!r}: {self._fit(reason)}. Its tools are away until it answers.{last}"
        self._publish(Fault(self.where, "McpFailed", message))

    def _fit(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if self._server.url:
            text = text.replace(self._server.url, "its url")  # there may be a key in it
        return clean(text, 400).rstrip(".")

    def _publish(self, feedback: Feedback) -> None:
        self._publisher.publish(FEEDBACK, self._clock.now(), feedback)


def _said(error: BaseException) -> str:
    """The first cause in a group of errors, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, McpFailed | MCPError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

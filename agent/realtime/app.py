"""The route `/v1/realtime`, for any Starlette application: who may come in, and how many.

    app.router.routes.append(route(config, token))                     # beside other routes
    uvicorn.run(application(config, token), host="127.0.0.1", port=8000)   # alone

A client shows the token as the official client does its API key (`Authorization: Bearer ...`), in a browser, which
cannot set headers, as subprotocol `openai-insecure-api-key.<token>`, or as `?token=`. No cookie is looked at, so that a
foreign page that knows no token cannot come in by somebody's browser.
"""

import hmac
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from agent.config import Config
from agent.realtime.connection import Connection
from agent.realtime.limits import RealtimeConfig
from agent.realtime.outbox import Gone
from embodied.toolbox import Tool
from streams.errors import DependencyMissing

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

PATH = "/v1/realtime"
_KEY = "openai-insecure-api-key."


class Endpoint:
    """Takes in the clients, as many as there may be. `await endpoint(websocket)` holds one conversation.

    config: of every session;  token: what a client must show; "" lets everybody in (for tests on loopback only)
    tools: functions of the agent's own;  talking: clients that are connected
    """

    def __init__(
        self,
        config: Config,
        token: str,
        limits: RealtimeConfig | None = None,
        tools: Sequence[Tool | Callable[..., object]] = (),
    ) -> None:
        self.config, self.token, self.limits, self.tools = config, token, limits or RealtimeConfig(), tools
        self.talking = 0
        self._numbers = count(1)

    async def __call__(self, websocket: "WebSocket") -> None:
        """One connection, from its handshake to its end."""
        from starlette.responses import JSONResponse  # noqa: PLC0415 - an extra

        offered = [each.strip() for each in websocket.headers.get("sec-websocket-protocol", "").split(",")]
        if not self._may_enter(websocket, offered):
            error = {"type": "invalid_request_error", "code": "invalid_api_key", "message": "the token is wrong"}
            await websocket.send_denial_response(JSONResponse({"error": error}, 401))
            return
        if self.talking >= self.limits.connections:
            why = f"{self.talking} clients are connected, which is as many as may be: try again later"
            error = {"type": "server_error", "code": "too_many_connections", "message": why}
            await websocket.send_denial_response(JSONResponse({"error": error}, 503))
            return
        self.talking += 1
        try:
            await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
            beta = "realtime=v1" in websocket.headers.get("openai-beta", "") or "openai-beta.realtime-v1" in offered
            await Connection(
                _Wire(websocket),
                self.config,
                self.limits,
                name=f"sess_{next(self._numbers)}",
                model=websocket.query_params.get("model", "")[:100],
                beta=beta,
                tools=self.tools,
            ).run()
        finally:
            self.talking -= 1

    def _may_enter(self, websocket: "WebSocket", offered: Sequence[str]) -> bool:
        if not self.token:
            return True
        shown = [websocket.query_params.get("token", "")]
        kind, _, bearer = websocket.headers.get("authorization", "").partition(" ")
        shown += [bearer.strip()] if kind.lower() == "bearer" else []
        shown += [each.removeprefix(_KEY) for each in offered if each.startswith(_KEY)]
        return any(hmac.compare_digest(each.encode(), self.token.encode()) for each in shown)


class _Wire:
    """A WebSocket of Starlette as `agent.realtime.outbox.Socket`."""

    def __init__(self, websocket: "WebSocket") -> None:
        from starlette.websockets import WebSocketDisconnect  # noqa: PLC0415 - an extra

        self._websocket, self._left = websocket, (WebSocketDisconnect, OSError)

    async def receive(self) -> str | bytes:
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            raise Gone
        text: str | bytes | None = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_text(text)
        except self._left as error:
            raise Gone from error

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except self._left as error:
            raise Gone from error


def route(
    config: Config,
    token: str,
    limits: RealtimeConfig | None = None,
    *,
    tools: Sequence[Tool | Callable[..., object]] = (),
    path: str = PATH,
) -> "WebSocketRoute":
    """The route, to be put into an application; see `Endpoint`. Raises `DependencyMissing` without Starlette."""
    return _routed(Endpoint(config, token, limits, tools), path)


def application(
    config: Config,
    token: str,
    limits: RealtimeConfig | None = None,
    *,
    tools: Sequence[Tool | Callable[..., object]] = (),
) -> "Starlette":
    """An application with nothing but this route, for a server of its own; its `state.realtime` is the `Endpoint`."""
    endpoint = Endpoint(config, token, limits, tools)
    realtime = _routed(endpoint, PATH)
    from starlette.applications import Starlette  # noqa: PLC0415 - an extra

    app = Starlette(routes=[realtime])
    app.state.realtime = endpoint
    return app


def _routed(endpoint: Endpoint, path: str) -> "WebSocketRoute":
    try:
        from starlette.routing import WebSocketRoute  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing("starlette", "web", "the Realtime endpoint") from error

    async def realtime(websocket: "WebSocket") -> None:
        await endpoint(websocket)

    return WebSocketRoute(path, realtime)

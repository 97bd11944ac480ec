"""uvicorn inside our event loop: no signal handlers of its own, a socket of ours, an end that is bounded in time."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from streams.errors import VisavisError

GRACE_S = 2
MESSAGE_BYTES = 16 << 20
"""The longest message of a WebSocket, unless something else is said: that of uvicorn."""
CONNECTIONS = 256


class ConsoleError(VisavisError):
    """The console cannot be served."""


class Tls(NamedTuple):
    """Files in PEM. cert: with the chain;  key: without a password"""

    cert: str
    key: str


class _Protocol(WebSocketsSansIOProtocol):
    """Lets an application cut a connection whose other end does not read any more."""

    async def run_asgi(self) -> None:
        self.scope["extensions"]["visavis.abort"] = self.transport.abort  # type: ignore[assignment]
        await super().run_asgi()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for whoever runs the program."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket on `host`:`port` (0: any free one). Raises `ConsoleError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConsoleError(
            f"cannot listen on {host}:{port}: {reason}. Choose another --port (0 is any free one)."
        ) from error


@asynccontextmanager
async def serving(
    app: ASGIApp, sock: socket.socket, tls: Tls | None = None, *, max_size: int = MESSAGE_BYTES
) -> AsyncIterator[None]:
    """Serve `app` on `sock` while this context is open. Leaving it waits for the last connection, but not long.

    max_size: bytes of the longest message of a WebSocket; an application that wants less looks itself
    Raises `ConsoleError` for certificates that cannot be used.
    """
    try:
        config = uvicorn.Config(
            app,
            ws=_Protocol,
            ws_max_size=max_size,
            ws_ping_interval=10,
            ws_ping_timeout=10,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        sock.close()
        raise ConsoleError(f"the certificate cannot be used ({tls}): {error}.") from error
    logging.getLogger("uvicorn.error").addFilter(_wanted)
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve(sockets=[sock]), name="console server")
        try:
            while not (server.started or running.done()):  # noqa: ASYNC110 - it tells by nothing else
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            server.force_exit = hurried()
            try:
                await asyncio.wait([running], timeout=0.5 if server.force_exit else 2 * GRACE_S)
            finally:
                running.cancel()


def hurried() -> bool:
    """Whether the task that asks is being cancelled: then nobody is waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _wanted(record: logging.LogRecord) -> Any:
    """Not that tasks were cancelled at the end: that is how a page that does not answer is left behind."""
    return not record.getMessage().startswith("Cancel ")

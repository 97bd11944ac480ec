"""Two ends of a connection to an MCP server: what comes from it, watched for its end, and what it writes as errors."""

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

KEPT = 4000
"""How many characters of what a server wrote last on its standard error are kept."""


class Watched:
    """A stream of the SDK's that calls `ended` when nothing more will come. Everything else is as `stream` does it."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream, self._ended = stream, ended

    @property
    def last_context(self) -> Any:
        """Of the sender of the last item, where the stream keeps it."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        """The next item."""
        return await self._stream.receive()

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def __aiter__(self) -> "Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._ended()
            raise

    async def __aenter__(self) -> "Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        return await self._stream.__aexit__(*exc)  # type: ignore[no-any-return]


class Errors(asyncio.Protocol):
    """Takes what a process writes to its standard error, and keeps the last of it. An async context manager.

    file: to be inherited by the process; call `inherited` when it has been
    """

    def __init__(self) -> None:
        self._kept = b""
        self.file: TextIO

    @property
    def said(self) -> str:
        """The last that it wrote."""
        return self._kept.decode("utf-8", "replace")

    async def __aenter__(self) -> "Errors":
        reading, writing = os.pipe()
        self.file = os.fdopen(writing, "w")
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: self, os.fdopen(reading, "rb", buffering=0)
        )
        return self

    def inherited(self) -> None:
        """Let go of our copy, so that the pipe ends with the process."""
        self.file.close()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._kept = (self._kept + data)[-KEPT:]

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()
        self._transport.close()

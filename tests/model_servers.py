"""A server of chat completions that does what a test tells it to, byte for byte, on a real socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

DONE = b"data: [DONE]\n\n"


def chunk(content: Any = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    if content is not None:
        delta["content"] = content
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "tiny-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def usage(inputs: int = 7, outputs: int = 3) -> dict[str, Any]:
    counts = {"prompt_tokens": inputs, "completion_tokens": outputs, "prompt_tokens_details": {"cached_tokens": 2}}
    return {"choices": [], "usage": counts}


class Line:
    """One request, and the connection on which it came."""

    def __init__(
        self, server: "ModelServer", path: str, headers: dict[str, str], body: Any, reader: Any, writer: Any
    ) -> None:
        self.server = server
        self.path, self.headers, self.body = path, headers, body
        self.reader, self.writer = reader, writer
        self.keep = False
        self._chunked = False

    def head(self, status: int = 200, kind: str = "text/event-stream", length: int | None = None, **more: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        if length is None:
            lines.append("Transfer-Encoding: chunked")
            self._chunked = True
        elif length >= 0:
            lines.append(f"Content-Length: {length}")
        else:
            lines.append("Connection: close")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, data: bytes) -> None:
        if data:
            self.writer.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        if self._chunked:
            self.writer.write(b"0\r\n\r\n")
        self.keep = True

    def whole(self, status: int, body: Any, kind: str = "application/json", **more: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, kind, len(data), **more)
        self.send(data)
        self.keep = True

    def stream(self, *texts: str, finish: str = "stop") -> None:
        self.head()
        for text in texts:
            self.send(event(chunk(text)))
        self.send(event(chunk(finish=finish)))
        self.send(event(usage()))
        self.send(DONE)
        self.end()

    async def left(self, patience_s: float = 3.0) -> bool:
        """Wait until the client has closed the connection."""
        try:
            async with asyncio.timeout(patience_s):
                return not await self.reader.read(1)
        except ConnectionError:
            return True
        except TimeoutError:
            return False


Play = Callable[[Line], Awaitable[None]]


class ModelServer:
    """`async with ModelServer(play, ...) as server`: the n-th POST is answered by the n-th play, the last one for ever.

    asked: the requests;  lines: of the POSTs;  connections: how many were made
    gone: for plays, to count clients that were seen to go
    """

    def __init__(self, *plays: Play, models: Any = ("tiny-1", "tiny-2")) -> None:
        self.plays = plays
        self.models = models
        self.asked: list[tuple[str, Any]] = []
        self.lines: list[Line] = []
        self.gone = 0
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ModelServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                line = await self._request(reader, writer)
                if line is None:
                    return
                await self._answer(line)
                await writer.drain()
                if not line.keep:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Line | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        first, *rest = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ")
        body = json.loads(data) if data else None
        self.asked.append((f"{method} {path}", body))
        return Line(self, path, headers, body, reader, writer)

    async def _answer(self, line: Line) -> None:
        if self.asked[-1][0].startswith("GET"):
            if self.models is None:
                line.whole(404, {"error": {"message": "not found"}})
            else:
                line.whole(200, {"object": "list", "data": [{"id": name} for name in self.models]})
            return
        self.lines.append(line)
        await self.plays[min(len(self.lines), len(self.plays)) - 1](line)


async def good(line: Line) -> None:
    line.stream("Hello ", "there.")

"""HTTP to an MCP server, by the SDK's own library, with a bound on answers: the SDK has one for streams only."""

from collections.abc import AsyncIterator, Mapping

import httpx2

ANSWER_BYTES = 8_000_000
"""How long an answer that is no stream may be; the call that it belongs to has failed otherwise."""


class _Bounded(httpx2.AsyncByteStream):
    """`stream`, up to `ANSWER_BYTES`; then `httpx2.StreamError`, which the SDK takes for an answer that is no JSON."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > ANSWER_BYTES:
                raise httpx2.StreamError(f"it is longer than {ANSWER_BYTES // 1_000_000} MB")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        streamed = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if not streamed and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Bounded(response.stream)
        return response


def http_client(headers: Mapping[str, str], connect_s: float, read_s: float) -> httpx2.AsyncClient:
    """A client for the SDK's transport; an async context manager. The times are limits for each step, in seconds."""
    timeout = httpx2.Timeout(connect_s, read=read_s)
    headers = {"Accept-Encoding": "identity", **headers}  # a bound on what comes is none on what that unpacks to
    return httpx2.AsyncClient(headers=headers, timeout=timeout, transport=_Transport())

"""A server of chat completions: its address, its key, and the connections to it.

The one file that imports httpx2 (docs/decisions/0013-model-client.md).
"""

import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies

import msgspec

from policies.errors import PolicyError
from policies.llm.settings import LlmConfig
from policies.models.answer import MOST_NAME, complaint, decode
from policies.models.failures import Failure, clean, of_status, short
from policies.models.secret import Secrets, shown
from streams.clock import Clock
from streams.errors import DependencyMissing
from streams.pictures import anonymous
from streams.worker import Worker

KEEP_S = 300.0
"""How long an idle connection is kept. What breaks in between is seen: the kernel asks whether the server is there."""
_ASKING = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # not every system has them
    ),
]
_MOST_LISTING = 4 << 20
_KEYED = {"api.openai.com": "OPENAI_API_KEY"}
"""Where nothing is to be had without a key, and under which other name it is usually kept."""
_ADDED = ("/chat/completions", "/completions", "/responses")
"""Places that people copy with the address; the first is what is asked, below the address."""
_PAGE = "{} answers with a web page: does llm.url lack /v1 at its end?"
_READY = "http11.send_request_headers.started"  # the first thing that httpx2 tells once a connection is there


class EndpointError(PolicyError):
    """A language model's address or key cannot be used."""


class Endpoint:
    """A server, with a pool of kept connections. `str()` is its address as it may be shown: no name, password, query.

    key_from: environment variable that the key is from, "" if there is none;  key_env: that it is or would be from

    Raises `EndpointError` for an address that is none, for a key that cannot be sent, and where there is no key for a
    server known to want one; `DependencyMissing` without httpx2.
    """

    def __init__(self, config: LlmConfig, clock: Clock) -> None:
        try:
            import httpx2  # noqa: PLC0415 - an extra, and 0.07 s
        except ImportError as error:
            raise DependencyMissing("httpx2", "llm", "a language model's server") from error
        self._httpx = httpx2
        self._clock = clock
        parts = _parts(config.url)
        self.host = parts.hostname or ""
        self.label = anonymous(config.url).rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._base = (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), parts.query)
        self._key, self.key_from = _key(config, self.host)
        self.key_env = self.key_from or config.key_env
        self._secrets = Secrets(self._key, config.url)
        headers = {"accept": "text/event-stream, application/json", "accept-encoding": "identity"}
        auth = None
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        elif parts.username:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=4, keepalive_expiry=KEEP_S)
        proxied = not _loopback(self.host) and bool(getproxies().keys() & {"http", "https", "all"})
        try:
            self._client = httpx2.AsyncClient(
                auth=auth,
                headers={**headers, "user-agent": "visavis"},
                timeout=None,  # every wait has its own bound, in `policies.models.waiting`
                follow_redirects=False,
                limits=limits,
                transport=None
                if proxied
                else httpx2.AsyncHTTPTransport(
                    verify=True if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                    limits=limits,
                    socket_options=_ASKING,
                ),
            )
        except (ImportError, ValueError, OSError) as error:  # a proxy of the environment that cannot be used
            raise EndpointError(f"{self.label} cannot be reached by the proxy of the environment: {error}") from error
        self._resolver: Worker | None = None
        self._resolved = False

    def __repr__(self) -> str:
        return f"Endpoint({self.label!r})"

    def __str__(self) -> str:
        return self.label

    def redacted(self, text: str) -> str:
        """`text` without the key: some servers repeat it in what they complain of."""
        return self._secrets.masked(text)

    def keyed(self, status: int) -> str:
        """What to say behind a failure of that status about the key; "" if it is not about keys."""
        if status not in (401, 403):
            return ""
        if self.key_from:
            return f": the key in the environment variable {self.key_from} is not taken."
        return f": it wants a key, in the environment variable {self.key_env}."

    def elsewhere(self, response: Any, path: str) -> Failure:
        """What a redirect comes to: it is told, and not followed. path: that was asked for"""
        place = urljoin(str(response.request.url), response.headers.get("location", ""))
        place = short(anonymous(place).rstrip("/").removesuffix(path))
        told = f"{self.label} points elsewhere (HTTP {response.status_code})"
        return Failure("refused", f"{told}: give {self.redacted(place)!r} as llm.url.", status=response.status_code)

    @asynccontextmanager
    async def posted(
        self, path: str, body: Mapping[str, Any], ready: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Any]:
        """The response (`httpx2.Response`, its body not yet read) to `body` as JSON; closed on leaving.

        ready: called when a connection is there and the request is about to be sent
        Raises `Failure` ("connect", "closed", "malformed"). Cancelling closes the connection at once.
        """
        async with self._asked("POST", path, msgspec.json.encode(body), ready) as response:
            yield response

    async def models(self) -> list[str]:
        """The names of the models that the server lists. Raises `Failure`; waits as long as the server does."""
        async with self._asked("GET", "/models", None, lambda: None) as response:
            status = response.status_code
            if 300 <= status < 400:
                raise self.elsewhere(response, "/models")
            text = await self.text(response, _MOST_LISTING)
            if status != 200:
                now, told = self._clock.wall(self._clock.now()), self.redacted(text.decode(errors="replace"))
                raise of_status(status, response.headers, complaint(told.encode()), now, self.keyed(status))
            if text.lstrip()[:1] == b"<":
                raise Failure("malformed", _PAGE.format(self.label), again=False)
            listing = decode(text)
        data = listing.get("data", listing.get("models")) if isinstance(listing, dict) else None
        if not isinstance(data, list):
            raise Failure("malformed", f"{self.label}/models is no list of models.")
        names = [each.get("id") or each.get("name") for each in data if isinstance(each, dict)]
        return [clean(name) for name in names if isinstance(name, str) and 0 < len(name) <= MOST_NAME]

    async def text(self, response: Any, most: int) -> bytes:
        """The body of `response`. Raises `Failure`: "too_long" above `most` bytes."""
        whole = bytearray()
        async for data in self.bytes(response):
            whole += data
            if len(whole) > most:
                raise Failure("too_long", f"the server's answer is longer than {most} bytes.")
        return bytes(whole)

    async def bytes(self, response: Any) -> AsyncGenerator[bytes, None]:
        """The body as it comes, decompressed. Raises `Failure` ("closed", "malformed")."""
        try:
            async for data in response.aiter_bytes():
                yield data
        except self._httpx.DecodingError as error:
            raise Failure("malformed", "the server's answer is compressed in a way that cannot be read.") from error
        except (self._httpx.TransportError, self._httpx.StreamError) as error:
            raise Failure("closed", "the server closed the connection in the midst of its answer.") from error

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._client.aclose()
        if self._resolver is not None:
            self._resolver.abandon()

    @asynccontextmanager
    async def _asked(self, method: str, path: str, content: Any, ready: Callable[[], None]) -> AsyncIterator[Any]:
        if self._client.is_closed:
            raise Failure("closed", "the connections to the model have been closed.", again=False)
        sending = False

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            nonlocal sending
            if event == _READY:
                sending = True
                ready()

        await self._resolve()
        scheme, place, base, query = self._base
        httpx = self._httpx
        request = self._client.build_request(
            method,
            urlunsplit((scheme, place, base + path, query, "")),
            content=content,
            headers={"content-type": "application/json"} if content is not None else {},
            extensions={"trace": trace},
        )
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            self._resolved = False
            why = self.redacted(str(error)) or type(error).__name__
            raise Failure("connect", f"no connection to {self.label} ({why}): is the server running?") from error
        except (httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise Failure("refused", f"{self.label} cannot be asked: {type(error).__name__}.", again=False) from error
        except httpx.TransportError as error:
            if not sending:
                raise Failure("connect", f"the connection to {self.label} broke while it was made.") from error
            if isinstance(error, httpx.RemoteProtocolError) and "without sending" not in str(error):
                raise Failure(
                    "malformed", f"{self.label} does not answer in HTTP: is it another kind of server?"
                ) from error
            raise Failure("closed", f"{self.label} closed the connection without an answer.") from error
        try:
            yield response
        finally:
            await response.aclose()

    async def _resolve(self) -> None:
        """Wait until the host's name can be looked up at all, in a thread that nobody waits for.

        asyncio looks names up in threads that the end of the loop does wait for, and a resolver without a network
        takes half a minute.
        """
        if self._resolved or _loopback(self.host):
            return
        if self._resolver is None:
            self._resolver = Worker(self._clock, "resolver")
        try:
            await self._resolver.work(0, socket.getaddrinfo, self.host, self._port)
        except (OSError, UnicodeError):  # a proxy may know better; if not, connecting says the same
            pass
        self._resolved = True


def _parts(url: str) -> Any:
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise EndpointError(
            f"llm.url is {shown(url)!r}, which is no address of a server: such as http://localhost:11434/v1"
            + (" (speech-to-speech models, at ws:// and wss://, go by --realtime)" if url.startswith("ws") else "")
        )
    whole = parts.path.rstrip("/")
    ending = next((each for each in _ADDED if whole.endswith(each)), "")
    if ending:
        better = shown(urlunsplit((parts.scheme, parts.netloc, whole.removesuffix(ending), "", "")))
        raise EndpointError(f"llm.url is {shown(url)!r}: {ending} is added to it, so leave that off: {better}")
    return parts


def _key(config: LlmConfig, host: str) -> tuple[str, str]:
    """The key and the environment variable it is in; both "" where there is none. Raises `EndpointError`."""
    names = [config.key_env, *([_KEYED[host]] if host in _KEYED else [])]
    for name in names:
        key = os.environ.get(name, "").strip() if name else ""
        if key and not (key.isascii() and key.isprintable()):
            raise EndpointError(
                f"the key in the environment variable {name} has characters that no key has: copy it anew."
            )
        if key:
            return key, name
    if host in _KEYED:
        raise EndpointError(f"{host} wants a key: export {' or '.join(name for name in names if name)}=...")
    return "", ""


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

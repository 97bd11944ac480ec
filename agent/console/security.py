"""Who may come in: token, host and origin of every request, and the headers of every answer.

Three strangers are kept out: one who does not know the token; a page of another server, in a browser that reaches us
(Origin); and such a page that had its own name point to our address (DNS rebinding: Host).
"""

import ipaddress
import secrets
import socket
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.clock import SECOND, Clock

Headers: TypeAlias = list[tuple[bytes, bytes]]

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' ws: wss:; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS: Headers = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
OPEN = ("/page/", "/healthz")
"""Paths that need no token: files without secrets, and whether we live."""
_PROTOCOL_KEY = "openai-insecure-api-key."  # how clients of realtime APIs in browsers send a key: in a subprotocol

_TOO_MANY = (429, "too many requests: wait a moment.")
_TOKEN = "this page needs the token in its address: open the address that visavis printed when it started."


def new_token() -> str:
    """Nobody guesses it."""
    return secrets.token_urlsafe(24)


class Budget:
    """So many a second over some seconds, then no more: a bucket that fills again."""

    def __init__(self, clock: Clock, per_s: float, over_s: float) -> None:
        self._clock, self._rate, self._size = clock, per_s, per_s * over_s
        self._left, self._at = self._size, clock.now()

    def spend(self, count: float = 1) -> bool:
        """False if there is not so much left."""
        now = self._clock.now()
        self._left = min(self._size, self._left + (now - self._at) * self._rate / SECOND)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class Gate:
    """ASGI application before all others: it lets through who has the token, and puts the headers on every answer.

    token: what they must know;  host: the address that is listened on;  names: other names of this machine
    origins: pages of other servers that may come in
    budget: requests of those who know the token;  files: requests for what needs none;  refusals: told as such
    Each pays for its own (None: there is no limit), so that no stranger spends what others need.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        host: str,
        *,
        names: Iterable[str] = (),
        origins: Iterable[str] = (),
        budget: Budget | None = None,
        files: Budget | None = None,
        refusals: Budget | None = None,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._host = host.strip("[]").lower()
        self._names = {"localhost", self._host, *(name.lower() for name in names)}
        if not is_loopback(host):
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._budget, self._files, self._refusals = budget, files, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, reason, budget = self._judge(scope)
        if budget is not None and not budget.spend():
            status, reason = _TOO_MANY

        async def dressed(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                ours = {name for name, _ in HEADERS}
                others = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in ours]
                message = {**message, "headers": [*others, *HEADERS]}
            await send(message)

        if status:
            await _refuse(scope, dressed, status, reason)
        else:
            await self._app(scope, receive, dressed)

    def _judge(self, scope: Scope) -> tuple[int, str, Budget | None]:
        """Status and reason of a refusal, (0, "") for who may come in; and what it is paid from."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._ours(host):
            reason = f"this server is not {host or 'named'}: open the address that visavis printed when it started."
            return 421, reason, self._refusals
        origin = headers.get("origin", "")
        if origin and not self._welcome(origin, host):
            return 403, f"a page of {origin} may not connect to this server.", self._refusals
        path = scope["path"]
        if path.startswith(OPEN[0]) or path in OPEN:
            return 0, "", self._files
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given = credentials.strip()
        for each in scope.get("subprotocols", ()):
            given = each.removeprefix(_PROTOCOL_KEY) if each.startswith(_PROTOCOL_KEY) else given
        if not secrets.compare_digest(given.encode(errors="replace"), self._token):
            return 403, _TOKEN, self._refusals
        return 0, "", self._budget if scope["type"] == "http" else None  # pages are counted where they enter

    def _ours(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False  # a name that is not ours is how rebinding begins; an address cannot be rebound
        if is_loopback(self._host):
            return address.is_loopback
        return self._host in ("", "0.0.0.0", "::") or str(address) == self._host

    def _welcome(self, origin: str, host: str) -> bool:
        if origin.rstrip("/").lower() in self._origins:
            return True
        try:
            return urlsplit(origin).scheme in ("http", "https") and urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:
            return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    name = host.strip("[]").lower()
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """`host` without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>visavis</title>"
        f"<p>{reason.replace('&', '&amp;').replace('<', '&lt;')}</p></html>"
    )
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body.encode())).encode())]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body.encode()})

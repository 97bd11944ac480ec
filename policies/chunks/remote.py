"""A chunk policy on a server: the same port as one in the process, so the executor and its latency are the same.

OFF unless it is allowed by name. What a server answers moves a robot, and what the robot sees goes to the server; see
docs/lerobot.md. Whatever a server does ends as a `ChunkRefused`, in bounded time, and the arm holds.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np

from policies.chunks.description import ChunkSpec
from policies.chunks.errors import ChunkRefused, PackageError
from policies.chunks.policy import Observation, Stitch
from policies.chunks.remote_frames import (
    ACTION,
    MOST_ANSWER,
    PREVIOUS,
    PROTOCOL,
    Answer,
    Question,
    described,
    pack,
    unpack,
)  # fmt: skip
from policies.chunks.scaling import Floats
from policies.errors import PolicyError
from streams.errors import DependencyMissing

T = TypeVar("T")
PATIENCE_S = 1.0
OPEN_S = 5.0
PAUSES_S = (0.05, 0.1, 0.2, 0.5)
"""Before a connection is tried again, so that a server that is gone is not asked at every step."""
LEAST_TOKEN = 16


class RemoteRefused(PolicyError):
    """A policy server may not be used, or cannot be: said before anything moves."""


class Address(NamedTuple):
    """Of a policy server. host, port: where to connect;  secure: by TLS"""

    url: str
    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str, schemes: tuple[str, str] = ("ws", "wss")) -> "Address":
        """Raises `RemoteRefused` for what has none of the schemes, or the first, without TLS, to another machine."""
        plain, secured = schemes
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise RemoteRefused(f"{url!r} is no address of a policy server: {error}.") from error
        if parts.scheme not in schemes or not host:
            raise RemoteRefused(
                f"{url!r} is no address of a policy server: {plain}://127.0.0.1:PORT or {secured}://HOST."
            )
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise RemoteRefused("the address of a policy server is HOST, PORT and path: its token is given apart.")
        if parts.scheme == plain and not _here(host):
            raise RemoteRefused(
                f"{plain}:// to {host} would be read, and changed, by anybody on the way: use {secured}://, or a "
                f"tunnel (ssh -L PORT:127.0.0.1:PORT {host}) and {plain}://127.0.0.1:PORT."
            )
        here = "127.0.0.1" if host == "localhost" else host  # whatever the machine's own tables say
        return cls(url, here, port or (443 if parts.scheme == secured else 80), parts.scheme == secured)


class RemotePolicy:
    """`policies.chunks.policy.ChunkPolicy` of a server that speaks `remote_frames`, such as `policies.chunks.serve`.

    Made, used and closed off the event loop: each call blocks, `patience_s` at most (the first connection 5 s).

    url: ws:// to this machine, or wss://;  token: that the server wants, at least 16 characters
    allow_remote: must be True. It says that somebody has decided to let this server move the robot.
    tls: to trust a certificate of one's own;  patience_s: for one chunk, a new connection included
    Raises `RemoteRefused` if it is not allowed or the server cannot be used, `DependencyMissing`.
    """

    def __init__(
        self, url: str, token: str, *, allow_remote: bool = False, tls: ssl.SSLContext | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:  # fmt: skip
        if allow_remote is not True:
            raise RemoteRefused(
                f"a policy on a server ({url}) is off: it would see what the robot sees and move it. "
                "If you trust that server as you trust this program: allow_remote=True "
                "(--allow-remote-policy at `visavis attach`)."
            )
        if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise RemoteRefused(f"the token of a policy server is at least {LEAST_TOKEN} characters without blanks.")
        try:
            from websockets import exceptions  # noqa: PLC0415 - an extra
            from websockets.asyncio import client  # noqa: PLC0415
        except ImportError as error:
            raise DependencyMissing("websockets", "web", "a policy on a server") from error
        self._address = Address.parse(url)
        self._connect, self._failures = client.connect, (OSError, ValueError, exceptions.WebSocketException)
        self._token, self._patience = token, patience_s
        self._tls = (tls or ssl.create_default_context()) if self._address.secure else None
        self._line: Any = None
        self._numbers = itertools.count(1)
        self._misses = 0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        # A loop of its own that runs only while it is asked: it bounds sending, which blocking sockets do not.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        try:
            self._spec = self._within(OPEN_S, self._open)
        except ChunkRefused as error:
            self.close()
            raise RemoteRefused(str(error)) from error

    @property
    def spec(self) -> ChunkSpec:
        """As in `ChunkPolicy`; what the server said at first. It must not change."""
        return self._spec

    def infer(
        self, observation: Observation, previous: Floats | None, delay: int, stitch: Stitch = "replace"
    ) -> Floats:
        """As in `ChunkPolicy`. After a failure the connection is made anew at the next call."""
        arrays = {
            name: np.asarray(observation.values[name]) for name in self._spec.observation if name in observation.values
        }
        if len(arrays) < len(self._spec.observation):
            raise ChunkRefused(f"the observation has not all that {self._spec.name} needs.")
        if previous is not None:
            arrays[PREVIOUS] = previous
        question = Question(next(self._numbers), min(max(delay, 0), 100_000), stitch, described(arrays))
        message = pack(question, arrays)
        if self._misses and self._closed.wait(PAUSES_S[min(self._misses, len(PAUSES_S)) - 1]):
            raise ChunkRefused("the connection to the policy server has been closed.")
        found = self._within(self._patience, lambda: self._ask(question, message))
        if isinstance(found, str):
            raise ChunkRefused(f"the policy server {self._address.url} refuses: {found}")
        return found

    def close(self) -> None:
        """Let the connection go. Idempotent; waits for a call under way."""
        self._closed.set()
        with self._lock:
            if self._line is not None:
                self._drop()
                with contextlib.suppress(*self._failures):
                    self._runner.run(asyncio.sleep(0))
            self._runner.close()

    def _within(self, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, in time. Raises `ChunkRefused`; then there is no connection any more."""

        async def bounded() -> T:
            async with asyncio.timeout(seconds):
                return await ask()

        if in_a_loop():
            raise ChunkRefused("a policy on a server is asked in a thread; in virtual time there is no server.")
        with self._lock:
            if self._closed.is_set():
                raise ChunkRefused("the connection to the policy server has been closed.")
            why = f"no answer within {seconds:g} s"
            try:
                found = self._runner.run(bounded())
            except TimeoutError:
                pass
            except (ChunkRefused, PackageError) as error:
                why = str(error).rstrip(".")
            except self._failures as error:
                why = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
            else:
                self._misses = 0
                return found
            self._misses += 1
            self._drop()
            raise ChunkRefused(f"the policy server {self._address.url}: {why}.")

    def _drop(self) -> None:
        """At once, without the ceremony: an answer that comes late must not be taken for that to another question."""
        line, self._line = self._line, None
        if line is not None:
            line.transport.abort()

    # --- on the private loop

    async def _open(self) -> ChunkSpec:
        """Connect; what the server serves."""
        to = self._address
        ours: list[Any] = [PROTOCOL]
        # With an explicit host it follows no redirection to another, and with proxy=None takes no way round.
        self._line = line = await self._connect(
            to.url, host=to.host, port=to.port, ssl=self._tls, subprotocols=ours, compression=None, proxy=None,
            additional_headers={"Authorization": f"Bearer {self._token}"}, user_agent_header="visavis",
            open_timeout=None, close_timeout=1, ping_interval=None, max_size=MOST_ANSWER, max_queue=2,
        )  # fmt: skip
        if line.subprotocol != PROTOCOL:
            raise ChunkRefused(f"it does not speak {PROTOCOL}")
        try:
            spec = msgspec.json.decode(await line.recv(), type=ChunkSpec)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ChunkRefused(f"what it serves is no chunk policy: {error}") from error
        spec.check()
        return spec

    async def _ask(self, question: Question, message: bytes) -> Floats | str:
        """The chunk, or why the server gives none."""
        if self._line is None and await self._open() != self._spec:
            raise ChunkRefused("it serves another policy than at first: begin again to use that")
        await self._line.send(message)
        answer, arrays = unpack(await self._line.recv(), Answer)
        if answer.id != question.id:
            raise ChunkRefused("it has answered another question")
        if answer.refused:
            return " ".join(answer.refused.split())
        rows = arrays.get(ACTION)
        shape = (self._spec.horizon, len(self._spec.action.names))
        if len(arrays) != 1 or rows is None or rows.dtype != np.float32 or rows.shape != shape:
            raise ChunkRefused(f"what it gives is no chunk of the shape {shape}")
        if not np.isfinite(rows).all():
            raise ChunkRefused("its chunk has what is no number")
        return rows.astype(np.float32)


def _here(host: str) -> bool:
    """Whether `host` is this machine, without asking anybody."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_a_loop() -> bool:
    """Whether this thread runs an event loop, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

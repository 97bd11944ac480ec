"""The connection to a speech-to-speech model: opened when the session starts, kept alive, and opened again when lost.

Whoever wants to send puts events on it without waiting; what cannot be sent is dropped, for a new connection knows
nothing of the old one. It never gives up: a server that is away is asked again, ever more seldom.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from policies.models.failures import short
from policies.models.realtime_settings import RealtimeModelConfig, address, key, session
from policies.models.secret import Secrets
from streams.clock import SECOND, Clock
from streams.errors import DependencyMissing

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

Event = dict[str, Any]

MOST_BYTES = 16 * 1024 * 1024
"""Of one message from the server, and of all that waits to be sent."""
STEADY_NS = 10 * SECOND
"""A connection that stood so long was a good one: the next is tried at once."""


class Listener(Protocol):
    """What the connection tells. All methods are called on the event loop and may not wait."""

    def opened(self) -> None:
        """It stands, and the session's settings have been sent."""

    def closed(self, why: str) -> None:
        """It stands no more. why: in words"""

    def heard(self, event: Event) -> None:
        """An event of the server."""

    def garbled(self, why: str) -> None:
        """A message of the server that is none of the protocol's."""

    def trouble(self, message: str) -> None:
        """The model cannot be reached; told once for each reason."""

    def well(self) -> None:
        """What `trouble` told is over."""


class _End(NamedTuple):
    """Why a connection ended. planned: by us, in a pause;  again_s: the server wants to be left alone for so long"""

    why: str
    planned: bool = False
    again_s: float | None = None


class Line:
    """The WebSocket. `keep` runs it; all else is synchronous.

    generation: number of the newest connection, 0 before the first;  busy: no planned renewal now
    trouble: why the model cannot be reached, in words; "" while it can, and before anybody has tried
    status: of HTTP, with which the last connection was refused; 0 if none was
    Making it raises `RealtimeSetupError` for a configuration that cannot work, and `DependencyMissing`.
    """

    def __init__(self, config: RealtimeModelConfig, listener: Listener) -> None:
        try:
            from websockets import exceptions  # noqa: PLC0415
            from websockets.asyncio import client  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise DependencyMissing("websockets", "realtime", "a speech-to-speech model") from error
        self._connect, self._errors = client.connect, exceptions
        self._config, self._listener = config, listener
        self._url, self._key = address(config), key(config)
        self._secrets = Secrets(self._key, config.url)
        self.generation = 0
        self.busy = False
        self.trouble = ""
        self.status = 0
        self._standing = asyncio.Event()
        self._outbox: deque[str] = deque()
        self._waiting = 0
        self._something = asyncio.Event()
        self._renewal = asyncio.Event()
        self._why = ""
        self._stood = False  # the connection being held has come to stand
        self._proved = False  # it has been of use
        self._away = False  # the last try to make one failed

    @property
    def standing(self) -> bool:
        """Whether there is a connection."""
        return self._standing.is_set()

    async def stand(self, seconds: float) -> bool:
        """Wait for a connection, `seconds` at most, and not at all if the last try to make one failed."""
        if not self.standing and not self._away:
            try:
                async with asyncio.timeout(seconds):
                    await self._standing.wait()
            except TimeoutError:
                return False
        return self.standing

    def send(self, event: Event) -> bool:
        """Send `event` as soon as may be; False if there is no connection."""
        if not self.standing:
            return False
        data = msgspec.json.encode(event).decode()
        if self._waiting + len(data) > MOST_BYTES:
            self.renew("it does not take what it is sent")
            return False
        self._waiting += len(data)
        self._outbox.append(data)
        self._something.set()
        return True

    def redacted(self, text: str) -> str:
        """`text` of a server without what is secret, on one line of at most 200 characters."""
        return short(self.masked(text))

    def masked(self, text: str) -> str:
        """`text` without what is secret."""
        return self._secrets.masked(text)

    def prove(self) -> None:
        """The connection is a good one: should it be lost, the next is tried at once."""
        self._proved = True

    def renew(self, why: str) -> None:
        """Let the connection go and make another: there is none until that stands."""
        if self.standing:
            self._why = why
            self._standing.clear()
            self._renewal.set()

    async def keep(self, clock: Clock) -> None:
        """Hold the connection until cancelled. Raises nothing that a server can cause."""
        config, wait = self._config, 0.0
        while True:
            began = clock.now()
            try:
                end = await self._hold(clock)
            except (OSError, self._errors.WebSocketException) as error:
                end = self._failed(error)
            stood, steady = self._stood, self._proved or clock.now() - began >= STEADY_NS
            self._standing.clear()
            self._stood, self._proved, self._away = False, False, not stood
            self._outbox.clear()
            self._waiting = 0
            if not end.planned and end.why != self.trouble:
                self.trouble = end.why
                self._listener.trouble(end.why)
            if stood:
                self._listener.closed(end.why)
                if end.planned or (steady and end.again_s is None):
                    wait = 0.0
                    continue
            wait = min(max(wait * 2, config.backoff_ms / 1000), config.backoff_most_ms / 1000)
            await asyncio.sleep(max(wait, min(end.again_s or 0.0, config.backoff_most_ms / 1000)))

    # --- one connection

    async def _hold(self, clock: Clock) -> _End:
        config = self._config
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            async with asyncio.timeout(config.connect_ms / 1000):
                socket = await self._connect(
                    self._url,
                    additional_headers=headers,
                    open_timeout=None,
                    ping_interval=config.ping_s,
                    ping_timeout=config.ping_s,
                    close_timeout=1,
                    max_size=MOST_BYTES,
                    compression=None,
                )
        except TimeoutError:
            raise OSError(f"it did not answer within {config.connect_ms} ms") from None
        try:
            self._renewal.clear()
            self.generation += 1
            self._stood = True
            self._standing.set()
            self.send({"type": "session.update", "event_id": "session", "session": session(config)})
            if self.trouble:
                self.trouble = ""
                self._listener.well()
            self._listener.opened()
            return await self._talk(socket, clock)
        finally:
            await socket.close()

    async def _talk(self, socket: "ClientConnection", clock: Clock) -> _End:
        """Read and write until one of them ends, or a renewal is wished for."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(each, name="realtime model")
                for each in (self._read(socket), self._write(socket), self._renewed(), self._age(clock))
            ]
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
        return next(task for task in tasks if task in done).result()

    async def _read(self, socket: "ClientConnection") -> _End:
        while True:
            try:
                message = await socket.recv()
            except self._errors.ConnectionClosed as closed:
                return self._closed(closed)
            try:
                event = msgspec.json.decode(message)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                self._listener.garbled(f"it sent what is no JSON: {error}")
                continue
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self._listener.heard(event)
            else:
                self._listener.garbled("it sent what is no event of the protocol")

    async def _write(self, socket: "ClientConnection") -> _End:
        while True:
            self._something.clear()
            while self._outbox:
                data = self._outbox.popleft()
                try:
                    await socket.send(data)
                except self._errors.ConnectionClosed as closed:
                    return self._closed(closed)
                self._waiting -= len(data)
            await self._something.wait()

    async def _renewed(self) -> _End:
        await self._renewal.wait()
        return _End(self._why)

    async def _age(self, clock: Clock) -> _End:
        await clock.sleep_until(clock.now() + round(self._config.renew_min * 60 * SECOND))
        while self.busy:  # noqa: ASYNC110 - it is looked at twice a second, once an hour
            await asyncio.sleep(0.5)
        return _End("it was time for another", planned=True)

    def _failed(self, error: Exception) -> _End:
        """Why no connection could be made."""
        if isinstance(error, self._errors.InvalidStatus):
            status = self.status = error.response.status_code
            again = error.response.headers.get("Retry-After", "")
            place = self._config.key_env
            keyed = f"it does not take the key in {place}{'' if self._key else ', which is not set'}"
            known = {
                401: keyed,
                403: keyed,
                404: "it has no such place, or no such model",
                429: "it is asked too often, or the account has no more credit",
            }
            why = known.get(status, "it refused the connection")
            return _End(f"{why} (status {status})", again_s=float(again) if again.isdigit() else None)
        why = self.redacted(str(error))
        return _End(f"it cannot be reached: {why}" if why else f"it cannot be reached ({type(error).__name__})")

    def _closed(self, closed: Any) -> _End:
        received = closed.rcvd
        if received is None:
            return _End("the connection broke")
        reason = self.redacted(received.reason)
        return _End(f"it closed the connection ({received.code}{' ' if reason else ''}{reason})")

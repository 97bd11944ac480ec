"""aiomqtt's client, made to do what a robot's link needs. All names of aiomqtt and paho that are theirs are here.

What is added to aiomqtt 2.5, and why:
- its socket is connected and encrypted before (`sockets.py`), so that all of it can be cancelled and told apart;
- a connection that ends before the broker answers fails at once (aiomqtt waits for 10 s);
- messages come through a bounded queue that loses the oldest, which is counted (aiomqtt's loses the newest, and makes a
  task for each message);
- what is published is written at once (aiomqtt leaves it to the next turn of the loop);
- a broker that is frozen is noticed within 1.5 times the keepalive (paho: up to twice, and a second);
- leaving takes half a second at most; denied messages are told (aiomqtt passes over the reason).
`tests/test_link_mqtt.py` uses every one of them. Loads aiomqtt; `session.py` says so if it is not there.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from embodied.link.address import Address
from embodied.link.port import Message, Outgoing

_LOG = logging.getLogger("visavis.mqtt")
_LOG.addHandler(logging.NullHandler())  # what matters is in our errors; who wants paho's words asks for them
INBOX = 2048
"""Messages that came and were not read yet."""
ANSWER_S = 4.0
"""For the broker's first answer."""
LEAVE_S = 0.3


class _Words(logging.LoggerAdapter[logging.Logger]):
    """What paho says: passed on, and the last trouble kept.

    trouble: in its words. (paho's own `on_log` has every packet put into words first, twice for each message.)
    """

    trouble = ""

    def log(self, level: int, msg: object, *arguments: object, **more: Any) -> None:
        if level >= logging.ERROR:
            self.trouble = str(msg) % arguments if arguments else str(msg)
        super().log(level, msg, *arguments, **more)


class Client(aiomqtt.Client):
    """aiomqtt's client, on a socket that is connected already."""

    def __init__(self, address: Address, sock: socket.socket, keepalive_s: int, **options: Any) -> None:
        words: Any = _Words(_LOG)
        super().__init__(
            address.host, address.port, username=address.user or None, password=address.password,
            timeout=1.5 * keepalive_s, keepalive=keepalive_s, logger=words, **options,
        )  # fmt: skip
        self.words = words
        self.came: deque[Message] = deque(maxlen=INBOX)
        self.news = asyncio.Event()
        self.missed = 0
        self.told: int | None = None
        self.denied: dict[int, ReasonCode] = {}
        self._paho = cast(Any, self._client)
        self._paho._create_socket = lambda: sock
        self._disconnected.add_done_callback(lambda _: self.news.set())
        self._connected.add_done_callback(_seen)
        self._disconnected.add_done_callback(_seen)

    async def open(self) -> None:
        """Say hello to the broker, and wait for its answer."""
        self._client_connect()
        await self._wait_for(self._connected, ANSWER_S)
        self._paho._keepalive = 0.6 * self._keepalive  # it asks after that long, and waits for as long again

    async def send(self, message: Outgoing, properties: Properties | None) -> ReasonCode | None:
        """Publish. Returns when it is written, or acknowledged, or denied: then the reason."""
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "not published")
        self._writable()  # at once: paho waits for the next turn of the loop
        if not info.is_published():
            done = asyncio.Event()
            with self._pending_call(info.mid, done, self._pending_publishes):
                await self._wait_for(done.wait(), None)
        else:
            await asyncio.sleep(0)  # who publishes without end lets others live
        return self.denied.pop(info.mid, None)

    async def close(self) -> None:
        """Leave, in half a second at most."""
        if not self._disconnected.done() and self._connected.done() and self._connected.exception() is None:
            self._client.disconnect()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await asyncio.wait([self._disconnected])
        self.abandon()

    def abandon(self) -> None:
        """Let go of the socket, without a word."""
        self._client._sock_close()
        if self._misc_task is not None:
            self._misc_task.cancel()
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    @property
    def ended(self) -> bool:
        """Whether there is no connection any more."""
        return bool(self._disconnected.done())

    @property
    def end(self) -> BaseException | None:
        """What the connection ended with."""
        return self._disconnected.exception() if self._disconnected.done() else None

    # --- what aiomqtt does in its own way

    async def _wait_for(self, fut: Awaitable[Any], timeout: float | None) -> Any:
        """As aiomqtt's, without `wait_for`: that loses a cancellation that comes with an answer (Python 3.11)."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        self.missed += len(self.came) == INBOX
        try:
            self.came.append(Message(message.topic, bytes(message.payload), bool(message.retain)))
        except UnicodeDecodeError:
            self.missed += 1
        self.news.set()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if isinstance(reason_code, ReasonCode) and reason_code.is_failure:
            self.denied[mid] = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        if flags.is_disconnect_packet_from_server:
            self.told = reason_code.value
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttCodeError(reason_code, "closed before the first answer"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.add_writer(sock.fileno(), self._writable)  # at once: a little later the socket may be closed

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        if sock.fileno() > -1:
            self._loop.remove_writer(sock.fileno())
        super()._on_socket_close(client, userdata, sock)

    def _writable(self) -> None:
        try:
            self._client.loop_write()
        except OSError as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    async def _misc_loop(self) -> None:
        while self._client.loop_misc() == paho.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho looks at its clock then
            await asyncio.sleep(min(1.0, self._keepalive / 20))


def _seen(future: asyncio.Future[None]) -> None:
    """Who waits for it hears of its exception; if nobody does, asyncio need not say that nobody did."""
    if not future.cancelled():
        future.exception()


def properties_of(packet: int, message: Outgoing) -> Properties | None:
    """The properties of `message` in a packet of this type (`PacketTypes`), for `Client.send` and wills."""
    if not message.properties:
        return None
    given = message.properties.items()
    return _packed(packet, tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in given))


class _Packed(Properties):
    """Properties that are put into bytes once: most messages of a channel have the same."""

    packed = b""

    def pack(self) -> bytes:
        return self.packed


@lru_cache(maxsize=64)
def _packed(packet: int, properties: tuple[tuple[str, Any], ...]) -> _Packed:
    made = _Packed(packet)  # type: ignore[no-untyped-call,unused-ignore]
    for name, value in properties:
        setattr(made, name, list(value) if isinstance(value, tuple) else value)
    packed = Properties.pack(made)  # type: ignore[no-untyped-call,unused-ignore]
    object.__setattr__(made, "packed", packed)  # paho's own way takes nothing but properties
    return made

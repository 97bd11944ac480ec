"""One MQTT session, on aiomqtt 2.5: a `Connection`. Loads aiomqtt.

What is added to aiomqtt, and why:
- the socket is connected and encrypted before (`sockets.py`), so that all of it can be cancelled and told apart;
- a connection that ends before the broker answers fails at once (aiomqtt waits for 10 s);
- messages come through a bounded queue that loses the oldest, which is counted (aiomqtt's loses the newest, and makes a
  task for each message);
- a broker that is frozen is noticed within 1.5 times the keepalive (paho: up to twice, and a second);
- leaving takes half a second at most; denied messages are told (aiomqtt passes over the reason).
For this it touches names of aiomqtt and paho that are theirs; `tests/test_link_mqtt.py` uses every one of them.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from embodied.link import reasons
from embodied.link.address import Address
from embodied.link.mqtt import Closed, Silent, VersionRefused
from embodied.link.port import LinkBroken, LinkError, LinkRefused, Message, Outgoing
from embodied.link.sockets import connect
from streams.errors import DependencyMissing

try:
    import aiomqtt
    import paho.mqtt.client as paho
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as _error:
    raise DependencyMissing("aiomqtt", "robot", "a robot behind an MQTT broker") from _error

_LOG = logging.getLogger("visavis.mqtt")
_LOG.addHandler(logging.NullHandler())  # what matters is in our errors; who wants paho's words asks for them
INBOX = 2048
"""Messages that came and were not read yet."""
ANSWER_S = 4.0
"""For the broker's first answer."""
LEAVE_S = 0.3
_VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class _Words(logging.LoggerAdapter[logging.Logger]):
    """What paho says: passed on, and the last trouble kept.

    trouble: in its words. (paho's own `on_log` has every packet put into words first, twice for each message.)
    """

    trouble = ""

    def log(self, level: int, msg: object, *arguments: object, **more: Any) -> None:
        if level >= logging.ERROR:
            self.trouble = str(msg) % arguments
        super().log(level, msg, *arguments, **more)


class _Client(aiomqtt.Client):
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

    async def send(self, message: Outgoing, properties: "Properties | None") -> "ReasonCode | None":
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


def _seen(future: "asyncio.Future[None]") -> None:
    """Who waits for it hears of its exception; if nobody does, asyncio need not say that nobody did."""
    if not future.cancelled():
        future.exception()


class Session:
    """One connection to the broker at `address`: see `Connection`.

    missed: messages that came and were thrown away, because they were not read in time
    """

    def __init__(self, address: Address, client_id: str, version: str, keepalive_s: int, will: Outgoing | None) -> None:
        self.version = version
        self._address, self._client_id, self._keepalive_s, self._will = address, client_id, keepalive_s, will
        self._where = str(address)
        self._open: _Client | None = None

    @property
    def missed(self) -> int:
        """See the class."""
        return self._open.missed if self._open is not None else 0

    async def open(self) -> None:
        """Connect. Raises `LinkBroken`, `LinkRefused`, and `VersionRefused` for the version of MQTT."""
        sock = await connect(self._address)
        client = _Client(
            self._address, sock, self._keepalive_s, identifier=self._client_id,
            protocol=_VERSIONS[self.version], will=self._last_will(), **self._clean(),
        )  # fmt: skip
        try:
            await client.open()
        except aiomqtt.MqttError as error:
            client.abandon()
            sock.close()
            raise self._unopened(client, error) from None
        except BaseException:
            client.abandon()
            sock.close()
            raise
        self._open = client

    async def close(self) -> None:
        """Disconnect, with a word to the broker if it still listens. Idempotent."""
        if self._open is not None:
            await self._open.close()

    async def publish(self, message: Outgoing) -> None:
        """See `Connection`. Raises `LinkDenied` for a QoS 1 message that a broker of MQTT 5 does not let through."""
        try:
            code = await self._client.send(message, self._properties(PacketTypes.PUBLISH, message))
        except aiomqtt.MqttError as error:
            raise self._broken(error) from None
        if code is not None:
            raise reasons.denied(self._where, f"publish to {message.topic!r}", code.value)

    async def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        """See `Connection`."""
        await self._subscribe(topics, SubscribeOptions.RETAIN_DO_NOT_SEND)

    async def recall(self, topics: Sequence[tuple[str, int]]) -> None:
        """See `Connection`."""
        await self._subscribe(topics, SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)

    async def messages(self) -> AsyncIterator[Message]:
        """See `Connection`. A bounded queue is behind it: what is not read is lost, the oldest first."""
        client = self._client
        while True:
            while client.came:
                yield client.came.popleft()
            if client.ended:
                raise self._broken(client.end)
            client.news.clear()
            await client.news.wait()

    @property
    def _client(self) -> _Client:
        if self._open is None:
            raise LinkBroken(f"the connection to {self._where} is not open")
        return self._open

    async def _subscribe(self, topics: Sequence[tuple[str, int]], handling: int) -> None:
        client = self._client
        if self.version == "5":
            wanted: list[Any] = [(topic, SubscribeOptions(qos=qos, retainHandling=handling)) for topic, qos in topics]
        else:
            wanted = list(topics)
        try:
            granted: Any = await client.subscribe(wanted)
        except aiomqtt.MqttError as error:
            raise self._broken(error) from None
        for (topic, _), code in zip(topics, granted):
            value = int(code.value if isinstance(code, ReasonCode) else code)
            if value >= 0x80:
                raise reasons.denied(self._where, f"subscribe to {topic!r}", value)

    def _clean(self) -> dict[str, Any]:
        """A session that begins empty and ends with the connection."""
        if self.version != "5":
            return {"clean_session": True}
        return {"clean_start": True}  # no SessionExpiryInterval means 0; a property makes amqtt wait instead of refuse

    def _last_will(self) -> "aiomqtt.Will | None":
        will = self._will
        if will is None:
            return None
        return aiomqtt.Will(
            will.topic, will.payload, will.qos, will.retain, self._properties(PacketTypes.WILLMESSAGE, will)
        )

    def _properties(self, packet: int, message: Outgoing) -> "Properties | None":
        if self.version != "5" or not message.properties:
            return None
        given = message.properties.items()
        return _packed(packet, tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in given))

    def _unopened(self, client: _Client, error: aiomqtt.MqttError) -> LinkError:
        code = error.rc.value if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode) else 0
        if isinstance(error, aiomqtt.exceptions.MqttConnectError):
            if code in (0x84, 0x01):
                return VersionRefused(str(reasons.refusal(self._where, 0x84)))
            return reasons.refusal(self._where, code)
        if "CERTIFICATE_REQUIRED" in client.words.trouble or "HANDSHAKE_FAILURE" in client.words.trouble:
            return LinkRefused(f"{self._where} wants a certificate of this client: give its files (cert, key)")
        if "ALERT" in client.words.trouble:
            return LinkRefused(
                f"{self._where} does not accept the certificate of this client (cert, key): {client.words.trouble}"
            )
        if not code:
            return Silent(
                f"{self._where} took the connection and said nothing for {ANSWER_S:.0f} s: is it an MQTT broker?"
            )
        if code == 0x82 and self.version == "3.1.1":
            return VersionRefused(str(reasons.refusal(self._where, 0x84)))
        hint = "if this port is encrypted, write mqtts:// instead of mqtt://"
        if self._address.tls:
            hint = "perhaps it wants a certificate of this client (cert, key), or another one"
        return Closed(f"{self._where} ended the connection before it answered: {hint}")

    def _broken(self, error: BaseException | None) -> LinkError:
        if self._open is not None and self._open.told is not None:
            return reasons.refusal(self._where, self._open.told)
        ended = self._open.end if self._open is not None else None
        if isinstance(ended, aiomqtt.MqttCodeError) and isinstance(ended.rc, ReasonCode) and ended.rc.value == 0x8D:
            return LinkBroken(f"the broker {self._where} does not answer any more")
        if isinstance(error, aiomqtt.MqttError) and "timed out" in str(error):
            return LinkBroken(f"the broker {self._where} did not acknowledge in time")
        return LinkBroken(  # mosquitto 2.0.11 does not say that another took over, in neither version
            f"the connection to the broker {self._where} is lost; if that happens again and again, "
            f"another client may have the same id ({self._client_id!r})"
        )

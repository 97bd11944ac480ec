"""One MQTT session, on aiomqtt 2.5: a `Connection`. Loads aiomqtt. What paho and aiomqtt do is in `client.py`."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from embodied.link import reasons
from embodied.link.address import Address
from embodied.link.mqtt import Closed, Silent, VersionRefused
from embodied.link.port import LinkBroken, LinkError, LinkRefused, Message, Outgoing
from embodied.link.sockets import connect
from streams.errors import DependencyMissing

try:
    import aiomqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions

    from embodied.link.client import ANSWER_S, Client, properties_of
except ImportError as _error:
    raise DependencyMissing("aiomqtt", "robot", "a robot behind an MQTT broker") from _error

_VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class Session:
    """One connection to the broker at `address`: see `Connection`.

    missed: messages that came and were thrown away, because they were not read in time
    """

    def __init__(self, address: Address, client_id: str, version: str, keepalive_s: int, will: Outgoing | None) -> None:
        self.version = version
        self._address, self._client_id, self._keepalive_s, self._will = address, client_id, keepalive_s, will
        self._where = str(address)
        self._open: Client | None = None

    @property
    def missed(self) -> int:
        """See the class."""
        return self._open.missed if self._open is not None else 0

    async def open(self) -> None:
        """Connect. Raises `LinkBroken`, `LinkRefused`, and `VersionRefused` for the version of MQTT."""
        sock = await connect(self._address)
        client = Client(
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
    def _client(self) -> Client:
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

    def _properties(self, packet: int, message: Outgoing) -> Any:
        return properties_of(packet, message) if self.version == "5" else None

    def _unopened(self, client: Client, error: aiomqtt.MqttError) -> LinkError:
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

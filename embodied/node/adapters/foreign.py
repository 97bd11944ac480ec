"""The foreign side of an adapter: its own link to the strange robot's broker, and what comes from there, decoded."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from embodied.link.link import Link
from embodied.link.port import Dial, LinkBroken, LinkError, LinkRefused, Message, Outgoing
from embodied.node.adapters.mapping import Mapping, MappingInvalid
from streams.clock import MS, SECOND, Clock

BYTES_MAX = 256 * 1024  # a factsheet of VDA 5050 is larger than a message of our contract may be
Hear = Callable[[str, Any, bool], None]


class NobodyThere(LinkBroken):
    """There is a broker, or not, but the strange robot did not say anything: which one, and what to check."""


class Foreign:
    """A link to the foreign broker. hear: given (topic, decoded JSON or text, retained) of each message, in order.

    topics: (filter, QoS) without, recalled: with what the broker kept
    hello: what to send after each connection;  changed: told when the link comes and goes
    As long as there was no connection yet, the first failure is told on stderr: the link goes on trying meanwhile.
    What is no JSON arrives as text; what is no text either, or too long, is counted in `malformed` and dropped.
    """

    def __init__(
        self, dial: Dial, clock: Clock, hear: Hear, *, topics: Sequence[tuple[str, int]] = (),
        recalled: Sequence[tuple[str, int]] = (), hello: Callable[[], Iterable[Outgoing]] = tuple,
        changed: Callable[[bool], None] = lambda up: None, will: Outgoing | None = None, name: str = "",
    ) -> None:  # fmt: skip
        self._clock, self._hear = clock, hear
        self.malformed = 0
        self.failure = ""
        self._link = Link(
            dial, clock, receive=self._receive, subscriptions=topics, recalled=recalled, will=will, hello=hello,
            changed=changed, troubled=self._troubled, name=name,
        )  # fmt: skip
        self._name, self._told = name, False
        self._group: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the foreign broker now."""
        return self._link.connected

    @property
    def counts(self) -> Any:
        """What the link has counted."""
        return self._link.counts

    def why(self, topic: str) -> str:
        """Why nothing was heard on `topic`, in words."""
        if self.failure:
            return self.failure
        return f"nothing came on {topic}" if self.connected else f"no connection to its broker ({self._link.why})"

    async def open(self) -> None:
        """Begin to connect, and keep connected. Returns at once; to be closed by the same task."""
        self._group = await asyncio.TaskGroup().__aenter__()
        self._running = self._group.create_task(self._run(), name="foreign link")

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        group, self._group = self._group, None
        if group is not None and self._running is not None:
            self._running.cancel()
            await group.__aexit__(None, None, None)

    async def _run(self) -> None:
        try:
            await self._link.run()
        except LinkError as error:  # refused: the robot is gone for good, and its driver says why
            self.failure = str(error)

    def _troubled(self, error: LinkError) -> None:
        if not self._told and not self._link.version and not isinstance(error, LinkRefused):
            print(f"{self._name}: {error} It is tried again.", file=sys.stderr, flush=True)  # noqa: T201
        self._told = True

    def send(self, topic: str, payload: Any, qos: int = 1, *, first: bool = False) -> bool:
        """Send JSON (or text as it is). Not kept over a reconnection: what is old by then must not move anything."""
        body = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        if not self._link.connected:
            return False
        return self._link.send(Outgoing(topic, body, 1 if qos else 0), first=first, keep=False)

    async def until(self, met: Callable[[], bool], seconds: float) -> bool:
        """Wait until `met`, looking every 20 ms; False after `seconds`, or when the link has failed for good."""
        end = self._clock.now() + round(seconds * SECOND)
        while not met():
            if self.failure or self._clock.now() >= end:
                return False
            await self._clock.sleep_until(self._clock.now() + 20 * MS)
        return True

    def _receive(self, message: Message) -> None:
        body = decoded(message.payload)
        if body is None:
            self.malformed += 1
        else:
            self._hear(message.topic, body, message.retained)


def decoded(payload: bytes) -> Any:
    """JSON as Python has it; else the text itself; None for what is neither, or too long, or `null`. Never raises.

    NaN, Infinity and numbers beyond a float are no JSON: what holds them is text, in which no mapping finds a number.
    """
    if len(payload) > BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def dial_to(mapping: Mapping, client_id: str) -> Dial:
    """The way to the foreign broker that `mapping` names. Raises `LinkError`, `MappingInvalid`."""
    from embodied.link.address import Address  # noqa: PLC0415 - with aiomqtt, which is heavy
    from embodied.link.mqtt import dial  # noqa: PLC0415

    how = mapping.transport
    password = os.environ.get(how.password_env) if how.password_env else None
    if how.password_env and password is None:
        raise MappingInvalid(f"options.transport.password_env: the environment has no {how.password_env}.")
    address = Address.parse(
        mapping.broker, password=password, protocol=how.protocol, ca=how.ca, cert=how.cert, key=how.key
    )
    return dial(address, client_id=client_id, keepalive_s=how.keepalive_s)

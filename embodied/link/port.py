"""The port to a broker: six things that a transport must be able to do. Structural types; nothing to inherit.

Another transport (Zenoh, a serial line) is another module with a `Dial`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from embodied.errors import BodyError


class LinkError(BodyError):
    """The broker cannot be used: which one, and what to do."""


class LinkBroken(LinkError):
    """There is no connection, or it has gone: to try again may help."""


class LinkRefused(LinkError):
    """The broker does not want this client (password, certificate, version, access): to try again will not help."""


class LinkDenied(LinkRefused):
    """The broker does not want one message or subscription of this client; the connection stands."""


class Message(NamedTuple):
    """What came. retained: the broker had kept it: it is no news"""

    topic: str
    payload: bytes
    retained: bool = False


class Outgoing(NamedTuple):
    """What is to be sent. properties: of MQTT 5, as `embodied.robot.properties` makes them; not sent with 3.1.1"""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 0
    retain: bool = False
    properties: Mapping[str, Any] | None = None


class Connection(Protocol):
    """One connection to a broker, from its making to its end.

    version: "5" | "3.1.1", as agreed with the broker
    """

    version: str

    async def publish(self, message: Outgoing) -> None:
        """Send. Returns when it is written (QoS 0) or acknowledged (QoS 1).

        Raises `LinkBroken`, `LinkDenied`, and `LinkRefused` when the broker has ended the connection for good.
        Cancelled, it may have been sent all the same.
        """

    async def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        """Subscribe to (filter, QoS), with retain handling 2 where the broker has it: nothing old to who drives.

        Topics whose old message is wanted: see `recall`. Raises `LinkBroken`, and `LinkDenied`.
        """

    async def recall(self, topics: Sequence[tuple[str, int]]) -> None:
        """The same, and what the broker has kept on them comes first, marked as retained."""

    def messages(self) -> AsyncIterator[Message]:
        """What comes, in its order. Raises `LinkBroken` when the connection ends. To be read all the time."""


Dial: TypeAlias = Callable[[Outgoing | None], AbstractAsyncContextManager[Connection]]
"""Makes a connection with this will; entering it connects (`LinkBroken`, `LinkRefused`), leaving it disconnects."""

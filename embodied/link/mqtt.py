"""The port to a broker on MQTT: dials, falls back from MQTT 5 to 3.1.1, and always leaves in a second.

Light to import: aiomqtt (`embodied.link.session`) is loaded when somebody dials.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embodied.link.address import Address
from embodied.link.port import Connection, Dial, LinkBroken, LinkRefused, Outgoing

KEEPALIVE_S = 5


class VersionRefused(LinkRefused):
    """The broker does not speak this version of MQTT."""


class Silent(LinkBroken):
    """The broker took the connection and never answered: some that do not know a version do so."""


class Closed(LinkBroken):
    """The broker took the connection and ended it before it answered: others do so."""


def dial(address: Address, *, client_id: str, keepalive_s: int = KEEPALIVE_S) -> Dial:
    """How `client_id` connects to the broker at `address`.

    keepalive_s: a broker that does not answer for 1.5 times as long is taken for gone, and it does the same with us.
    With `address.protocol` "auto" MQTT 5 is tried first, and 3.1.1 when the broker refuses it or does not answer.
    Entering raises `LinkBroken` and `LinkRefused`, each in one sentence, and `DependencyMissing` without aiomqtt.
    """
    if keepalive_s < 1:
        raise ValueError(f"keepalive_s is {keepalive_s}: at least 1")
    spoken = "5" if address.protocol == "auto" else address.protocol

    @asynccontextmanager
    async def connected(will: Outgoing | None) -> AsyncIterator[Connection]:
        nonlocal spoken
        from embodied.link.session import Session  # noqa: PLC0415 - an extra, and 0.1 s

        session = Session(address, client_id, spoken, keepalive_s, will)
        try:
            await session.open()
        except (VersionRefused, Silent, Closed) as error:
            if address.protocol != "auto" or spoken == "3.1.1":
                raise
            session = Session(address, client_id, "3.1.1", keepalive_s, will)
            await session.open()
            if not isinstance(error, Closed):  # one that is just starting may do that, too: 5 is tried again
                spoken = "3.1.1"
        try:
            yield session
        finally:
            await session.close()

    return connected

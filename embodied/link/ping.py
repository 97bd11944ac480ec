"""A self-test of the way to the broker and back, at the start: it finds the 40 ms that Nagle's algorithm costs.

    ping = Ping(own_topic, clock)                     # such as `{A}/ping`: a topic that this client alone uses
    link = Link(..., subscriptions=[*others, (ping.topic, 1)], receive=lambda m: ping.heard(m) or heard(m))
    report = await ping.measure(link)
    if report.warning: ...

Published with QoS 1: it is those messages that wait for each other.
"""

import asyncio
from typing import NamedTuple

from embodied.link.link import Link
from embodied.link.port import LinkBroken, Message, Outgoing
from streams.clock import MS, SECOND, Clock

PINGS = 20
SLOW_MS = 20.0
EACH_S = 1.0


class Report(NamedTuple):
    """What the pings took. p50_ms, p99_ms: there and back;  lost: without an answer;  warning: "" if all is well"""

    p50_ms: float
    p99_ms: float
    lost: int
    warning: str = ""


class Ping:
    """Pings over one link, one `measure` at a time. topic: of its own, to which the link subscribes"""

    def __init__(self, topic: str, clock: Clock) -> None:
        self.topic = topic
        self._clock = clock
        self._number = 0
        self._came = asyncio.Event()
        self._at = 0

    def heard(self, message: Message) -> bool:
        """Take a message that came; True if it was a ping. For the link's `receive`."""
        if message.topic != self.topic:
            return False
        if message.payload == str(self._number).encode() and not self._came.is_set():
            self._at = self._clock.now()
            self._came.set()
        return True

    async def measure(self, link: Link, pings: int = PINGS) -> Report:
        """Send `pings`, one after the other, each given a second. Raises `LinkBroken` if the link is not connected."""
        if pings < 1:
            raise ValueError(f"{pings} pings measure nothing: at least 1")
        took: list[float] = []
        for _ in range(pings):
            self._number += 1
            self._came.clear()
            begun = self._clock.now()
            payload = str(self._number).encode()
            if not link.send(Outgoing(self.topic, payload, 1), keep=False, valid_ns=round(EACH_S * SECOND)):
                raise LinkBroken(f"there is no connection to ping over: {link.why}")
            try:
                async with asyncio.timeout(EACH_S):
                    await self._came.wait()
            except TimeoutError:
                continue
            took.append((self._at - begun) / MS)
        return _report(sorted(took), pings)


def _report(took: list[float], pings: int) -> Report:
    lost = pings - len(took)
    if not took:
        return Report(
            float("inf"), float("inf"), lost,
            f"none of {pings} pings to the broker came back within {EACH_S:.0f} s: may this client use its own topic?",
        )  # fmt: skip
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, int(len(took) * 0.99))]
    warning = ""
    if p99 > SLOW_MS or lost:
        warning = (
            f"the way to the broker and back takes {p50:.0f} ms (p99 {p99:.0f} ms, {lost} of {pings} lost), too "
            "long to steer well: if the broker is near, switch off Nagle's algorithm there (mosquitto: "
            "set_tcp_nodelay true), else look at the network"
        )
    return Report(p50, p99, lost, warning)

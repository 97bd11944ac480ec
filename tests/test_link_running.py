"""A link that lives as long as a block."""

import pytest

from embodied.link.link import Link
from embodied.link.memory import MemoryBroker
from embodied.link.port import LinkRefused
from embodied.link.running import running
from streams.clock import SECOND, Clock, run


def test_it_is_kept_while_the_block_runs_and_ends_with_it() -> None:
    async def main() -> None:
        clock = Clock()
        link = Link(MemoryBroker(clock).dial("a1"), clock, receive=lambda message: None, subscriptions=[("x", 1)])
        async with running(link):
            await clock.sleep_until(clock.now() + SECOND)
            assert link.connected
        assert not link.connected

    run(main(), virtual=True)


def test_a_refusal_comes_by_itself_and_in_no_group() -> None:
    async def main() -> None:
        clock = Clock()
        broker = MemoryBroker(clock)
        broker.refuse("a1", LinkRefused("no such user"))
        link = Link(broker.dial("a1"), clock, receive=lambda message: None, subscriptions=[("x", 1)])
        with pytest.raises(LinkRefused, match="no such user"):
            async with running(link):
                await clock.sleep_until(clock.now() + SECOND)

    run(main(), virtual=True)

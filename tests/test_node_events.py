"""What a robot has to tell while its broker is away: events wait for a while, and old ones are no news."""

import pytest

from tests.remote_room import attached, virtual


@pytest.mark.parametrize(("away", "told"), [(4, True), (14, False)])
def test_an_event_waits_for_the_broker_for_ten_seconds(away: float, told: bool) -> None:
    async def main() -> None:
        async with attached() as here:
            node = here.robots["r1"]
            here.broker.stop()
            await here.until(lambda: not node.link.connected)
            node._voice.event("warning", "while nobody listened")
            await here.wait(away)
            assert (node.link.counts.expired > 0) is not told
            here.broker.start()
            await here.until(lambda: node.link.connected, 6)
            await here.wait(0.5)
            heard = [b"while nobody listened" in m.payload for who, m in here.broker.log if "/event/" in m.topic]
            assert any(heard) is told

    virtual(main)

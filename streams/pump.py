"""Runs one encoder: packets from its lane in, percepts out, slow calls off the loop.

An encoder whose next call is declared to cost nothing (below a millisecond) is called on the loop itself: that holds
its neighbours up for less than a thread hop can take on a loaded machine (23 us at rest, 0.4 to 3 ms at p99 beside
other work: `benchmarks/bus.py`). Everything else runs in a thread of its own, one per encoder, so that a slow model
delays neither the microphone nor its neighbours.
"""

from collections.abc import Sequence

from streams.bus import Bus
from streams.clock import Clock
from streams.ports import Emit, Encoder, Publisher
from streams.topics import PLAYBACK
from streams.worker import Worker


async def pump(encoder: Encoder, bus: Bus, clock: Clock, out: Publisher | None = None) -> None:
    """Feed `encoder` until its topics end, then publish what it still has to say.

    out: where its percepts go (default: the bus). Raises what the encoder raises, and `LaneOverrun`.
    On cancellation the call in progress finishes in its thread and its result is dropped.
    """
    publisher = out or bus
    worker = Worker(clock, encoder.name)
    try:
        with bus.open(*encoder.reads, reader=encoder.name) as lane:
            for topic in (*encoder.writes, PLAYBACK):
                # An encoder that follows another on its own topic must not wait for itself to end it; and what the
                # agent says does not keep its ears open.
                lane.end(topic)
            async for packet in lane:
                cost = encoder.cost(packet)
                if cost:
                    publish(await worker.work(cost, encoder.push, packet), publisher)
                else:
                    publish(encoder.push(packet), publisher)
            publish(await worker.work(0, encoder.flush), publisher)
    finally:
        worker.abandon()  # a call in progress may take long, and nothing waits for it


def publish(emits: Sequence[Emit], publisher: Publisher) -> None:
    """Publish `emits` in their order."""
    for topic, t, data in emits:
        publisher.publish(topic, t, data)

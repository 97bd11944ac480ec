"""The ports: what a source, an encoder, a speaker and a tap must be able to do. Structural types; nothing to inherit.

What crosses a package border is a `Packet` on the bus; these protocols are how parts are plugged into a session.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

from streams.bus import Lane
from streams.clock import Clock
from streams.packet import Packet
from streams.topics import Topic
from streams.types import Fault, Samples


class Emit(NamedTuple):
    """What an encoder made: `data` for `topic`, which happened at `t` (ns of session time)."""

    topic: Topic[Any]
    t: int
    data: Any


class Publisher(Protocol):
    """The writing half of the bus. A replay puts its comparison in this place."""

    def publish(self, topic: Topic[Any], t: int, data: Any) -> Any:
        """Put `data`, which happened at `t` (ns), on `topic`. Never waits."""


@runtime_checkable
class Source(Protocol):
    """Where media come from. `async with source: await source.run(bus, clock)`; the session closes its topics after.

    Raises `SourceError` from `__aenter__` if it cannot be opened, `SourceLost` from `run` if it goes away.
    Cancelling `run` stops it at once; `__aexit__` releases the device, bounded in time.
    """

    name: str
    writes: tuple[Topic[Any], ...]

    async def __aenter__(self) -> "Source": ...

    async def __aexit__(self, *exc: Any) -> None: ...

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish until the stream ends."""


@runtime_checkable
class Encoder(Protocol):
    """Turns packets into percepts. Synchronous: no asyncio, no clock, no I/O; its time is that of its packets.

    Model (shared between sessions) and stream state (one per session) are two objects; this is the latter.
    The output depends on the samples only, never on the block size in which they arrive.
    """

    name: str
    reads: tuple[Topic[Any], ...]
    writes: tuple[Topic[Any], ...]

    def cost(self, packet: Packet[Any]) -> int:
        """Declared time in ns that `push(packet)` will take. 0 means below a millisecond: it is pushed on the loop."""

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        """Take one packet in and return what is now known, in order of `t`."""

    def flush(self) -> Sequence[Emit]:
        """The stream has ended: what can still be said about it."""

    def reset(self) -> None:
        """Forget the stream; as new."""


class Listener(Protocol):
    """Told by a speaker what has really left it."""

    def __call__(self, played: int, t: int) -> None:
        """`played` samples of speech have left the device by `t` (ns of session time)."""


@runtime_checkable
class Speaker(Protocol):
    """A sink for sound with a true playout clock. All methods are synchronous and act within one block.

    rate: Hertz of the samples it takes.
    """

    rate: int

    @property
    def played(self) -> int:
        """Index after the last sample that has left the device. Silence has no index; dropped samples may have."""

    def write(self, samples: Samples) -> int:
        """Queue int16[samples]; returns the index (in the count of `played`) at which they will begin."""

    def flush(self, told: Callable[[int], None]) -> None:
        """Drop what is queued and not yet handed to the device; what is written from now on comes after it.

        told: called once with the index after the last sample that will have been heard of what was dropped. A device
        of this machine knows at once and calls it before this returns; one far away (a browser) when it has answered,
        or has gone. Indices of dropped samples are not used again, except by a device that tells at once.
        """

    def pause(self) -> None:
        """Hold the queue; silence from the next block on."""

    def resume(self) -> None:
        """Go on from the very sample that was next."""

    def listen(self, listener: Listener, gone: Callable[[], None] | None = None) -> None:
        """Call `listener` after every block that carried speech.

        gone: called when the device has gone and what is queued has waited for it in vain, for a few seconds at most.
        Nothing of it has sounded: who wrote it should `flush`. What stays queued is heard should the device come back,
        and until then `gone` is called again and again.
        """

    def device(self) -> AbstractAsyncContextManager[None]:
        """The running device: sound plays while this context is open."""


@runtime_checkable
class Tap(Protocol):
    """Watches the bus through a lane of its own and may not publish: recorder, report, console.

    reads: the topics it sees, in their total order
    """

    name: str
    reads: tuple[Topic[Any], ...]

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Read `lane` until it ends. An expected failure (full disk) is told by `report`, and the session goes on."""

"""Opens a sound device off the event loop, tells when it has gone, and closes it without waiting for a stuck driver."""

import asyncio
from collections.abc import Callable, Iterator

from streams.clock import Clock
from streams.devices.sound import SoundStream
from streams.errors import SourceError
from streams.worker import Worker

SILENT_MS = 500
"""A device that has not called back for so long has gone, whatever its library says."""
LOOK_S = 0.1
"""How often it is looked. Only looks count: a process that was stopped for long has lost nothing yet."""
OPEN_S = 5.0
CLOSE_S = 2.0
BACKOFF_S = (0.25, 0.5, 1.0, 2.0)


def backoff() -> Iterator[float]:
    """Seconds to wait before each try to open a device again, for ever."""
    yield from BACKOFF_S
    while True:
        yield BACKOFF_S[-1]


class Opening:
    """One device that is opened, closed and opened again, each in a thread.

    name: in the name of the thread;  clock: of the session
    stream: the open device, or None
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.stream: SoundStream | None = None
        self._name, self._clock = name, clock
        self._worker = Worker(clock, name)

    async def open(self, make: Callable[[], SoundStream]) -> SoundStream:
        """`make()`, which opens a device. Raises what it raises, and `SourceError` if it takes over 5 s.

        A device that comes too late, or after cancellation, is closed again where it was opened.
        """
        late: list[SoundStream] = []  # whoever takes it out sees to it
        given_up = False

        def opened() -> None:
            late.append(make())
            if given_up:
                _close_late(late)

        try:
            async with asyncio.timeout(OPEN_S):
                await self._worker.begin(opened)
            self.stream = late.pop()
            return self.stream
        except TimeoutError:
            self._renew()
            raise SourceError(f"the sound system has not opened the {self._name} within {OPEN_S:.0f} s.") from None
        finally:
            given_up = True
            if late and not self._worker.closed:
                self._worker.begin(_close_late, late)

    async def close(self) -> bool:
        """Close what is open, waiting 2 s at most; False if it is stuck then, and left behind."""
        stream, self.stream = self.stream, None
        if stream is None:
            return True
        closing = self._worker.begin(_close, stream)
        done, _ = await asyncio.wait([closing], timeout=CLOSE_S)
        if not done:
            self._renew()
        return bool(done)

    async def aclose(self) -> None:
        """Close what is open, and end the thread."""
        try:
            await self.close()
        finally:
            self._worker.abandon()

    def lost(self, quiet_s: float) -> str:
        """Why the open device is to be taken for gone; "" if it is not. quiet_s: it has not called back for so long"""
        if quiet_s * 1000 >= SILENT_MS:
            return f"nothing has come from it for {SILENT_MS} ms"
        if self.stream is not None and not self.stream.alive():
            return "it has stopped"
        return ""

    def _renew(self) -> None:
        """The thread is stuck: another one goes on."""
        self._worker.abandon()
        self._worker = Worker(self._clock, self._name)


def _close_late(late: list[SoundStream]) -> None:
    try:
        stream = late.pop()
    except IndexError:  # somebody else has taken it
        return
    _close(stream)


def _close(stream: SoundStream) -> None:
    try:
        stream.close()
    except SourceError:
        pass  # the sound system hangs in another call: nothing more can be done

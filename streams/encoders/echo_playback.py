"""What the speaker played, on one time line."""

from streams.audio.blocks import RATE
from streams.audio.echo_reference import Reference
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import Audio

SLIP = 15 * MS  # by which time stamps may wander against the sample count, and
SLIP_PER_SECOND = MS // 5  # for each second without a block: clocks of 200 ppm


class Playback:
    """PLAYBACK laid on one time line, in samples at the voice's rate: by sample count, and by time where that jumps.

    reference: what was played, None before the first block
    t, end: session time and place on the time line of the end of what is known
    """

    def __init__(self) -> None:
        self.reference: Reference | None = None
        self.t = self.end = 0
        self._next = 0  # sample count of the speaker there

    def reset(self) -> None:
        """As new."""
        self.reference, self.t, self.end, self._next = None, 0, 0, 0

    def push(self, packet: Packet[Audio]) -> int:
        """Take a block; returns where on the time line it begins."""
        audio, t = packet.data, packet.t
        if self.reference is None or self.reference.rate != audio.rate:
            self.reference = Reference(audio.rate)
            counted = 0
        else:
            counted = audio.start - self._next
            passed = t - len(audio.samples) * SECOND // audio.rate - self.t
            slip = abs(counted * SECOND // audio.rate - passed)
            if counted < 0 or slip > SLIP + SLIP_PER_SECOND * max(0, passed) // SECOND:
                counted = max(0, passed * audio.rate // SECOND)
        begin = self.end + counted
        self.reference.write(audio.samples, begin)
        self._next, self.end, self.t = audio.end, begin + len(audio.samples), t
        return begin

    def place(self, t: int) -> float:
        """The place on the time line that sounds at session time `t`."""
        rate = self.reference.rate if self.reference else RATE
        return self.end + (t - self.t) * rate / SECOND

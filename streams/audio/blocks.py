"""Blocks of any size in, hops of one size out, on the sample clock.

What comes out depends on the samples only: never on how they were cut into blocks.
"""

import numpy as np

from streams.clock import MS, SECOND
from streams.errors import SourceError
from streams.packet import Packet
from streams.types import Audio, Samples

RATE = 16_000  # Hertz: what every encoder of speech is made for
SAMPLE = SECOND // RATE  # ns per sample: 62500, a whole number, so sample times are exact


def check_rate(audio: Audio, who: str) -> None:
    """Raises `SourceError` unless `audio` is at 16 kHz."""
    if audio.rate != RATE:
        raise SourceError(
            f"{who} needs sound at {RATE} Hz and got {audio.rate} Hz: let the source convert it "
            "(every source of visavis delivers 16 kHz by default)"
        )


class Blocks:
    """Cuts a stream of `Audio` packets into hops of `hop` samples, counted from the first sample of the stream.

    Lost samples (a jump of `Audio.start`) become silence, so that the sample clock goes on; if more than `gap_ms` are
    lost, or the stream jumps back, there is nothing to go on from: what was kept is forgotten, `broken` says so
    until the next `push`, and hops are counted from the new first sample.

    hop: samples;  who: named in errors
    """

    def __init__(self, hop: int, who: str, gap_ms: int = 1000) -> None:
        self.hop, self.who = hop, who
        self.broken = False
        self._gap = gap_ms * MS // SAMPLE
        self._kept: Samples = np.empty(hop, np.int16)
        self._count = 0
        self._next: int | None = None

    def push(self, packet: Packet[Audio]) -> list[tuple[int, Samples]]:
        """The hops that are now whole: (session time in ns of the end of its last sample, int16[hop]).

        A sample's time follows from the `t` and `end` of the packet it came in, so the stream may begin at any time.
        The arrays may share memory with the packet's: read, do not write. Raises `SourceError` unless at 16 kHz.
        """
        audio = packet.data
        if audio.rate != RATE:
            check_rate(audio, self.who)
        self.broken = False
        samples, start = audio.samples, audio.start
        if start != self._next:
            samples = self._mend(samples, start)
        self._next = start + len(audio.samples)

        size, count, hop = len(samples), self._count, self.hop
        end = packet.t - size * SAMPLE  # session time of the end of the last sample taken
        hops: list[tuple[int, Samples]] = []
        place = 0
        if count:
            place = min(hop - count, size)
            self._kept[count : count + place] = samples[:place]
            self._count = count + place
            if self._count < hop:
                return hops
            hops.append((end + place * SAMPLE, self._kept.copy()))
        while place + hop <= size:
            hops.append((end + (place + hop) * SAMPLE, samples[place : place + hop]))
            place += hop
        self._count = size - place
        self._kept[: self._count] = samples[place:]
        return hops

    def _mend(self, samples: Samples, start: int) -> Samples:
        """`samples` with the silence before them that stands for lost ones; or a new beginning."""
        lost = 0 if self._next is None else start - self._next
        if 0 <= lost <= self._gap:
            return np.concatenate((np.zeros(lost, np.int16), samples)) if lost else samples
        self.broken = True
        self._count = 0
        return samples

    def reset(self) -> None:
        """Forget the stream; as new."""
        self.broken, self._count, self._next = False, 0, None

"""The microphone of a speech-to-speech model: what was said, from a little before it began, and nothing else.

The newest seconds are kept. While a person speaks they are sent as they come, so that at the end of the turn only its
last block is missing; a turn that comes to nothing is taken back. What is not a turn never leaves this machine.
"""

import base64
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from policies.models.realtime_settings import RATE, RealtimeModelConfig
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import Audio, Samples

PIECE = RATE * 60 // 1000
"""Samples of one message while somebody speaks."""
BURST = RATE * 200 // 1000
"""And when what was said is sent afterwards."""
TAIL_NS = 100 * MS
"""How much is sent from after the end of speech: a last consonant may be softer than the detector hears."""
LEAST = RATE * 120 // 1000
"""Samples: servers refuse a turn below 100 ms."""


class Resampling(Protocol):
    """Changes the rate of sound, as a stream (`streams.audio.resample.Resampler` is one)."""

    def push(self, samples: Samples) -> Samples:
        """Take int16[samples] in, give what is ready."""

    def finish(self) -> Samples:
        """The rest."""


Resample: TypeAlias = Callable[[int, int], Resampling]
"""Makes one: from, to (Hertz). It is given from outside, for it belongs to the streams."""


class _Block(NamedTuple):
    begin: int  # session time, ns
    end: int
    samples: Samples
    rate: int


class Ear:
    """Sends what is heard. send: an event to the server, False if there is no connection;  resample: see there"""

    def __init__(self, config: RealtimeModelConfig, resample: Resample, send: Callable[[dict[str, Any]], bool]) -> None:
        self._config, self._resample, self._send = config, resample, send
        self._ring: deque[_Block] = deque()
        self._turn: int | None = None  # whose sound is in the server's buffer
        self._sending = False  # it grows
        self._from = self._until = 0  # session times of the sound that was sent, ns
        self._stream: Resampling | None = None
        self._rate = 0
        self._held: list[Samples] = []
        self._count = 0  # samples that were sent

    @property
    def now(self) -> int:
        """Up to when it has heard, ns of session time."""
        return self._ring[-1].end if self._ring else 0

    def hear(self, packet: Packet[Audio]) -> None:
        """The next block of the microphone."""
        audio = packet.data
        block = _Block(packet.t - len(audio.samples) * SECOND // audio.rate, packet.t, audio.samples, audio.rate)
        self._ring.append(block)
        while self._ring[0].end < block.end - self._config.ring_s * SECOND:
            self._ring.popleft()
        if self._sending:
            self._push(block.begin, block.end)
            self._flush(PIECE)

    def opened(self, turn: int, start: int) -> None:
        """Somebody began turn `turn` at `start` (ns)."""
        self._begin(turn, start)
        self._push(self._until, self.now)
        self._flush(PIECE)

    def over(self, turn: int, *, dropped: bool = False) -> None:
        """Turn `turn` is over. dropped: and was not meant for us"""
        if turn == self._turn:
            self._sending = False
            if dropped:
                self.forget()

    def forget(self) -> None:
        """Nothing of what was sent is to be a turn. Also: the connection is another."""
        if self._count:
            self._send({"type": "input_audio_buffer.clear"})
        self._turn, self._sending, self._stream, self._held, self._count = None, False, None, [], 0

    def deliver(self, turn: int, start: int, end: int) -> bool:
        """See that all of turn `turn`, from `start` to `end` (ns), has been sent; then it can be committed.

        False if there is no sound of that time, or too little.
        """
        if not self._ring or self._ring[0].begin >= end:
            return False
        if turn != self._turn or self._from > start:
            self._begin(turn, start)
        self._push(self._until, min(end + TAIL_NS, self.now))
        if self._stream is not None:
            self._held.append(self._stream.finish())
        missing = LEAST - self._count - sum(map(len, self._held))
        if missing > 0:
            self._held.append(np.zeros(missing, np.int16))
        self._flush(BURST, rest=True)
        sent = self._count > LEAST or missing < LEAST
        self._turn, self._sending, self._stream, self._count = None, False, None, 0  # the server's buffer is its item
        return sent

    # --- sending

    def _begin(self, turn: int, start: int) -> None:
        self.forget()
        self._turn, self._sending = turn, True
        self._from = self._until = start - self._config.preroll_ms * MS

    def _push(self, begin: int, end: int) -> None:
        """Take what was heard from `begin` to `end` (ns) into the stream."""
        wanted = list(takewhile(lambda block: block.end > begin, reversed(self._ring)))
        for block in reversed(wanted):
            if block.begin >= end:
                break
            first = max(0, begin - block.begin) * block.rate // SECOND
            last = len(block.samples) - max(0, block.end - end) * block.rate // SECOND
            if self._stream is None or block.rate != self._rate:
                if self._stream is not None:
                    self._held.append(self._stream.finish())
                self._stream, self._rate = self._resample(block.rate, RATE), block.rate
            self._held.append(self._stream.push(block.samples[first:last]))
        self._until = max(self._until, end)

    def _flush(self, piece: int, *, rest: bool = False) -> None:
        """Send what is ready in pieces of `piece` samples; `rest`: also a shorter one at the end."""
        ready = np.concatenate(self._held) if self._held else np.zeros(0, np.int16)
        place = 0
        while len(ready) - place >= piece or (rest and place < len(ready)):
            part = ready[place : place + piece]
            data = base64.b64encode(part.astype("<i2").tobytes()).decode()
            self._send({"type": "input_audio_buffer.append", "audio": data})
            self._count += len(part)
            place += len(part)
        self._held = [ready[place:]]

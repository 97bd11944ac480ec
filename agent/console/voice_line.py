"""The agent's voice on its way to one page: over a data channel where there is one, and nothing of it is lost.

Speech is sent ahead of its playing, so there is time to send again what was lost; and the page plays frames in the
order of their numbers and waits where one is missing. So what it reports as played is what it played, over any network.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from agent.console import protocol
from streams.clock import MS, SECOND, Clock
from streams.types import Samples

FRAME_BYTES = 1100
"""With the heads of SCTP, DTLS, UDP and IPv6 this fits the smallest MTU there is (1280): one datagram."""
MARK = 40 * MS
LATE = 200 * MS
REST = 5 * SECOND
_HEAD = 16
_AHEAD = 3 * FRAME_BYTES  # bytes that may wait in the channel: the rest waits here, where a flush reaches it
_KEPT = 512  # frames: longer than speech is sent ahead (2 s), at any rate there is
_JUDGED = 40  # frames


class Channel(Protocol):
    """Datagrams to a page: `agent.console.peer.Peer`."""

    @property
    def waiting(self) -> int | None:
        """Bytes that wait to be sent; None while nothing can be."""

    def send(self, frame: bytes) -> None:
        """Send it, once, if that can be."""


class VoiceLine:
    """Frames of one page, numbered. put: sends a frame over the WebSocket;  tell: sends a message

    ordered: the page puts frames into order, so that they may go by `channel`, and wants to be told what has been sent
    again: frames that were sent again;  by_channel: frames that went by the channel
    Frames that wait for the channel longer than `LATE` go over the WebSocket. Where the page asks for more than half
    of them again, all do for `REST`.
    """

    def __init__(
        self, put: Callable[[bytes], None], tell: Callable[[protocol.ToPage], None], clock: Clock, ordered: bool = False
    ) -> None:
        self.channel: Channel | None = None
        self.again = self.by_channel = 0
        self._put, self._tell, self._clock = put, tell, clock
        self._ordered = ordered
        self._sequence = self._epoch = 0
        self._sent = 0  # after the last frame that has gone
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._queue: deque[tuple[int, int, bytes]] = deque()  # since when, number, frame
        self._timer: asyncio.TimerHandle | None = None
        self._tried = self._asked = 0
        self._rests_until = 0

    def play(self, samples: Samples, rate: int, index: int) -> None:
        """Send int16[n], whose first sample is `index`."""
        direct = not self._usable
        size = len(samples) if direct else (FRAME_BYTES - _HEAD) // 2
        for place in range(0, len(samples), size):
            frame = protocol.sound(samples[place : place + size], rate, self._sequence, index + place, self._epoch)
            if self._ordered:
                self._kept.append((self._sequence, frame))
            if direct and not self._queue:
                self._put(frame)
                self._sent = self._sequence + 1
            else:
                self._queue.append((self._clock.now(), self._sequence, frame))
            self._sequence += 1
        self.pump()

    def cut(self) -> tuple[int, int]:
        """What has been sent is void: the epoch of what follows, and the number of its first frame."""
        self._epoch = (self._epoch + 1) % 256
        self._queue.clear()
        self._kept.clear()
        self._sent = self._sequence
        return self._epoch, self._sequence

    def skip(self) -> None:
        """The same, and the page is told."""
        epoch, sequence = self.cut()
        if self._ordered:
            self._tell(protocol.Skip(epoch, sequence))

    def resend(self, sequences: list[int]) -> None:
        """The page misses these frames: they go over the WebSocket, as far as they are not void."""
        wanted = set(sequences)
        for sequence, frame in self._kept:
            if sequence in wanted and sequence < self._sent:
                self._put(frame)
                self.again += 1
                self._asked += 1

    def pump(self) -> None:
        """Send what waits, as far as the channel takes it."""
        late = self._clock.now() - LATE
        while self._queue:
            since, sequence, frame = self._queue[0]
            if not self._usable or since <= late:
                self._put(frame)
            elif self.channel is not None and (self.channel.waiting or 0) < _AHEAD:
                self.channel.send(frame)
                self.by_channel += 1
                self._judge()
            else:
                break
            self._queue.popleft()
            self._sent = sequence + 1
            if self._timer is None:
                self._timer = self._clock.call_at(self._clock.now() + MARK, self._mark)
        if self._queue and self._timer is None:
            self._timer = self._clock.call_at(self._clock.now() + MARK, self._mark)

    def close(self) -> None:
        """Nothing more is sent."""
        self.channel = None
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _usable(self) -> bool:
        return (
            self._ordered
            and self.channel is not None
            and self.channel.waiting is not None
            and self._clock.now() >= self._rests_until
        )

    def _judge(self) -> None:
        self._tried += 1
        if self._tried >= _JUDGED:
            if 2 * self._asked > self._tried:
                self._rests_until = self._clock.now() + REST
            self._tried = self._asked = 0

    def _mark(self) -> None:
        self._timer = None
        self._tell(protocol.Sent(self._sent))
        self.pump()

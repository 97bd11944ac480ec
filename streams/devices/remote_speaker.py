"""A loudspeaker that is somewhere else, such as in a browser: sent ahead of need, and believed only what it reports.

Knows nothing of how it is reached: a `Player` takes what is sent, and whoever has the connection calls `report` and
`flushed`, on the event loop. Nothing here waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np

from streams.clock import MS, SECOND, Clock
from streams.devices.far_clock import FarClock
from streams.ports import Listener, Publisher
from streams.topics import FEEDBACK, PLAYBACK
from streams.types import Audio, Fault, Recovered, Samples

JITTER = 30 * MS
"""Reports are late by more or less: what follows on in its count does so in time, unless its time differs by more."""
EARLY = 100 * MS
"""How much faster than its own samples allow a player may seem (its clock, our arrival times)."""


class Player(Protocol):
    """What plays there. Told in this order; calls never wait and never raise, also after it has gone."""

    def play(self, samples: Samples, rate: int, index: int) -> None:
        """Sound of int16[n] at `rate` Hertz whose first sample is `index`; played behind what came before."""

    def pause(self) -> None:
        """Hold what is queued; silence."""

    def resume(self) -> None:
        """Go on from the very sample that was next."""

    def flush(self, number: int) -> None:
        """Drop what is queued, and tell by `RemoteSpeaker.flushed(number, index)` what will have been heard."""


class _Piece(NamedTuple):
    """Sound that has been written and not been heard yet, as far as is known."""

    begin: int
    samples: Samples
    soonest: int = 0  # ns: before this its end cannot have left the player; 0 while it has not been sent

    @property
    def end(self) -> int:
        return self.begin + len(self.samples)


@dataclass
class _Flush:
    """A flush that has not been answered.

    boundary: what is written from then on begins here
    fades: something sounded, so that the player fades its end out
    """

    number: int
    boundary: int
    told: Callable[[int], None]
    timer: asyncio.TimerHandle = field(repr=False)
    fades: bool = True


class RemoteSpeaker:
    """`streams.ports.Speaker` for a `Player` far away.

    rate: Hertz;  ahead_ms: how far it is sent before what is reported played;  piece_ms: at most in one piece
    answer_ms: how long an answer to a flush is waited for; then what was reported played was all that was heard
    stall_ms: a player that makes no progress for so long is told (`Fault` of "speaker"), given up, and taken back when
        it answers
    grace_ms: how long speech is held for a player that was lost, before it is given up
    alone_ms: the same while there is none and none is missed: never attached, or detached by wish
    numbers: of flushes

    Heard is what the player says, but never more than was sent to it, never sooner than sound takes, and never less
    than it said before; the first of each kind that is not believed is told by a `Fault`. It is published on PLAYBACK
    at its place on the sample clock of the session, blocks never overlapping, and the listeners are called. With no
    player nothing is heard: what is queued waits for one, paused or not, and then who listens is told (`gone`), so that
    a conversation goes on without one. Indices are never used twice: after a flush, what is written lies behind all
    that was written before. A player that is attached while something is being said goes on from the last sample
    reported.
    """

    name = "speaker"

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        rate: int,
        *,
        ahead_ms: int = 1000,
        piece_ms: int = 50,
        answer_ms: int = 1000,
        stall_ms: int = 3000,
        grace_ms: int = 3000,
        alone_ms: int = 500,
        fade_ms: int = 5,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.rate = rate
        self._publisher, self._clock = publisher, clock
        self._ahead = rate * ahead_ms // 1000
        self._size = max(1, rate * piece_ms // 1000)
        self._fade = rate * fade_ms // 1000
        self._answer, self._stall = answer_ms * MS, stall_ms * MS
        self._grace, self._alone = grace_ms * MS, alone_ms * MS
        self._numbers = numbers or count(1)
        self._listeners: list[Listener] = []
        self._gone: list[Callable[[], None]] = []  # who is told that nobody hears it
        self._pieces: deque[_Piece] = deque()
        self._written = 0  # index of what is written next
        self._played = 0
        self._sent = 0  # index after the last sample sent to this player
        self._cut = 0  # what lies before this index and waits is only expected to be heard by this player
        self._paused = False
        self._flushes: deque[_Flush] = deque()
        self._player: Player | None = None
        self._deaf: int | None = None  # number of the flush whose answer a stalled player owes
        self._patience = self._alone  # how long speech waits for a player now
        self._due = 0  # when what waits without a player is given up
        self._expiry: asyncio.TimerHandle | None = None
        self._orphan = False  # speech was left without a player, which was told
        self._open = False
        self._laid = 0  # place on the session's sample clock after the last block published
        self._begin_player()

    def _begin_player(self) -> None:
        self._far = FarClock()
        self._reported: int | None = None
        self._soonest = 0
        self._progress = self._clock.now()
        self._watch: asyncio.TimerHandle | None = None
        self._doubted: set[str] = set()

    # --- streams.ports.Speaker

    @property
    def played(self) -> int:
        """Index after the last sample that has been reported played."""
        return self._played

    @property
    def written(self) -> int:
        """Index at which the next samples written will begin."""
        return self._written

    def write(self, samples: Samples) -> int:
        """Queue int16[samples]; returns the index (in the count of `played`) at which they will begin."""
        begin = self._written
        if not self._pieces:
            self._due = max(self._due, self._clock.now() + self._patience)
        for place in range(0, len(samples), self._size):
            piece = samples[place : place + self._size]
            self._pieces.append(_Piece(self._written, piece))
            self._written += len(piece)
        self._send()
        self._expect()
        return begin

    def flush(self, told: Callable[[int], None]) -> None:
        """Drop what is queued. `told` is called when the player has answered, or has gone, or after `answer_ms`."""
        while self._pieces and self._pieces[-1].begin >= self._sent:
            self._pieces.pop()
        self._sent = self._written
        player = self._reachable
        if player is None or not self._pieces:
            self._pieces.clear()
            told(self._played)
            return
        number = next(self._numbers)
        timer = self._clock.call_at(self._clock.now() + self._answer, self._unanswered, number)
        self._flushes.append(_Flush(number, self._written, told, timer, not self._paused))
        self._soonest = 0  # what follows need not wait for what is dropped
        player.flush(number)

    def pause(self) -> None:
        """Hold the queue; silence as soon as the player hears of it."""
        if not self._paused:
            self._paused = True
            if self._reachable is not None:
                self._reachable.pause()

    def resume(self) -> None:
        """Go on from the very sample that was next."""
        if self._paused:
            self._paused = False
            self._progress = self._clock.now()
            if self._reachable is not None:
                self._reachable.resume()
                self._guard()

    def listen(self, listener: Listener, gone: Callable[[], None] | None = None) -> None:
        """Call `listener` after every report of progress; `gone` when what is queued waited for a player in vain."""
        self._listeners.append(listener)
        if gone is not None:
            self._gone.append(gone)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Reports are believed while this context is open. When it closes the player is flushed, and forgotten."""
        self._open = True
        self._send()
        self._expect()
        try:
            yield
        finally:
            player, self._player = self._player, None
            self._settle()
            self._open = False
            for timer in (self._watch, self._expiry):
                if timer is not None:
                    timer.cancel()
            if player is not None:
                player.flush(next(self._numbers))
                player.resume()

    # --- the player

    def attach(self, player: Player) -> None:
        """`player` plays from now on, from the last sample reported played; instead of another, if there is one."""
        if self._player is not None:
            self.detach()
        self._player = player
        self._deaf = None
        self._begin_player()
        self._sent = self._played
        if self._paused:
            player.pause()
        self._recovered()
        self._send()

    def detach(self, lost: str = "") -> None:
        """The player has gone. lost: why, if not wished: a `Fault` tells it, and speech is held for a moment."""
        if self._player is None:
            return
        self._player = self._deaf = None
        self._settle()
        if self._watch is not None:
            self._watch.cancel()
        self._patience = self._grace if lost else self._alone
        if lost and self._pieces and self._open:
            self._orphan = True
            self._fault(
                "SourceLost",
                f"{lost} What was being said waits {self._grace / SECOND:g} s for it, then is given up.",
            )
        self._miss(self._patience)

    def report(self, index: int, time_ns: int) -> None:
        """By `time_ns` of the player's own clock, all it was sent up to `index` has left its loudspeaker."""
        now = self._clock.now()
        t = self._far.map(time_ns, now)
        if self._reachable is None:
            return
        if self._reported is not None and index < self._reported:
            self._doubt("back", f"it reports {index} after {self._reported}")
            return
        self._reported = index
        sent = min(self._sent, self._pieces[-1].end) if self._pieces else self._sent
        if index > self._sent:
            self._doubt("beyond", f"it reports {index} of {self._sent} samples that were sent to it")
        believed = min(index, sent, self._plausible(now))
        if believed < min(index, sent) and min(index, sent) - self._plausible(now) > self._size * 4:
            self._doubt("early", f"it reports {index} before that can have sounded")
        self._hear(believed, min(t, now))
        self._send()

    def flushed(self, number: int, index: int) -> None:
        """The answer to `Player.flush(number)`: of what was queued then, all up to `index` will have been heard."""
        if number == self._deaf:
            self._deaf = None
            self._begin_player()
            self._sent = self._played
            if self._paused and self._player is not None:
                self._player.pause()
            self._recovered()
            self._send()
        elif any(flush.number == number for flush in self._flushes):
            while self._flushes:
                flush = self._flushes.popleft()
                self._end(flush, min(index, self._plausible(self._clock.now())))
                if flush.number == number:
                    break
            self._send()

    @property
    def _reachable(self) -> Player | None:
        return self._player if self._deaf is None and self._open else None

    def _send(self) -> None:
        player = self._reachable
        if player is None:
            return
        now, queued = self._clock.now(), 0
        for place, piece in enumerate(self._pieces):
            if piece.begin >= self._sent:
                if queued >= self._ahead:
                    break
                self._soonest = max(self._soonest, now) + round(len(piece.samples) * SECOND / self.rate)
                self._pieces[place] = piece._replace(soonest=self._soonest)
                self._sent = piece.end
                player.play(piece.samples, self.rate, piece.begin)
            queued += len(piece.samples)
        self._guard()

    def _plausible(self, now: int) -> int:
        """The largest index that can have left the player by `now`: sound takes its time, from when it was sent."""
        allowed = self._played
        for piece in self._pieces:
            early = piece.soonest - now - EARLY
            if not piece.soonest or early > 0:
                part = piece.end - round(early * self.rate / SECOND)
                return part if piece.soonest and part > piece.begin else allowed
            allowed = piece.end
        return allowed

    # --- what has been heard

    def _hear(self, index: int, t: int) -> None:
        """All that is to be heard before `index` has been, by `t`: publish it, and tell the listeners."""
        heard: list[Samples] = []
        while self._pieces and self._pieces[0].begin < index:
            piece = self._pieces.popleft()
            part = min(len(piece.samples), index - piece.begin)
            heard.append(piece.samples[:part])
            self._played = piece.begin + part
            if part < len(piece.samples):
                self._pieces.appendleft(_Piece(self._played, piece.samples[part:], piece.soonest))
        if not heard:
            return
        self._progress = self._clock.now()
        samples = np.concatenate(heard)
        place = round(t * self.rate / SECOND) - len(samples)
        if abs(place - self._laid) * SECOND <= JITTER * self.rate or place < self._laid:
            place = self._laid
        self._laid = place + len(samples)
        left = round(self._laid * SECOND / self.rate)
        self._publisher.publish(PLAYBACK, left, Audio(samples, self.rate, place))
        for listener in self._listeners:
            listener(self._played, left)

    def _end(self, flush: _Flush, index: int) -> None:
        """A flush is over: nothing written before it will be heard from `index` on."""
        flush.timer.cancel()
        kept: list[_Piece] = []
        heard = self._played
        while self._pieces and self._pieces[0].begin < flush.boundary:
            piece = self._pieces.popleft()
            if piece.begin < index:
                piece = piece._replace(samples=piece.samples[: index - piece.begin])
                kept.append(piece)
                heard = piece.end
        self._pieces.extendleft(reversed(self._faded(kept) if flush.fades else kept))
        self._cut = flush.boundary
        flush.told(heard)

    def _faded(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pieces whose last sound is faded out, as the player does it."""
        sound = np.concatenate([np.zeros(0, np.int16), *(piece.samples for piece in pieces)])
        length = min(self._fade, len(sound))
        if not length:
            return pieces
        sound[-length:] = (sound[-length:] * np.linspace(1, 0, self._fade + 2)[1:-1][-length:]).astype(np.int16)
        faded, place = [], 0
        for piece in pieces:
            faded.append(piece._replace(samples=sound[place : place + len(piece.samples)]))
            place += len(piece.samples)
        return faded

    def _unanswered(self, number: int) -> None:
        if any(flush.number == number for flush in self._flushes):
            self._doubt("answer", f"it has not answered a flush within {self._answer / SECOND:g} s")
            while self._flushes and self._flushes[0].number <= number:
                self._end(self._flushes.popleft(), self._played)

    def _settle(self) -> None:
        """The player is not asked any more: what it promised to play has been heard, of the rest what it reported."""
        self._hear(self._cut, self._clock.now())
        while self._flushes:
            self._end(self._flushes.popleft(), self._played)
        self._sent = self._played
        self._pieces = deque(piece._replace(soonest=0) for piece in self._pieces)

    # --- a player that stands still

    def _guard(self) -> None:
        """See that the player makes progress while it has something to play."""
        if self._watch is None and self._playing:
            self._progress = self._clock.now()
            self._watch = self._clock.call_at(self._progress + self._stall, self._look)

    @property
    def _playing(self) -> bool:
        waiting = bool(self._pieces) and self._pieces[0].begin < self._sent
        return self._reachable is not None and not self._paused and waiting

    def _look(self) -> None:
        self._watch = None
        if not self._playing:
            return
        if self._clock.now() - self._progress < self._stall:
            self._watch = self._clock.call_at(self._progress + self._stall, self._look)
            return
        assert self._player is not None
        self._settle()
        self._deaf = next(self._numbers)
        self._orphan = True
        self._player.flush(self._deaf)
        self._fault(
            "SourceLost",
            f"the player makes no progress for {self._stall / SECOND:g} s: what is being said is given up.",
        )
        self._patience = self._grace
        self._miss(0)

    def _recovered(self) -> None:
        if self._orphan and self._open:
            self._orphan = False
            self._publisher.publish(FEEDBACK, self._clock.now(), Recovered(self.name, "a player is there again"))

    def _doubt(self, kind: str, what: str) -> None:
        if kind not in self._doubted:
            self._doubted.add(kind)
            self._fault("PlayerWrong", f"the player is not believed: {what}.")

    def _fault(self, error: str, message: str) -> None:
        if self._open:
            self._publisher.publish(FEEDBACK, self._clock.now(), Fault(self.name, error, message))

    # --- without a player

    def _miss(self, wait: int) -> None:
        """There is no player any more: what is queued is given up in `wait` ns, unless one comes."""
        self._due = self._clock.now() + wait
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._expect()

    def _expect(self) -> None:
        if self._expiry is None and self._forlorn:
            self._expiry = self._clock.call_at(self._due, self._expire)

    @property
    def _forlorn(self) -> bool:
        """Something waits, and there is no player to hear it from."""
        return self._open and self._reachable is None and bool(self._pieces)

    def _expire(self) -> None:
        self._expiry = None
        if self._forlorn and self._clock.now() >= self._due:
            self._due = self._clock.now() + self._patience
            for gone in self._gone:
                gone()
        self._expect()

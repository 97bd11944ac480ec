"""The client's sound as a microphone, on the clock of the session.

The protocol has neither sequence numbers nor times, and a client may send a live voice in chunks or a file in
one burst. So the time base is this: a sample's time is its place on the session's own sample clock. The first chunk of
a stretch ends at its arrival; what follows comes right behind it; nothing ever lies in the future, so what comes faster
than real time is played at its pace. Where nothing comes for longer than a chunk and `PATIENCE`, silence goes on in its
place, so that every wait in a session comes to its end. (`streams.devices.remote` has the client's sequence and clock,
and drops what comes too fast: that is right for a browser, and would lose most of a file.)
"""

import asyncio
from collections import deque
from typing import Any

import numpy as np

from agent.realtime.refusals import Refused
from streams.audio.blocks import RATE, SAMPLE
from streams.audio.resample import Resampler
from streams.clock import Clock
from streams.ports import Publisher
from streams.topics import AUDIO, FEEDBACK, PERCEPT, Topic
from streams.types import Audio, Gauge, Samples, StopPressed, TurnEnd, Typed

BLOCK = RATE // 50
PATIENCE = RATE * 150 // 1000
"""Samples that may be missing before silence is put in their place."""
STALLED = RATE // 50
"""So late is a timer only on a loop that was busy with something else."""
RECOVERY_S = 0.03
LONGEST = RATE // 2
"""The longest chunk of a live voice: for that of a file nobody waits."""
BACKLOG = RATE // 10
KEPT_QUIET = RATE
"""Of quiet that lasts longer than this, the rest is passed over while sound waits to be played."""
QUIET = 200  # peak of int16: -44 dB of full scale
TAIL = RATE // 2
"""Silence after what is judged at once: the ear must hear that the voice has ended."""
LEAD = RATE // 5
"""So much of the quiet before a voice is left of what is judged, where the time for more of it is missing."""


class ClientMicrophone:
    """`streams.ports.Source` of what one client sends: sound, text, and the wish to stop. Never ends by itself.

    held: nothing is heard until `judge` is called; then all that came before it is, and the silence `TAIL`. What comes
        later waits behind both, for the next `judge`
    most_s: seconds of sound that may wait;  skipped: samples of quiet that were passed over to catch up
    Its methods are called on the event loop and never wait.
    """

    name = "realtime"

    def __init__(self, *, most_s: float = 120.0) -> None:
        self.writes: tuple[Topic[Any], ...] = (AUDIO, PERCEPT)
        self.held = False
        self.skipped = 0
        self._most = round(most_s * RATE)
        self._queue: deque[Samples] = deque()
        self._waiting = 0  # samples in the queue
        self._next: int | None = None  # place of the next sample on the session's sample clock
        self._came = 0  # samples of the client that have been heard or passed over
        self._chunk = BLOCK
        self._judged = 0  # samples of the queue that `judge` was called for
        self._tail = 0  # samples of silence that follow them
        self._filling = True  # what was heard last was no sound of the client
        self._quiet = 0
        self._runs: deque[tuple[int, int]] = deque(maxlen=500)  # (place, the client's sample) where the two part
        self._resampler: Resampler | None = None
        self._wake = asyncio.Event()
        self._early: deque[Typed | StopPressed | TurnEnd] = deque(maxlen=100)  # before the session runs
        self._out: tuple[Publisher, Clock] | None = None

    # --- from the client

    def push(self, samples: Samples, rate: int) -> None:
        """Sound came: int16[samples] at `rate` Hertz. Raises `Refused` if too much waits already."""
        if self._resampler is None or self._resampler.source != rate:
            self._resampler = Resampler(rate, RATE)
        if self._waiting + len(samples) * RATE // rate > self._most:
            raise Refused("input_audio_buffer_full", f"more than {self._most // RATE} s of sound wait to be heard")
        sound = self._resampler.push(samples)
        if not len(sound):
            return
        place = self._now()
        if not self.held and not self._waiting:
            self._begin_stretch(place, len(sound))
        self._chunk = min(len(sound), LONGEST)
        self._queue.append(sound)
        self._waiting += len(sound)
        self._wake.set()

    def hold(self, held: bool) -> None:
        """Whether sound is held back until `judge`."""
        self.held = held
        self._wake.set()

    def judge(self) -> int:
        """What was held back was a whole turn: it ended now. Returns the session time (ns) by which it is heard."""
        if self._next is not None:
            self._hasten(self._next + self._waiting + TAIL - self._now())
        total = self._waiting + TAIL
        self._jump(max(0, self._now() - total))
        until = (self._next or 0) + total
        self._judged, self._tail = self._waiting, TAIL
        self._flush(self._now())
        self._wake.set()
        return until * SAMPLE

    def forget(self) -> None:
        """What has not been heard yet is dropped, but for what is being judged."""
        while self._waiting > self._judged:
            newest = self._queue.pop()
            kept = max(0, len(newest) - (self._waiting - self._judged))
            if kept:
                self._queue.append(newest[:kept])
            self._waiting -= len(newest) - kept
            self._came += len(newest) - kept

    def write(self, text: str) -> None:
        """Somebody wrote `text`."""
        self._percept(Typed(text))

    def stop(self) -> None:
        """Somebody wants the agent to stop."""
        self._percept(StopPressed("realtime"))

    def over(self, segment: int) -> None:
        """The client says that the turn which stretch `segment` ends is over."""
        self._percept(TurnEnd(segment, 1.0, 0, "client"))

    def gauge(self, name: str, value: float) -> None:
        """A figure of the client's loudspeaker."""
        if self._out is not None:
            publisher, clock = self._out
            publisher.publish(FEEDBACK, clock.now(), Gauge("realtime", name, value))

    def position(self, t: int) -> int:
        """How many ms of the client's sound had come by session time `t` (ns)."""
        place = t // SAMPLE
        found = next(((at, came) for at, came in reversed(self._runs) if at <= place), None)
        if found is None:
            return 0
        return min(found[1] + place - found[0], self._came) * 1000 // RATE

    # --- to the session

    async def __aenter__(self) -> "ClientMicrophone":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        pass

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what came, at its pace, and silence where nothing comes."""
        self._out = (bus, clock)
        while self._early:
            self._percept(self._early.popleft())
        try:
            while True:
                self._wake.clear()
                self._flush(self._now())
                due = self._due()
                if due is None:
                    await self._wake.wait()
                    continue
                try:
                    async with asyncio.timeout_at(clock.deadline(due * SAMPLE)):
                        await self._wake.wait()
                except TimeoutError:
                    if self._now() - due > STALLED:  # it was not the client that was late: let what has come come in
                        await asyncio.sleep(RECOVERY_S)
        finally:
            self._out = None

    def _now(self) -> int:
        return 0 if self._out is None else self._out[1].now() // SAMPLE

    def _due(self) -> int | None:
        """Place on the sample clock at which there is something to publish; None: only when something comes."""
        if self.held and not self._tail:
            return None
        if self._next is None:
            return None if not self._waiting else self._now()
        if self._tail or self._waiting >= BLOCK:
            return self._next + BLOCK
        return self._next + BLOCK + self._chunk + PATIENCE

    def _begin_stretch(self, place: int, count: int) -> None:
        """Sound comes after nothing: its last sample is the newest there is."""
        if self._next is None:
            self._jump(max(0, place - count))
        elif self._filling:
            while self._next + BLOCK <= place - count:
                self._silence()

    def _flush(self, place: int) -> None:
        """Publish whole blocks that lie before `place`; then, where too much is missing, silence."""
        if self._out is None or (self.held and not self._tail):
            return
        if self._next is None:
            if not self._waiting:
                return
            self._jump(max(0, place - self._waiting))
        while self._next is not None and self._next + BLOCK <= place:
            self._skip(place)
            late = place - self._next > self._chunk + PATIENCE
            free = self._free()
            if free >= BLOCK or (free and (self._tail or late)):
                self._publish(self._take(min(BLOCK, free)))
            elif self._tail:
                self._silence()
                self._tail = max(0, self._tail - BLOCK)
            elif late and not self.held:
                self._silence()
            else:
                return

    def _free(self) -> int:
        """How many samples of what waits may be heard now."""
        return self._judged if self.held or self._tail else self._waiting

    def _hasten(self, late: int) -> None:
        """What is judged would be heard `late` samples too late: pass over quiet before its voice instead."""
        if late <= 0 or not self._waiting:
            return
        loud = np.flatnonzero(np.abs(np.concatenate(self._queue).astype(np.int32)) > QUIET)
        lead = (int(loud[0]) if len(loud) else self._waiting) - LEAD
        if (most := min(late, lead)) > 0:
            self._take(most)
            self.skipped += most
            self._filling = True

    def _skip(self, place: int) -> None:
        """Catch up: pass over quiet that lasts, while more waits than there should."""
        while self._waiting - (place - (self._next or 0)) > BACKLOG and not (self.held or self._tail):
            head = self._queue[0][:BLOCK]
            if int(np.abs(head.astype(np.int32)).max(initial=0)) > QUIET:
                self._quiet = 0
                return
            if self._quiet < KEPT_QUIET:
                return
            self._take(len(head))
            self.skipped += len(head)
            self._filling = True

    def _take(self, most: int) -> Samples:
        """The next `most` samples of what waits."""
        parts, count = [], 0
        while count < most and self._queue:
            piece = self._queue.popleft()
            part = piece[: most - count]
            if len(part) < len(piece):
                self._queue.appendleft(piece[len(part) :])
            parts.append(part)
            count += len(part)
        self._waiting -= count
        self._came += count
        self._judged = max(0, self._judged - count)
        block: Samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return block

    def _jump(self, place: int) -> None:
        """The sample clock goes on at `place`: what lies between was never heard."""
        if self._next is None or place > self._next:
            self._next = place
            self._filling = True

    def _silence(self) -> None:
        self._filling = True
        self._give(np.zeros(BLOCK, np.int16))

    def _publish(self, samples: Samples) -> None:
        """The client's own sound."""
        if self._filling:
            self._filling = False
            self._runs.append((self._next or 0, self._came - len(samples)))
        self._give(samples)

    def _give(self, samples: Samples) -> None:
        loud = int(np.abs(samples.astype(np.int32)).max(initial=0)) > QUIET
        self._quiet = 0 if loud else self._quiet + len(samples)
        if self._out is not None:
            start, self._next = self._next or 0, (self._next or 0) + len(samples)
            self._out[0].publish(AUDIO, self._next * SAMPLE, Audio(samples, RATE, start))

    def _percept(self, percept: Typed | StopPressed | TurnEnd) -> None:
        if self._out is None:
            self._early.append(percept)
        else:
            publisher, clock = self._out
            publisher.publish(PERCEPT, clock.now(), percept)

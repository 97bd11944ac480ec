"""Speech to text: follows the voice detector's stretches of speech and publishes `Words`, partial and final.

Knows nothing of grammars or models (`recognisers/`), nor of turns. What it publishes depends on the samples only:
sound is handed to the recogniser up to the `t` of each `Voice`, whatever the blocks in which it came.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from streams.audio.blocks import SAMPLE, check_rate
from streams.audio.denoise import FRAME, Denoiser, Noise
from streams.clock import MS, SECOND
from streams.encoders.recognisers import Bursty, Hypothesis, Recogniser, Renewable
from streams.packet import Packet
from streams.ports import Emit
from streams.topics import AUDIO, PERCEPT, VOICE, Topic
from streams.types import Audio, Samples, SpeechEnded, SpeechStarted, Voice, Word, Words

QUIET = 0.35  # probability of voice below which the speaker pauses
SURE = 256 * MS  # so long ago nobody spoke, if nobody does now: the first phones come before a detector is sure
ONSET = SECOND  # a detector may need this long to be sure that speech has begun


class SpeechConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How sound is handed to the recogniser.

    lead_ms: sound before the onset that the recogniser hears too, so that first phones are not clipped
    partial_ms: how often partial words are asked for, in sound
    pause_ms: the same while the speaker pauses, and at once when the pause begins: "stop" must not wait for its end
    join_ms: speech that was rejected is decoded once more together with the stretch before it if no more than this
        lies between the two (people pause in the middle of a command); 0 = never
    max_stretch_ms: a longer stretch of speech is decoded in pieces of this length, which bounds cost and memory
    denoise_above_db: noise that is louder than this while nobody speaks (motors, a fan) is taken out of speech before
        it is recognised, dB of full scale; 0 = never
    """

    lead_ms: Annotated[int, Meta(ge=0, le=1000)] = 300
    partial_ms: Annotated[int, Meta(ge=32, le=5000)] = 96
    pause_ms: Annotated[int, Meta(ge=32, le=5000)] = 64
    join_ms: Annotated[int, Meta(ge=0, le=5000)] = 1500
    max_stretch_ms: Annotated[int, Meta(ge=1000, le=60_000)] = 12_000
    denoise_above_db: Annotated[float, Meta(ge=-120, le=0)] = -46.0


class SpeechEncoder:
    """Reads AUDIO, VOICE and the segments on PERCEPT; writes `Words` on PERCEPT, one final per segment.

    A final `Words` may reach back into the stretch before its own (see `join_ms`): its words then take the place of
    the earlier ones that they overlap. Of a stretch longer than `max_stretch_ms` the pieces' texts are joined and the
    least confidence is kept; a word on the seam may be lost.
    recogniser: this session's own stream. Raises `SourceError` unless the audio is at 16 kHz.
    """

    name = "speech"
    reads: tuple[Topic[Any], ...] = (AUDIO, VOICE, PERCEPT)
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, recogniser: Recogniser, config: SpeechConfig | None = None) -> None:
        self.config = config or SpeechConfig()
        self._recogniser = recogniser
        self._lead = self.config.lead_ms * MS
        self._step = self.config.partial_ms * MS
        self._pause = min(self._step, self.config.pause_ms * MS)
        self._begin()

    def _begin(self) -> None:
        self._sound = _Sound()
        self._segment: int | None = None  # the stretch of speech that is open
        self._now = _Heard(0)
        self._before: _Heard | None = None  # the stretch before it, to be heard together with it if need be
        self._pieces: list[Words] = []  # of a stretch that is too long for one
        self._shown = ""
        self._quiet = False  # the newest hop of an open stretch was not voiced
        self._noise = Noise()
        self._denoiser: Denoiser | None = None  # of the open stretch, if there is noise

    def cost(self, packet: Packet[Any]) -> int:
        """0 while nobody speaks and between steps; else the recogniser's declared time for the sound that is due."""
        data = packet.data
        if self._segment is None:
            return 0
        if isinstance(data, Voice):
            return self._price(packet.t - self._now.end) if self._due(packet.t, data) else 0
        if isinstance(data, SpeechEnded) and data.segment == self._segment:
            before = None if self._shown else self._joined()
            again = before.length + self._now.length if before else 0
            due = self._price(max(0, data.decided_ns - self._now.end), last=True)
            return due + self._recogniser.feed_cost * again // SECOND
        return 0

    def push(self, packet: Packet[Any]) -> Sequence[Emit]:
        """Partial words every `partial_ms` of speech and in pauses if the text changed; final ones at `SpeechEnded`."""
        data = packet.data
        if isinstance(data, Audio):
            check_rate(data, self.name)
            self._sound.add(data.samples, packet.t)
        elif isinstance(data, Voice):
            if self._segment is None:
                if data.probability < QUIET:
                    self._noise.hear(self._sound.look(packet.t - SURE, FRAME))
                self._sound.forget(packet.t - self._lead - ONSET)
                return ()
            due = self._due(packet.t, data)
            self._quiet = data.probability < QUIET
            return self._hear(packet.t) if due else ()
        elif isinstance(data, SpeechStarted):
            self._segment, self._pieces, self._quiet = data.segment, [], False
            self._start(max(packet.t - self._lead, self._sound.start, self._now.end))
        elif isinstance(data, SpeechEnded) and data.segment == self._segment:
            return self._close(data.decided_ns)
        return ()

    def flush(self) -> Sequence[Emit]:
        """Finishes a segment that is still open."""
        return [] if self._segment is None else self._close(self._sound.end)

    def reset(self) -> None:
        """Forget the stream, and what the recogniser learnt of it."""
        self._recogniser.reset()
        self._begin()

    # --- one stretch of speech

    def _start(self, t: int) -> None:
        self._now, self._shown = _Heard(t), ""
        noisy, self._denoiser = self._denoiser is not None, self._denoising()
        if (noisy or self._denoiser is not None) and isinstance(self._recogniser, Renewable):
            self._recogniser.renew()  # what it learnt was of another noise
        self._recogniser.start()

    def _denoising(self) -> Denoiser | None:
        """For a stretch that begins now; None where it is quiet enough without."""
        power, above = self._noise.power, self.config.denoise_above_db
        return Denoiser(power) if power is not None and above < 0 and self._noise.level_db > above else None

    def _feed(self, t: int) -> None:
        samples = self._sound.take(self._now.end, t)
        if len(samples):
            self._now.add(samples, t)
            self._recogniser.feed(samples if self._denoiser is None else self._denoiser.push(samples))

    def _finish(self) -> Hypothesis:
        if self._denoiser is not None and len(rest := self._denoiser.finish()):
            self._recogniser.feed(rest)
        return self._recogniser.finish()

    def _due(self, t: int, voice: Voice) -> bool:
        """Whether partial words are asked for at the hop that ends at `t`."""
        due = t - self._now.end
        if voice.probability >= QUIET:
            return due >= self._step
        return due > 0 and (not self._quiet or due >= self._pause)

    def _hear(self, t: int) -> Sequence[Emit]:
        self._feed(t)
        if t - self._now.start >= self.config.max_stretch_ms * MS:
            self._pieces.append(self._words(self._finish(), self._now.time, final=False))
            self._start(t)
            return ()
        heard = self._recogniser.partial()
        if heard.text == self._shown:
            return ()
        self._shown = heard.text
        return [Emit(PERCEPT, t, self._words(heard, self._now.time, final=False))]

    def _close(self, t: int) -> Sequence[Emit]:
        """The stretch is over, as was decided at `t`."""
        self._feed(min(t, self._sound.end))
        heard, time = self._finish(), self._now.time
        before = None if heard.text else self._joined()
        if before is not None:
            sound, denoiser = np.concatenate((*before.samples, *self._now.samples)), self._denoising()
            self._recogniser.start()
            self._recogniser.feed(sound if denoiser is None else denoiser.whole(sound))
            joined = self._recogniser.finish()
            seam = before.length // SAMPLE
            self._now = before.followed_by(self._now)
            if joined.complete and joined.words[0].end <= seam < joined.words[-1].end:  # it needs both stretches
                heard, time = joined, self._now.time
        words = self._words(heard, time, final=True)
        self._before, self._segment = self._now if heard.half else None, None
        return [Emit(PERCEPT, self._now.end, words)]

    def _joined(self) -> "_Heard | None":
        """The stretch before, if it is to be heard once more together with this one."""
        before, now = self._before, self._now
        if before is None or not self._recogniser.joins or self._pieces:
            return None
        near = now.start - before.end <= self.config.join_ms * MS
        return before if near and before.length + now.length <= self.config.max_stretch_ms * MS else None

    def _words(self, heard: Hypothesis, time: Callable[[int], int], *, final: bool) -> Words:
        assert self._segment is not None
        words = tuple(Word(each.text, time(each.start), time(each.end), each.confidence) for each in heard.words)
        last = Words(self._segment, heard.text, words, final, heard.confidence, heard.complete, heard.guess)
        return _together([*self._pieces, last]) if self._pieces else last

    def _price(self, ns: int, *, last: bool = False) -> int:
        """Declared computing for `ns` more of sound and for the words after it."""
        if isinstance(self._recogniser, Bursty):
            return self._recogniser.due(ns // SAMPLE, last=last)
        return self._recogniser.feed_cost * ns // SECOND + last * self._recogniser.finish_cost


def _together(pieces: Sequence[Words]) -> Words:
    """The words of all pieces of one stretch: never a whole sentence, as sure as the least sure of its pieces."""
    said = [piece for piece in pieces if piece.text]
    return Words(
        segment=pieces[-1].segment,
        text=" ".join(piece.text for piece in said),
        words=tuple(word for piece in said for word in piece.words),
        final=pieces[-1].final,
        confidence=min((piece.confidence for piece in said), default=0.0),
        guess=" ".join(piece.guess for piece in pieces if piece.guess),
    )


class _Heard:
    """Sound the recogniser has heard, in order, with the session time of each part: `start` to `end`, ns."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.samples: list[Samples] = []
        self.length = 0  # ns of sound; less than end - start where a pause between two stretches is left out
        self._starts: list[tuple[int, int]] = []  # (samples before it, session time of its begin) of each part

    def add(self, samples: Samples, end: int) -> None:
        """`samples`, which end at `end`."""
        self._starts.append((self.length // SAMPLE, end - len(samples) * SAMPLE))
        self.samples.append(samples)
        self.length += len(samples) * SAMPLE
        self.end = end

    def followed_by(self, other: "_Heard") -> "_Heard":
        """Both in one."""
        both = _Heard(self.start)
        both.samples = [*self.samples, *other.samples]
        shift = self.length // SAMPLE
        both._starts = [*self._starts, *((count + shift, begin) for count, begin in other._starts)]
        both.length, both.end = self.length + other.length, other.end
        return both

    def time(self, sample: int) -> int:
        """Session time of sample number `sample`."""
        place = bisect_right(self._starts, sample, key=itemgetter(0)) - 1
        if place < 0:
            return self.start + sample * SAMPLE
        count, begin = self._starts[place]
        return begin + (sample - count) * SAMPLE


class _Sound:
    """The newest sound by session time. Lost samples are silence; after a long gap or a jump back it begins anew.

    A device counts its samples by a clock of its own, so the times of two blocks may not quite fit together.
    """

    GAP = SECOND
    SLACK = 5 * MS

    def __init__(self) -> None:
        self.start = self.end = 0
        self._parts: deque[Samples] = deque()
        self._length = 0  # samples

    def add(self, samples: Samples, t: int) -> None:
        """int16[samples], the last of which ends at `t` (ns)."""
        lost = t - len(samples) * SAMPLE - self.end
        if not -self.SLACK <= lost <= self.GAP:
            self._parts.clear()
            self._length = 0
        elif lost > self.SLACK and self._parts:
            self._append(np.zeros(lost // SAMPLE, np.int16))
        self._append(samples)
        self.end = t
        self.start = t - self._length * SAMPLE

    def take(self, start: int, end: int) -> Samples:
        """What there is between `start` and `end`; everything up to `end` is then forgotten."""
        if end <= self.start or not self._parts:
            return np.empty(0, np.int16)
        whole = np.concatenate(self._parts)
        first, last = max(0, (start - self.start) // SAMPLE), (end - self.start) // SAMPLE
        self._parts = deque([whole[last:]] if last < len(whole) else [])
        self._length = max(0, len(whole) - last)
        self.start = min(end, self.end)
        return whole[first:last]

    def look(self, end: int, count: int) -> Samples:
        """The `count` samples before `end`, or none if they are not all there; nothing is forgotten."""
        last = (end - self.start) // SAMPLE
        if last < count or last > self._length:
            return np.empty(0, np.int16)
        parts, length = list[Samples](), self._length  # from the back: they are in the newest block or two
        for part in reversed(self._parts):
            parts.insert(0, part)
            length -= len(part)
            if length <= last - count:
                break
        return np.concatenate(parts)[last - count - length : last - length]

    def forget(self, before: int) -> None:
        """Drop whole blocks that end before `before` (ns)."""
        while self._parts and self.start + len(self._parts[0]) * SAMPLE <= before:
            count = len(self._parts.popleft())
            self.start += count * SAMPLE
            self._length -= count

    def _append(self, samples: Samples) -> None:
        self._parts.append(samples)
        self._length += len(samples)

"""A synthesised person who talks with the agent: a source of sound that waits, answers and interrupts.

A double of the other side of a conversation, for demos and tests: what it says is given, when it says it depends on
the agent. It is source and tap at once: it hears by FEEDBACK what the speaker plays, and speaks into the microphone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from embodied.ports import Voice
from streams.audio.blocks import RATE
from streams.audio.resample import Resampler
from streams.bus import Lane
from streams.clock import MS, SECOND, Clock
from streams.ports import Publisher
from streams.topics import ACTION, AUDIO, FEEDBACK, Topic
from streams.types import Audio, Command, Fault, Outcome, PlayStarted, Samples, Say


class Cue(Struct, frozen=True):
    """One thing the person says.

    when: "quiet" = the agent has answered and then been silent and still for `after_ms`
        "over" = it has been audible for `after_ms`;  "moving" = a motion has been under way for `after_ms`
    """

    text: str
    when: Literal["quiet", "over", "moving"] = "quiet"
    after_ms: int = 700


class Person:
    """Speaks `cues` in order with `voice`, over a quiet room, and leaves when the last one is answered.

    noise_db: level of the room's noise in dB of full scale (the same noise every time);  level_db: peak of the speech
    patience_ms: how long a condition is waited for before the cue is said all the same
    """

    name = "person"
    writes: tuple[Topic[Any], ...] = (AUDIO,)
    reads: tuple[Topic[Any], ...] = (ACTION, FEEDBACK)

    def __init__(
        self,
        cues: Sequence[Cue],
        voice: Voice,
        *,
        block_ms: int = 20,
        noise_db: float = -66.0,
        level_db: float = -6.0,
        patience_ms: int = 5000,
    ) -> None:
        self.cues = list(cues)
        self._block = RATE * block_ms // 1000
        self._noise = np.random.default_rng(7)
        self._noise_rms = 32767 * 10 ** (noise_db / 20)
        self._patience = patience_ms * MS
        self._takes = [_take(voice, cue.text, level_db) for cue in self.cues]
        self._saying: set[int] = set()
        self._moving: set[int] = set()
        self._audible_ns: int | None = None
        self._moving_ns: int | None = None
        self._quiet_ns = 0
        self._answered = True

    async def __aenter__(self) -> "Person":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    # --- the mouth

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish blocks of the room, with what it says in it, until the conversation is over."""
        sample, speaking, waiting_ns = 0, np.zeros(0, np.int16), 0
        said = 0
        while said < len(self.cues) or len(speaking) or clock.now() - self._last_ns() < 1500 * MS:
            end_ns = (sample + self._block) * SECOND // RATE
            if not len(speaking) and said < len(self.cues):
                cue = self.cues[said]
                if self._may(cue, clock.now()) or clock.now() - waiting_ns > self._patience:
                    speaking = self._takes[said]
                    said += 1
                    self._answered = False
            room = self._noise.normal(0, self._noise_rms, self._block)
            voiced, speaking = speaking[: self._block], speaking[self._block :]
            if len(voiced):
                room[: len(voiced)] += voiced
                waiting_ns = self._quiet_ns = end_ns
            await clock.sleep_until(end_ns)
            samples = np.clip(np.rint(room), -32768, 32767).astype(np.int16)
            bus.publish(AUDIO, end_ns, Audio(samples, RATE, sample))
            sample += self._block

    def _may(self, cue: Cue, now: int) -> bool:
        match cue.when:
            case "quiet":
                since = self._quiet_ns if self._answered and not (self._saying or self._moving) else None
            case "over":
                since = self._audible_ns
            case "moving":
                since = self._moving_ns
        return since is not None and now - since >= cue.after_ms * MS

    def _last_ns(self) -> int:
        """When anything was last heard or done (now, while something is)."""
        return 1 << 62 if self._saying or self._moving else self._quiet_ns

    # --- the ears

    async def listen(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Follow what the agent says and does."""
        async for packet in lane:
            match packet.data:
                case Say(id=number):
                    self._saying.add(number)
                case PlayStarted():
                    self._audible_ns = self._audible_ns or packet.t
                case Command(id=number):
                    self._moving.add(number)
                    self._moving_ns = packet.t
                case Outcome(id=number):
                    self._answered = True
                    self._saying.discard(number)
                    self._moving.discard(number)
                    self._quiet_ns = packet.at
                    self._audible_ns = self._audible_ns if self._saying else None
                    self._moving_ns = self._moving_ns if self._moving else None

    def ears(self) -> "Ears":
        """The tap that must be given to the session beside the person as a source."""
        return Ears(self)


class Ears:
    """The listening half of a `Person`, as a tap."""

    name = "person's ears"

    def __init__(self, person: Person) -> None:
        self.reads = person.reads
        self.run = person.listen


def _take(voice: Voice, text: str, level_db: float) -> Samples:
    """One cue as int16[samples] at 16 kHz, its peak at `level_db`."""
    resampler = Resampler(voice.rate, RATE)
    pieces = [resampler.push(chunk.samples) for chunk in voice.speak(text)]
    samples = np.concatenate([*pieces, resampler.finish()])
    peak = float(np.abs(samples.astype(np.float32)).max(initial=1.0))
    gain = 32767 * 10 ** (level_db / 20) / peak
    scaled: Samples = np.rint(samples.astype(np.float32) * gain).astype(np.int16)
    return scaled

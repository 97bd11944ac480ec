"""Speech to text: the encoders of our ear outside a session, as fast as the sound comes, each stream on its own ear.

An ear (detector and recogniser with their stream state) takes half a second to make and 30 ms to clear, so ears are
kept and lent. Model files are shared between them as between sessions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from agent.assembly import hearing
from agent.config import Config
from agent.wyoming.errors import Busy, Refusal
from agent.wyoming.requests import Sound
from policies.transcript import Stretch, UserTurn
from streams.audio.blocks import RATE, SAMPLE
from streams.audio.resample import Resampler
from streams.clock import MS, SECOND, Clock
from streams.packet import Packet
from streams.ports import Emit, Encoder
from streams.topics import AUDIO
from streams.types import Audio, Samples, SpeechEnded, SpeechStarted, Words
from streams.worker import Worker

TAIL_MS = 400  # silence after the last sample, so that the last word is decided as in a quiet room


class Ear:
    """One stream through the encoders of `config`. Synchronous: it belongs in a thread."""

    def __init__(self, config: Config) -> None:
        """Raises `VisavisError` where an encoder cannot be made."""
        self._encoders: list[Encoder] = hearing(replace(config, turn_end=replace(config.turn_end, engine="none")))
        self._heard = 0

    def hear(self, samples: Samples) -> list[Emit]:
        """Take int16[samples] at 16 kHz in; what is now known, in order."""
        self._heard += len(samples)
        t = self._heard * SAMPLE
        audio = Emit(AUDIO, t, Audio(samples, RATE, self._heard - len(samples)))
        return self._pass([audio], self._encoders)

    def finish(self) -> list[Emit]:
        """The stream has ended: the last that can be said of it."""
        emits = self.hear(np.zeros(TAIL_MS * RATE // 1000, np.int16))
        for place, encoder in enumerate(self._encoders):
            emits += self._pass(list(encoder.flush()), self._encoders[place + 1 :])
        return emits

    def reset(self) -> None:
        """As new."""
        self._heard = 0
        for encoder in self._encoders:
            encoder.reset()

    def _pass(self, emits: list[Emit], encoders: Sequence[Encoder]) -> list[Emit]:
        """Hand `emits` down the row: every encoder gets them and what those before it made of them."""
        now = self._heard * SAMPLE
        for encoder in encoders:
            made: list[Emit] = []
            for topic, t, data in emits:
                if topic in encoder.reads:
                    made += encoder.push(Packet(topic, t, now, 0, 0, data))
            emits = [*emits, *made]
        return emits


class Ears:
    """The ears of a server. Each is lent to one stream at a time; idle ones are kept. most: how many there may be."""

    def __init__(self, config: Config, clock: Clock, most: int) -> None:
        self.config = config
        self._clock, self._most = clock, most
        self._free: list[tuple[Ear, Worker]] = []
        self._lent = 0

    async def prepare(self) -> None:
        """Make the first one now. Raises `VisavisError` where it cannot be made."""
        self.give_back(*await self.lend())

    async def lend(self) -> tuple[Ear, Worker]:
        """An ear that remembers nothing, and the thread it lives in. Raises `Busy`; cancelling leaves none behind."""
        if self._lent >= self._most:
            raise Busy(f"{self._most} utterances are being transcribed already")
        self._lent += 1
        if self._free:
            return self._free.pop()
        worker = Worker(self._clock, "ear")
        try:
            return await worker.work(0, Ear, self.config), worker
        except BaseException:
            self._lent -= 1
            worker.abandon()
            raise

    def give_back(self, ear: Ear, worker: Worker) -> None:
        """It is cleared in its thread, behind a call that is still being made. Does not wait."""
        self._lent -= 1
        worker.begin(ear.reset)
        self._free.append((ear, worker))

    def close(self) -> None:
        """End the threads of those that are not lent."""
        for _, worker in self._free:
            worker.abandon()
        self._free.clear()


class Utterance:
    """One `audio-start` … `audio-stop`: sound of any format in, what was said out.

    new: called with each `SpeechStarted` and `SpeechEnded`
    """

    def __init__(self, ears: Ears, ear: Ear, worker: Worker, audio_s: float) -> None:
        self._ears, self._ear, self._worker = ears, ear, worker
        self._speech = ears.config.speech
        self._most = round(audio_s * RATE)
        self._format: Sound | None = None
        self._resampler: Resampler | None = None
        self._turn = UserTurn(1)
        self._taken = 0
        self._settled = ""
        self._closed = False

    async def hear(self, sound: Sound, payload: bytes | None) -> list[Emit]:
        """Take a chunk in. Returns the starts and ends of speech in it. Raises `Refusal`, `DependencyMissing`."""
        if self._format is None:
            self._format = sound
            self._resampler = None if sound.rate == RATE else Resampler(sound.rate, RATE)
        elif sound != self._format:
            raise Refusal("audio", f"the sound was {self._format} and is now {sound}: send audio-stop before")
        samples = sound.mono(payload)
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        self._taken += len(samples)
        if self._taken > self._most:
            raise Refusal("audio", f"the utterance is longer than {self._most / RATE:g} s: send audio-stop before")
        return self._note(await self._worker.work(0, self._ear.hear, samples))

    async def finish(self) -> list[Emit]:
        """The sound has ended. Returns as `hear`; `text` is whole now."""
        if self._resampler is not None:
            self._note(await self._worker.work(0, self._ear.hear, self._resampler.finish()))
        return self._note(await self._worker.work(0, self._ear.finish))

    @property
    def text(self) -> str:
        """All that was understood so far."""
        return self._turn.transcript().text

    @property
    def settled(self) -> str:
        """The part of it that cannot change any more, however the sound goes on: what can be sent as a chunk."""
        return self._settled

    def close(self) -> None:
        """Give the ear back. Idempotent."""
        if not self._closed:
            self._closed = True
            self._ears.give_back(self._ear, self._worker)

    def _note(self, emits: list[Emit]) -> list[Emit]:
        edges: list[Emit] = []
        for emit in emits:
            data: Any = emit.data
            match data:
                case SpeechStarted():
                    self._settle(emit.t)
                    self._turn.stretches.append(Stretch(data.segment, emit.t))
                    edges.append(emit)
                case SpeechEnded():
                    if stretch := self._turn.stretch(data.segment):
                        stretch.end_ns, stretch.decided_ns = emit.t, data.decided_ns
                    edges.append(emit)
                case Words(final=True):
                    if stretch := self._turn.stretch(data.segment):
                        stretch.words = data
        return edges

    def _settle(self, start: int) -> None:
        """Speech begins at `start`: so long after the last that the recogniser will not join the two?"""
        away = (self._speech.join_ms + self._speech.lead_ms) * MS
        if self._turn.stretches and start - self._turn.end_ns > away:
            self._settled = self.text


def milliseconds(ns: int) -> int:
    """Time in a stream, as the protocol counts it."""
    return ns * 1000 // SECOND

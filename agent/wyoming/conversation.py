"""A whole spoken conversation on one connection: sound in, the agent's voice out, turns and interruptions as anywhere.

A client asks for it by `run-pipeline` from "asr" to "tts" and then sends its microphone for as long as it likes. It is
an ordinary session: its source is the connection, its speaker keeps real time, and a tap sends what that plays.
What is sent is 20 ms old at most, so a client that plays at once falls silent at once when the agent is cut.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.tts import Synthesize
from wyoming.vad import VoiceStarted, VoiceStopped

from agent.wyoming.errors import Refusal
from agent.wyoming.frames import Wire
from agent.wyoming.listening import milliseconds
from agent.wyoming.requests import Sound
from streams.audio.blocks import RATE, SAMPLE
from streams.audio.resample import Resampler
from streams.bus import Lane
from streams.clock import MS, Clock
from streams.ports import Publisher
from streams.topics import ACTION, AUDIO, FEEDBACK, PERCEPT, PLAYBACK, TURN, Topic
from streams.types import Audio, Fault, Outcome, Samples, Say, SpeechEnded, SpeechStarted, TurnCommitted

BLOCK = RATE // 50
WAITING = 64  # chunks that may wait for their time; then the client does
LATE_NS = 500 * MS  # sound this late was held up or lost: the time in between is a gap


class Microphone:
    """`streams.ports.Source`: the sound a client sends, at the pace of real time whatever its own.

    A client that is ahead waits; what comes too late leaves a gap in the count of samples. It ends with `end`.
    ended: the client has sent all it will
    """

    name = "wyoming"
    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[Samples | None] = asyncio.Queue(WAITING)
        self._format: Sound | None = None
        self._resampler: Resampler | None = None
        self.ended = False

    async def __aenter__(self) -> "Microphone":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def take(self, sound: Sound, payload: bytes | None) -> None:
        """A chunk has come; waits while `WAITING` of them are ahead of their time. Raises `Refusal`."""
        if self.ended:
            return
        if self._format is None:
            self._format = sound
            self._resampler = None if sound.rate == RATE else Resampler(sound.rate, RATE)
        elif sound != self._format:
            raise Refusal("audio", f"the sound was {self._format} and is now {sound}")
        samples = sound.mono(payload)
        await self._chunks.put(samples if self._resampler is None else self._resampler.push(samples))

    async def end(self) -> None:
        """No more will come; what comes all the same is dropped."""
        if not self.ended:
            self.ended = True
            await self._chunks.put(None)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish blocks of 20 ms, each when its last sample is due."""
        rest: Samples = np.zeros(0, np.int16)
        start, zero = 0, -1
        while (chunk := await self._chunks.get()) is not None:
            rest = np.concatenate((rest, chunk))
            if zero < 0:
                zero = clock.now() - len(rest) * SAMPLE
            while len(rest) >= BLOCK:
                t = zero + (start + BLOCK) * SAMPLE
                if clock.now() - t > LATE_NS:
                    start += (clock.now() - t) // SAMPLE
                    t = zero + (start + BLOCK) * SAMPLE
                await clock.sleep_until(t)
                bus.publish(AUDIO, t, Audio(rest[:BLOCK], RATE, start))
                rest, start = rest[BLOCK:], start + BLOCK


class Line:
    """`streams.ports.Tap`: tells the client what is heard, answered and played.

    `voice-started`, `voice-stopped`; `transcript` once per turn of the person; `synthesize` for each text the agent
    begins to say; its voice as `audio-start`, `audio-chunk` …, `audio-stop`: once per stretch without a pause between
    texts, ended early where it is cut. An `error` tells of something that failed and was survived.
    """

    name = "wyoming"
    reads: tuple[Topic[Any], ...] = (PERCEPT, TURN, ACTION, FEEDBACK, PLAYBACK)

    def __init__(self, wire: Wire, language: str) -> None:
        self._wire, self._language = wire, language
        self._saying: set[int] = set()
        self._sounding = False

    async def run(self, lane: Lane, clock: Clock, report: Callable[[Fault], None]) -> None:
        """Send until the lane ends. Raises `ConnectionError` or `TimeoutError` when the client has gone."""
        send = self._wire.send
        async for packet in lane:
            data = packet.data
            time = milliseconds(packet.t)
            match data:
                case SpeechStarted():
                    await send(VoiceStarted(time))
                case SpeechEnded():
                    await send(VoiceStopped(time))
                case TurnCommitted() if data.reason != "unasked":
                    await send(Transcript(data.text, language=self._language))
                case Say():
                    self._saying.add(data.id)
                    await send(Synthesize(data.text))
                case Outcome(action="Say"):
                    self._saying.discard(data.id)
                    if self._sounding and not self._saying:
                        self._sounding = False
                        await send(AudioStop(time))
                case Fault():  # the conversation goes on
                    await send(Error(data.message, data.error))
                case Audio():
                    await self._play(data, time)

    async def _play(self, audio: Audio, time: int) -> None:
        if not self._saying:
            return  # the 5 ms that fade out after a cut
        if not self._sounding:
            self._sounding = True
            await self._wire.send(AudioStart(audio.rate, 2, 1, time))
        pcm = audio.samples.astype("<i2").tobytes()
        await self._wire.send(AudioChunk(audio.rate, 2, 1, pcm, time))

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
from streams.clock import Clock
from streams.ports import Publisher
from streams.topics import ACTION, AUDIO, FEEDBACK, PERCEPT, PLAYBACK, TURN, Topic
from streams.types import Audio, Fault, Outcome, Samples, Say, SpeechEnded, SpeechStarted, TurnCommitted

BLOCK = RATE // 50
AHEAD = 4 * RATE
"""Samples that may wait for their time; then the client does."""
PATIENCE = RATE // 2
"""So many samples may be late before silence takes their place: more was held up or is not sent at all."""
LONGEST = RATE
"""The longest chunk of a live voice: for that of a file nobody waits."""
BACKLOG = RATE // 10
KEPT_QUIET = 2 * RATE
"""Of quiet that lasts longer than this, the rest is passed over while more than `BACKLOG` waits to be heard."""
QUIET = 200  # peak of int16: -44 dB of full scale


class Microphone:
    """`streams.ports.Source`: the sound a client sends, at the pace of real time whatever its own.

    A client that is ahead waits. Where nothing comes for longer than a chunk and `PATIENCE`, silence goes on in its
    place, so that every wait in a session comes to its end: a client may stop sending when nobody speaks. What was held
    up comes after that silence; the delay is made up for where it is quiet for long. It ends with `end`.
    ended: the client has sent all it will
    """

    name = "wyoming"
    writes: tuple[Topic[Any], ...] = (AUDIO,)

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[Samples | None] = asyncio.Queue()  # bounded by `AHEAD`
        self._room = asyncio.Event()
        self._format: Sound | None = None
        self._resampler: Resampler | None = None
        self.ended = False
        self._waiting = 0  # samples that came and have not been heard
        self._rest: Samples = np.zeros(0, np.int16)  # those of them that have left the queue
        self._place = 0  # of the next sample, on the session's sample clock
        self._chunk = BLOCK  # length of the last chunk
        self._filling = True  # what was heard last was our silence
        self._quiet = 0  # for how many samples it has been quiet

    async def __aenter__(self) -> "Microphone":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def take(self, sound: Sound, payload: bytes | None) -> None:
        """A chunk has come; waits while `AHEAD` samples are ahead of their time. Raises `Refusal`."""
        if self.ended:
            return
        if self._format is None:
            self._format = sound
            self._resampler = None if sound.rate == RATE else Resampler(sound.rate, RATE)
        elif sound != self._format:
            raise Refusal("audio", f"the sound was {self._format} and is now {sound}")
        samples = sound.mono(payload)
        await self._put(samples if self._resampler is None else self._resampler.push(samples))

    async def end(self) -> None:
        """No more will come; what comes all the same is dropped. What has come is heard to its last sample."""
        if not self.ended:
            self.ended = True
            if self._resampler is not None:
                await self._put(self._resampler.finish())
            self._chunks.put_nowait(None)

    async def _put(self, samples: Samples) -> None:
        while self._waiting > AHEAD:
            self._room.clear()
            await self._room.wait()
        if len(samples):
            self._waiting += len(samples)
            self._chunks.put_nowait(samples)

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish blocks of 20 ms, each when its last sample is due, the last one shorter, and silence in between."""
        self._place = clock.now() // SAMPLE
        while (chunk := await self._next(bus, clock)) is not None:
            if self._filling:  # its last sample is the newest there is
                self._fill(bus, clock.now() // SAMPLE - len(chunk))
            self._chunk = min(len(chunk), LONGEST)
            self._rest = np.concatenate((self._rest, chunk))
            while len(self._rest) >= BLOCK:
                await self._hear(bus, clock)
        if len(self._rest):
            await self._hear(bus, clock)

    async def _next(self, bus: Publisher, clock: Clock) -> Samples | None:
        """The next chunk, None after the last; silence until it comes."""
        while True:
            due = self._place + BLOCK + self._chunk + (0 if self._filling else PATIENCE)
            try:
                async with asyncio.timeout_at(clock.deadline(due * SAMPLE)):
                    return await self._chunks.get()
            except TimeoutError:
                if len(self._rest):
                    await self._hear(bus, clock)
                self._fill(bus, clock.now() // SAMPLE - self._chunk)

    async def _hear(self, bus: Publisher, clock: Clock) -> None:
        """The next block, or what there is of it, when it is due; at once, and unheard, where time is to be made up."""
        block, self._rest = self._rest[:BLOCK], self._rest[BLOCK:]
        behind = self._place + self._waiting - clock.now() // SAMPLE
        loud = max(int(block.max()), -int(block.min())) > QUIET
        self._quiet = 0 if loud else self._quiet + len(block)
        if self._quiet <= KEPT_QUIET or behind <= BACKLOG:
            await clock.sleep_until((self._place + len(block)) * SAMPLE)
            self._filling = False
            self._publish(bus, block)
        self._waiting -= len(block)
        self._room.set()

    def _fill(self, bus: Publisher, until: int) -> None:
        """Silence up to that place, in whole blocks."""
        while self._place + BLOCK <= until:
            self._filling = True
            self._quiet += BLOCK
            self._publish(bus, np.zeros(BLOCK, np.int16))

    def _publish(self, bus: Publisher, samples: Samples) -> None:
        start, self._place = self._place, self._place + len(samples)
        bus.publish(AUDIO, self._place * SAMPLE, Audio(samples, RATE, start))


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

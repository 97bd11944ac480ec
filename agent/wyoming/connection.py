"""One client: which event goes where, one after the other. What it cannot have ends its connection, with the reason.

The next event is read when the last one has been dealt with, so a client that is ahead of us waits in its own socket.
"""

import asyncio
from contextlib import aclosing
from functools import partial
from itertools import count
from typing import NamedTuple

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.handle import Handled, NotHandled
from wyoming.info import Describe, Info
from wyoming.intent import Recognize
from wyoming.ping import Ping, Pong
from wyoming.pipeline import RunPipeline
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped
from wyoming.vad import VoiceStarted, VoiceStopped

from agent.assembly import assemble
from agent.config import Config
from agent.wyoming import requests
from agent.wyoming.conversation import Line, Microphone
from agent.wyoming.dialogue import Dialogues
from agent.wyoming.errors import Busy, Refusal
from agent.wyoming.frames import Wire
from agent.wyoming.listening import Ears, Utterance, milliseconds
from agent.wyoming.settings import WyomingConfig
from agent.wyoming.speaking import Sentences, Voices
from streams.clock import Clock
from streams.errors import VisavisError
from streams.ports import Emit
from streams.types import SpeechStarted
from streams.worker import Worker

_numbers = count(1)


class Services(NamedTuple):
    """What all clients of a server share."""

    config: Config
    settings: WyomingConfig
    clock: Clock
    info: Info
    ears: Ears
    voices: Voices
    dialogues: Dialogues
    conversations: asyncio.Semaphore


class Connection:
    """One client, from its first event to its last. Its stream state is its own; models and voices are shared."""

    def __init__(self, services: Services, wire: Wire) -> None:
        self._services, self._wire = services, wire
        self._name = f"connection {next(_numbers)}"
        self._utterance: Utterance | None = None
        self._begun = False  # the transcript that is being streamed
        self._sent = ""
        self._speaking: tuple[str, Sentences] | None = None  # voice and text of a synthesis in pieces
        self._sounding = False
        self._conversation: tuple[Microphone, asyncio.Task[None]] | None = None
        self._answers: asyncio.Task[None] | None = None  # the last text that is answered
        self._stopping = False  # it is a stop word, which did not wait for the one before

    async def run(self) -> None:
        """Answer events until the client goes away, is silent for too long, or asks for what it cannot have.

        A client that goes away in the middle costs what is being computed at that moment and no more.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                try:
                    while (event := await self._wire.read()) is not None:
                        await self._take(event)
                    await self._answered()
                finally:
                    self._give_back()
            await self._wire.part()
        except* (ConnectionError, TimeoutError):
            pass  # the client has gone
        except* VisavisError as group:
            await self._refuse(group)
        finally:
            self._wire.close()

    def _give_back(self) -> None:
        """Nobody asks any more: what was lent or kept for this client is free before the farewell."""
        if self._conversation is not None:
            self._conversation[1].cancel()
        if self._utterance is not None:
            self._utterance.close()
        self._services.dialogues.end(self._name)

    async def _refuse(self, group: BaseExceptionGroup[VisavisError]) -> None:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        refusal = error if isinstance(error, Refusal) else Refusal(type(error).__name__, str(error))
        try:
            await self._wire.refuse(refusal)
        except (ConnectionError, TimeoutError):
            pass  # it does not want to know

    async def _take(self, event: Event) -> None:
        """Events that are not ours are passed over, as the protocol asks."""
        kind = event.type
        if Transcript.is_type(kind) or Recognize.is_type(kind):
            await self._asked(requests.parse(event, requests.Sentence))
            return
        await self._answered()
        if Describe.is_type(kind):
            await self._wire.send(self._services.info)
        elif Ping.is_type(kind):
            await self._wire.send(Pong(requests.parse(event, requests.Echoed).text))
        elif RunPipeline.is_type(kind):
            await self._converse(requests.parse(event, requests.Pipeline))
        elif Transcribe.is_type(kind):
            language = requests.parse(event, requests.Transcription).language
            requests.check_language(language, self._services.config.language)
        elif AudioStart.is_type(kind):
            requests.parse(event, requests.Sound)
        elif AudioChunk.is_type(kind):
            await self._hear(requests.parse(event, requests.Sound), event.payload)
        elif AudioStop.is_type(kind):
            await self._heard()
        elif Synthesize.is_type(kind):
            if self._speaking is None:  # else it is the whole of what comes in pieces, for servers that take no pieces
                await self._synthesize(requests.parse(event, requests.Speech))
        elif SynthesizeStart.is_type(kind):
            self._speaking = self._voice(requests.parse(event, requests.Speech)), Sentences()
        elif SynthesizeChunk.is_type(kind):
            await self._synthesize_piece(requests.parse(event, requests.Piece).text)
        elif SynthesizeStop.is_type(kind):
            await self._synthesize_rest()

    # --- speech to text

    async def _hear(self, sound: requests.Sound, payload: bytes | None) -> None:
        if self._conversation is not None:
            await self._conversation[0].take(sound, payload)
            return
        services = self._services
        if self._utterance is None:
            self._utterance = Utterance(services.ears, *await services.ears.lend(), services.settings.audio_s)
        await self._tell(await self._utterance.hear(sound, payload))
        if len(settled := self._utterance.settled) > len(self._sent):
            await self._stream(settled)

    async def _heard(self) -> None:
        if self._conversation is not None:
            await self._conversation[0].end()
            return
        if self._utterance is None:  # no sound at all came in between
            self._utterance = Utterance(
                self._services.ears, *await self._services.ears.lend(), self._services.settings.audio_s
            )
        utterance = self._utterance
        await self._tell(await utterance.finish())
        text = utterance.text
        utterance.close()
        await self._stream(text)
        await self._wire.send(Transcript(text, language=self._services.config.language))
        await self._wire.send(TranscriptStop())
        self._utterance, self._begun, self._sent = None, False, ""

    async def _stream(self, text: str) -> None:
        """Send what is new of the transcript, of which `text` is the part that stays."""
        if not self._begun:
            self._begun = True
            await self._wire.send(TranscriptStart(language=self._services.config.language))
        if new := text[len(self._sent) :]:
            self._sent = text
            await self._wire.send(TranscriptChunk(new))

    async def _tell(self, edges: list[Emit]) -> None:
        for edge in edges:
            time = milliseconds(edge.t)
            await self._wire.send(VoiceStarted(time) if isinstance(edge.data, SpeechStarted) else VoiceStopped(time))

    # --- text to answer

    async def _asked(self, asked: requests.Sentence) -> None:
        """A text has come: it is answered while the next event is read, which may be a word to stop this one."""
        services = self._services
        requests.check_language(asked.language, services.config.language)
        text = requests.check_text(asked.text, services.settings.text_chars)
        stops = services.dialogues.stops(text)
        if self._stopping or not stops:
            await self._answered()
        self._stopping = stops
        self._answers = self._group.create_task(self._answer(asked, text, self._answers), name="answer")
        await asyncio.sleep(0)  # it has begun: a stop word has acted

    async def _answered(self) -> None:
        """Wait until every text that came has been answered."""
        if self._answers is not None:
            await asyncio.wait([self._answers])

    async def _answer(self, asked: requests.Sentence, text: str, before: asyncio.Task[None] | None) -> None:
        name = f"dialogue {asked.dialogue}" if asked.dialogue else self._name
        answer = await self._services.dialogues.answer(name, text)
        if before is not None and not before.done():
            await asyncio.wait([before])  # answers go out in the order of their texts
        kind = Handled if answer.handled else NotHandled
        await self._wire.send(kind(answer.text, asked.context))

    # --- text to speech

    def _voice(self, asked: requests.Speech) -> str:
        if asked.text_format not in (None, "text"):
            raise Refusal("text", f"text of the format {asked.text_format!r} cannot be spoken, only plain text")
        return self._services.voices.choose(asked.voice)

    async def _synthesize(self, asked: requests.Speech) -> None:
        voice = self._voice(asked)
        text = requests.check_text(asked.text, self._services.settings.text_chars)
        await self._speak(text, voice)
        await self._silence()

    async def _synthesize_piece(self, text: str) -> None:
        if self._speaking is None:
            raise Refusal("protocol", "synthesize-chunk without synthesize-start before it")
        voice, sentences = self._speaking
        whole = sentences.add(text)
        if sentences.chars > self._services.settings.text_chars:
            raise Refusal("text", f"the text has over {self._services.settings.text_chars} characters")
        for sentence in whole:
            await self._speak(sentence, voice)

    async def _synthesize_rest(self) -> None:
        if self._speaking is None:
            raise Refusal("protocol", "synthesize-stop without synthesize-start before it")
        voice, sentences = self._speaking
        for sentence in sentences.finish():
            await self._speak(sentence, voice)
        await self._silence()
        await self._wire.send(SynthesizeStopped())
        self._speaking = None

    async def _speak(self, text: str, voice: str) -> None:
        """The sound of `text`; the first of several opens the stream, `_silence` closes it."""
        async with aclosing(self._services.voices.speak(text, voice)) as pieces:
            async for samples, rate in pieces:
                if not self._sounding:
                    self._sounding, self._rate, self._spoken = True, rate, 0
                    await self._wire.send(AudioStart(rate, 2, 1, 0))
                time = self._spoken * 1000 // rate
                self._spoken += len(samples)
                await self._wire.send(AudioChunk(rate, 2, 1, samples.astype("<i2").tobytes(), time))

    async def _silence(self) -> None:
        if not self._sounding:  # nothing to say: an empty stream is an answer, too
            self._rate, self._spoken = 22050, 0
            await self._wire.send(AudioStart(self._rate, 2, 1, 0))
        self._sounding = False
        await self._wire.send(AudioStop(self._spoken * 1000 // self._rate))

    # --- a whole conversation

    async def _converse(self, asked: requests.Pipeline) -> None:
        if (asked.start_stage, asked.end_stage) != ("asr", "tts"):
            raise Refusal(
                "pipeline", f"a pipeline goes from asr to tts here, not {asked.start_stage} to {asked.end_stage}"
            )
        if self._conversation is not None:
            microphone, task = self._conversation
            if not microphone.ended:
                raise Refusal("pipeline", "a conversation is being held on this connection: send audio-stop before")
            await asyncio.wait([task])  # what is being said is said to its end
        if self._services.conversations.locked():
            raise Busy("as many conversations as may be are being held")
        await self._services.conversations.acquire()
        microphone = Microphone()
        task = self._group.create_task(self._session(microphone), name="conversation")
        self._conversation = microphone, task
        await asyncio.sleep(0)  # it has begun, and gives back what it has taken

    async def _session(self, microphone: Microphone) -> None:
        services = self._services
        try:
            line = Line(self._wire, services.config.language)
            worker = Worker(services.clock, "assembly")  # half a second
            try:
                session = await worker.work(0, partial(assemble, services.config, [microphone], taps=[line]))
            finally:
                worker.abandon()
            await session.main()
        finally:
            services.conversations.release()
        self._conversation = None

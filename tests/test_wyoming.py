"""Home Assistant's side of the Wyoming protocol, played by its own client against the real server and real parts."""

import asyncio
import json
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

pytest.importorskip("wyoming")
with warnings.catch_warnings():  # before Python 3.13 it uses a module that is deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import wyoming.audio  # noqa: F401
pytest.importorskip("espeakng_loader")
pytest.importorskip("pocketsphinx")

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.handle import Handled, NotHandled
from wyoming.info import Describe, Info
from wyoming.intent import Recognize
from wyoming.ping import Ping, Pong
from wyoming.pipeline import PipelineStage, RunPipeline
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)
from wyoming.vad import VoiceStarted, VoiceStopped

from agent import registry
from agent.config import Config, load
from agent.wyoming import WyomingConfig, serve
from agent.wyoming.connection import Connection
from agent.wyoming.conversation import Microphone
from agent.wyoming.dialogue import Dialogue
from agent.wyoming.errors import AddressError
from agent.wyoming.frames import DATA, PAYLOAD
from agent.wyoming.requests import Sound
from agent.wyoming.speaking import Sentences
from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.decode import Decoder
from streams.audio.resample import Resampler
from streams.bus import Bus
from streams.clock import SECOND, Clock, run
from streams.topics import AUDIO
from streams.types import Action, Audio, Halt, Samples
from tests.model_files import model_file

PATIENCE_S = 20.0


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("VISAVIS_MODELS", str(model_file("silero-vad").parent))
    return load(None, ["turn_end.engine=none"])


def spoken(text: str, rate: int = 16_000, quiet_ms: int = 300) -> Samples:
    """`text` said slowly, with quiet around it."""
    voice = EspeakVoice(Espeak(language="en-us", rate_wpm=150))  # variants ("+f2") differ from process to process
    sound = np.concatenate([chunk.samples for chunk in voice.speak(text)])
    voice.close()
    resampler = Resampler(voice.rate, rate)
    sound = np.concatenate([resampler.push(sound), resampler.finish()])
    quiet = np.random.default_rng(7).normal(0, 16, rate * quiet_ms // 1000).astype(np.int16)
    return np.concatenate([quiet, sound // 2, quiet])


class Client(AsyncTcpClient):
    """The official client, with a bound on every wait."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S)

    async def tell(self, *events: Eventable) -> None:
        for event in events:
            await self.write_event(event.event())

    async def until(self, *kinds: type[Eventable]) -> list[Event]:
        """What comes, up to the first event of one of `kinds`."""
        events: list[Event] = []
        while not events or not any(kind.is_type(events[-1].type) for kind in kinds):
            event = await self.read_event()
            assert event is not None, f"the connection ended after {[(each.type, each.data) for each in events]}"
            events.append(event)
        return events

    async def transcribe(self, sound: Samples, rate: int = 16_000, chunk: int = 1024) -> list[Event]:
        """As Home Assistant does it."""
        await self.tell(Transcribe(language="en"), AudioStart(rate, 2, 1))
        for begin in range(0, len(sound), chunk):
            await self.tell(AudioChunk(rate, 2, 1, sound[begin : begin + chunk].tobytes()))
        await self.tell(AudioStop())
        return await self.until(TranscriptStop)

    async def error(self) -> Error:
        """What comes is an error, and then the end of the connection."""
        error = Error.from_event((await self.until(Error))[-1])
        assert await self.read_event() is None
        return error


@asynccontextmanager
async def served(config: Config, **settings: Any) -> AsyncIterator[int]:
    """The port of a running server."""
    async with asyncio.TaskGroup() as group:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        server = group.create_task(
            serve(
                config,
                "tcp://127.0.0.1:0",
                lambda uri: port.set_result(int(uri.rpartition(":")[2])),
                WyomingConfig(**settings),
            )
        )
        await asyncio.wait([server, port], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        try:
            yield await port
        finally:
            server.cancel()


def on(config: Config, scene: Callable[[int], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Play `scene` with a server of its own."""

    async def main() -> None:
        async with served(config, **settings) as port:
            await scene(port)

    run(main())


def of(events: list[Event], kind: Any) -> list[Any]:
    return [kind.from_event(event) for event in events if kind.is_type(event.type)]


def pcm(events: list[Event]) -> tuple[Samples, int]:
    """The sound of a stretch, which must be one whole stream in order."""
    kinds = [event.type for event in events if event.type.startswith("audio-")]
    assert kinds[0] == "audio-start" and kinds[-1] == "audio-stop" and set(kinds[1:-1]) <= {"audio-chunk"}
    chunks = of(events, AudioChunk)
    times = [chunk.timestamp for chunk in chunks]
    assert times == sorted(times)
    [start] = of(events, AudioStart)
    return np.frombuffer(b"".join(chunk.audio for chunk in chunks), np.int16), start.rate


def test_a_conversation_as_home_assistant_holds_it(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:  # one connection for each request, as there
            events = await client.transcribe(spoken("what is two plus two"))
        assert [each.text for each in of(events, Transcript)] == ["what is two plus two"]
        assert len(of(events, VoiceStarted)) == len(of(events, VoiceStopped)) == 1
        text = of(events, Transcript)[0].text
        context = {"conversation_id": "01HX", "device_id": "kitchen"}
        async with Client(port) as client:
            await client.tell(Transcript(text, context=context, language="en"))
            [handled] = of(await client.until(Handled, NotHandled), Handled)
        assert handled.text == "Two plus two is four." and handled.context == context
        async with Client(port) as client:
            await client.tell(Synthesize(handled.text))
            sound, rate = pcm(await client.until(AudioStop))
        assert rate == 22050 and 1.0 < len(sound) / rate < 4.0 and np.abs(sound).max() > 3000
        async with Client(port) as client:  # the next sentence of the same conversation knows the last
            await client.tell(Recognize("what did you just say", context=context))
            [handled] = of(await client.until(Handled, NotHandled), Handled)
        assert "four" in handled.text

    on(config, scene)


def test_what_is_served(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:
            await client.tell(Describe(), Ping("hello"))
            info = Info.from_event((await client.until(Info))[-1])
            [pong] = of(await client.until(Pong), Pong)
        assert pong.text == "hello"
        [asr], [tts], [handle] = info.asr, info.tts, info.handle
        assert asr.installed and asr.models[0].languages == ["en"] and asr.models[0].version
        assert asr.models[0].attribution.url.startswith("https://")
        assert asr.supports_transcript_streaming and tts.supports_synthesize_streaming
        assert tts.voices[0].name == "en-us" and "en-us" in tts.voices[0].languages
        assert len(tts.voices) > 100 and len({voice.name for voice in tts.voices}) == len(tts.voices)
        assert not info.intent and not handle.supports_home_control and handle.models[0].languages == ["en"]

    on(config, scene)


FORMATS = ((44_100, 2, 2), (8000, 1, 1), (48_000, 4, 1), (22_050, 3, 3))


def encoded(sound: Samples, width: int, channels: int) -> bytes:
    wide = np.repeat(sound[:, None], channels, axis=1).astype(np.int64)
    if width == 1:
        return ((wide >> 8) + 128).astype(np.uint8).tobytes()
    whole = (wide << 8 * (width - 2)).astype("<i8")
    return whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()


def test_sound_of_any_format(config: Config) -> None:
    async def scene(port: int) -> None:
        for rate, width, channels in FORMATS:
            sound = spoken("thank you", rate)
            data = encoded(sound, width, channels)
            mono = Sound(rate, width, channels).mono(data).astype(int)
            assert np.abs(mono - sound).max() <= (256 if width == 1 else 0)
            async with Client(port) as client:
                size = rate // 10 * width * channels
                for begin in range(0, len(data), size):
                    await client.tell(AudioChunk(rate, width, channels, data[begin : begin + size]))
                await client.tell(AudioStop())
                assert [each.text for each in of(await client.until(TranscriptStop), Transcript)] == ["thank you"]

    on(config, scene)


def test_real_speech_that_is_no_sentence_and_silence_come_to_nothing(config: Config, shared_data: Any) -> None:
    decoder = Decoder(shared_data / "speech" / "sense-0880.wav", 16_000, None)
    sound = decoder.read(16_000 * 10)
    decoder.close()

    async def scene(port: int) -> None:
        async with Client(port) as client:
            events = await client.transcribe(sound)
            assert of(events, VoiceStarted) and [each.text for each in of(events, Transcript)] == [""]
            events = await client.transcribe(np.zeros(8000, np.int16))  # the same connection, a new stream
            assert not of(events, VoiceStarted) and [each.text for each in of(events, Transcript)] == [""]
            await client.tell(AudioStart(16_000, 2, 1), AudioStop())
            assert [each.text for each in of(await client.until(TranscriptStop), Transcript)] == [""]

    on(config, scene)


def test_a_real_command(config: Config, shared_data: Any) -> None:
    raw = np.fromfile(shared_data / "commands" / "goforward.raw", "<i2")

    async def scene(port: int) -> None:
        async with Client(port) as client:
            [transcript] = of(await client.transcribe(raw), Transcript)
            await client.tell(transcript)
            answer = (await client.until(Handled, NotHandled))[-1]
        assert transcript.text == "go forward ten meters"
        assert Handled.is_type(answer.type) and "ten" in answer.data["text"]

    on(config, scene)


def test_a_transcript_in_pieces_never_takes_a_word_back(config: Config) -> None:
    pause = np.zeros(16_000 * 5 // 2, np.int16)
    sound = np.concatenate([spoken("thank you"), pause, spoken("what time is it")])

    async def scene(port: int) -> None:
        async with Client(port) as client:
            for _ in range(2):  # the second time with the ear of the first
                events = await client.transcribe(sound, chunk=320)
                kinds = [event.type for event in events]
                pieces = [each.text for each in of(events, TranscriptChunk)]
                [whole] = of(events, Transcript)
                assert pieces == ["thank you", " what time is it"] and "".join(pieces) == whole.text
                last_stop = len(kinds) - kinds[::-1].index("voice-stopped")
                assert kinds.index("transcript-chunk") < last_stop - 1, "the first came while the second was spoken"
                assert len(of(events, TranscriptStart)) == 1 and kinds[-2:] == ["transcript", "transcript-stop"]

    on(config, scene)


def test_text_in_pieces_is_spoken_sentence_by_sentence_in_one_stream(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:
            await client.tell(SynthesizeStart(), SynthesizeChunk("Hello the"), SynthesizeChunk("re. How are "))
            first = await client.until(AudioChunk)  # before the text is whole
            await client.tell(SynthesizeChunk("you"), Synthesize("Hello there. How are you"), SynthesizeStop())
            events = [*first, *await client.until(SynthesizeStopped)]
            sound, rate = pcm(events)
            await client.tell(Synthesize("Hello there. How are you"))
            whole, _ = pcm(await client.until(AudioStop))
        assert 0.8 < len(sound) / len(whole) < 1.3 and rate == 22050
        async with Client(port) as client:
            await client.tell(SynthesizeStart(), SynthesizeStop())
            assert not len(pcm(await client.until(SynthesizeStopped))[0])

    on(config, scene)


def test_another_voice(config: Config) -> None:
    async def scene(port: int) -> None:
        sounds = []
        for voice in (
            None,
            SynthesizeVoice(name="de"),
            SynthesizeVoice(language="de-AT"),
            SynthesizeVoice(name="de+f3"),
        ):
            async with Client(port) as client:
                await client.tell(Synthesize("guten Morgen", voice=voice))
                sounds.append(pcm(await client.until(AudioStop))[0].tobytes())
        assert sounds[1] == sounds[2] and len(set(sounds)) == 3
        for voice in (
            SynthesizeVoice(name="klingon"),
            SynthesizeVoice(language="xx"),
            SynthesizeVoice(name="de+../f3"),
        ):
            async with Client(port) as client:
                await client.tell(Synthesize("nuqneH", voice=voice))
                error = await client.error()
                assert error.code == "voice" and "there is no voice" in error.text

    on(config, scene)


def test_what_cannot_be_done_is_refused_aloud(config: Config) -> None:
    still = load(None, ["turn_end.engine=none", "body.motion=none"])

    async def say(port: int, *texts: str) -> list[tuple[str, str]]:
        answers = []
        async with Client(port) as client:
            for text in texts:
                await client.tell(Transcript(text))
                answer = (await client.until(Handled, NotHandled))[-1]
                answers.append((answer.type, answer.data["text"]))
        return answers

    async def scene(port: int) -> None:
        moved, timer, nonsense, stop = await say(
            port, "go forward two meters", "set a timer for five minutes", "colourless green ideas", "stop"
        )
        assert moved == ("handled", "Going forward two metres.") and stop == ("handled", "All right.")
        assert timer == ("not-handled", "I cannot do that here.")
        assert nonsense == ("not-handled", "Sorry, I did not catch that.")

    async def unmoved(port: int) -> None:
        [moved] = await say(port, "go forward two meters")
        assert moved[0] == "not-handled" and "no robot is attached" in moved[1] and "Going" not in moved[1]

    on(config, scene)
    on(still, unmoved)


def test_conversations_are_kept_apart_and_forgotten(config: Config) -> None:
    async def said(port: int, text: str, name: str) -> str:
        async with Client(port) as client:
            await client.tell(Transcript(text, context={"conversation_id": name}))
            return str((await client.until(Handled, NotHandled))[-1].data["text"])

    async def scene(port: int) -> None:
        await said(port, "what is two plus two", "a")
        assert "four" not in await said(port, "what did you just say", "b")
        assert "four" in await said(port, "what did you just say", "a")
        await said(port, "hello", "c")  # two are remembered, and b is the oldest
        assert "four" in await said(port, "what did you just say", "a")

    on(config, scene, dialogues=2)


def test_two_clients_at_once_and_no_more_than_there_is_room_for(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as one, Client(port) as two:
            sounds = spoken("thank you"), spoken("what time is it")
            for begin in range(0, max(map(len, sounds)), 1600):
                for client, sound in zip((one, two), sounds, strict=True):
                    await client.tell(AudioChunk(16_000, 2, 1, sound[begin : begin + 1600].tobytes()))
            await one.tell(AudioStop())
            await two.tell(AudioStop())
            texts = [of(await client.until(TranscriptStop), Transcript)[0].text for client in (one, two)]
            assert texts == ["thank you", "what time is it"]
            await one.tell(Synthesize("one two three four five"))
            await two.tell(Synthesize("five four three two one"))
            first, second = pcm(await one.until(AudioStop))[0], pcm(await two.until(AudioStop))[0]
            assert len(first) and len(second) and first.tobytes() != second.tobytes()
            await one.tell(AudioChunk(16_000, 2, 1, bytes(3200)))
            await two.tell(AudioChunk(16_000, 2, 1, bytes(3200)))
            await one.tell(Ping())
            await two.tell(Ping())
            await one.until(Pong)
            await two.until(Pong)
            async with Client(port) as third:
                await third.tell(AudioChunk(16_000, 2, 1, bytes(3200)))
                assert (await third.error()).code == "busy"
            async with Client(port) as third, Client(port) as fourth:
                await third.tell(Ping())
                await third.until(Pong)
                assert (await fourth.error()).code == "busy"

    on(config, scene, ears=2, connections=3)


async def freed(port: int) -> str:
    """Wait until voice, conversation and ear are free again, which the server must notice; what the ear hears then."""
    kinds: list[str] = []
    for _ in range(100):
        async with Client(port) as client:
            await client.tell(Synthesize("still here"))
            kinds = [(await client.until(AudioStop, Error))[-1].type]
        async with Client(port) as client:
            await client.tell(RunPipeline(PipelineStage.ASR, PipelineStage.TTS), AudioStop(), Ping())
            kinds.append((await client.until(Pong, Error))[-1].type)
        async with Client(port) as client:
            await client.tell(AudioChunk(16_000, 2, 1, spoken("thank you").tobytes()), AudioStop())
            last = (await client.until(Transcript, Error))[-1]
            kinds.append(last.type)
        if "error" not in kinds:
            return Transcript.from_event(last).text
        await asyncio.sleep(0.1)
    raise AssertionError(f"what the vanished clients held was never given back: {kinds}")


def test_a_client_that_goes_away_costs_nothing(config: Config) -> None:
    async def scene(port: int) -> None:
        for _ in range(2):  # with one ear and one voice: what a vanished client held is free again
            async with Client(port) as client:
                await client.tell(
                    AudioStart(16_000, 2, 1), AudioChunk(16_000, 2, 1, spoken("what time")[:9000].tobytes())
                )
            async with Client(port) as client:
                await client.tell(Synthesize("one two three. " * 600))
                await client.until(AudioChunk)
            async with Client(port) as client:
                assert client._writer is not None
                client._writer.write(b'{"type": "audio-chunk", "payload_length": 5000}\nhalf')
            async with Client(port) as client:
                await client.tell(
                    RunPipeline(PipelineStage.ASR, PipelineStage.TTS), AudioChunk(16_000, 2, 1, bytes(640))
                )
            assert await freed(port) == "thank you"

    on(config, scene, ears=1, voices=1, conversations=1)


def test_a_client_that_does_not_listen_is_dropped(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as deaf:
            await deaf.tell(Synthesize("one two three. " * 600))
            async with Client(port) as client:
                for _ in range(100):
                    await client.tell(Ping())
                    await client.until(Pong)
                    async with Client(port) as other:
                        await other.tell(Synthesize("hello"))
                        last = (await other.until(AudioStop, Error))[-1]
                    if AudioStop.is_type(last.type):
                        return
                    await asyncio.sleep(0.1)
        raise AssertionError("the voice was never given back")

    on(config, scene, voices=1, write_s=0.5)


BROKEN = {
    "no JSON": (b"GET / HTTP/1.1\r\n\r\n", "no event"),
    "no object": (b"[1, 2]\n", "no event"),
    "no type": (b'{"data": {}}\n', "type"),
    "not UTF-8": (b'{"type": "\xff\xfe"}\n', "no event"),
    "a line without end": (b"x" * 200_000, "longer than"),
    "data too long": (b'{"type": "describe", "data_length": %d}\n' % (DATA + 1), "data_length"),
    "payload too long": (b'{"type": "audio-chunk", "payload_length": %d}\n' % (PAYLOAD + 1), "payload_length"),
    "a negative length": (b'{"type": "audio-chunk", "payload_length": -5}\n', "payload_length"),
    "data that is no object": (b'{"type": "ping", "data_length": 2}\n[]', "JSON object"),
    "no format": (b'{"type": "audio-chunk", "payload_length": 2}\n..', "rate"),
    "a wrong rate": (
        json.dumps({"type": "audio-start", "data": {"rate": 0, "width": 2, "channels": 1}}).encode(),
        ">=",
    ),
    "a wrong type": (json.dumps({"type": "transcript", "data": {"text": 5}}).encode(), "text"),
    "half a sample": (
        b'{"type":"audio-chunk","data":{"rate":16000,"width":2,"channels":2},"payload_length":3}\n123',
        "whole samples",
    ),
    "a chunk of nothing": (b'{"type": "synthesize-chunk", "data": {"text": "x"}}', "before it"),
    "another language": (b'{"type": "transcribe", "data": {"language": "de"}}', "'de'"),
    "markup": (b'{"type": "synthesize", "data": {"text": "<s/>", "text_format": "ssml"}}', "plain text"),
    "a line too deep": (b'{"type": "ping", "data": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}", "no event"),
    "data too deep": (
        b'{"type": "ping", "data_length": 200006}\n{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "JSON object",
    ),
    "a long text": (json.dumps({"type": "transcript", "data": {"text": "x" * 20_000}}).encode(), "at most"),
    "half a pipeline": (b'{"type": "run-pipeline", "data": {"start_stage": "wake", "end_stage": "tts"}}', "wake"),
}


def test_broken_input_is_told_and_ends_that_connection_only(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as bystander:
            for name, (data, told) in BROKEN.items():
                async with Client(port) as client:
                    assert client._writer is not None
                    client._writer.write(data if data.endswith((b"\n", b"x", b".", b"]", b"3")) else data + b"\n")
                    assert told in (await client.error()).text, name
            await bystander.tell(Ping("well"))
            await bystander.write_event(
                Event("never-heard-of", {"a": 1}, b"payload")
            )  # passed over, as the protocol asks
            await bystander.tell(Ping("still well"))
            assert [of(await bystander.until(Pong), Pong)[0].text for _ in range(2)] == ["well", "still well"]

    on(config, scene)


def test_a_bug_that_one_client_finds_is_told_and_ends_that_client_only(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Connection):
        async def _take(self, event: Event) -> None:
            if Describe.is_type(event.type):
                raise ZeroDivisionError("a bug")
            await super()._take(event)

    async def run(self: Dialogue) -> None:
        raise ZeroDivisionError("another bug")

    monkeypatch.setattr("agent.wyoming.server.Connection", Broken)
    told: list[dict[str, Any]] = []

    async def scene(port: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with Client(port) as bystander:
            async with Client(port) as client:
                await client.tell(Describe())
                assert await client.read_event() is None
            with monkeypatch.context() as broken:
                broken.setattr(Dialogue, "run", run)
                async with Client(port) as client:
                    await client.tell(Transcript("hello", context={"conversation_id": "a"}))
                    assert (await client.error()).code == "timeout"
            async with Client(port) as client:  # the broken one is not asked again
                await client.tell(Transcript("hello", context={"conversation_id": "a"}))
                await client.until(Handled)
            await bystander.tell(Ping("well"))
            await bystander.until(Pong)

    on(config, scene, answer_s=1.0)
    assert ["a client" in each["message"] for each in told] == [True, False]
    assert all("bug" in each["message"] for each in told)
    assert [repr(each["exception"]) for each in told][1] == "ZeroDivisionError('another bug')"
    assert told[0]["exception"].exceptions[0].args == ("a bug",)


@pytest.mark.parametrize("apart", [False, True])
def test_a_stop_word_waits_for_nobody(config: Config, monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    """While a tool is slow; on the same connection, or as Home Assistant comes, on another."""
    begun = asyncio.Event()

    async def set_timer(seconds: float, label: str = "") -> None:
        begun.set()
        await asyncio.sleep(600)

    monkeypatch.setattr(registry, "installed", lambda kind: {"set_timer": set_timer} if kind == "tools" else {})
    halts: list[Action] = []
    act = Dialogue._act

    def watched(self: Dialogue, action: Action) -> None:
        halts.extend([action] if isinstance(action, Halt) else [])
        act(self, action)

    monkeypatch.setattr(Dialogue, "_act", watched)
    context = {"conversation_id": "kitchen"}

    async def scene(port: int) -> None:
        loop = asyncio.get_running_loop()
        async with Client(port) as one, Client(port) as two:
            await one.tell(Transcript("set a timer for five minutes", context=context))
            await begun.wait()
            if apart:
                await two.tell(Transcript("hello", context=context))
                assert (await two.error()).code == "busy"
            before = loop.time()
            async with Client(port) as three:
                stopping = three if apart else one
                await stopping.tell(Transcript("stop", context=context))
                cut = (await one.until(Handled, NotHandled))[-1]
                stopped = (await stopping.until(Handled, NotHandled))[-1]
            assert loop.time() - before < 5.0 and halts
            assert (cut.type, cut.data["text"]) == ("not-handled", "That was stopped.")
            assert (stopped.type, stopped.data["text"]) == ("handled", "All right.")
            await one.tell(Transcript("what is two plus two", context=context))
            assert (await one.until(Handled))[-1].data["text"] == "Two plus two is four."

    on(config, scene, answer_s=60.0)


def test_texts_sent_at_once_are_answered_in_order(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:
            asked = ["what is two plus two", "stop", "stop", "what is three plus three", "stop"]
            await client.tell(*(Transcript(text, context={"n": n}) for n, text in enumerate(asked)), Ping())
            answers = [each for each in await client.until(Pong) if not Pong.is_type(each.type)]
        assert [each.data["context"]["n"] for each in answers] == list(range(5))

    on(config, scene)


def test_no_canceller_where_nobody_says_what_is_played(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:
            events = await client.transcribe(spoken("thank you"))
        assert [each.text for each in of(events, Transcript)] == ["thank you"]

    echoing = replace(config, echo=replace(config.echo, engine="livekit"))
    made: list[str] = []
    with pytest.MonkeyPatch.context() as watch:
        watch.setattr("agent.assembly.echo_canceller", lambda settings: made.append(settings.engine))
        on(echoing, scene)
    assert set(made) == {"none"}


def heard(
    play: Callable[[Microphone, Clock], Coroutine[Any, Any, None]], *, more_s: float = 0.0
) -> list[tuple[int, Audio]]:
    """What a session hears of `play` on the virtual clock, up to `more_s` after it: (session time in ns, sound)."""
    blocks: list[tuple[int, Audio]] = []

    async def main() -> None:
        clock = Clock()
        bus, microphone = Bus(clock), Microphone()
        with bus.open(AUDIO, reader="test") as lane:

            async def listen() -> None:
                async for packet in lane:
                    assert packet.t <= packet.at
                    blocks.append((packet.at, packet.data))

            async with asyncio.TaskGroup() as group:
                listening = group.create_task(listen())
                running = group.create_task(microphone.run(bus, clock))
                await asyncio.sleep(0)
                await play(microphone, clock)
                if microphone.ended:
                    await running
                await clock.sleep_until(clock.now() + round(more_s * SECOND))
                running.cancel()
                listening.cancel()

    run(main(), virtual=True)
    ends = [audio.start + len(audio.samples) for _, audio in blocks]
    assert [audio.start for _, audio in blocks][1:] == ends[:-1], "no gap"
    return blocks


def ramp(samples: int) -> Samples:
    return (1000 + np.arange(samples) % 30_000).astype(np.int16)  # no two of a stretch alike, none quiet


async def send(microphone: Microphone, clock: Clock, sound: Samples, *, chunk: int, rate: int = 16_000) -> None:
    """In real time, a chunk when its last sample has been spoken."""
    zero = clock.now()
    for begin in range(0, len(sound), chunk):
        piece = sound[begin : begin + chunk]
        await clock.sleep_until(zero + (begin + len(piece)) * SECOND // rate)
        await microphone.take(Sound(rate, 2, 1), piece.tobytes())


@pytest.mark.parametrize("chunk", [160, 1024, 16_000])
def test_sound_goes_on_where_the_client_stops_sending(chunk: int) -> None:
    sound = ramp(20_000)

    async def play(microphone: Microphone, clock: Clock) -> None:
        await send(microphone, clock, sound, chunk=chunk)
        await clock.sleep_until(clock.now() + 10 * SECOND)
        await send(microphone, clock, sound, chunk=chunk)

    blocks = heard(play, more_s=20.0)
    played = np.concatenate([audio.samples for _, audio in blocks])
    assert np.array_equal(played[played != 0], np.concatenate([sound, sound])), "whole, once, and in order"
    first, again = (int(place) for place in np.flatnonzero(played == sound[0]))
    slack = 320 + (chunk if chunk > 1024 else 0)  # a length that is not known yet
    assert first <= slack + chunk and abs(again - first - 20_000 - 160_000) <= slack
    times = [at for at, _ in blocks]
    assert max(after - before for before, after in pairwise(times)) < 2 * SECOND
    assert 20_000 * 2 + 30 * 16_000 - len(played) < 2 * 16_000, "at the pace of the clock"


def test_a_network_that_stalls_loses_nothing_and_the_delay_is_made_up_for_in_quiet() -> None:
    sound = ramp(16_000)

    async def play(microphone: Microphone, clock: Clock) -> None:
        await send(microphone, clock, sound, chunk=320)
        await clock.sleep_until(clock.now() + 2 * SECOND)
        for begin in range(0, 32_000, 320):  # what was held up comes at once
            await microphone.take(Sound(16_000, 2, 1), ramp(32_000)[begin : begin + 320].tobytes())
        await send(microphone, clock, np.full(6 * 16_000, 1, np.int16), chunk=320)
        await send(microphone, clock, sound, chunk=320)

    blocks = heard(play, more_s=5.0)
    played = np.concatenate([audio.samples for _, audio in blocks])
    assert np.array_equal(played[played > 1], np.concatenate([sound, ramp(32_000), sound]))
    last = int(np.flatnonzero(played == sound[-1])[-1])
    assert last <= 10 * 16_000 + 3200, "no later than it was spoken, but for a tenth of a second or two"


@pytest.mark.parametrize("rate", [16_000, 8000, 44_100])
def test_what_came_is_heard_to_its_last_sample(rate: int) -> None:
    sound = ramp(rate * 3 // 2 + 77)

    async def play(microphone: Microphone, clock: Clock) -> None:
        await microphone.take(Sound(rate, 2, 1), sound[:100].tobytes())
        await microphone.take(Sound(rate, 2, 1), sound[100:].tobytes())  # at once: it is taken in real time
        await microphone.end()
        await microphone.take(Sound(rate, 2, 1), sound.tobytes())  # after the end: nothing

    blocks = heard(play)
    played = np.concatenate([audio.samples for _, audio in blocks])
    assert len(played) == round(len(sound) * 16_000 / rate)
    assert blocks[-1][0] == pytest.approx(len(sound) / rate * SECOND, abs=0.02 * SECOND)
    if rate == 16_000:
        assert np.array_equal(played, sound)


def test_a_client_that_is_ahead_waits() -> None:
    async def play(microphone: Microphone, clock: Clock) -> None:
        for _ in range(20):
            await microphone.take(Sound(16_000, 2, 1), ramp(16_000).tobytes())
        assert clock.now() >= 14 * SECOND, "no more than some seconds of it are kept"
        await microphone.end()

    assert sum(len(audio.samples) for _, audio in heard(play)) == 20 * 16_000


def test_too_much_sound_and_too_long_a_silence(config: Config) -> None:
    async def scene(port: int) -> None:
        async with Client(port) as client:
            for _ in range(30):
                await client.tell(AudioChunk(16_000, 2, 1, bytes(3200)))
            assert "longer than 2 s" in (await client.error()).text
        async with Client(port) as client:
            await client.tell(AudioChunk(16_000, 2, 1, bytes(3200)), AudioChunk(8000, 2, 1, bytes(3200)))
            assert (await client.error()).code == "audio"
        async with Client(port) as client:
            assert await client.read_event() is None  # nothing was asked for longer than there is patience

    on(config, scene, audio_s=2.0, idle_s=1.0)


def test_a_whole_spoken_conversation_on_one_connection(config: Config) -> None:
    question, interruption = spoken("what can you do", quiet_ms=500), spoken("what is two plus two")
    loop_s = asyncio.get_running_loop

    async def scene(port: int) -> None:
        async with Client(port) as client, asyncio.TaskGroup() as group:
            sound = [question]
            done = asyncio.Event()

            async def microphone() -> None:
                quiet = np.random.default_rng(3).normal(0, 16, 320).astype(np.int16)
                left = np.zeros(0, np.int16)
                begun, sent = loop_s().time(), 0
                while not done.is_set():
                    left = np.concatenate([left, sound.pop(0)]) if sound else left
                    block, left = (left[:320], left[320:]) if len(left) >= 320 else (quiet, left[:0])
                    await client.tell(AudioChunk(16_000, 2, 1, block.tobytes()))
                    sent += 1
                    await asyncio.sleep(begun + sent * 0.02 - loop_s().time())
                await client.tell(AudioStop())

            await client.tell(RunPipeline(PipelineStage.ASR, PipelineStage.TTS), AudioStart(16_000, 2, 1))
            talking = group.create_task(microphone())
            heard = await client.until(AudioChunk)
            assert [each.text for each in of(heard, Transcript)] == ["what can you do"]
            assert of(heard, VoiceStarted) and of(heard, VoiceStopped) and of(heard, Synthesize)
            begun = loop_s().time()
            await asyncio.sleep(1.0)
            sound.append(interruption)
            answer = [*heard, *await client.until(AudioStop)]
            voice, rate = pcm(answer)
            text = of(answer, Synthesize)[0].text
            assert len(voice) / rate < loop_s().time() - begun + 0.5, "it was sent as it sounds, and cut"
            assert len(voice) / rate < 0.3 * len(text.split()), "it was cut"
            events = await client.until(AudioStop)
            assert [each.text for each in of(events, Transcript)] == ["what is two plus two"]
            assert "four" in of(events, Synthesize)[-1].text
            assert len(pcm(events)[0]) > rate
            done.set()
            await talking
            await client.tell(RunPipeline(PipelineStage.ASR, PipelineStage.TTS))  # and once more
            for block in np.array_split(np.concatenate([spoken("thank you"), np.zeros(16_000, np.int16)]), 50):
                await client.tell(AudioChunk(16_000, 2, 1, block.tobytes()))  # as a file: it is taken in real time
            await client.tell(AudioStop())
            assert of(await client.until(AudioStop), Transcript)[0].text == "thank you"
            await client.tell(Ping("after"))
            await client.until(Pong)

    on(config, scene)


def test_a_satellite_that_sends_nothing_when_nobody_speaks_is_answered(config: Config) -> None:
    async def scene(port: int) -> None:
        sound = spoken("what is two plus two", quiet_ms=200)
        async with Client(port) as client:
            await client.tell(RunPipeline(PipelineStage.ASR, PipelineStage.TTS), AudioStart(16_000, 2, 1))
            for begin in range(0, len(sound), 1024):
                await client.tell(AudioChunk(16_000, 2, 1, sound[begin : begin + 1024].tobytes()))
                await asyncio.sleep(0.064)
            events = await client.until(AudioStop)
        assert [each.text for each in of(events, Transcript)] == ["what is two plus two"]
        assert "four" in of(events, Synthesize)[0].text

    on(config, scene)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(config: Config, number: signal.Signals) -> None:
    arguments = "argparse.Namespace(uri='tcp://127.0.0.1:0', config=None, set=['turn_end.engine=none'])"
    line = f"import argparse, sys; from agent.wyoming import wyoming; sys.exit(wyoming({arguments}))"
    with subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        port = int(process.stdout.readline().decode().rstrip().rpartition(":")[2])

        async def scene() -> None:
            async with Client(port) as client:
                await client.tell(Synthesize("one two three. " * 600))
                await client.until(AudioChunk)
                process.send_signal(number)
                while await client.read_event() is not None:
                    pass

        run(scene())
        assert process.wait(PATIENCE_S) == 128 + number
        assert process.stderr.read() == b""


def test_an_address_that_cannot_be_served(config: Config) -> None:
    async def scene(port: int) -> None:
        for uri in (f"tcp://127.0.0.1:{port}", "udp://127.0.0.1:1", "tcp://127.0.0.1", "tcp://:5", "tcp://x:99999"):
            with pytest.raises(AddressError):
                await serve(config, uri, print)

    on(config, scene)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_sentences_are_cut_wherever_the_pieces_are(size: int) -> None:
    text = 'Well. "Is it 3.5?" he asked: yes!\nThen go… now'
    sentences = Sentences()
    whole = [each for begin in range(0, len(text), size) for each in sentences.add(text[begin : begin + size])]
    whole += sentences.finish()
    assert " ".join(whole).split() == text.split()
    assert len(whole) == 6 and whole[1] == '"Is it 3.5?"'

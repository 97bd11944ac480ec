"""The endpoint on a real port, and what its tests need of a client: the official one, with a voice."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import Config, load
from agent.realtime.app import Endpoint, application
from agent.realtime.limits import RealtimeConfig
from streams.types import Samples

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

TOKEN = "open sesame"
RATE = 24_000
CHUNK = 960
DEAF = ["vad.engine=webrtc", "speech.engine=none", "turn_end.engine=none", "voice.engine=tones"]
"""For clients that only write: nothing is loaded."""


def hearing(*assignments: str) -> Config:
    """A configuration with ears; the turn model is left out, which costs the most."""
    from tests.model_files import model_file

    os.environ["VISAVIS_MODELS"] = str(model_file("silero-vad").parent)
    return load(assignments=["turn_end.engine=none", *assignments])


def deaf(*assignments: str) -> Config:
    """A configuration without ears."""
    return load(assignments=[*DEAF, *assignments])


def sentences(folder: Path) -> str:
    """An assignment that adds two sentences: one calls the function `weather` of the client, one is long to answer."""
    file = folder / "own.toml"
    file.write_text(
        '[lists]\nplace.values = { "paris" = "Paris", "rome" = "Rome" }\n'
        "[intents.weather]\n"
        'sentences = ["how is the weather in {place}"]\n'
        'call = { name = "weather", arguments = { place = "{place}" } }\n'
        "[intents.something]\n"
        'sentences = ["tell me something"]\n'
        'reply = "This is a sentence that goes on for a while, so that somebody can speak over it."\n'
    )
    return f'policy.sentences=["{file}"]'


class Served:
    """A server that runs.  port: where;  url: for the official client;  endpoint: of the route"""

    def __init__(self, port: int, endpoint: Endpoint) -> None:
        self.port, self.endpoint = port, endpoint
        self.url = f"http://127.0.0.1:{port}/v1"

    def client(self, token: str = TOKEN) -> Any:
        return openai.AsyncOpenAI(base_url=self.url, api_key=token, max_retries=0)

    @property
    def socket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"


@asynccontextmanager
async def serving(
    config: Config, limits: RealtimeConfig | None = None, tools: Sequence[Callable[..., object]] = ()
) -> AsyncIterator[Served]:
    """The endpoint on a free port of this machine."""
    app = application(config, TOKEN, limits, tools=tools)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", log_level="error", lifespan="off"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        try:
            yield Served(listener.getsockname()[1], app.state.realtime)
        finally:
            server.should_exit = True
            await running
            listener.close()


@cache
def voice(text: str, lead_s: float = 0.4) -> Samples:
    """`text` said by a person, over a quiet room, at 24 kHz."""
    pytest.importorskip("espeakng_loader")
    from embodied.voices.espeak import Espeak, EspeakVoice
    from streams.audio.resample import Resampler

    speaker = EspeakVoice(Espeak(language="en-us", rate_wpm=150))
    try:
        said = np.concatenate([chunk.samples for chunk in speaker.speak(text)])
    finally:
        speaker.close()
    resampler = Resampler(speaker.rate, RATE)
    said = np.concatenate([resampler.push(said), resampler.finish()])
    quiet = np.zeros(round(lead_s * RATE), np.int16)
    sound = np.concatenate([quiet, said]).astype(np.int32)
    sound += np.random.default_rng(7).normal(0, 16, len(sound)).astype(np.int32)
    return np.clip(sound, -32768, 32767).astype(np.int16)


def encoded(samples: Samples) -> str:
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


async def speak(connection: Any, samples: Samples, chunk: int = CHUNK) -> None:
    """Send `samples` as a live microphone does."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for place in range(0, len(samples), chunk):
        await asyncio.sleep(max(0, begin + (place + chunk) / RATE - loop.time()))
        await connection.input_audio_buffer.append(audio=encoded(samples[place : place + chunk]))


class Ear:
    """Keeps what a connection of the official client sends.  events: in order, with the time of each"""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self.times: list[float] = []

    async def until(self, kind: str, count: int = 1, seconds: float = 20.0) -> Any:
        """The event `kind` that comes as number `count` from now on."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await self.connection.recv()
                    self.events.append(event)
                    self.times.append(asyncio.get_running_loop().time())
                    count -= event.type == kind
                    if not count:
                        return event
        except TimeoutError:
            raise AssertionError(f"no {kind} within {seconds} s; there were {self.kinds()}") from None

    def kinds(self, *, sound: bool = False) -> list[str]:
        """Types of the events, those of deltas of sound left out."""
        return [each.type for each in self.events if sound or not each.type.endswith("audio.delta")]

    def of(self, kind: str) -> list[Any]:
        return [each for each in self.events if each.type == kind]

    def sound(self, item: str) -> Samples:
        """What was heard of item `item`."""
        pieces = [self.decoded(each) for each in self.of("response.output_audio.delta") if each.item_id == item]
        return np.frombuffer(b"".join(pieces), "<i2").astype(np.int16)

    @staticmethod
    def decoded(delta: Any) -> bytes:
        return base64.b64decode(delta.delta)

    def clear(self) -> None:
        self.events.clear()
        self.times.clear()


def text(words: str) -> dict[str, Any]:
    """The item of what a person wrote."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}


async def write(connection: Any, words: str) -> None:
    """Write `words` and ask for an answer."""
    await connection.conversation.item.create(item=text(words))
    await connection.response.create()

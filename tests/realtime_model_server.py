"""A server of the Realtime protocol that does what a test tells it, also what no server should; a session that asks it.

Event names and shapes are those of OpenAI's protocol as generally available.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.conductor import Conductor
from agent.session import Log, Session
from embodied.body import Body
from embodied.speech import SpeechActuator
from embodied.toolbox import Tool, Toolbox
from embodied.voices.scripted import ToneVoice
from embodied.voices.streamed import StreamedSounds
from policies.models.realtime import RealtimeModel
from policies.models.realtime_link import RealtimeLink
from policies.models.realtime_settings import RealtimeModelConfig
from policies.ports import Policy
from policies.realtime import RealtimePolicy
from policies.reflex import Reflex, stop_words
from policies.scripted import Scripted
from policies.turns import TurnTaker
from streams.audio.resample import Resampler
from streams.bus import Lane
from streams.clock import Clock
from streams.devices.speaker import SimulatedSpeaker
from streams.ports import Publisher, Tap
from streams.topics import AUDIO, FEEDBACK, PERCEPT, VOICE, Topic
from streams.types import Audio, Offer, Offered, Outcome, Percept, Played, Samples

server = pytest.importorskip("websockets.asyncio.server")
exceptions = pytest.importorskip("websockets.exceptions")
RATE = 24_000
WORD = RATE // 5
Script = Callable[["Talk"], Awaitable[None]]


class Talk:
    """One `response.create` and what the server makes of it. id: of the response"""

    def __init__(self, model: "ModelServer", socket: Any, create: dict[str, Any], number: int) -> None:
        self.model, self.socket, self.create = model, socket, create
        self.id = f"resp_{number}"
        self.metadata = create.get("response", {}).get("metadata")
        self.playing = True

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, "event_id": "event_x", **fields}))

    async def created(self, id: str = "", metadata: Any = ...) -> None:
        told = self.metadata if metadata is ... else metadata
        self.model.unfinished[id or self.id] = self
        await self.send("response.created", response={"id": id or self.id, "status": "in_progress", "metadata": told})

    async def begin(self, item: str = "", response: str = "") -> None:
        item = item or f"item_{self.id}"
        place = {"response_id": response or self.id, "output_index": 0}
        message = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        await self.send("response.output_item.added", **place, item=message)
        await self.send("response.content_part.added", **place, item_id=item, content_index=0, part={"type": "audio"})

    async def words(self, text: str, response: str = "", gap: float = 0.0) -> None:
        """Words with a tone of 0.2 s each, all at once or one every `gap` seconds."""
        place = {
            "response_id": response or self.id,
            "item_id": f"item_{self.id}",
            "output_index": 0,
            "content_index": 0,
        }
        for word in text.split():
            await self.send("response.output_audio_transcript.delta", **place, delta=f"{word} ")
            await self.send("response.output_audio.delta", **place, delta=sound(WORD))
            await asyncio.sleep(gap)

    async def call(self, name: str, arguments: str, index: int = 0, pieces: int = 1, added: bool = True) -> None:
        item = {"id": f"call_item_{self.id}_{index}", "type": "function_call", "name": name, "call_id": f"c{index}"}
        place = {"response_id": self.id, "output_index": index}
        if added:
            await self.send(
                "response.output_item.added", **place, item={**item, "status": "in_progress", "arguments": ""}
            )
        size = -(-len(arguments) // max(1, pieces))
        for at in range(0, len(arguments) if pieces else 0, size):
            delta = arguments[at : at + size]
            told = {"item_id": item["id"], "call_id": item["call_id"], "delta": delta}
            await self.send("response.function_call_arguments.delta", **place, **told)
        done = {**item, "status": "completed", "arguments": arguments}
        await self.send("response.output_item.done", **place, item=done)

    async def done(self, status: str = "completed", details: Any = None, usage: Any = None, response: str = "") -> None:
        self.model.unfinished.pop(response or self.id, None)
        told = {"id": response or self.id, "status": status, "status_details": details, "output": [], "usage": usage}
        await self.send("response.done", response=told)

    async def error(self, code: str, message: str, event_id: Any = None, type: str = "invalid_request_error") -> None:
        error = {"type": type, "code": code, "message": message, "param": None, "event_id": event_id}
        await self.send("error", error=error)

    async def until(self, kind: str, seconds: float = 5.0) -> dict[str, Any]:
        """The next event of the client of that kind."""
        return await self.model.until(kind, seconds)


def sound(samples: int) -> str:
    wave = np.round(8000 * np.sin(np.arange(samples) * 0.1)).astype("<i2")
    return base64.b64encode(wave.tobytes()).decode()


async def says(talk: Talk, text: str, gap: float = 0.0) -> None:
    """A whole answer."""
    await talk.created()
    await talk.begin()
    await talk.words(text, gap=gap)
    await talk.done(usage={"input_tokens": 12, "output_tokens": 34, "input_token_details": {"cached_tokens": 5}})


def saying(text: str, gap: float = 0.0) -> Script:
    """A script that gives a whole answer."""

    async def script(talk: Talk) -> None:
        await says(talk, text, gap)

    return script


OTHERWISE = saying("Otherwise I say this")


class ModelServer:
    """events: what the clients sent, in order;  scripts: one for each response.create; `otherwise` after the last"""

    def __init__(self, scripts: Sequence[Script], otherwise: Script) -> None:
        self.events: list[dict[str, Any]] = []
        self.scripts = deque(scripts)
        self.otherwise = otherwise
        self.connections = 0
        self.open: set[Any] = set()
        self.unfinished: dict[str, Talk] = {}  # responses that were created and are not done
        self.refuse: tuple[int, str] | None = None  # status and reason, instead of a connection
        self.headers: list[Any] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._looked = 0

    def kinds(self) -> list[str]:
        """Types of the client's events, those of sound left out."""
        return [each["type"] for each in self.events if each["type"] != "input_audio_buffer.append"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["type"] == kind]

    def heard(self) -> Samples:
        """All sound that was appended."""
        parts = [base64.b64decode(each["audio"]) for each in self.of("input_audio_buffer.append")]
        return np.frombuffer(b"".join(parts), "<i2").astype(np.int16)

    async def until(self, kind: str, seconds: float = 5.0) -> dict[str, Any]:
        """The next event of that kind that nobody has waited for."""
        async with asyncio.timeout(seconds):
            while True:
                while self._looked < len(self.events):
                    self._looked += 1
                    if self.events[self._looked - 1]["type"] == kind:
                        return self.events[self._looked - 1]
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, socket: Any) -> None:
        self.connections += 1
        self.open.add(socket)
        self.headers.append(socket.request.headers)
        created = {"type": "session.created", "session": {"type": "realtime", "id": f"sess_{self.connections}"}}
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await socket.send(json.dumps(created))
                    async for message in socket:
                        event = json.loads(message)
                        self.events.append(event)
                        self._changed.set()
                        if event["type"] == "response.create":
                            script = self.scripts.popleft() if self.scripts else self.otherwise
                            talk = Talk(self, socket, event, len(self.of("response.create")))
                            group.create_task(self._play(script, talk))
                        elif event["type"] == "response.cancel":
                            await self._cancel()
                        elif event["type"] == "session.update" and "audio" in event["session"]:
                            await socket.send(json.dumps({"type": "session.updated", "session": event["session"]}))
                except exceptions.ConnectionClosed:
                    pass
        finally:
            self.open.discard(socket)
            self.unfinished.clear()

    async def _play(self, script: Script, talk: Talk) -> None:
        try:
            await script(talk)
        except exceptions.ConnectionClosed:
            pass
        talk.playing = False

    async def _cancel(self) -> None:
        """What no script ends any more ends as the client wishes."""
        for id, talk in list(self.unfinished.items()):
            if not talk.playing:
                await talk.done("cancelled", {"type": "cancelled", "reason": "client_cancelled"}, response=id)

    def gate(self, connection: Any, request: Any) -> Any:
        if self.refuse is None:
            return None
        response = connection.respond(self.refuse[0], self.refuse[1])
        if self.refuse[0] == 429:
            response.headers["Retry-After"] = "1"
        return response


@asynccontextmanager
async def model_server(*scripts: Script, otherwise: Script = OTHERWISE) -> AsyncIterator[ModelServer]:
    """A server on a free port of this machine."""
    model = ModelServer(scripts, otherwise)
    async with server.serve(model.serve, "127.0.0.1", 0, process_request=model.gate, close_timeout=1) as listening:
        model.port = listening.sockets[0].getsockname()[1]
        yield model


# --- a session that asks it


class Hand:
    """A source by which a test writes, speaks and ends."""

    name = "hand"
    writes: tuple[Topic[Any], ...] = (AUDIO, VOICE, PERCEPT)

    def __init__(self, level: int = 3000) -> None:
        self._level = level
        self._ended = asyncio.Event()
        self.bus: Any = None
        self.clock: Any = None
        self.ready = asyncio.Event()

    async def __aenter__(self) -> "Hand":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Publish what the test gives, and 20 ms blocks of a tone in between."""
        self.bus, self.clock = bus, clock
        self.ready.set()
        start = clock.now() * 16 // 1_000_000
        while not self._ended.is_set():
            samples = (self._level * np.sin(np.arange(start, start + 320) * 0.2)).astype(np.int16)
            start += 320
            await clock.sleep_until(start * 1_000_000 // 16)
            bus.publish(AUDIO, start * 1_000_000 // 16, Audio(samples, 16000, start - 320))

    def give(self, percept: Percept, t: int | None = None) -> None:
        self.bus.publish(PERCEPT, self.clock.now() if t is None else t, percept)

    def end(self) -> None:
        self._ended.set()


class SpeakingBody:
    """A body with a voice of tones, a model, and tools. offers: what it says it can do; robot: takes commands"""

    def __init__(self, link: RealtimeLink, tools: Sequence[Tool], offers: Sequence[Offer], robot: Any = None) -> None:
        self.link, self.tools, self.offers, self.robot = link, tools, offers, robot

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        voice = ToneVoice(word_ms=60, gap_ms=20)
        speaker = SimulatedSpeaker(publisher, clock, voice.rate)
        sounds = StreamedSounds(voice.rate, Resampler, virtual=clock.virtual)
        speech = SpeechActuator(voice, speaker, publisher, clock, sound=sounds)
        model = RealtimeModel(self.link, publisher, clock, sounds)
        actuators: list[Any] = [speech, model, Toolbox(self.tools, clock)]
        if self.robot is not None:
            actuators.append(self.robot)
        body = Body(actuators)
        async with speaker.device():
            if self.offers:
                publisher.publish(FEEDBACK, clock.now(), Offered("toolbox", tuple(self.offers)))
            try:
                await body.run(lane, publisher, clock)
            finally:
                await body.aclose()


QUICK = RealtimeModelConfig(
    connect_ms=1000, first_ms=700, between_ms=500, settle_ms=400, whole_ms=20_000, backoff_ms=50, result_ms=1500
)


class Asking:
    """A session under way. hand: the person;  log: what happened;  link: to the server"""

    def __init__(self, session: Session, hand: Hand, log: Log, link: RealtimeLink) -> None:
        self.session, self.hand, self.log, self.link = session, hand, log, link

    async def until(self, wanted: Callable[[Any], bool], seconds: float = 8.0) -> Any:
        """The first payload so far, or to come, that is wanted."""
        async with asyncio.timeout(seconds):
            while True:
                for packet in self.log.packets:
                    if wanted(packet.data):
                        return packet.data
                await asyncio.sleep(0.01)

    async def outcome(self, action: str = "Ask", count: int = 1, seconds: float = 8.0) -> Outcome:
        """Outcome number `count` of such an action."""

        def enough(_: Any) -> bool:
            return len(self.outcomes(action)) >= count

        await self.until(enough, seconds)
        return self.outcomes(action)[count - 1]

    def outcomes(self, action: str) -> list[Outcome]:
        return [each for each in self.log.of(Outcome) if each.action == action]

    def heard(self, turn: int | None = None) -> str:
        """The words that left the loudspeaker."""
        return " ".join(each.text for each in self.log.of(Played) if turn in (None, each.turn))


@asynccontextmanager
async def asking(
    url: str,
    config: RealtimeModelConfig = QUICK,
    *,
    fallback: Policy | None = None,
    tools: Sequence[Tool] = (),
    offers: Sequence[Offer] = (),
    robot: Any = None,
    consent: Any = None,
    taps: Sequence[Tap] = (),
) -> AsyncIterator[Asking]:
    """A session whose policy is the model at `url`; it ends, in order, when the block does."""
    link = RealtimeLink(msgspec.structs.replace(config, url=url), Resampler)
    policy = RealtimePolicy(link.config, fallback or Scripted(otherwise="The fallback answers."), consent=consent)
    words, log, hand = stop_words("en"), Log(), Hand()
    session = Session(
        sources=[hand],
        encoders=[],
        conductor=Conductor(TurnTaker(stop_words=words), policy, Reflex(words)),
        body=SpeakingBody(link, tools, offers, robot),
        taps=[link, *taps, log],
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(session.main())
        await asyncio.wait({group.create_task(hand.ready.wait()), running}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Asking(session, hand, log, link)
        finally:
            hand.end()
            session.stop(grace_s=0.05)
            async with asyncio.timeout(10):
                await running

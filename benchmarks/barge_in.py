"""From the percept to the silent speaker, through the parts of a real session on a real loop.

Conductor, turn-taker, reflex, body, speech actuator and simulated speaker are those of every session, and a tap watches
all of it. A script of percepts makes the agent talk and then interrupts it, over and over: somebody begins to speak
(the speaker must pause) and says "stop" (what is queued must be flushed).
"""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from agent.conductor import Conductor
from agent.session import Log, Session
from embodied.body import Body
from embodied.speech import SpeechActuator
from embodied.voices.scripted import ToneVoice
from policies.reflex import Reflex, stop_words
from policies.scripted import Scripted
from policies.turns import TurnConfig, TurnTaker
from streams.bus import Lane
from streams.clock import MS, Clock
from streams.devices.speaker import SimulatedSpeaker
from streams.ports import Publisher
from streams.topics import ALL, PERCEPT, Topic
from streams.types import Percept, SpeechEnded, SpeechStarted, Word, Words

STORY = " ".join(f"word{n}" for n in range(40))  # ten seconds of tones: far more than is ever heard


class Seen(SimulatedSpeaker):
    """The simulated speaker, and when it was told to fall silent. `listen` and the rest as they are."""

    paused_ns = flushed_ns = heard = 0

    def pause(self) -> None:
        """As ever, and note the first time."""
        super().pause()
        self.paused_ns = self.paused_ns or perf_counter_ns()

    def flush(self, told: Callable[[int], None]) -> None:
        """As ever, and note the first time."""
        self.flushed_ns = self.flushed_ns or perf_counter_ns()
        super().flush(told)


class Mouth:
    """A body with a voice of tones and nothing else."""

    speaker: Seen

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        """As `BodyPort`."""
        voice = ToneVoice()
        self.speaker = Seen(publisher, clock, voice.rate)
        speech = SpeechActuator(voice, self.speaker, publisher, clock)
        async with self.speaker.device():
            try:
                await Body([speech]).run(lane, publisher, clock)
            finally:
                await speech.aclose()


class Interrupter:
    """A source of percepts: asks, waits until the agent is heard, interrupts it, `count` times.

    pauses, flushes: ns from the publication of the percept until the speaker was told
    """

    name = "interrupter"
    writes: tuple[Topic[Any], ...] = (PERCEPT,)

    def __init__(self, count: int, mouth: Mouth) -> None:
        self.pauses: list[float] = []
        self.flushes: list[float] = []
        self._count, self._mouth = count, mouth

    async def __aenter__(self) -> "Interrupter":
        return self

    async def __aexit__(self, *exc: Any) -> None:
        return None

    async def run(self, bus: Publisher, clock: Clock) -> None:
        """Ask and interrupt."""
        for n in range(self._count):
            speaker, before = self._mouth.speaker, self._mouth.speaker.played
            for percept in _said(2 * n + 1, "tell me a story", clock.now()):
                bus.publish(PERCEPT, clock.now(), percept)
            await _until(lambda: self._mouth.speaker.played > before)  # noqa: B023 - awaited here
            speaker.paused_ns = speaker.flushed_ns = 0
            started, partial, *rest = _said(2 * n + 2, "stop", clock.now())
            began = perf_counter_ns()
            bus.publish(PERCEPT, clock.now(), started)
            await _until(lambda: self._mouth.speaker.paused_ns > 0)
            self.pauses.append(float(speaker.paused_ns - began))
            began = perf_counter_ns()
            bus.publish(PERCEPT, clock.now(), partial)
            await _until(lambda: self._mouth.speaker.flushed_ns > 0)
            self.flushes.append(float(speaker.flushed_ns - began))
            for percept in rest:
                bus.publish(PERCEPT, clock.now(), percept)
            await asyncio.sleep(0.05)


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if true():
            return
        await asyncio.sleep(0.001)
    raise SystemExit("the agent does not do what the benchmark waits for")


def _said(segment: int, text: str, t: int) -> list[Percept]:
    """One stretch of speech, told in one go."""
    words = tuple(Word(word, t - MS, t) for word in text.split())
    return [
        SpeechStarted(segment, t),
        Words(segment, text, words, final=False),
        Words(segment, text, words, final=True, complete=True),
        SpeechEnded(segment, t),
    ]


def barge_in(count: int) -> tuple[list[float], list[float]]:
    """ns from `SpeechStarted` until the speaker is paused, and from "stop" in a partial until it is flushed."""
    mouth, words = Mouth(), stop_words("en")
    interrupter = Interrupter(count, mouth)
    turns = TurnTaker(TurnConfig(min_wait_ms=10, max_wait_ms=20), stop_words=words)
    conductor = Conductor(turns, Scripted(otherwise=STORY), Reflex(words))
    session = Session(
        sources=[interrupter],
        encoders=[],
        conductor=conductor,
        body=mouth,
        taps=[Log(*ALL)],
    )
    session.run(speed=1.0)
    return interrupter.pauses, interrupter.flushes

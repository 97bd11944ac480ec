"""Says whose sound another model makes, Says with nothing in them, and how a voice is told to speak."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embodied.body import Body
from embodied.errors import VoiceError
from embodied.ports import Chunk, Mark, Sound
from embodied.speech import SpeechActuator
from embodied.voices.scripted import ToneVoice
from streams.bus import Bus
from streams.clock import SECOND, Clock, run
from streams.devices.speaker import SimulatedSpeaker
from streams.topics import ACTION, FEEDBACK, PLAYBACK
from streams.types import Action, Fault, Hush, Outcome, Played, Say, Tone

RATE = 16000


class Heeding(ToneVoice):
    """Notes how it is asked to speak."""

    def __init__(self) -> None:
        super().__init__(RATE)
        self.asked: list[tuple[str, float, str]] = []

    def speak(self, text: str, *, pace: float = 1.0, tone: Tone = "") -> Iterator[Chunk]:
        self.asked.append((text, pace, tone))
        return super().speak(text, pace=pace, tone=tone)


class Shelf:
    """Sounds that are there: half a second for each word, told in pieces of 100 ms."""

    rate = RATE

    def __init__(self, **sounds: str) -> None:
        self.sounds = sounds
        self.cancelled: list[str] = []

    def chunks(self, name: str) -> Iterator[Chunk]:
        if name not in self.sounds:
            raise VoiceError(f"there is no sound {name!r}")
        return self._chunks(self.sounds[name])

    def _chunks(self, text: str) -> Iterator[Chunk]:
        place = 0
        for word in text.split():
            for number in range(5):
                end = place + RATE // 10
                mark = (Mark(word, end - RATE // 2, end, exact=False),) if number == 4 else ()
                yield Chunk(np.full(RATE // 10, 3000, np.int16), mark)
                place = end

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)


def told(script: list[tuple[float, Action]], sound: Sound | None, voice: ToneVoice | None = None) -> list[Any]:
    async def main() -> list[Any]:
        clock = Clock()
        bus = Bus(clock)
        tap = bus.open(FEEDBACK, PLAYBACK)
        speaker = SimulatedSpeaker(bus, clock, RATE)
        speech = SpeechActuator(voice or ToneVoice(RATE), speaker, bus, clock, sound=sound)
        with bus.open(ACTION) as lane:
            async with speaker.device(), asyncio.TaskGroup() as group:
                group.create_task(Body([speech]).run(lane, bus, clock))
                for second, action in script:
                    await clock.sleep_until(round(second * SECOND))
                    bus.publish(ACTION, clock.now(), action)
                bus.close(ACTION)
        packets = []
        while (packet := tap.take()) is not None:
            packets.append(packet.data)
        return packets

    return run(main(), virtual=True)


def outcomes(packets: list[Any]) -> dict[int, Outcome]:
    return {each.id: each for each in packets if isinstance(each, Outcome)}


def test_a_voice_is_told_pace_and_tone_of_each_say() -> None:
    voice = Heeding()
    says: list[tuple[float, Action]] = [
        (0, Say("one two", turn=1, id=1, pace=0.5, tone="calm")),
        (0, Say("three", turn=1, id=2)),
    ]
    packets = told(says, None, voice)
    assert voice.asked == [("one two", 0.5, "calm"), ("three", 1.0, "")]
    words = [each for each in packets if isinstance(each, Played)]
    assert words[0].end_ns - words[0].start_ns == 2 * (words[2].end_ns - words[2].start_ns)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_say_with_nothing_in_it_is_done_at_once_without_the_voice(text: str) -> None:
    voice = Heeding()
    packets = told([(0, Say(text, turn=1, id=1)), (0, Say("word", turn=1, id=2))], None, voice)
    assert [each.status for each in outcomes(packets).values()] == ["done", "done"]
    assert outcomes(packets)[1].result == ""
    assert [text for text, _, _ in voice.asked] == ["word"]


def test_a_source_is_heard_in_its_place_and_accounted_for() -> None:
    script: list[tuple[float, Action]] = [
        (0, Say("first", turn=1, id=1)),
        (0, Say("", turn=1, id=2, source="answer")),
        (0, Say("last", turn=1, id=3)),
    ]
    packets = told(script, Shelf(answer="hello my friend"))
    assert [each.text for each in packets if isinstance(each, Played)] == ["first", "hello", "my", "friend", "last"]
    assert {number: each.status for number, each in outcomes(packets).items()} == dict.fromkeys((1, 2, 3), "done")
    assert outcomes(packets)[2].result == "hello my friend"
    assert {each.quality for each in packets if isinstance(each, Played) and each.id == 2} == {"estimated"}


def test_a_cut_source_is_told_to_what_was_heard_and_cancelled() -> None:
    shelf = Shelf(answer="hello my friend", later="more")
    script: list[tuple[float, Action]] = [
        (0, Say("", turn=1, id=1, source="answer")),
        (0, Say("", turn=1, id=2, source="later")),
        (1.2, Hush(1)),
    ]
    packets = told(script, shelf)
    assert (outcomes(packets)[1].status, outcomes(packets)[1].result) == ("cut", "hello my")
    assert outcomes(packets)[2].status == "fenced"
    assert set(shelf.cancelled) == {"answer", "later"}


@pytest.mark.parametrize("sound", [None, Shelf()])
def test_an_unknown_source_fails_clearly_and_the_next_say_is_heard(sound: Shelf | None) -> None:
    packets = told([(0, Say("", turn=1, id=1, source="gone")), (0, Say("next", turn=1, id=2))], sound)
    first, second = outcomes(packets)[1], outcomes(packets)[2]
    assert (first.status, second.status) == ("failed", "done")
    assert "'gone'" in first.detail
    assert [each.message for each in packets if isinstance(each, Fault)] == [first.detail]


def test_the_rates_must_agree() -> None:
    class Quick(Shelf):
        rate = 24000

    with pytest.raises(ValueError, match="24000 Hz"):
        told([], Quick())


class Waiting(Shelf):
    """A model that has not said anything yet."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def chunks(self, name: str) -> Iterator[Chunk]:
        self.asked.set()
        assert self.free.wait(20)
        yield from ()

    def cancel(self, name: str) -> None:
        self.free.set()


def test_a_cut_ends_a_wait_for_sound() -> None:
    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        speaker = SimulatedSpeaker(bus, clock, RATE)
        sound = Waiting()
        speech = SpeechActuator(ToneVoice(RATE), speaker, bus, clock, sound=sound)
        async with speaker.device():
            waits = asyncio.ensure_future(speech.perform(Say("", turn=1, id=1, source="answer")))
            assert await asyncio.to_thread(sound.asked.wait, 20)
            speech.cut(1)
            assert (await waits).status == "fenced"
            sound.free.clear()
            assert (await speech.perform(Say("", turn=1, id=2, source="stale"))).status == "fenced"
            assert sound.free.is_set()
            assert (await speech.perform(Say("on", turn=2, id=3))).status == "done"
        await speech.aclose()

    run(main())

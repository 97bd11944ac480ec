"""Speech to the sample: what is heard, held, resumed and cut, looked for in the sound itself."""

import asyncio
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import VoiceError
from embodied.ports import Chunk
from embodied.speech import SpeechActuator
from embodied.voices.scripted import ToneVoice
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.speaker import SimulatedSpeaker
from streams.topics import FEEDBACK, PLAYBACK
from streams.types import Fault, Outcome, Played, PlayStarted, Say

RATE = 16000
BLOCK = RATE // 50


class Stage:
    """A speech actuator on a simulated speaker, and what was published."""

    def __init__(self, voice: Any = None, *, latency_blocks: int = 0, **options: Any) -> None:
        self.clock = Clock()
        self.bus = Bus(self.clock)
        self.lane = self.bus.open(FEEDBACK, PLAYBACK)
        self.voice = voice or ToneVoice(RATE, word_ms=100, gap_ms=30)
        self.speaker = SimulatedSpeaker(self.bus, self.clock, self.voice.rate, latency_blocks=latency_blocks)
        self.speech = SpeechActuator(self.voice, self.speaker, self.bus, self.clock, **options)

    def read(self) -> "Record":
        packets = []
        while (packet := self.lane.take()) is not None:
            packets.append(packet)
        return Record([p for p in packets if p.topic is FEEDBACK], [p for p in packets if p.topic is PLAYBACK])


class Record:
    def __init__(self, feedback: list[Any], playback: list[Any]) -> None:
        self.feedback = [packet.data for packet in feedback]
        self.packets = feedback
        end = max((packet.data.end for packet in playback), default=0)
        self.wave = np.zeros(end, np.int16)
        taken = np.zeros(end, bool)
        for packet in playback:
            audio = packet.data
            assert not taken[audio.start : audio.end].any(), "blocks overlap"
            taken[audio.start : audio.end] = True
            assert packet.t == packet.at == round(audio.end * SECOND / audio.rate)
            self.wave[audio.start : audio.end] = audio.samples
        self.heard = np.concatenate([packet.data.samples for packet in playback]) if playback else np.zeros(0, np.int16)

    def played(self) -> list[Played]:
        return [data for data in self.feedback if isinstance(data, Played)]


def spoken(voice: ToneVoice, text: str) -> np.ndarray:
    chunks = [chunk.samples for chunk in voice.speak(text)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


def test_a_say_is_heard_whole_and_told_word_by_word() -> None:
    async def main() -> tuple[Outcome, Record]:
        stage = Stage()
        async with stage.speaker.device():
            outcome = await stage.speech.perform(Say("Go to the kitchen, please.", turn=1, id=1))
        await stage.speech.aclose()
        return outcome, stage.read()

    outcome, record = run(main(), virtual=True)
    assert (outcome.status, outcome.result) == ("done", "Go to the kitchen, please.")
    voice = ToneVoice(RATE, word_ms=100, gap_ms=30)
    want = spoken(voice, "Go to the kitchen, please.")
    assert np.array_equal(record.heard[: len(want)], want)
    assert not record.heard[len(want) :].any()
    words = record.played()
    assert [word.text for word in words] == ["Go", "to", "the", "kitchen", "please"]
    # The times of a word are where it really is in the sound.
    for word in words:
        first, last = round(word.start_ns * RATE / SECOND), round(word.end_ns * RATE / SECOND)
        assert np.array_equal(record.wave[first:last], voice.tone(word.text))
    started = [packet for packet in record.packets if isinstance(packet.data, PlayStarted)]
    assert len(started) == 1
    assert started[0].t == words[0].start_ns


def test_says_follow_each_other_without_waiting_for_the_voice() -> None:
    """The second Say is synthesised while the first plays: between them lies the asked-for gap and nothing more."""

    async def main() -> tuple[list[Outcome], Record]:
        stage = Stage(ToneVoice(RATE, 100, 0, cost=200 * MS), gap_ms=40)
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(stage.speech.perform(Say(text, turn=1, id=place)))
                for place, text in enumerate(("one two three four", "five", "six"), 1)
            ]
            await asyncio.wait(tasks)
        return [task.result() for task in tasks], stage.read()

    outcomes, record = run(main(), virtual=True)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    words = record.played()
    assert [word.text for word in words] == ["one", "two", "three", "four", "five", "six"]
    assert [after.start_ns - before.end_ns for before, after in pairwise(words)] == [0, 0, 0, 40 * MS, 40 * MS]


@pytest.mark.parametrize("latency_blocks", [0, 1, 3])
def test_every_cut_instant_tells_exactly_the_words_in_the_sound(latency_blocks: int) -> None:
    text = "alpha beta gamma"
    voice = ToneVoice(RATE, word_ms=60, gap_ms=20)
    want = spoken(voice, text)

    async def main(cut_at: int) -> tuple[Outcome, Record, int]:
        stage = Stage(voice, latency_blocks=latency_blocks)
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            task = group.create_task(stage.speech.perform(Say(text, turn=4, id=1)))
            await stage.clock.sleep_until(cut_at)
            stage.speech.cut(4)
            await task
            await asyncio.sleep(0.5)
        return task.result(), stage.read(), cut_at

    for cut_at in range(0, 330 * MS, 1_700_000):
        outcome, record, cut = run(main(cut_at), virtual=True)
        heard = record.heard
        loud = int(np.flatnonzero(heard)[-1]) + 1 if heard.any() else 0
        # Nothing is audible later than one block (and the latency of the device) after the cut.
        after = round(cut * RATE / SECOND) + BLOCK * (1 + latency_blocks)
        assert not record.wave[after:].any()
        # What was heard is the beginning of the speech, but for the fade of 5 ms.
        fade = RATE // 200
        assert np.array_equal(heard[: max(0, loud - fade)], want[: max(0, loud - fade)])
        words = [word.text for word in record.played()]
        ends = [60, 140, 220]
        assert words == text.split()[: sum(end * RATE // 1000 <= loud + 1 for end in ends)]
        assert outcome.result == " ".join(words)
        assert outcome.status == ("done" if len(words) == 3 else "cut" if loud else "fenced")


def test_a_cut_does_not_click() -> None:
    async def main(cut_at: int) -> Record:
        stage = Stage(ToneVoice(RATE, word_ms=400, gap_ms=0))
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            group.create_task(stage.speech.perform(Say("tone", turn=1, id=1)))
            await stage.clock.sleep_until(cut_at)
            stage.speech.cut(1)
        return stage.read()

    steepest = int(np.abs(np.diff(ToneVoice(RATE).tone("tone").astype(int))).max())
    for cut_at in range(60 * MS, 100 * MS, 1_300_000):
        sound = run(main(cut_at), virtual=True).heard.astype(int)
        assert np.abs(np.diff(np.append(sound[BLOCK:], 0))).max() <= steepest * 1.1


def test_pause_holds_the_place_and_resume_misses_nothing() -> None:
    async def main(pause_at: int) -> tuple[Outcome, Record]:
        stage = Stage()
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            task = group.create_task(stage.speech.perform(Say("one two three", turn=2, id=1)))
            await stage.clock.sleep_until(pause_at)
            stage.speech.pause(2)
            await stage.clock.sleep_until(pause_at + SECOND)
            stage.speech.resume(2)
            await task
        return task.result(), stage.read()

    want = spoken(ToneVoice(RATE, word_ms=100, gap_ms=30), "one two three")
    for pause_at in range(0, 450 * MS, 7 * MS):
        outcome, record = run(main(pause_at), virtual=True)
        assert outcome.status == "done"
        assert np.array_equal(record.heard[: len(want)], want)
        silent = round(pause_at * RATE / SECOND) + BLOCK
        assert not record.wave[silent : silent + RATE - 2 * BLOCK].any()
        for word in record.played():
            last = round(word.end_ns * RATE / SECOND)
            assert record.wave[last - 40 : last].any()


def test_an_idle_or_paused_speaker_sets_no_timer() -> None:
    async def main() -> float:
        stage = Stage()
        loop = asyncio.get_running_loop()
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            task = group.create_task(stage.speech.perform(Say("one two three", turn=2, id=1)))
            await asyncio.sleep(0.1)
            stage.speech.pause(2)
            await asyncio.sleep(1)
            assert not [timer for timer in loop._scheduled if not timer.cancelled()]
            stage.speech.resume(2)
            await task
            await asyncio.sleep(1)
            assert not [timer for timer in loop._scheduled if not timer.cancelled()]
        return loop.time()

    run(main(), virtual=True)


def test_a_cut_of_one_turn_spares_the_next() -> None:
    async def main() -> tuple[list[Outcome], Record]:
        stage = Stage(gap_ms=0)
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(stage.speech.perform(Say(text, turn=turn, id=turn)))
                for turn, text in ((1, "one two three"), (2, "four five"))
            ]
            await asyncio.sleep(0.15)
            stage.speech.cut(1)
            late = await stage.speech.perform(Say("late", turn=1, id=3))
        return [*(task.result() for task in tasks), late], stage.read()

    outcomes, record = run(main(), virtual=True)
    assert [outcome.status for outcome in outcomes] == ["cut", "done", "fenced"]
    assert [word.text for word in record.played()] == ["one", "four", "five"]
    want = spoken(ToneVoice(RATE, word_ms=100, gap_ms=30), "four five")
    sound = record.heard
    begin = len(sound) - len(want) - (-len(want)) % BLOCK
    assert np.array_equal(sound[begin : begin + len(want)], want)


def test_cancelling_is_cutting() -> None:
    async def main() -> tuple[Outcome, Record]:
        stage = Stage()
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            task = group.create_task(stage.speech.perform(Say("one two three", turn=2, id=1)))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.sleep(1)
        return task.result(), stage.read()

    outcome, record = run(main(), virtual=True)
    assert (outcome.status, outcome.result) == ("cut", "one")
    assert [word.text for word in record.played()] == ["one"]
    assert not record.wave[RATE * 22 // 100 :].any()


class BrokenVoice(ToneVoice):
    """Fails on texts with "broken" after their first word."""

    def speak(self, text: str) -> Any:
        chunks = super().speak(text)
        if "broken" in text:
            yield next(chunks)
            raise VoiceError("no breath left")
        yield from chunks


def test_a_voice_that_fails_is_told_and_the_next_say_is_heard() -> None:
    async def main() -> tuple[list[Outcome], Record]:
        stage = Stage(BrokenVoice(RATE, word_ms=100, gap_ms=30))
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(stage.speech.perform(Say(text, turn=1, id=place)))
                for place, text in enumerate(("very broken text", "all is well"), 1)
            ]
        return [task.result() for task in tasks], stage.read()

    outcomes, record = run(main(), virtual=True)
    assert [(outcome.status, outcome.result) for outcome in outcomes] == [("failed", "very"), ("done", "all is well")]
    assert outcomes[0].detail == "no breath left"
    assert [data.error for data in record.feedback if isinstance(data, Fault)] == ["VoiceError"]


class CountingVoice(ToneVoice):
    """Counts how many samples it has been asked for."""

    made = 0

    def speak(self, text: str) -> Any:
        for chunk in super().speak(text):
            self.made += len(chunk.samples)
            yield Chunk(chunk.samples, chunk.marks)


def test_synthesis_runs_ahead_and_no_further() -> None:
    async def main() -> int:
        voice = CountingVoice(RATE, word_ms=100, gap_ms=0)
        stage = Stage(voice, ahead_s=2.0)
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            group.create_task(stage.speech.perform(Say("word " * 600, turn=1, id=1)))
            await asyncio.sleep(1)
            made = voice.made
            stage.speech.cut(1)
        return made

    assert RATE * 3 <= run(main(), virtual=True) <= RATE * 3.5


STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "pause", "resume", "hush", "halt"]), st.integers(0, 3), st.integers(0, 400)),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 1]))
def test_any_sequence_of_orders_keeps_the_account(steps: list[tuple[str, int, int]], latency_blocks: int) -> None:
    """Each Say ends exactly once; what is told as played is in the sound, in full, and nothing else is."""

    async def main() -> tuple[dict[int, Outcome], dict[int, str], Record]:
        stage = Stage(ToneVoice(RATE, word_ms=50, gap_ms=10), latency_blocks=latency_blocks)
        texts: dict[int, str] = {}
        tasks = {}
        turn = 1
        async with stage.speaker.device(), asyncio.TaskGroup() as group:
            for kind, step, wait in steps:
                turn += step == 3
                match kind:
                    case "say":
                        number = len(texts) + 1
                        texts[number] = " ".join(f"w{number}x{place}" for place in range(step + 1))
                        say = Say(texts[number], turn=turn, id=number)
                        tasks[number] = group.create_task(stage.speech.perform(say))
                    case "pause":
                        stage.speech.pause(turn)
                    case "resume":
                        stage.speech.resume(turn)
                    case "hush":
                        stage.speech.cut(turn - step)
                    case _:
                        await stage.speech.halt()
                await asyncio.sleep(wait / 1000)
            stage.speech.resume(turn)
        return {number: task.result() for number, task in tasks.items()}, texts, stage.read()

    outcomes, texts, record = run(main(), virtual=True)
    voice = ToneVoice(RATE, word_ms=50, gap_ms=10)
    words = record.played()
    assert list(outcomes) == list(texts)
    for number, outcome in outcomes.items():
        told = [word.text for word in words if word.id == number]
        assert told == texts[number].split()[: len(told)]
        assert outcome.result == " ".join(told)
        assert (outcome.status == "done") == (told == texts[number].split())
    # Every word told is whole in the sound, right where it was told to be, unless a pause lies in it or a fade on it.
    for word in words:
        first, last = round(word.start_ns * RATE / SECOND), round(word.end_ns * RATE / SECOND)
        if last - first == voice.word:
            tone = voice.tone(word.text)
            whole = voice.word - RATE // 200
            assert np.array_equal(record.wave[first : first + whole], tone[:whole])
    # Nothing sounds that is not of these words, but for what was begun and cut off.
    cut = sum(outcome.status == "cut" for outcome in outcomes.values())
    assert np.count_nonzero(record.heard) <= (len(words) + cut) * voice.word

"""The whole way with a real voice: from `Say` to the samples of the speaker, in virtual and in real time."""

import asyncio
import os
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")

from embodied.body import Body
from embodied.speech import SpeechActuator
from embodied.voices.espeak import Espeak, EspeakVoice
from streams.bus import Bus
from streams.clock import MS, SECOND, Clock, run
from streams.devices.speaker import SimulatedSpeaker
from streams.topics import ACTION, FEEDBACK, PLAYBACK
from streams.types import Action, Hush, Outcome, Pause, Played, Resume, Say

TEXT = "I will go to the kitchen at 3:30, and then I'll come back."


def whole(voice: EspeakVoice, text: str) -> tuple[np.ndarray, list[Any]]:
    chunks = list(voice.speak(text))
    return np.concatenate([chunk.samples for chunk in chunks]), [mark for chunk in chunks for mark in chunk.marks]


async def conversation(voice: EspeakVoice, script: list[tuple[float, Action | str]]) -> tuple[list[Any], np.ndarray]:
    """FEEDBACK, and the sound of the speaker from session time 0. The script's "kill" kills the voice's process."""
    clock = Clock()
    bus = Bus(clock)
    tap = bus.open(FEEDBACK, PLAYBACK)
    speaker = SimulatedSpeaker(bus, clock, voice.rate)
    speech = SpeechActuator(voice, speaker, bus, clock, gap_ms=100)
    with bus.open(ACTION) as lane:
        async with speaker.device(), asyncio.TaskGroup() as group:
            group.create_task(Body([speech]).run(lane, bus, clock))
            for second, action in script:
                await clock.sleep_until(round(second * SECOND))
                if isinstance(action, str):
                    assert voice.pid is not None
                    os.killpg(voice.pid, 9)
                else:
                    bus.publish(ACTION, clock.now(), action)
            bus.close(ACTION)
    feedback, blocks = [], []
    while (packet := tap.take()) is not None:
        (feedback if packet.topic is FEEDBACK else blocks).append(packet.data)
    sound = np.zeros(max((block.end for block in blocks), default=0), np.int16)
    for block in blocks:
        sound[block.start : block.end] = block.samples
    return feedback, sound


def test_at_any_cut_the_words_told_are_the_words_in_the_sound() -> None:
    voice = EspeakVoice()
    sound, marks = whole(voice, TEXT)
    fade = voice.rate // 200
    for cut_ms in range(40, 4200, 171):
        feedback, heard = run(
            conversation(voice, [(0, Say(TEXT, turn=1, id=1)), (cut_ms / 1000, Hush(1)), (cut_ms / 1000 + 1, Hush(1))]),
            virtual=True,
        )
        begin = round(0.02 * voice.rate)  # the first block after the declared cost of the voice
        loud = heard[begin:]
        count = min(len(loud), len(sound))
        audible = np.flatnonzero(loud)
        last = int(audible[-1]) + 1 if len(audible) else 0
        assert np.array_equal(loud[: max(0, last - fade)], sound[:count][: max(0, last - fade)])
        assert last <= max(0, cut_ms * voice.rate / 1000 - begin) + voice.rate // 50
        words = [data.text for data in feedback if isinstance(data, Played)]
        (outcome,) = (data for data in feedback if isinstance(data, Outcome))
        # The cut lies behind the last word told, and before the end of the next one.
        assert words == [mark.text for mark in marks][: len(words)]
        if words:
            assert marks[len(words) - 1].end <= last + fade
            assert TEXT.startswith(outcome.result)
            assert outcome.result.endswith(words[-1]) or outcome.status == "done"
        if len(words) < len(marks):
            assert marks[len(words)].end > last
            assert outcome.status in ("cut", "fenced")
    voice.close()


def test_twice_in_virtual_time_is_the_same_to_the_sample() -> None:
    script: list[tuple[float, Action | str]] = [
        (0.0, Say(TEXT, turn=1, id=1)),
        (0.1, Say("And another sentence.", turn=1, id=2)),
        (1.0, Pause(1)),
        (1.7, Resume(1)),
        (4.8, Hush(1)),
        (5.0, Say("Yes?", turn=2, id=3)),
    ]
    results = []
    for _ in range(2):
        voice = EspeakVoice()
        results.append(run(conversation(voice, script), virtual=True))
        voice.close()
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])
    assert {data.id: data.status for data in results[0][0] if isinstance(data, Outcome)} == {
        1: "done", 2: "cut", 3: "done",
    }  # fmt: skip


def test_in_real_time_it_is_the_same_sound_and_a_killed_voice_is_not_noticed() -> None:
    voice = EspeakVoice(Espeak(rate_wpm=300))
    sound, marks = whole(voice, TEXT)
    script: list[tuple[float, Action | str]] = [
        (0.0, Say(TEXT, turn=1, id=1)),
        (0.3, "kill"),
        (0.3, Say("fine", turn=1, id=2)),
        (0.5, Pause(1)),
        (0.7, Resume(1)),
    ]
    feedback, heard = run(conversation(voice, script))
    voice.close()
    assert [data.text for data in feedback if isinstance(data, Played)] == [mark.text for mark in marks] + ["fine"]
    assert {data.id: data.status for data in feedback if isinstance(data, Outcome)} == {1: "done", 2: "done"}
    words = [data for data in feedback if isinstance(data, Played) and data.id == 1]
    for word, mark in zip(words, marks):
        if word.end_ns - word.start_ns <= (mark.end - mark.start) * SECOND / voice.rate + MS:  # no pause within it
            first = round(word.start_ns * voice.rate / SECOND)
            assert np.array_equal(heard[first : first + mark.end - mark.start], sound[mark.start : mark.end])

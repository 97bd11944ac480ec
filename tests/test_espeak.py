"""The voice espeak-ng in its own process: exact, deterministic, cancelled at once, restarted when it dies."""

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("espeakng_loader")

from embodied.errors import VoiceCrashed, VoiceError, VoiceSilent
from embodied.ports import Chunk, Mark, Voice
from embodied.voices.espeak import Espeak, EspeakVoice
from streams.errors import DependencyMissing
from streams.types import Tone


@pytest.fixture(scope="module")
def voice() -> Iterator[EspeakVoice]:
    voice = EspeakVoice()
    yield voice
    voice.close()


def gathered(chunks: Iterator[Chunk]) -> tuple[np.ndarray, list[Mark]]:
    all_chunks = list(chunks)
    sound = np.concatenate([np.zeros(0, np.int16), *(chunk.samples for chunk in all_chunks)])
    return sound, [mark for chunk in all_chunks for mark in chunk.marks]


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound.astype(float) ** 2))) if len(sound) else 0.0


def test_it_is_a_voice(voice: EspeakVoice) -> None:
    assert isinstance(voice, Voice)


def test_words_are_told_as_written_and_lie_where_they_sound(voice: EspeakVoice) -> None:
    text = "It's 3:30, don't go. The well-known 12,345.67 (über) costs $5.20!"
    sound, marks = gathered(voice.speak(text))
    assert [mark.text for mark in marks] == [
        "It's",
        "3:30",
        "don't",
        "go",
        "The",
        "well-known",
        "12,345.67",
        "über",
        "costs",
        "$5.20",
    ]
    assert all(mark.exact for mark in marks)
    for mark, after in zip(marks, [*marks[1:], None]):
        assert 0 <= mark.start < mark.end <= (after.start if after else len(sound))
        assert level(sound[mark.start : mark.end]) > 500
    # The pause after a comma or a full stop belongs to no word.
    for before, after in ((1, 2), (3, 4)):
        pause = sound[marks[before].end : marks[after].start]
        assert len(pause) > 0.05 * voice.rate
        assert level(pause[: len(pause) * 3 // 4]) < 100


def test_words_spoken_as_one_are_shared_out(voice: EspeakVoice) -> None:
    _, marks = gathered(voice.speak("I have been in the shop, such as it is."))
    assert [mark.text for mark in marks] == ["I", "have", "been", "in", "the", "shop", "such", "as", "it", "is"]
    assert {mark.text for mark in marks if not mark.exact} == {"have", "been", "in", "the"}
    assert all(before.end <= after.start for before, after in pairwise(marks))


def test_the_same_text_gives_the_same_samples_in_any_process(voice: EspeakVoice) -> None:
    text = "Hello there, I will go to the kitchen."
    first = gathered(voice.speak(text))[0]
    gathered(voice.speak("Something else, of another length!"))
    cancelled = voice.speak("And something that is not finished, by far.")
    next(cancelled)
    cancelled.close()  # type: ignore[attr-defined]
    assert np.array_equal(gathered(voice.speak(text))[0], first)
    other = EspeakVoice()
    assert np.array_equal(gathered(other.speak(text))[0], first)
    other.close()


def pitch(sound: np.ndarray, rate: int) -> float:
    """Middle fundamental frequency of the voiced parts, Hertz, by autocorrelation."""
    found = []
    for start in range(0, len(sound) - 1024, 512):
        frame = sound[start : start + 1024].astype(float)
        if level(frame) > 500:
            alike = np.correlate(frame, frame, "full")[len(frame) - 1 :]
            low, high = rate // 300, rate // 60
            best = low + int(np.argmax(alike[low:high]))
            if alike[best] > 0.6 * alike[0]:
                found.append(rate / best)
    return float(np.median(found))


def test_pace_and_tone_are_for_one_utterance_only(voice: EspeakVoice) -> None:
    text = "The kitchen is on the left, and the garden is behind the house."
    plain, marks = gathered(voice.speak(text))
    slow, slow_marks = gathered(voice.speak(text, pace=0.7))
    fast, _ = gathered(voice.speak(text, pace=1.5))
    assert len(fast) < 0.8 * len(plain) < len(plain) < 0.85 * len(slow)
    assert [mark.text for mark in slow_marks] == [mark.text for mark in marks]
    assert all(level(slow[mark.start : mark.end]) > 500 for mark in slow_marks)
    cheerful, serious, soft = (gathered(voice.speak(text, tone=tone))[0] for tone in ("cheerful", "serious", "soft"))
    assert pitch(cheerful, voice.rate) > 1.05 * pitch(plain, voice.rate) > 1.1 * pitch(serious, voice.rate)
    assert level(soft) < 0.8 * level(plain)
    again, same = gathered(voice.speak(text))
    assert np.array_equal(again, plain)
    assert same == marks


@pytest.mark.parametrize("tone", ["", "calm", "warm", "cheerful", "serious", "soft"])
@pytest.mark.parametrize("pace", [0.5, 1.0, 2.0])
def test_every_manner_keeps_word_times(voice: EspeakVoice, pace: float, tone: Tone) -> None:
    text = "Go to the door at 3:30, please."
    sound, marks = gathered(voice.speak(text, pace=pace, tone=tone))
    assert [mark.text for mark in marks] == ["Go", "to", "the", "door", "at", "3:30", "please"]
    assert all(before.end <= after.start for before, after in pairwise(marks))
    assert level(sound[marks[-1].start : marks[-1].end]) > 200
    assert level(sound[marks[-1].end + voice.rate // 20 :]) < 100


def test_markup_is_spoken_and_not_obeyed(voice: EspeakVoice) -> None:
    plain = len(gathered(voice.speak("break"))[0])
    assert len(gathered(voice.speak("<break time='60s'/>"))[0]) < 20 * voice.rate
    assert len(gathered(voice.speak("<break time='60s'/>"))[0]) > 2 * plain
    # Embedded commands of espeak (a control character, then "90S") must not change anything.
    assert np.array_equal(gathered(voice.speak("\x01450S fine"))[0], gathered(voice.speak(" 450S fine"))[0])
    assert np.array_equal(gathered(voice.speak("one \0two"))[0], gathered(voice.speak("one  two"))[0])


@pytest.mark.parametrize("text", ["", " ", "...", "—", "\n\t"])
def test_nothing_to_say_has_no_words(voice: EspeakVoice, text: str) -> None:
    sound, marks = gathered(voice.speak(text))
    assert not marks
    assert level(sound) < 100


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_text_is_survived(voice: EspeakVoice, text: str) -> None:
    sound, marks = gathered(voice.speak(text))
    places = [place for mark in marks for place in (mark.start, mark.end)]
    assert places == sorted(places)
    assert not places or (places[0] >= 0 and places[-1] <= len(sound))


def test_lone_surrogates_are_survived(voice: EspeakVoice) -> None:
    assert gathered(voice.speak("a \ud800 b"))[1]


def test_a_long_text_streams_and_its_first_sound_comes_at_once(voice: EspeakVoice) -> None:
    text = "This is a rather long sentence about nothing in particular. " * 300
    began = time.perf_counter()
    chunks = voice.speak(text)
    next(chunks)
    assert time.perf_counter() - began < 0.5
    sound, marks = gathered(chunks)
    assert len(marks) == len(text.split())
    assert len(sound) > 600 * voice.rate


def test_cancel_takes_milliseconds_and_the_process_stays(voice: EspeakVoice) -> None:
    voice.start()
    process = voice.pid
    slowest = 0.0
    for taken in range(12):
        chunks = voice.speak("word " * 20000)
        for _ in range(taken):
            next(chunks)
        began = time.perf_counter()
        chunks.close()  # type: ignore[attr-defined]
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.25  # a few ms on a machine that has nothing else to do
    assert voice.pid == process
    assert gathered(voice.speak("still here"))[1]


def test_killed_in_the_middle_it_goes_on_as_if_nothing_had_been() -> None:
    text = "One two three four five six seven eight nine ten. " * 30
    voice = EspeakVoice()
    whole, marks = gathered(voice.speak(text))
    chunks = voice.speak(text)
    head = [next(chunks) for _ in range(20)]
    assert voice.pid is not None
    os.killpg(voice.pid, 9)
    rest = list(chunks)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in head + rest]), whole)
    assert [mark for chunk in head + rest for mark in chunk.marks] == marks
    # Only the waiting helper dies, not the fork that speaks.
    chunks = voice.speak(text)
    next(chunks)
    os.kill(voice.pid, 9)
    assert len(list(chunks)) > 100
    voice.close()


def test_killed_twice_it_gives_up_and_the_next_text_is_spoken() -> None:
    voice = EspeakVoice()
    chunks = voice.speak("many words " * 5000)
    with pytest.raises(VoiceCrashed, match="many words"):
        for _ in chunks:
            if voice.pid is not None:
                os.killpg(voice.pid, 9)
    assert gathered(voice.speak("next"))[1]
    voice.close()


def test_a_process_that_hangs_is_given_up() -> None:
    voice = EspeakVoice(Espeak(timeout_ms=200))
    gathered(voice.speak("fine"))
    assert voice.pid is not None
    os.kill(voice.pid, 19)
    with pytest.raises(VoiceSilent, match="200 ms"):
        gathered(voice.speak("stopped"))
    assert gathered(voice.speak("again"))[1]
    voice.close()


def test_closed_from_another_thread_it_ends_at_once() -> None:
    voice = EspeakVoice()
    chunks = voice.speak("word " * 20000)
    next(chunks)
    closing = threading.Timer(0.05, voice.close)
    closing.start()
    with pytest.raises(VoiceError):
        for _ in chunks:
            time.sleep(0.01)
    closing.join()
    assert voice.pid is None
    with pytest.raises(VoiceError, match="closed"):
        gathered(voice.speak("no more"))


def test_closing_in_mid_read_never_lets_the_voice_read_from_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` comes between `select` and `os.read`, and files opened then may get the number of the pipe."""
    voice = EspeakVoice()
    chunks = voice.speak("word " * 20000)
    next(chunks)
    foreign = []
    original = select.select

    def interrupted(*args: Any) -> Any:
        ready = original(*args)
        if not foreign:
            closing = threading.Thread(target=voice.close)
            closing.start()
            closing.join()
            for _ in range(8):
                file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
                file.write(bytes(1000))
                file.seek(0)
                foreign.append(file)
        return ready

    monkeypatch.setattr(select, "select", interrupted)
    try:
        with pytest.raises(VoiceError):
            gathered(chunks)
        assert [file.tell() for file in foreign] == [0] * 8
        assert voice.pid is None
    finally:
        for file in foreign:
            file.close()


def test_closed_while_it_starts_it_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = EspeakVoice()
    begun: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def closing(*args: Any, **options: Any) -> Any:
        begun.append(original(*args, **options))
        voice.close()
        return begun[0]

    monkeypatch.setattr(subprocess, "Popen", closing)
    with pytest.raises(VoiceError):
        gathered(voice.speak("hello"))
    assert begun[0].returncode is not None and voice.pid is None


def test_settings_change_the_sound_and_wrong_ones_are_refused() -> None:
    quick, slow = EspeakVoice(Espeak(rate_wpm=300)), EspeakVoice(Espeak(rate_wpm=100, language="de"))
    assert len(gathered(quick.speak("hello world"))[0]) < len(gathered(slow.speak("hello world"))[0])
    quick.close()
    slow.close()
    with pytest.raises(ValueError, match="rate_wpm = 5000"):
        Espeak(rate_wpm=5000)
    unknown = EspeakVoice(Espeak(language="klingonish"))
    with pytest.raises(VoiceError, match="no voice named 'klingonish'"):
        gathered(unknown.speak("hello"))
    unknown.close()


def test_without_the_wheel_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['espeakng_loader'] = None\n"
        "from embodied.voices.espeak import EspeakVoice\n"
        "try: EspeakVoice()\n"
        f"except Exception as error: assert type(error).__name__ == {DependencyMissing.__name__!r}; print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "visavis[voice]" in done.stdout


def test_the_helper_ends_with_its_owner() -> None:
    code = (
        "import os, sys; from embodied.voices.espeak import EspeakVoice\n"
        "voice = EspeakVoice(); chunks = voice.speak('word ' * 20000); next(chunks)\n"
        "print(voice.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    status = Path(f"/proc/{int(done.stdout)}/status")
    for _ in range(200):
        if not status.exists() or "State:\tZ" in status.read_text():  # gone, or only waiting to be buried
            return
        time.sleep(0.02)
    raise AssertionError("the helper outlives its owner")

"""The sound of a model on its way to the loudspeaker: whole, in order, and where its words are believed to be."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import VoiceError
from embodied.ports import Mark, Sound
from embodied.voices.spread import Spread
from embodied.voices.streamed import StreamedSounds
from streams.audio.resample import Resampler
from streams.types import Samples

pytest.importorskip("av")
RATE = 16_000
TEXT = (
    "You can ask me the time or the date, set a timer, do sums, change my volume, or tell me to move. "
    "Say stop at any time."
)


def tone(seconds: float) -> Samples:
    return np.round(8000 * np.sin(np.arange(round(seconds * RATE)) * 0.1) + 1).astype(np.int16)


def sounds(**options: Any) -> StreamedSounds:
    return StreamedSounds(RATE, Resampler, **{"patience_s": 2.0, **options})


def drained(chunks: Iterator[Any]) -> tuple[Samples, list[Mark]]:
    taken = list(chunks)
    return np.concatenate([each.samples for each in taken]), [mark for each in taken for mark in each.marks]


def test_every_sample_arrives_once_in_order_whatever_the_pieces() -> None:
    kept = sounds()
    assert isinstance(kept, Sound)
    sound, whole = kept.begin("a", RATE), tone(1.0)
    result: list[Any] = []
    reader = threading.Thread(target=lambda: result.append(drained(kept.chunks("a"))))
    reader.start()
    for place in range(0, len(whole), 700):
        sound.write(whole[place : place + 700])
    sound.say("one two three")
    sound.end()
    reader.join(5)
    samples, marks = result[0]
    assert np.array_equal(samples, whole)
    assert [mark.text for mark in marks] == ["one", "two", "three"] and not any(mark.exact for mark in marks)
    assert marks[-1].end <= len(whole) and kept.place_ms("a", 3) == marks[-1].end * 1000 // RATE


def test_another_rate_is_changed_to_the_speakers() -> None:
    kept = sounds()
    sound = kept.begin("a", 24_000)
    sound.write(np.zeros(24_000, np.int16))
    sound.end()
    samples, _ = drained(kept.chunks("a"))
    assert len(samples) == RATE


def test_a_wait_ends_with_more_with_a_cancel_or_with_patience() -> None:
    kept = sounds(patience_s=0.2)
    kept.begin("slow", RATE)
    with pytest.raises(VoiceError, match="no more sound"):
        next(kept.chunks("slow"))
    cut = kept.begin("cut", RATE)
    threading.Timer(0.05, lambda: kept.cancel("cut")).start()
    assert list(kept.chunks("cut")) == []
    cut.write(tone(1.0))
    with pytest.raises(VoiceError, match="no sound 'never'"):
        kept.chunks("never")
    with pytest.raises(VoiceError, match="any more"):
        kept.chunks("cut")
    kept.cancel("never")


def test_virtual_time_waits_for_nobody() -> None:
    kept = sounds(virtual=True)
    sound = kept.begin("a", RATE)
    with pytest.raises(VoiceError, match="virtual time"):
        next(kept.chunks("a"))
    whole = kept.begin("b", RATE)
    whole.write(tone(0.5))
    whole.end()
    assert len(drained(kept.chunks("b"))[0]) == RATE // 2
    sound.end()


def test_old_sounds_are_forgotten() -> None:
    kept = sounds(most=3)
    for number in range(10):
        kept.begin(str(number), RATE).write(tone(0.1))
    with pytest.raises(VoiceError):
        kept.chunks("6")
    assert kept.chunks("9")


@pytest.fixture(scope="module")
def speech() -> tuple[Samples, list[Mark]]:
    """A real voice, which tells where its words are."""
    pytest.importorskip("espeakng_loader")
    from embodied.voices.espeak import Espeak, EspeakVoice

    voice = EspeakVoice(Espeak(language="en-us", rate_wpm=170))
    try:
        chunks = list(voice.speak(TEXT))
    finally:
        voice.close()
    resampler = Resampler(voice.rate, RATE)
    samples = np.concatenate([*(resampler.push(chunk.samples) for chunk in chunks), resampler.finish()])
    marks = [mark for chunk in chunks for mark in chunk.marks]
    return samples, [
        mark._replace(start=mark.start * RATE // voice.rate, end=mark.end * RATE // voice.rate) for mark in marks
    ]


def test_words_of_a_whole_sound_are_near_where_they_are(speech: tuple[Samples, list[Mark]]) -> None:
    samples, true = speech
    spread = Spread(RATE)
    spread.say(TEXT)
    spread.hear(samples)
    spread.end()
    marks = spread.marks(len(samples))
    assert [mark.text for mark in marks] == [mark.text for mark in true]
    late = [(mark.end - there.end) / RATE for mark, there in zip(marks, true, strict=True)]
    assert np.mean(np.abs(late)) < 0.4 and min(late) > -0.3, late


def test_text_that_is_ahead_of_its_sound_is_never_believed_too_early(speech: tuple[Samples, list[Mark]]) -> None:
    samples, true = speech
    spread = Spread(RATE)
    spread.say(TEXT + " ")
    marks: list[Mark] = []
    for place in range(0, len(samples), 1600):
        spread.hear(samples[place : place + 1600])
        marks += spread.marks(min(place + 1600, len(samples)))
    early = [mark.text for mark, there in zip(marks, true, strict=False) if mark.end < there.end - 0.1 * RATE]
    assert marks and not early


def test_a_word_that_is_told_when_it_has_been_sent_ends_there(speech: tuple[Samples, list[Mark]]) -> None:
    samples, true = speech
    spread = Spread(RATE)
    marks: list[Mark] = []
    words = list(true)
    for place in range(0, len(samples), 320):
        spread.hear(samples[place : place + 320])
        while words and words[0].end <= place + 320:
            spread.say(f"{words.pop(0).text} ")
        marks += spread.marks(place + 320)
    assert [mark.text for mark in marks] == [mark.text for mark in true]
    late = [(mark.end - there.end) / RATE for mark, there in zip(marks, true, strict=True)]
    assert min(late) >= -0.02 and max(late) < 0.1, late


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["hear", "say", "marks"]), st.integers(0, 4000)), max_size=40), st.booleans())
def test_marks_are_in_order_within_the_sound_and_each_word_is_told_once(
    steps: list[tuple[str, int]], ends: bool
) -> None:
    spread = Spread(RATE)
    marks: list[Mark] = []
    text, given_, rng = "", 0, np.random.default_rng(1)
    for kind, size in steps:
        if kind == "hear":
            spread.hear((rng.normal(0, 1, size) * (4000 if size % 2 else 1)).astype(np.int16))
            given_ += size
        elif kind == "say":
            piece = TEXT[len(text) : len(text) + size % 12]
            text += piece
            spread.say(piece)
        else:
            new = spread.marks(given_)
            assert all(mark.end <= given_ for mark in new)
            marks += new
    if ends:
        spread.end()
        marks += spread.marks(given_)
        assert len(marks) == len(text.split())
    assert all(0 <= mark.start <= mark.end <= given_ for mark in marks)
    assert all(one.end <= two.end and one.end <= two.start + 1 for one, two in pairwise(marks))
    assert [mark.text for mark in marks] == [each.strip(",.") or each for each in text.split()][: len(marks)]

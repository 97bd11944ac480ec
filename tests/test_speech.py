"""Speech to text: the encoder's bookkeeping with a stand-in recogniser, and the grammar recogniser on real speech."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audio.blocks import SAMPLE
from streams.audio.decode import Decoder
from streams.clock import MS, SECOND
from streams.encoders.recognisers import GrammarInvalid, HeardWord, Hypothesis, Recogniser, RecogniserModel
from streams.encoders.recognisers.jsgf import pronounce, single_top, words_of
from streams.encoders.speech import SpeechConfig, SpeechEncoder
from streams.encoders.vad import Segments, VadConfig
from streams.packet import Packet
from streams.ports import Emit, Encoder
from streams.topics import AUDIO, VOICE, Topic
from streams.types import Audio, Samples, Voice, Words

RATE = 16_000
HOP = 512


class Levels:
    """Stands in for a recogniser: writes down the loudness of each 0.1 s, so that its text shows what it heard.

    sentences: a stretch whose text is none of these is rejected (None: nothing is)
    """

    feed_cost, finish_cost = 50_000_000, 1_000_000

    def __init__(self, sentences: tuple[str, ...] | None = None) -> None:
        self.joins = sentences is not None
        self.sentences = sentences
        self.resets = 0
        self.heard: list[Samples] = []

    def start(self) -> None:
        self.heard = []

    def feed(self, samples: Samples) -> None:
        self.heard.append(samples)

    def partial(self) -> Hypothesis:
        return self._text(final=False)

    def finish(self) -> Hypothesis:
        return self._text(final=True)

    def reset(self) -> None:
        self.resets += 1

    def _text(self, *, final: bool) -> Hypothesis:
        sound = np.concatenate([*self.heard, np.empty(0, np.int16)])
        words: list[HeardWord] = []
        for at in range(0, len(sound) - 1600 + 1, 1600):
            level = int(np.abs(sound[at : at + 1600]).max()) // 1000
            if level and (not words or words[-1].text != str(level)):
                words.append(HeardWord(str(level), at, at + 1600))
        text = " ".join(word.text for word in words)
        if final and self.sentences is not None and text not in self.sentences:
            return Hypothesis(guess=text, half=any(sentence.startswith(text) for sentence in self.sentences))
        return Hypothesis(text, tuple(words), 0.9, self.sentences is not None and final, half=True)


def tone(*parts: tuple[int, float]) -> Samples:
    """Sound of (level in thousands, seconds); level 0 is silence."""
    return np.concatenate([np.full(round(seconds * RATE), level * 1000 + 1, np.int16) for level, seconds in parts])


def drive(
    encoder: Encoder, sound: Samples, blocks: Iterator[int], voiced: Callable[[Samples], float] | None = None
) -> list[Emit]:
    """`sound` in blocks through a detector (loud is voiced) and `encoder`, in the order of a session."""
    segments = Segments(VadConfig(), HOP * SAMPLE)
    heard: list[Emit] = []
    at = hop = 0

    def push(topic: Topic[Any], t: int, data: Any) -> None:
        packet = Packet(topic, t, t, 0, 0, data)
        assert encoder.cost(packet) >= 0
        heard.extend(encoder.push(packet))

    while at < len(sound):
        block = sound[at : at + next(blocks)]
        push(AUDIO, (at + len(block)) * SAMPLE, Audio(block, RATE, at))
        at += len(block)
        while hop + HOP <= at:
            loud = (
                float(np.abs(sound[hop : hop + HOP]).max() >= 1000)
                if voiced is None
                else voiced(sound[hop : hop + HOP])
            )
            hop += HOP
            change = segments.feed(hop * SAMPLE, loud)
            if change:
                push(*change)
            push(VOICE, hop * SAMPLE, Voice(loud, segments.speaking))
    if (end := segments.close(hop * SAMPLE)) is not None:
        push(*end)
    heard.extend(encoder.flush())
    return heard


def always(size: int) -> Iterator[int]:
    while True:
        yield size


def finals(emits: list[Emit]) -> list[Words]:
    return [emit.data for emit in emits if emit.data.final]


SCENE = tone((0, 0.7), (3, 0.5), (5, 0.4), (0, 0.9), (4, 0.6), (0, 0.1), (6, 0.3), (0, 0.5), (2, 0.2))


def test_one_final_per_segment_with_partials_before_and_words_on_the_session_clock() -> None:
    emits = drive(SpeechEncoder(Levels()), SCENE, always(320))
    assert [words.text for words in finals(emits)] == ["3 5", "4 6", "2"]
    assert [words.segment for words in finals(emits)] == [1, 2, 3]
    first = finals(emits)[0].words
    assert abs(first[0].start_ns - 700 * MS) <= 100 * MS
    assert abs(first[1].start_ns - 1200 * MS) <= 100 * MS
    texts = [emit.data.text for emit in emits if emit.data.segment == 1 and not emit.data.final]
    assert texts == ["3", "3 5"]  # only when the text changed
    assert [emit.t for emit in emits] == sorted(emit.t for emit in emits)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_the_blocks_make_no_difference(sizes: list[int]) -> None:
    def repeat() -> Iterator[int]:
        while True:
            yield from sizes

    wanted = drive(SpeechEncoder(Levels()), SCENE, always(320))
    assert drive(SpeechEncoder(Levels()), SCENE, repeat()) == wanted
    for size in (160, 512, RATE):
        assert drive(SpeechEncoder(Levels()), SCENE, always(size)) == wanted


def test_the_lead_keeps_the_first_phones() -> None:
    recogniser = Levels()
    quiet_start = tone((0, 1.0), (3, 0.5), (0, 0.3))
    drive(SpeechEncoder(recogniser, SpeechConfig(lead_ms=300)), quiet_start, always(320))
    sound = np.concatenate(recogniser.heard)
    assert 0.25 * RATE < int(np.argmax(sound >= 1000)) < 0.35 * RATE


def test_when_the_voice_pauses_the_words_so_far_are_asked_for_at_once() -> None:
    word = tone((0, 0.7), (3, 0.43), (0, 0.5))
    emits = drive(SpeechEncoder(Levels(), SpeechConfig(partial_ms=5000)), word, always(320))
    assert [(emit.data.text, emit.data.final) for emit in emits] == [("3", False), ("3", True)]
    assert 1130 * MS <= emits[0].t <= 1130 * MS + 2 * HOP * SAMPLE  # the first hop that is silent throughout


def test_a_pause_in_the_middle_of_a_sentence_is_bridged() -> None:
    halves = tone((0, 0.5), (3, 0.5), (0, 0.7), (4, 0.5), (0, 0.5))
    said = finals(drive(SpeechEncoder(Levels(("3 4",))), halves, always(320)))
    assert [(words.text, words.guess) for words in said] == [("", "3"), ("3 4", "")]
    assert said[1].segment == 2
    assert abs(said[1].words[0].start_ns - 500 * MS) <= 100 * MS  # reaches back into the first stretch
    assert abs(said[1].words[1].start_ns - 1700 * MS) <= 130 * MS  # and times skip the pause


def test_two_sentences_are_not_joined_and_a_long_pause_is_not_bridged() -> None:
    both = tone((0, 0.5), (3, 0.5), (0, 0.7), (4, 0.5), (0, 0.5))
    assert [words.text for words in finals(drive(SpeechEncoder(Levels(("3", "4", "3 4"))), both, always(320)))] == [
        "3",
        "4",
    ]
    late = tone((0, 0.5), (3, 0.5), (0, 3.0), (4, 0.5), (0, 0.5))
    assert [words.text for words in finals(drive(SpeechEncoder(Levels(("3 4",))), late, always(320)))] == ["", ""]


def test_a_long_stretch_is_decoded_in_pieces() -> None:
    recogniser = Levels()
    config = SpeechConfig(max_stretch_ms=1000)
    said = finals(drive(SpeechEncoder(recogniser, config), tone((0, 0.5), (3, 0.7), (5, 0.9), (7, 0.9)), always(320)))
    assert len(said) == 1
    assert set(said[0].text.split()) == {"3", "5", "7"}
    assert not said[0].complete
    assert sum(map(len, recogniser.heard)) <= 1.1 * RATE  # bounded memory and cost


def test_lost_sound_is_silence_and_a_jump_begins_anew() -> None:
    encoder = SpeechEncoder(Levels())
    encoder.push(Packet(AUDIO, 100 * MS, 0, 0, 0, Audio(np.ones(1600, np.int16), RATE, 0)))
    encoder.push(Packet(AUDIO, 300 * MS, 0, 0, 0, Audio(np.ones(1600, np.int16), RATE, 3200)))
    encoder.push(Packet(AUDIO, 60 * SECOND, 0, 0, 0, Audio(np.ones(1600, np.int16), RATE, 960_000)))
    assert encoder.flush() == []


def test_idle_costs_nothing_and_reset_reaches_the_recogniser() -> None:
    recogniser = Levels()
    encoder = SpeechEncoder(recogniser)
    assert isinstance(recogniser, Recogniser)
    assert encoder.cost(Packet(VOICE, SECOND, 0, 0, 0, Voice(0.0, False))) == 0
    encoder.reset()
    assert recogniser.resets == 1


# --- grammars


def test_words_and_rules_of_a_grammar() -> None:
    jsgf = (
        "#JSGF V1.0;\ngrammar x; // a robot\npublic <a> = /2/ go [<b>] {tag};\n"
        '<b> = (left | "right")*; /* 90 */\npublic <c> = stop;'
    )
    assert words_of(jsgf) == ["go", "left", "right", "stop"]
    assert single_top(jsgf).count("public") == 1
    with pytest.raises(GrammarInvalid, match="no public rule"):
        single_top("#JSGF V1.0;\ngrammar x;\n<a> = b;")
    with pytest.raises(GrammarInvalid, match="<nowhere>"):
        single_top("#JSGF V1.0;\ngrammar x;\npublic <a> = stop <nowhere> | <b>;\n<b> = go <NULL> {<tag>};")


def test_words_that_no_dictionary_has_are_sounded_out() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dict")
        path.write_text("way W EY\npoint P OY N T\nread R EH D\nread(2) R IY D\n")
        lines, guessed = pronounce(["read", "waypoint", "zorb"], path)
        assert lines[:2] == ["read R EH D", "read(2) R IY D"]
        assert guessed == {"waypoint": "W EY P OY N T", "zorb": "Z AA R B"} or guessed["zorb"] == "Z AO R B"
        with pytest.raises(GrammarInvalid, match="'90'"):
            pronounce(["90"], path)


ROBOT = """#JSGF V1.0;
grammar robot;
public <s> = (go | move) (forward | back) [<n> (meters | steps)] | turn (left | right) [<n> degrees] | stop | halt
    | yes | no | hello | what time is it | uh huh | flurb;
<n> = one | two | three | four | five | six | seven | eight | nine | ten | twenty | ninety;
"""


@pytest.fixture(scope="module")
def robot() -> Any:
    pytest.importorskip("pocketsphinx")
    from streams.encoders.recognisers.grammar import GrammarModel

    return GrammarModel(ROBOT)


def test_a_broken_grammar_is_refused_and_a_strange_word_reported(robot: Any) -> None:
    from streams.encoders.recognisers.grammar import GrammarModel

    assert isinstance(robot, RecogniserModel)
    assert isinstance(robot.recogniser(), Recogniser)
    assert set(robot.guessed) == {"flurb"}
    with pytest.raises(GrammarInvalid):
        GrammarModel("#JSGF V1.0;\ngrammar x;\npublic <a> = (go | ;")


def test_silence_and_scraps_are_nothing(robot: Any) -> None:
    recogniser = robot.recogniser()
    recogniser.start()
    assert recogniser.finish() == Hypothesis()
    recogniser.start()
    recogniser.feed(np.zeros(RATE * 2, np.int16))
    assert recogniser.partial().text == ""
    assert recogniser.finish().text == ""


def listen(recogniser: Any, sound: Samples) -> tuple[list[str], Hypothesis]:
    recogniser.start()
    partials = []
    for at in range(0, len(sound), 1536):
        recogniser.feed(sound[at : at + 1536])
        partials.append(recogniser.partial().text)
    return partials, recogniser.finish()


def test_a_real_command_is_understood_and_real_speech_rejected(robot: Any, shared_data: Path) -> None:
    command = np.fromfile(shared_data / "commands" / "goforward.raw", np.int16)[3000:40_000]
    recogniser = robot.recogniser()
    partials, heard = listen(recogniser, command)
    assert heard.text == "go forward ten meters"
    assert heard.complete
    assert heard.confidence > 0.8
    assert "go forward" in partials
    assert [round(word.start / RATE, 1) for word in heard.words] == pytest.approx([0.3, 0.4, 1.0, 1.3], abs=0.15)
    for name in ("sense-0880", "arctic_aew_a0001", "sense-0890"):
        sound = Decoder(shared_data / "speech" / f"{name}.wav", RATE).read(60 * RATE)
        _, other = listen(recogniser, sound)
        assert other.text == ""
        assert other.guess or not other.complete
    recogniser.reset()
    assert listen(recogniser, command) == (partials, heard)  # as new


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sense-0880", "he was not an ill disposed young man"),
        ("sense-0890", "unless to be rather cold hearted and rather selfish is to be ill disposed"),
    ],
)
def test_real_words_that_the_sentence_leaves_out_are_not_passed_over(name: str, said: str, shared_data: Path) -> None:
    pytest.importorskip("pocketsphinx")
    from streams.encoders.recognisers.grammar import GrammarModel

    sound = Decoder(shared_data / "speech" / f"{name}.wav", RATE).read(60 * RATE)
    head = "#JSGF V1.0;\ngrammar x;\npublic <s> = stop | "
    assert listen(GrammarModel(f"{head}{said};").recogniser(), sound)[1].text == said
    words = said.split()
    for first in (2, 6):  # "not an", "young man"; "be rather", "and rather"
        less = " ".join(words[:first] + words[first + 2 :])
        heard = listen(GrammarModel(f"{head}{less};").recogniser(), sound)[1]
        assert heard.text == ""
        assert heard.confidence < 0.6


def test_a_stop_word_of_a_partial_is_heard_twice_before_it_is_told() -> None:
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("espeakng_loader")
    from embodied.voices.espeak import Espeak, EspeakVoice
    from streams.audio.resample import Resampler
    from streams.encoders.recognisers.grammar import GrammarModel

    voice = EspeakVoice(Espeak(language="en-us+m3"))
    resampler = Resampler(voice.rate, RATE)
    said = np.concatenate([*(resampler.push(chunk.samples) for chunk in voice.speak("stop")), resampler.finish()])
    voice.close()
    recogniser = GrammarModel(ROBOT, urgent=("stop",)).recogniser()
    recogniser.start()
    recogniser.feed(np.zeros(RATE * 3 // 10, np.int16))
    heard = []
    for at in range(0, len(said), 512):
        recogniser.feed(said[at : at + 512])
        heard.append(recogniser.partial())
    first = next(at for at, each in enumerate(heard) if each.guess == "stop" or each.text == "stop")
    assert heard[first].text == ""
    assert heard[first + 1].text == "stop"

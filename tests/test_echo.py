"""The echo canceller in simulated rooms, with the agent's real voice and real people."""

import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.echo import Canceller
from streams.audio.echo_reference import Reference
from streams.audio.resample import Resampler
from streams.clock import SECOND, Stopwatch
from streams.encoders.echo import EchoCanceller, EchoConfig, echo_canceller
from streams.encoders.vad import SileroVad
from streams.errors import DependencyMissing, SourceError
from streams.packet import Packet
from streams.topics import AUDIO, CLEAN, PLAYBACK
from streams.types import Audio, Samples, SpeechStarted
from tests import room
from tests.model_files import model_file
from tests.room import RATE, Room, Sound, active_rms, at_level, measured, packets, read, through, walls

VOICE = 22_050
TEXTS = (
    "The weather tomorrow will be mostly sunny, with a light breeze from the west.",
    "I have added milk, bread and three apples to your shopping list. Would you like me to order them now?",
    "The next train to the airport leaves from platform four at twelve minutes past nine.",
    "There are seven messages for you. The first one is from your sister.",
)


@cache
def agent(seconds: int, language: str = "en-us") -> Samples:
    """int16 at 22050 Hz: the agent speaks, with 300 ms between its sentences."""
    voice = EspeakVoice(Espeak(language=language))
    pieces: list[Samples] = []
    try:
        for text in TEXTS:
            pieces.extend(chunk.samples for chunk in voice.speak(text))
            pieces.append(np.zeros(VOICE * 3 // 10, np.int16))
    finally:
        voice.close()
    return np.resize(np.concatenate(pieces), seconds * VOICE)


@cache
def sounded(seconds: int) -> Sound:
    """The same as the air gets it, float32 at 16 kHz."""
    resampler = Resampler(VOICE, RATE)
    samples = np.concatenate([resampler.push(agent(seconds)), resampler.finish()])
    return (samples / np.float32(32768)).astype(np.float32)


def erle(the: Room, played: Sound, clean: NDArray[np.int16], first: float, last: float) -> float:
    """dB by which echo is weaker in `clean` than at the microphone, noise apart, between two times (s)."""
    part = slice(int(first * RATE), int(last * RATE))
    left = clean[part] / np.float32(32768) - the.hiss(len(played))[part]
    return float(10 * np.log10(np.sum(the.echo(played)[part] ** 2) / np.sum(left**2)))


def starts(samples: NDArray[np.int16]) -> list[float]:
    """Seconds at which Silero decides that somebody began to speak."""
    vad = SileroVad(model_file("silero-vad"))
    packet = Packet(AUDIO, len(samples) * SECOND // RATE, 0, 0, 0, Audio(samples, RATE, 0))
    return [emit.data.decided_ns / SECOND for emit in vad.push(packet) if isinstance(emit.data, SpeechStarted)]


@pytest.mark.parametrize(
    ("the", "least"),
    [
        (Room(walls(0.3, 1), delay_ms=10), 22),
        (Room(walls(0.6, 2), delay_ms=60, drift_ppm=100), 20),
        (Room(walls(0.4, 3), delay_ms=400, drift_ppm=-50), 20),
        (Room(walls(0.4, 4), delay_ms=200, drive=2.0, snr_db=20), 15),
    ],
    ids=["near", "drift", "late", "loudspeaker"],
)
def test_the_agent_does_not_hear_itself(the: Room, least: float) -> None:
    played = sounded(12)
    heard = the.microphone(played)
    clean, _, percepts = through(EchoCanceller(), packets(heard, agent(12), VOICE, early_ms=20))
    assert len(starts(heard)) >= 1
    assert starts(clean) == []
    assert erle(the, played, clean, 7, 12) > least
    late = [emit.data for emit in percepts if emit.t > 5 * SECOND]
    assert 55 < len(late) < 80  # about ten a second
    assert np.mean([echo.similarity > 0.7 for echo in late]) > 0.95
    assert abs(late[-1].delay_ms - the.delay_ms) < 8
    assert late[-1].erle_db > 10


@pytest.mark.parametrize("name", ["rir1", "rir2"])
def test_real_rooms(name: str, shared_data: Path) -> None:
    the = Room(measured(shared_data, name), delay_ms=40, snr_db=20)
    clean, _, _ = through(EchoCanceller(), packets(the.microphone(sounded(10)), agent(10), VOICE, early_ms=20))
    assert starts(clean) == []


@pytest.mark.parametrize("ratio_db", [5, 0, -5])
def test_double_talk_keeps_the_person(ratio_db: int, shared_data: Path) -> None:
    the = Room(walls(0.4, 5), delay_ms=60, snr_db=25, drive=1.0, drift_ppm=50)
    played = sounded(16)
    person, begins = np.zeros(len(played), np.float32), (5.0, 7.7, 10.4, 13.1)
    names = ("sense-0870", "arctic_aew_a0001", "sense-0890", "arctic_axb_a0004")
    for name, begin in zip(names, begins):
        words = at_level(read(shared_data / "speech" / f"{name}.wav")[: int(1.5 * RATE)], the.level_db + ratio_db)
        person[int(begin * RATE) :][: len(words)] = words
    alone = starts(np.rint((person + the.hiss(len(person))) * 32768).astype(np.int16))
    heard = the.microphone(played, person)
    clean, _, percepts = through(EchoCanceller(), packets(heard, agent(16), VOICE, early_ms=20))
    found = starts(clean)
    for begin in begins:
        wanted = next(t for t in alone if begin <= t < begin + 1.5)
        assert [t for t in found if begin <= t <= wanted + 0.25], (begin, wanted, found)
        # the classifier: somebody else, at least in the moments after the voice was found
        near = [emit.data.similarity for emit in percepts if wanted <= emit.t / SECOND <= wanted + 0.4]
        assert min(near) < 0.5
    assert len(found) <= len(begins) + 2  # a sentence may be cut in two
    # what is left of the person is the person
    part = slice(int(5.2 * RATE), int(6.4 * RATE))
    voice, left = person[part], clean[part] / np.float32(32768)
    likeness = float(voice @ left) / np.sqrt(float(voice @ voice) * float(left @ left))
    assert likeness > (0.85, 0.7, 0.5)[(5, 0, -5).index(ratio_db)]


def test_a_loudspeaker_far_louder_than_the_digits_say() -> None:
    quiet = (agent(8) // 10).astype(np.int16)
    the = Room(walls(0.3, 11), delay_ms=60, level_db=-20)
    clean, _, _ = through(EchoCanceller(), packets(the.microphone(sounded(8)), quiet, VOICE, early_ms=20))
    assert starts(clean) == []
    assert erle(the, sounded(8), clean, 4, 8) > 20


def test_a_moved_microphone_is_found_again() -> None:
    the = Room(walls(0.4, 6), moved=walls(0.3, 7, distance_m=1.0), moved_s=6)
    played = sounded(12)
    clean, _, percepts = through(EchoCanceller(), packets(the.microphone(played), agent(12), VOICE, early_ms=20))
    assert erle(the, played, clean, 8.5, 12) > 20
    assert all(t < 8 for t in starts(clean))
    told = [emit.data.similarity for emit in percepts if 6.4 < emit.t / SECOND < 9]
    assert np.mean([similarity > 0.5 for similarity in told]) > 0.9  # it is still called our own


def test_idle_and_with_headphones_not_a_bit_is_changed(shared_data: Path) -> None:
    with wave.open(str(shared_data / "speech" / "sense-0880.wav")) as file:
        person = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    encoder = EchoCanceller()
    clean, emits, percepts = through(encoder, packets(person, np.zeros(0, np.int16), VOICE, begin=12_345_678))
    assert np.array_equal(clean, person)
    assert percepts == []
    assert emits[0].data.start == 0
    for emit in emits:
        assert emit.t == 12_345_678 + emit.data.end * (SECOND // RATE)
    silence = np.zeros(VOICE, np.int16)
    clean, _, percepts = through(EchoCanceller(), packets(person, silence, VOICE, silent=True))
    assert np.array_equal(clean, person)
    assert percepts == []


def test_headphones_keep_the_person(shared_data: Path) -> None:
    person = np.zeros(8 * RATE, np.float32)
    words = read(shared_data / "speech" / "sense-0890.wav")[: 3 * RATE]
    person[4 * RATE :][: len(words)] = at_level(words, -26)
    heard = np.rint((person + Room(walls(0.3)).hiss(len(person))) * 32768).astype(np.int16)
    clean, _, _ = through(EchoCanceller(), packets(heard, agent(8), VOICE, early_ms=20))
    assert abs(starts(clean)[0] - starts(heard)[0]) < 0.1


def test_every_block_size_gives_the_same() -> None:
    the = Room(walls(0.3, 1), delay_ms=30)
    heard = the.microphone(sounded(3))
    first, _, said = through(EchoCanceller(), packets(heard, agent(3), VOICE, early_ms=60))
    for block in (160, 333, 512):
        again, _, told = through(EchoCanceller(), packets(heard, agent(3), VOICE, early_ms=60, block=block))
        assert np.array_equal(first, again)
        assert told == said


def test_reset_is_as_new() -> None:
    the = Room(walls(0.3, 1), delay_ms=300)
    heard = the.microphone(sounded(4))
    stream = packets(heard, agent(4), VOICE)
    encoder = EchoCanceller()
    first = through(encoder, stream)[0]
    encoder.reset()
    assert np.array_equal(first, through(encoder, stream)[0])


@pytest.mark.parametrize(
    ("delay_ms", "early_ms", "wander_ms"), [(10, 0, 0), (0, 0, 3), (60, 0, 0), (-25, 60, 3), (150, 60, 4)]
)
def test_a_reference_that_comes_early_late_or_with_wandering_stamps(
    delay_ms: float, early_ms: float, wander_ms: float
) -> None:
    the = Room(walls(0.3, 8), delay_ms=delay_ms)
    played = sounded(10)
    stream = packets(the.microphone(played), agent(10), VOICE, early_ms=early_ms, wander_ms=wander_ms, begin=SECOND)
    clean, emits, percepts = through(EchoCanceller(), stream)
    assert len(clean) == len(played)
    assert erle(the, played, clean, 5, 10) > 18
    assert abs(percepts[-1].data.delay_ms - delay_ms) < 9
    for emit in emits:
        assert emit.t == SECOND + emit.data.end * (SECOND // RATE)


def test_what_is_late_is_waited_for_32_ms_at_most() -> None:
    the = Room(walls(0.3, 8), delay_ms=10)
    encoder, longest, now = EchoCanceller(), 0, 0
    for packet in packets(the.microphone(sounded(4)), agent(4), VOICE, early_ms=-20):
        now = packet.t if packet.topic is AUDIO else now
        for emit in encoder.push(packet):
            if emit.topic is CLEAN:
                longest = max(longest, now - emit.t)
    assert longest <= 52_000_000  # and the block of 20 ms in which the next one comes


def test_lost_samples_are_silence_and_the_path_is_kept() -> None:
    the = Room(walls(0.3, 9), delay_ms=40)
    played = sounded(12)
    stream = packets(the.microphone(played), agent(12), VOICE, early_ms=20)
    short = [p for p in stream if not (p.topic is AUDIO and 5.0 < p.t / SECOND < 5.3)]
    clean, emits, _ = through(EchoCanceller(), short)
    assert len(clean) == len(played)
    assert erle(the, played, clean, 7, 12) > 20
    long = [p for p in stream if not (p.topic is AUDIO and 5.0 < p.t / SECOND < 7)]
    _, emits, _ = through(EchoCanceller(), long)
    for emit in emits:
        assert emit.t == emit.data.end * (SECOND // RATE)
    tail = np.concatenate([emit.data.samples for emit in emits if emit.data.start >= int(8.2 * RATE)])
    place = next(emit.data.start for emit in emits if emit.data.start >= int(8.2 * RATE))
    before = the.echo(played)[place : place + len(tail)]
    assert active_rms((tail / np.float32(32768)).astype(np.float32)) < 0.15 * active_rms(before)


def test_the_reference_reads_between_samples() -> None:
    time = np.arange(VOICE) / VOICE
    tone = (8000 * np.sin(2 * np.pi * 1000 * time) + 4000 * np.sin(2 * np.pi * 5000 * time)).astype(np.int16)
    reference = Reference(VOICE)
    for start in range(0, VOICE, 441):
        reference.write(tone[start : start + 441], 1000 + start)
    step = VOICE / RATE * (1 + 80e-6)
    got = reference.read(1000.25 + 9000, step, 256)
    places = (9000.25 + step * np.arange(-256, 0)) / VOICE
    want = (8000 * np.sin(2 * np.pi * 1000 * places) + 4000 * np.sin(2 * np.pi * 5000 * places)) / 32768
    assert np.max(np.abs(got - want)) < 2e-4
    assert not reference.read(1000.0 - reference.reach, step, 256).any()
    assert not reference.read(1000.0 + VOICE + 5000, step, 256).any()


def test_it_takes_a_twentieth_of_a_core() -> None:
    the = Room(walls(0.3, 1), delay_ms=30)
    stream = packets(the.microphone(sounded(8)), agent(8), VOICE, early_ms=20)
    encoder = EchoCanceller()
    with Stopwatch() as watch:
        through(encoder, stream)
    assert watch.cpu / 8 < 0.12  # measured 0.022
    quiet = packets(np.zeros(8 * RATE, np.int16), np.zeros(0, np.int16), VOICE)
    with Stopwatch() as watch:
        through(EchoCanceller(), quiet)
    assert watch.cpu / 8 < 0.03  # measured 0.004


def test_the_rate_of_the_microphone_is_checked() -> None:
    with pytest.raises(SourceError, match="echo needs sound at 16000 Hz and got 48000"):
        EchoCanceller().push(Packet(AUDIO, 0, 0, 0, 0, Audio(np.zeros(960, np.int16), 48_000, 0)))


def test_cost_is_declared_for_long_blocks_while_the_agent_speaks() -> None:
    encoder = EchoCanceller()
    long = Packet(AUDIO, SECOND, 0, 0, 0, Audio(np.zeros(RATE, np.int16), RATE, 0))
    short = Packet(AUDIO, SECOND, 0, 0, 0, Audio(np.zeros(320, np.int16), RATE, 0))
    assert encoder.cost(long) == 0
    through(encoder, packets(np.zeros(3200, np.int16), agent(4)[VOICE // 2 : VOICE], VOICE, early_ms=20))
    assert encoder.cost(long) > 10_000_000
    assert encoder.cost(short) == 0
    assert encoder.cost(Packet(PLAYBACK, 0, 0, 0, 0, long.data)) == 0


def test_engines() -> None:
    assert echo_canceller(EchoConfig(engine="none")) is None
    kalman = echo_canceller(EchoConfig(tail_ms=256))
    assert isinstance(kalman, EchoCanceller)
    assert Canceller(256).hop == 256


def test_livekit_keeps_the_clock_or_says_what_is_missing() -> None:
    try:
        encoder = echo_canceller(EchoConfig(engine="livekit"))
    except DependencyMissing as error:
        assert "visavis[livekit]" in str(error)
        return
    assert encoder is not None
    the = Room(walls(0.3, 1), delay_ms=40, snr_db=25)
    heard = the.microphone(sounded(8))
    clean, emits, percepts = through(encoder, packets(heard, agent(8), VOICE, early_ms=20))
    assert len(clean) == len(heard)
    for emit in emits:
        assert emit.t == emit.data.end * (SECOND // RATE)
    assert [t for t in starts(clean) if t > 2] == []
    assert np.mean([emit.data.similarity > 0.7 for emit in percepts if emit.t > 3 * SECOND]) > 0.9


def test_the_simulated_clock_drifts() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    slow = room.stretched(tone, 100.0)
    want = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE / (1 + 100e-6))
    assert np.max(np.abs(slow[:-100] - want[:-100])) < 0.01

"""Voice activity and end of turn on real models and real speech."""

import asyncio
import json
import wave
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bus import Bus
from streams.clock import MS, Clock, run
from streams.encoders.turn_end import SmartTurn, TurnEndConfig
from streams.encoders.vad import Segments, SileroVad, VadConfig, WebRtcVad
from streams.packet import Packet
from streams.ports import Emit, Encoder
from streams.pump import pump
from streams.topics import AUDIO, PERCEPT, VOICE
from streams.types import Samples, SpeechEnded, SpeechStarted, TurnEnd, Voice
from tests.model_files import model_file
from tests.test_blocks import LATE, cut, packet

SIZES = ([160], [320], [512], [16_000], [7, 1600, 33])


@pytest.fixture(scope="module")
def silero() -> Path:
    return model_file("silero-vad")


@pytest.fixture(scope="module")
def smart_turn() -> Path:
    return model_file("smart-turn")


def speech(shared_data: Path, name: str) -> tuple[Samples, list[tuple[float, float]]]:
    """A second of faint noise, a read sentence, a second of faint noise; and where its words lie (s)."""
    with wave.open(str(shared_data / "speech" / f"{name}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    noise = np.random.default_rng(0).normal(0, 10, (2, 16_000)).astype(np.int16)
    words = json.loads((shared_data / "speech" / f"{name}.align.json").read_text())["w"]
    spans = [(1 + word["b"], 1 + word["b"] + word["d"]) for word in words if not word["t"].startswith("<")]
    return np.concatenate((noise[0], samples, noise[1])), spans


def hear(encoders: Sequence[Encoder], samples: Samples, sizes: list[int]) -> list[Emit]:
    """All that the encoders say, each packet reaching all its readers in publish order: a bus without a loop."""
    said: list[Emit] = []
    for each in cut(samples, sizes):
        queue: deque[Packet[Any]] = deque([each])
        while queue:
            one = queue.popleft()
            for encoder in encoders:
                if one.topic in encoder.reads:
                    emits = encoder.push(one)
                    said.extend(emits)
                    queue.extend(Packet(emit.topic, emit.t, 0, 0, 0, emit.data) for emit in emits)
    for encoder in encoders:
        said.extend(encoder.flush())
    return said


def seconds(t: int) -> float:
    return (t - LATE) / 1e9


def test_silero_is_the_same_for_every_block_size(silero: Path, shared_data: Path) -> None:
    samples, _ = speech(shared_data, "sense-0880")
    first = hear([SileroVad(silero)], samples, [len(samples)])
    assert sum(emit.topic is VOICE for emit in first) == len(samples) // 512
    for sizes in SIZES:
        assert hear([SileroVad(silero)], samples, sizes) == first


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_silero_is_the_same_for_random_splits(silero: Path, sizes: list[int]) -> None:
    samples = (np.random.default_rng(1).normal(0, 3000, 20_000) * (np.arange(20_000) % 9000 > 4000)).astype(np.int16)
    assert hear([SileroVad(silero)], samples, sizes) == hear([SileroVad(silero)], samples, [20_000])


def test_silero_finds_the_words(silero: Path, shared_data: Path) -> None:
    marks, probabilities = [], []
    for name in ("sense-0870", "sense-0880", "sense-0890"):
        samples, spans = speech(shared_data, name)
        said = hear([SileroVad(silero)], samples, [320])
        starts = [emit for emit in said if isinstance(emit.data, SpeechStarted)]
        ends = [emit for emit in said if isinstance(emit.data, SpeechEnded)]
        assert [emit.data.segment for emit in starts] == [emit.data.segment for emit in ends]
        assert abs(seconds(starts[0].t) - spans[0][0]) < 0.15
        assert seconds(starts[0].data.decided_ns) - spans[0][0] < 0.2
        assert abs(seconds(ends[-1].t) - spans[-1][1]) < 0.2
        for emit in said:
            if emit.topic is VOICE:
                middle = seconds(emit.t) - 0.016
                marks.append(any(start <= middle < end for start, end in spans))
                probabilities.append(emit.data.probability)
    mark, probability = np.array(marks), np.array(probabilities)
    above = probability[mark][:, None] > probability[~mark][None, :]
    assert above.mean() > 0.97  # ROC-AUC
    heard = probability >= 0.5
    assert 2 * (heard & mark).sum() / (heard.sum() + mark.sum()) > 0.95  # F1


def test_a_stream_that_breaks_ends_what_was_open(silero: Path, shared_data: Path) -> None:
    samples, _ = speech(shared_data, "sense-0880")
    vad = SileroVad(silero)
    said = list(vad.push(packet(samples[:32_000], 0)))
    assert said[-1].data.speaking
    after = vad.push(packet(samples, 320_000))
    assert isinstance(after[0].data, SpeechEnded)
    assert after[0].t <= said[-1].t
    fresh = SileroVad(silero).push(packet(samples, 320_000))
    assert [emit.data.probability for emit in after if emit.topic is VOICE] == [
        emit.data.probability for emit in fresh if emit.topic is VOICE
    ]
    vad.reset()
    assert list(vad.push(packet(samples[:32_000], 0))) == said


def test_after_long_digital_silence_the_words_are_found_as_after_short(silero: Path, shared_data: Path) -> None:
    samples, _ = speech(shared_data, "sense-0880")
    second = np.zeros(16_384, np.int16)  # 32 hops: from here on the model is not asked
    after: list[list[Emit]] = []
    for seconds in (1, 60):
        emits = hear([SileroVad(silero)], np.concatenate([*[second] * seconds, samples]), [320])
        shift = LATE + seconds * len(second) * 62_500
        after.append([Emit(e.topic, e.t - shift, e.data) for e in emits if e.topic is VOICE and e.t > shift])
    assert len(after[0]) > 100
    assert after[0] == after[1]


def test_end_of_stream_ends_the_segment(silero: Path, shared_data: Path) -> None:
    samples, _ = speech(shared_data, "sense-0880")
    vad = SileroVad(silero)
    last = vad.push(packet(samples[:32_000], 0))[-1]
    (ended,) = vad.flush()
    assert ended == Emit(PERCEPT, last.t, SpeechEnded(1, last.t))
    assert vad.flush() == []


def test_webrtc_is_the_same_for_every_block_size(shared_data: Path) -> None:
    samples, _ = speech(shared_data, "sense-0890")
    first = hear([WebRtcVad()], samples, [len(samples)])
    assert any(isinstance(emit.data, SpeechStarted) for emit in first)
    for sizes in SIZES:
        assert hear([WebRtcVad()], samples, sizes) == first


HOP = 32 * MS


def changes(probabilities: Sequence[float], config: VadConfig | None = None) -> list[tuple[str, int, int]]:
    segments = Segments(config or VadConfig(), HOP)
    said = [segments.feed((place + 1) * HOP, probability) for place, probability in enumerate(probabilities)]
    said.append(segments.close(len(probabilities) * HOP))
    return [(type(emit.data).__name__, emit.t // HOP, emit.data.decided_ns // HOP) for emit in said if emit]


def test_segments_by_hand() -> None:
    assert changes([0, 0.9, 0.9, 0.9, 0, 0, 0, 0, 0, 0, 0]) == [("SpeechStarted", 1, 3), ("SpeechEnded", 4, 10)]
    assert changes([0, 0.9, 0, 0, 0.9, 0]) == []  # clicks
    assert changes([0.9, 0.4, 0.4, 0, 0]) == [("SpeechStarted", 0, 2), ("SpeechEnded", 3, 5)]  # hysteresis
    assert changes([0.4] * 9) == []
    pause = [0.9, 0.9, *[0.1] * 5, 0.9, *[0.1] * 6]  # 160 ms is a pause, 192 ms an end
    assert changes(pause) == [("SpeechStarted", 0, 2), ("SpeechEnded", 8, 14)]
    assert changes([0.9] * 3, VadConfig(min_speech_ms=0)) == [("SpeechStarted", 0, 2), ("SpeechEnded", 3, 3)]


@given(st.lists(st.floats(0, 1), max_size=80))
def test_segments_alternate_and_never_overlap(probabilities: list[float]) -> None:
    said = changes(probabilities)
    assert [kind for kind, _, _ in said] == ["SpeechStarted", "SpeechEnded"] * (len(said) // 2)
    times = [t for _, t, _ in said]
    assert times == sorted(times)
    assert all(t <= decided for _, t, decided in said)


def turn_ends(said: list[Emit]) -> list[Emit]:
    return [emit for emit in said if isinstance(emit.data, TurnEnd)]


def test_smart_turn_is_the_same_for_every_block_size(silero: Path, smart_turn: Path, shared_data: Path) -> None:
    samples, spans = speech(shared_data, "sense-0890")
    encoders = [SileroVad(silero), SmartTurn(smart_turn)]
    first = turn_ends(hear(encoders, samples, [len(samples)]))
    assert 0 < seconds(first[-1].t) - spans[-1][1] < 0.4
    assert first[-1].data.silence_ns == 160 * MS
    assert all(0 <= emit.data.probability <= 1 for emit in first)
    for sizes in SIZES:
        for encoder in encoders:
            encoder.reset()
        assert turn_ends(hear(encoders, samples, sizes)) == first


def test_on_the_bus_it_is_the_same(silero: Path, smart_turn: Path, shared_data: Path) -> None:
    """Through the real pump on virtual time, where the end-of-turn model takes its declared 100 ms."""
    samples, _ = speech(shared_data, "sense-0880")

    async def session(size: int) -> list[tuple[int, int, Any]]:
        clock = Clock()
        bus = Bus(clock)
        with bus.open(PERCEPT, reader="test") as lane:
            async with asyncio.TaskGroup() as group:
                pumps = [group.create_task(pump(one, bus, clock)) for one in (SileroVad(silero), SmartTurn(smart_turn))]
                for each in cut(samples, [size]):
                    await clock.sleep_until(each.t - LATE)
                    bus.publish(AUDIO, each.t, each.data)
                bus.close(AUDIO)
                await pumps[0]
                bus.close(VOICE)
            bus.close(PERCEPT)
            return [(packet.t, packet.at, packet.data) async for packet in lane]

    by_20_ms = run(session(320), virtual=True)
    assert by_20_ms == run(session(320), virtual=True)
    said = sorted(((t, data) for t, _, data in by_20_ms), key=str)
    expected = hear([SileroVad(silero), SmartTurn(smart_turn)], samples, [320])
    assert said == sorted(((e.t, e.data) for e in expected if e.topic is PERCEPT), key=str)
    assert said == sorted(((t, data) for t, _, data in run(session(16_000), virtual=True)), key=str)
    ends = [(t, at) for t, at, data in by_20_ms if isinstance(data, TurnEnd)]
    assert all(100 * MS <= at - (t - LATE) <= 120 * MS for t, at in ends)


def test_smart_turn_asks_once_per_silence_and_declares_it(smart_turn: Path) -> None:
    encoder = SmartTurn(smart_turn, TurnEndConfig(at_ms=(96, 160), cost_ms=80))
    encoder.push(packet(np.zeros(40_000, np.int16), 0))

    def voice(hop: int, probability: float, speaking: bool) -> list[int]:
        one = Packet(VOICE, LATE + hop * HOP, 0, 0, 0, Voice(probability, speaking))
        cost = encoder.cost(one)
        said = encoder.push(one)
        assert cost == (80 * MS if said else 0)
        assert all(emit.t == one.t for emit in said)
        return [emit.data.segment * 1000 + emit.data.silence_ns // MS for emit in said]

    def play(first: int, probabilities: list[float], speaking: list[bool]) -> list[int]:
        return [x for k, (p, s) in enumerate(zip(probabilities, speaking)) for x in voice(first + k, p, s)]

    click = play(1, [0.9, *[0.0] * 9], [False] * 10)
    assert click == []
    first = play(11, [0.9, 0.9, 0.9, *[0.1] * 12], [False, True, True, *[True] * 6, *[False] * 6])
    assert first == [1096, 1160]
    again = play(26, [0.9, 0.9, 0.1, 0.1, 0.1, 0.9, *[0.1] * 5], [False, *[True] * 10])
    assert again == [2096, 2096, 2160]  # a pause, then the end


def test_smart_turn_knows_an_end_from_a_cut(silero: Path, smart_turn: Path, shared_data: Path) -> None:
    """Minimal pairs: a whole question, and a longer one broken off inside. The mean must differ, not each one."""
    whole, broken = [], []
    phrases = json.loads((shared_data / "turn" / "phrases_subset.json").read_text())
    for phrase in phrases:
        path = shared_data / "turn" / f"{phrase['name']}.wav"
        if phrase["size"] != "long" or not path.is_file():
            continue
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        quiet = np.zeros(8000, np.int16)
        middle = int(phrase["starts"][len(phrase["starts"]) // 2] * 16_000)
        for part, results in ((samples, whole), (samples[:middle], broken)):
            said = turn_ends(hear([SileroVad(silero), SmartTurn(smart_turn)], np.concatenate((part, quiet)), [320]))
            results.extend(emit.data.probability for emit in said[-1:])
    assert len(whole) >= 8
    assert np.mean(whole) > 0.8
    assert np.mean(broken) < np.mean(whole) - 0.2

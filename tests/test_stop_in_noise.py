"""A "stop" beside a robot's motors: heard through their noise, and not heard where something else was said."""

import numpy as np
import pytest

from agent import assembly, config
from agent.session import Log
from benchmarks.spoken_stop import motors
from embodied.voices.espeak import Espeak, EspeakVoice
from streams.audio.blocks import RATE
from streams.audio.resample import Resampler
from streams.types import Audio, Halt, Samples
from tests.dialogues import parts

for module in ("espeakng_loader", "onnxruntime", "pocketsphinx"):
    pytest.importorskip(module)
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

LEAD_S = 3.0


def said(text: str, language: str = "en-us") -> Samples:
    """int16[samples] at 16 kHz, peak -10 dB of full scale."""
    voice = EspeakVoice(Espeak(language=language, rate_wpm=150))
    resampler = Resampler(voice.rate, RATE)
    try:
        sound = np.concatenate([*(resampler.push(chunk.samples) for chunk in voice.speak(text)), resampler.finish()])
    finally:
        voice.close()
    scaled: Samples = np.rint(sound / np.abs(sound).max() * 0.316 * 32767).astype(np.int16)
    return scaled


class Room:
    """A source: three seconds of noise, then what is said in it, then two seconds more."""

    name = "room"

    def __init__(self, speech: Samples, snr_db: float | None) -> None:
        from streams.topics import AUDIO

        self.writes = (AUDIO,)
        loud = np.abs(speech) > 0.02 * np.abs(speech).max()
        first, last = np.nonzero(loud)[0][[0, -1]]
        level = np.std(speech[first:last] / 32768)
        room = np.random.default_rng(1).normal(0, 10 ** (-66 / 20), round((LEAD_S + 2) * RATE) + len(speech))
        if snr_db is not None:
            room += motors(8.0)[: len(room)] * level * 10 ** (-snr_db / 20)
        begin = round(LEAD_S * RATE)
        room[begin : begin + len(speech)] += speech / 32768
        self.samples = np.rint(np.clip(room, -1, 1) * 32767).astype(np.int16)
        self.end_s = LEAD_S + last / RATE

    async def __aenter__(self) -> "Room":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def run(self, bus: object, clock: object) -> None:
        block = RATE // 50
        for start in range(0, len(self.samples) - block, block):
            t = (start + block) * 1_000_000_000 // RATE
            await clock.sleep_until(t)  # type: ignore[attr-defined]
            bus.publish(self.writes[0], t, Audio(self.samples[start : start + block], RATE, start))  # type: ignore[attr-defined]


def halts(text: str, snr_db: float | None, language: str = "en-us") -> list[float]:
    """Seconds from the end of what was said to each stop."""
    room, log = Room(said(text, language), snr_db), Log()
    settings = config.load(None, ["voice.engine=tones", "body.motion=none"])
    assembly.assemble(settings, [room], taps=[log]).run(speed=None)
    return [packet.t / 1e9 - room.end_s for packet in log.packets if isinstance(packet.data, Halt)]


@pytest.mark.parametrize("snr_db", [None, 20.0, 10.0])
def test_it_is_heard_and_soon(snr_db: float | None) -> None:
    found = halts("stop", snr_db)
    assert len(found) == 1 and found[0] < 0.3


@pytest.mark.parametrize("text", ["hello there", "go forward one meter", "what time is it", "that's all"])
@pytest.mark.parametrize("snr_db", [None, 10.0])
def test_nothing_else_stops_it(text: str, snr_db: float | None) -> None:
    assert halts(text, snr_db) == []


def test_without_either_the_motors_drown_it(monkeypatch: pytest.MonkeyPatch) -> None:
    load = config.load
    without = ["speech.denoise_above_db=0", "speech.grammar.urgent_margin=0"]
    monkeypatch.setattr(config, "load", lambda path, lines: load(path, [*lines, *without]))
    assert halts("stop", 10.0) == []

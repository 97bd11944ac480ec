"""The optional recognisers: against the real libraries as far as they go without weights, and beyond with stand-ins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streams.encoders.recognisers import Recogniser
from streams.encoders.recognisers.moonshine import MoonshineModel, MoonshineRecogniser, hypothesis_of
from streams.encoders.recognisers.sherpa import TAIL, SherpaModel, SherpaRecogniser, words_of
from streams.errors import ModelError, ModelMissing

SECOND = np.zeros(16_000, np.int16)


class Transducer:
    """Stands in for `sherpa_onnx.OnlineRecognizer`: one token per 0.32 s of sound, begun where the sound is."""

    TOKENS = ("▁TURN", "▁LE", "FT", "▁NOW")

    def create_stream(self) -> Any:
        stream = SimpleNamespace(samples=0, decoded=0, finished=False)

        def accept(rate: int, samples: Any) -> None:
            assert rate == 16_000
            assert samples.dtype == np.float32
            stream.samples += len(samples)

        stream.accept_waveform = accept
        stream.input_finished = lambda: setattr(stream, "finished", True)
        return stream

    def is_ready(self, stream: Any) -> bool:
        return bool(stream.samples - stream.decoded * 5120 >= 5120)

    def decode_stream(self, stream: Any) -> None:
        stream.decoded += 1

    def get_result_all(self, stream: Any) -> Any:
        count = min(stream.decoded, len(self.TOKENS))
        times = [0.32 * place for place in range(count)]
        return SimpleNamespace(tokens=list(self.TOKENS[:count]), timestamps=times, ys_probs=[-0.1] * count)


def test_sherpa_words_are_whole_and_timed() -> None:
    words = words_of(["▁TURN", "▁LE", "FT"], [0.1, 0.5, 0.7], [0.0, np.log(0.5), np.log(0.7)], 16_000)
    assert [word.text for word in words] == ["turn", "left"]
    assert (words[0].start, words[0].end) == (1600, 8000)
    assert words[1].confidence == pytest.approx(0.6)
    assert words_of([], [], [], 0) == []


def test_sherpa_decodes_what_is_whole_and_the_rest_at_the_end() -> None:
    recogniser = SherpaRecogniser(Transducer())
    assert isinstance(recogniser, Recogniser)
    recogniser.start()
    recogniser.feed(SECOND[:6000])
    assert recogniser.partial().text == "turn"
    recogniser.feed(SECOND[:6000])
    assert recogniser.partial().text == "turn le"
    heard = recogniser.finish()
    assert heard.text == "turn left now"
    assert not heard.complete
    assert len(TAIL) < 16_000
    recogniser.start()
    assert recogniser.partial().text == ""


def test_sherpa_names_the_file_it_misses(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"no encoder \(encoder\*\.onnx\)"):
        SherpaModel(tmp_path)


def test_the_real_sherpa_has_what_the_recogniser_calls() -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    for name in ("from_transducer", "create_stream", "is_ready", "decode_stream", "get_result_all"):
        assert callable(getattr(sherpa_onnx.OnlineRecognizer, name))


def test_moonshine_joins_lines_and_drops_punctuation() -> None:
    word = SimpleNamespace(word="Turn", start=0.1, end=0.4, confidence=0.9)
    other = SimpleNamespace(word="left,", start=0.5, end=0.8, confidence=0.8)
    lines = [SimpleNamespace(text="Turn left,", words=[word, other]), SimpleNamespace(text="please.", words=None)]
    heard = hypothesis_of(SimpleNamespace(lines=lines))
    assert heard.text == "turn left please"
    assert [each.text for each in heard.words] == ["turn", "left"]
    assert heard.words[1].start == 8000
    assert heard.confidence == pytest.approx(0.8)
    assert hypothesis_of(SimpleNamespace(lines=[])).text == ""


def test_moonshine_transcribes_by_amount_of_sound() -> None:
    asked: list[int] = []

    class Stream:
        def __init__(self) -> None:
            self.samples = 0

        def start(self) -> None: ...

        def close(self) -> None: ...

        def add_audio(self, samples: list[float], rate: int) -> None:
            self.samples += len(samples)

        def update_transcription(self) -> Any:
            asked.append(self.samples)
            return SimpleNamespace(lines=[SimpleNamespace(text=f"{len(asked)}", words=None)])

        def stop(self) -> Any:
            return self.update_transcription() if self.samples < 30_000 else None

    recogniser = MoonshineRecogniser(SimpleNamespace(create_stream=lambda update_interval: Stream()), 8000)
    assert isinstance(recogniser, Recogniser)
    recogniser.start()
    for _ in range(6):
        recogniser.feed(SECOND[:1600])
    assert asked == [8000]
    assert recogniser.partial().text == "1"
    assert recogniser.finish().text == "2"
    recogniser.start()
    recogniser.feed(np.zeros(40_000, np.int16))
    with pytest.raises(ModelError, match="failed to transcribe"):
        recogniser.finish()


def test_moonshine_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"tokenizer\.bin"):
        MoonshineModel(tmp_path)


def test_the_real_moonshine_refuses_a_broken_model(tmp_path: Path) -> None:
    pytest.importorskip("moonshine_voice")
    (tmp_path / "tokenizer.bin").write_bytes(b"not a tokenizer")
    with pytest.raises(ModelError, match="Moonshine cannot load"):
        MoonshineModel(tmp_path)

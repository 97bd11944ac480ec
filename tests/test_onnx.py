"""The ONNX wrapper on the real Silero graph: what it checks, shares and carries."""

import threading
from pathlib import Path

import numpy as np
import pytest

from streams import onnx
from streams.errors import ModelMismatch, ModelMissing, ProviderMissing
from streams.onnx import Model, Tensor
from tests.model_files import model_file

STATE = Tensor("float32", (2, 1, 128))
INPUTS = {"input": Tensor("float32", (1, 576)), "sr": Tensor("int64", ()), "state": STATE}
OUTPUTS = {"output": Tensor("float32", (1, 1)), "stateN": STATE}


@pytest.fixture(scope="module")
def silero() -> Path:
    return model_file("silero-vad")


def load(path: Path, **changes: object) -> Model:
    kinds: dict[str, object] = {"inputs": INPUTS, "outputs": OUTPUTS, "state": {"state": "stateN"}, **changes}
    return Model.load(path, **kinds)  # type: ignore[arg-type]


def test_one_graph_for_all_sessions_and_a_state_for_each(silero: Path) -> None:
    model = load(silero)
    assert load(silero) is model
    assert model.provider == "cpu"
    assert "tensorrt is not in this ONNX Runtime" in model.fallback  # never silent
    assert load(silero, providers=("cpu",)).fallback == ""

    sounds = np.random.default_rng(0).normal(0, 0.1, (20, 2, 576)).astype(np.float32)
    streams = [model.stream(), model.stream()]
    states = [np.zeros((2, 1, 128), np.float32)] * 2
    for stream in streams:
        stream.inputs["sr"][...] = 16000
    first = []
    for both in sounds:  # two streams in turns, each equal to plain calls with the state carried by hand
        for place, stream in enumerate(streams):
            stream.inputs["input"][0] = both[place]
            stream.step()
            feeds = {"input": both[place][None], "sr": np.array(16000), "state": states[place]}
            probability, states[place] = model.run(feeds)
            assert stream.outputs["output"] == probability
        first.append(streams[0].outputs["output"].copy())
    streams[0].reset()
    streams[0].inputs["sr"][...] = 16000
    for both, expected in zip(sounds, first, strict=True):
        streams[0].inputs["input"][0] = both[0]
        streams[0].step()
        assert streams[0].outputs["output"] == expected


def test_threads_share_a_model(silero: Path) -> None:
    model = load(silero)
    feeds = {name: kind.zeros() for name, kind in INPUTS.items()} | {"sr": np.array(16000)}
    expected = model.run(feeds)[0]
    wrong: list[object] = []

    def many() -> None:
        wrong.extend(result for _ in range(50) if (result := model.run(feeds)[0]) != expected)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {**INPUTS, "sound": STATE}}, r"no input 'sound'; it has input, sr, state"),
        ({"inputs": {**INPUTS, "sr": Tensor("int32", ())}}, r"input 'sr' should take int32\[\], but is int64\[\]"),
        ({"inputs": {**INPUTS, "state": Tensor("float32", (2, 1, 64))}}, r"'state' should take float32\[2, 1, 64\]"),
        ({"inputs": {**INPUTS, "input": Tensor("float32", (576,))}}, r"'input' should take float32\[576\]"),
        ({"inputs": {"input": INPUTS["input"], "state": STATE}}, r"wants more inputs than we know: sr"),
        ({"outputs": {"speech": Tensor("float32", (1, 1)), "stateN": STATE}}, r"no output 'speech'"),
    ],
)
def test_other_tensors_than_expected(silero: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelMismatch, match=message):
        load(silero, **changes)


def test_not_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("this is no protobuf")
    with pytest.raises(ModelMismatch, match="is not an ONNX graph"):
        load(path)
    with pytest.raises(ModelMissing, match="visavis models"):
        load(tmp_path / "absent.onnx")


def test_a_provider_that_was_insisted_on(silero: Path) -> None:
    if "CUDAExecutionProvider" not in onnx.runtime().get_available_providers():
        with pytest.raises(ProviderMissing, match=r"none of the execution providers cuda.*Add 'cpu'"):
            load(silero, providers=("cuda",))
    with pytest.raises(ProviderMissing, match="'gpu'"):
        load(silero, providers=("gpu",))

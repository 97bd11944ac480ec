"""Packages of chunk policies: read strictly, opened only as what they say they are, and computed as they say."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from examples.reach.graph import Graph, message, number, text
from policies.chunks.description import Acted, ChunkSpec, Normal, Observed
from policies.chunks.errors import ChunkRefused, PackageError
from policies.chunks.graphs import LoadedGraph
from policies.chunks.inference import OnnxPolicy
from policies.chunks.package import Package, read_spec, write_package
from policies.chunks.policy import Observation
from tests.chunk_scenes import one_pass, spec, two_ways


def seen(*state: float) -> Observation:
    return Observation(0, {"observation.state": np.array(state, np.float32)})


def change(folder: Path, **parts: Any) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))
    return folder


def test_one_pass_is_normalised_on_both_sides(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(one_pass(tmp_path, gain=1.0))
    rows = policy.infer(seen(2.0, -1.0), None, 0)
    # in: (x - 1) / 2; out: -1..1 is -4..8, so y * 6 + 2
    assert rows.shape == (4, 2) and rows.dtype == np.float32
    assert np.allclose(rows, [[5.0, -4.0]] * 4)


def test_relative_actions_are_added_to_the_state(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(one_pass(tmp_path, gain=1.0, relative=True))
    assert np.allclose(policy.infer(seen(2.0, -1.0), None, 0), [[7.0, -5.0]] * 4)


def test_a_flow_goes_one_of_two_ways_and_follows_the_one_before(tmp_path: Path) -> None:
    policy = OnnxPolicy.load(two_ways(tmp_path), samples=24, seed=1)
    free = [float(policy.infer(seen(0.0), None, 0).mean()) for _ in range(60)]
    assert {round(each) for each in free} == {-1, 1}
    for way in (-1.0, 1.0):
        before = np.full((6, 1), way, np.float32)
        for stitch in ("forward", "best_of"):
            after = [policy.infer(seen(0.0), before, 2, stitch) for _ in range(30)]  # type: ignore[arg-type]
            assert np.abs(np.stack(after) - way).max() < 0.05, stitch
        assert len({round(float(policy.infer(seen(0.0), before, 2, "replace").mean())) for _ in range(40)}) == 2


def test_the_same_seed_gives_the_same_chunks(tmp_path: Path) -> None:
    first, second = (OnnxPolicy.load(two_ways(tmp_path), seed=5) for _ in range(2))
    for _ in range(5):
        assert (first.infer(seen(0.0), None, 0) == second.infer(seen(0.0), None, 0)).all()


def test_a_picture_is_taken_in_height_width_colour(tmp_path: Path) -> None:
    graph = Graph("policy")
    picture = graph.input("observation.images.front", [1, 3, 8, 16])
    flat = graph.node("Reshape", picture, graph.constant(np.array([1, 384])))
    weight = np.zeros((2, 384), np.float32)
    weight[0, 0], weight[1, 2 * 128 + 17] = 1, 1  # red at 0, 0; blue at row 1, column 1
    shape = graph.constant(np.array([1, 2, 1]))
    graph.output("action", [1, 2, 1], graph.node("Reshape", graph.linear(flat, weight, None), shape))
    described = spec(
        ("j1.pos",), 2, family="one_pass", rtc="none",
        observation={"observation.images.front": Observed(size=(8, 16), normal=Normal((0.5,) * 3, (0.5,) * 3))},
    )  # fmt: skip
    write_package(tmp_path, described, {"policy": graph.data()})
    policy = OnnxPolicy.load(tmp_path)
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[0, 0, 0] = 255
    rows = policy.infer(Observation(0, {"observation.images.front": pixels}), None, 0)
    assert np.allclose(rows[:, 0], [1.0, -1.0])
    with pytest.raises(ChunkRefused, match="not uint8"):
        policy.infer(Observation(0, {"observation.images.front": pixels.astype(np.float32)}), None, 0)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "has no observation.state"),
        ({"observation.state": np.zeros(3)}, r"shape \(3,\)"),
        ({"observation.state": np.array([0, np.nan])}, "no number"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(tmp_path: Path, values: Any, says: str) -> None:
    with pytest.raises(ChunkRefused, match=says):
        OnnxPolicy.load(one_pass(tmp_path)).infer(Observation(0, values), None, 0)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"speed": 3}, "unknown field `speed`"),
        ({"horizon": 100_000}, "<= 512"),
        ({"horizon": "4"}, "horizon"),
        ({"dt_ms": 0}, "dt_ms"),
        ({"rtc": "forward"}, "only a flow"),
        ({"family": "flow"}, "encoder, step"),
        ({"graphs": {"policy": {"file": "../../passwd", "sha256": "0" * 64}}}, "file"),
        ({"graphs": {"policy": {"file": "policy.pkl", "sha256": "0" * 64}}}, "file"),
        ({"action": {"names": ["j1.pos", "j1.pos"]}}, "twice"),
        ({"action": {"names": ["j1.pos", "j2.pos"], "normal": {"mean": [0, 0], "std": [1, 0]}}}, "not above 0"),
        ({"action": {"names": ["j1.pos", "j2.pos"], "normal": {"mean": [0], "std": [1]}}}, "2 numbers"),
        ({"action": {"names": ["j1.pos", "j9.pos"], "relative": True}}, "relative"),
        ({"observation": {"observation.smell": {"names": ["a"]}}}, "observation"),
        ({"observation": {"observation.images.front": {"names": ["a"]}}}, "picture"),
        ({"kind": "something else"}, "kind"),
        ({"format": 2}, "format"),
    ],
)
def test_a_description_that_is_wrong_is_refused_and_it_says_why(tmp_path: Path, parts: Any, says: str) -> None:
    with pytest.raises(PackageError, match=says):
        read_spec(change(one_pass(tmp_path), **parts))


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="cannot read"):
        Package.read(tmp_path / "nowhere")
    folder = one_pass(tmp_path)
    graph = folder / "policy.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(PackageError, match="SHA-256"):
        Package.read(folder)
    graph.unlink()
    with pytest.raises(PackageError, match="cannot read"):
        Package.read(folder)
    (folder / "policy.json").write_bytes(b"[" * 300_000)
    with pytest.raises(PackageError, match="larger than"):
        read_spec(folder)
    (folder / "policy.json").write_bytes(b"[" * 200_000)
    with pytest.raises(PackageError, match="no description"):
        read_spec(folder)
    (folder / "policy.json").write_bytes(b'{"name": NaN}')
    with pytest.raises(PackageError, match="no description"):
        read_spec(folder)


def test_graphs_that_are_not_as_described_are_not_run(tmp_path: Path) -> None:
    data = (one_pass(tmp_path) / "policy.onnx").read_bytes()
    described = read_spec(tmp_path)
    three = ("j1.pos", "j2.pos", "j3.pos")
    for changed, says in (
        ({"horizon": 5}, "output action has the shape"),
        ({"action": Acted(three)}, "output action has the shape"),
        ({"observation": {"observation.state": Observed(three)}}, "input observation.state has the shape"),
        ({"observation": {"observation.environment_state": Observed(three)}}, "has the inputs observation.state"),
    ):
        parts = {name: getattr(described, name) for name in described.__struct_fields__}
        write_package(tmp_path, type(described)(**{**parts, **changed}), {"policy": data})
        with pytest.raises(PackageError, match=says):
            OnnxPolicy.load(tmp_path)
    write_package(tmp_path, described, {"policy": b"no graph at all"})
    with pytest.raises(PackageError, match="no graph that ONNX Runtime can run"):
        OnnxPolicy.load(tmp_path)


def test_weights_in_another_file_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would not be covered by the checksum."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(4, "<f4").tobytes())
    graph = Graph("outside")
    state = graph.input("x", [4])
    entry = text(1, "location") + text(2, "weights.bin")
    tensor = number(1, 4) + number(2, 1) + text(8, "w") + message(13, entry) + number(14, 1)
    graph._tensors += message(5, tensor)
    graph.output("y", [4], graph.node("Add", state, "w"))
    with pytest.raises(PackageError, match="no graph that ONNX Runtime can run"):
        LoadedGraph(graph.data(), "outside.onnx", {"x": (4,)}, {"y": (4,)})


def test_the_example_of_the_docs_is_one() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "control.md").read_text(encoding="utf-8")
    example = text.partition("```json\n")[2].partition("```")[0].replace("…", "0" * 64)
    msgspec.json.decode(example, type=ChunkSpec).check()

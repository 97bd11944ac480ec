"""Fitting the wait to households: the silences are those of the turn-taker, the figures hold, noise is no reason."""

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import config as configuration
from agent.errors import ConfigError, OutputError
from agent.tuning.command import add
from agent.tuning.comparison import Change, verdict
from agent.tuning.conversation import read
from agent.tuning.errors import TuningError
from agent.tuning.examples import Examples, examples
from agent.tuning.learning import learn, predicted
from agent.tuning.onnx_graph import onnx_bytes
from agent.tuning.tuning import Tuning, tune
from agent.tuning.waits import Table
from policies.endpointing import EndpointingConfig, judge
from policies.turn_model import FEATURES, Fusion, FusionError, features, parse
from policies.turn_model import read as read_fusion
from policies.turns import TurnConfig
from streams.clock import MS
from streams.errors import DependencyMissing, RecordingError
from streams.types import Adjusted, Manner, TurnCommitted
from tests.households import Piece, household, live, scene_of

GRACE_MS = float(TurnConfig().final_grace_ms)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Recordings of a kind of household, made once."""
    made: dict[str, list[Path]] = {}

    def recordings(kind: str) -> list[Path]:
        if kind not in made:
            made[kind] = household(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return recordings


def of(paths: list[Path]) -> Examples:
    return examples([read(path) for path in paths])


@pytest.fixture(scope="module")
def tuned(homes: Callable[[str], list[Path]]) -> Callable[[str], Tuning]:
    known: dict[str, Tuning] = {}

    def tuning(kind: str) -> Tuning:
        if kind not in known:
            known[kind] = tune(of(homes(kind)), TurnConfig(), seed=3)
        return known[kind]

    return tuning


# --- silences


@pytest.mark.parametrize("kind", ["slow", "quick", "noise"])
def test_the_waits_are_those_of_the_turn_taker(kind: str, homes: Callable[[str], list[Path]]) -> None:
    silences = of(homes(kind)).silences
    table = Table(silences)
    taken = table.taken_ms(TurnConfig(), GRACE_MS)
    committed = [each.committed_ms for each in silences]
    assert sum(real is not None for real in committed) > 100
    for silence, computed, real in zip(silences, taken, committed):
        if real is None:
            assert silence.label == "hold"
            assert computed > (silence.gap_ms or 0), "the turn-taker waited, so must this"
        else:
            assert computed == pytest.approx(real, abs=0.001)


def test_other_settings_give_the_waits_that_the_turn_taker_then_has(tmp_path: Path) -> None:
    rng = random.Random(5)
    pieces = [Piece(text, complete=False, p_end=rng.random(), final_after_ms=late) for text, late in MANY]
    scene = scene_of([[piece] for piece in pieces])
    live(tmp_path / "now.mcap", scene)
    other = TurnConfig(min_wait_ms=410, max_wait_ms=2600, confident=0.6, curve=0.7, model_weight=1.1, model_most=2.0)
    log = live(tmp_path / "other.mcap", scene, config=other)
    commits = {packet.data.text: packet for packet in log.packets if isinstance(packet.data, TurnCommitted)}
    silences = of([tmp_path / "now.mcap"]).silences
    taken = Table(silences).taken_ms(other, GRACE_MS)
    assert len(silences) == len(pieces)
    for silence, computed in zip(silences, taken):
        commit = commits[silence.moments[-1].text]
        assert computed == pytest.approx((commit.at - commit.data.end_ns) / MS, abs=0.001)


def test_patience_counts_from_when_it_is_adjusted(tmp_path: Path) -> None:
    scene = scene_of([[SURE], [SURE], [SURE]])
    scene.append((10_000, 10_000, Adjusted(Manner(patience=0.8))))
    live(tmp_path / "r.mcap", scene, manner=Manner(patience=2.0))
    silences = of([tmp_path / "r.mcap"]).silences
    assert [silence.patience for silence in silences] == [2.0, 2.0, 0.8]
    taken = Table(silences).taken_ms(TurnConfig(), GRACE_MS)
    assert list(taken) == pytest.approx([silence.committed_ms for silence in silences], abs=0.001)


MANY = [
    (f"{number} {text}", late)
    for number in ("blue", "red", "green")
    for text, late in (("one for", 220), ("thing", 700), ("light and", 1500), ("", 300))
]


def test_probabilities_are_those_of_judge(homes: Callable[[str], list[Path]]) -> None:
    silences = of(homes("slow")).silences[:40]
    config = EndpointingConfig(model_weight=0.9, model_neutral=0.7, model_most=0.8)
    found = Table(silences).probability(config)
    for row, silence in enumerate(silences):
        for column, moment in enumerate(silence.moments):
            judged = judge(
                config,
                text=moment.text,
                complete=moment.complete,
                final=moment.final,
                model=moment.model,
                asked=moment.asked,
            )
            assert found[row, column] == pytest.approx(judged.probability, abs=1e-4)


def labels(tmp_path: Path, saying: list[Piece], **how: Any) -> list[tuple[str, bool]]:
    live(tmp_path / "r.mcap", scene_of([saying]), **how)
    return [(each.label, each.committed_ms is not None) for each in of([tmp_path / "r.mcap"]).silences]


BEGUN = Piece("set a timer for", complete=False, p_end=0.2)
SURE = Piece("look at the table", complete=False, p_end=0.99)


def test_a_pause_within_a_turn_is_a_hold(tmp_path: Path) -> None:
    rest = Piece("ten minutes", 500, complete=False)
    assert labels(tmp_path, [BEGUN, rest]) == [("hold", False), ("end", True)]


def test_a_turn_that_was_taken_too_early_is_a_hold(tmp_path: Path) -> None:
    rest = Piece("the green one", 900, complete=False)
    assert labels(tmp_path, [SURE, rest]) == [("hold", True), ("end", True)]
    (early, late) = of([tmp_path / "r.mcap"]).silences
    assert early.group == late.group
    assert early.gap_ms == pytest.approx(980)  # known 80 ms after it begins


@pytest.mark.parametrize(
    ("next_", "why"),
    [
        (Piece("look at the table", 900), "it was said again at once"),
        (Piece("no i meant the chair", 900), "a correction at once"),
        (Piece("stop", 500), ""),
        (Piece("the green one", 1600, complete=False), "talked over soon"),
    ],
)
def test_what_cannot_be_told_is_left_out(tmp_path: Path, next_: Piece, why: str) -> None:
    live(tmp_path / "r.mcap", scene_of([[SURE, next_]]))
    found = of([tmp_path / "r.mcap"])
    assert (why in found.untold) == bool(why)
    assert "hold" not in {each.label for each in found.silences}


def test_two_sentences_are_no_hold(tmp_path: Path) -> None:
    live(tmp_path / "r.mcap", scene_of([[Piece("turn left"), Piece("go forward", 600)]]))
    assert of([tmp_path / "r.mcap"]).untold["a second sentence at once"] == 1


def test_a_recording_that_ends_tells_no_end(tmp_path: Path) -> None:
    live(tmp_path / "r.mcap", scene_of([[SURE]], rest_ms=0), tail_ms=900)
    found = of([tmp_path / "r.mcap"])
    assert found.silences == ()
    assert found.untold == {"the recording ends": 1}


# --- fitting


def test_who_thinks_aloud_is_waited_for_and_who_is_quick_is_not(tuned: Callable[[str], Tuning]) -> None:
    slow, quick = tuned("slow"), tuned("quick")
    assert slow.now is not None
    assert quick.now is not None
    at_slow, at_quick = slow.proposals[0], quick.proposals[0]
    assert at_slow.row.cut.count < slow.now.cut.count / 2
    assert at_slow.verdict.recommended
    assert (at_quick.row.median_ms or 0) < 0.6 * (quick.now.median_ms or 0)
    assert at_quick.row.cut.count <= quick.now.cut.count
    assert at_quick.verdict.recommended
    doubt = {"text": "look at the table", "complete": False, "final": True, "model": 0.7, "asked": False}
    wait_slow, wait_quick, wait_now = (
        judge(config, **doubt).wait_ns for config in (at_slow.config, at_quick.config, EndpointingConfig())
    )
    assert wait_slow > wait_now > wait_quick


def test_the_learnt_fusion_is_better_on_what_it_has_not_seen(tuned: Callable[[str], Tuning]) -> None:
    for kind in ("slow", "quick"):
        tuning = tuned(kind)
        learnt = tuning.proposals[1]
        assert tuning.now is not None
        assert learnt.verdict.recommended
        assert learnt.row.cut.count <= tuning.now.cut.count
        assert (learnt.row.median_ms or 0) < (tuning.now.median_ms or 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_recommended_on_noise(tmp_path: Path, seed: int) -> None:
    tuning = tune(of(household(tmp_path, "noise", seed=seed)), TurnConfig(), seed=seed, most=1.0)
    assert tuning.best is None
    assert len(tuning.proposals) == 2
    assert not any(proposal.verdict.recommended for proposal in tuning.proposals)


def test_too_little_is_told_with_how_much_is_missing(tmp_path: Path) -> None:
    few = of(household(tmp_path, "quick", days=1, count=30))
    tuning = tune(few, TurnConfig(), model=False)
    assert tuning.best is None
    assert "30 more things said" in tuning.missing
    fewer = tune(of(household(tmp_path, "quick", days=1, count=5)), TurnConfig(), model=False)
    assert fewer.now is None
    assert "more things said" in fewer.missing


def test_the_same_seed_gives_the_same(homes: Callable[[str], list[Path]], tuned: Callable[[str], Tuning]) -> None:
    assert tune(of(homes("slow")), TurnConfig(), seed=3) == tuned("slow")


def test_the_held_out_part_is_the_newest_and_unseen(tuned: Callable[[str], Tuning]) -> None:
    tuning = tuned("slow")
    assert 0.2 * tuning.said < tuning.held_out < 0.45 * tuning.said
    fusion = tuning.proposals[1].fusion
    assert fusion is not None
    assert fusion.trained["said"] == tuning.said - tuning.held_out


@pytest.mark.parametrize(
    ("change", "recommended"),
    [
        (Change(-0.2, (-0.3, -0.1), 300, (200, 400), 300), True),  # fewer cut off
        (Change(0.0, (0.0, 0.0), -100, (-150, -50), -100), True),  # quicker
        (Change(0.0, (-0.1, 0.1), -100, (-150, -50), -100), False),  # quicker, but perhaps at their cost
        (Change(0.02, (-0.01, 0.04), -100, (-150, -50), -100), False),
        (Change(0.0, (0.0, 0.0), -100, (-150, 10), -100), False),  # by chance
        (Change(-0.1, (-0.2, 0.0), 0, (0, 0), 0), False),
        (Change(-0.2, (-0.3, -0.1), 0, (-50, 50), 0), True),
        (Change(0.0, (0.0, 0.0), 0, (0, 0), 0), False),
    ],
)
def test_only_what_the_interval_shows_is_recommended(change: Change, recommended: bool) -> None:
    judged = verdict(change, 50, over=True)
    assert judged.recommended is recommended
    assert judged.why.endswith(".")


def test_a_longer_wait_is_worth_it_only_where_too_much_is_cut_off() -> None:
    longer = Change(-0.2, (-0.3, -0.1), 300, (200, 400), 300)
    assert "300 ms longer" in verdict(longer, 50, over=True).why
    assert not verdict(longer, 50, over=False).recommended


# --- the learnt fusion


@pytest.fixture(scope="module")
def fusion(tuned: Callable[[str], Tuning]) -> Fusion:
    found = tuned("slow").proposals[1].fusion
    assert found is not None
    return found


def test_onnx_and_python_agree(fusion: Fusion, homes: Callable[[str], list[Path]]) -> None:
    import onnxruntime

    table = Table(of(homes("slow")).silences)
    session = onnxruntime.InferenceSession(onnx_bytes(fusion), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"features": ",".join(FEATURES), "fusion": fusion.hash}
    values = table.features[table.known]
    (found,) = session.run(["probability"], {"features": values.astype(np.float32)})
    assert found.shape == (len(values),)
    assert np.abs(found - predicted(fusion, table)[table.known]).max() < 1e-5


def test_the_fusion_survives_its_file_and_steers_the_judgement(fusion: Fusion, tmp_path: Path) -> None:
    (tmp_path / "turns.json").write_text(fusion.text())
    text = read_fusion(tmp_path / "turns.json")
    assert parse(text) == fusion
    evidence = {"complete": False, "final": True, "asked": False, "spoken_ns": 900 * MS}
    learnt = TurnConfig(fusion_text=text)
    sure = judge(learnt, text="turn on the lamp", model=0.97, **evidence)
    doubt = judge(learnt, text="turn on the lamp", model=0.6, **evidence)
    assert sure.probability > doubt.probability
    assert sure.wait_ns < doubt.wait_ns
    assert sure.evidence["fusion"] == fusion.hash[:8]
    values = features(words=4, hold_word=False, model=0.6, **evidence)
    assert doubt.probability == round(fusion.probability(values), 4)
    assert judge(learnt, text="", complete=False, final=False, asked=False, model=None).wait_ns > 0  # all unknown


def test_without_a_fusion_nothing_changes() -> None:
    evidence = {"text": "turn left and", "complete": False, "final": True, "model": 0.7, "asked": False}
    assert judge(EndpointingConfig(), **evidence) == judge(EndpointingConfig(), **evidence, spoken_ns=5 * MS)
    assert judge(EndpointingConfig(), **evidence).evidence["hold_word"] == -2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_bias": 0.5}, "changed after it was made"),
        ({"features": ("model",)}, "other evidence"),
        ({"mean": (0.0,)}, "do not fit together"),
        ({"scale": tuple([0.0] * len(FEATURES))}, "no numbers"),
    ],
)
def test_a_damaged_fusion_is_refused(fusion: Fusion, change: dict[str, Any], message: str) -> None:
    broken = msgspec.structs.replace(fusion, **change)
    with pytest.raises(FusionError, match=message):
        parse(msgspec.json.encode(broken).decode())


def test_what_is_no_fusion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match=r"none\.json"):
        read_fusion(tmp_path / "none.json")
    (tmp_path / "x.json").write_text('{"kind": "else"}')
    with pytest.raises(FusionError, match=r"x\.json: this is no turn model"):
        read_fusion(tmp_path / "x.json")


def test_training_is_calibrated_on_what_it_has_not_seen(homes: Callable[[str], list[Path]]) -> None:
    table = Table(of(homes("noise")).silences)
    learnt = learn(table, seed=1)
    last = table.known.sum(axis=1) - 1
    unseen = learnt.unseen[np.arange(len(last)), last]
    assert abs(float(unseen.mean()) - float((~table.hold).mean())) < 0.1
    assert float(unseen.std()) < 0.2, "noise gives no certainty"


# --- the command


def run(*given: str) -> int:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["tune", "turns", *given])
    return int(arguments.command(arguments))


def test_the_command_writes_what_can_be_used(
    homes: Callable[[str], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    assert run(*map(str, homes("quick")), "--out", str(out), "--seed", "3") == 0
    printed = capsys.readouterr().out
    assert "Recommended: the" in printed
    assert {path.name for path in out.iterdir()} == {"turns.toml", "turns.json", "turns.onnx", "report.json"}
    settings = configuration.load(out / "turns.toml")
    assert settings.turns != TurnConfig()
    read_fusion(out / "turns.json")
    report = json.loads((out / "report.json").read_text())
    assert report["said"] == 150
    assert report["best"] in {"fitted settings", "learnt fusion"}
    assert report["proposals"][0]["row"]["cut"]["of"] == report["held_out"]


def test_what_is_may_be_a_fusion_already(
    homes: Callable[[str], list[Path]], fusion: Fusion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "turns.json").write_text(fusion.text())
    (tmp_path / "agent.toml").write_text(f'[turns]\nfusion = "{tmp_path / "turns.json"}"\n')
    paths = map(str, homes("slow"))
    run(*paths, "--config", str(tmp_path / "agent.toml"), "--no-model", "--out", str(tmp_path / "out"))
    table = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["now"]["cut"]["count"] != 17, "other than by the rules"
    assert "nothing was fitted to" in table
    (tmp_path / "turns.json").write_text("{}")
    with pytest.raises(FusionError, match=r"turns\.json"):
        run(str(homes("slow")[0]), "--config", str(tmp_path / "agent.toml"), "--no-model")


def test_the_command_recommends_nothing_on_noise(
    homes: Callable[[str], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*map(str, homes("noise")), "--out", str(tmp_path / "out"), "--no-model", "--most", "1") == 1
    assert "Nothing is recommended" in capsys.readouterr().out
    assert configuration.load(tmp_path / "out" / "turns.toml") == configuration.Config()
    assert not (tmp_path / "out" / "turns.onnx").exists()


def test_wrong_input_is_told(homes: Callable[[str], list[Path]], tmp_path: Path) -> None:
    path = str(homes("quick")[0])
    with pytest.raises(OutputError, match="there is no folder"):
        run(path, "--out", str(tmp_path / "a" / "b"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a folder"):
        run(path, "--out", str(tmp_path / "file"))
    with pytest.raises(RecordingError, match="no recording"):
        run(str(Path(__file__)), "--no-model")
    live(tmp_path / "silent.mcap", [], tail_ms=500)
    with pytest.raises(TuningError, match="no turn that somebody spoke"):
        run(str(tmp_path / "silent.mcap"), "--no-model")
    (tmp_path / "agent.toml").write_text("[turns]\nnonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        run(path, "--no-model", "--config", str(tmp_path / "agent.toml"))
    with pytest.raises(SystemExit):
        run(path, "--held-out", "3")


def test_without_torch_it_says_what_is_missing(
    homes: Callable[[str], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DependencyMissing, match=r"visavis\[train\].*--no-model"):
        run(str(homes("quick")[0]))

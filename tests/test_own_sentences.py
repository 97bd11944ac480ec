"""A recording has the sentences it was made with in it: it replays as it was, whatever became of their files."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from agent import assembly, config
from agent.parts import changed, jsgf_text, sentences
from policies.sentences import Sentences
from streams.recording import Recording
from streams.types import Say
from tests.composed import Said
from tests.dialogues import Held, hold, parts, visavis

__all__ = ["parts"]
OWN = '[intents.joke]\nsentences = ["tell me a joke"]\nreply = "Two robots meet."\n'
JSGF = "#JSGF V1.0;\ngrammar g;\npublic <g> = tell me a joke;\n"


def test_sentences_are_made_of_texts_as_of_files(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    own = Sentences.load([path])
    assert [name for name, _ in own.texts] == ["en.toml", str(path)]
    again = Sentences.of(own.texts)
    assert (again.digest, again.grammar()) == (own.digest, own.grammar())


def test_the_header_has_the_texts_and_a_replay_uses_them(tmp_path: Path) -> None:
    path, jsgf = tmp_path / "own.toml", tmp_path / "own.gram"
    path.write_text(OWN)
    jsgf.write_text(JSGF)
    settings = config.load(assignments=[f"policy.sentences=['{path}']", f"speech.jsgf={jsgf}"])
    header = assembly.header(settings, datetime.now(UTC))
    recorded = config.reload(header.config)
    assert changed(recorded) == []
    assert changed(settings) == []
    digest = sentences(settings).digest
    path.write_text(OWN.replace("meet", "part"))
    jsgf.unlink()
    has_changed, is_gone = changed(recorded)
    assert str(path) in has_changed and "has changed" in has_changed and f"policy.sentences=['{path}']" in has_changed
    assert str(jsgf) in is_gone and "cannot be read" in is_gone
    assert (sentences(recorded).digest, header.extra["sentences"]) == (digest, digest)
    assert jsgf_text(recorded) == JSGF
    new = config.reload(header.config, [f"policy.sentences=['{path}']", "speech.jsgf="])
    assert sentences(new).digest != digest and changed(new) == [] and jsgf_text(new) == ""
    older = [["en.toml", "# older"], *map(list, recorded.policy.texts[1:])]
    (told, _, _) = changed(config.reload(header.config, [f"policy.texts={msgspec.json.encode(older).decode()}"]))
    assert "built-in sentences" in told


@pytest.fixture
def held(tmp_path: Path, parts: None) -> Held:
    (tmp_path / "own.toml").write_text(OWN)
    setting = f"policy.sentences=['{tmp_path / 'own.toml'}']"
    return hold(tmp_path, [Said(0.5, "tell me a joke")], settings=["turn_end.engine=none", setting])


def test_a_recording_replays_without_its_files(held: Held, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [packet.data.text for packet in Recording.open(held.recording).packets() if isinstance(packet.data, Say)]
    assert said == ["Two robots meet."]
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace("meet", "part"))
    for mode in ("media", "percepts"):
        capsys.readouterr()
        assert visavis("replay", str(held.recording), "--check", "--from", mode) == 0
        told = capsys.readouterr().out
        assert "own.toml has changed" in told and "identical" in told
    assert visavis("replay", str(held.recording), "--set", f"policy.sentences=['{path}']") == 0
    told = capsys.readouterr().out
    assert "Two robots part." in told and "has changed" not in told
    path.unlink()
    assert visavis("replay", str(held.recording), "--check") == 0
    assert "own.toml cannot be read" in capsys.readouterr().out

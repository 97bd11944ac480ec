"""A session that waits by a learnt fusion: as the table said, recorded with it, and replayed without its file."""

import random
from pathlib import Path

import pytest

from agent import config as configuration
from agent.parts import with_fusion
from agent.tuning.conversation import read
from agent.tuning.examples import examples
from agent.tuning.learning import learn, predicted
from agent.tuning.waits import Table
from tests.households import household, live, scene_of, slow


def test_a_session_waits_as_the_table_says(tmp_path: Path) -> None:
    fusion = learn(Table(examples([read(p) for p in household(tmp_path, "slow", days=2)]).silences), seed=1).fusion
    (tmp_path / "turns.json").write_text(fusion.text())
    (tmp_path / "agent.toml").write_text('[turns]\nmax_wait_ms = 2500\nfusion = "turns.json"\n')
    turns = with_fusion(configuration.load(tmp_path / "agent.toml").turns)
    live(tmp_path / "with.mcap", scene_of(slow(random.Random(9), 40)), config=turns)
    (tmp_path / "turns.json").unlink()
    conversation = read(tmp_path / "with.mcap")
    kept = conversation.settings.turns
    assert kept.fusion_text == fusion.text()
    table = Table(examples([conversation]).silences)
    taken = table.taken_ms(kept, float(kept.final_grace_ms), predicted(fusion, table))
    committed = [silence.committed_ms for silence in table.silences]
    assert sum(real is not None for real in committed) > 30
    for computed, real in zip(taken, committed):
        assert real is None or computed == pytest.approx(real, abs=0.001)

"""The configuration: strict where a person writes it, forgiving where an older version of the program did."""

import json

import pytest

from agent import config, parts
from agent.errors import ConfigError


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("turns.mx_wait_ms=900", "unknown key turns.mx_wait_ms: did you mean turns.max_wait_ms?"),
        ("turns.max_wait_ms=soon", "turns.max_wait_ms"),
        ("vad.threshold=7", "vad.threshold"),
        ("turns=3", "turns"),
        ("turns.max_wait_ms", "section.key=value"),
        ("colour.of=the sky", "unknown key colour"),
    ],
)
def test_what_a_person_gets_wrong_is_named_with_its_path(assignment: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(None, [assignment])
    assert told in str(error.value)


def test_a_setting_is_laid_over_the_defaults() -> None:
    settings = config.load(None, ["turns.max_wait_ms=900", "voice.engine=tones", "policy.sentences=[]"])
    assert (settings.turns.max_wait_ms, settings.voice.engine) == (900, "tones")


def test_a_recorded_configuration_comes_back_and_keys_of_another_version_are_told() -> None:
    recorded = json.loads(config.load(None, ["turns.max_wait_ms=900"]).text())
    recorded["turns"]["of_the_future"] = 1
    recorded["telepathy"] = {"engine": "none"}
    lines: list[str] = []
    settings = config.reload(json.dumps(recorded), ["turns.min_wait_ms=400"], lines.append)
    assert (settings.turns.max_wait_ms, settings.turns.min_wait_ms) == (900, 400)
    [line] = lines
    assert "turns.of_the_future" in line
    assert "telepathy" in line
    with pytest.raises(ConfigError, match="unknown key telepathy"):
        config.reload(json.dumps(recorded), ["telepathy.engine=some"])


def test_an_error_in_a_table_under_a_name_of_ones_own_names_it() -> None:
    with pytest.raises(ConfigError, match=r"mcp\.servers\.clock\.args = 3"):
        config.load(None, ['mcp.servers.time={command="x"}', 'mcp.servers.clock={command="y", args=3}'])
    with pytest.raises(ConfigError, match=r"mcp\.servers\.time\.comand: did you mean mcp\.servers\.time\.command"):
        config.load(None, ['mcp.servers.time={comand="x"}'])


def test_an_unknown_choice_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'loud'.*one of 'brief', 'normal', 'full'"):
        config.load(None, ["manner.verbosity=loud"])
    with pytest.raises(ConfigError, match="key_env"):
        config.load(None, ["llm.key_env=sk-a-real-key"])


def test_a_model_that_is_set_and_not_asked_is_told() -> None:
    assert parts.unused(config.load(None, ["llm.model=qwen3"]))
    assert not parts.unused(config.load(None, ["llm.model=qwen3", "policy.engine=llm"]))
    assert not parts.unused(config.load(None, []))

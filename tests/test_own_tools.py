"""Tools of one's own: handed over from Python, or installed with a package."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import registry
from agent.assembly import AgentBody
from agent.config import load
from agent.errors import ConfigError
from embodied.errors import ToolError
from embodied.toolbox import tool

SETTINGS = load(assignments=["voice.engine=tones"])
PACKAGE = '''
from embodied.toolbox import tool

def forecast(place: str = "here") -> str:
    """How the weather will be."""
    return f"It will rain {place}."

def _wave() -> None:
    """Wave."""

wave = tool(_wave, name="wave", timeout_s=3.0)

def bad(what) -> None: ...
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def installed(*points: str) -> None:
        folder = tmp_path / "gadgets-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: gadgets\nVersion: 1\n")
        (folder / "entry_points.txt").write_text("\n".join(["[visavis.tools]", *points]))
        (tmp_path / "gadgets.py").write_text(PACKAGE)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "gadgets", raising=False)

    return installed


def weather() -> str:
    """The one handed over."""
    return "dry"


def test_tools_of_installed_packages_have_their_entry_points_names(install: Callable[..., None]) -> None:
    install("weather = gadgets:forecast", "wave = gadgets:wave")
    body = AgentBody(SETTINGS)
    assert {each.name: each.description for each in body.tools} == {
        "weather": "How the weather will be.",
        "wave": "Wave.",
    }
    assert next(each for each in body.tools if each.name == "wave").timeout_s == 3.0
    assert "weather" in registry.names("tools")
    own = AgentBody(SETTINGS, tools=[weather])
    assert [each.description for each in own.tools] == ["The one handed over.", "Wave."]
    assert [each.name for each in AgentBody(SETTINGS, tools=[tool(weather)], installed=False).tools] == ["weather"]
    assert AgentBody(SETTINGS, installed=False).tools == []


def test_what_is_no_tool_is_told_at_once(install: Callable[..., None]) -> None:
    install("bad = gadgets:bad")
    with pytest.raises(ToolError, match=r"tool bad: parameter 'what' has no annotation"):
        AgentBody(SETTINGS)


def test_an_entry_point_that_leads_nowhere_is_named(install: Callable[..., None]) -> None:
    install("gone = gadgets:gone")
    with pytest.raises(ConfigError, match=r"tools 'gone': the entry point 'gadgets:gone' cannot be loaded"):
        AgentBody(SETTINGS)

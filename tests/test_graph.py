"""The graph of a session, in its three forms."""

from collections.abc import Callable

import pytest

from agent import assembly, config
from agent.errors import ConfigError
from agent.graph import Part, Where, configured, dot, graph, mermaid, parts, text
from agent.session import Log
from streams.devices.camera import Camera
from streams.devices.microphone import Microphone
from streams.devices.remote import RemoteCamera, RemoteMicrophone
from streams.ports import Source
from streams.topics import TURN
from tests.talk import talk

PARTS = (
    Part("person.wav", "source", (), ("audio",)),
    Part("camera", "source", (), ("image",)),
    Part("silero", "encoder", ("audio",), ("voice", "percept")),
    Part("speech", "encoder", ("audio", "voice"), ("percept",)),
    Part("conductor", "conductor", ("percept", "feedback"), ("turn", "action")),
    Part("body", "body", ("action",), ("feedback", "playback")),
    Part("view", "tap", ("percept", "turn")),
)
TREE = """\
person.wav (source)
└─ audio
   ├> silero (encoder)
   │  ├─ voice
   │  │  └> speech (encoder)
   │  │     └─ percept
   │  │        └> conductor
   │  │           ├─ turn
   │  │           └─ action
   │  │              └> body
   │  │                 ├─ feedback
   │  │                 │  └> conductor (see above)
   │  │                 └─ playback
   │  └─ percept
   │     └> conductor (see above)
   └> speech (see above)
camera (source)
└─ image (newest 1 only)

taps (see packets, publish none)
└─ view: percept, turn

note: no part here reads image, playback"""


def test_the_tree_is_golden() -> None:
    assert text(PARTS) == TREE


def test_dot_and_mermaid_have_every_edge_once() -> None:
    edges = sum(len(part.reads) + len(part.writes) for part in PARTS)
    assert dot(PARTS).count("->") == edges
    assert mermaid(PARTS).count("->") == edges
    assert '"topic percept" -> p6 [style=dashed];' in dot(PARTS)
    assert "  t_percept -.-> p6" in mermaid(PARTS)
    evil = (Part('a"b\\', "source", (), ("audio",)),)
    assert 'label="a\\"b\\\\"' in dot(evil)
    assert '["a#quot;b\\"]' in mermaid(evil)


def test_a_session_tells_its_parts() -> None:
    session, _ = talk([Log(TURN)])
    assert [(part.name, part.kind) for part in parts(session)] == [
        ("percepts", "source"),
        ("conductor", "conductor"),
        ("body", "body"),
        ("log", "tap"),
        ("log", "tap"),
    ]
    assert parts(session)[1].writes == ("turn", "action")
    assert parts(session)[3].reads == ("turn",)
    assert graph(session).startswith("percepts (source)\n├─ voice\n│  └> conductor")
    assert graph(session, "dot").startswith("digraph")
    assert graph(session, "mermaid").startswith("flowchart")
    with pytest.raises(ValueError, match="choose text, dot or mermaid"):
        graph(session, "svg")  # type: ignore[arg-type]


def test_what_nobody_writes_is_said() -> None:
    assert text((Part("ears", "encoder", ("audio",), ()),)).endswith("note: ears reads audio, which nobody writes")


# --- the session of a configuration

PLAIN = ["vad.engine=webrtc", "turn_end.engine=none", "voice.engine=tones", "faces.engine=none"]  # no model is needed
FACES = Part("faces", "encoder", ("image",), ("percept",))
FACE_ENGINES = ("auto", "yunet")


def own_devices(settings: config.Config) -> list[Source]:
    return [Microphone(settings.microphone), Camera(settings.camera)]


def a_browser(settings: config.Config) -> list[Source]:
    return [RemoteMicrophone(), RemoteCamera()]


@pytest.mark.parametrize(
    ("where", "engine", "devices"),
    [
        ("live", "kalman", own_devices),
        ("live", "none", own_devices),
        ("web", "none", a_browser),
        ("web", "kalman", a_browser),
    ],
)
def test_it_is_the_session_that_would_run(
    where: Where, engine: str, devices: Callable[[config.Config], list[Source]]
) -> None:
    """Microphone, canceller and who reads CLEAN: as the parts of a real session tell it."""
    for module in ("webrtcvad", "pocketsphinx"):
        pytest.importorskip(module)
    settings = config.load(None, [*PLAIN, 'camera.source="0"', f"echo.engine={engine}"])
    real = parts(assembly.assemble(settings, devices(settings)))
    assert configured(settings, where) == real
    ears = [part for part in real if part.kind == "encoder" and part.name != "echo"]
    heard = "audio" if engine == "none" else "clean"
    assert {topic for part in ears for topic in part.reads if topic in ("audio", "clean")} == {heard}


def names(where: Where, *settings: str) -> list[str]:
    return [part.name for part in configured(config.load(None, [*PLAIN, *settings]), where)]


def test_auto_is_what_it_comes_to() -> None:
    assert "echo" in names("live")
    assert "echo" not in names("file")
    assert "echo" in names("file", "echo.engine=kalman")
    assert "echo" not in names("web")  # the browser takes it away
    assert "echo" in names("web", "console.echo=agent")


def test_who_has_eyes() -> None:
    assert "camera" not in names("live")
    for engine in FACE_ENGINES:
        seeing = configured(config.load(None, ['camera.source="0"', f"faces.engine={engine}"]), "live")
        assert [part for part in seeing if "image" in part.reads] == [FACES]
        assert FACES not in configured(config.load(None, [f"faces.engine={engine}"]), "live")
        assert FACES in configured(config.load(None, [f"faces.engine={engine}"]), "web")
    with pytest.raises(ConfigError, match="did you mean 'yunet'"):
        names("web", "faces.engine=yonet")


def test_the_tree_of_a_live_session() -> None:
    lines = graph(configured(config.load(None, PLAIN), "live")).splitlines()
    assert lines[:5] == [
        "microphone (source)",
        "└─ audio",
        "   └> echo (encoder)",
        "      ├─ clean",
        "      │  ├> vad (encoder)",
    ]
    assert sum(line.endswith("└> echo (see above)") for line in lines) == 1  # what is played comes back to it

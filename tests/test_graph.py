"""The graph of a session, in its three forms."""

import pytest

from agent.graph import Part, dot, graph, mermaid, parts, text
from agent.session import Log
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

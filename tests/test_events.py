"""The contract of `visavis events`: every type, exact values, and a page that says what the code does."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract import contract
from agent.events import event, lines, table
from streams.packet import Packet
from streams.topics import ALL, AUDIO, FEEDBACK, IMAGE, PERCEPT, TURN
from streams.types import Audio, Image, Outcome, SensesEnded, SpeechStarted, TurnWaiting, Word, Words
from tests.sessions import made_up

DOCS = Path(__file__).resolve().parents[1] / "docs" / "events.md"


def packet(topic: Any, data: Any, t: int = 1_234_567_891, at: int = 2_000_000_001) -> Packet[Any]:
    return Packet(topic, t, at, 0, 7, data)


def test_a_percept_is_its_fields_between_times_and_order() -> None:
    words = Words(3, "turn left", (Word("turn", 1, 2**60, 0.5),), True, 0.75, True)
    (text,) = lines([packet(PERCEPT, words)])
    line = json.loads(text)
    assert line == {
        "t": 1.234567891,
        "topic": "percept",
        "type": "Words",
        "segment": 3,
        "text": "turn left",
        "words": [{"text": "turn", "start_ns": 1, "end_ns": 2**60, "confidence": 0.5}],
        "final": True,
        "confidence": 0.75,
        "complete": True,
        "guess": "",
        "at": 2.000000001,
        "order": 7,
    }
    assert list(line)[:3] == ["t", "topic", "type"]
    assert list(line)[-2:] == ["at", "order"]


def test_media_are_described_and_given_only_on_demand() -> None:
    samples = np.array([1, -2, 300], np.int16)
    sound, picture = packet(AUDIO, Audio(samples, 16000, 640)), packet(IMAGE, Image(b"\xff\xd8", "jpeg", 64, 48))
    assert {"type": "Audio", "rate": 16000, "start": 640, "samples": 3}.items() <= event(sound).items()
    assert {"type": "Image", "format": "jpeg", "width": 64, "height": 48, "bytes": 2}.items() <= event(picture).items()
    assert "data" not in event(sound) | event(picture)
    assert np.array_equal(np.frombuffer(base64.b64decode(event(sound, media=True)["data"]), "<i2"), samples)
    assert base64.b64decode(event(picture, media=True)["data"]) == b"\xff\xd8"


def test_every_line_is_one_json_object_with_the_documented_fields() -> None:
    packets = made_up(2.0)
    told = list(lines(packets))
    assert len(told) == len(packets)
    documented = fields_of_page()
    for line, each in zip(told, packets):
        assert "\n" not in line
        values = json.loads(line)
        assert values["type"] == type(each.data).__name__
        assert (values["t"], values["order"]) == (round(each.t / 1e9, 9), each.order)
        assert set(values) - {"t", "topic", "type", "at", "order"} <= documented[values["type"]]


def fields_of_page() -> dict[str, set[str]]:
    """Fields by type, as the page lists them."""
    fields: dict[str, set[str]] = {}
    kind = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            kind = line.lstrip("# ")
            fields[kind] = set()
        elif line.startswith("| `"):
            fields[kind].add(line.split("`")[1])
    return fields


def test_the_page_is_what_the_code_says() -> None:
    assert DOCS.read_text(encoding="utf-8") == contract(), "run: python -m agent.contract > docs/events.md"
    page = fields_of_page()
    for topic in ALL:
        for kind in topic.types:
            fields = {field for field in getattr(kind, "__struct_fields__", ()) if kind not in (Audio, Image)}
            assert fields <= page[kind.__name__]


def test_the_table_is_for_people() -> None:
    waiting = TurnWaiting(1, 0.87654, 300_000_000, 2_300_000_000, {"p_model": 0.5, "text": "hi"})
    outcome = Outcome(1, 2, "Say", "", "done", "", "evil \x1b[2J\u009b text")
    packets = [
        packet(PERCEPT, SpeechStarted(1, 1_300_000_000)),
        packet(TURN, waiting),
        packet(TURN, SensesEnded()),
        packet(FEEDBACK, outcome),
    ]
    head, *rows = table(packets)
    assert head == "        t  topic     type            fields"
    assert rows[0] == "    1.235  percept   SpeechStarted   segment=1 decided=1.300s"
    assert rows[1] == (
        "    1.235  turn      TurnWaiting     "
        'turn=1 probability=0.877 wait=0.300s until=2.300s evidence={p_model 0.5, text "hi"}'
    )
    assert rows[2] == "    1.235  turn      SensesEnded"
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in rows[3])
    assert all(len(line) <= 60 for line in table(packets, width=60))


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        event(packet(FEEDBACK, Outcome(1, 1, "Call", "x", "done", "", object())))

"""How the agent behaves is changed from the console while a session runs; and what pages are shown of its model."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from agent import assembly, config
from agent.console.behaviour import Behaviour, adjusted
from agent.console.host import Host
from agent.console.protocol import ProtocolError
from agent.console.settings import ConsoleConfig
from agent.console.summary import encoded, summary
from agent.replay import Replay
from agent.replaying import perform
from policies.models.scripted import ScriptedModel, Tokens
from streams.clock import SECOND, Clock, run
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK, PERCEPT
from streams.types import (
    Adjusted,
    Ask,
    Call,
    Delta,
    Manner,
    Offer,
    Offered,
    Outcome,
    SpeechEnded,
    SpeechStarted,
    ToolPiece,
    TurnCommitted,
    Words,
)
from tests.console_page import Page, opened
from tests.minds import hold
from tests.test_console import ask, held

MIND = ["policy.engine=llm", "llm.price.input=2.0", "llm.price.output=8.0"]


def adjustments(page: Page) -> list[dict[str, Any]]:
    return page.of("Adjusted")


# --- the console


def test_a_change_is_a_percept_all_pages_know_and_it_replays(tmp_path: Path) -> None:
    async def act(host: Host) -> str:
        async with opened(host.address) as page, opened(host.address) as other:
            [welcome] = page.messages("welcome")
            assert Manner() == msgspec.convert(welcome["manner"], Manner)
            assert welcome["price"] is None
            await page.send(type="adjust", changes={"patience": 2.5, "persona": "  A pilot.\nBrave.\u0007 "})
            for each in (page, other):
                [told] = await each.until(lambda each: each.messages("manner"))
                assert told["by"] == welcome["viewer"]
                assert told["manner"]["patience"] == 2.5
                assert told["manner"]["persona"] == "A pilot.\nBrave."
                [event] = await each.until(adjustments)
                assert (event["topic"], event["by"], event["manner"]["patience"]) == ("percept", "console", 2.5)
            assert host._session is not None
            assert host._session.conductor.turns.manner.patience == 2.5
            await other.send(type="adjust", changes={"patience": 2.5})  # as it is: no news
            await other.send(type="adjust", changes={"forbidden_topics": ["the  war", "", "money", "money"]})
            await page.until(lambda page: len(adjustments(page)) == 2)
            last = page.messages("manner")[-1]["manner"]
            assert last["forbidden_topics"] == ["the war", "money"]
            assert last["patience"] == 2.5
            await page.send(type="text", text="what time is it")
            await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 20)
            assert len(adjustments(other)) == 2
            async with opened(host.address) as late:
                assert late.messages("welcome")[0]["manner"] == last
                await late.until(lambda late: len(adjustments(late)) == 2)  # of the last minute
            return str(page.session["recording"])

    recording = Recording.open(tmp_path / held(act, tmp_path, record=True))
    assert not recording.torn
    kept = [packet.data for packet in recording.packets((PERCEPT,)) if isinstance(packet.data, Adjusted)]
    assert [each.manner.patience for each in kept] == [2.5, 2.5]
    assert kept[1].manner.forbidden_topics == ("the war", "money")
    settings = config.reload(recording.header.config)
    assert settings.manner == Manner()  # as the session began
    for mode in ("percepts", "media"):
        performance = Replay(recording, mode=mode)
        perform(performance, settings, recording)
        assert performance.identical, performance.first


def test_the_next_session_begins_with_it_and_its_recording_says_so(tmp_path: Path) -> None:
    async def act(host: Host) -> list[str]:
        async with opened(host.address) as page:
            await page.send(type="adjust", changes={"verbosity": "full", "forbidden_tools": ["set_timer"]})
            await page.until(adjustments)
            await page.send(type="record", on=True)
            await page.until(lambda page: page.session["recording"], 20)
            before = len(adjustments(page))
            await page.send(type="text", text="what time is it")
            await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 20)
            assert len(adjustments(page)) == before, "it was made so: it need not be told"
            assert host._session is not None
            assert host._session.conductor.turns.manner.verbosity == "full"
            await page.send(type="record", on=False)
            await page.until(lambda page: page.session["number"] == 3, 20)
            return [entry["name"] for entry in (await ask(host, "/api/recordings")).json() if not entry["open"]]

    [name] = held(act, tmp_path, "manner.verbosity=brief", "manner.patience=1.5")
    recording = Recording.open(tmp_path / name)
    settings = config.reload(recording.header.config)
    assert settings.manner == Manner(verbosity="full", patience=1.5, forbidden_tools=("set_timer",))
    assert not [key for key in recording.header.overrides if key.startswith("manner.")]
    performance = Replay(recording, mode="percepts")
    perform(performance, settings, recording)
    assert performance.identical, performance.first


WRONG: list[tuple[Any, str]] = [
    ({"patience": 9}, "patience"),
    ({"patience": "1"}, "patience"),
    ({"patience": None}, "patience"),
    ({"mood": "gloomy"}, "mood"),
    ({"verbosity": "chatty"}, "verbosity"),
    ({"backchannels": "yes"}, "backchannels"),
    ({"persona": "x" * 8001}, "persona"),
    ({"persona": {"text": "x"}}, "persona"),
    ({"forbidden_topics": "war"}, "forbidden_topics"),
    ({"forbidden_topics": ["x" * 81]}, "forbidden_topics"),
    ({"forbidden_tools": [1]}, "forbidden_tools"),
    ({"forbidden_tools": [f"tool {number}" for number in range(51)]}, "51 entries, 50 at most"),
    ({"verbosity": "full", "patience": 0.1}, "patience"),  # all or nothing
]


@pytest.mark.parametrize(("changes", "named"), WRONG)
def test_what_is_no_manner_is_refused_by_name_and_changes_nothing(changes: dict[str, Any], named: str) -> None:
    before = Manner(patience=2.0)
    behaviour = Behaviour(before)
    with pytest.raises(ProtocolError, match="the behaviour was not changed") as refused:
        behaviour.adjust(changes)
    assert named in str(refused.value)
    assert behaviour.manner == before


def test_each_field_can_be_changed_by_itself() -> None:
    other: dict[str, Any] = {
        "persona": "A pilot", "language": "de", "verbosity": "brief", "patience": 0.5, "interruptible": "stop",
        "proactivity": "none", "backchannels": True, "fillers": True, "pictures": "never",
        "forbidden_topics": ["war"], "forbidden_tools": ["look"],
    }  # fmt: skip
    assert set(other) == set(Manner.__struct_fields__)
    for name, value in other.items():
        made = adjusted(Manner(), {name: value})
        changed = {field for field in other if getattr(made, field) != getattr(Manner(), field)}
        assert changed == {name}


def test_the_page_that_was_wrong_is_told_and_stays_and_nobody_is_flooded(tmp_path: Path) -> None:
    async def act(host: Host) -> None:
        async with opened(host.address) as page, opened(host.address) as other:
            await page.send(type="adjust", changes={"patience": 9})
            [error] = await page.until(lambda page: page.messages("error"))
            assert "not changed" in error["message"] and "patience" in error["message"]
            await page.send(type="adjust", changes=["patience"])
            await page.send(type="adjust", changes={f"field {number}": 1 for number in range(12)})
            await page.until(lambda page: len(page.messages("error")) == 3)
            for number in range(60):
                await page.send(type="adjust", changes={"persona": f"number {number}"})
            await page.until(lambda page: [e for e in page.messages("error") if "too often" in e["message"]])
            await asyncio.sleep(0.3)
            assert 25 <= len(adjustments(page)) <= 35
            assert not other.messages("error")
            await other.send(type="adjust", changes={"persona": "of another page"})
            await page.until(lambda page: adjustments(page)[-1]["manner"]["persona"] == "of another page")

    held(act, tmp_path)


def test_what_is_changed_between_two_sessions_is_the_first_that_the_next_is_told() -> None:
    class Bus:
        def __init__(self) -> None:
            self.told: list[Adjusted] = []

        def publish(self, topic: Any, t: int, data: Any) -> None:
            assert topic is PERCEPT
            self.told.append(data)

    async def session(behaviour: Behaviour, *, seconds: float = 0.1) -> list[Adjusted]:
        bus = Bus()
        running = asyncio.get_running_loop().create_task(behaviour.run(bus, Clock()))
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait([running])
        return bus.told

    async def main() -> None:
        behaviour = Behaviour(Manner())
        behaviour.adjust({"patience": 2})
        assert behaviour.handed().patience == 2
        assert await session(behaviour) == []
        assert behaviour.handed().patience == 2
        behaviour.adjust({"patience": 3})  # while it is being made
        assert [each.manner.patience for each in await session(behaviour)] == [3]
        assert await session(behaviour) == []

    run(main(), virtual=True)


# --- what it does to the session


def test_patience_acts_on_the_very_next_turn() -> None:
    """The same silence after the same words, twice: before and after somebody asked for more patience."""

    def said(segment: int, start: float, end: float) -> list[tuple[float, float, Any]]:
        words = Words(segment, "and then there is", (), final=True)
        return [
            (start, start + 60, SpeechStarted(segment, round((start + 60) * 1e6))),
            (end, end + 200, SpeechEnded(segment, round((end + 200) * 1e6))),
            (end, end + 210, words),
        ]

    scene = [*said(1, 300, 1500), (9000.0, 9000.0, Adjusted(Manner(patience=3.0), "console")), *said(2, 10_300, 11_500)]
    session = hold(scene, ["Yes."] * 2, tail_ms=9000)
    waits = []
    for turn in session.of(TurnCommitted):
        waits.append((session.t(TurnCommitted, turn=turn.turn) - turn.end_ns) / SECOND)
    assert len(waits) == 2
    assert waits[1] == pytest.approx(3 * waits[0], rel=0.05), waits


def minded(script: list[Any]) -> Any:
    """Makes sessions whose language model answers by `script`."""

    def make(settings: Any, sources: Any, taps: Any, started: Any, speaker: Any) -> Any:
        def model(publisher: Any, clock: Any, pictures: Any) -> ScriptedModel:
            return ScriptedModel(script, publisher, clock)

        body = assembly.AgentBody(settings, installed=False, speaker=speaker, model=model)
        return assembly.assemble(settings, sources, taps=taps, started=started, body=body)

    return make


def test_pages_see_what_the_model_does_and_not_what_it_is_told(tmp_path: Path) -> None:
    secret = "Ottokar the unmistakable"

    async def act(host: Host) -> None:
        async with opened(host.address) as page:
            assert page.messages("welcome")[0]["price"] == {"input": 2.0, "cached": 0.0, "output": 8.0}
            await page.take("microphone")
            await page.send(type="adjust", changes={"persona": secret})
            await page.send(type="text", text="how do rainbows come about")
            await page.until(lambda page: [o for o in page.of("Outcome") if o["action"] == "Say"], 20)
            [asked] = page.of("Ask")
            assert "request" not in asked
            assert asked["purpose"] == "reply"
            assert asked["messages"] >= 2 and asked["tools"] > 0 and asked["bytes"] > 500
            assert "".join(delta["text"] for delta in page.of("Delta")) == "By rain, and by sun."
            [answered] = [o for o in page.of("Outcome") if o["action"] == "Ask"]
            assert answered["result"]["first_ms"] > 0
            offered = page.of("Offered")
            assert all(set(offer) == {"name", "kind", "risky"} for each in offered for offer in each["offers"])
            assert "set_timer" in {offer["name"] for each in offered for offer in each["offers"]}
            while host.room._history[0][0] <= offered[0]["at"] * 1e9:
                await page.send(type="text", text="stop")
                await asyncio.sleep(0.2)
            async with opened(host.address) as late:
                await late.until(lambda late: late.of("Offered"))
                assert [event["where"] for event in late.of("Offered")] == [event["where"] for event in offered]
                orders = [event["order"] for event in late.events]
                assert orders == sorted(orders) and len(set(orders)) == len(orders)
            shown = [json.dumps(event) for event in page.events if event["type"] != "Adjusted"]
            assert not [text for text in shown if secret in text]
            live = [event for event in page.events if event["type"] in ("Ask", "Delta", "Offered")]
            await page.send(type="record", on=False)
            await page.until(lambda page: page.session["number"] == 2, 20)
            [entry] = [each for each in (await ask(host, "/api/recordings")).json() if not each["open"]]
            lines = (await ask(host, f"/api/recordings/{entry['name']}/events")).text.strip("\n").split("\n")
            kept = [event for event in map(json.loads, lines) if event["type"] in ("Ask", "Delta", "Offered")]
            assert kept == live  # a recording is shown as it was shown then

    settings = ConsoleConfig(history_s=1.0)
    held(act, tmp_path, *MIND, make=minded([Tokens("By rain, and by sun.")]), settings=settings, record=True)
    whole = [packet.data for packet in Recording.open(next(tmp_path.glob("*.mcap"))).packets((ACTION,))]
    assert secret in json.dumps([each.request for each in whole if isinstance(each, Ask)])


def test_all_of_it_together_in_a_real_browser(tmp_path: Path) -> None:
    """Changed by keyboard in one page, at work in the session, seen in another; the model is seen thinking."""
    api = pytest.importorskip("playwright.async_api", reason="pages are tested with Playwright: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("pages are tested in Chromium: apt-get install chromium")

    async def act(host: Host) -> None:
        async with api.async_playwright() as playwright, opened(host.address) as watcher:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page, other = [await (await browser.new_context()).new_page() for _ in range(2)]
            troubles: list[str] = []
            for each in (page, other):
                each.on("pageerror", lambda error: troubles.append(str(error)))
                await each.goto(host.address)
                await each.click("#watch-only")
            await page.keyboard.press("b")
            await page.focus("#patience")
            await page.keyboard.press("End")
            await api.expect(page.locator("#behaviour-state")).to_have_text("Changed.")
            await page.select_option("#interruptible", "stop")
            await watcher.until(lambda watcher: len(adjustments(watcher)) == 2)
            assert host._session is not None
            turns = host._session.conductor.turns
            assert (turns.manner.patience, turns.manner.interruptible) == (4.0, "stop")
            await api.expect(page.locator("#tools-hint")).to_contain_text("set_timer")
            await page.keyboard.press("Escape")
            notes = other.locator("#captions .note.work .said")
            await api.expect(notes).to_have_text(["Behaviour: patience 4", "Behaviour: only stop interrupts it"])
            await page.keyboard.press("/")
            await page.keyboard.type("how do rainbows come about")
            await page.keyboard.press("Enter")
            await api.expect(other.locator("#captions .thinking")).to_have_count(1)
            await api.expect(other.locator("#captions")).to_contain_text("By rain.")  # nobody talks: it can be read
            await api.expect(other.locator("#captions .thinking")).to_have_count(0)
            await api.expect(page.locator("#figures")).to_contain_text("model: questions1")
            assert troubles == []
            await browser.close()

    held(act, tmp_path, *MIND, make=minded([Tokens("By rain.", first_ms=1500)]))


# --- what is shown of large things


def packet(topic: Any, data: Any) -> Packet[Any]:
    return Packet(topic, SECOND, SECOND, 0, 0, data)


LONG = "word " * 200_000
MANY = [
    (ACTION, Ask({"messages": [{"role": "system", "content": LONG}] * 3, "tools": [{}] * 9}, id=1), 300),
    (FEEDBACK, Delta(1, 1, 0, text=LONG, thought=LONG, tools=(ToolPiece(0, "c", "t", LONG),) * 500), 8000),
    (FEEDBACK, Offered("box", tuple(Offer(f"tool {n}", LONG, {"properties": {}}) for n in range(3000))), 4000),
    (
        ACTION,
        Call("tool", {"text": LONG, "list": list(range(100_000)), "deep": {str(n): LONG for n in range(500)}}),
        8000,
    ),
    (FEEDBACK, Outcome(1, 1, "Call", "tool", "done", LONG, {"pages": [LONG] * 500}), 8000),
    (FEEDBACK, Outcome(1, 1, "Call", "tool", "done", "", {"nest": [[[[[[[[[[LONG]]]]]]]]]], "key " + LONG: 1}), 8000),
    (PERCEPT, Adjusted(Manner(persona=LONG[:8000], forbidden_topics=("x" * 80,) * 50), "console"), 8000),
]


@pytest.mark.parametrize(("topic", "data", "most"), MANY, ids=lambda each: type(each).__name__)
def test_large_things_are_shown_in_short(topic: Any, data: Any, most: int) -> None:
    line = encoded(packet(topic, data))
    assert len(line) <= most
    told = json.loads(line)
    assert (told["type"], told["topic"], told["t"], told["at"]) == (type(data).__name__, topic.name, 1.0, 1.0)


def test_what_is_left_out_is_told() -> None:
    asked = summary(packet(ACTION, MANY[0][1]))
    assert (asked["messages"], asked["tools"]) == (3, 9) and asked["bytes"] > 3_000_000
    assert summary(packet(ACTION, Ask({})))["messages"] == 0
    thought = summary(packet(FEEDBACK, Delta(1, 1, 0, thought="hm, hm")))
    assert thought["thought_characters"] == 6 and "thought" not in thought
    assert summary(packet(FEEDBACK, MANY[2][1]))["offered"] == 3000
    result = summary(packet(FEEDBACK, Outcome(1, 1, "Call", "t", "done", "", [*range(100)])))["result"]
    assert result[:40] == [*range(40)] and result[40] == "… 60 more"
    assert "(1000000 characters)" in summary(packet(ACTION, Call("t", {"x": LONG})))["arguments"]["x"]


def test_what_is_small_is_shown_whole() -> None:
    call = Call("t", {"a": 1, "b": [None, True, 2.5, "text"], "c": {"d": []}}, turn=1, id=2)
    assert summary(packet(ACTION, call))["arguments"] == call.arguments
    heard = "a word " * 300
    said = Outcome(1, 1, "Say", "", "cut", "", heard)
    assert summary(packet(FEEDBACK, said))["result"] == heard  # what was heard is what captions show
    strange = Outcome(1, 1, "Call", "t", "done", "", {"at": Path("x")})
    assert json.loads(encoded(packet(FEEDBACK, strange)))["result"] == {"at": "x"}

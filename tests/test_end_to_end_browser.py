"""`visavis live --web` with a real Chromium on a sound card of software: what people do with it, end to end."""

import contextlib
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")
pytest.importorskip("playwright", reason="the page is tested with Playwright: pip install playwright")

from playwright.sync_api import TimeoutError, expect

from streams.recording import Recording
from streams.topics import FEEDBACK, TURN
from streams.types import Fault, OverlapCut, OverlapResumed, Say, TurnCommitted
from tests.browser_ledger import check
from tests.browser_room import CHROMIUM, RATE, Desk, desk, renderers, wait_for
from tests.composed import take
from tests.dialogues import child
from tests.model_files import model_file
from tests.sound_card import missing

pytestmark = pytest.mark.slow
if CHROMIUM is None:
    pytest.skip("the browser is Chromium: apt-get install chromium", allow_module_level=True)
if missing():
    pytest.skip(missing(), allow_module_level=True)

NEEDED = ("silero-vad", "smart-turn", "yunet")
LONG, SHORT, SUM = "what can you do", "what time is it", "what is two plus three"
WAITS_S = 2.5  # speech waits three seconds for a page that has gone
expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def room() -> Iterator[Desk]:
    """Program, browser and card for all tests here, in a room that is not perfectly still."""
    folders = sorted({str(model_file(name).parent) for name in NEEDED})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISAVIS_MODELS", os.pathsep.join(folders))
        yield from _furnished()


def _furnished() -> Iterator[Desk]:
    with desk() as room:
        room.card.say(np.random.default_rng(1).normal(0, 16, RATE * 280).astype(np.int16))
        yield room
        assert room.complaints == []
        assert room.program.end() == 130, room.program.printed
        assert "Traceback" not in room.program.printed


@pytest.fixture
def page(room: Desk) -> Iterator[Any]:
    """A page that is ready to talk."""
    page = room.open()
    expect(page.locator("#state-text")).to_have_text("Ready")
    page.click("#watch-only")
    yield page
    page.context.close()
    room.until_quiet(0.3, 30)


def talk(page: Any) -> None:
    """Press Talk, whatever is in its place; the microphone is given a moment."""
    expect(page.locator("#talk")).to_be_enabled()
    page.click("#talk")
    expect(page.locator("#state-text")).to_have_text("Talking")
    page.wait_for_timeout(600)


def speak(room: Desk, text: str) -> None:
    """A person says `text`."""
    room.card.say(take(text, "en-us").samples).wait()


def write(page: Any, text: str) -> None:
    """A person types `text`."""
    page.fill("#text", text)
    page.press("#text", "Enter")


def ask(page: Any) -> None:
    """It is asked for a sum, and says it to the end, whatever else it has to say before or after that."""
    questions = page.locator("#captions .person", has_text=SUM)
    before = questions.count()
    write(page, SUM)
    expect(questions).to_have_count(before + 1)
    answers = questions.last.locator("xpath=following-sibling::li[contains(@class, 'agent')]")
    expect(answers.filter(has_text="Two plus three is five").and_(page.locator(".done"))).to_have_count(1)


def start_long(room: Desk, page: Any, into_s: float) -> None:
    """The agent begins what is long, and is so far in it."""
    write(page, LONG)
    room.until_loud()
    page.wait_for_timeout(round(into_s * 1000))
    assert room.sounds(0.6)


def ask_aloud(room: Desk, page: Any) -> None:
    """A person asks for what is long, and asks again if that was not understood."""
    answer = page.locator("#captions .agent.speaking", has_text="You can ask")
    for _ in range(4):
        speak(room, LONG)
        with contextlib.suppress(TimeoutError):
            answer.wait_for(timeout=6000)
            return
        room.until_quiet()
    raise AssertionError(f"{LONG!r} is never understood: {page.inner_text('#captions')}")


def put_on_headphones(page: Any) -> None:
    """The browser no longer works on the sound: what it makes of a synthesised murmur is a matter of chance."""
    page.click("#open-settings")
    page.uncheck("#processing")
    page.keyboard.press("Escape")
    page.click("#talk")  # the microphone is opened anew
    expect(page.locator("#state-text")).to_have_text("Watching")
    talk(page)


def record(page: Any, on: bool) -> None:
    """A session that is recorded begins, or ends."""
    page.click("#record")
    expect(page.locator("#recording-sign")).to_be_visible(visible=on)


def newest(room: Desk) -> Path:
    """The recording that was made last."""
    return max(room.program.recordings.glob("*.mcap"))


def test_a_conversation_is_held_recorded_looked_at_and_repeated(room: Desk, page: Any, tmp_path: Path) -> None:
    began = len(room.heard)
    record(page, True)
    talk(page)
    ask_aloud(room, page)
    page.keyboard.press("Escape")
    room.until_quiet()
    put_on_headphones(page)
    ask_aloud(room, page)
    page.wait_for_timeout(600)
    speak(room, "uh huh")
    page.wait_for_timeout(900)
    room.until_loud()  # a backchannel: it goes on
    speak(room, "turn left")
    room.until_quiet(0.3)
    page.wait_for_timeout(1500)
    for into in (0.35, 0.8, 1.4):
        start_long(room, page, into)
        page.keyboard.press("Escape")
        room.until_quiet(0.4, 4)
    for into in (0.5, 1.1, 1.9):  # typed over, as it speaks
        start_long(room, page, into)
        ask(page)
        room.until_quiet(0.5)
    start_long(room, page, 0.6)
    page.click("#stop")
    room.until_quiet()
    record(page, False)
    page.wait_for_timeout(300)

    recording = tmp_path / "talk.mcap"
    shutil.copy(newest(room), recording)
    found = check(recording, room.heard[began:])
    print(
        "\n".join(map(str, found))
    )  # how far the card agrees with the ledger: benchmarks/browser.py tells it in figures
    assert len([each for each in found if each.status == "cut" and each.told]) >= 6
    turns = [packet.data for packet in Recording.open(recording).packets((TURN,))]
    heard = [turn.text for turn in turns if isinstance(turn, TurnCommitted) and turn.reason != "typed"]
    assert LONG in heard
    assert [turn for turn in turns if isinstance(turn, OverlapResumed)]
    assert {turn.reason for turn in turns if isinstance(turn, OverlapCut)} >= {"stop", "typed"}
    assert child("replay", str(recording), "--check").returncode == 0

    page.click("#open-recordings")
    page.get_by_label(f"Open {newest(room).name}").click()
    expect(page.locator("#review")).to_be_visible()
    assert page.locator("#captions .row").count() == 0, "at its beginning nothing has been said"
    page.locator("#review-place").evaluate("(e) => { e.value = e.max; e.dispatchEvent(new Event('input')); }")
    expect(page.locator("#captions")).to_contain_text("Two plus three is five")
    expect(page.locator("#captions")).to_contain_text("interrupted")
    page.locator("#review-place").evaluate("(e) => { e.value = 0; e.dispatchEvent(new Event('input')); }")
    page.click("#review-play")
    wait_for(lambda: float(page.locator("#review-place").input_value()) > 0.5, page, 15, "it does not play")
    page.click("#review-close")
    expect(page.locator("#review")).to_be_hidden()


def test_whoever_types_over_a_short_answer_gets_the_next(room: Desk, page: Any) -> None:
    talk(page)
    start_long(room, page, 2.0)  # so that more has been heard than the next answer is long
    asked(room, page)
    second = room.open(room.program.direct)
    for _ in range(2):
        write(page, SHORT)
        room.until_loud()
        page.wait_for_timeout(200)
        room.program.wire.hold()  # the talker's page tells late how far it got: the next answer is ready by then
        threading.Timer(0.4, room.program.wire.mend).start()
        ask(second)
        room.until_quiet(0.4)
    second.context.close()


def test_a_reload_in_mid_speech_is_not_remarked_on_and_speech_goes_on(room: Desk, page: Any) -> None:
    for reloads in (2, 2, 1, 1):  # speech waits for so long only; where pages come slowly, it is tried again
        record(page, True)
        talk(page)
        start_long(room, page, 1.0)
        left = time.monotonic()
        for _ in range(reloads):
            page.reload()
            expect(page.locator("#state-text")).to_have_text("Ready")
        page.click("#talk-big")
        expect(page.locator("#state-text")).to_have_text("Talking")
        if time.monotonic() - left < WAITS_S:
            break
        record(page, False)
        page.click("#talk")
        expect(page.locator("#state-text")).to_have_text("Watching")
        room.until_quiet()
    else:
        raise AssertionError(f"this machine does not load a page in {WAITS_S} s")
    room.until_loud()
    expect(page.locator("#captions .agent").last).to_contain_text("go forward two metres", timeout=15_000)
    room.until_quiet()
    record(page, False)
    packets = [packet.data for packet in Recording.open(newest(room)).packets()]
    assert len([data for data in packets if isinstance(data, Say)]) == 1
    faults = {(data.where, data.error) for data in packets if isinstance(data, Fault)}
    assert ("microphone", "SourceAway") in faults and ("microphone", "SourceLost") not in faults


def test_a_second_page_watches_and_is_refused_the_microphone(room: Desk, page: Any) -> None:
    talk(page)
    second = room.open()
    expect(second.locator("#state-text")).to_contain_text("somebody else is talking")
    write(page, SUM)
    expect(second.locator("#captions")).to_contain_text("Two plus three is five")
    second.click("#talk-big")
    expect(second.locator("#state-text")).to_contain_text("Refused: somebody else is talking")
    page.click("#talk")  # leaves
    expect(page.locator("#state-text")).to_have_text("Watching")
    second.click("#talk-big")
    expect(second.locator("#state-text")).to_have_text("Talking")
    second.context.close()


def test_two_who_press_talk_at_once_get_one_microphone(room: Desk, page: Any) -> None:
    second = room.open()
    expect(second.locator("#talk-big")).to_be_enabled()
    page.locator("#talk").evaluate("(e) => e.click()")
    second.locator("#talk-big").evaluate("(e) => e.click()")
    states = []
    for each in (page, second):
        expect(each.locator("#state-text")).to_have_text(re.compile("^(Talking|Refused)"))
        states.append(each.inner_text("#state-text"))
    assert sorted(state.split(":")[0] for state in states) == ["Refused", "Talking"]
    second.context.close()


def test_a_wrong_token_opens_nothing(room: Desk, page: Any) -> None:
    stranger = room.browser.new_page()
    stranger.goto(room.program.address[:-4] + "AAAA")
    expect(stranger.locator("body")).to_contain_text("token")
    assert stranger.locator("#talk-big").count() == 0 or stranger.locator("#talk-big").is_disabled()
    stranger.context.close()


def test_a_cut_wire_and_a_held_one_are_told_and_mended(room: Desk, page: Any) -> None:
    wire = room.program.wire
    talk(page)
    start_long(room, page, 0.8)
    wire.cut()
    expect(page.locator("#state-text")).to_contain_text("Connection lost")
    room.until_quiet(0.3, 3)
    wire.mend()
    expect(page.locator("#state-text")).to_have_text("Talking", timeout=10_000)
    room.until_loud()
    page.keyboard.press("Escape")
    room.until_quiet()
    start_long(room, page, 0.5)
    wire.hold()
    page.wait_for_timeout(2500)
    wire.mend()
    expect(page.locator("#state-text")).to_have_text("Talking", timeout=20_000)
    asked(room, page)


def asked(room: Desk, page: Any) -> None:
    """It still answers, aloud."""
    page.keyboard.press("Escape")
    room.until_quiet(0.4)
    ask(page)
    room.until_quiet(0.4)


def test_a_page_that_stands_still_comes_back(room: Desk, page: Any) -> None:
    talk(page)
    start_long(room, page, 0.8)
    stopped = renderers()
    try:
        for number in stopped:
            os.kill(number, signal.SIGSTOP)
        time.sleep(3)
    finally:
        for number in stopped:
            os.kill(number, signal.SIGCONT)
    expect(page.locator("#state-text")).to_have_text("Talking", timeout=20_000)
    asked(room, page)


def test_who_leaves_in_mid_speech_and_comes_back_much_later_is_welcome(room: Desk, page: Any) -> None:
    record(page, True)
    talk(page)
    start_long(room, page, 0.8)
    page.goto("about:blank")
    time.sleep(7)
    page.goto(room.program.address)
    expect(page.locator("#state-text")).to_have_text("Ready")
    page.click("#talk-big")
    expect(page.locator("#state-text")).to_have_text("Talking")
    room.until_quiet()
    asked(room, page)
    record(page, False)
    faults = [packet.data for packet in Recording.open(newest(room)).packets((FEEDBACK,))]
    errors = [data.error for data in faults if isinstance(data, Fault) and data.where == "microphone"]
    assert errors[:2] == ["SourceAway", "SourceLost"]

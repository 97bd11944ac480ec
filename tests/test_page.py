"""The console's page in a real Chromium, against a double of its server (`tests/page_server.py`)."""

import json
import shutil
import struct
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright", reason="the page is tested with Playwright: pip install playwright")
if shutil.which("chromium") is None:
    pytest.skip("the page is tested in Chromium: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.page_server import RATE, PageServer, Scene, minded, picture, scene, serving, until

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
]
pytestmark = pytest.mark.slow
RECORDED = "2026-11-21T10-00-00.mcap"

# Keeps what the page's playback worklet puts out, from its first sample on, in `heard`.
LISTEN = """
const connect = AudioNode.prototype.connect;
globalThis.heard = [];
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode && this instanceof AudioWorkletNode) {
    const context = this.context;
    context.audioWorklet.addModule("/page/recorder.js").then(() => {
      const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
      recorder.port.onmessage = ({ data }) => heard.push(...data);
      connect.call(this, recorder);
    });
  }
  return connect.call(this, to, ...rest);
};
"""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving() as server:
        yield server


@pytest.fixture
def open_page(browser: Browser, server: PageServer) -> Iterator[Open]:
    """Opens the page, each time as somebody else. Whatever the page complains of in its console fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(*, script: str = "", wait: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 820}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        if script:
            page.add_init_script(script)
        page.goto(server.address)
        if wait:
            expect(page.locator("#state")).to_contain_text("Ready")
        return page

    yield open_page
    for context in contexts:
        context.close()
    lost = ("WebSocket connection to", "ERR_CONNECTION_REFUSED", "status of 4")  # what tests bring about
    assert [each for each in complaints if not any(part in each for part in lost)] == []


def talk(page: Page) -> None:
    page.click("#talk-big")
    expect(page.locator("#state")).to_have_text("Talking")


# --- sound


def test_the_microphone_arrives_in_numbered_blocks(
    playwright: Playwright, server: PageServer, shared_data: Path, tmp_path: Path
) -> None:
    spoken = tmp_path / "spoken.wav"
    shutil.copy(next((shared_data / "speech").glob("arctic_*_a0001.wav")), spoken)
    with wave.open(str(spoken)) as file:
        assert file.getframerate() == 16000
        wanted = np.frombuffer(file.readframes(32000), "<i2").astype(float)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={spoken}%noloop"]
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
    page = browser.new_page()
    page.add_init_script('localStorage.setItem("visavis", JSON.stringify({processing: false}))')
    page.goto(server.address)
    talk(page)
    until(lambda: len(server.microphone) > 160, "3 s of the microphone")
    browser.close()
    blocks = server.microphone[:160]
    assert [sequence for sequence, _, _ in blocks] == list(range(160))
    assert {len(samples) for _, _, samples in blocks} == {640}
    times = np.array([at for _, at, _ in blocks])
    assert abs((times[-1] - times[0]) / 159 - 20) < 1  # ms: the page's clock of samples, not of arrivals
    assert np.all(np.diff(times) > 0)
    heard = np.frombuffer(b"".join(samples for _, _, samples in blocks), "<i2").astype(float)
    spectrum = np.fft.rfft(heard, 131072) * np.conj(np.fft.rfft(wanted, 131072))
    alike = np.max(np.fft.irfft(spectrum)) / (np.linalg.norm(heard) * np.linalg.norm(wanted))
    assert alike > 0.8


OFFLINE = """async ([rate, steps, length]) => {
  const context = new OfflineAudioContext(1, length, rate);
  await context.audioWorklet.addModule("/page/playback-worklet.js");
  const node = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
  const told = [];
  node.port.onmessage = ({ data }) => told.push(data);
  node.connect(context.destination);
  for (const [frame, message] of steps) {
    context.suspend(frame / rate).then(async () => {
      if (message.play) message.play.samples = Int16Array.from(message.play.samples);
      node.port.postMessage(message);
      await new Promise((done) => setTimeout(done, 30));
      context.resume();
    });
  }
  const buffer = await context.startRendering();
  await new Promise((done) => setTimeout(done, 200)); // for the last messages
  return { out: [...buffer.getChannelData(0)], told };
}"""


def offline(page: Page, steps: list[tuple[int, dict[str, Any]]], length: int) -> tuple[np.ndarray[Any, Any], list[Any]]:
    """What the playback worklet puts out (in int16 steps) and tells, when given `steps` at frames of a dry context."""
    got = page.evaluate(OFFLINE, [RATE, steps, length])
    return np.array(got["out"]) * 32768, got["told"]


def piece(index: int, samples: np.ndarray[Any, Any], rate: int = RATE) -> dict[str, Any]:
    return {"play": {"index": index, "rate": rate, "samples": samples.tolist()}}


def place(out: np.ndarray[Any, Any], part: np.ndarray[Any, Any]) -> int:
    """Where `part` lies in `out`, sample by sample the same; -1 if nowhere."""
    starts = np.flatnonzero(out == part[0])
    return next((int(at) for at in starts if np.array_equal(out[at : at + len(part)], part)), -1)


def test_pause_and_resume_lose_and_repeat_no_sample(open_page: Open) -> None:
    page = open_page()
    sound = np.random.default_rng(1).integers(-20000, 20000, 8000)
    steps = [
        (0, piece(100, sound[:4000])),
        (1280, piece(4100, sound[4000:])),
        (2560, {"pause": True}),
        (6400, {"resume": True}),
    ]
    out, told = offline(page, steps, 20480)
    first = place(out, sound[:500])
    assert first > 0
    held = 2560 - first
    assert np.array_equal(out[first:2560], sound[:held])
    again = place(out, sound[held : held + 500])
    assert 6400 <= again < 6400 + 0.003 * RATE  # within the rise of 2 ms
    assert np.array_equal(out[again : again + 8000 - held], sound[held:])
    assert not np.any(out[2560 + 50 : 6400])
    for report in (each["played"] for each in told):
        rendered = report["frame"]
        if first < rendered <= 2560:
            assert report["index"] == 100 + rendered - first
        elif 2560 < rendered <= 6400:
            assert report["index"] == 100 + held
    assert told[-1]["played"]["index"] == 8100


def test_a_flush_tells_the_last_sample_that_is_heard(open_page: Open) -> None:
    page = open_page()
    sound = np.random.default_rng(2).integers(5000, 20000, 9000)
    fresh = np.random.default_rng(3).integers(-20000, -5000, 3000)
    steps = [(0, piece(0, sound)), (5120, {"flush": 7}), (5248, piece(0, fresh))]
    out, told = offline(page, steps, 20480)
    first = place(out, sound[:500])
    [flushed] = [each["flushed"] for each in told if "flushed" in each]
    assert flushed == {"id": 7, "index": 5120 - first + round(0.005 * RATE)}
    fading = out[5120 : 5120 + round(0.005 * RATE)]
    assert np.all(fading > 0)
    assert np.all(fading < sound[5120 - first : flushed["index"]])
    begins = place(out, fresh[:500])
    assert begins > 0
    assert np.array_equal(out[begins : begins + 3000], fresh)
    assert not np.any(out[flushed["index"] + first : begins] > 0)  # nothing of what was dropped


def test_a_flush_of_what_is_held_is_heard_no_further(open_page: Open) -> None:
    page = open_page()
    sound = np.random.default_rng(4).integers(5000, 20000, 9000)
    out, told = offline(page, [(0, piece(0, sound)), (5120, {"pause": True}), (7680, {"flush": 8})], 12800)
    [flushed] = [each["flushed"] for each in told if "flushed" in each]
    assert flushed["index"] == 5120 - place(out, sound[:500])


def test_another_rate_is_played_in_its_own_time(open_page: Open) -> None:
    page = open_page()
    sound = np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(int)
    out, told = offline(page, [(0, piece(0, sound, 16000))], RATE + 6400)
    assert told[-1]["played"]["index"] == 16000
    assert abs(np.flatnonzero(np.abs(out) > 100)[-1] - np.flatnonzero(np.abs(out) > 100)[0] - RATE) < 0.02 * RATE


def test_what_is_told_as_played_is_what_was_put_out(open_page: Open, server: PageServer) -> None:
    page = open_page(script=LISTEN)
    talk(page)
    sound = (np.arange(40000) * 7919 % 30011 + 1).astype(np.int16)  # each sample says its own place
    step, clock = RATE // 50, time.monotonic()

    def play(start: int, end: int) -> None:
        nonlocal clock
        for index in range(start, end, step):
            server.say(sound[index : index + step], index, index // step)
            clock = max(clock + 0.02, time.monotonic())
            time.sleep(max(0.0, clock - time.monotonic()))

    play(0, 30 * step)
    server.send({"type": "pause"}, server.talker)
    time.sleep(0.4)
    held = server.of("played")[-1]["index"]
    time.sleep(0.2)
    assert server.of("played")[-1]["index"] == held  # nothing more leaves
    server.send({"type": "resume"}, server.talker)
    play(30 * step, 60 * step)
    server.send({"type": "flush", "id": 5}, server.talker)
    until(lambda: server.of("flushed"), "the answer to the flush")
    [flushed] = server.of("flushed")
    until(lambda: server.of("played")[-1]["index"] == flushed["index"], "the last sample to leave")
    heard = np.array(page.evaluate("heard")) * 32768
    fade = round(0.005 * RATE)
    whole = flushed["index"] - fade
    assert 30 * step < whole < 60 * step
    loud = np.flatnonzero(heard >= 1)
    values = np.round(heard).astype(int)
    exact = {int(sound[0]): int(place(values, sound[:200]))}
    first = exact[int(sound[0])]
    assert first >= 0
    assert np.array_equal(values[first : first + held], sound[:held])
    again = place(values, sound[held : held + 200])
    assert np.array_equal(values[again : again + whole - held], sound[held:whole])
    assert loud[-1] < again + flushed["index"] - held  # after the fade, silence
    played = server.of("played")
    indices = [each["index"] for each in played]
    assert indices == sorted(indices)
    times = [each["time"] for each in played]
    moving = [
        late - early
        for early, late, before, after in zip(times, times[1:], indices, indices[1:])
        if before > 0 and after < held
    ]
    assert max(moving) < 200  # ms; asked for are 40, on a machine with nothing else to do
    for message in played:
        assert message["time"] <= page.evaluate("performance.now()")  # never told before it has left


def test_sound_that_comes_late_is_counted(open_page: Open) -> None:
    page = open_page()
    sound = np.random.default_rng(5).integers(-20000, 20000, 3000)
    _, told = offline(page, [(0, piece(0, sound)), (6400, piece(3000, sound))], 20480)
    assert told[-1]["figures"]["underruns"] == 1
    _, told = offline(page, [(0, piece(0, sound)), (12800, piece(3000, sound))], 25600)  # after a silence: not late
    assert told[-1]["figures"]["underruns"] == 0


def test_the_camera_is_sent_as_jpeg(open_page: Open, server: PageServer) -> None:
    page = open_page()
    page.check("#with-camera")
    talk(page)
    until(lambda: len(server.camera) >= 3, "three pictures")
    assert [sequence for sequence, _, _ in server.camera[:3]] == [0, 1, 2]
    assert all(jpeg.startswith(b"\xff\xd8") and len(jpeg) <= 400_000 for _, _, jpeg in server.camera)
    page.click("#camera")
    until(lambda: server.of("release"), "the camera to be given back")
    assert server.of("release")[0]["media"] == ["camera"]


# --- captions


def test_captions_show_what_is_known_and_heard(open_page: Open, server: PageServer) -> None:
    page = open_page()
    page.click("#watch-only")
    events = scene(voice=False)

    def tell(end: float) -> None:
        server.tell([event for event in events if event["at"] <= end])

    server.begin()
    tell(1.4)
    person = page.locator("#captions .person").first
    expect(person.locator(".said")).to_have_text("hello")
    expect(person).to_have_class("row person partial")
    grey = person.locator(".said").evaluate("each => getComputedStyle(each).color")
    tell(2.2)
    expect(person).to_have_class("row person final")
    expect(person.locator(".said")).to_have_text("hello there")
    assert person.locator(".said").evaluate("each => getComputedStyle(each).color") != grey
    tell(2.6)
    agent = page.locator("#captions .agent").first
    expect(agent.locator(".said")).to_have_text("Hi, what")
    assert "do for you" not in page.locator("body").inner_text()  # not before it was heard
    expect(agent.locator(".aside")).to_contain_text("0.34 s")
    tell(99)
    expect(agent.locator(".said")).to_have_text("Hi, what can I do for you?")
    cut = page.locator("#captions .agent.cut")
    expect(cut.locator(".said")).to_have_text("You can ask me the time or the date, set a timer, do sums,")
    expect(cut.locator(".aside")).to_contain_text("— interrupted")
    expect(page.locator("#captions .faint").first).to_have_text("“i see”: a backchannel")
    expect(page.locator("#captions .faint").last).to_have_text("noise, no words in it")
    expect(page.locator("#captions .note.alarm").first).to_contain_text("move: cut")
    typed = page.locator("#captions .person", has_text="how many people")
    expect(typed.locator(".aside")).to_have_text("typed")
    expect(page.locator("#spoken")).to_contain_text("Agent: I see two people.")  # read out, once whole
    server.begin()
    expect(page.locator("#captions li")).to_have_count(0)


def test_what_nobody_could_hear_can_be_read(open_page: Open, server: PageServer) -> None:
    """Who only types has no loudspeaker here, and yet an answer."""
    page = open_page()
    page.click("#watch-only")
    gone = {"action": "Say", "name": "", "status": "failed", "detail": "nobody could hear it"}
    it = Scene()
    it.typed(0.5, "what time is it")
    it.put(0.6, "action", "Say", turn=1, id=901, text="It is five.")
    it.put(1.1, "feedback", "Outcome", turn=1, id=901, result="", **gone)
    it.put(2.0, "action", "Say", turn=2, id=902, text="You can ask me the time.")
    it.put(2.1, "feedback", "PlayStarted", turn=2, id=902)
    it.put(2.4, "feedback", "Played", turn=2, id=902, index=0, text="You", start_ns=0, end_ns=1, quality="exact")
    it.put(5.0, "feedback", "Outcome", turn=2, id=902, result="You", **gone)
    server.begin()
    server.tell(it.done(voice=False))
    expect(page.locator("#captions .note.unheard .said")).to_have_text(
        ["not heard: It is five.", "not heard: can ask me the time."]
    )
    expect(page.locator("#captions .agent .said")).to_have_text(["You"])
    expect(page.locator("#spoken")).to_contain_text("not heard: It is five.")  # to who cannot see it
    expect(page.locator("#captions .alarm")).to_have_count(0)


def test_faces_are_boxed_and_told(open_page: Open, server: PageServer) -> None:
    page = open_page()
    it = Scene()
    it.faces(0.1, 3, 4)
    server.begin()
    server.show(picture())
    server.tell(it.done(voice=False))
    expect(page.locator("#seen")).to_have_text(
        "2 people: 3 at the left, a step or two away; 4 at the right, a step or two away"
    )
    colour = "c => [...document.getElementById(c).getContext('2d').getImageData(300, 120, 1, 1).data]"
    until(lambda: page.evaluate(colour, "still")[3] == 255, "the picture")
    drawn = "() => document.getElementById('boxes').getContext('2d').getImageData(0, 0, 200, 200).data.some(Boolean)"
    assert page.evaluate(drawn)


# --- who talks, and what is pressed


def test_buttons_and_text_send_what_they_say(open_page: Open, server: PageServer) -> None:
    page = open_page()
    talk(page)
    page.click("#mute")
    expect(page.locator("#state")).to_have_text("Muted")
    page.click("#stop")
    page.fill("#text", "how are you?")
    page.press("#text", "Enter")
    expect(page.locator("#text")).to_have_value("")
    page.click("#record")
    expect(page.locator("#record")).to_have_attribute("aria-checked", "true")
    expect(page.locator("#recording-sign")).to_be_visible()
    page.click("#talk")
    expect(page.locator("#state")).to_have_text("Watching")
    sent = [message for message in server.messages if message["type"] not in ("ping", "played", "flushed")]
    assert sent == [
        {"type": "take", "media": ["microphone"]},
        {"type": "mute", "muted": True},
        {"type": "stop"},
        {"type": "text", "text": "how are you?"},
        {"type": "record", "on": True},
        {"type": "release", "media": ["microphone"]},
    ]


def test_a_muted_microphone_sends_silence(open_page: Open, server: PageServer) -> None:
    page = open_page()
    talk(page)
    page.click("#mute")
    expect(page.locator("#state")).to_have_text("Muted")
    time.sleep(0.3)
    before = len(server.microphone)
    until(lambda: len(server.microphone) > before + 100, "blocks of silence")
    assert not any(any(samples) for _, _, samples in server.microphone[before:])


def test_a_second_talker_is_refused_and_may_watch(open_page: Open, server: PageServer) -> None:
    first = open_page()
    talk(first)
    second = open_page(wait=False)
    expect(second.locator("#state")).to_have_text("Watching; somebody else is talking")
    second.click("#talk-big")
    expect(second.locator("#state")).to_contain_text("Refused: somebody else is talking (viewer 1)")
    expect(second.locator("#alarms")).to_contain_text("somebody else is talking")
    server.tell(Scene.done(greeted()))
    second.click("#watch-only")
    expect(second.locator("#captions")).to_contain_text("hello there")
    first.click("#talk")
    until(lambda: server.talker is None, "the first to leave")
    second.click("#talk")
    expect(second.locator("#state")).to_have_text("Talking")


def greeted() -> Scene:
    it = Scene()
    it.agent(it.person(0.1, "hello there"), "Hi.")
    return it


def test_who_talked_talks_again_after_the_connection_was_lost(open_page: Open, server: PageServer) -> None:
    page = open_page()
    talk(page)
    until(lambda: len(server.microphone) > 20, "the microphone")
    server.hang_up()
    until(lambda: server.connections == 2, "the page to come back")
    expect(page.locator("#state")).to_have_text("Talking")
    until(lambda: len(server.of("take")) == 2, "the microphone to be taken again")
    server.microphone.clear()
    until(lambda: len(server.microphone) > 20, "the microphone again")
    numbers = [sequence for sequence, _, _ in server.microphone]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] < 50  # counted anew


def test_a_server_that_is_gone_is_waited_for(open_page: Open, server: PageServer) -> None:
    page = open_page()
    port = server._port
    server.stop()
    expect(page.locator("#state")).to_contain_text("trying again")
    expect(page.locator("#state")).to_contain_text("does not answer", timeout=20_000)
    expect(page.locator("#talk-big")).to_be_disabled()
    server._port = port
    server.start()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#state")).to_have_text("Ready", timeout=20_000)


def test_a_token_that_is_no_longer_good_is_told(open_page: Open, server: PageServer) -> None:
    page = open_page()
    server.token = "another"
    server.hang_up()
    expect(page.locator("#state")).to_have_text("This address is no longer good")
    expect(page.locator("#alarms")).to_contain_text("Open the address that it prints now")


def test_a_bad_token_gets_no_page(browser: Browser, server: PageServer) -> None:
    page = browser.new_page()
    answer = page.goto(server.address + "x")
    assert answer is not None and answer.status == 403
    expect(page.locator("body")).to_contain_text("Open the address")
    page.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [("NotAllowedError", "Allow it"), ("NotFoundError", "Plug one in"), ("NotReadableError", "another program")],
)
def test_a_microphone_that_is_not_to_be_had_is_explained(
    open_page: Open, server: PageServer, error: str, told: str
) -> None:
    page = open_page(
        script=f'navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException("no", "{error}") }};'
    )
    page.click("#talk-big")
    expect(page.locator("#alarms")).to_contain_text(told)
    expect(page.locator("#state")).to_have_text("Ready")
    assert not server.of("take")


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(open_page: Open, server: PageServer) -> None:
    server.silent = True
    page = open_page()
    page.click("#talk-big")
    expect(page.locator("#alarms")).to_contain_text("did not answer", timeout=10_000)
    expect(page.locator("#talk-big")).to_be_enabled()


# --- recordings


def open_recording(page: Page) -> None:
    page.click("#open-recordings")
    page.click("#recording-list button")
    expect(page.locator("#review")).to_be_visible()


def test_a_recording_is_scrubbed_with_the_keyboard(open_page: Open, server: PageServer) -> None:
    server.picture = picture()
    page = open_page()
    open_recording(page)
    slider = page.locator("#review-place")
    expect(slider).to_be_focused()
    expect(page.locator("#captions li:visible")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#captions .person .said")).to_have_text("hello there")
    expect(slider).to_have_attribute("aria-valuetext", "0:02.0 of 0:30.5")
    page.keyboard.press("PageUp")
    expect(page.locator("#captions")).to_contain_text("Five plus nine is fourteen.")
    expect(page.locator("#captions")).not_to_contain_text("It is five fifty seven")
    page.keyboard.press("PageDown")
    expect(page.locator("#captions")).not_to_contain_text("Five plus nine")
    expect(page.locator("#seen")).to_contain_text("1 person")
    still = "document.getElementById('still').getContext('2d').getImageData(300, 120, 1, 1).data[3]"
    until(lambda: page.evaluate(still) == 255, "the picture of that time")
    page.keyboard.press("Space")
    expect(page.locator("#review-play")).to_contain_text("Pause")
    expect(page.locator("#captions")).to_contain_text("Hi, what can")  # the sound leads, the captions follow
    server.begin()
    server.tell(greeted().done())
    expect(page.locator("#captions")).not_to_contain_text("Hi.")  # what happens now is not mixed in
    page.click("#review-close")
    expect(page.locator("#review")).to_be_hidden()
    expect(page.locator("#open-recordings")).to_be_focused()


def test_a_file_of_ones_own_is_looked_at(open_page: Open, server: PageServer, tmp_path: Path) -> None:
    page = open_page()
    page.click("#open-recordings")
    expect(page.locator("#recording-list a")).to_have_attribute("download", RECORDED)
    bad, good = tmp_path / "bad.mcap", tmp_path / "mine.mcap"
    bad.write_bytes(b"nothing")
    good.write_bytes(b"\x89MCAP0\r\n")
    page.set_input_files("#upload", bad)
    expect(page.locator("#upload-state")).to_contain_text("this is not an MCAP file")
    page.set_input_files("#upload", good)
    expect(page.locator("#review-name")).to_have_text("mine.mcap")
    assert set(server.uploaded) == {"mine.mcap"}


# --- timeline


def test_the_timeline_tells_what_things_were_decided_from(open_page: Open, server: PageServer) -> None:
    page = open_page()
    server._started = time.monotonic() - 19.3
    server.send(server.session() | {"number": 2})
    server.tell([event for event in scene() if event["at"] < 19.3])
    page.wait_for_timeout(200)
    page.focus("#timeline")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#hold")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#evidence-title")).to_contain_text("Agent at 0:16")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#evidence-title")).to_contain_text("Turns at 0:15")
    expect(page.locator("#evidence-body")).to_contain_text("evidence: p model")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#evidence-title")).to_contain_text("cut: an interruption")
    page.keyboard.press("-")
    expect(page.locator("#span")).to_have_text("40 s")
    page.keyboard.press("End")
    expect(page.locator("#hold")).to_have_attribute("aria-pressed", "false")
    page.click("#as-list")
    page.fill("#filter", "backchannel")
    expect(page.locator("#events li")).to_have_count(2)
    page.locator("#events button").first.click()
    expect(page.locator("#events dl")).to_contain_text("known at")


def test_hours_of_events_take_bounded_memory(open_page: Open) -> None:
    page = open_page()
    kept = page.evaluate(
        """async () => {
          const { Chronicle } = await import("/page/chronicle.js");
          const { Story } = await import("/page/story.js");
          const chronicle = new Chronicle(), story = new Story();
          for (let at = 0; at < 3600; at += 0.02) {
            const events = [{ type: "Voice", probability: 0.5 }, { type: "Echo", similarity: 0.1 }];
            const turn = Math.floor(at / 2);
            if (Math.round(at * 50) % 100 === 0) {
              events.push({ type: "TurnOpened", turn, start_ns: at * 1e9 });
              const span = { start_ns: at * 1e9, end_ns: at * 1e9 };
              events.push({ type: "TurnCommitted", turn, text: "hello", reason: "silence", ...span });
            }
            for (const event of events) {
              chronicle.take({ t: at, at, ...event });
              story.take({ t: at, at, ...event });
            }
          }
          const { curves, events, items } = chronicle;
          const [{ at: oldest }] = events;
          const counts = { voice: curves.voice.length / 2, events: events.length, turns: items.turns.length };
          return { ...counts, rows: story.rows.length, oldest };
        }"""
    )
    assert 29_900 < kept["voice"] < 31_000
    assert kept["events"] < 31_500 and kept["oldest"] > 2980
    assert 290 < kept["turns"] < 320 and kept["rows"] <= 401


# --- how the agent behaves, and its model


def tabbed(page: Page, name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    pytest.fail(f"{name} is not reached by Tab")


def test_behaviour_is_changed_by_keyboard_field_by_field(open_page: Open, server: PageServer) -> None:
    server.manner |= {"persona": "You are Ada.", "forbidden_topics": ["war", "money"], "patience": 1.5, "fillers": True}
    page = open_page()
    server.tell(minded().done(voice=False)[:1])
    page.keyboard.press("b")
    expect(page.locator("#persona")).to_have_value("You are Ada.")
    expect(page.locator("#forbidden-topics")).to_have_value("war\nmoney")
    expect(page.locator("#patience")).to_have_attribute("aria-valuetext", "1.5 times the usual wait")
    expect(page.locator("#fillers")).to_be_checked()
    expect(page.locator("#tools-hint")).to_have_text("It has: set_timer, calculate, look.")
    sent: list[dict[str, Any]] = []

    def changes(**wanted: Any) -> None:
        sent.append(wanted)
        until(lambda: len(server.of("adjust")) == len(sent), f"{wanted} to be sent")
        assert [message["changes"] for message in server.of("adjust")] == sent
        expect(page.locator("#behaviour-state")).to_have_text("Changed.")

    tabbed(page, "persona")
    page.keyboard.press("Control+A")
    page.keyboard.type(" You are Bob. ")
    assert not server.of("adjust")  # nothing while somebody writes
    page.keyboard.press("Tab")
    changes(persona="You are Bob.")
    page.keyboard.type("German")
    tabbed(page, "verbosity")
    changes(language="German")
    page.keyboard.press("ArrowDown")
    changes(verbosity="full")
    tabbed(page, "patience")
    for _ in range(5):
        page.keyboard.press("ArrowRight")  # together
    expect(page.locator("#patience-told")).to_have_text("2.0 ×")
    changes(patience=2)
    for name, key, field, value in (
        ("interruptible", "ArrowDown", "interruptible", "stop"), ("proactivity", "ArrowUp", "proactivity", "none"),
        ("pictures", "ArrowDown", "pictures", "always"),
    ):  # fmt: skip
        tabbed(page, name)
        page.keyboard.press(key)
        changes(**{field: value})
    tabbed(page, "forbidden-tools")
    page.keyboard.type("set_timer\n\n look ")
    tabbed(page, "backchannels")
    changes(forbidden_tools=["set_timer", "look"])
    page.keyboard.press("Space")
    changes(backchannels=True)
    tabbed(page, "forbidden-topics")
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")  # closes, and what was written last is sent
    expect(page.locator("#behaviour")).to_be_hidden()
    changes_last = {"forbidden_topics": []}
    until(lambda: server.of("adjust")[-1]["changes"] == changes_last, "what was written last")
    assert not server.of("stop")
    names = {name for message in server.of("adjust") for name in message["changes"]}
    assert names | {"fillers"} == set(server.manner)


def test_what_nobody_touches_stays_as_it_is(open_page: Open, server: PageServer) -> None:
    server.manner |= {"patience": 1.234, "persona": "You are Ada.\r\n", "forbidden_tools": [" look"]}
    page = open_page()
    for _ in range(2):
        page.click("#open-behaviour")
        page.focus("#persona")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.locator("#behaviour")).to_be_hidden()
    page.click("#open-behaviour")
    page.check("#backchannels")
    until(lambda: server.of("adjust"), "the only change")
    assert server.of("adjust")[0]["changes"] == {"backchannels": True}


def test_who_changes_it_is_told_and_what_is_refused_is_undone(open_page: Open, server: PageServer) -> None:
    first, second = open_page(), open_page()
    for page in (first, second):
        page.click("#open-behaviour")
    second.fill("#persona", "half a sent")
    first.select_option("#verbosity", "brief")
    expect(second.locator("#verbosity")).to_have_value("brief")
    expect(second.locator("#behaviour-state")).to_have_text("Changed by viewer 1.")
    expect(second.locator("#persona")).to_have_value("half a sent")  # who writes is left alone
    server.refuses = "the behaviour was not changed: it is being changed too often."
    first.select_option("#verbosity", "full")
    expect(first.locator("#behaviour-state")).to_have_text(server.refuses)
    expect(first.locator("#verbosity")).to_have_value("brief")
    expect(first.locator("#alarms p")).to_have_count(0)  # it is told where one looks
    first.fill("#language", "Klingon")
    first.keyboard.press("Tab")
    expect(first.locator("#behaviour-state")).to_have_text(server.refuses)
    expect(first.locator("#language")).to_have_value("Klingon")  # a text can be corrected
    server.refuses = ""
    server.hang_up()
    second.locator("#persona").blur()  # maybe without a connection: then it waits for one
    until(lambda: server.connections == 4, "both to come back")
    expect(second.locator("#behaviour-state")).to_have_text("Changed.")
    expect(first.locator("#persona")).to_have_value("half a sent")


def test_the_model_is_shown_at_work(open_page: Open, server: PageServer) -> None:
    server.price = {"input": 2.0, "cached": 0.5, "output": 8.0}
    page = open_page()
    page.click("#watch-only")
    events = minded().done(voice=False)
    told = 0

    def tell(end: float) -> None:
        nonlocal told
        due = [event for event in events[told:] if event["at"] <= end]
        told += len(due)
        server.tell(due)

    def at(kind: str, place: int, **fields: Any) -> float:
        found = [e for e in events if e["type"] == kind and all(e.get(name) == value for name, value in fields.items())]
        return float(found[place]["at"])

    thinking = page.locator("#captions .thinking")
    server.begin()
    tell(at("Ask", 0) + 0.001)
    expect(page.locator("#captions .person")).to_have_count(1)
    expect(thinking).to_have_count(0)  # a draft may be for nothing
    tell(at("TurnCommitted", 0))
    expect(thinking.locator(".aside")).to_have_text("thinking")
    tell(at("PlayStarted", 0))
    expect(thinking).to_have_count(0)
    expect(page.locator("#captions .agent.speaking")).to_have_count(1)
    tell(at("Ask", -1, turn=2))
    expect(thinking).to_have_count(1)
    tell(at("Outcome", -1, turn=2, action="Say"))
    expect(thinking).to_have_count(0)
    tell(at("Adjusted", 0))
    expect(page.locator("#captions .note.work").last).to_have_text("Behaviour: brief answers, patience 2")
    expect(page.locator("#spoken")).to_contain_text("Behaviour: brief answers")
    tell(at("Outcome", -1, turn=3, action="Ask"))
    expect(page.locator("#captions .note.alarm")).to_have_text("The model did not answer: no token came within 8 s")
    expect(thinking).to_have_count(0)
    tell(99)
    expect(thinking).to_have_count(1)
    expect(page.locator("#captions")).not_to_contain_text("Ask")
    figures = page.locator("#figures")
    expect(figures).to_contain_text("model: questions6, 1 failed")
    expect(figures).to_contain_text("model: drafts taken1 of 2")
    expect(figures).to_contain_text("model: first piece (median)")
    expect(figures).to_contain_text("model: tokens in, out6000, 10")
    expect(figures).to_contain_text(f"model: cost{(5000 * 2 + 1000 * 0.5 + 10 * 8) / 1e6:.4f}")


def test_the_timeline_tells_what_the_model_was_asked(open_page: Open, server: PageServer) -> None:
    page = open_page()
    events = minded().done(voice=False)
    server._started = time.monotonic() - events[-1]["at"]
    server.send(server.session() | {"number": 2})
    server.tell(events)
    page.focus("#timeline")
    labels = []
    page.keyboard.press("ArrowLeft")
    for _ in range(40):
        labels.append(page.inner_text("#evidence-title"))
        page.keyboard.press("ArrowLeft")
    model = [label.partition(": ")[2] for label in dict.fromkeys(labels) if label.startswith("Model")]
    assert model[:2] == ["reply", "reply, timeout: first token"]
    assert model[-1] == "draft taken, 0.30 s, 5 tokens"
    assert any(label.startswith("draft, withdrawn, 0.3") for label in model)
    turns = [label for label in labels if label.startswith("Turns") and "answered after 0.54 s" in label]
    assert "(the model after 0.30 s, 5 tokens)" in turns[0]
    page.click("#as-list")
    page.fill("#filter", "asks the model (draft): 6 messages, 4 tools, 5.2 kB")
    expect(page.locator("#events li")).to_have_count(2)
    page.fill("#filter", "taken back")
    expect(page.locator("#events .text")).to_have_text(
        ["Question 3 taken back: it was asked something else in the end"]
    )


def test_an_answer_that_is_cut_or_withdrawn_leaves_nothing_behind(open_page: Open, server: PageServer) -> None:
    page = open_page()
    page.click("#watch-only")
    it = Scene()
    it.typed(0.5, "tell me a story")
    number = it.ask(0.52)
    it.put(1.5, "action", "Hush", turn=1, reason="stop")
    it.answer(number, 1.51, 1.51, "", "cut")
    it.typed(2.0, "hm")
    number = it.ask(2.02)
    it.put(2.5, "action", "Withdraw", id=number, reason="it went on after it had nothing to say", turn=2)
    it.answer(number, 2.3, 2.51, "Hm hm", "cut")
    it.typed(3.0, "well")
    it.answer(it.ask(3.02), 3.3, 3.4, "Well.")
    it.put(3.41, "action", "Say", turn=3, id=900, text="Well.", backchannel=False)
    events = it.done(voice=False)
    server.begin()
    server.tell(events[:-1])
    expect(page.locator("#captions .person")).to_have_count(3)
    expect(page.locator("#captions .agent")).to_have_count(0)
    server.tell(events[-1:])
    expect(page.locator("#captions .agent.thinking")).to_have_count(1)  # until it sounds
    gone = {"turn": 3, "id": 900, "action": "Say", "name": "", "status": "fenced", "detail": "", "result": None}
    ended = {"t": 3.5, "at": 3.5, "topic": "feedback", "type": "Outcome", "order": len(events)}
    server.tell([ended | gone])
    expect(page.locator("#captions .agent")).to_have_count(0)
    expect(page.locator("#captions .alarm")).to_have_count(0)


# --- for everybody


def test_all_of_it_goes_by_keyboard(open_page: Open, server: PageServer) -> None:
    page = open_page()

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        pytest.fail(f"{name} is not reached by Tab")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("talk-big")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Talking")
    page.keyboard.press("m")
    expect(page.locator("#state")).to_have_text("Muted")
    page.keyboard.press("m")
    expect(page.locator("#state")).to_have_text("Talking")
    page.keyboard.press("/")
    page.keyboard.type("mute me")
    expect(page.locator("#state")).to_have_text("Talking")  # a letter typed is a letter
    page.keyboard.press("Escape")
    until(lambda: server.of("stop"), "stop, from within the text box too")
    tab_to("timeline")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    assert len(server.of("stop")) == 1  # that Escape closed the help
    page.keyboard.press("b")
    expect(page.locator("#behaviour")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.locator("#recordings")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    until(lambda: server.of("release"), "the microphone to be given back")


def test_a_phone_shows_one_view_at_a_time(open_page: Open, server: PageServer) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    server.tell(scene())
    wide = "() => document.documentElement.scrollWidth"
    for view, shown in (("time", "#lanes"), ("sight", "#frame"), ("talk", "#hero")):
        page.tap(f".views [data-view={view}]")
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate(wide) == 360
    page.tap("#talk-big")
    expect(page.locator("#state")).to_have_text("Talking")
    count = "() => [...document.querySelectorAll('.talk *')].filter((each) => each.offsetParent && "
    small = count + "each.tagName === 'BUTTON' && each.offsetHeight < 40).length"
    outside = count + "each.getBoundingClientRect().right > 361).length"
    assert page.evaluate(small) == 0  # large enough for a thumb
    assert page.evaluate(outside) == 0
    page.tap("#open-behaviour")
    controls = "[...document.querySelectorAll('#manner :is(input, select, textarea)')]"
    narrow = f"() => {controls}.filter((each) => each.type !== 'checkbox' && each.offsetWidth < 200).length"
    beyond = f"() => {controls}.filter((each) => each.getBoundingClientRect().right > 340).length"
    assert page.evaluate(narrow) == page.evaluate(beyond) == 0
    assert page.evaluate("() => document.getElementById('behaviour').scrollWidth") <= 340
    page.keyboard.press("Escape")
    open_recording(page)
    assert page.evaluate(outside) == 0


def test_dark_and_light_follow_the_system_and_the_switch(open_page: Open) -> None:
    paper = "() => getComputedStyle(document.body).backgroundColor"
    assert open_page(color_scheme="light").evaluate(paper) == "rgb(246, 244, 239)"
    page = open_page(color_scheme="dark")
    assert page.evaluate(paper) == "rgb(19, 21, 25)"
    page.click("#theme")
    assert page.evaluate(paper) == "rgb(246, 244, 239)"
    page.reload()
    assert page.evaluate(paper) == "rgb(246, 244, 239)"  # it is remembered


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier_is_found(open_page: Open, server: PageServer, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="barriers are looked for with axe: pip install axe-playwright-python",
    ).Axe()

    def check(state: str) -> None:
        found = axe.run(page).response["violations"]
        grave = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
        assert grave == [], state

    page = open_page(color_scheme=scheme)
    check("start")
    server.tell(minded().done())
    page.click("#open-behaviour")
    page.select_option("#verbosity", "full")
    expect(page.locator("#behaviour-state")).to_have_text("Changed.")
    check("behaviour")
    server.refuses = "the behaviour was not changed: Expected `float` <= 4.0 - at `patience`."
    page.select_option("#verbosity", "brief")
    expect(page.locator("#behaviour-state")).to_have_text(server.refuses)
    check("behaviour, refused")
    page.keyboard.press("Escape")
    talk(page)
    server._started = time.monotonic() - 19.3
    server.send(server.session() | {"number": 2})
    server.tell([event for event in scene() if event["at"] < 19.3])
    page.wait_for_timeout(300)
    check("talking")
    page.click("#as-list")
    page.wait_for_timeout(100)
    check("list of events")
    for name in ("help", "settings", "recordings"):
        page.click(f"#open-{name}")
        page.wait_for_timeout(100)
        check(name)
        page.keyboard.press("Escape")
    open_recording(page)
    check("recorded")
    page.click("#review-close")
    page.set_viewport_size({"width": 360, "height": 740})
    for view in ("talk", "time", "sight"):
        page.click(f".views [data-view={view}]")
        check(f"phone, {view}")
    server.token = "another"
    server.hang_up()
    expect(page.locator("#alarms")).to_contain_text("no longer good")
    check("alarm")


def test_a_microphone_of_another_rate_is_resampled(open_page: Open) -> None:
    page = open_page()
    t = np.arange(48000) / 48000
    sent = np.sin(2 * np.pi * 1000 * t) * 0.5 + np.sin(2 * np.pi * 12000 * t) * 0.5  # the latter is above 8 kHz
    got = page.evaluate(
        """async (samples) => {
          const { Resampler } = await import("/page/resample.js");
          const resampler = new Resampler(48000, 16000);
          const made = [];
          for (let at = 0; at < samples.length; at += 128) {
            made.push(...resampler.push(Float32Array.from(samples.slice(at, at + 128))));
          }
          return made;
        }""",
        sent.tolist(),
    )
    assert 15900 < len(got) <= 16000
    heard = np.array(got)[200:-200]
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * (np.arange(16000) / 16000))[200 : 200 + len(heard)]
    assert np.sqrt(np.mean((heard - wanted) ** 2)) < 0.5 * 10 ** (-40 / 20)


def test_frames_are_packed_as_the_protocol_says(open_page: Open) -> None:
    page = open_page()
    made = page.evaluate(
        """async () => {
          const wire = await import("/page/wire.js");
          const microphone = [...new Uint8Array(wire.microphoneFrame(7, 12.5, Int16Array.of(1, -2)))];
          const camera = [...new Uint8Array(wire.cameraFrame(8, 99.25, Uint8Array.of(255, 216).buffer))];
          const strange = [3, 16].map((bytes) => wire.parse(new ArrayBuffer(bytes)));
          return { microphone, camera, strange };
        }"""
    )
    assert bytes(made["microphone"]) == struct.pack("<B3xIdhh", 1, 7, 12.5, 1, -2)
    assert bytes(made["camera"]) == struct.pack("<B3xId2B", 2, 8, 99.25, 255, 216)
    assert made["strange"] == [None, None]
    sound = list(struct.pack("<BBHIqh", 1, 4, RATE, 3, 2**40, -5))
    parsed = page.evaluate(
        """async (bytes) => {
          const frame = (await import("/page/wire.js")).parse(Uint8Array.from(bytes).buffer);
          return { ...frame, samples: [...frame.samples] };
        }""",
        sound,
    )
    assert parsed == {"kind": 1, "epoch": 4, "rate": RATE, "sequence": 3, "index": 2**40, "samples": [-5]}
    assert json.dumps(parsed)

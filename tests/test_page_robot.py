"""The panel of robots in a real Chromium, before a real console whose session has robots (`tests/paper_robots.py`)."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the page is tested with Playwright: pip install playwright")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if shutil.which("chromium") is None:
    pytest.skip("the page is tested in Chromium: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import Browser, Error, Page, Playwright, expect, sync_playwright

from agent import config
from agent.console.host import Host
from streams.types import Attached, Halt, Steer, Tripped
from tests.page_server import until
from tests.paper_robots import LIGHT, PaperRobot, open_room

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update"),
]
pytestmark = pytest.mark.slow

Room = Callable[..., Host]
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
def room(tmp_path: Path) -> Iterator[Room]:
    """Opens a console with robots."""
    with ExitStack() as stack:
        yield lambda *robots, **options: stack.enter_context(open_room(tmp_path, *robots, **options))


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page, each time as somebody else. Whatever the page complains of in its console fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(host: Host, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 820}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(host.address)
        expect(page.locator("#state")).to_contain_text("Ready")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [each for each in complaints if "WebSocket connection to" not in each] == []


def write(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")
    page.evaluate("document.activeElement.blur()")


def by_hand(page: Page) -> None:
    page.click("#by-hand")
    expect(page.locator("#by-hand")).to_have_attribute("aria-checked", "true")


def driven(robot: PaperRobot) -> list[Steer]:
    return [each for each in robot.told if isinstance(each, Steer)]


def rests(robot: PaperRobot) -> bool:
    told = driven(robot)
    return bool(told) and not (told[-1].vx or told[-1].vy or told[-1].wz)


# --- what is shown


def test_without_a_robot_the_panel_stays_away(room: Room, open_page: Open) -> None:
    """The simulated base moves, and is no robot."""
    host = room()
    page = open_page(host)
    write(page, "go forward one metre")
    expect(page.locator("#captions")).to_contain_text("move: done", timeout=15_000)
    for part in ("#robot", "#view-robot", "#estop", "#map"):
        expect(page.locator(part)).to_be_hidden()
    assert config.load(None, LIGHT).body.motion == "simulated"


def test_where_it_is_and_how_it_stands_is_seen_and_read(room: Room, open_page: Open) -> None:
    robot = PaperRobot(there=False)
    robot.change(link="unknown")
    robot.change(pose=(1.25, -0.5, 1.5707), guards=("obstacle",))
    page = open_page(room(robot))
    expect(page.locator("#robot")).to_be_hidden()
    robot.there = True
    expect(page.locator("#robot")).to_be_visible()
    robot.change(link="heard")
    state = page.locator("#robot-state")
    for text in (
        "Linkheard",
        "Stopnot latched",
        "Modeautomatic",
        "Moved byagent1 (model)",
        "byobstacle",
        "Battery83 %",
    ):
        expect(state).to_contain_text(text)
    expect(page.locator("#robot-name")).to_have_text("robot7, A paper robot, diff drive")
    words = page.locator("#map-words")
    expect(words).to_contain_text("x 1.25 m, y -0.50 m, turned 90° to the left of x")
    expect(words).to_contain_text(
        "1.5 m to the nearest border"
    )  # the area that it may not enter is nearer than the fence
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.wait_for_timeout(400)

    def middle(part: str) -> tuple[float, float]:
        script = "part => { const {left, top, width, height} = document.querySelector(part).getBoundingClientRect();"
        x, y = page.evaluate(script + " return [left + width / 2, top + height / 2]; }", part)
        return x - box["x"] - box["width"] / 2, y - box["y"] - box["height"] / 2

    assert middle("#map .body") == pytest.approx((0, 0), abs=2)  # the map follows it
    metre = min(box["width"], box["height"]) / 4
    nose = middle("#map .nose")
    assert nose[0] < -0.1 * metre and abs(nose[1]) < 3  # it looks along y, which is to the left
    fence = middle("#map .fence")
    assert fence == pytest.approx((-0.5 * metre, 1.25 * metre), abs=4)
    out = middle("#map .out")  # from (1, 1) to (2, 2): its middle is (1.5, 1.5)
    assert out == pytest.approx((-2.0 * metre, -0.25 * metre), abs=4)
    expect(page.locator("#map .scale text")).to_have_text("1 m")
    page.click("#map-more")
    expect(page.locator("#map .scale text")).to_have_text("2 m")
    assert page.locator("#map .compass text").all_text_contents() == ["x", "y"]
    robot.change(link="suspended", errors=("motor hot",), battery=None, holder="")
    expect(state).to_contain_text("not heard for half a second")
    expect(state).to_contain_text("Errorsmotor hot")
    expect(state).to_contain_text("Moved bynobody")
    robot.change(link="unknown", pose=None)
    expect(state).to_contain_text("what became of its commands is unknown")
    expect(words).to_have_text("It does not say where it is.")
    expect(page.locator("#by-hand")).to_be_disabled()
    expect(page.locator("#captions")).to_contain_text("robot7 is not heard any more")
    expect(page.locator("#captions")).not_to_contain_text("again")  # at first it had not been heard yet
    robot.change(link="heard", pose=(0.0, 0.0, 0.0))
    expect(page.locator("#captions")).to_contain_text("robot7 is heard again")


def test_commands_are_followed_to_their_end_and_guards_counted(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot))
    expect(page.locator("#no-commands")).to_be_visible()
    write(page, "go forward two metres")
    first = page.locator("#robot-commands li").first
    expect(first.locator(".name")).to_have_text("move (distance_m 2)")
    expect(first.locator(".how")).to_contain_text("running")
    until(lambda: page.evaluate("document.querySelector('#robot-commands progress').value") > 0.2, "progress")
    expect(page.locator("#map .way")).to_have_attribute("points", re.compile(r"(\S+ ){5}"))
    expect(first.locator(".how")).to_contain_text("done after", timeout=15_000)
    expect(first.locator(".why")).to_contain_text("distance m 2")
    expect(first.locator("progress")).to_have_js_property("value", 1)
    write(page, "turn left")
    expect(page.locator("#robot-commands li")).to_have_count(2)
    expect(first.locator(".name")).to_contain_text("turn (angle_rad")  # the newest is the first
    page.keyboard.press("Escape")
    expect(first.locator(".how")).to_contain_text("ended early")
    expect(first.locator(".why")).to_contain_text("stopped on the way")
    robot.say(Tripped("robot7", "obstacle", "warning", "obstacle", "0.29 m free", 3))
    robot.say(Tripped("robot7", "fence", "info", "geofence", "held back"))
    robot.say(Tripped("robot7", "obstacle", "warning", "obstacle", "0.25 m free", 2))
    trips = page.locator("#robot-trips li")
    expect(page.locator("#trips-title")).to_have_text("Guards that acted: 6")
    expect(trips).to_have_count(2)
    expect(trips.first).to_contain_text("obstacle5 times, warning0.25 m free")
    page.click("#as-list")
    expect(page.locator("#events")).to_contain_text("Guard obstacle of robot7: obstacle, 0.25 m free (2 times)")
    expect(page.locator("#events")).not_to_contain_text("BodyState")  # nothing new five times a second


def test_several_robots_are_chosen_from(room: Room, open_page: Open) -> None:
    one, two = PaperRobot(), PaperRobot("robot8", speeds=(0.0, 0.0), there=False)
    page = open_page(room(one, two))
    expect(page.locator("#robot-name")).to_contain_text("robot7")
    two.there = True
    choice = page.locator("#robot-choice")
    expect(choice).to_be_visible()
    assert choice.locator("option").all_text_contents() == ["robot7", "robot8"]
    expect(page.locator("#by-hand")).to_be_visible()
    two.change(pose=(2.0, 2.0, 0.0))
    choice.select_option("robot8")
    expect(page.locator("#map-words")).to_contain_text("x 2.00 m, y 2.00 m")
    expect(page.locator("#by-hand")).to_be_hidden()  # it does not drive
    choice.select_option("robot7")
    expect(page.locator("#map-words")).to_contain_text("x 0.00 m, y 0.00 m")


# --- stop


def test_the_stop_that_stays_is_another_button_and_says_what_it_is(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot))
    expect(page.locator("#estop")).to_have_text("Emergency stop (stays until reset)")
    expect(page.locator("#estop-hint")).to_contain_text("no safety-rated stop")
    order = "[...document.querySelectorAll('button')].map(({ id }) => id).filter((id) => /stop/.test(id))"
    assert page.evaluate(order) == ["stop", "robot-stop", "estop"]
    page.click("#robot-stop")
    until(lambda: [each.latch for each in robot.told if isinstance(each, Halt)] == [False], "the stop")
    expect(page.locator("#latched")).to_be_hidden()
    by_hand(page)
    page.click("#estop")
    until(lambda: [each.latch for each in robot.told if isinstance(each, Halt)] == [False, True], "the stop that stays")
    expect(page.locator("#latched")).to_contain_text("Stop latched: robot7")
    expect(page.locator("#latched")).to_contain_text("until an operator resets it")
    assert page.evaluate("parseFloat(getComputedStyle(document.getElementById('latched-title')).fontSize)") >= 24
    expect(page.locator("#by-hand")).to_have_attribute("aria-checked", "false")
    expect(page.locator("#by-hand")).to_be_disabled()
    page.wait_for_timeout(1800)
    expect(page.locator("#alarms p")).to_have_count(0)  # it was seen at the robot
    robot.change(estop="none")
    expect(page.locator("#latched")).to_be_hidden()
    expect(page.locator("#by-hand")).to_be_enabled()


def test_a_stop_that_nobody_confirms_is_told_loudly(room: Room, open_page: Open) -> None:
    class Deaf(PaperRobot):
        def hear(self, data: Any, clock: Any) -> None:
            pass

    page = open_page(room(Deaf()))
    expect(page.locator("#robot")).to_be_visible()
    page.focus("#estop")
    page.keyboard.press("Enter")
    expect(page.locator("#alarms")).to_contain_text(
        "No word that robot7 has stopped: use the stop on the robot itself."
    )


# --- steering by hand


def test_keys_steer_while_they_are_held_and_one_zero_ends_it(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot))
    expect(page.locator("#robot")).to_be_visible()
    page.keyboard.press("w")
    page.wait_for_timeout(200)
    assert driven(robot) == []  # the switch is off
    by_hand(page)
    expect(page.locator("#hand-speed-told")).to_have_text("30 %, 0.15 m/s")
    page.keyboard.down("w")
    page.wait_for_timeout(1000)
    page.keyboard.up("w")
    until(lambda: rests(robot), "the zero")
    told = driven(robot)
    assert 6 <= len(told) - 1 <= 13  # ten a second
    assert {(each.vx, each.vy, each.wz, each.robot) for each in told[:-1]} == {(0.15, 0.0, 0.0, "robot7")}
    page.wait_for_timeout(300)
    assert len(driven(robot)) == len(told)  # one zero
    expect(page.locator("#robot-state")).to_contain_text("Moved byagent1 (model)")
    page.fill("#hand-speed", "100")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.down("ArrowLeft")
    page.keyboard.down("s")
    until(lambda: (driven(robot)[-1].vx, driven(robot)[-1].wz) == (-0.5, 1.5), "both at once")
    expect(page.locator("#robot-state")).to_contain_text("by hand (console)")
    page.keyboard.up("ArrowLeft")
    until(lambda: (driven(robot)[-1].vx, driven(robot)[-1].wz) == (-0.5, 0.0), "one of them")
    page.keyboard.up("s")
    until(lambda: rests(robot), "the zero")
    count = len(driven(robot))
    page.focus("#text")
    page.keyboard.type("was wad")  # letters are letters
    page.focus("#timeline")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+a")
    assert len(driven(robot)) == count
    page.click("#by-hand")
    page.keyboard.press("w")
    page.wait_for_timeout(200)
    assert len(driven(robot)) == count


@pytest.mark.parametrize("how", ["blur", "hidden", "Escape", "switch", "dialog"])
def test_whatever_happens_the_robot_rests_until_a_key_is_pressed_anew(room: Room, open_page: Open, how: str) -> None:
    robot = PaperRobot()
    page = open_page(room(robot))
    by_hand(page)
    page.keyboard.down("w")
    until(lambda: len(driven(robot)) > 2, "the robot to be driven")
    match how:
        case "blur":
            page.evaluate("dispatchEvent(new Event('blur'))")
        case "hidden":
            page.evaluate(
                "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden;"
            )
        case "Escape":
            page.keyboard.press("Escape")
            until(lambda: any(isinstance(each, Halt) for each in robot.told), "the stop")
        case "switch":
            page.click("#by-hand")
        case "dialog":
            page.keyboard.press("?")
            expect(page.locator("#help")).to_be_visible()
    until(lambda: rests(robot), "the zero")
    count = len(driven(robot))
    page.keyboard.down("w")  # a key that is held repeats itself
    page.wait_for_timeout(300)
    assert len(driven(robot)) == count
    page.keyboard.up("w")
    if how in ("switch", "dialog"):
        return
    page.keyboard.down("w")
    until(lambda: driven(robot)[-1].vx > 0, "the key pressed anew")
    page.keyboard.up("w")


def test_a_page_that_crashes_while_it_steers_lets_the_robot_rest(room: Room, browser: Browser) -> None:
    robot = PaperRobot()
    host = room(robot)
    context = browser.new_context()
    page = context.new_page()
    page.goto(host.address)
    expect(page.locator("#robot")).to_be_visible()
    by_hand(page)
    page.keyboard.down("w")
    until(lambda: len(driven(robot)) > 2, "the robot to be driven")
    with page.expect_event("crash"), pytest.raises(Error, match="crash"):
        page.goto("chrome://crash")
    until(lambda: rests(robot), "the zero that the server tells")
    context.close()


def test_when_the_connection_is_lost_nothing_goes_on_by_itself(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    host = room(robot)
    page = open_page(host)
    by_hand(page)
    page.keyboard.down("w")
    until(lambda: len(driven(robot)) > 2, "the robot to be driven")
    assert robot._loop is not None
    for viewer in list(host.room.viewers.values()):
        robot._loop.call_soon_threadsafe(viewer.end, "a test")
    until(lambda: rests(robot), "the zero")
    expect(page.locator("#state")).to_contain_text("Ready")
    count = len(driven(robot))
    page.keyboard.down("w")
    page.wait_for_timeout(400)
    assert len(driven(robot)) == count
    page.keyboard.up("w")


def test_the_pad_steers_by_mouse_touch_and_keyboard(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot), has_touch=True)
    by_hand(page)
    page.hover("#pad [data-direction=right]")
    page.mouse.down()
    until(lambda: driven(robot) and driven(robot)[-1].wz == pytest.approx(-0.45), "the mouse")
    page.mouse.move(5, 5)  # it is held, wherever the pointer is
    page.wait_for_timeout(250)
    assert driven(robot)[-1].wz < 0
    page.mouse.up()
    until(lambda: rests(robot), "the mouse to let go")
    page.focus("#pad [data-direction=back]")
    page.keyboard.down("Space")
    until(lambda: driven(robot)[-1].vx == pytest.approx(-0.15), "the space bar")
    page.keyboard.up("Space")
    until(lambda: rests(robot), "the space bar to let go")
    touch = page.context.new_cdp_session(page)
    places = []
    for number, direction in enumerate(("forward", "left")):
        box = page.locator(f"#pad [data-direction={direction}]").bounding_box()
        assert box is not None
        places.append({"x": box["x"] + 20, "y": box["y"] + 20, "id": number})
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places})
    until(lambda: (driven(robot)[-1].vx > 0, driven(robot)[-1].wz > 0) == (True, True), "two fingers")
    touch.send("Input.dispatchTouchEvent", {"type": "touchCancel", "touchPoints": []})
    until(lambda: rests(robot), "the fingers to let go")


def test_only_one_steers_and_the_other_is_told(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    host = room(robot)
    one, other = open_page(host), open_page(host)
    for page in (one, other):
        by_hand(page)
    one.keyboard.down("w")
    until(lambda: len(driven(robot)) > 2, "the robot to be driven")
    expect(other.locator("#robot-state")).to_contain_text("by hand (console)")
    other.keyboard.down("s")
    expect(other.locator("#hand-told")).to_contain_text("somebody else steers robot7")
    expect(other.locator("#pad .held")).to_have_count(0)
    one.keyboard.up("w")
    until(lambda: rests(robot), "the zero")
    assert all(each.vx >= 0 for each in driven(robot))
    other.keyboard.up("s")


# --- recordings, and for everybody


def test_a_recording_shows_the_same(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot, record=True))
    expect(page.locator("#recording-sign")).to_be_visible()
    by_hand(page)
    page.fill("#hand-speed", "100")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.down("w")
    page.wait_for_timeout(1200)
    page.keyboard.up("w")
    robot.say(Tripped("robot7", "fence", "warning", "geofence", "held back"))
    write(page, "turn left")
    expect(page.locator("#robot-commands li").first).to_contain_text("done after", timeout=15_000)
    page.click("#estop")
    expect(page.locator("#latched")).to_be_visible()
    name = page.locator("#robot-commands li").first.text_content()
    page.click("#record")
    expect(page.locator("#recording-sign")).to_be_hidden(timeout=15_000)
    robot.change(estop="none")  # the recording ends with it latched
    expect(page.locator("#robot-commands li")).to_have_count(0)  # a new session
    page.click("#open-recordings")
    page.click("#recording-list button")
    expect(page.locator("#review")).to_be_visible()
    expect(page.locator("#steer")).to_be_hidden()  # what was can not be steered
    expect(page.locator("#estop")).to_be_enabled()  # what is can be stopped
    page.evaluate(
        "() => { const bar = document.getElementById('review-place'); bar.value = bar.max;"
        " bar.dispatchEvent(new Event('input')); }"
    )
    expect(page.locator("#robot-commands li").first).to_have_text(name or "")
    expect(page.locator("#trips-title")).to_have_text("Guards that acted: 1")
    expect(page.locator("#latched")).to_be_visible()
    expect(page.locator("#map-words")).to_contain_text(re.compile(r"x 0\.[3-9]\d m"))
    page.focus("#review-place")
    page.keyboard.press("Home")
    expect(page.locator("#robot-body")).to_be_hidden()  # it had not been found yet
    expect(page.locator("#latched")).to_be_hidden()
    page.click("#review-close")
    expect(page.locator("#steer")).to_be_visible()


def test_reduced_motion_keeps_the_map_still(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    host = room(robot)
    moving, still = open_page(host), open_page(host, reduced_motion="reduce")
    where = "() => document.querySelector('#map .world').style.transform"
    duration = "() => getComputedStyle(document.querySelector('#map .world')).transitionDuration"
    for page in (moving, still):
        expect(page.locator("#map-words")).to_contain_text("x 0.00 m")
    assert float(moving.evaluate(duration).removesuffix("s")) > 0
    assert float(still.evaluate(duration).removesuffix("s")) == 0
    before = [page.evaluate(where) for page in (moving, still)]
    robot.change(pose=(0.6, 0.0, 0.0))
    for page in (moving, still):
        expect(page.locator("#map-words")).to_contain_text("x 0.60 m")
    after = [page.evaluate(where) for page in (moving, still)]
    assert before[0] != after[0] and before[1] == after[1]
    robot.change(pose=(2.6, 0.0, 0.0))  # before it would leave the map
    expect(still.locator("#map-words")).to_contain_text("x 2.60 m")
    assert still.evaluate(where) != after[1]


def test_a_phone_has_a_view_for_it_with_stop_in_sight(room: Room, open_page: Open) -> None:
    robot = PaperRobot()
    page = open_page(room(robot), viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.tap("#view-robot")
    expect(page.locator("#map")).to_be_visible()
    page.tap("#by-hand")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    shown = "[...document.querySelectorAll('.robot :is(button, select, input)')].filter((each) => each.offsetParent)"
    assert page.evaluate(f"{shown}.filter((each) => each.offsetHeight < 40).map(({{ id }}) => id)") == []
    assert (
        page.evaluate(f"{shown}.filter((each) => each.getBoundingClientRect().right > 361).map(({{ id }}) => id)") == []
    )
    page.evaluate("document.querySelector('.robot .inside').scrollTo(0, 9999)")
    for button in ("#robot-stop", "#estop"):
        expect(page.locator(button)).to_be_in_viewport()
    page.tap("#estop")
    expect(page.locator("#latched-title")).to_have_text("Stop latched: robot7")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier_is_found(room: Room, open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="barriers are looked for with axe: pip install axe-playwright-python",
    ).Axe()
    one, two = PaperRobot(), PaperRobot("robot8")
    page = open_page(room(one, two), color_scheme=scheme)

    def check(state: str) -> None:
        found = axe.run(page).response["violations"]
        grave = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
        assert grave == [], state

    by_hand(page)
    write(page, "go forward one metre")
    for level in ("info", "warning", "urgent"):
        one.say(Tripped("robot7", level, level, "obstacle", "0.29 m free", 2))
    one.say(Attached("robot9", "arm", "An arm"))
    expect(page.locator("#robot-trips li")).to_have_count(3)
    page.keyboard.down("w")
    check("steered")
    page.keyboard.up("w")
    expect(page.locator("#robot-commands .how")).to_contain_text("done", timeout=15_000)
    one.change(link="unknown", errors=("motor hot",))
    two.change(estop="latched")
    expect(page.locator("#robot-state")).to_contain_text("unknown")
    check("not heard")
    page.select_option("#robot-choice", "robot8")
    expect(page.locator("#latched")).to_be_visible()
    check("latched")
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("#view-robot")
    check("phone")
    page.select_option("#robot-choice", "robot9")
    check("an arm")

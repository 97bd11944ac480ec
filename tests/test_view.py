"""What a person sees: golden text for a whole conversation, and nothing that a terminal would obey."""

import asyncio
import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agent.narration import Narrator
from agent.view import TerminalView
from streams.bus import Bus
from streams.clock import MS, Clock, run
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import (
    Call,
    Command,
    Fault,
    Outcome,
    Played,
    PlayStarted,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnWaiting,
    Words,
)
from tests.talk import talk

# Digits are masked: how long is waited, and how sure one is, are settings of turn-taking and none of ours.
GOLDEN = """\
    #.##  person  what time is it  (#.##-#.##)
    #.##          turn # taken: end of turn #.##, waited #.## s (whole sentence)
    #.##          agent pauses, ## ms after the person's onset
    #.##  person  uh huh  (#.##-#.##)
    #.##          agent goes on after ### ms: a backchannel "uh huh"
    #.##          turn # dropped: a backchannel "uh huh"
    #.##          agent pauses, ## ms after the person's onset
    #.##  person  go and  (#.##-#.##)
    #.##          agent cut, ### ms after the onset, ### ms after the pause: an interruption
    #.##  agent   It is ten past four in the afternoon, and [not heard: it will be a quarter past four in five \
minutes.]  (#.##-#.##, #.## s after the person)
    #.##          the person goes on: end of turn #.##, asked to wait #.## s (model #.##, ends in "and")
    #.##  person  turn left  (#.##-#.##, confidence #.##)
"""
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def shown(**options: Any) -> str:
    out = io.StringIO()
    talk([TerminalView(Console(file=out, highlight=False, **options))])
    return out.getvalue()


def test_a_pipe_gets_one_plain_line_an_event() -> None:
    text = shown(width=40)
    assert re.sub(r"\d", "#", text).startswith(GOLDEN)
    assert text.startswith("    2.22  person  what time is it  (1.00-2.00)\n")
    assert "\x1b" not in text
    assert 'STOP: "stop" heard, everything halts, 100 ms after the word\n' in text
    assert "agent cut, 500 ms after the onset, 420 ms after the pause: stop\n" in text
    assert "agent   [not heard: And then another.]\n" in text
    assert "body    turn(angle_rad=1.57): refused (no robot is attached)\n" in text
    assert 'turn 5 dropped: the stop reflex has answered it "stop"\n' in text
    assert 'person  (not understood; nearest: "what time is it")  (18.00-19.50)\n' in text
    assert "turn 7 dropped: no words in it\n" in text
    times = [float(line.split()[0]) for line in text.splitlines()]
    assert times == sorted(times)


@pytest.mark.parametrize("width", [40, 80])
def test_a_terminal_gets_it_within_its_width(width: int) -> None:
    text = shown(width=width, force_terminal=True, _environ={"TERM": "xterm-256color"})
    for line in ESCAPE.sub("", text).replace("\r", "\n").splitlines():
        assert cell_len(line) <= width
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden, and comes back
    styles = {code for code, letter in ESCAPE.findall(text) if letter == "m"}
    assert any("9" in code.split(";") for code in styles)  # what was not heard is struck out


def test_no_color_is_respected() -> None:
    text = shown(width=80, force_terminal=True, _environ={"TERM": "xterm-256color", "NO_COLOR": "1"})
    codes = {int(part) for code, letter in ESCAPE.findall(text) if letter == "m" for part in code.split(";") if part}
    assert codes <= {0, 1, 2, 3, 4, 9}


class Told:
    """A narrator and packets for it, one after the other."""

    def __init__(self) -> None:
        self.narrator = Narrator()
        self.bus: Bus | None = None

    def __call__(self, *events: tuple[Any, int, Any]) -> list[str]:
        async def main() -> list[str]:
            lines = []
            clock = Clock()
            bus = Bus(clock)
            for topic, t_ms, data in events:
                await clock.sleep_until(t_ms * MS)
                lines += self.narrator.feed(bus.publish(topic, t_ms * MS, data))
            return [f"{line.t / MS:.0f} {line.who}: {line.text.plain}" for line in lines]

        return run(main(), virtual=True)

    @property
    def now(self) -> list[str]:
        return [f"{line.who}: {line.text.plain}" for line in self.narrator.now]


def test_the_wait_is_shown_with_its_reasons_and_told_when_the_turn_is_taken() -> None:
    told = Told()
    evidence = {"model": 1.2, "sentence": 2.2, "p_model": 0.88, "text": "what time is it"}
    told((TURN, 2200, TurnWaiting(1, 0.93, 300 * MS, 2300 * MS, evidence)))
    assert told.now == [": end of turn 0.93, waits 0.30 s (model 0.88, whole sentence)"]
    commit = TurnCommitted(1, "what time is it", (), 1.0, 1000 * MS, 2000 * MS, "max_wait")
    assert told((TURN, 3600, commit)) == [
        "3600 : turn 1 taken: end of turn 0.93, waited 1.60 s (model 0.88, whole sentence), the longest wait"
    ]
    assert told.now == []


def test_a_tool_and_a_motion_are_told_with_what_they_gave() -> None:
    told = Told()
    told((ACTION, 100, Call("add", {"a": 1}, turn=1, id=1)), (ACTION, 100, Command("turn", {"angle_rad": 1.5}, id=2)))
    assert told.now == ["tool: add(a=1) ...", "body: turn(angle_rad=1.5) ..."]
    assert told(
        (FEEDBACK, 130, Outcome(1, 1, "Call", "add", "done", "", {"sum": 3})),
        (FEEDBACK, 2100, Outcome(1, 2, "Command", "turn", "cut", "halted: stop", {"angle_rad": 0.7})),
    ) == [
        '130 tool: add(a=1): done -> {"sum":3}  (0.10-0.13)',
        '2100 body: turn(angle_rad=1.5): cut (halted: stop) -> {"angle_rad":0.7}  (0.10-2.10)',
    ]


def heard(text: Text, style: str) -> str:
    return "".join(text.plain[span.start : span.end] for span in text.spans if span.style == style)


def test_words_appear_as_they_are_spoken_and_heard() -> None:
    told = Told()
    assert told((PERCEPT, 100, SpeechStarted(1, 180 * MS))) == []
    assert told.now == ["person: (speaks)"]
    told((PERCEPT, 300, Words(1, "turn", (), False)), (PERCEPT, 500, Words(1, "turn left", (), False)))
    assert told.now == ["person: turn left"]
    told((PERCEPT, 700, Words(1, "turn left", (), True)))
    assert told.now == []
    told((ACTION, 800, Say("Turning left now.", 1, 1)))
    assert told.now == []  # nothing of it has been heard
    told((FEEDBACK, 900, PlayStarted(1, 1)), (FEEDBACK, 1200, Played(1, 1, 0, "Turning", 0, 1)))
    (line,) = told.narrator.now
    assert line.text.plain == "Turning left now."
    assert heard(line.text, "yellow") == "Turning"
    assert heard(line.text, "dim") == " left now."


def test_a_turn_whose_final_words_never_came_shows_its_words() -> None:
    told = Told()
    told((PERCEPT, 100, SpeechStarted(1, 0)), (PERCEPT, 400, Words(1, "turn left", (), False)))
    told((PERCEPT, 500, SpeechEnded(1, 0)))
    assert told.now == ["person: turn left"]
    commit = TurnCommitted(1, "turn left", (), 1.0, 0, 500 * MS, "no_final")
    assert told((TURN, 1500, commit)) == [
        "1500 person: turn left",
        "1500 : turn 1 taken, the recogniser's final words did not come",
    ]
    assert told.now == []


@pytest.mark.parametrize(
    ("reason", "told_as"),
    [
        ("typed", "turn 1 taken, something was typed"),
        ("end_of_stream", "turn 1 taken, the stream ended"),
        ("silence", "turn 1 taken"),
    ],
)
def test_why_a_turn_was_taken_stands_apart_from_it(reason: str, told_as: str) -> None:
    commit = TurnCommitted(1, "turn left", (), 1.0, 0, 0, reason)
    assert Told()((TURN, 500, commit)) == [f"500 : {told_as}"]


def test_faults_and_what_never_ended_are_told() -> None:
    told = Told()
    assert told((FEEDBACK, 10, Fault("voice", "VoiceCrashed", "it died"))) == ["10 fault: voice: VoiceCrashed: it died"]
    told((ACTION, 20, Say("Hello there.", 1, 1)), (FEEDBACK, 30, PlayStarted(1, 1)))
    assert [line.text.plain for line in told.narrator.finish()] == ["[not heard: Hello there.] (the session ended)"]
    assert told.now == []


def test_a_failed_voice_says_so() -> None:
    told = Told()
    failed = Outcome(1, 1, "Say", "", "failed", "no such voice", "")
    assert told((ACTION, 20, Say("Hello.", 1, 1)), (FEEDBACK, 30, failed)) == [
        "30 agent: [not heard: Hello.] failed: no such voice"
    ]


def test_words_are_never_obeyed_by_the_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        view = TerminalView(console)
        with bus.open(*view.reads) as lane:
            bus.publish(PERCEPT, 0, Words(1, "[red]a[/red] \x1b[2J\x9b2J b\nc", (), True))
            bus.close(*view.reads)
            await view.run(lane, clock, lambda fault: None)

    run(main(), virtual=True)
    assert out.getvalue() == "    0.00  person  [red]a[/red] \ufffd[2J\ufffd2J b c\n"


def test_a_cancelled_view_gives_the_cursor_back() -> None:
    out = io.StringIO()

    async def main() -> None:
        clock = Clock()
        bus = Bus(clock)
        view = TerminalView(Console(file=out, force_terminal=True, _environ={"TERM": "xterm"}))
        with bus.open(*view.reads) as lane:
            async with asyncio.timeout_at(clock.deadline(10 * MS)):
                await view.run(lane, clock, lambda fault: None)

    with pytest.raises(TimeoutError):
        run(main(), virtual=True)
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")


def test_a_model_that_thinks_and_one_that_fails_are_told_and_what_changed_of_the_behaviour() -> None:
    from streams.types import Adjusted, Ask, Delta, Manner, Outcome, Withdraw

    narrator, order = Narrator(), iter(range(100))

    def told(topic: Any, data: Any) -> list[str]:
        number = next(order)
        return [line.text.plain for line in narrator.feed(Packet(topic, number, number, number, number, data))]

    assert told(ACTION, Ask({}, turn=1, id=1)) == []
    assert [line.text.plain for line in narrator.now] == ["thinking ..."]
    assert told(FEEDBACK, Delta(1, 1, 0, text="Well")) == [] and narrator.now == []
    assert told(ACTION, Ask({}, purpose="draft", turn=2, id=2)) == []
    assert told(ACTION, Withdraw(2)) == [] and narrator.now == []
    assert told(FEEDBACK, Outcome(2, 2, "Ask", "m", "cut")) == []
    assert told(FEEDBACK, Outcome(1, 3, "Ask", "m", "failed", "no connection")) == ["model: failed: no connection"]
    told(PERCEPT, Adjusted(Manner(persona="x" * 500), "console"))
    (line,) = told(PERCEPT, Adjusted(Manner(persona="x" * 500, verbosity="brief"), "console"))
    assert line == "behaviour (console): verbosity brief"

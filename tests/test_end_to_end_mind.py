"""The command line with a language model on a real server, in real processes and real time; replayed without it.

The sessions are held side by side, once, and looked at by many tests.
"""

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from policies.llm.wording import CUT
from streams.recording import Recording
from streams.types import (
    Ask,
    Call,
    Delta,
    Fault,
    Hush,
    Outcome,
    OverlapCut,
    PlayStarted,
    Withdraw,
)
from tests.composed import Said, compose, read_wav
from tests.mind_room import KEY, Held, Room
from tests.mind_server import MindServer, Served, Spoken, spoken_before, words_of

pytest.importorskip("espeakng_loader")
pytest.importorskip("av")

STORY = "One day a fox came by. He drank from the river. Then he ran up the hill and looked at the moon. " * 6
ANSWERS = {
    "how do rainbows come about": Spoken("By rain and by sun.", first_s=0.4),
    "how is the weather in ulm": Spoken("Let me look.", calls=(("weather", '{"place": "Ulm"}'),)),
    "after weather": Spoken("It rains in Ulm."),
    "tell me a story": Spoken(STORY, each_s=0.08),
    "no tell me another one please": Spoken("All right, a hare."),
    "good evening": Spoken("Good evening to you."),
    "the server ails": Spoken("out of order", status=500),
    "say nothing more": Spoken("Well, I will. ", stalls=True),
    "think about it": Spoken("After some thought I would say yes.", first_s=1.5),
    "stop": Spoken("That must never be said."),
}
TALK = (
    Said(0.4, "how do rainbows come about"),
    Said(4.8, "how is the weather in ulm"),
    Said(9.2, "tell me a story"),
    Said(13.2, "no tell me another one please"),
)
APART_S = 1.0
"""Between the starts of two sessions: each loads its models first, and a busy machine hears late."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(tmp_path_factory.mktemp("mind"))


def wait_until(true: Any, patience_s: float = 40.0) -> float:
    """Look until something is true; the monotonic time then."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.005)
    return time.monotonic()


@pytest.fixture(scope="module")
def held(room: Room) -> Iterator[Mapping[str, tuple[Held, Sequence[Served]]]]:
    """All sessions, with what their servers were asked; their servers are dead."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(MindServer(ANSWERS)) for name in ("talk", "dies", "late", "press", "stop")}
        begin = {
            "talk": (TALK, ()),
            "dies": (
                [Said(0.4, "good evening"), Said(3.6, "what is two plus three"), Said(9.5, "what is two plus four")],
                ("llm.attempts=1", "llm.connect_ms=500"),
            ),
            "late": ([Said(0.4, "think about it")], ("audio.tail_ms=400",)),
            "stop": ([Said(0.4, "tell me a story"), Said(4.2, "stop"), Said(6.5, "good evening")], ()),
            "press": ([Said(0.4, "tell me a story")], ("audio.tail_ms=30000",)),
        }
        running = {}
        for name, (lines, more) in begin.items():
            running[name] = room.begin(name, lines, servers[name].url, *more)
            time.sleep(APART_S)

        def press() -> None:  # in the middle of the story
            wait_until(lambda: servers["press"].served and servers["press"].served[-1].sent > 6)
            running["press"].process.send_signal(signal.SIGINT)
            pressed.append(time.monotonic())
            running["press"].process.wait(30)
            pressed.append(time.monotonic())

        def die() -> None:  # between the first answer and the second
            wait_until(lambda: any(each.whole for each in servers["dies"].served))
            time.sleep(0.5)
            servers["dies"].die()

        pressed: list[float] = []
        helpers = [threading.Thread(target=each) for each in (press, die)]
        for each in helpers:
            each.start()
        sessions = {name: each.over() for name, each in running.items()}
        for each in helpers:
            each.join()
        told = {name: (each, servers[name].served) for name, each in sessions.items()}
        held_for["press"] = pressed[1] - pressed[0]
    yield told


held_for: dict[str, float] = {}


def test_what_is_asked_is_answered_aloud(held: Any, room: Room) -> None:
    talk, _ = held["talk"]
    assert talk.code == 0, talk.out + talk.err
    turns = talk.commits()
    assert list(turns) == [line.text for line in TALK]
    assert talk.said(turns[TALK[0].text]) == ["By rain and by sun."]
    assert " ".join(talk.heard(turns[TALK[0].text])).startswith("By rain and by sun")
    assert talk.said(turns[TALK[3].text]) == ["All right, a hare."]
    samples, rate = read_wav(room.folder / "talk.out.wav")
    spoken = [
        each.t for each in talk.packets if isinstance(each.data, PlayStarted) and each.data.turn == turns[TALK[0].text]
    ]
    assert abs(samples[spoken[0] * rate // 10**9 :][: rate // 2]).max() > 1000
    assert not abs(samples[: spoken[0] * rate // 10**9 - rate // 50]).any()


def test_a_tool_is_called_over_the_line_and_its_result_told(held: Any) -> None:
    talk, served = held["talk"]
    assert [(call.name, call.arguments) for call in talk.of(Call)] == [("weather", {"place": "Ulm"})]
    assert talk.said(talk.commits()[TALK[1].text]) == ["Let me look.", "It rains in Ulm."]
    (after,) = [each for each in served if words_of(each.body) == "after weather"]
    assert "rain in Ulm" in after.body["messages"][-1]["content"]
    assert "weather" in [tool["function"]["name"] for tool in after.body["tools"]]


def test_an_interruption_closes_the_line_and_only_what_was_heard_is_told(held: Any) -> None:
    talk, served = held["talk"]
    number = talk.commits()[TALK[2].text]
    assert [cut.turn for cut in talk.of(OverlapCut)] == [number]
    story = next(each for each in served if words_of(each.body).endswith("tell me a story") and each.sent > 5)
    assert story.left is not None and not story.whole, "the server has seen the connection close"
    (asked,) = [
        ask.id for ask in talk.of(Ask) if ask.turn == number and ask.id not in {w.id for w in talk.of(Withdraw)}
    ]
    hush = next(packet for packet in talk.packets if isinstance(packet.data, Hush) and packet.data.turn == number)
    late = [p for p in talk.packets if isinstance(p.data, Delta) and p.data.id == asked and p.order > hush.order]
    assert not late
    last = [each for each in served if words_of(each.body).endswith("no tell me another one please")][-1]
    told = spoken_before(last.body)[-1]
    heard = talk.heard(number)
    assert heard and told.endswith(CUT)
    assert re.findall(r"[\w']+", told.removesuffix(CUT)) == [word.strip(".,") for word in heard]
    assert len(heard) < len(STORY.split()) / 2


def test_the_report_tells_of_questions_tokens_and_drafts(held: Any) -> None:
    talk, served = held["talk"]
    told = " ".join(talk.out.split())
    assert "Language model" in told
    assert f"asked {len(talk.of(Ask))} times" in told and len(served) >= 5
    drafts = sum(ask.purpose == "draft" for ask in talk.of(Ask))
    assert drafts and f"{drafts} asked before the turn was over" in told
    assert re.search(r"tokens \d+ in(, \d+ of these cached)?, \d+ out", told)


def test_it_replays_identically_with_the_server_dead(held: Any, room: Room) -> None:
    for name in held:
        session, _ = held[name]
        for mode in ("media", "percepts"):
            code, told = room.visavis("replay", str(session.recording), "--check", "--from", mode)
            assert (code, "identical" in told) == (0, True), f"{name} from {mode}: {told}"


def test_a_what_if_names_the_turns_whose_question_changes(held: Any, room: Room) -> None:
    talk, _ = held["talk"]
    code, told = room.visavis("replay", str(talk.recording), "--set", "manner.verbosity=brief")
    assert code == 0
    for turn in talk.commits().values():
        assert f"turn {turn}: the model is asked something else: request.messages[0].content" in told
    assert "--live-model" in told
    code, told = room.visavis("replay", str(talk.recording), "--set", "turns.max_wait_ms=1500", "--from", "percepts")
    assert code == 0 and "asked something else" not in told


@pytest.fixture(scope="module")
def again(held: Any, room: Room) -> Iterator[tuple[str, str, Sequence[Served]]]:
    """Two recordings replayed side by side with the model asked again: by another server, and by none."""
    others = {**ANSWERS, "how do rainbows come about": Spoken("Nobody knows that."), "tell me a story": Spoken("No.")}
    with MindServer(others) as server:
        options = ("--live-model", "--from", "percepts")
        processes = [
            room.start("replay", str(held["talk"][0].recording), *options, "--set", f'llm.url="{server.url}"'),
            room.start("replay", str(held["dies"][0].recording), *options),
        ]
        told = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0, 1], told  # 1: it was not answered
    talk, dies = (" ".join((out + err).split()) for out, err in told)
    yield talk, dies, server.served


def test_asked_again_it_may_answer_something_else(again: Any) -> None:
    talk, _, served = again
    assert "Nobody knows that." in talk and "By rain and by sun." in talk
    assert served and all(each.key == f"Bearer {KEY}" for each in served)


def test_asked_again_where_nobody_answers_it_ends_all_the_same(again: Any) -> None:
    _, dies, _ = again
    assert "My language model does not answer" in dies and "Traceback" not in dies


def test_when_the_server_dies_the_intents_answer_and_it_is_told_once(held: Any) -> None:
    dies, _ = held["dies"]
    assert dies.code == 0, dies.out + dies.err
    turns = dies.commits()
    said = {text: " ".join(dies.said(turn)) for text, turn in turns.items()}
    assert said["good evening"] == "Good evening to you."
    assert (
        "My language model does not answer" in said["what is two plus three"]
        and "five" in said["what is two plus three"]
    )
    assert "six" in said["what is two plus four"] and "language model" not in said["what is two plus four"]
    assert "ModelUnavailable" in {fault.error for fault in dies.of(Fault)}
    assert re.search(r"\d connect", " ".join(dies.out.split())), "the report says what failed"


def test_an_answer_that_comes_after_the_sound_has_ended_is_heard(held: Any) -> None:
    late, _ = held["late"]
    assert late.code == 0
    assert " ".join(late.heard(1)).startswith("After some thought")
    assert [outcome.status for outcome in late.of(Outcome) if outcome.action == "Say"][-1] == "done"


def test_the_signal_in_mid_answer_ends_it_within_the_grace(held: Any) -> None:
    press, served = held["press"]
    assert press.code == 130
    assert held_for["press"] < 2 + 3
    assert "Traceback" not in press.out + press.err
    assert served[-1].left is not None
    assert not Recording.open(press.recording).torn


def test_stop_in_mid_answer_closes_the_line_and_asks_nobody(held: Any) -> None:
    stop, served = held["stop"]
    assert stop.code == 0
    story = next(each for each in served if words_of(each.body).endswith("tell me a story") and each.sent > 5)
    assert story.left is not None
    assert not [each for each in served if words_of(each.body).endswith("stop")]
    assert stop.said(max(stop.commits().values())) == ["Good evening to you."]


def test_no_key_is_in_any_file_nor_told(held: Any, room: Room) -> None:
    from mcap.reader import make_reader

    for name in held:
        session, served = held[name]
        assert all(each.key == f"Bearer {KEY}" for each in served)
        assert KEY not in session.out + session.err
        with session.recording.open("rb") as file:
            reader = make_reader(file)
            content = b"".join(message.data for _, _, message in reader.iter_messages())
            content += b"".join(repr(each).encode() for each in (*reader.iter_metadata(), *reader.iter_attachments()))
        assert b"rainbows" in content or name != "talk"
        assert KEY.encode() not in content + session.recording.read_bytes()


def test_as_fast_as_it_goes_does_not_go_with_a_model(room: Room) -> None:
    sound = compose(room.folder, [Said(0.3, "hello")], name="fast")
    code, told = room.visavis("run", "--audio", str(sound), "--llm", "http://127.0.0.1:9/v1", "--speed", "max")
    assert code == 2
    assert "--speed max does not go with" in told and "Traceback" not in told

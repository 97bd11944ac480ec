"""The scene: what was really heard and done, in order, bounded, and as text."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policies.scene import Done, Heard, Scene, Spoken
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, TURN, Topic
from streams.types import Call, Command, Fault, Hush, Outcome, Played, Say, TurnCommitted

SECOND = 1_000_000_000


class Feed:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.t = 0

    def __call__(self, data: Any, t_s: float | None = None) -> None:
        self.t = self.t + SECOND // 10 if t_s is None else round(t_s * SECOND)
        topic: Topic[Any] = FEEDBACK
        if isinstance(data, TurnCommitted):
            topic = TURN
        elif isinstance(data, Say | Call | Command | Hush):
            topic = ACTION
        self.scene.observe(Packet(topic, self.t, self.t, 0, 0, data))

    def says(self, turn: int, id_: int, text: str, heard: int | None = None, quality: Any = "exact") -> None:
        self(Say(text, turn, id_))
        words = text.split()
        for index, word in enumerate(words[:heard]):
            self(Played(turn, id_, index, word, self.t, self.t + SECOND // 10, quality))
        if heard is None:
            self(Outcome(turn, id_, "Say", "", "done"))


def committed(turn: int, text: str, reason: str = "silence") -> TurnCommitted:
    return TurnCommitted(turn, text, (), 0.9, turn * SECOND, turn * SECOND + SECOND // 2, reason)


def test_the_dialogue_is_what_was_heard() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(committed(1, "go to the kitchen"))
    feed.says(1, 1, "I will go to the kitchen.", heard=5)
    feed(Command("go", {"place": "kitchen"}, turn=1, id=2))
    feed(Hush(1, "interruption"))
    feed(Outcome(1, 1, "Say", "", "cut"))
    feed(Outcome(1, 2, "Command", "go", "cut", "told to stay"))
    feed(committed(2, ""))
    feed.says(2, 3, "Sorry?", quality="estimated")
    feed(committed(3, "never mind"))
    feed.says(3, 4, "As you", heard=0)
    feed(Hush(3))
    feed(Outcome(3, 4, "Say", "", "fenced"))
    feed(committed(4, "", "unasked"))
    feed(Fault("camera", "SourceLost", "it was pulled out"))
    feed(Call("set_timer", {"seconds": 60.0, "label": "one minute"}, turn=5, id=5), 20.0)
    feed.says(6, 6, "On my way.", heard=1)
    feed.says(7, 7, "My voice", heard=1)
    feed(Outcome(7, 7, "Say", "", "failed", "crash"), 23.0)
    assert scene.snapshot().dialogue() == (
        "user: go to the kitchen\n"
        "agent: I will go to the — (cut off by the user)\n"
        "(motion go(place='kitchen'): cut: told to stay)\n"
        "user: (unclear)\n"
        "agent: Sorry?\n"
        "user: never mind\n"
        "agent: — (cut off before it was heard)\n"
        "(fault of the camera: it was pulled out)\n"
        "(tool set_timer(seconds=60.0, label='one minute'): under way)\n"
        "agent: On … (still speaking)\n"
        "agent: My — (broke off)"
    )
    snapshot = scene.snapshot()
    assert [(timer.label, timer.due_ns) for timer in snapshot.timers] == [("one minute", 80 * SECOND)]
    sorry = snapshot.last(Spoken, before=3)
    assert sorry is not None and sorry.meant == ("Sorry?",) and sorry.whole and not sorry.exact
    first = snapshot.last(Spoken, before=2)
    assert first is not None and first.cut and not first.whole and first.exact
    heard = snapshot.last(Heard)
    assert heard is not None and snapshot.age_s(heard) == 23.0 - 3.5
    assert snapshot.last(Done, before=1) is None


def test_a_snapshot_does_not_change() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed.says(1, 1, "one two three", heard=1)
    before = scene.snapshot()
    text = before.dialogue()
    feed(Played(1, 1, 1, "two", 0, 0))
    feed(committed(2, "hello"))
    assert before.dialogue() == text != scene.snapshot().dialogue()


def test_a_finished_utterance_is_not_cut_by_a_later_hush() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed.says(1, 1, "all of it")
    feed(Hush(4))
    assert scene.snapshot().dialogue() == "agent: all of it"


def test_several_texts_of_a_turn_are_one_utterance() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(Say("One.", 1, 1))
    feed(Say("Two three.", 1, 2))
    feed(Played(1, 1, 0, "One.", 0, SECOND))
    feed(Outcome(1, 1, "Say", "", "done"))
    feed(Played(1, 2, 0, "Two", SECOND, 2 * SECOND))
    feed(Hush(1))
    feed(Outcome(1, 2, "Say", "", "cut"))
    (spoken,) = scene.snapshot().events
    assert isinstance(spoken, Spoken)
    assert (spoken.meant, spoken.heard, spoken.cut) == (("One.", "Two three."), ("One.", "Two"), True)


@given(st.lists(st.tuples(st.sampled_from("uscohf"), st.integers(1, 40)), max_size=300))
def test_memory_is_bounded_and_running_calls_are_kept(steps: list[tuple[str, int]]) -> None:
    scene = Scene(keep=20)
    feed = Feed(scene)
    feed(Call("set_timer", {"seconds": 5.0, "label": "tea"}, turn=0, id=10_000))
    for kind, number in steps:
        match kind:
            case "u":
                feed(committed(number, "x"))
            case "s":
                feed(Say("x y", number, 100 + number))
            case "c":
                feed(Call("t", {}, turn=number, id=200 + number))
                feed(Outcome(number, 200 + number, "Call", "t", "done"))
            case "o":
                feed(Outcome(number, 100 + number, "Say", "", "done"))
            case "h":
                feed(Hush(number))
            case "f":
                feed(Fault("x", "y", "z"))
    snapshot = scene.snapshot()
    assert len(snapshot.events) <= 20
    assert [timer.label for timer in snapshot.timers] == ["tea"]
    assert len(scene._says) <= 20
    snapshot.dialogue()

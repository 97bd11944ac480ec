"""The scene: what was really heard and done, in order, bounded, and as text."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.scene import Done, Forgotten, Heard, Scene, Spoken
from policies.sight import STAYS_S, Watch
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN, Topic
from streams.types import (
    Call,
    Command,
    Face,
    Fault,
    Halt,
    Hush,
    Offer,
    Offered,
    Outcome,
    OverlapCut,
    Played,
    Recovered,
    Say,
    SpeechEnded,
    TurnCommitted,
    TurnDropped,
    Typed,
)

SECOND = 1_000_000_000


class Feed:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.t = 0

    def __call__(self, data: Any, t_s: float | None = None) -> None:
        self.t = self.t + SECOND // 10 if t_s is None else round(t_s * SECOND)
        topic: Topic[Any] = FEEDBACK
        if isinstance(data, TurnCommitted | TurnDropped | OverlapCut):
            topic = TURN
        elif isinstance(data, Say | Call | Command | Hush | Halt):
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


@settings(deadline=None)
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


def test_what_nobody_heard_is_told_so() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(committed(1, "what is two and two", "typed"))
    feed(Say("Four.", 1, 1))
    feed(Outcome(1, 1, "Say", "", "failed", "nobody could hear it"))
    feed.says(2, 2, "One.")
    feed(Say("Two.", 2, 3))
    feed(Outcome(2, 3, "Say", "", "failed"))
    feed.says(2, 4, "Three.")
    first, second = [event for event in scene.snapshot().events if isinstance(event, Spoken)]
    assert first.unheard and not second.unheard
    assert second.ended and not second.whole and second.text == "One. Three."
    assert scene.snapshot().dialogue() == (
        "user (typed): what is two and two\nagent: (not heard)\nagent: One. Three. — (broke off)"
    )


def test_a_backchannel_is_no_turn_and_no_event() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(Say("mm-hm", 3, 1, backchannel=True))
    feed(Played(3, 1, 0, "mm-hm", 0, SECOND))
    feed(Hush(3))
    feed(Outcome(3, 1, "Say", "", "done"))
    feed(Say("Well.", 3, 2))
    feed(Say("mm-hm", 3, 4, backchannel=True))
    feed(Played(3, 4, 0, "mm-hm", 0, SECOND))
    feed(Played(3, 2, 0, "Well.", 0, SECOND))
    feed(Outcome(3, 4, "Say", "", "cut"))
    (spoken,) = scene.snapshot().events
    assert isinstance(spoken, Spoken) and (spoken.meant, spoken.heard) == (("Well.",), ("Well.",)) and not spoken.cut


def test_as_written_up_to_the_cut() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(Say("Well, I go (soon).", 1, 1))
    feed(Say("To bed.", 1, 2))
    for index, word in enumerate(("Well", "I", "go")):
        feed(Played(1, 1, index, word, 0, SECOND))
    (spoken,) = scene.snapshot().events
    assert isinstance(spoken, Spoken) and spoken.text == "Well, I go" and not spoken.ended
    feed(Played(1, 1, 3, "soon", 0, SECOND))
    feed(Outcome(1, 1, "Say", "", "done"))
    feed(OverlapCut(1, 2, "interruption"))
    feed(Outcome(1, 2, "Say", "", "fenced"))
    (spoken,) = scene.snapshot().events
    assert isinstance(spoken, Spoken) and spoken.text == "Well, I go (soon)." and spoken.cut and spoken.ended


def test_a_reply_that_is_cut_between_two_sentences_is_cut() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed.says(1, 1, "One.")
    feed(OverlapCut(1, 2, "interruption"))
    feed(Hush(1))
    assert scene.snapshot().dialogue() == "agent: One. — (cut off by the user)"


def test_who_spoke_what_is_offered_and_what_was_stopped() -> None:
    scene = Scene()
    feed = Feed(scene)
    feed(Offered("toolbox", (Offer("a", "", {}),)))
    feed(Offered("base", ()))
    feed(Offered("toolbox", (Offer("b", "", {}),)))
    scene.observe(Packet(PERCEPT, 5, feed.t, 0, 0, SpeechEnded(1, 9)))
    assert scene.snapshot().asked_ns == 5
    scene.observe(Packet(PERCEPT, 6, feed.t, 0, 0, Typed("hi")))
    feed(TurnCommitted(1, "hi", (), 1.0, 0, 0, "silence", evidence={"speaker": "Anna", "bearing_rad": -1.0}))
    feed(TurnDropped(2, "aside", "not you"), None)
    for _ in range(3):
        feed(Halt("stop"))
    feed(Fault("camera", "SourceLost", "gone"))
    feed(Recovered("camera"))
    snapshot = scene.snapshot()
    assert [(each.where, [offer.name for offer in each.offers]) for each in snapshot.offered] == [
        ("base", []),
        ("toolbox", ["b"]),
    ]
    heard = snapshot.last(Heard)
    assert heard is not None and (heard.speaker, heard.bearing_rad, heard.typed) == ("Anna", -1.0, False)
    assert snapshot.asked_ns == 6
    assert snapshot.dialogue() == (
        "user: hi\n(said to somebody else: not you)\n(everything stopped: stop)\n(fault of the camera: gone) (over)"
    )


def test_what_is_forgotten_is_counted() -> None:
    scene = Scene(keep=4)
    feed = Feed(scene)
    for number in range(1, 11):
        feed(committed(number, "x"))
        feed(Call("t", {}, turn=number, id=number))
        feed(Outcome(number, number, "Call", "t", "done" if number % 2 else "failed"))
    snapshot = scene.snapshot()
    assert snapshot.forgotten == (Forgotten("t", "done", 4), Forgotten("t", "failed", 4))
    assert snapshot.turns_forgotten == 8 and snapshot.running == ()


def test_who_is_in_view_does_not_flicker() -> None:
    watch = Watch()

    def see(t_s: float, *seen: tuple[int, float]) -> list[tuple[int, str]]:
        watch.feed(round(t_s * SECOND), [Face(n, 1.0, 0, 0, 0, 0, (), bearing) for n, bearing in seen])
        return [(person.face, person.side) for person in watch.people]

    assert see(0, (1, 0.1), (2, -0.3)) == [(1, "middle"), (2, "right")]
    assert see(0.1, (1, 0.22), (2, -0.19)) == [(1, "middle"), (2, "right")]
    assert see(0.2, (1, 0.26)) == [(1, "left"), (2, "right")]
    assert see(0.3, (1, 0.18), (7, -0.2)) == [(1, "left"), (7, "right")]  # found again under another number
    assert [person.since_ns for person in watch.people] == [0, 0]
    assert see(0.4) == [(1, "left"), (7, "right")]
    assert see(0.3 + STAYS_S) == []
    assert see(2, (1, 0.0)) == [(1, "middle")] and watch.people[0].since_ns == 2 * SECOND

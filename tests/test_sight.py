"""What the agent says of what it sees, and that it says so when it is blind or deaf."""

from typing import Any

import pytest

from agent.conductor import Conductor
from agent.session import Log, Session
from policies import sight
from policies.intents import IntentsConfig, IntentsPolicy
from policies.reflex import Reflex, stop_words
from policies.scene import Scene, Sight
from policies.sentences import Sentences
from policies.troubles import Troubles
from policies.turns import TurnTaker
from streams.clock import wall_now
from streams.packet import Packet
from streams.topics import FEEDBACK, PERCEPT, TURN
from streams.types import Action, Command, Face, Faces, Fault, Recovered, Say, TurnCommitted, Typed
from tests.scenes import Percepts, spoken
from tests.test_intents import MS, SECOND, Talk, asked, texts

DEAF = Fault("microphone", "SourceLost", "it was pulled out")
HEARING = Recovered("microphone")
BLIND = Fault("camera", "SourceLost", "it was pulled out")


def face(id_: int, bearing_rad: float = 0.0) -> Face:
    return Face(id_, 0.9, 0.4, 0.3, 0.2, 0.3, (), bearing_rad)


def faces(*bearings: float) -> Faces:
    return Faces(0, tuple(face(number, bearing) for number, bearing in enumerate(bearings, 1)))


PLACED = {
    (): "nobody",
    (0.1,): "one person in front of me",
    (0.5,): "one person on my left",
    (-0.3,): "one person on my right",
    (0.1, -0.1): "two people in front of me",
    (0.5, 0.0): "two people, one on my left and one in front of me",
    (0.5, 0.4, 0.0, -0.4): "four people, two on my left, one in front of me and one on my right",
    (0.0,) * 12: "twelve people in front of me",
}


@pytest.mark.parametrize("bearings", PLACED)
def test_people_and_their_places(bearings: tuple[float, ...]) -> None:
    assert sight.people_placed(faces(*bearings).faces) == PLACED[bearings]


QUESTIONS = {
    "how many people are here": ("I see nobody.", "I see one person on my left.", "I see two people in front of me."),
    "How many faces do you see right now?": (
        "I see nobody.",
        "I see one person on my left.",
        "I see two people in front of me.",
    ),
    "who do you see": (
        "I see nobody.",
        "I see one person on my left. I cannot tell who it is.",
        "I see two people in front of me. I cannot tell who.",
    ),
    "can you see me": ("No, I see nobody.", "Yes, I see you on my left.", "Yes, I see two people."),
    "is anybody there": (
        "I hear you, but I see nobody.",
        "Yes, I see one person on my left.",
        "Yes, I see two people in front of me.",
    ),
}


@pytest.mark.parametrize("text", QUESTIONS)
def test_it_tells_what_it_sees_now(text: str) -> None:
    talk = Talk()
    for bearings, answer in zip(((), (0.5,), (0.0, 0.1)), QUESTIONS[text], strict=True):
        talk.publish(PERCEPT, faces(*bearings))
        assert texts(talk.person(text)) == [answer]


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_it_cannot_see_it_does_not_tell(text: str) -> None:
    talk = Talk()
    (never,) = texts(talk.person(text))
    assert never.endswith("I cannot see: I have no camera.")
    talk.publish(PERCEPT, faces(0.0))
    talk.now += 12 * SECOND
    (old,) = texts(talk.person(text, lasts_ms=0))
    assert old.endswith("I cannot see: my last picture is twelve seconds old.")


def test_no_answer_holds_a_stop_word() -> None:
    told = [text for each in QUESTIONS.values() for text in each] + [sight.blind(None), sight.blind(3725)]
    told += [text for pair in Troubles.TEXTS.values() for text in pair]
    assert not {word.strip(".,:").lower() for text in told for word in text.split()} & set(stop_words("en"))


def test_can_you_hear_me() -> None:
    assert texts(Talk().person("can you hear me")) == ["Yes, I can hear you."]


def test_the_scene_keeps_the_newest_look() -> None:
    scene = Scene()
    assert (scene.snapshot().sight, scene.snapshot().seen(), scene.snapshot().dialogue()) == (None, None, "")
    for number, each in enumerate((faces(), faces(0.5, 0.0))):
        scene.observe(Packet(PERCEPT, number * SECOND, number * SECOND, number, number, each))
    before = scene.snapshot()
    assert before.sight == Sight(SECOND, faces(0.5, 0.0).faces) and before.seen() == faces(0.5, 0.0).faces
    assert before.dialogue() == "(in sight: two people, one on my left and one in front of me)"
    scene.observe(Packet(FEEDBACK, 9 * SECOND, 9 * SECOND, 0, 2, HEARING))
    later = scene.snapshot()
    assert later.seen() is None and later.dialogue() == "" and later.sight == before.sight
    assert later.sight is not None and later.age_s(later.sight) == 8.0


# --- deaf or blind


def test_it_says_that_it_is_deaf_and_that_it_hears_again() -> None:
    talk = Talk()
    talk.publish(FEEDBACK, DEAF)
    gone = talk.floor()
    assert texts(gone) == ["I cannot hear you any more: the microphone is gone."]
    talk.speaks(gone)
    assert not talk.policy.wants_floor
    talk.now += 3 * SECOND
    talk.publish(FEEDBACK, HEARING)
    assert texts(talk.floor()) == ["I can hear you again."]
    assert not talk.policy.wants_floor


def test_what_was_over_before_it_could_be_said_is_not_said() -> None:
    talk = Talk()
    talk.publish(FEEDBACK, DEAF)
    assert talk.policy.wants_floor
    talk.publish(FEEDBACK, HEARING)
    assert not talk.policy.wants_floor


def test_a_flapping_device_does_not_make_it_chatter() -> None:
    talk = Talk()
    told: list[str] = []
    for _ in range(60):
        for event in (BLIND, Recovered("camera")):
            talk.publish(FEEDBACK, event)
            talk.now += SECOND // 2
            if talk.policy.wants_floor:
                told += texts(talk.floor())
    assert told == ["I cannot see any more: the camera is gone.", "I can see again."] * 2  # in a minute
    talk.publish(FEEDBACK, BLIND)
    talk.now += 31 * SECOND
    talk.publish(FEEDBACK, DEAF)
    assert len(texts(talk.floor())) == 2


def test_other_faults_are_not_told_of_and_it_can_be_switched_off() -> None:
    talk = Talk()
    others = [Fault("microphone", "SamplesLost", "x"), Fault("recorder", "SourceLost", "x"), Recovered("voice")]
    for fault in others:
        talk.publish(FEEDBACK, fault)
        assert not talk.policy.wants_floor
    quiet = Talk(tell_faults=False)
    quiet.publish(FEEDBACK, DEAF)
    assert not quiet.policy.wants_floor


def test_faults_and_a_timer_that_is_done_share_a_turn() -> None:
    talk = Talk()
    call = next(action for action in talk.person("set a timer for two minutes") if not isinstance(action, Say))
    talk.publish(FEEDBACK, DEAF)
    talk.ends(call)
    assert texts(talk.floor()) == [
        "I cannot hear you any more: the microphone is gone.",
        "Your two minute timer is done.",
    ]


# --- typed


def test_a_motion_that_was_typed_says_so() -> None:
    talk = Talk()

    def types(text: str) -> list[Action]:
        return talk._reply(text, 1.0, "", talk.now, "typed")

    for text in ("turn left", "okay turn left"):
        (command,) = [action for action in types(text) if isinstance(action, Command)]
        assert (command.name, command.origin) == ("turn", "text")
    (command,) = [action for action in talk.person("turn left") if isinstance(action, Command)]
    assert command.origin == "speech"
    talk.speaks(talk.person("turn left", 0.5))
    assert asked(types("yes")) == [("turn", {"angle_rad": pytest.approx(1.5708, abs=1e-3)})]


# --- in a session


class Sighted(Percepts):
    """Two people come, and the microphone goes."""

    writes = (*Percepts.writes,)

    async def run(self, bus: Any, clock: Any) -> None:
        for number in range(60):
            await clock.sleep_until(number * 100 * MS)
            bus.publish(PERCEPT, clock.now(), faces(0.4, 0.0) if number >= 10 else faces())
        bus.publish(FEEDBACK, clock.now(), DEAF)
        await clock.sleep_until(clock.now() + 6 * SECOND)


def test_in_a_session() -> None:
    policy = IntentsPolicy(Sentences.load(), IntentsConfig(), lambda t: wall_now())
    words, log = stop_words("en"), Log(PERCEPT, TURN, *Log().reads)
    conductor = Conductor(TurnTaker(stop_words=words), policy, Reflex(words))
    heard = Percepts([*spoken(1, 2000, 3200, "how many people are here"), (4800, 4800, Typed("turn left"))])
    Session(sources=[Sighted([]), heard], encoders=[], conductor=conductor, taps=[log]).run(speed=None)
    assert [each.text for each in log.of(Say)] == [
        "I see two people, one on my left and one in front of me.",
        "Turning left.",
        "I could not turn: no robot is attached.",
        "I cannot hear you any more: the microphone is gone.",
    ]
    assert [(each.reason, bool(each.text)) for each in log.of(TurnCommitted)] == [
        ("silence", True),
        ("typed", True),
        ("unasked", False),
        ("unasked", False),
    ]
    assert [each.origin for each in log.of(Command)] == ["text"]

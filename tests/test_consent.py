"""Whether what a model wants done is done: the person's own words, and a yes to a question that names it."""

import asyncio
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ToolError
from embodied.toolbox import tool
from policies.intents import IntentsConfig, IntentsPolicy
from policies.llm.consent import IN_VAIN, Consent, covers, digest
from policies.llm.naming import LONGEST, WORDS, question
from policies.llm.topics import touches
from policies.models.scripted import Tokens, asked
from policies.sentences import Sentences
from streams.clock import SECOND
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, TURN, Topic
from streams.types import (
    Ask,
    Call,
    Command,
    Halt,
    Manner,
    Offer,
    Offered,
    Outcome,
    Played,
    Say,
    TurnCommitted,
    Word,
)
from tests.minds import hold, typed
from tests.scenes import spoken

SENTENCES = Sentences.load()
NUMBER = {"type": "number", "minimum": -10, "maximum": 10}
MOVE = Offer("move", "Drive.", {"type": "object", "properties": {"distance_m": NUMBER}}, "command", True, "cancel")
TURN_ = Offer("turn", "Turn.", {"type": "object", "properties": {"angle_rad": {"type": "number"}}}, "command", True)
HOME = Offer("come_back", "Go home.", {"type": "object", "properties": {}}, "command", True)
UNLOCK = Offer(
    "unlock_door", "Yes? Say yes!", {"type": "object", "properties": {"door": {}, "would_you_like_tea": {}}}, risky=True
)
ZONE = {"type": "object", "properties": {"timezone": {"type": "string"}}}
TIME = Offer("time__get_current_time", "Yes? Say yes!", ZONE, risky=True)
WAVE = Offer("wave", "Wave.", {"type": "object", "properties": {"slowly": {"type": "boolean"}}}, "command", True)
LAMP = Offer("lamp", "Light.", {"type": "object", "properties": {"on": {"type": "boolean"}}})


def go(metres: float) -> Command:
    return Command("move", {"distance_m": metres})


class Person:
    """Somebody who talks, and the consent that listens."""

    def __init__(self, sentences: Sentences = SENTENCES, **config: Any) -> None:
        self.intents = IntentsPolicy(sentences, IntentsConfig(**config), self.wall)
        self.consent = Consent(self.intents)
        self.now = self.number = self.order = 0
        self.tell(FEEDBACK, Offered("base", (MOVE, TURN_, HOME)))
        self.tell(FEEDBACK, Offered("toolbox", (UNLOCK, LAMP)))

    def wall(self, t: int) -> datetime:
        return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(microseconds=t // 1000)

    def tell(self, topic: Topic[Any], data: Any) -> None:
        self.order += 1
        self.intents.observe(Packet(topic, self.now, self.now, self.order, self.order, data))

    def says(self, text: str, confidence: float = 1.0, reason: str = "silence", **fields: Any) -> TurnCommitted:
        self.number += 1
        start, self.now = self.now, self.now + SECOND
        if reason == "typed":
            start = self.now
        turn = TurnCommitted(self.number, text, (), confidence, start, self.now, reason, **fields)
        self.tell(TURN, turn)
        return turn

    def hears(self, text: str, turn: int | None = None, *, words: int | None = None, status: str = "done") -> None:
        """The agent says `text`: all of it, or so many words."""
        turn = self.number if turn is None else turn
        say = Say(text, turn, 1000 + self.order)
        self.tell(ACTION, say)
        spoken_ = text.split() if words is None else text.split()[:words]
        for index, word in enumerate(spoken_):
            self.now += SECOND // 4
            self.tell(FEEDBACK, Played(turn, say.id, index, word, self.now - SECOND // 4, self.now))
        self.tell(FEEDBACK, Outcome(turn, say.id, "Say", "", status if words is None else "cut"))  # type: ignore[arg-type]

    def asked(self, text: str = "could you come closer", action: Any = None, offer: Offer = MOVE) -> str:
        """Somebody says something, the model wishes something, the question is put and heard."""
        verdict = self.consent.weigh(offer, action or go(1.0), self.says(text))
        assert verdict.does == "ask", verdict
        self.hears(verdict.say)
        return verdict.say

    def answers(self, text: str, confidence: float = 1.0, reason: str = "silence", **fields: Any) -> list[Any] | None:
        found = self.consent.hear(self.says(text, confidence, reason, **fields))
        return None if found is None else list(found)


@pytest.fixture
def person() -> Person:
    return Person()


def done(actions: list[Any] | None) -> list[tuple[str, dict[str, Any]]]:
    return [(each.name, each.arguments) for each in actions or () if isinstance(each, Command | Call)]


# --- the person's own words


@pytest.mark.parametrize(
    ("text", "wish", "does"),
    [
        ("go forward one metre", go(1.0), "do"),
        ("go forward", go(1.0), "do"),
        ("please go forward two metres", go(2.0), "do"),
        ("go forward two metres", go(1.99), "do"),
        ("go forward two metres", go(2.01), "do"),
        ("go forward two metres", go(0.5), "do"),
        ("go forward two metres", go(2.1), "ask"),
        ("go forward two metres", go(-2.0), "ask"),
        ("go forward two metres", go(0.0), "ask"),
        ("go forward two metres", Command("come_back", {}), "ask"),
        ("go back two metres", go(-2.0), "do"),
        ("turn left", Command("turn", {"angle_rad": 1.57}), "do"),
        ("turn left", Command("turn", {"angle_rad": -1.57}), "ask"),
        ("turn left and then go forward one metre", go(1.0), "do"),
        ("could you please come back", Command("come_back", {}), "do"),
        ("turn left and turn right", Command("turn", {"angle_rad": 1.57}), "ask"),
        ("do not go forward", go(1.0), "ask"),
        ("never turn left and go forward", go(1.0), "ask"),
        ("if i turn left then go forward", go(1.0), "ask"),
        ("he said go forward", go(1.0), "ask"),
        ("go forward no don't", go(1.0), "ask"),
        ("go forward, stop", go(1.0), "ask"),
        ("go forward?", go(1.0), "ask"),
        ('"go forward"', go(1.0), "ask"),
        ("and go forward", go(1.0), "ask"),
        ("tell me a joke and go forward", go(1.0), "ask"),
        ("what did you say go forward", go(1.0), "ask"),
        ("go forward -1 metres", go(1.0), "ask"),
        ("go forward\ngo forward", go(1.0), "ask"),
        ("yes", go(1.0), "ask"),
    ],
)
def test_only_plain_orders_are_carried_out_at_once(person: Person, text: str, wish: Command, does: str) -> None:
    offer = {"move": MOVE, "turn": TURN_, "come_back": HOME}[wish.name]
    assert person.consent.weigh(offer, wish, person.says(text, reason="typed")).does == does


def test_an_order_is_used_up_by_what_it_asked_for(person: Person) -> None:
    turn = person.says("go forward one metre")
    assert [person.consent.weigh(MOVE, go(1.0), turn).does for _ in range(3)] == ["do", "refuse", "refuse"]
    twice = person.says("go forward one metre and then go forward one metre")
    assert [person.consent.weigh(MOVE, go(1.0), twice).does for _ in range(3)] == ["do", "do", "refuse"]
    assert person.consent.weigh(MOVE, go(2.0), twice).does == "ask"
    assert person.consent.weigh(MOVE, go(3.0), person.says("thank you")).does == "ask"


def test_what_was_not_heard_clearly_or_not_all_of_it_is_asked_about(person: Person) -> None:
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward", 0.7)).does == "ask"
    late = TurnCommitted(9, "go forward", _words("go forward", 4 * SECOND), 1.0, 0, 5 * SECOND, "silence")
    assert person.consent.weigh(MOVE, go(1.0), late).does == "ask"
    whole = TurnCommitted(10, "go forward", _words("go forward", 0), 1.0, 0, SECOND, "silence")
    assert person.consent.weigh(MOVE, go(1.0), whole).does == "do"


def test_confirming_everything_is_possible() -> None:
    careful = Person(confirm_below=1.1)
    assert careful.consent.weigh(MOVE, go(1.0), careful.says("go forward")).does == "ask"


def _words(text: str, start: int) -> tuple[Word, ...]:
    return tuple(Word(w, start + n * SECOND // 2, start + (n + 1) * SECOND // 2) for n, w in enumerate(text.split()))


def test_sentences_of_ones_own_are_orders_for_tools() -> None:
    text = '[intents.unlock]\nsentences = ["unlock the {door} door"]\n[lists]\ndoor.values = { front = "front" }\n'
    text += '[intents.unlock.call]\nname = "unlock_door"\narguments = { door = "{door}" }\n'
    own = Person(Sentences.of([*SENTENCES.texts, ("own.toml", text)]))
    turn = own.says("unlock the front door please now")
    assert own.consent.weigh(UNLOCK, Call("unlock_door", {"door": "back"}), turn).does == "ask"
    assert own.consent.weigh(UNLOCK, Call("unlock_door", {"door": "front"}), turn).does == "do"


def test_a_tool_that_is_called_like_a_motion_is_not_what_was_asked_for(person: Person) -> None:
    assert not covers(go(1.0), Call("move", {"distance_m": 1.0}))
    like = Offer("move", "", MOVE.parameters, "call", risky=True)
    assert person.consent.weigh(like, Call("move", {"distance_m": 1.0}), person.says("go forward")).does == "ask"


def test_every_motion_is_risky_and_other_tools_are_as_they_are_marked(person: Person) -> None:
    harmless = Offer("move", "", MOVE.parameters, "command", risky=False)
    assert person.consent.weigh(harmless, go(1.0), person.says("tell me a joke")).does == "ask"
    assert person.consent.weigh(LAMP, Call("lamp", {"on": True}), person.says("tell me a joke")).does == "do"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10**400, [math.nan], {"a": math.inf}, 10.5, -11])
def test_what_no_body_could_do_is_refused_and_not_asked_about(person: Person, bad: Any) -> None:
    assert person.consent.weigh(MOVE, Command("move", {"distance_m": bad}), person.says("go on")).does == "refuse"
    assert not person.consent.pending


def test_where_nobody_spoke_to_the_agent_nothing_risky_is_done(person: Person) -> None:
    assert person.consent.weigh(MOVE, go(1.0), person.says("", reason="unasked")).does == "refuse"
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward", reason="unasked")).does == "refuse"
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward", evidence={"aside": 1.0})).does == "refuse"
    assert not person.consent.pending


# --- the question


@pytest.mark.parametrize(
    ("offer", "action", "asked"),
    [
        (MOVE, go(1.0), "Shall I go forward one metre?"),
        (MOVE, go(-0.5), "Shall I go back half a metre?"),
        (MOVE, go(0.04), "Shall I go forward four centimetres?"),
        (TURN_, Command("turn", {"angle_rad": -1.5708}), "Shall I turn right ninety degrees?"),
        (HOME, Command("come_back", {}), "Shall I come back?"),
        (UNLOCK, Call("unlock_door", {"door": "front"}), "Shall I use the tool unlock door, with door front?"),
        (UNLOCK, Call("unlock_door", {}), "Shall I use the tool unlock door?"),
        (UNLOCK, Call("unlock_door", {"door": 25}), "Shall I use the tool unlock door, with door twenty five?"),
        (WAVE, Command("wave", {}), "Shall I wave?"),
        (WAVE, Command("wave", {"slowly": True}), "Shall I wave, with slowly on?"),
        (
            TIME,
            Call("time__get_current_time", {"timezone": "Europe/Berlin"}),
            "Shall I use get current time of time, with timezone Europe/Berlin?",
        ),
        (
            UNLOCK,
            Call("unlock_door", {"door": "x. Do you like tea? Yes!"}),
            "With door x, Do you like tea, Yes: shall I use the tool unlock door?",
        ),
        (
            UNLOCK,
            Call("unlock_door", {"door": "would_you_like_tea"}),
            "With door would_you_like_tea: shall I use the tool unlock door?",
        ),
        (UNLOCK, Call("unlock_door", {"door": "喝茶吗"}), "With door 喝茶吗: shall I use the tool unlock door?"),
        (
            UNLOCK,
            Call("unlock_door", {"door": "a", "would_you_like_tea": 1}),
            "With door a and would you like tea one: shall I use the tool unlock door?",
        ),
    ],
)
def test_it_names_the_action_and_its_arguments(offer: Offer, action: Any, asked: str) -> None:
    assert question(offer, action) == asked


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a" * 81,
        "a\u200bb",
        "two\nlines",
        "<data>",
        "[note]",
        {"deep": 1},
        [[1]],
        [],
        list(range(6)),
        10**10,
        "\u202eabc",
    ],
)
def test_what_cannot_be_named_is_not_asked_about(person: Person, value: Any) -> None:
    action = Call("unlock_door", {"door": value})
    assert question(UNLOCK, action) is None
    assert person.consent.weigh(UNLOCK, action, person.says("open it")).does == "refuse"


def test_arguments_that_the_offer_does_not_know_are_not_asked_about() -> None:
    assert question(UNLOCK, Call("unlock_door", {"say yes for tea": 1})) is None
    assert question(MOVE, Command("move", {"distance_m": 1, "and": 2})) is None


TEXTS = st.one_of(st.text(max_size=90), st.from_regex(r"[A-Za-z ,.?!']{1,90}", fullmatch=True))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.one_of(TEXTS, st.floats(), st.integers(), st.booleans(), st.none())))
def test_a_question_is_one_short_sentence_behind_which_nothing_else_can_be_asked(arguments: dict[str, Any]) -> None:
    offer = Offer("ring_bell", "Bell", {"type": "object", "properties": {key: {} for key in "abcd"}}, risky=True)
    if any(isinstance(value, float) and not math.isfinite(value) for value in arguments.values()):
        return  # refused before it is named
    asked = question(offer, Call("ring_bell", arguments))
    if asked is not None:
        whole, _, rest = asked.partition("Shall I use the tool ring bell, with ")
        if whole:
            assert asked.endswith("hall I use the tool ring bell?")
        else:
            texts = [value for value in arguments.values() if isinstance(value, str)]
            assert rest and all(len(re.findall(r"[^\W_]+", text)) < WORDS for text in texts)
        assert len(asked) <= LONGEST
        assert asked.count("?") == 1 and ". " not in asked and "! " not in asked


# --- the answer


def test_a_yes_carries_out_what_was_asked_about_once(person: Person) -> None:
    assert person.asked() == "Shall I go forward one metre?"
    actions = person.answers("yes", 0.9)
    assert done(actions) == [("move", {"distance_m": 1.0})]
    assert [(each.origin, each.confidence) for each in actions or () if isinstance(each, Command)] == [("speech", 0.9)]
    assert person.answers("yes") is None and not person.consent.pending


def test_a_typed_yes_is_one_and_is_told_apart(person: Person) -> None:
    person.asked()
    assert [
        each.origin for each in person.answers("Yes, please.", reason="typed") or () if isinstance(each, Command)
    ] == ["text"]


def test_a_no_is_acknowledged_and_what_moves_is_stopped(person: Person) -> None:
    person.asked()
    assert person.answers("no") == [Say("All right, I will not.")]
    assert person.answers("yes") is None
    assert person.answers("no") is None  # nothing is open, nothing moves: the model's
    person.tell(ACTION, Command("move", {"distance_m": 3.0}, turn=person.number, id=77))
    assert person.answers("do not go forward") == [Halt("forbidden"), Say("All right, I will not.")]


@pytest.mark.parametrize("text", ["yes but two metres", "yes no", "maybe", "what", "yes?", '"yes"', "he said yes"])
def test_anything_else_takes_the_question_back(person: Person, text: str) -> None:
    person.asked()
    assert person.answers(text, reason="typed") is None
    assert not person.consent.pending
    assert person.answers("yes") is None


def test_a_question_that_was_not_heard_whole_or_a_yes_that_was_not_clear_is_asked_again(person: Person) -> None:
    verdict = person.consent.weigh(MOVE, go(1.0), person.says("come closer"))
    person.hears(verdict.say, words=3)
    assert person.answers("yes") == [Say(verdict.say)]
    person.hears(verdict.say)
    assert person.answers("yes", 0.4) == [Say(verdict.say)]
    person.hears(verdict.say)
    assert done(person.answers("yes")) == [("move", {"distance_m": 1.0})]


def test_a_question_that_nobody_could_hear_was_not_asked(person: Person) -> None:
    verdict = person.consent.weigh(MOVE, go(1.0), person.says("come closer"))
    person.hears(verdict.say, words=0, status="failed")
    assert done(person.answers("yes", reason="typed")) == []


def test_a_yes_is_for_the_last_thing_that_was_said(person: Person) -> None:
    person.asked()
    person.number += 1
    person.hears("Would you like some tea?")
    assert person.answers("yes") is None


def test_a_yes_comes_in_time(person: Person) -> None:
    person.asked()
    person.now += 11 * SECOND
    assert person.answers("yes") is None


def test_a_yes_of_somebody_else_is_none(person: Person) -> None:
    verdict = person.consent.weigh(MOVE, go(1.0), person.says("come closer", evidence={"speaker": "Anna"}))
    person.hears(verdict.say)
    assert person.answers("yes", evidence={"speaker": "Ben"}) is None


def test_a_yes_to_what_is_not_offered_any_more_does_nothing(person: Person) -> None:
    person.asked()
    person.tell(FEEDBACK, Offered("base", (TURN_,)))
    assert person.answers("yes") is None


def test_a_yes_behind_speech_that_nobody_understood_is_none(person: Person) -> None:
    person.asked()
    start = person.now
    turn = TurnCommitted(50, "yes", _words("yes", start + 2 * SECOND), 1.0, start, start + 3 * SECOND, "silence")
    assert person.consent.hear(turn) is None


def test_stopping_everything_takes_the_question_back(person: Person) -> None:
    person.asked()
    person.consent.forget()
    assert person.answers("yes") is None


def test_what_was_asked_about_is_what_is_done_whatever_becomes_of_the_wish(person: Person) -> None:
    wish = go(1.0)
    person.asked(action=wish)
    wish.arguments["distance_m"] = 9.0
    assert done(person.answers("yes")) == []
    assert digest(go(1.0)) != digest(go(9.0)) != digest(Call("move", {"distance_m": 9.0}))


def test_several_wishes_are_asked_about_one_by_one(person: Person) -> None:
    turn = person.says("fetch me something")
    wishes = [go(1.0), go(2.0), go(1.0), go(3.0), go(4.0)]
    verdicts = [person.consent.weigh(MOVE, wish, turn) for wish in wishes]
    assert [each.does for each in verdicts] == ["ask", *["refuse"] * 4]
    person.hears(verdicts[0].say)
    first = person.answers("yes")
    assert done(first) == [("move", {"distance_m": 1.0})] and first is not None
    assert first[-1] == Say("Shall I go forward two metres?")
    person.hears(first[-1].text)
    second = person.answers("yes")
    assert done(second) == [("move", {"distance_m": 2.0})] and second is not None
    person.hears(second[-1].text)
    assert person.answers("no") == [Say("All right, I will not.")]
    assert person.answers("yes") is None


def test_nobody_is_worn_down(person: Person) -> None:
    for metres in range(IN_VAIN):
        person.asked(action=go(metres + 1.0))
        person.answers("no")
    assert person.consent.weigh(MOVE, go(9.0), person.says("hm")).does == "refuse"
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward")).does == "do"
    assert person.consent.weigh(MOVE, go(9.0), person.says("hm")).does == "ask"


def test_after_a_while_the_model_may_ask_again(person: Person) -> None:
    for metres in range(IN_VAIN):
        person.asked(action=go(metres + 1.0))
        person.answers("no")
    person.now += 61 * SECOND
    person.asked()


@pytest.mark.parametrize("answer", ["yes", "no", "maybe", "how late is it"])
def test_the_same_is_not_asked_again_within_a_minute(person: Person, answer: str) -> None:
    person.asked()
    assert bool(done(person.answers(answer))) is (answer == "yes")
    for wish in (go(1.0), go(1), go(0.999)):
        verdict = person.consent.weigh(MOVE, wish, person.says("how late is it"))
        assert verdict.does == "refuse" and ("begun already" if answer == "yes" else "asked already") in verdict.say
        assert not person.consent.pending and person.answers("yes") is None
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward one metre")).does == "do"
    person.now += 61 * SECOND
    person.asked()


def test_what_was_just_done_is_not_asked_about(person: Person) -> None:
    assert person.consent.weigh(MOVE, go(1.0), person.says("go forward one metre")).does == "do"
    assert person.consent.weigh(MOVE, go(1.0), person.says("thank you")).does == "refuse"
    assert person.consent.weigh(MOVE, go(2.0), person.says("thank you")).does == "ask"


def test_a_question_that_was_cut_off_may_be_asked_again(person: Person) -> None:
    verdict = person.consent.weigh(MOVE, go(1.0), person.says("could you come"))
    person.hears(verdict.say, words=2)
    assert person.answers("over here please") is None
    assert person.consent.weigh(MOVE, go(1.0), person.says("over here please")).does == "ask"


def test_a_question_to_which_the_yes_came_too_late_may_be_asked_again(person: Person) -> None:
    person.asked()
    person.number += 1
    person.hears("Your tea is ready.")
    late = person.says("yes")
    assert person.consent.hear(late) is None
    assert person.consent.weigh(MOVE, go(1.0), late).does == "ask"


@pytest.mark.parametrize(("below", "confidence"), [(0.8, 0.6), (1.1, 1.0)])
def test_who_asks_for_it_again_is_asked_again(below: float, confidence: float) -> None:
    person = Person(confirm_below=below)
    for _ in range(2):
        verdict = person.consent.weigh(MOVE, go(1.0), person.says("go forward", confidence))
        assert verdict.does == "ask"
        person.hears(verdict.say)
        assert done(person.answers("yes")) == [("move", {"distance_m": 1.0})]
    assert person.consent.weigh(MOVE, go(1.0), person.says("thank you", confidence)).does == "refuse"


# --- for anything


WISHES = st.one_of(
    st.floats(-10, 10, allow_nan=False).map(go),
    st.floats(-6, 6, allow_nan=False).map(lambda angle: Command("turn", {"angle_rad": angle})),
    st.just(Command("come_back", {})),
)
TALK = {
    "go forward one metre": {"move": 1.0},
    "turn left and go back two metres": {"turn": math.pi / 2, "move": -2.0},
    "come back please": {"come_back": 0.0},
    "do not go forward": {},
    "tell me about forward motion": {},
    "yes": {},
    "no": {},
    "": {},
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(TALK)), st.lists(WISHES, max_size=4), st.booleans()), max_size=8))
def test_nothing_is_done_that_was_not_asked_for_or_agreed_to(talk: list[tuple[str, list[Command], bool]]) -> None:
    person = Person()
    offers = {"move": MOVE, "turn": TURN_, "come_back": HOME}
    last = ""  # what was heard last of the agent, if it was heard whole
    for text, wishes, heard in talk:
        turn = person.says(text)
        agreed = person.consent.hear(turn)
        for action in agreed or ():
            if isinstance(action, Command):
                assert text == "yes" and last == question(offers[action.name], action)
        says = [each.text for each in agreed or () if isinstance(each, Say)]
        left = dict(TALK[text])
        for wish in wishes if agreed is None and text else ():
            verdict = person.consent.weigh(offers[wish.name], wish, turn)
            if verdict.does == "do":
                most = left.pop(wish.name)
                value = next(iter(wish.arguments.values()), 0.0)
                assert abs(value) <= 1.01 * abs(most) and value * most >= 0
            elif verdict.does == "ask":
                says.append(verdict.say)
        for say in says:
            person.hears(say, words=None if heard else 2)
        if says:
            last = says[-1] if heard else ""


# --- in a session


def test_the_fallbacks_question_is_answered_to_the_fallback() -> None:
    scene = [*spoken(1, 300, 1300, "go forward", confidence=0.6), *spoken(2, 6000, 6300, "yes")]
    held = hold(scene, [Tokens(fails="server"), "That is nice."])
    assert held.said(1)[-1] == "Shall I go forward?"
    assert [each.arguments for each in held.of(Command)] == [{"distance_m": 1.0}]
    assert [ask.turn for ask in held.asks() if ask.purpose == "reply"] in ([1], [])


@pytest.mark.parametrize("answer", ["yes", "no", "what is that"])
def test_a_model_that_wishes_one_thing_at_every_turn_does_not_nag(answer: str) -> None:
    def driven(ask: Ask) -> Tokens:
        return Tokens(f"You said: {asked(ask)}.", (("move", {"distance_m": 1.0}),))

    talk = ["come closer", answer, "yes", "how late is it", "tell me a joke", "yes", "go forward one metre", "and now"]
    held = hold([typed(100 + 7000 * place, text) for place, text in enumerate(talk)], driven)
    assert [say.turn for say in held.of(Say) if say.text == "Shall I go forward one metre?"] == [1]
    assert [each.turn for each in held.of(Command)] == ([2, 7] if answer == "yes" else [7])
    for turn, text in enumerate(talk[2:], start=3):
        assert f"You said: {text}." in held.said(turn)


def test_what_is_forbidden_meanwhile_is_not_done_on_a_yes() -> None:
    from streams.types import Adjusted

    script = [Tokens(calls=(("move", {"distance_m": 1.0}),)), "No."]
    forbid = Adjusted(Manner(forbidden_tools=("move",)))
    for change in ([], [(4000, 4000, forbid)]):
        held = hold([typed(100, "come closer"), *change, typed(5000, "yes")], script)
        assert len(held.of(Command)) == (0 if change else 1)


def test_wishes_of_the_model_without_risk_are_done_without_a_question() -> None:
    rang: list[str] = []

    def ring(bell: str) -> str:
        """Ring a bell."""
        rang.append(bell)
        return "rung"

    held = hold([typed(100, "ring it")], [Tokens(calls=(("ring", {"bell": "front"}),)), "Done."], tools=[ring])
    assert rang == ["front"] and held.said() == ["Done."]


def test_a_call_is_weighed_whatever_its_json_holds() -> None:
    awkward = ['{"distance_m": 1e308}', '{"distance_m": "\\ud800"}', '{"distance_m": 1' + "0" * 400 + "}", "{}", "null"]
    for text in awkward:
        offer = Offer("x", "", {"type": "object", "properties": {"distance_m": {}}}, "call", risky=True)
        person = Person()
        try:
            arguments = json.loads(text) or {}
        except ValueError:
            continue
        assert person.consent.weigh(offer, Call("x", arguments), person.says("go on")).does in ("ask", "refuse")


@pytest.mark.parametrize("marks", [{"on_cut": "bogus"}, {"on_cut": None}, {"risky": "yes"}, {"risky": 1}])
def test_a_mark_that_means_nothing_is_no_mark(marks: dict[str, Any]) -> None:
    def ring() -> None:
        """Ring."""

    with pytest.raises(ToolError, match=next(iter(marks))):
        tool(**marks)
    with pytest.raises(ToolError, match=f"tool ring: {next(iter(marks))} is "):
        tool(ring, **marks)


# --- topics


@pytest.mark.parametrize(
    "text",
    [
        *("Politics!", "about POLITICS,", "pólitics", "po\u00adlitics", "p-o-l-i-t-i-c-s", "P O L I T I C S"),
        *("the World War", "world-war", "two world wars"),
    ],
)
def test_a_forbidden_topic_is_found(text: str) -> None:
    assert touches(text, ["politics", "world war"])


@pytest.mark.parametrize(
    "text", ["", "apolitical", "polite", "a world at war", "I am a b", "government", "Politik", "pol1tics"]
)
def test_what_is_none_or_cannot_be_known_for_one(text: str) -> None:
    """The last three are about it all the same: a list of words does not see that."""
    assert not touches(text, ["politics", "world war", " "])


def test_policies_replies_do_not_hang() -> None:
    async def all_of() -> list[Any]:
        person = Person()
        return [each async for each in person.intents.reply(person.says("go forward"))]

    assert done(asyncio.run(all_of())) == [("move", {"distance_m": 1.0})]

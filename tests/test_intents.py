"""The embedded policy: what it answers, when it asks first, what it says unasked, and when it is silent."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from policies.intents import IntentsConfig, IntentsPolicy
from policies.ports import Policy
from policies.sentences import Sentences
from policies.splitting import LOOKS, split
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, TURN, Topic
from streams.types import Action, Call, Command, Halt, Hush, Outcome, Played, Say, TurnCommitted, Word

MS = 1_000_000
SECOND = 1000 * MS
START = datetime(2026, 11, 21, 16, 5, tzinfo=UTC)
SENTENCES = Sentences.load()


class Talk:
    """A person, a body and a clock around a policy: every packet it would see in a session, and none else."""

    def __init__(self, policy: IntentsPolicy | None = None, **config: Any) -> None:
        self.policy = policy or IntentsPolicy(SENTENCES, IntentsConfig(**config), self.wall)
        self.now = 0
        self.turn = 0
        self.order = 0
        self.ids = 0

    def wall(self, t: int) -> datetime:
        return START + timedelta(microseconds=t // 1000)

    def publish(self, topic: Topic[Any], data: Any) -> None:
        self.order += 1
        self.policy.observe(Packet(topic, self.now, self.now, self.order, self.order, data))

    def person(self, text: str, confidence: float = 1.0, guess: str = "", lasts_ms: int = 600) -> list[Action]:
        """The person says `text`; what the policy answers, stamped, as it was published."""
        start = self.now
        self.now += lasts_ms * MS
        return self._reply(text, confidence, guess, start, "silence")

    def floor(self) -> list[Action]:
        """The agent is given the floor that it wants."""
        assert self.policy.wants_floor
        return self._reply("", 1.0, "", self.now, "unasked")

    def _reply(self, text: str, confidence: float, guess: str, start: int, reason: str) -> list[Action]:
        self.turn += 1
        turn = TurnCommitted(self.turn, text, (), confidence, start, self.now, reason, guess=guess)
        self.publish(TURN, turn)
        actions = [self._stamped(action) for action in asyncio.run(_all(self.policy, turn))]
        for action in actions:
            self.publish(ACTION, action)
        return actions

    def _stamped(self, action: Action) -> Action:
        self.ids += 1
        assert not isinstance(action, Halt) or action.turn == 0
        if isinstance(action, Say | Call | Command):
            assert action.turn == 0 and action.id == 0
            return msgspec.structs.replace(action, turn=self.turn, id=self.ids)
        return action

    def speaks(self, actions: list[Action], words: int | None = None) -> None:
        """The voice speaks what `actions` say: whole, or only so many words before it is cut."""
        for say in actions:
            if not isinstance(say, Say):
                continue
            all_words = say.text.split()
            for index, word in enumerate(all_words[:words]):
                self.now += 300 * MS
                self.publish(FEEDBACK, Played(say.turn, say.id, index, word, self.now - 300 * MS, self.now))
            cut = words is not None
            if cut:
                self.publish(ACTION, Hush(say.turn, "interruption"))
            status = "done" if not cut else "cut" if words else "fenced"
            self.publish(FEEDBACK, Outcome(say.turn, say.id, "Say", "", status))

    def ends(self, action: Action, status: Any = "done", detail: str = "", result: Any = None) -> None:
        assert isinstance(action, Call | Command)
        kind = type(action).__name__
        self.publish(FEEDBACK, Outcome(action.turn, action.id, kind, action.name, status, detail, result))


async def _all(policy: IntentsPolicy, turn: TurnCommitted) -> list[Action]:
    return [action async for action in policy.reply(turn)]


def texts(actions: list[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Say)]


def asked(actions: list[Action]) -> list[tuple[str, dict[str, Any]]]:
    return [(action.name, action.arguments) for action in actions if isinstance(action, Call | Command)]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_it_is_a_policy(talk: Talk) -> None:
    assert isinstance(talk.policy, Policy)


ANSWERS = {
    "what time is it": "It is four oh five in the afternoon.",
    "what's the date today": "It is Saturday, the twenty first of November.",
    "what year is it": "It is twenty twenty six.",
    "what is seven times eight": "Seven times eight is fifty six.",
    "what is five minus nine": "Five minus nine is minus four.",
    "what is ten divided by three": "Ten divided by three is about three point three three.",
    "what is nine divided by four": "Nine divided by four is two point two five.",
    "what is nine divided by zero": "Nothing can be divided by zero.",
    "what is 1000 times 2500": "One thousand times two thousand five hundred is two million five hundred thousand.",
    "what is twelve squared": "Twelve squared is one hundred and forty four.",
    "what is the square root of two": "The square root of two is about one point four one.",
    "what is ten percent of fifty": "Ten percent of fifty is five.",
    "how long is left": "No timer is running.",
    "cancel the timer": "No timer is running.",
    "what did you hear": "I have not heard anything yet.",
    "what did you just say": "I have not said anything yet.",
    "say that again": "I have not said anything yet.",
    "yes": "All right.",
    "no": "All right.",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_questions_are_answered(talk: Talk, text: str) -> None:
    assert texts(talk.person(text)) == [ANSWERS[text]]


MOTIONS = {
    "go forward ten meters": ("Going forward ten metres.", "move", {"distance_m": 10.0}),
    "go backward two meters": ("Going back two metres.", "move", {"distance_m": -2.0}),
    "drive back half a meter": ("Going back half a metre.", "move", {"distance_m": -0.5}),
    "move forward one and a half feet": ("Going forward one and a half feet.", "move", {"distance_m": 0.4572}),
    "go forward": ("Going forward.", "move", {"distance_m": 1.0}),
    "take a step back": ("Going back one step.", "move", {"distance_m": -0.5}),
    "go forward a little bit": ("Going forward a little.", "move", {"distance_m": 0.25}),
    "turn left": ("Turning left.", "turn", {"angle_rad": 1.5707963267948966}),
    "turn right ninety degrees": ("Turning right ninety degrees.", "turn", {"angle_rad": -1.5707963267948966}),
    "turn around": ("Turning around.", "turn", {"angle_rad": 3.141592653589793}),
    "come back": ("Coming back.", "come_back", {}),
}


@pytest.mark.parametrize("text", MOTIONS)
def test_a_motion_heard_clearly_is_said_and_then_done(talk: Talk, text: str) -> None:
    told, name, arguments = MOTIONS[text]
    say, command = talk.person(text, 0.9)
    assert isinstance(say, Say) and say.text == told
    assert isinstance(command, Command)
    assert (command.name, command.arguments, command.confidence) == (name, arguments, 0.9)


@pytest.mark.parametrize("text", MOTIONS)
def test_a_motion_heard_badly_is_asked_about_and_needs_a_yes(talk: Talk, text: str) -> None:
    told, name, arguments = MOTIONS[text]
    question = talk.person(text, 0.79)
    assert asked(question) == [] and texts(question)[0].startswith("Shall I ")
    assert talk.policy.asking
    talk.speaks(question)
    done = talk.person("yes", 0.9)
    assert (texts(done), asked(done)) == ([told], [(name, arguments)])
    assert not talk.policy.asking
    assert asked(talk.person("yes")) == []


@pytest.mark.parametrize("other", ["no", "hello", "what time is it", "go on about it", "never mind", "stop"])
def test_anything_but_yes_drops_the_motion(talk: Talk, other: str) -> None:
    talk.speaks(talk.person("go forward two meters", 0.5))
    assert asked(talk.person(other)) == []
    assert asked(talk.person("yes")) == []


def test_no_is_acknowledged_and_an_unclear_answer_moves_nothing(talk: Talk) -> None:
    talk.speaks(talk.person("turn left", 0.5))
    assert texts(talk.person("no")) == ["All right, I will not."]
    talk.speaks(talk.person("turn left", 0.5))
    assert texts(talk.person("", guess="yes")) == ["I did not understand, so I stay where I am."]
    assert asked(talk.person("yes")) == []


BUT = ["don't {}", "please do not {}", "never {}", "no don't {}", "you must not {}", "can you not {}", "Don’t you {}!"]
ABOUT = ["did you {}", "should I {}", "why did you {}?", "if you {}", "what if we {}"]


@pytest.mark.parametrize("text", MOTIONS)
@pytest.mark.parametrize("form", BUT + ABOUT)
def test_a_motion_forbidden_or_asked_about_is_not_made(talk: Talk, form: str, text: str) -> None:
    talk.speaks(talk.person("turn right", 0.5))
    told = talk.person(form.format(text))
    answer = "All right, I will not." if form in BUT else "I only do that when you tell me to."
    assert (texts(told), asked(told), talk.policy.asking) == ([answer], [], False)
    assert asked(talk.person("yes")) == []


@pytest.mark.parametrize("text", ["don't move", "please do not go anywhere", "don't turn", "stay there", "stand still"])
def test_forbidding_without_saying_what(talk: Talk, text: str) -> None:
    assert texts(talk.person(text)) == ["All right, I will not."]
    assert texts(talk.person(f"no {text}" if "do" in text else text)) == ["All right, I will not."]


@pytest.mark.parametrize("text", ["no", "don't turn left", "don't move", "no don't"])
def test_what_is_forbidden_while_it_is_done_is_halted(talk: Talk, text: str) -> None:
    move = talk.person("turn left")
    halt, say = talk.person(text)
    assert isinstance(halt, Halt) and isinstance(say, Say)
    talk.ends(move[1], "cut")
    assert texts(talk.person(text))[0].startswith("All right") and asked(talk.person(text)) == []


def test_timers_and_volume_are_not_touched_when_that_is_forbidden(talk: Talk) -> None:
    for text in ("do not set a timer for five minutes", "don't turn the volume up", "don't cancel the timer"):
        assert (asked(told := talk.person(text)), texts(told)) == ([], ["All right, I will not."])


TWO = {
    "what is five plus nine hello there": (["Five plus nine is fourteen.", "Hi, what can I do for you?"], []),
    "What is five plus nine? Hello!": (["Five plus nine is fourteen.", "Hi, what can I do for you?"], []),
    "okay what time is it thank you": (["All right.", "It is four oh five in the afternoon.", "Any time."], []),
    "uh huh what year is it": (["It is twenty twenty six."], []),
    "what year is it my good friend": (["It is twenty twenty six.", "I did not understand the rest."], []),
    "okay turn left": (["Turning left."], ["turn"]),
    "turn left go forward": (["Turning left.", "Going forward."], ["turn", "move"]),
    "set a timer for one hour hello": (["Timer set for one hour.", "Hi, what can I do for you?"], ["set_timer"]),
    "turn left no don't": (["All right, I will not."], []),
    "no turn left": (["All right, I will not."], []),
    "turn left don't move": (["All right, I will not."], []),
    "hello don't turn left": (["All right, I will not.", "Hi, what can I do for you?"], []),
    "if you turn left go forward": (["I only do that when you tell me to."], []),
    "turn left turn right": (["I am not sure what you said, so I stay where I am."], []),
    "turn left my good friend": (["Sorry, I did not catch that."], []),
    "hello my dear old friend": (["Sorry, I did not catch that."], []),
    "hello hello hello hello hello": (["Sorry, I did not catch that."], []),
}


@pytest.mark.parametrize("text", TWO)
def test_several_sentences_in_one_turn(talk: Talk, text: str) -> None:
    told, done = TWO[text]
    actions = talk.person(text)
    assert (texts(actions), [name for name, _ in asked(actions)]) == (told, done)


def test_of_several_sentences_a_doubtful_motion_is_asked_about(talk: Talk) -> None:
    told = talk.person("hello turn left", 0.7)
    assert (texts(told), asked(told)) == (["Hi, what can I do for you?", "Shall I turn left?"], [])
    talk.speaks(told)
    assert asked(talk.person("yes what time is it")) == [("turn", {"angle_rad": 1.5707963267948966})]
    told = talk.person("turn left go forward", 0.7)
    assert (texts(told), asked(told)) == (["I am not sure what you said, so I stay where I am."], [])
    assert asked(talk.person("yes")) == []


@pytest.mark.parametrize("answer", ["yes no", "yes my good friend", "go on about it", "yes turn right", "hello hello"])
def test_a_yes_among_other_things_moves_nothing_unasked(talk: Talk, answer: str) -> None:
    talk.speaks(talk.person("turn left", 0.5))
    moved = asked(talk.person(answer))
    assert moved == ([("turn", {"angle_rad": -1.5707963267948966})] if "right" in answer else [])
    assert asked(talk.person("yes")) == []


def test_a_doubtful_yes_among_other_things_is_asked_for_again(talk: Talk) -> None:
    talk.speaks(question := talk.person("turn left", 0.5))
    again = talk.person("what year is it yes", 0.6)
    assert (texts(again)[1:], asked(again)) == (texts(question), [])
    talk.speaks(again)
    assert asked(talk.person("yes"))


def test_sentences_are_parted_at_the_longest_pause() -> None:
    words = [
        Word(text, start * MS, (start + 200) * MS)
        for text, start in zip(["no", "no", "no", "thanks"], (0, 200, 900, 1100), strict=True)
    ]
    turn = TurnCommitted(1, "no no no thanks", tuple(words), 1.0, 0, 1300 * MS, "silence")
    assert [part.text for part in split(SENTENCES, turn)] == ["no no", "no thanks"]


@pytest.mark.parametrize(
    "text", ["yes " * 300, "turn left " * 40, "please can you " * 50 + "turn left", "one two " * 80]
)
def test_splitting_is_bounded(talk: Talk, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    understand = Sentences.understand
    monkeypatch.setattr(Sentences, "understand", lambda self, text: (looked.append(text), understand(self, text))[1])
    assert asked(talk.person(text)) == []
    assert len(looked) <= LOOKS + 1


def test_a_doubtful_motion_after_a_doubtful_one_is_asked_about_anew(talk: Talk) -> None:
    talk.speaks(talk.person("turn left", 0.5))
    talk.speaks(talk.person("turn right", 0.5))
    assert asked(talk.person("yes")) == [("turn", {"angle_rad": -1.5707963267948966})]


def test_a_doubtful_yes_is_asked_for_again(talk: Talk) -> None:
    question = talk.person("turn left", 0.5)
    talk.speaks(question)
    again = talk.person("yes", 0.3)
    assert texts(again) == texts(question) and asked(again) == []
    talk.speaks(again)
    assert texts(talk.person("say that again")) == texts(question)
    assert asked(talk.person("yes")) == [("turn", {"angle_rad": 1.5707963267948966})]


def test_a_question_that_was_not_heard_whole_is_asked_again(talk: Talk) -> None:
    question = talk.person("turn left", 0.5)
    talk.speaks(question, words=3)  # "Shall I turn": which way?
    again = talk.person("yes")
    assert asked(again) == [] and texts(again) == texts(question)
    talk.speaks(again)
    assert asked(talk.person("yes"))


def test_a_question_expires_and_a_stop_voids_it(talk: Talk) -> None:
    talk.speaks(talk.person("turn left", 0.5))
    talk.now += 11 * SECOND
    assert asked(talk.person("yes")) == []
    talk.speaks(talk.person("turn left", 0.5))
    talk.publish(ACTION, Halt("stop"))
    assert asked(talk.person("yes")) == []


def test_the_bar_is_a_setting() -> None:
    assert asked(Talk(confirm_below=1.1).person("turn left")) == []
    assert asked(Talk(confirm_below=0.0).person("turn left", 0.1))


def test_stop_in_a_turn_halts(talk: Talk) -> None:
    halt, _ = talk.person("please stop now")
    assert halt == Halt("stop")


def test_a_motion_that_went_otherwise_is_reported(talk: Talk) -> None:
    move = talk.person("go forward two meters")
    talk.speaks(move)
    talk.ends(move[1], "refused", "there is a wall ahead.")
    assert texts(talk.floor()) == ["I could not move: there is a wall ahead."]
    assert not talk.policy.wants_floor
    move = talk.person("go forward two meters")
    talk.ends(move[1], "done", result={"distance_m": 0.62})
    assert texts(talk.floor()) == ["I only went zero point six metres."]
    move = talk.person("go forward two meters")
    talk.ends(move[1], "done", result={"distance_m": 1.95})
    move = talk.person("go forward two meters")
    talk.ends(move[1], "cut")
    assert not talk.policy.wants_floor


@pytest.mark.parametrize(
    ("wish", "status", "result", "told"),
    [
        ("go forward two meters", "done", {"distance_m": 0.02}, "I did not get anywhere."),
        ("go forward one meter", "failed", {"distance_m": 0.5}, "I only went half a metre: a wall is near."),
        ("go back two meters", "failed", {"distance_m": -0.69}, "I only went zero point seven metres: a wall is near."),
        ("go back two meters", "failed", {"distance_m": -1.02}, "I only went one metre: a wall is near."),
        ("go forward two meters", "timeout", {"distance_m": 0.5}, "I only went half a metre: it took too long."),
        ("go forward two meters", "failed", {"distance_m": 1.9}, "I did not quite get there: a wall is near."),
        ("go forward two meters", "failed", {"distance_m": 0.02}, "I could not move: a wall is near."),
        ("go forward two meters", "failed", {"distance_m": -0.3}, "I could not move: a wall is near."),
        ("go forward two meters", "failed", {"left_m": 0.3}, "I could not move: a wall is near."),
        ("go forward two meters", "failed", {"distance_m": math.nan}, "I could not move: a wall is near."),
        ("turn left", "failed", {"angle_rad": 0.72, "distance_m": 0.2}, "I only turned forty degrees: a wall is near."),
        ("turn left", "failed", {"angle_rad": 0.01}, "I could not turn: a wall is near."),
    ],
)
def test_of_a_motion_that_failed_on_the_way_it_is_told_how_far_it_came(
    talk: Talk, wish: str, status: str, result: dict[str, float], told: str
) -> None:
    move = talk.person(wish)
    talk.ends(move[1], status, "a wall is near", result)
    assert texts(talk.floor()) == [told]


def test_timers(talk: Talk) -> None:
    tea = talk.person("set a timer for five minutes")
    assert asked(tea) == [("set_timer", {"seconds": 300.0, "label": "five minute"})]
    assert texts(tea) == ["Timer set for five minutes."]
    talk.now += 50 * SECOND - 600 * MS
    assert texts(talk.person("how long is left")) == ["Four minutes and ten seconds left."]
    egg = talk.person("set a timer for ninety seconds")
    assert texts(talk.person("how long is left")) == [
        "The one minute and thirty second timer has one minute and twenty nine seconds left.",
        "The five minute timer has four minutes and nine seconds left.",
    ]
    cancel = talk.person("cancel the timer")
    assert asked(cancel) == [("cancel_timer", {"label": "one minute and thirty second"})]
    talk.ends(egg[0], "cut", "cancelled")
    assert not talk.policy.wants_floor
    talk.now += 249 * SECOND
    talk.ends(tea[0])
    done = talk.floor()
    assert texts(done) == ["Your five minute timer is done."]
    assert texts(talk.person("how long is left")) == ["No timer is running."]


def test_what_is_said_unasked_is_said_again_only_if_not_a_word_was_heard(talk: Talk) -> None:
    timer = talk.person("set a timer for one second")
    talk.ends(timer[0])
    talk.speaks(talk.floor(), words=0)
    again = talk.floor()
    assert texts(again) == ["Your one second timer is done."]
    talk.speaks(again, words=2)
    assert not talk.policy.wants_floor


def test_what_it_said_is_what_was_heard(talk: Talk) -> None:
    helped = talk.person("help")
    talk.speaks(helped, words=6)
    assert texts(talk.person("what did you just say")) == ["I said: You can ask me the time, before you cut in."]
    talk.speaks(talk.person("help"), words=0)
    assert texts(talk.person("what did you just say")) == ["You cut in before I had said a word."]
    talk.speaks(talk.person("what year is it"))
    assert texts(talk.person("what did you just say")) == ["I said: It is twenty twenty six."]
    talk.speaks(helped := talk.person("help"), words=3)
    assert texts(talk.person("say that again")) == texts(helped)


def test_what_it_heard(talk: Talk) -> None:
    talk.person("turn left")
    assert texts(talk.person("what did you hear")) == ["I heard: turn left."]
    talk.person("", guess="turn left")
    assert texts(talk.person("what did you hear")) == ["I could not make out what you said."]


def test_volume(talk: Talk) -> None:
    up = talk.person("louder please")
    assert (asked(up), texts(up)) == ([("set_volume", {"by_percent": 10.0})], ["Louder."])
    level = talk.person("set the volume to forty percent")
    assert (asked(level), texts(level)) == ([("set_volume", {"percent": 40.0})], ["Volume forty percent."])
    talk.ends(level[0], "failed", "no mixer")
    assert texts(talk.floor()) == ["I could not change the volume: no mixer."]


TOLD = [
    ("refused", "there is no tool named 'weather'; there are: set_timer", "I cannot do that here."),
    ("failed", "RuntimeError: the service is away", "I could not do that: the service is away."),
    ("failed", "KeyError: 'x_y'", "I could not do that."),
    ("timeout", "weather took longer than 10 s", "I could not do that: it took too long."),
]


@pytest.mark.parametrize(("status", "detail", "told"), TOLD)
def test_no_name_of_a_tool_is_ever_said(tmp_path: Path, status: str, detail: str, told: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    talk = Talk(IntentsPolicy(Sentences.load([path]), IntentsConfig(), lambda t: START))
    weather = talk.person("how is the weather")
    talk.ends(weather[0], status, detail)
    assert texts(talk.floor()) == [told]


def test_it_apologises_once_offers_help_once_and_then_as_often_as_it_may() -> None:
    talk = Talk(apologies=2)
    assert texts(talk.person("", guess="turn left")) == ["Sorry, I did not catch that."]
    assert texts(talk.person("my fellow americans")) == ["I still did not understand. Say help, to hear what I can do."]
    assert talk.person("", guess="turn left") == []
    assert talk.person("hello") != []
    assert texts(talk.person("", lasts_ms=900)) == ["Sorry, I did not catch that."]
    assert talk.person("", lasts_ms=200) == []


def test_replies_vary_but_not_by_chance() -> None:
    def greetings() -> list[str]:
        talk = Talk()
        return [texts(talk.person("hello"))[0] for _ in range(4)]

    assert greetings() == greetings()
    assert len(set(greetings())) == 3


def test_a_reply_is_decided_when_it_is_asked_for(talk: Talk) -> None:
    turn = TurnCommitted(1, "what did you hear", (), 1.0, 0, SECOND, "silence")
    reply = talk.policy.reply(turn)
    talk.publish(TURN, TurnCommitted(0, "something else", (), 1.0, 0, SECOND, "silence"))

    async def read() -> list[Action]:
        return [action async for action in reply]

    assert texts(asyncio.run(read())) == ["I have not heard anything yet."]


OWN = """
[lists]
dance.values = ["waltz", "tango"]
times.range = { from = 1, to = 5 }
[intents.dance]
sentences = ["dance the {dance} {times} times"]
reply = "Dancing the {dance} {times} times."
command = { name = "dance", arguments = { which = "{dance}", times = "{times}", note = "a {dance}", fast = true } }
[intents.weather]
sentences = ["how is the weather"]
call = { name = "weather", arguments = { where = ["here"] } }
[intents.joke]
sentences = ["tell me a joke"]
reply = ["One.", "Two."]
"""


def test_own_intents_reply_command_and_call(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    talk = Talk(IntentsPolicy(Sentences.load([path]), IntentsConfig(), lambda t: START))
    dance = talk.person("dance the tango two times")
    assert texts(dance) == ["Dancing the tango two times."]
    assert asked(dance) == [("dance", {"which": "tango", "times": 2.0, "note": "a tango", "fast": True})]
    unsure = talk.person("dance the tango two times", 0.5)
    assert (texts(unsure), asked(unsure)) == (["Did you say: dance the tango two times?"], [])
    talk.speaks(unsure)
    assert asked(talk.person("yes")) == asked(dance)
    for text in ("don't dance the tango two times", "did you dance the waltz 2 times"):
        assert asked(talk.person(text)) == []
    weather = talk.person("how is the weather")
    assert asked(weather) == [("weather", {"where": ["here"]})]
    talk.ends(weather[0], result="It rains.")
    assert texts(talk.floor()) == ["It rains."]
    assert texts(talk.person("tell me a joke")) != texts(talk.person("tell me a joke"))

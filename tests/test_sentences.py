"""The sentences: what people say is understood, and a wrong file of one's own is told what and where."""

from pathlib import Path

import pytest

from policies.errors import SentencesError
from policies.numbers import spell, spell_day, take
from policies.sentences import Sentences
from policies.tables import BEHAVIOURS
from policies.templates import normalise


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    return Sentences.load()


SAID = {
    "go forward ten meters": ("move", {"direction": 1, "count": 10.0, "unit": "metre"}),
    "Go backward two metres.": ("move", {"direction": -1, "count": 2.0, "unit": "metre"}),
    "move forward one metre": ("move", {"direction": 1, "count": 1.0, "unit": "metre"}),
    "drive back half a meter": ("move", {"direction": -1, "few": 0.5, "unit": "metre"}),
    "please go ahead one and a half meters": ("move", {"direction": 1, "count": 1.0, "more": 0.5, "unit": "metre"}),
    "go 2.5 m back": None,
    "go 2.5 meters back": ("move", {"direction": -1, "count": 2.5, "unit": "metre"}),
    "go forward one point five meters": ("move", {"direction": 1, "count": 1.5, "unit": "metre"}),
    "go ahead": ("yes", {}),
    "could you move backwards": ("move", {"direction": -1}),
    "walk forwards a few steps": ("move", {"direction": 1, "few": 3, "unit": "step"}),
    "walk forwards five steps": ("move", {"direction": 1, "count": 5.0, "unit": "step"}),
    "take a step back": ("step", {"direction": -1, "few": 1, "unit": "step"}),
    "back up three feet": ("back_up", {"direction": -1, "count": 3.0, "unit": "foot"}),
    "turn left": ("turn", {"side": 1}),
    "turn right ninety degrees": ("turn", {"side": -1, "degrees": 90.0}),
    "turn forty-five degrees to the left": ("turn", {"side": 1, "degrees": 45.0}),
    "turn around": ("turn_around", {"side": 1, "degrees": 180}),
    "come back": ("come_back", {}),
    "what time is it": ("time", {}),
    "what's the date today": ("date", {}),
    "what’s today’s date?": ("date", {}),
    "what day is it": ("date", {}),
    "hello": ("greeting", {}),
    "hi there": ("greeting", {}),
    "Good morning!": ("greeting", {}),
    "thank you very much": ("thanks", {}),
    "goodbye": ("goodbye", {}),
    "set a timer for five minutes": ("set_timer", {"minutes": 5.0}),
    "set a timer for ten seconds": ("set_timer", {"seconds": 10.0}),
    "set a ten-minute timer": ("set_timer", {"minutes": 10.0}),
    "set a timer for one minute and thirty seconds": ("set_timer", {"minutes": 1.0, "seconds": 30.0}),
    "set a timer for half an hour": ("set_timer", {"seconds": 1800}),
    "how long is left": ("time_left", {}),
    "cancel the timer": ("cancel_timer", {}),
    "what is seven times eight": ("arithmetic", {"a": 7.0, "operator": "times", "b": 8.0}),
    "what's twelve divided by four": ("arithmetic", {"a": 12.0, "operator": "divided by", "b": 4.0}),
    "how much is 1,200 minus 7.5?": ("arithmetic", {"a": 1200.0, "operator": "minus", "b": 7.5}),
    "7 * 8": ("typed_arithmetic", {"a": 7.0, "operator": "times", "b": 8.0}),
    "volume up": ("volume_change", {"change": 10}),
    "louder please": ("volume_change", {"change": 10}),
    "turn the volume down": ("volume_change", {"change": -10}),
    "turn down the volume": ("volume_change", {"change": -10}),
    "set the volume to 40%": ("volume_set", {"level": 40.0}),
    "help": ("help", {}),
    "what can you do": ("help", {}),
    "repeat that": ("repeat", {}),
    "say it again": ("repeat", {}),
    "say that again please": ("repeat", {}),
    "what did you hear": ("heard", {}),
    "what did you just say": ("said", {}),
    "yes": ("yes", {}),
    "OK": ("yes", {}),
    "no": ("no", {}),
    "never mind": ("no", {}),
    "nevermind": ("no", {}),
    "and so my fellow americans ask not what your country can do for you": None,
    "he was not an ill disposed young man": None,
    "go": None,
    "forward": None,
    "": None,
    "?!": None,
}


@pytest.mark.parametrize("text", SAID)
def test_what_people_say_is_understood(sentences: Sentences, text: str) -> None:
    understood = sentences.understand(text)
    found = None if understood is None else (understood.intent.name, understood.slots)
    assert found == SAID[text]


@pytest.mark.parametrize("number", [*range(0, 130), 200, 345, 999, 1000, 1001, 2345, 99_999, 100_001, 0.5, 2.25, 17.1])
def test_numbers_spelt_are_read_back(number: float) -> None:
    words = spell(number).split()
    assert take(words, 0) == (number, len(words))


def test_numbers_as_people_say_them() -> None:
    assert normalise("a hundred and five metres, twenty-two feet, two point oh five") == (
        "105000 meters 22000 feet 2050"
    )
    assert normalise("four seven") == "4000 7000"
    assert normalise("Don't!") == "don't"
    assert spell(-3) == "minus three"
    assert [spell_day(day) for day in (1, 12, 20, 21, 30, 31)] == [
        "first", "twelfth", "twentieth", "twenty first", "thirtieth", "thirty first",
    ]  # fmt: skip


OWN = """
[lists]
dance.values = ["waltz", "tango"]
times.range = { from = 1, to = 5 }
[rules]
kindly = "(kindly|would you)"
[intents.dance]
sentences = ["[<kindly>] dance the {dance} {times} (time|times)"]
reply = "Dancing the {dance} {times} times."
confirm = "Shall I dance the {dance}?"
command = { name = "dance", arguments = { which = "{dance}", times = "{times}", note = "a {dance}" } }
[intents.greeting]
sentences = ["ahoy"]
reply = ["Ahoy."]
[intents.thanks]
sentences = []
"""


def test_own_sentences_add_replace_and_take_away(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    own = Sentences.load([path])
    dance = own.understand("Kindly dance the tango three times")
    assert dance is not None and dance.slots == {"dance": "tango", "times": 3.0}
    assert own.understand("ahoy") is not None and own.understand("hello") is None
    assert own.understand("thank you") is None and own.understand("turn left") is not None
    assert own.digest != Sentences.load().digest
    assert "waltz" in own.grammar() and "<intent_dance>" in own.grammar()
    assert Sentences.load([path], builtin=False).understand("turn left") is None


def test_what_does_something_has_twins_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    def own(more: str, language: str = "en") -> Sentences:
        path = tmp_path / "own.toml"
        path.write_text(
            '[intents.wink]\nsentences = ["wink"]\ncommand = { name = "wink" }\n'
            f'[intents.door]\nsentences = ["open the door"]\ncall = {{ name = "open_door" }}\n{more}'
        )
        return Sentences.load([path], language, builtin=False)

    assert list(own("").intents) == ["wink", "door", "not_wink", "whether_wink"]
    assert "not_door" in own("negatable = true").intents
    assert "not_wink" not in own("[intents.not_wink]\nsentences = []").intents
    kept = own('[intents.not_wink]\nsentences = ["do not wink"]\nreply = "No winking."').understand("do not wink")
    assert kept is not None and kept.intent.replies == ("No winking.",)
    assert list(own("", "it").intents) == ["wink", "door"]
    italian = own('[rules]\nnot = "non"', "it").understand("non wink")
    assert italian is not None and italian.intent.does == "forbid"


def test_every_built_in_motion_can_be_forbidden(sentences: Sentences) -> None:
    moves = [each for each in sentences.intents.values() if each.does in ("move", "turn", "come_back")]
    assert len(moves) >= 6
    for each in moves:
        assert sentences.intents[f"not_{each.name}"].does == "forbid"
        assert sentences.intents[f"whether_{each.name}"].does == "tell_about"


WRONG = {
    'intent = 1': "unknown key 'intent' (did you mean 'intents'?)",
    '[intents.a]\nsentence = ["b"]': "unknown key 'sentence' (did you mean 'sentences'?)",
    '[intents.a]\nsentences = ["b"]': "needs 'does', or else",
    '[intents.a]\nsentences = ["b"]\ndoes = "tme"': "did you mean 'time'?",
    '[intents.a]\nsentences = ["b {c}"]\nreply = "d"': "there is no list 'c'",
    '[intents.a]\nsentences = ["b {ammount}"]\nreply = "d"': "there is no list 'ammount'",
    '[intents.a]\nsentences = ["b <c>"]\nreply = "d"': "there is no rule 'c'",
    '[intents.a]\nsentences = ["b (c"]\nreply = "d"': "cannot be read",
    '[intents.a]\nsentences = ["b[s]"]\nreply = "d"': "there must be a space",
    '[intents.a]\nsentences = ["b 7"]\nreply = "d"': "numbers must be written as words",
    '[intents.a]\nsentences = ["b, c"]\nreply = "d"': "',' cannot be spoken",
    '[intents.a]\nsentences = [""]\nreply = "d"': "the template is empty",
    '[intents.a]\nsentences = ["b [{side}]"]\nreply = "d {side}"': "{side} is used, but is not always given",
    '[intents.a]\nsentences = ["b"]\nreply = "d {"': "the reply 'd {' cannot be read",
    '[intents.a]\nsentences = "b"\nreply = "d"': "Expected `array`",
    '[intents.a]\nsentences = ["b"]\ncommand = { nam = "d" }': "unknown field `nam`",
    '[lists]\na.range = { from = 5, to = 2 }': "the range must be",
    '[lists]\na.range = { from = 0, to = 90000, spoken_to = 90000 }': "more than 1000 numbers",
    '[lists]\na.values = []': "has no values",
    '[rules]\na = "b <a>"': "contains itself",
    '[rules': "is not valid TOML",
}  # fmt: skip


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_file_is_told_what_and_where(tmp_path: Path, content: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(content)
    with pytest.raises(SentencesError) as raised:
        Sentences.load([path])
    assert WRONG[content] in str(raised.value)
    assert str(path) in str(raised.value)
    if "[intents.a]" in content:
        assert "intent 'a'" in str(raised.value)
    if raised.value.sentence:
        assert raised.value.sentence in str(raised.value)


@pytest.mark.parametrize("text", [text for text, found in SAID.items() if found])
def test_whatever_is_understood_begins_with_a_word_that_may_begin_a_sentence(sentences: Sentences, text: str) -> None:
    assert sentences.may_begin(text.split(maxsplit=1)[0])


def test_words_that_begin_no_sentence(sentences: Sentences) -> None:
    assert not any(map(sentences.may_begin, ["meters", "left", "americans", "?", ""]))
    assert sentences.may_begin("7") and sentences.may_begin("Seven") and sentences.may_begin("a")


def test_a_missing_file_and_an_unknown_language(tmp_path: Path) -> None:
    with pytest.raises(SentencesError, match="cannot be read"):
        Sentences.load([tmp_path / "none.toml"])
    with pytest.raises(SentencesError, match="no built-in sentences for the language 'xx'"):
        Sentences.load(language="xx")


def test_the_documentation_is_right(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "intents.md").read_text(encoding="utf-8")
    path = tmp_path / "doc.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    own = Sentences.load([path])
    sweep = own.understand("would you sweep the galley 3 times")
    assert sweep is not None and sweep.slots == {"room": "kitchen", "times": 3.0}
    late = own.understand("how late is it")
    assert late is not None and late.intent.does == "time"
    assert own.understand("who are you") is None
    assert " ".join(sorted(BEHAVIOURS)) in " ".join(text.split())


GRID = """
[lists]
verb.values = ["bin", "lay", "place", "set"]
colour.values = ["blue", "green", "red", "white"]
where.values = ["at", "by", "in", "with"]
letter.values = ["a", "b", "f", "k", "m", "x", "z"]
digit.range = { from = 0, to = 9 }
when.values = ["again", "now", "please", "soon"]
[intents.grid]
sentences = ["{verb} {colour} {where} {letter} {digit} {when}"]
call = { name = "grid", arguments = { letter = "{letter}", digit = "{digit}" } }
"""


def test_another_grammar_altogether(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    grid = Sentences.load([path], builtin=False)
    heard = grid.understand("lay red with m zero again")
    assert heard is not None
    assert (heard.slots["letter"], heard.slots["digit"], heard.slots["when"]) == ("m", 0.0, "again")

"""The stop reflex and the backchannels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.backchannels import LANGUAGES, backchannels, is_backchannel, spoken_backchannels
from policies.errors import SentencesError
from policies.reflex import Reflex, Stop, find_stop, nothing_but, stop_words
from streams.types import Words


def words(text: str, segment: int = 1, *, final: bool = False, guess: str = "") -> Words:
    return Words(segment, text, (), final, guess=guess)


def fires(text: str, *, anywhere: bool = True, language: str = "en") -> bool:
    return find_stop(text, stop_words(language), language=language, anywhere=anywhere) is not None


def test_it_fires_on_a_partial_once_per_segment() -> None:
    reflex = Reflex(stop_words())
    assert reflex.feed(words("please")) is None
    assert reflex.feed(words("please stop")) == Stop(1, "stop")
    assert reflex.feed(words("please stop now", final=True)) is None
    assert reflex.feed(words("halt", 2)) == Stop(2, "halt")
    assert reflex.feed(words("stop", 1, final=True)) is None


@pytest.mark.parametrize(
    "text", ["stop", "Stop!", "STOP IT", "no, stop", "robot: freeze", "go forward stop", "don't stop"]
)
def test_the_safe_choice_is_to_halt(text: str) -> None:
    assert fires(text)


@pytest.mark.parametrize("text", ["stopwatch", "stopped", "nonstop", "bus-stops", "halting", "", "go forward", "top"])
def test_only_whole_words_count(text: str) -> None:
    assert not fires(text)


def test_a_guess_sets_nothing_off() -> None:
    assert Reflex(stop_words()).feed(words("", guess="stop")) is None


def test_for_open_dictation_it_can_be_told_to_mind_the_sentence() -> None:
    assert fires("please stop now", anywhere=False)
    assert fires("no no stop stop", anywhere=False)
    reflex = Reflex(stop_words(), anywhere=False)
    assert reflex.feed(words("the bus stop is near")) is None
    assert reflex.feed(words("please stop", 2)) == Stop(2, "stop")
    assert not fires("please now", anywhere=False)
    assert not fires("the bus stop is near the church", anywhere=False)


def test_nothing_but_a_stop() -> None:
    assert nothing_but("please stop now", ["stop"]) and nothing_but("", ["stop"])
    assert not nothing_but("please", ["stop"]) and not nothing_but("go on and stop", ["stop"])
    assert nothing_but("bitte halt", ["halt"], "de") and not nothing_but("bitte halt", ["halt"])


def test_phrases_and_languages() -> None:
    assert Reflex(["hold it", "whoa"]).feed(words("oh hold it")) == Stop(1, "hold it")
    assert find_stop("oh, HOLD it!", ["hold", "hold it"]) == "hold it"
    assert find_stop("whoa hold it", ["hold it", "whoa"]) == "whoa"
    assert find_stop("hold", ["hold it", ""]) is None
    assert fires("bitte anhalten", language="de") and fires("arrêtez", language="fr") and fires("¡Alto!", language="es")
    assert stop_words("xx") == stop_words("en")


@given(st.lists(st.sampled_from(["go", "stop", "stopwatch", "please", "forward", "halting"]), max_size=6))
def test_it_fires_exactly_if_the_word_is_there(text: list[str]) -> None:
    assert fires(" ".join(text)) == ("stop" in text)


BACK = [
    "mm-hmm",
    "Mm hmm.",
    "uh huh",
    "Uh-huh!",
    "yeah",
    "Okay.",
    "right",
    "I see",
    "yeah, okay",
    "oh really?",
    "all right",
    "OK",
]


@pytest.mark.parametrize("text", BACK)
def test_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", "?", "no", "stop", "yeah but", "turn right", "right now", "I see a wall", "wait"])
def test_what_is_none(text: str) -> None:
    assert not is_backchannel(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_own(language: str) -> None:
    assert len(backchannels(language)) > 20
    assert all(is_backchannel(phrase, language) for phrase in (*backchannels(language), *spoken_backchannels(language)))
    assert all(phrase == phrase.lower() for phrase in spoken_backchannels(language))
    assert not any(fires(phrase, language=language) for phrase in backchannels(language))


def test_other_languages_differ_and_unknown_ones_are_named() -> None:
    assert is_backchannel("ach so", "de") and is_backchannel("D'accord", "fr") and is_backchannel("Ya veo", "es")
    assert not is_backchannel("ach so", "en")
    with pytest.raises(SentencesError, match="no backchannels for 'xx'"):
        is_backchannel("mhm", "xx")

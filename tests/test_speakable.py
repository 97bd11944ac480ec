"""From tokens to voice: what is said of a model's text, in which pieces, and how early."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.llm.clauses import MOST
from policies.llm.languages import LANGUAGES, language
from policies.llm.speakable import CONTROLS, Piece, Speakable
from tests.speakable_cases import CASES, MANNERS, OTHERS


def pieces(text: str, language: str = "en", sizes: list[int] | None = None) -> list[Piece]:
    speech = Speakable(language)
    found: list[Piece] = []
    place, number = 0, 0
    while place < len(text):
        size = sizes[number % len(sizes)] if sizes else 1
        found += speech.push(text[place : place + size])
        place, number = place + size, number + 1
    return [*found, *speech.finish()]


def said(text: str, language: str = "en") -> list[str]:
    return [piece.text for piece in pieces(text, language) if piece.text]


@pytest.mark.parametrize(("language", "text", "spoken"), CASES)
def test_what_is_said(language: str, text: str, spoken: list[str]) -> None:
    assert said(text, language) == spoken


@pytest.mark.parametrize(("text", "expected"), MANNERS)
def test_controls(text: str, expected: list[tuple[str, float, str]]) -> None:
    assert [(each.text, each.pace, each.tone) for each in pieces(text) if each.text] == expected


@pytest.mark.parametrize(("text", "left_out"), OTHERS)
def test_what_cannot_be_spoken_is_told(text: str, left_out: set[str]) -> None:
    found = pieces(text)
    assert found
    assert {what for piece in found for what in piece.left_out} == left_out


@pytest.mark.parametrize(
    "text", ["<silence/>", "<silence />", "[silence]", " <silence/> ", "<SILENCE/>", "<silence/", "<silence/>\n"]
)
def test_silence(text: str) -> None:
    (piece,) = pieces(text)
    assert piece == Piece("", silence=True)


def test_nothing_is_spoken_after_silence() -> None:
    found = pieces("<silence/> Nobody spoke to me. ```x```")
    assert [piece.text for piece in found if piece.text] == []
    assert found[0].silence
    assert found[-1].left_out == ("silenced",)
    assert said("Goodbye. <silence/> And more.") == ["Goodbye."]


def test_code_is_announced_once_and_kept() -> None:
    text = "Try this:\n\n```python\nprint('a. b')\n\nx = [1]\n```\n\nOr:\n~~~\nls -l\n~~~\nDone."
    found = pieces(text)
    sentence = language("en").code
    assert [piece.text for piece in found if piece.text] == ["Try this:", sentence, "Or:", "Done."]
    assert [piece.code for piece in found if piece.code] == ["print('a. b')\n\nx = [1]", "ls -l"]
    assert said("```\nx = 1", "de") == [language("de").code]
    assert pieces("```\nx = 1")[-1].code == "x = 1"


def test_the_prompt_tells_controls_that_are_obeyed() -> None:
    for tag in re.findall(r"\[[^\]]*\]", CONTROLS):
        (piece,) = pieces(f"{tag} Hello.")
        assert piece.text == "Hello."
        assert not piece.left_out
    assert "<silence/>" in CONTROLS


def test_nothing_comes_after_the_end() -> None:
    speech = Speakable()
    assert speech.finish()
    assert not speech.finish()
    with pytest.raises(RuntimeError, match="finished"):
        speech.push("more")


@pytest.mark.parametrize("name", LANGUAGES)
def test_languages_are_whole(name: str) -> None:
    rules = language(name)
    assert len(rules.months) == 12
    assert rules.code
    assert rules.code == Speakable(name)._forms.say(rules.code)  # the sentence itself can be spoken
    assert language(f"{name}-XX") == rules
    assert not rules.ordinals or len(rules.ordinals) == 31


# --- how early

AT_ONCE = [
    ("Yes.", " "),
    ("I can do that,", " "),
    ("Shall we go there?", " "),
    ("Stop it now!", "\n"),
    ("Let me think;", " "),
    ("It is like this:", " "),
    ("你好。", "你"),
    ("هل أنت بخير؟", " "),
    ("**This is it.**", " "),
    ("He said (as always).", " "),
]


@pytest.mark.parametrize(("clause", "behind"), AT_ONCE)
def test_a_clause_goes_as_soon_as_the_character_behind_its_end_is_there(clause: str, behind: str) -> None:
    speech = Speakable()
    assert not [piece for sign in clause for piece in speech.push(sign)]
    (piece,) = speech.push(behind)
    assert piece.text == clause.replace("*", "")


WORDS = ["kitchen", "garden", "the", "and", "very", "Paris", "über", "naïve", "élan", "well-known", "don't", "sun"]
PLAIN = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from(["", "", "", ",", ".", "?", "!", ";"])), min_size=1, max_size=60
)


@given(PLAIN)
def test_plain_prose_keeps_its_words_and_goes_early(words: list[tuple[str, str]]) -> None:
    text = " ".join(word + mark for word, mark in words)
    speech = Speakable()
    spoken = ""
    for place, sign in enumerate(text):
        spoken = " ".join([spoken, *(piece.text for piece in speech.push(sign))])
        if place and sign == " " and text[place - 1] in ".?!":
            assert len(spoken.split()) == len(text[:place].split())
    spoken = " ".join([spoken, *(piece.text for piece in speech.finish())])
    assert re.findall(r"[\w'-]+", spoken) == re.findall(r"[\w'-]+", text)


# --- properties

MARKS = """
** * _ ~~ ` ``` # - 1. > | --- [ ] ]( ) ![ < > <b> </b> <think> </think> <silence/> [pace: &amp; & \\ \\( $ 3.5 e.g. Dr.
U.S. ... — : 10:30 😊 http://a.b/c?d www.x.org ， 。 你好 ؟ ” “ " 5 km $3.50 3-5 % = { } « » → 1/2 \\frac{ a@b.de No. ^2
""".split()  # noqa: SIM905 - readable
BLANKS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\n- ",
    "\n1. ",
    "\n| ",
    "\n# ",
    "\n```\n",
    " - ",
    "[pace: slow]",
    "[tone: calm]",
    "\u00a0",
]
SIGNS = ["\u200d", "\u0301", "\x00", "\ue000", "\ufe0f", "\r\n"]
PARTS = st.one_of(
    st.sampled_from(MARKS),
    st.sampled_from(BLANKS),
    st.sampled_from(SIGNS),
    st.sampled_from(["word", "Then", ". ", ", ", "a", "7"]),
    st.text(max_size=4),
)
MIXED = st.lists(PARTS, max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(MIXED, st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(["en", "de", "es", "zh"]))
def test_the_same_text_gives_the_same_pieces_however_it_is_split(text: str, sizes: list[int], name: str) -> None:
    whole = pieces(text, name, [len(text) + 1])
    assert pieces(text, name) == whole
    assert pieces(text, name, sizes) == whole


@settings(max_examples=300, deadline=None)
@given(MIXED)
def test_no_markup_is_spoken_and_an_answer_never_ends_silently(text: str) -> None:
    found = pieces(text)
    assert found
    for piece in found:
        assert piece.text or piece.silence or piece.code or piece.left_out
        assert not re.search(r"[*`|\\{}<>\x00-\x1f\ue000-\uf8ff]|~~|\]\(|!\[", piece.text)
        assert piece.text == piece.text.strip()
        assert not piece.text or any(sign.isalnum() for sign in piece.text)
        assert piece.text.count("(") == piece.text.count(")")
        assert piece.text.count('"') % 2 == 0


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab, 你[<`*_-|.\u0301"), min_size=500, max_size=3000))
def test_what_never_ends_is_cut(text: str) -> None:
    speech = Speakable()
    for sign in text:
        for piece in speech.push(sign):
            assert len(piece.text) <= 2 * MOST
        held = len(speech._clauses._text) + len(speech._inline._held) + len(speech._blocks._line)
        assert held < 1500


def test_a_long_sentence_is_cut_between_words() -> None:
    found = said("word " * 200)
    assert len(found) > 3
    assert all(len(piece) <= MOST and set(piece.split()) == {"word"} for piece in found)
    assert sum(len(piece.split()) for piece in found) == 200
    assert max(map(len, said("字" * 500))) <= MOST / 3

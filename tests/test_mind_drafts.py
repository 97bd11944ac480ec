"""Drafts: whatever the recogniser tells and when, there is one answer to a turn, and it is to what was committed."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.cassette import Cassette, exchanges
from policies.models.scripted import Tokens
from streams.clock import MS
from streams.types import (
    Ask,
    Halt,
    OverlapCut,
    Percept,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnEnd,
    Typed,
    Voice,
    Withdraw,
    Word,
    Words,
)
from tests.minds import Held, hold
from tests.scenes import spoken

Scene = list[tuple[float, float, Percept | Voice]]
WORDS = ("how", "do", "two", "the", "rainbows", "rain", "come", "about", "and", "a", "boat")
BLINK = Tokens("Yes, so it is. And more.", first_ms=60, each_ms=15)
SLOW = Tokens("Yes, so it is. And more.", first_ms=900, each_ms=90)


def words(segment: int, text: str, start_ms: float, end_ms: float, *, final: bool, complete: bool) -> Words:
    each = text.split()
    step = (end_ms - start_ms) / max(1, len(each))
    spans = tuple(
        Word(word, round((start_ms + n * step) * MS), round((start_ms + (n + 1) * step) * MS))
        for n, word in enumerate(each)
    )
    return Words(segment, text, spans, final, 1.0, complete)


def quiet(start_ms: float, count: int) -> Scene:
    return [(start_ms + 32 * n, start_ms + 32 * n, Voice(0.05, False)) for n in range(1, count + 1)]


def loud(start_ms: float, end_ms: float) -> Scene:
    count = int((end_ms - start_ms) // 32)
    return [(start_ms + 32 * n, start_ms + 32 * n, Voice(0.95, True, -25.0)) for n in range(1, count + 1)]


@st.composite
def stretches(draw: Any) -> Scene:
    """One to three stretches of speech, each told as a recogniser might: flickering, late, or never finished."""
    scene: Scene = []
    at = 300.0
    for segment in range(1, draw(st.integers(1, 3)) + 1):
        length = draw(st.integers(3, 30)) * 40.0
        end = at + length
        scene += [*loud(at, end), *quiet(end, draw(st.integers(0, 9)))]
        scene.append((at + 80, at, SpeechStarted(segment, round((at + 80) * MS))))
        scene.append((end + 200, end, SpeechEnded(segment, round((end + 200) * MS))))
        for _ in range(draw(st.integers(0, 5))):
            told = draw(st.integers(round(at + 100), round(end + 260)))
            text = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=4)))
            made = words(segment, text, at, end, final=False, complete=draw(st.booleans()))
            scene.append((told, min(told, end), made))
        if draw(st.integers(0, 9)):
            final = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=4)))
            late = end + draw(st.sampled_from([205, 230, 320, 480, 700, 1200]))
            made = words(segment, final, at, end, final=True, complete=draw(st.booleans()))
            scene.append((late, end, made))
        if draw(st.booleans()):
            probability = draw(st.sampled_from([0.02, 0.5, 0.9, 0.99]))
            scene.append((end + 290, end + 190, TurnEnd(segment, probability, 190 * MS, "scene")))
        at = end + draw(st.sampled_from([240, 320, 480, 900, 1700, 3000]))
    if draw(st.integers(0, 4)) == 0:
        moment = draw(st.integers(100, round(at)))
        scene.append((moment, moment, Typed("what else")))
    return scene


def check(held: Held) -> None:
    """Each turn has one first question that stands: the one that was composed at the commit."""
    withdrawn = {each.id for each in held.of(Withdraw)}
    commits: Sequence[TurnCommitted] = [turn for turn in held.of(TurnCommitted) if turn.text]
    for commit in commits:
        asks = [ask for ask in held.asks() if ask.turn == commit.turn and ask.id not in withdrawn]
        assert len(asks) <= 1  # none where the person spoke on before it could be asked
        for ask in asks:
            assert str(ask.request["messages"][-1]["content"]).split("\n")[-1].endswith(commit.text)
    numbers = {commit.turn for commit in commits}
    stands = [ask for ask in held.asks() if ask.turn not in numbers and ask.id not in withdrawn]
    dropped = [ask for ask in stands if ask.purpose != "draft"]
    assert not dropped, "a question in answer to nothing"
    ended = [outcome.id for outcome in held.ends("Ask")]
    assert sorted(ended) == sorted(ask.id for ask in held.asks()), "every question ends, once"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stretches(), st.sampled_from([BLINK, SLOW]), st.sampled_from([0.0, 0.3, 0.8]))
def test_one_answer_to_a_turn_and_to_what_was_committed(scene: Scene, answer: Tokens, bar: float) -> None:
    with_ = hold(scene, lambda ask: answer, f"llm.drafts.bar={bar}", "llm.drafts.per_turn=10", tail_ms=6000)
    check(with_)
    without = hold(scene, lambda ask: answer, "llm.drafts.enabled=false", tail_ms=6000)
    check(without)
    asked = {ask.turn: ask.request for ask in without.asks()}
    withdrawn = {each.id for each in with_.of(Withdraw)}
    first = next((ask for ask in with_.asks() if ask.id not in withdrawn and ask.turn in asked), None)
    if first is not None and first.turn == min(asked):
        assert first.request == asked[first.turn], "the draft was the very question of the commit"


def test_a_stop_word_is_never_asked_about() -> None:
    scene: Scene = [
        *spoken(1, 300, 1500, "tell me a story"),
        *spoken(2, 4000, 4400, "stop", complete=True),
        *loud(4000, 4400),
        *quiet(4400, 8),
    ]
    story = Tokens("One day a fox came by. He drank from the river. " * 6, first_ms=100, each_ms=20)
    held = hold(scene, lambda ask: story, tail_ms=4000)
    (halt,) = [packet for packet in held.packets if isinstance(packet.data, Halt)]
    assert not [p for p in held.packets if isinstance(p.data, Ask | Say) and p.order > halt.order]


def test_a_draft_that_became_an_answer_and_was_interrupted_stands_in_its_place_on_the_cassette() -> None:
    scene: Scene = [
        *spoken(1, 300, 1500, "tell me a story"),
        *loud(300, 1500),
        *quiet(1500, 8),
        *spoken(2, 3500, 5000, "please tell me another one"),
    ]
    story = Tokens("One day a fox came by. He drank from the river. " * 6, first_ms=100, each_ms=60)
    held = hold(scene, lambda ask: story, tail_ms=2000)
    assert [cut.turn for cut in held.of(OverlapCut)] == [1]
    (taken,) = [ask for ask in held.asks() if ask.turn == 1 and ask.id not in {w.id for w in held.of(Withdraw)}]
    assert taken.purpose == "draft"
    place = Cassette(exchanges(held.packets))._by_place[1, 0]
    assert (place.ask.id, place.withdrawn) == (taken.id, False) and place.pieces

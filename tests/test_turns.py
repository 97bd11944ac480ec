"""The turn-taker over any order, delay and loss of its evidence, and the endpointing rules it rests on."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.endpointing import EndpointingConfig, judge, wait_ns
from policies.transcript import Stretch, UserTurn
from policies.turns import TurnConfig
from streams.clock import MS
from streams.types import (
    Hush,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Percept,
    Say,
    SensesEnded,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnEnd,
    TurnOpened,
    Voice,
    Word,
    Words,
)
from tests.scenes import OFFSET_MS, spoken
from tests.test_conversation import converse

CONFIG = TurnConfig()
TEXTS = ["stop", "uh huh", "turn left", "go forward and", "what time is it", "", "set a timer for"]


@st.composite
def scenes(draw: Any) -> list[tuple[float, float, Percept]]:
    """Stretches of speech whose evidence comes late, out of order, or never."""
    scene: list[tuple[float, float, Percept]] = []
    start = 500.0
    for segment in range(1, draw(st.integers(1, 5)) + 1):
        length = draw(st.integers(100, 2500))
        text = draw(st.sampled_from(TEXTS))
        stretch = spoken(
            segment,
            start,
            start + length,
            text,
            complete=draw(st.booleans()),
            guess=draw(st.sampled_from(["", "turn left"])) if not text else "",
            p_end=draw(st.one_of(st.none(), st.floats(0.01, 0.99))),
        )
        for at, t, percept in stretch:
            late = 0
            if isinstance(percept, Words | TurnEnd):
                if draw(st.integers(0, 9)) == 0:
                    continue
                late = draw(st.sampled_from([0, 0, 0, 100, 400, 900]))
            scene.append((at + late, t, percept))
        start += length + draw(st.sampled_from([OFFSET_MS + 20, 400, 700, 1200, 2500, 5000]))
    return scene


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_every_turn_ends_exactly_once_whatever_comes_late_or_never(scene: list[tuple[float, float, Percept]]) -> None:
    log = converse(scene)
    opened = [decision.turn for decision in log.of(TurnOpened)]
    ended = Counter(decision.turn for decision in log.of(TurnCommitted, TurnDropped))
    assert len(set(opened)) == len(opened)
    assert ended == Counter(opened), "each turn is committed or dropped, once"
    committed = [decision.turn for decision in log.of(TurnCommitted)]
    answered = Counter(say.turn for say in log.of(Say))
    assert set(answered) <= set(committed)
    assert max(answered.values(), default=1) == 1, "nothing is answered twice"


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_no_wait_is_longer_than_its_bound(scene: list[tuple[float, float, Percept]]) -> None:
    log = converse(scene)
    known = {percept.data.segment: packet_at for percept, packet_at in _ends(log)}
    last = max(known.values(), default=0)
    bound = (CONFIG.max_wait_ms + CONFIG.final_grace_ms + CONFIG.overlap_max_ms) * MS
    for packet in log.packets:
        if isinstance(packet.data, TurnCommitted) and packet.data.reason != "end_of_stream":
            later = min((at for at in known.values() if at >= packet.data.end_ns), default=last)
            assert packet.t <= later + bound


def _ends(log: Any) -> list[tuple[Any, int]]:
    return [(packet, packet.at) for packet in log.packets if isinstance(packet.data, SpeechEnded)]


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_every_pause_is_resolved_and_nothing_resumes_after_its_cut(scene: list[tuple[float, float, Percept]]) -> None:
    log = converse(scene)
    paused: int | None = None
    fence = 0
    for decision in log.of(OverlapPaused, OverlapResumed, OverlapCut, SensesEnded):
        match decision:
            case OverlapPaused(turn=turn):
                assert paused is None, "an overlap begins only after the last one is decided"
                assert turn > fence
                paused = turn
            case OverlapResumed(turn=turn):
                assert paused == turn
                paused = None
            case OverlapCut(turn=turn):
                assert turn > fence
                fence, paused = turn, None
            case SensesEnded():
                pass
    assert [hush.turn for hush in log.of(Hush)] == [cut.turn for cut in log.of(OverlapCut)]


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_the_same_packets_give_the_same_decisions(scene: list[tuple[float, float, Percept]]) -> None:
    first, second = converse(scene), converse(scene)
    assert [(p.t, p.at, p.data) for p in first.packets] == [(p.t, p.at, p.data) for p in second.packets]


@st.composite
def heard(draw: Any) -> list[tuple[float, float, Percept | Voice]]:
    """The same with the hops of the voice, some louder and some softer, so that the agent may go on in doubt."""
    scene: list[tuple[float, float, Percept | Voice]] = list(draw(scenes()))
    starts = [t for _, t, percept in scene if isinstance(percept, SpeechStarted)]
    ends = [t for _, t, percept in scene if isinstance(percept, SpeechEnded)]
    for start, end in zip(starts, ends, strict=True):
        level = draw(st.sampled_from([-40.0, -30.0, -27.0, -26.0, -22.0]))
        fades = start + draw(st.integers(100, 2500))
        hops = [start + 32 * (n + 1) for n in range(round((end - start) / 32))]
        scene += [(t, t, Voice(0.95, True, level if t < fades else -70.0)) for t in hops]
    return scene


@settings(max_examples=150, deadline=None)
@given(heard())
def test_what_is_in_doubt_ends_too(scene: list[tuple[float, float, Percept | Voice]]) -> None:
    log = converse(scene)
    opened = [decision.turn for decision in log.of(TurnOpened)]
    assert Counter(decision.turn for decision in log.of(TurnCommitted, TurnDropped)) == Counter(opened)
    assert len(set(opened)) == len(opened)
    pause = None
    for packet in log.packets:
        match packet.data:
            case OverlapPaused():
                assert pause is None
                pause = packet.t
            case OverlapResumed() | OverlapCut():
                assert pause is not None or isinstance(packet.data, OverlapCut), "nothing resumes that was not paused"
                pause = None
    assert len(log.of(Hush)) == len(log.of(OverlapCut))


def test_a_final_after_the_next_turn_began_goes_to_its_own_turn() -> None:
    one = [
        (at + 1500 if isinstance(p, Words) and p.final else at, t, p)
        for at, t, p in spoken(1, 1000, 2000, "what time is it")
    ]
    two = spoken(2, 2900, 3800, "turn left")
    log = converse([*one, *two])
    assert [(commit.turn, commit.text) for commit in log.of(TurnCommitted)] == [
        (1, "what time is it"),
        (2, "turn left"),
    ]


def test_words_heard_again_with_the_next_stretch_take_the_place_of_the_first_hearing() -> None:
    early = Words(1, "go forward", (Word("go", 0, 10), Word("forward", 10, 20)), True, 0.9, True)
    spoken_words = ("go", "forward", "two", "meters")
    timed = tuple(Word(word, 10 * i, 10 * i + 10) for i, word in enumerate(spoken_words))
    joined = Words(2, " ".join(spoken_words), timed, True, 0.95, True)
    turn = UserTurn(1, [Stretch(1, 0, 20, words=early), Stretch(2, 25, 40, words=joined)])
    heard = turn.transcript()
    assert (heard.text, heard.complete, heard.confidence) == ("go forward two meters", True, 0.95)


def test_something_unintelligible_after_a_command_lowers_its_confidence() -> None:
    early = Words(1, "turn left", (Word("turn", 0, 10), Word("left", 10, 20)), True, 0.95, True)
    noise = Words(2, "", (), True, 0.2, False, "halt")
    heard = UserTurn(1, [Stretch(1, 0, 20, words=early), Stretch(2, 25, 40, words=noise)]).transcript()
    assert heard.text == "turn left"
    assert heard.confidence == 0.2
    assert not heard.complete


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_wait_falls_with_confidence_and_is_bounded(p: float, q: float) -> None:
    config = EndpointingConfig()
    low, high = sorted((p, q))
    assert config.min_wait_ms * MS <= wait_ns(config, high) <= wait_ns(config, low) <= config.max_wait_ms * MS


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ({"text": "i want to go to"}, {"text": "i want to go home"}),
        ({"text": "set a timer", "complete": False}, {"text": "set a timer", "complete": True}),
        ({"text": "go forward", "model": 0.1}, {"text": "go forward", "model": 0.9}),
        (
            {"text": "yes", "complete": True, "model": 0.1},
            {"text": "yes", "complete": True, "model": 0.1, "asked": True},
        ),
    ],
)
def test_evidence_of_a_hold_waits_longer(longer: dict[str, Any], shorter: dict[str, Any]) -> None:
    neutral = {"complete": False, "final": True, "model": 0.5, "asked": False}
    config = EndpointingConfig()
    assert judge(config, **neutral | longer).wait_ns > judge(config, **neutral | shorter).wait_ns


def test_turns_are_taken_in_their_order_however_late_the_words_of_the_first_are() -> None:
    late = [item for item in spoken(1, 500, 1100, "go forward and", complete=False) if not getattr(item[2], "final", 0)]
    log = converse([*late, *spoken(2, 2600, 2900, "thank you")])
    taken = [turn.turn for turn in log.of(TurnCommitted)]
    assert taken == sorted(taken) and len(taken) == len(log.of(TurnOpened))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e18, -1.0])
@pytest.mark.parametrize("name", ["curve", "model_weight", "model_most"])
def test_numbers_that_are_none_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        TurnConfig(**{name: value})

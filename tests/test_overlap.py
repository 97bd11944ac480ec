"""What is said over the agent, typed to it, or is its own voice: whose turn is it?"""

import msgspec
import pytest

from policies.turns import TurnConfig
from streams.clock import MS
from streams.types import (
    Echo,
    Halt,
    Hush,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Say,
    StopPressed,
    TurnCommitted,
    TurnDropped,
    TurnOpened,
    Typed,
    Voice,
    Words,
)
from tests.scenes import spoken, voiced
from tests.test_conversation import converse

ASK = [*voiced(1000, 2000, -26.0), *spoken(1, 1000, 2000, "what time is it")]
ASIDE = "i will be with you in a minute"


def over(start: float, end: float, level_db: float, text: str = "", guess: str = "turn left", **more: object):  # type: ignore[no-untyped-def]
    """Speech over the agent's answer to `ASK`, which sounds from 2.3 to 3.3 s."""
    return [*voiced(start, end, level_db), *spoken(2, start, end, text, guess=guess, **more)]  # type: ignore[arg-type]


def test_speech_as_loud_as_usual_interrupts_though_it_is_not_understood() -> None:
    log = converse([*ASK, *over(2500, 4200, -27.0)])
    (cut,) = log.of(OverlapCut)
    assert cut.reason == "interruption"
    assert cut.evidence["level_db"] == -27.0 and cut.evidence["usual_db"] == -26.0
    assert TurnConfig().murmur_ms <= cut.evidence["spoken_ms"] < 1000


def test_soft_speech_that_is_not_understood_is_for_somebody_else() -> None:
    log = converse([*ASK, *over(2500, 4200, -41.0)])
    paused = next(packet for packet in log.packets if isinstance(packet.data, OverlapPaused))
    resumed = next(packet for packet in log.packets if isinstance(packet.data, OverlapResumed))
    assert resumed.data.reason == "aside" and resumed.t - paused.t < TurnConfig().overlap_decide_ms * MS
    assert [drop.reason for drop in log.of(TurnDropped)] == ["aside"]
    assert not log.of(OverlapCut)
    assert resumed.data.evidence["level_db"] == -41.0


def test_with_no_bar_soft_speech_interrupts_too() -> None:
    log = converse([*ASK, *over(2500, 4200, -41.0)], TurnConfig(aside_db=0.0))
    assert [cut.reason for cut in log.of(OverlapCut)] == ["interruption"]


def test_a_soft_sentence_that_is_understood_counts() -> None:
    log = converse([*ASK, *over(2350, 2750, -41.0, "go forward one metre", guess="")])
    assert [resumed.reason for resumed in log.of(OverlapResumed)] == ["aside"], "at first"
    assert [cut.reason for cut in log.of(OverlapCut)] == ["interruption"]
    assert [turn.text for turn in log.of(TurnCommitted)] == ["what time is it", "go forward one metre"]


def test_a_raised_voice_interrupts_sooner() -> None:
    log = converse([*ASK, *over(2500, 4200, -22.0)])
    (cut,) = log.of(OverlapCut)
    assert TurnConfig().raised_ms <= cut.evidence["spoken_ms"] < TurnConfig().murmur_ms


@pytest.mark.parametrize(("level_db", "yields"), [(-22.0, True), (-26.0, False), (-30.0, False)])
def test_something_short_that_is_not_understood_counts_if_the_voice_is_raised(level_db: float, yields: bool) -> None:
    log = converse([*ASK, *over(2350, 2950, level_db)])
    assert bool(log.of(OverlapCut)) is yields


def test_a_word_in_a_murmur_of_which_nobody_can_be_sure_is_a_murmur() -> None:
    soft = [*ASK, *over(2350, 2650, -29.0, "hello", guess="", confidence=0.82)]
    assert [resumed.reason for resumed in converse(soft).of(OverlapResumed)] == ["backchannel"]
    aloud = [*ASK, *over(2350, 2650, -26.0, "hello", guess="", confidence=0.82)]
    assert [cut.reason for cut in converse(aloud).of(OverlapCut)] == ["interruption"]


def test_the_noise_of_the_room_is_no_part_of_how_loud_somebody_is() -> None:
    """A fan as loud as the television: what is left without it is soft."""
    fan = [(t, t, Voice(0.02, False, -30.0)) for t in range(0, 990, 32)]
    ask = [*fan, *voiced(1000, 2000, -22.0), *spoken(1, 1000, 2000, "what time is it")]
    log = converse([*ask, *over(2500, 4200, -28.0)])
    (resumed,) = log.of(OverlapResumed)
    assert resumed.reason == "aside" and resumed.evidence["level_db"] < -31


def test_a_television_that_is_known_stops_the_agent_once() -> None:
    scene = [*ASK, *voiced(2350, 2700, -41.0), *spoken(2, 2350, 2700, "", guess="turn left")]
    scene += [*voiced(2916, 3200, -41.0), *spoken(3, 2950, 3200, "", guess="turn left")]
    log = converse(scene)
    assert [resumed.reason for resumed in log.of(OverlapResumed)] == ["aside"]


def test_a_television_that_begins_after_a_question_does_not_keep_it_from_being_answered() -> None:
    ask = [*voiced(1000, 2000, -26.0), *spoken(1, 1000, 2000, "what time is it", complete=False, p_end=None)]
    ask += [*voiced(2220, 9000, -41.0), *spoken(2, 2220, 9000, "", guess="turn left")]
    log = converse(ask)
    (turn,) = log.of(TurnCommitted)
    assert turn.text == "what time is it"
    committed = next(packet for packet in log.packets if isinstance(packet.data, TurnCommitted))
    assert committed.t < (2000 + TurnConfig().max_wait_ms) * MS
    assert not log.of(OverlapPaused)


def test_a_television_that_has_been_on_does_not_stop_the_agent_when_it_begins() -> None:
    later = [*voiced(6000, 9500, -41.0), *spoken(2, 6000, 9500, "", guess="turn left")]
    log = converse([*ASK, *later, (7000, 7000, Typed("what time is it"))])
    assert not log.of(OverlapPaused) or log.of(OverlapResumed)
    assert len(log.of(TurnCommitted)) == 2


def test_who_speaks_aside_and_then_up_is_heard_after_all() -> None:
    """One stretch of speech: a television, over which somebody begins to talk to the agent."""
    scene = [*ASK, *voiced(2500, 3300, -41.0), *voiced(3300, 4600, -26.0)]
    log = converse([*scene, *spoken(2, 2500, 4600, "", guess="turn left")])
    assert [resumed.reason for resumed in log.of(OverlapResumed)] == ["aside"]
    assert len(log.of(TurnOpened)) == 3, "the question, what was said aside, and what was said aloud"
    assert log.of(TurnCommitted)[-1].turn == 3


def test_speech_aside_while_the_agent_is_silent_gets_no_answer() -> None:
    later = [*voiced(6000, 7500, -40.0), *spoken(2, 6000, 7500, "", guess="turn left")]
    log = converse([*ASK, *later])
    assert [drop.reason for drop in log.of(TurnDropped)] == ["aside"]
    assert len(log.of(TurnCommitted)) == 1


def test_its_own_voice_stops_it_for_a_moment_only_and_takes_no_turn() -> None:
    echo = [(t, t - 20, Echo(0.9, 20.0)) for t in range(2400, 3300, 100)]
    log = converse([*ASK, *echo, *over(2480, 3200, -30.0, "what time is it", guess="")])
    paused = next(packet for packet in log.packets if isinstance(packet.data, OverlapPaused))
    resumed = next(packet for packet in log.packets if isinstance(packet.data, OverlapResumed))
    assert resumed.data.reason == "echo" and resumed.t - paused.t < 250 * MS
    assert resumed.data.evidence["echo"] == 0.9
    assert [drop.reason for drop in log.of(TurnDropped)] == ["echo"]
    assert len(log.of(TurnCommitted)) == 1


def test_its_own_last_words_are_no_turn_either() -> None:
    """Echo that is heard as speech when the agent has just ended."""
    echo = [(t, t - 20, Echo(0.8)) for t in range(3300, 3700, 100)]
    tail = [*voiced(3330, 3600, -30.0), *spoken(2, 3330, 3600, "what time is it")]
    log = converse([*ASK, *echo, *tail])
    assert [drop.reason for drop in log.of(TurnDropped)] == ["echo"]
    assert len(log.of(TurnCommitted)) == 1


def test_a_person_in_the_echo_is_heard_at_once() -> None:
    """Until the person begins, all that comes back is the agent's own voice; the agent falls silent all the same."""
    echo = [(t, t - 20, Echo(0.9)) for t in range(2400, 2600, 100)]
    talk = [(t, t - 20, Echo(0.1 if t < 3000 else 0.9)) for t in range(2600, 3900, 100)]
    log = converse([*ASK, *echo, *talk, *over(2500, 3800, -27.0)])
    assert [cut.reason for cut in log.of(OverlapCut)] == ["interruption"]
    paused = next(packet for packet in log.packets if isinstance(packet.data, OverlapPaused))
    assert paused.t == 2580 * MS, "as soon as it is known to be speech"


def test_what_is_typed_is_a_turn() -> None:
    log = converse([(1000, 1000, Typed("Turn left"))])
    (turn,) = log.of(TurnCommitted)
    assert (turn.text, turn.reason, turn.start_ns) == ("Turn left", "typed", 1000 * MS)
    assert [say.turn for say in log.of(Say)] == [1]


def test_what_is_typed_over_the_agent_cuts_it() -> None:
    log = converse([*ASK, (2600, 2600, Typed("turn left")), (2700, 2700, Typed("turn right"))])
    assert [(cut.reason, cut.by_turn) for cut in log.of(OverlapCut)] == [("typed", 2), ("typed", 3)]
    assert [turn.text for turn in log.of(TurnCommitted)] == ["what time is it", "turn left", "turn right"]


def test_what_is_typed_waits_for_who_is_speaking() -> None:
    log = converse([*spoken(1, 1000, 2000, "what time is it"), (1500, 1500, Typed("turn left"))])
    assert [turn.text for turn in log.of(TurnCommitted)] == ["what time is it", "turn left"]
    assert [hush.turn for hush in log.of(Hush)] == [1], "and cuts the answer to it"


def test_what_is_typed_does_not_wait_for_a_television() -> None:
    television = [*voiced(500, 9000, -30.0), *spoken(1, 500, 9000, "", guess="turn left")]
    log = converse([*television, (1500, 1500, Typed("turn left"))])
    typed = next(packet for packet in log.packets if isinstance(packet.data, TurnCommitted))
    assert typed.data.reason == "typed" and typed.t == (1500 + TurnConfig().typed_wait_ms) * MS
    assert [drop.reason for drop in log.of(TurnDropped)] == ["typed"]


@pytest.mark.parametrize("stop", [StopPressed("console"), Typed("stop"), Typed("Stop, please!")])
def test_stop_may_be_pressed_and_typed(stop: StopPressed | Typed) -> None:
    log = converse([*ASK, (2600, 2600, stop)])
    assert len(log.of(Halt)) == 1
    (cut,) = log.of(OverlapCut)
    assert cut.reason == "stop"
    halt = next(packet for packet in log.packets if isinstance(packet.data, Halt))
    assert halt.t == 2600 * MS
    assert len(log.of(TurnCommitted)) == 1, "it gets no other answer"


def test_stop_is_pressed_while_nothing_goes_on() -> None:
    log = converse([(1000, 1000, StopPressed("console"))])
    assert len(log.of(Halt)) == 1 and not log.of(OverlapCut)


def test_a_typed_sentence_with_stop_in_it_is_a_sentence() -> None:
    log = converse([(1000, 1000, Typed("where is the bus stop"))])
    assert not log.of(Halt) and len(log.of(TurnCommitted)) == 1


def faded(start: float, levels: list[float], text: str = "", **more: object):  # type: ignore[no-untyped-def]
    """Speech over the agent whose hops have these levels."""
    hops = [(t, t, Voice(0.95, True, level)) for n, level in enumerate(levels) if (t := start + 32 * (n + 1))]
    return [*hops, *spoken(2, start, start + 32 * len(levels), text, guess="turn left", **more)]  # type: ignore[arg-type]


def first(log, kind: type):  # type: ignore[no-untyped-def]
    """When (ms) the first decision of this kind was taken, after the agent's pause."""
    paused = next(packet for packet in log.packets if isinstance(packet.data, OverlapPaused))
    return (next(packet for packet in log.packets if isinstance(packet.data, kind)).t - paused.t) / MS


DOUBT = TurnConfig(overlap_decide_ms=448)  # it goes on while in doubt: not the default


@pytest.mark.parametrize("level_db", [-41.0, -29.0, -26.0, -22.0])
def test_whoever_speaks_it_is_decided_in_less_than_half_a_second(level_db: float) -> None:
    log = converse([*ASK, *over(2500, 4200, level_db)], config=DOUBT)
    assert min(first(log, kind) for kind in (OverlapResumed, OverlapCut) if log.of(kind)) <= 450


def test_what_is_in_doubt_is_gone_on_from_and_may_be_an_interruption_after_all() -> None:
    log = converse([*ASK, *over(2500, 4200, -26.5)], config=DOUBT)
    assert first(log, OverlapResumed) <= 450
    (cut,) = log.of(OverlapCut)
    assert cut.evidence["spoken_ms"] >= TurnConfig().murmur_ms, "nobody murmurs for so long"
    dropped, committed = log.of(TurnDropped), log.of(TurnCommitted)
    assert [drop.turn for drop in dropped] == [2] and [turn.turn for turn in committed] == [1, 3]
    assert cut.by_turn == 3 and committed[-1].start_ns == 2500 * MS, "all of it is heard"


def test_a_murmur_that_has_faded_does_not_wait_for_the_detector() -> None:
    log = converse([*ASK, *faded(2500, [-28.0] * 5 + [-60.0] * 8)])
    assert first(log, OverlapResumed) < 350
    assert not log.of(OverlapCut)


def test_words_that_come_when_the_agent_has_gone_on_still_count() -> None:
    log = converse([*ASK, *faded(2500, [-27.0] * 12, "turn left", partials=False)], config=DOUBT)
    assert [resumed.by_turn for resumed in log.of(OverlapResumed)] == [2]
    assert [cut.by_turn for cut in log.of(OverlapCut)] == [3]
    assert log.of(TurnCommitted)[-1].text == "turn left"


def test_more_that_is_said_before_the_last_words_of_what_is_in_doubt_belongs_to_it() -> None:
    begun = faded(2500, [-27.0] * 8, "turn", partials=False, final_after_ms=400)
    log = converse([*ASK, *begun, *voiced(2990, 3700, -26.0), *spoken(3, 2990, 3700, "left")], config=DOUBT)
    assert log.of(TurnCommitted)[-1].text == "turn left"
    assert len(log.of(TurnCommitted)) == 2


def test_a_stop_word_in_what_is_in_doubt_stops_the_agent_and_gets_no_other_answer() -> None:
    late = [*faded(2500, [-27.0] * 12, "", partials=False)]
    late = [each for each in late if getattr(each[2], "final", False) is False]
    stop = Words(2, "stop", (), final=False)
    log = converse(
        [*ASK, *late, (3050, 3050, stop), (3120, 2884, msgspec.structs.replace(stop, final=True))], config=DOUBT
    )
    assert [cut.reason for cut in log.of(OverlapCut)] == ["stop"]
    assert len(log.of(TurnCommitted)) == 1
    assert [drop.reason for drop in log.of(TurnDropped)] == ["no_words", "stop"]

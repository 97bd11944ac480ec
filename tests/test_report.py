"""Figures of a session: by hand on small packets, and of a whole conversation."""

import io
import random
from typing import Any

import msgspec
import pytest
from rich.console import Console

from agent.figures import Share, Spread
from agent.report import Report, summarise
from agent.report_table import render
from streams.clock import MS
from streams.packet import Packet
from streams.topics import ACTION, AUDIO, FEEDBACK, PERCEPT, TURN
from streams.types import (
    Call,
    Fault,
    Halt,
    Hush,
    Outcome,
    OverlapCut,
    OverlapPaused,
    PlayStarted,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnEnd,
    TurnOpened,
    Word,
    Words,
)
from tests.talk import talk


def packets(*events: tuple[Any, float, float, Any]) -> list[Packet[Any]]:
    """`(topic, t ms, at ms, payload)` in order."""
    return [
        Packet(topic, round(t * MS), round(at * MS), 0, order, data)
        for order, (topic, t, at, data) in enumerate(sorted(events, key=lambda event: event[2]))
    ]


def committed(turn: int, end_ms: float, reason: str = "silence") -> TurnCommitted:
    return TurnCommitted(turn, "hello", (), 1.0, 0, round(end_ms * MS), reason)


ONE_TURN = (
    (PERCEPT, 1000, 1080, SpeechStarted(1, 0)),
    (TURN, 1080, 1080, TurnOpened(1, 1000 * MS)),
    (PERCEPT, 1500, 1500, Words(1, "hallo", (), False)),
    (PERCEPT, 2000, 2200, SpeechEnded(1, 0)),
    (PERCEPT, 2000, 2250, Words(1, "hello you", (), True)),
    (PERCEPT, 2190, 2290, TurnEnd(1, 0.9, 190 * MS, "m")),
    (TURN, 2300, 2301, committed(1, 2000)),
    (ACTION, 2301, 2310, Say("hi", 1, 1)),
    (FEEDBACK, 2340, 2360, PlayStarted(1, 1)),
    (FEEDBACK, 2900, 2900, Outcome(1, 1, "Say", "", "done", "", "hi")),
)


def test_stages_are_counted_from_the_end_of_speech() -> None:
    report = summarise(packets(*ONE_TURN), cpu_s=0.29, wall_s=0.029)
    (turn,) = report.turns
    stages = msgspec.structs.asdict(turn.stages)
    assert stages == {"speech_ended": 200, "words": 250, "turn_end": 290, "commit": 301, "say": 310, "sound": 340}
    assert (turn.fto_ms, turn.premature, turn.answer) == (340, False, "heard")
    assert report.fto_ms == Spread(1, 340, 340, 340, 340)
    assert (report.opened, report.answered, report.no_response) == (1, Share(1, 1), Share(0, 1))
    assert (report.churn.partials, report.churn.taken_back, report.churn.final_words) == (1, 1, 2)
    assert (report.duration_s, report.cpu_s_per_s, report.rtf) == (2.9, pytest.approx(0.1), pytest.approx(0.01))


def test_an_answer_that_begins_too_early_is_negative_and_premature() -> None:
    early = [*ONE_TURN[:8], (FEEDBACK, 1700, 2360, PlayStarted(1, 1))]
    (turn,) = summarise(packets(*early)).turns
    assert turn.fto_ms == -300
    assert turn.premature


def test_an_answer_over_the_person_going_on_is_premature_unless_that_was_noise() -> None:
    goes_on = [*ONE_TURN, (PERCEPT, 2330, 2410, SpeechStarted(2, 0)), (PERCEPT, 2900, 3100, SpeechEnded(2, 0))]
    assert summarise(packets(*goes_on)).premature == Share(1, 1)
    noise = [*goes_on, (PERCEPT, 2900, 3150, Words(2, "", (), True))]
    assert summarise(packets(*noise)).premature == Share(0, 1)


def test_silence_action_and_own_wish_are_told_apart() -> None:
    report = summarise(
        packets(
            (TURN, 100, 100, committed(1, 50)),
            (ACTION, 110, 110, Call("x", {}, turn=1, id=1)),
            (FEEDBACK, 120, 120, Outcome(1, 1, "Call", "x", "done")),
            (TURN, 200, 200, committed(2, 150)),
            (ACTION, 210, 210, Call("y", {}, turn=2, id=2)),
            (FEEDBACK, 220, 220, Outcome(2, 2, "Call", "y", "refused", "no")),
            (TURN, 300, 300, committed(3, 300, "unasked")),
            (FEEDBACK, 350, 350, PlayStarted(3, 3)),
        )
    )
    assert [turn.answer for turn in report.turns] == ["acted", "none"]
    assert (report.unasked, report.acted, report.no_response) == (1, Share(1, 2), Share(1, 2))
    assert report.outcomes == {"done": 1, "refused": 1}
    assert report.fto_ms is None


def test_a_barge_in_and_a_stop_word_are_timed_from_the_sound() -> None:
    stop = Words(2, "oh stop", (Word("oh", 0, 0), Word("stop", 5000 * MS, 5300 * MS)), False)
    report = summarise(
        packets(
            (TURN, 2300, 2300, committed(1, 2000)),
            (PERCEPT, 4900, 4980, SpeechStarted(2, 0)),
            (TURN, 4980, 4980, OverlapPaused(1, 2)),
            (PERCEPT, 5400, 5410, stop),
            (ACTION, 5410, 5411, Halt("stop")),
            (TURN, 5410, 5412, OverlapCut(1, 2, "stop")),
            (ACTION, 5410, 5413, Hush(1, "stop")),
        )
    )
    (cut,) = report.barge_ins
    assert (cut.onset_s, cut.pause_ms, cut.hush_ms, cut.resume_ms) == (4.9, 80, 513, None)
    assert (cut.ended, cut.reason) == ("cut", "stop")
    (halt,) = report.stops
    assert (halt.word_end_s, halt.halt_ms, halt.hush_ms) == (5.3, 111, 113)


def test_an_agent_that_begins_while_somebody_speaks_is_not_blamed_for_the_time_before() -> None:
    report = summarise(
        packets(
            (PERCEPT, 1000, 1080, SpeechStarted(2, 0)),
            (TURN, 3000, 3000, committed(1, 900)),
            (TURN, 3001, 3001, OverlapPaused(1, 2)),
        )
    )
    assert report.barge_ins[0].pause_ms == 1
    assert report.barge_ins[0].ended == ""


def test_a_stop_word_without_times_has_no_figure() -> None:
    (halt,) = summarise(packets((PERCEPT, 1, 1, Words(1, "stop", (), False)), (ACTION, 2, 2, Halt("stop")))).stops
    assert halt == type(halt)("stop", None, None, None)


def test_nothing_measured_is_a_dash_and_not_a_nought() -> None:
    report = summarise([])
    assert report.fto_ms is report.cpu_s_per_s is report.rtf is report.frames_dropped is None
    rows = dict(line.split("  ", 1) for line in printed(report).splitlines() if "  " in line.strip())
    for name in ("floor transfer", "onset to pause", "pictures dropped", "CPU", "real-time factor"):
        assert rows[name].strip() == "-"


class Queue:
    def __init__(self, reader: str, high: int, dropped: dict[str, int]) -> None:
        self.reader, self.high, self.dropped = reader, high, dropped


def test_losses_and_faults_are_listed_once() -> None:
    known, late = Fault("voice", "VoiceCrashed", "it died"), Fault("recorder", "DiskFull", "no space")
    report = summarise(
        packets((FEEDBACK, 1, 1, known)),
        lanes=[Queue("eyes", 4, {"image": 3}), Queue("ears", 9, {})],
        faults=[known, late],
    )
    assert report.frames_dropped == 3
    assert report.faults == (known, late)
    text = printed(report)
    assert "3 image" in text
    assert "recorder: DiskFull: no space" in text


def printed(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render(report))
    return out.getvalue()


def test_a_whole_conversation() -> None:
    session, log = talk()
    report = summarise(log.packets, lanes=session.lanes(), faults=session.faults)
    assert (report.opened, len(report.turns), report.dropped) == (7, 4, {"backchannel": 1, "no_words": 1, "stop": 1})
    assert report.answered == Share(4, 4)
    assert report.premature == Share(0, 4)
    assert [cut.ended for cut in report.barge_ins] == ["resumed", "cut", "cut"]
    assert report.pause_ms == Spread(3, 80, 80, 80, 80)
    assert [(stop.word, stop.halt_ms, stop.hush_ms) for stop in report.stops] == [("stop", 100, 100)]
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    text = printed(report)
    assert all(len(line) <= 80 for line in text.splitlines())
    stages = report.turns[0].stages
    assert (stages.speech_ended, stages.words) == (200, 220)
    shown = ["-" if value is None else str(round(value)) for value in msgspec.structs.astuple(stages)]
    row = next(line for line in text.splitlines() if "what time is it" in line)
    assert row.split()[:7] == ["1", *shown]


def test_shares_are_rates_only_where_there_are_enough() -> None:
    assert Share.make(3, 9) == Share(3, 9)
    share = Share.make(6, 20)
    assert share.rate == 0.3
    dice = random.Random(1)
    draws = sorted(sum(dice.random() < 0.3 for _ in range(20)) / 20 for _ in range(20_000))
    assert (share.low, share.high) == (draws[500], draws[19_500])
    assert (Share.make(0, 10).high, Share.make(10, 10).low) == (0.0, 1.0)
    wide = Share.make(5000, 10_000)
    assert wide.low == pytest.approx(0.49, abs=2e-3)


def test_percentiles_are_values_that_were_measured() -> None:
    assert Spread.of([None, 30.0, None, 10.0]) == Spread(2, 10, 20, 30, 30)
    assert Spread.of([float(value) for value in range(1, 101)]) == Spread(100, 1, 50.5, 95, 100)
    assert Spread.of([None]) is None


def test_media_count_for_the_duration_only() -> None:
    assert summarise([Packet(AUDIO, 0, 3 * 10**9, 0, 0, None)]).duration_s == 3
    assert summarise([], session_s=5.0).duration_s == 5

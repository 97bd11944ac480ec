"""Figures of one session: a pure function of its packets. The same packets give the same report, live or replayed.

Definitions
- End of speech: `TurnCommitted.end_ns`, the last voiced hop of the person's turn. All stages are counted from it.
- Floor-transfer offset: `PlayStarted.t` of the answer's first sound minus the end of speech. Signed, never clamped.
- Premature start: the answer began before the end of speech, or within a stretch of the person's speech.
- Answered: some of the answer was heard. Acted: none was, but a tool or a motion was done. No response: neither.
- Overlap onset: when the person began to speak over the agent, or the agent's turn began, whichever came later.
- Stop: from the end of the stop word in the audio (by the recogniser's word times) until `Halt` and `Hush`.
- Partial churn: words of a partial that the next one of the same stretch took back, per word of the finals.

What was not measured is None ("-" when rendered by `agent/report_table.py`), never 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from agent.conductor import ENDING
from agent.figures import FEW, Share, Spread
from agent.model_figures import ModelFigures, model_figures
from agent.timings import BargeIn, Stages, StopFigures, TurnFigures, barge_ins, stops, turn_figures
from policies.llm.settings import PriceConfig
from streams.clock import SECOND
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import Command, Fault, Gauge, Outcome, TurnCommitted, TurnDropped, TurnOpened, Words

_USED = {PERCEPT, TURN, ACTION, FEEDBACK}


class LaneLike(Protocol):
    """What is asked of a `streams.bus.Lane`."""

    reader: str
    dropped: dict[str, int]
    high: int


class Churn(Struct, frozen=True):
    """How unsteady the recogniser's partials are: words taken back, words of the finals, and their ratio."""

    partials: int
    taken_back: int
    final_words: int
    ratio: float | None


class LaneFigures(Struct, frozen=True):
    """One reader's queue. high: the longest it has been;  dropped: packets lost, by topic"""

    reader: str
    high: int
    dropped: dict[str, int]


class Report(Struct, frozen=True):
    """Figures of one session; `msgspec.json.encode` makes JSON of it.

    opened: turns opened;  dropped: turns dropped, by reason;  unasked: the agent took the floor by itself
    outcomes: of tools and motions, by status;  cpu_s_per_s: CPU seconds per second of session
    model: the language model's, None if none was asked
    gauges: the newest figure of each device, by its place and name
    rtf: real seconds per second of session (below 1: faster than real time)
    """

    duration_s: float
    opened: int
    dropped: dict[str, int]
    unasked: int
    turns: tuple[TurnFigures, ...]
    answered: Share
    acted: Share
    no_response: Share
    premature: Share
    fto_ms: Spread | None
    stages: dict[str, Spread | None]
    barge_ins: tuple[BargeIn, ...]
    pause_ms: Spread | None
    hush_ms: Spread | None
    stops: tuple[StopFigures, ...]
    churn: Churn
    commands: int
    outcomes: dict[str, int]
    model: ModelFigures | None
    lanes: tuple[LaneFigures, ...]
    frames_dropped: int | None
    faults: tuple[Fault, ...]
    gauges: dict[str, float]
    cpu_s_per_s: float | None
    rtf: float | None


def summarise(
    packets: Iterable[Packet[Any]],
    *,
    lanes: Iterable[LaneLike] | None = None,
    faults: Sequence[Fault] = (),
    cpu_s: float | None = None,
    wall_s: float | None = None,
    session_s: float | None = None,
    price: PriceConfig | None = None,
) -> Report:
    """The report of a session's packets (PERCEPT, TURN, ACTION and FEEDBACK are used; others only for the duration).

    lanes: of the bus, retired ones too (`[*bus.lanes, *bus.retired]`);  faults: that may not be among the packets
    cpu_s, wall_s: process time and real time that the session took, as measured by the caller
    session_s: its length in session time (default: up to the last of `packets`);  price: of the model's tokens
    """
    kept: list[Packet[Any]] = []
    last = 0
    for packet in packets:
        last = max(last, packet.at)
        if packet.topic in _USED:
            kept.append(packet)
    duration = last / SECOND if session_s is None else session_s
    turns = tuple(turn_figures(kept))
    cuts = tuple(barge_ins(kept))
    queues = None if lanes is None else tuple(LaneFigures(lane.reader, lane.high, dict(lane.dropped)) for lane in lanes)
    told = [packet.data for packet in kept if isinstance(packet.data, Fault)]
    published = [fault for fault in told if fault.error != ENDING]  # somebody ended it: nothing was wrong
    ends = [packet.data for packet in kept if isinstance(packet.data, Outcome)]
    done = [outcome for outcome in ends if outcome.action in ("Call", "Command")]
    commits = [packet.data for packet in kept if isinstance(packet.data, TurnCommitted)]

    def share(count: int, of: int = len(turns)) -> Share:
        return Share.make(count, of)

    heard = [turn for turn in turns if turn.answer == "heard"]
    return Report(
        duration_s=duration,
        opened=sum(isinstance(packet.data, TurnOpened) for packet in kept),
        dropped=_tally(packet.data.reason for packet in kept if isinstance(packet.data, TurnDropped)),
        unasked=sum(commit.reason == "unasked" for commit in commits),
        turns=turns,
        answered=share(len(heard)),
        acted=share(sum(turn.answer == "acted" for turn in turns)),
        no_response=share(sum(turn.answer == "none" for turn in turns)),
        premature=share(sum(turn.premature for turn in turns), len(heard)),
        fto_ms=Spread.of(turn.fto_ms for turn in turns),
        stages={name: Spread.of(getattr(turn.stages, name) for turn in turns) for name in Stages.__struct_fields__},
        barge_ins=cuts,
        pause_ms=Spread.of(cut.pause_ms for cut in cuts),
        hush_ms=Spread.of(cut.hush_ms for cut in cuts),
        stops=tuple(stops(kept)),
        churn=_churn(kept),
        commands=sum(isinstance(packet.data, Command) for packet in kept),
        outcomes=_tally(outcome.status for outcome in done),
        model=model_figures(kept, price),
        lanes=queues or (),
        frames_dropped=None if queues is None else sum(lane.dropped.get("image", 0) for lane in queues),
        gauges={f"{each.where} {each.name}": each.value for each in _gauges(kept)},
        faults=(*published, *(fault for fault in faults if fault not in published)),
        cpu_s_per_s=_per(cpu_s, duration),
        rtf=_per(wall_s, duration),
    )


def _gauges(packets: Iterable[Packet[Any]]) -> Iterator[Gauge]:
    return (packet.data for packet in packets if isinstance(packet.data, Gauge))


def _churn(packets: Iterable[Packet[Any]]) -> Churn:
    last: dict[int, list[str]] = {}
    partials = taken_back = final_words = 0
    for packet in packets:
        if not isinstance(packet.data, Words):
            continue
        words = packet.data.text.split()
        before = last.get(packet.data.segment, [])
        same = next((i for i, (old, new) in enumerate(zip(before, words)) if old != new), min(len(before), len(words)))
        taken_back += len(before) - same
        last[packet.data.segment] = words
        partials += not packet.data.final
        final_words += len(words) if packet.data.final else 0
    ratio = round(taken_back / final_words, 4) if final_words >= FEW else None
    return Churn(partials, taken_back, final_words, ratio)


def _tally(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _per(spent: float | None, duration: float) -> float | None:
    return None if spent is None or not duration else spent / duration

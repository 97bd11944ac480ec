"""What happened when, turn by turn: pure functions from a session's packets to the times between them.

Packets are given as a list in the order of the bus, without media. Definitions are in `agent/report.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from agent.conductor import CUT, ENDED
from streams.clock import MS, SECOND
from streams.packet import Packet
from streams.types import (
    Halt,
    Hush,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    PlayStarted,
    Resume,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnEnd,
    Words,
)

Packets = Sequence[Packet[Any]]


class Stages(Struct, frozen=True):
    """Milliseconds from the end of speech to the publication of each stage; None where it did not happen.

    speech_ended: `SpeechEnded`;  words: the final words;  turn_end: the last `TurnEnd` before the commit
    commit: `TurnCommitted`;  say: the first `Say` of the answer;  sound: its first sample at the speaker
    """

    speech_ended: float | None
    words: float | None
    turn_end: float | None
    commit: float | None
    say: float | None
    sound: float | None


class TurnFigures(Struct, frozen=True):
    """One committed turn of a person. fto_ms: floor-transfer offset, signed;  reason: of the commit."""

    turn: int
    text: str
    reason: str
    end_s: float
    fto_ms: float | None
    premature: bool
    answer: Literal["heard", "acted", "none"]
    stages: Stages


class BargeIn(Struct, frozen=True):
    """Somebody spoke over the agent. Milliseconds from the onset; ended: "cut", "resumed" or "" (never decided)."""

    turn: int
    by_turn: int
    onset_s: float
    pause_ms: float
    hush_ms: float | None
    resume_ms: float | None
    ended: Literal["cut", "resumed", ""]
    reason: str


class StopFigures(Struct, frozen=True):
    """A stop word. Milliseconds from its end in the audio; None without word times, or where nothing was hushed."""

    word: str
    word_end_s: float | None
    halt_ms: float | None
    hush_ms: float | None


def turn_figures(packets: Packets) -> Iterator[TurnFigures]:
    """The committed turns of people, in order. Those the agent took by itself have no end of speech: left out."""
    senses = _Senses(packets)
    sounds: dict[int, int] = {}
    says: dict[int, int] = {}
    done: set[int] = set()
    for packet in packets:
        match packet.data:
            case PlayStarted(turn=turn):
                sounds[turn] = min(packet.t, sounds.get(turn, packet.t))
            case Say(turn=turn):
                says.setdefault(turn, packet.at)
            case Outcome(turn=turn, action="Call" | "Command", status="done"):
                done.add(turn)
    for packet in packets:
        commit = packet.data
        if not isinstance(commit, TurnCommitted) or commit.reason == "unasked":
            continue
        end, sound = commit.end_ns, sounds.get(commit.turn)
        yield TurnFigures(
            turn=commit.turn,
            text=commit.text,
            reason=commit.reason,
            end_s=end / SECOND,
            fto_ms=since(end, sound),
            premature=sound is not None and (sound < end or senses.speaking(sound)),
            answer="heard" if sound is not None else "acted" if commit.turn in done else "none",
            stages=senses.stages(packet, says.get(commit.turn), sound),
        )


class _Senses:
    """When what was perceived of each stretch of speech was published, for look-up by turn."""

    def __init__(self, packets: Packets) -> None:
        self.starts: dict[int, int] = {}  # by segment: session time of the first sound
        self.ends: dict[int, tuple[int, int]] = {}  # by segment: of the last sound, and when that was published
        self.finals: dict[int, int] = {}
        self.judged: dict[int, list[tuple[int, int]]] = {}  # by segment: order and time of each `TurnEnd`
        self.noise: set[int] = set()
        for packet in packets:
            match packet.data:
                case SpeechStarted(segment=segment):
                    self.starts[segment] = packet.t
                case SpeechEnded(segment=segment):
                    self.ends[segment] = packet.t, packet.at
                case TurnEnd(segment=segment):
                    self.judged.setdefault(segment, []).append((packet.order, packet.at))
                case Words(segment=segment, final=True):
                    self.finals[segment] = packet.at
                    if not packet.data.text and not packet.data.guess:
                        self.noise.add(segment)
        self.ending = {end: segment for segment, (end, _) in self.ends.items()}

    def speaking(self, t: int) -> bool:
        """Whether a person spoke at session time `t` (ns). What was noise to the recogniser does not count."""
        return any(
            start <= t and (segment not in self.ends or t < self.ends[segment][0])
            for segment, start in self.starts.items()
            if segment not in self.noise
        )

    def stages(self, commit: Packet[Any], say: int | None, sound: int | None) -> Stages:
        end: int = commit.data.end_ns
        segment = self.ending.get(end, -1)
        ended = self.ends[segment][1] if segment in self.ends else None
        judged = [at for order, at in self.judged.get(segment, []) if order < commit.order]
        times = (ended, self.finals.get(segment), judged[-1] if judged else None, commit.at, say, sound)
        return Stages(*(since(end, time) for time in times))


def barge_ins(packets: Packets) -> list[BargeIn]:
    """Every time the agent paused because somebody spoke, with what became of it."""
    found: list[BargeIn] = []
    for place, packet in enumerate(packets):
        if isinstance(packet.data, OverlapPaused):
            found.append(_barge_in(packet, overlap_onset(packets[:place], packet), packets[place + 1 :]))
    return found


def overlap_onset(before: Packets, paused: Packet[Any]) -> int:
    """When (ns) the person began to speak over the agent, or the agent's turn began, whichever came later."""
    onset = began = None
    for packet in reversed(before):
        data = packet.data
        if onset is None and isinstance(data, SpeechStarted):
            onset = packet.t
        elif began is None and isinstance(data, TurnCommitted) and data.turn == paused.data.turn:
            began = packet.at
        if onset is not None and began is not None:
            break
    return max((time for time in (onset, began) if time is not None), default=paused.at)


def _barge_in(paused: Packet[Any], onset: int, after: Packets) -> BargeIn:
    hush = resume = None
    ended: Literal["cut", "resumed", ""] = ""
    reason = ""
    for packet in after:
        match packet.data:
            case OverlapPaused():
                break
            case OverlapCut(turn=turn) if turn == paused.data.turn:
                ended, reason = "cut", packet.data.reason
            case OverlapResumed(turn=turn) if turn == paused.data.turn:
                ended, reason = "resumed", packet.data.reason
            case Hush() if ended == "cut":
                hush = packet.at
                break
            case Resume() if ended == "resumed":
                resume = packet.at
                break
    return BargeIn(
        turn=paused.data.turn,
        by_turn=paused.data.by_turn,
        onset_s=onset / SECOND,
        pause_ms=(paused.at - onset) / MS,
        hush_ms=since(onset, hush),
        resume_ms=since(onset, resume),
        ended=ended,
        reason=reason,
    )


def stops(packets: Packets) -> Iterator[StopFigures]:
    """Every `Halt` that a spoken word set off."""
    words: Words | None = None
    for place, packet in enumerate(packets):
        if isinstance(packet.data, Words):
            words = packet.data
        elif isinstance(packet.data, Halt) and words is not None and packet.data.reason not in (ENDED, CUT):
            end = word_end(words, packet.data.reason)
            hush = None
            for later in packets[place + 1 :]:
                if isinstance(later.data, Halt | Words):
                    break
                if isinstance(later.data, Hush):
                    hush = later.at
                    break
            yield StopFigures(
                word=packet.data.reason,
                word_end_s=None if end is None else end / SECOND,
                halt_ms=since(end, packet.at),
                hush_ms=since(end, hush),
            )


def word_end(words: Words, phrase: str) -> int | None:
    """Where (ns) `phrase` ends in the audio, its first time among `words`; None if the recogniser gave no times."""
    wanted = phrase.lower().split()
    texts = [word.text.lower() for word in words.words]
    for place in range(len(texts) - len(wanted) + 1):
        if wanted and texts[place : place + len(wanted)] == wanted:
            return words.words[place + len(wanted) - 1].end_ns
    return None


def since(start: int | None, time: int | None) -> float | None:
    """Milliseconds from `start` to `time` (both ns); None if either is unknown."""
    return None if start is None or time is None else (time - start) / MS

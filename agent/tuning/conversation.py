"""A recorded conversation, sorted: stretches of speech with their evidence, turns of people, answers of the agent.

Built from the packets of PERCEPT, TURN, ACTION and FEEDBACK only; no sound is read. All times are ns of session time.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from agent import config as configuration
from agent.errors import ConfigError
from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK, PERCEPT, TURN
from streams.types import (
    Adjusted,
    Ask,
    Delta,
    Manner,
    Outcome,
    OverlapCut,
    OverlapPaused,
    OverlapResumed,
    Played,
    PlayStarted,
    Say,
    SpeechEnded,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnEnd,
    TurnOpened,
    Words,
)

USED = (PERCEPT, TURN, ACTION, FEEDBACK)


@dataclass
class Segment:
    """One stretch of speech. started_at, ended_at: when its begin and end were published

    evidence: (published at, what) of its words and of the turn model
    """

    number: int
    start_ns: int
    started_at: int
    end_ns: int | None = None
    ended_at: int = 0
    evidence: list[tuple[int, Words | TurnEnd]] = field(default_factory=list)


@dataclass
class PersonTurn:
    """A turn of a person. dropped: the reason, if it got no answer;  over: spans of its overlap with the agent"""

    turn: int
    start_ns: int
    opened_at: int
    commit: TurnCommitted | None = None
    closed_at: int = 0
    dropped: str = ""
    text: str = ""
    over: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Answer:
    """What the agent did in one turn. says: in their order;  outcomes: of these, by id

    asks: of a model, drafts among them, and when
    sound_ns: when its first sample was heard, None if none was;  done_at: when its newest `Say` ended
    acted: a tool or a motion was done
    """

    turn: int
    asked: TurnCommitted
    asked_at: int
    says: list[Say] = field(default_factory=list)
    asks: list[tuple[int, Ask]] = field(default_factory=list)
    first_say_at: int | None = None
    played: list[Played] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    sound_ns: int | None = None
    done_at: int = 0
    acted: bool = False
    cut: OverlapCut | None = None
    cut_at: int = 0


@dataclass
class Conversation:
    """One recording. digest: SHA-256 of the file;  config: text in its header;  ended_ns: of its last packet

    segments: by number;  turns, answers: by number of the turn;  deltas: text of a model's answer, by id of the `Ask`
    """

    path: Path
    digest: str
    started: datetime
    config: str
    torn: str = ""
    ended_ns: int = 0
    segments: dict[int, Segment] = field(default_factory=dict)
    turns: dict[int, PersonTurn] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    deltas: dict[int, str] = field(default_factory=dict)
    _asked: list[tuple[int, float]] = field(default_factory=lambda: [(-1, 0.0)])
    _patience: list[tuple[int, float]] = field(default_factory=lambda: [(-1, 1.0)])
    _asks: dict[int, list[tuple[int, Ask]]] = field(default_factory=dict)  # by turn: a draft comes before the commit
    _paused: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def settings(self) -> configuration.Config:
        """The configuration it was held with. Raises `ConfigError`."""
        try:
            return configuration.reload(self.config)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}; name another one: --config AGENT.toml") from error

    @cached_property
    def language(self) -> str:
        """In which it was held, English if that is not known."""
        try:
            return self.settings.language
        except ConfigError:
            return "en"

    @property
    def manner(self) -> Manner:
        """With which it began; the usual one if that is not known."""
        try:
            return self.settings.manner
        except ConfigError:
            return Manner()

    def begins_with(self, manner: Manner) -> None:
        """How the agent behaved in the beginning."""
        self._patience[0] = (-1, manner.patience)

    def asked(self, at: int) -> bool:
        """Whether the agent's last words before `at` were a question that is open."""
        return bool(self._asked[bisect_right(self._asked, (at, 2.0)) - 1][1])

    def patience(self, at: int) -> float:
        """The agent's patience at `at`."""
        return self._patience[bisect_right(self._patience, (at, 1e9)) - 1][1]

    def next_turn(self, after: PersonTurn) -> PersonTurn | None:
        """The next thing that somebody said to the agent, however that ended."""
        for number in range(after.turn + 1, max(self.turns, default=0) + 1):
            later = self.turns.get(number)
            if later is not None and later.dropped not in UNHEARD:
                return later
        return None

    def take(self, packet: Packet[Any]) -> None:
        """Sort in one packet."""
        self.ended_ns = max(self.ended_ns, packet.at)
        t, at, data = packet.t, packet.at, packet.data
        match data:
            case SpeechStarted(segment=number):
                self.segments[number] = Segment(number, t, at)
            case SpeechEnded(segment=number) if number in self.segments:
                self.segments[number].end_ns, self.segments[number].ended_at = t, at
            case Words(segment=number) | TurnEnd(segment=number) if number in self.segments:
                self.segments[number].evidence.append((at, data))
            case Adjusted(manner=manner):
                self._patience.append((at, manner.patience))
            case TurnOpened(turn=turn, start_ns=start):
                self.turns[turn] = PersonTurn(turn, start, at)
            case TurnCommitted(turn=turn):
                self._commit(data, at)
            case TurnDropped(turn=turn, reason=reason) if turn in self.turns:
                person = self.turns[turn]
                person.dropped, person.closed_at, person.text = reason, at, data.text
            case OverlapPaused(by_turn=turn):
                self._paused[turn] = (turn, at)
            case OverlapResumed(by_turn=turn):
                self._overlap_ends(turn, at)
            case OverlapCut(turn=turn, by_turn=by):
                self._overlap_ends(by, at)
                for answer in self.answers.values():
                    under_way = answer.turn == turn or (answer.says and not answer.done_at)
                    if answer.turn <= turn and answer.cut is None and under_way:
                        answer.cut, answer.cut_at = data, at
            case Ask(turn=turn):
                self._asks.setdefault(turn, []).append((at, data))
            case Delta(id=number, text=text):
                self.deltas[number] = self.deltas.get(number, "") + text
            case Say() | PlayStarted() | Played() | Outcome():
                self._take_answer(t, at, data)

    def _take_answer(self, t: int, at: int, data: Say | PlayStarted | Played | Outcome) -> None:
        answer = self.answers.get(data.turn)
        if answer is None:
            return
        match data:
            case Say(backchannel=False, text=text):
                answer.says.append(data)
                answer.first_say_at = at if answer.first_say_at is None else answer.first_say_at
                answer.done_at = 0
                self._asked.append((at, float(text.rstrip().endswith("?"))))
            case PlayStarted():
                answer.sound_ns = t if answer.sound_ns is None else min(t, answer.sound_ns)
            case Played(id=number) if any(say.id == number for say in answer.says):
                answer.played.append(data)
            case Outcome(action="Call" | "Command", status="done"):
                answer.acted = True
            case Outcome(action="Say", id=number) if any(say.id == number for say in answer.says):
                answer.outcomes[number] = data
                if len(answer.outcomes) == len(answer.says):
                    answer.done_at = at

    def _commit(self, commit: TurnCommitted, at: int) -> None:
        asks = self._asks.setdefault(commit.turn, [])
        self.answers[commit.turn] = Answer(commit.turn, commit, at, asks=asks)
        self._asked.append((at, 0.0))
        if commit.turn in self.turns:
            person = self.turns[commit.turn]
            person.commit, person.closed_at, person.text = commit, at, commit.text or commit.guess

    def _overlap_ends(self, turn: int, at: int) -> None:
        begun = self._paused.pop(turn, None)
        if begun is not None and turn in self.turns:
            self.turns[turn].over.append((begun[1], at))


UNHEARD = frozenset({"no_words", "backchannel", "echo", "aside"})
"""Reasons for which a turn is dropped that say: this was not said to the agent."""


def read(path: Path) -> Conversation:
    """Read a recording, as far as it goes. Raises `RecordingError`."""
    recording = Recording.open(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordingError(f"cannot read the recording {path}: {error.strerror or error}.") from error
    header = recording.header
    found = Conversation(path, digest, header.started, header.config, recording.torn)
    found.begins_with(found.manner)
    return sort(found, recording.packets(USED))


def sort(into: Conversation, packets: Iterable[Packet[Any]]) -> Conversation:
    """Sort `packets` into a conversation."""
    for packet in packets:
        into.take(packet)
    return into

"""Every silence in what people said, with the evidence there was on it and how it went on.

A silence is a "hold" if the same person went on: within the turn, or after the agent had taken it too early. It is an
"end" if the turn was committed and the person had finished. What cannot be told is left out and counted.

The evidence is bound to the turn as the turn-taker binds it (`policies/transcript.py`), at the instants at which it was
published, so that the wait can be decided again with other settings (`agent/tuning/waits.py`).
"""

from collections import Counter
from dataclasses import replace
from typing import Literal

from msgspec import Struct

from agent.tuning.conversation import Conversation, PersonTurn, Segment
from agent.tuning.going_on import after
from policies.transcript import Stretch, UserTurn
from streams.clock import MS
from streams.types import Words


class Moment(Struct, frozen=True):
    """What was known at `after_ms` of silence: the arguments of `policies.endpointing.judge`."""

    after_ms: float
    text: str
    complete: bool
    final: bool
    model: float | None
    asked: bool
    spoken_ns: int


class Silence(Struct, frozen=True):
    """One silence. Milliseconds count from the end of speech.

    group: number of what was said, over all recordings: its holds and its end belong together
    gap_ms: when the agent knew that the person went on; None at an end
    decided_ms: when the end of speech was known;  moments: each change of the evidence from then on, the first of them
        at `decided_ms`;  committed_ms: when the turn was committed really, None if it was not
    """

    group: int
    label: Literal["hold", "end"]
    gap_ms: float | None
    decided_ms: float
    moments: tuple[Moment, ...]
    patience: float
    language: str
    committed_ms: float | None
    recording: str
    turn: int


class Examples(Struct, frozen=True):
    """silences: in order of time;  untold: reasons, and how often;  recordings: SHA-256 of each, in order of time."""

    silences: tuple[Silence, ...]
    untold: dict[str, int]
    recordings: tuple[str, ...]

    @property
    def groups(self) -> int:
        """How many things were said in which at least one silence is told."""
        return len({silence.group for silence in self.silences})


def examples(conversations: list[Conversation]) -> Examples:
    """The silences of `conversations`, those begun first being the first."""
    silences: list[Silence] = []
    untold: Counter[str] = Counter()
    group = 0
    ordered = sorted(conversations, key=lambda each: each.started)
    for conversation in ordered:
        going_on: PersonTurn | None = None
        for turn in sorted(conversation.turns.values(), key=lambda each: each.turn):
            if turn.commit is None or turn.commit.reason == "typed":
                continue
            if going_on is not turn:
                group += 1
            found, going_on = _silences(conversation, turn, group, untold)
            silences += found
    return Examples(tuple(silences), dict(untold.most_common()), tuple(each.digest for each in ordered))


def _silences(
    conversation: Conversation, turn: PersonTurn, group: int, untold: Counter[str]
) -> tuple[list[Silence], PersonTurn | None]:
    commit = turn.commit
    assert commit is not None
    segments = sorted(
        (
            # Who spoke up in the middle of a stretch is in the turn from there on.
            replace(each, start_ns=max(each.start_ns, commit.start_ns))
            for each in conversation.segments.values()
            if each.end_ns is not None and commit.start_ns < each.end_ns <= commit.end_ns
        ),
        key=lambda each: each.start_ns,
    )
    if not segments:
        untold["no stretch of speech"] += 1
        return [], None
    found: list[Silence] = []
    for place, segment in enumerate(segments[:-1]):
        until = segments[place + 1].started_at
        if segment.ended_at >= until:
            continue  # it was never known as a silence
        _add(found, conversation, turn, segments[: place + 1], group, until, untold)
    then = after(conversation, turn)
    if then.verdict == "untold":
        untold[then.why] += 1
        return found, None
    went_on = None if then.gap_ns is None else commit.end_ns + then.gap_ns
    _add(found, conversation, turn, segments, group, went_on, untold)
    return found, then.next


def _add(
    to: list[Silence],
    conversation: Conversation,
    turn: PersonTurn,
    segments: list[Segment],
    group: int,
    until: int | None,
    untold: Counter[str],
) -> None:
    """The silence after the last of `segments`, which lasted `until` (None: for good)."""
    last = segments[-1]
    end = last.end_ns or 0
    if any(begun <= last.ended_at < ended for begun, ended in turn.over):
        untold["over the agent"] += 1
        return
    times = {last.ended_at}
    times |= {
        at for segment in segments for at, _ in segment.evidence if at > last.ended_at and (until is None or at < until)
    }
    asked = conversation.asked(min(turn.closed_at, last.ended_at))
    moments = tuple(_moment(segments, at, asked) for at in sorted(times))
    committed = turn.commit is not None and last.end_ns == turn.commit.end_ns
    to.append(
        Silence(
            group=group,
            label="end" if until is None else "hold",
            gap_ms=None if until is None else (until - end) / MS,
            decided_ms=(last.ended_at - end) / MS,
            moments=moments,
            patience=conversation.patience(last.ended_at),
            language=conversation.language,
            committed_ms=(turn.closed_at - end) / MS if committed else None,
            recording=conversation.digest,
            turn=turn.turn,
        )
    )


def _moment(segments: list[Segment], at: int, asked: bool) -> Moment:
    """What was known at session time `at`, as `TurnTaker` would have it."""
    stretches = []
    for segment in segments:
        stretch = Stretch(segment.number, segment.start_ns, segment.end_ns, segment.ended_at)
        for published, what in segment.evidence:
            if published > at:
                break
            if not isinstance(what, Words):
                stretch.model = what.probability
            elif not stretch.final:
                stretch.words = what
        stretches.append(stretch)
    turn = UserTurn(0, stretches)
    heard = turn.transcript()
    end = segments[-1].end_ns or 0
    return Moment((at - end) / MS, heard.text, heard.complete, turn.final, stretches[-1].model, asked, turn.spoken_ns)

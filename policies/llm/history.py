"""What happened so far, as messages of a chat. Pure functions of a `Snapshot`.

A message of the assistant is exactly what was heard of the agent, as it was written, with a mark where it broke off;
what was meant and never heard is nowhere. Everything else is told to it in messages of the user, as notes in square
brackets: also the tools and motions of earlier turns. These are not told as `tool_calls` and `tool` messages, because
an outcome may come many turns after its call (a timer, a motion that was cut), while servers want the result right
behind the call and roles that alternate; and because a note can be condensed without leaving an id without its other
half. (The open turn's own calls are told natively, see `prompt`.) A begun call is one note, and how it ended another
where it ended: so what a server has read already stays as it is.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from policies.llm import wording
from policies.llm.untrusted import compact, data, plain, words
from policies.scene import Done, Event, Halted, Heard, Overheard, Snapshot, Spoken, Trouble
from policies.sight import side_of

Role: TypeAlias = Literal["user", "assistant"]


class Limits(NamedTuple):
    """How many characters are kept: of a turn's text, of a result, of arguments, and (the last ones) of what was heard
    of the agent.  notes: whether other things than calls and commands are told
    """

    text: int
    result: int
    arguments: int
    spoken: int = 1_000_000
    notes: bool = True


class Piece(NamedTuple):
    """A (part of a) message."""

    role: Role
    text: str


class Block(Struct, frozen=True):
    """A turn of a person and what followed.

    asked: what the person said, "" if nobody did;  facts: the calls and commands of which it tells
    """

    pieces: tuple[Piece, ...]
    asked: str
    facts: tuple[Done, ...]


class _Entry(NamedTuple):
    """An event at its place. start_ns: when it was known

    part: which says of a `Spoken`;  ends: of a call that did not end before anything else began: how it ended, and
        where it stands, that it was begun
    """

    event: Event
    start_ns: int
    part: slice = slice(None)
    ends: bool | None = None


class _Group(NamedTuple):
    """The entries from one turn to the next. asked: as in `Block`"""

    asked: str
    entries: list[_Entry]


def blocks(snapshot: Snapshot, open_turn: int, told: Collection[int], limits: Limits) -> list[Block]:
    """The scene before turn `open_turn`, one block for each turn. told: ids of calls that are told elsewhere."""
    found = []
    for group in _grouped(_with_endings(_entries(snapshot.events, open_turn, told))):
        pieces: list[Piece] = []
        facts: list[Done] = []
        for event, _, part, ends in group.entries:
            match event:
                case Heard():
                    pieces.append(Piece("user", heard(event, limits.text)))
                case Spoken():
                    pieces += _said(event, part, open_turn, limits.spoken)
                case Done():
                    begun = ends is False or not event.status
                    pieces.append(Piece("user", fact(event, limits, begun=begun)))
                    facts += [] if ends is False else [event]
                case _ if limits.notes:
                    pieces.append(Piece("user", note(event, limits)))
        found.append(Block(tuple(pieces), group.asked, tuple(facts)))
    return found


def merged(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """Messages in turns, beginning with one of the user."""
    messages: list[dict[str, Any]] = []
    for role, text in pieces:
        if not messages and role == "assistant":
            messages.append({"role": "user", "content": "[More was said before this.]"})
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n{text}"
        else:
            messages.append({"role": role, "content": text})
    return messages


def heard(turn: Heard, limit: int) -> str:
    """What a person said, with who it was and from where, as far as that is known."""
    known = [words(turn.speaker, 40)] if turn.speaker else []
    known += [wording.place(side_of(turn.bearing_rad))] if turn.bearing_rad is not None else []
    known += ["typed"] if turn.typed else []
    text = words(turn.text, limit) or wording.UNCLEAR
    return f"[{', '.join(known)}] {text}" if known else text


def spoken(event: Spoken, part: slice = slice(None), *, over: bool = True) -> str:
    """What was heard of (a part of) the agent's turn, with a mark where it broke off.

    over: nothing more of it will be heard, for another turn has come: what has not ended, the person cut
    """
    mark = _mark(event, over)
    first, behind, _ = part.indices(len(event.says))
    broken = next((place for place, said in enumerate(event.says) if said.status != "done"), len(event.says) - 1)
    texts = [text for said in event.says[part] if (text := said.text)]
    return " ".join([*texts, mark] if mark and first <= broken < behind else texts)


def _mark(event: Spoken, over: bool) -> str:
    if event.cut:
        return wording.CUT
    if event.unheard:
        return wording.UNHEARD
    if event.ended:
        return "" if event.whole else wording.BROKE_OFF
    whole = len(event.heard) >= sum(len(text.split()) for text in event.meant)  # its outcome is a block away
    return wording.CUT if over and not whole else ""


def fact(done: Done, limits: Limits, *, begun: bool = False) -> str:
    """A call or command and what really became of it, as a note. begun: only that it was begun"""
    what = "motion" if done.kind == "Command" else "tool"
    arguments = words(compact(done.arguments), limits.arguments)
    told = "begun" if begun else outcome(done.name, done.status, done.detail, done.result, limits.result)
    return f"[#{done.id} {what} {plain(done.name, 80)} {arguments}: {told}]"


def outcome(name: str, status: str, detail: str, result: Any, limit: int) -> str:
    """The status, which is ours to tell, then what the tool or the body said, as data."""
    parts = [status or "under way"]
    parts += [f"detail {data(name, detail, limit)}"] if detail else []
    parts += [f"result {data(name, result, limit)}"] if result is not None else []
    return ", ".join(parts)


def note(event: Event, limits: Limits) -> str:
    """What else happened."""
    match event:
        case Halted():
            return f"[Everything that moved was stopped: {words(event.reason, 80)}]"
        case Overheard():
            return f"[Somebody said to somebody else: {data('speech', event.text, limits.text)}]"
        case Trouble():
            over = ", well again since" if event.over else ""
            where = words(event.where, 40)
            return f"[Fault of the {where}{over}: {data(where, event.message, limits.result)}]"
    raise TypeError(f"{type(event).__name__} is no note")


def _with_endings(entries: Sequence[_Entry]) -> list[_Entry]:
    """`entries`, with what ended only after something else had begun told a second time, where it ended."""
    endings: dict[int, list[_Entry]] = {}  # by place of the entry before
    placed = list(entries)
    starts = list(accumulate((entry.start_ns for entry in entries), max))
    for place, entry in enumerate(entries):
        done = entry.event
        if isinstance(done, Done) and done.status:
            before = max(place, bisect_right(starts, done.end_ns) - 1)
            if before > place:
                placed[place] = entry._replace(ends=False)
                endings.setdefault(before, []).append(_Entry(done, done.end_ns, ends=True))
    result = []
    for place, entry in enumerate(placed):
        result += [entry, *sorted(endings.get(place, ()), key=lambda each: each.start_ns)]
    return result


def _grouped(entries: Iterable[_Entry]) -> list[_Group]:
    """A group for each turn of a person, or of the agent where nobody had spoken."""
    groups: list[_Group] = []
    turn = -1
    for entry in entries:
        event = entry.event
        if not groups or isinstance(event, Heard) or (isinstance(event, Spoken) and event.turn != turn):
            turn = getattr(event, "turn", turn)
            groups.append(_Group(event.text if isinstance(event, Heard) else "", []))
        groups[-1].entries.append(entry)
    return groups


def _said(event: Spoken, part: slice, open_turn: int, limit: int) -> list[Piece]:
    before = [Piece("user", wording.UNASKED)] if event.unasked and not part.start else []
    text = spoken(event, part, over=event.turn < open_turn)
    if len(text) > limit:
        text = f"[...] {text[-limit:]}"
    return [*before, Piece("assistant", text)] if text else []


def _entries(events: Sequence[Event], open_turn: int, told: Collection[int]) -> list[_Entry]:
    """Events at their places; what the agent said in one turn is split where it called or commanded something."""
    entries: dict[tuple[int, int], _Entry] = {}
    calls: dict[int, list[tuple[int, int]]] = {}  # by turn: id and place
    for place, event in enumerate(events):
        if isinstance(event, Done) and event.id not in told:
            calls.setdefault(event.turn, []).append((event.id, place))
    for place, event in enumerate(events):
        if isinstance(event, Heard | Spoken) and event.turn == open_turn:
            continue
        if isinstance(event, Done) and event.id in told:
            continue
        if not isinstance(event, Spoken):
            entries[place, 0] = _Entry(event, event.end_ns if isinstance(event, Heard) else event.start_ns)
            continue
        borders = [(number, at) for number, at in calls.get(event.turn, ()) if at > place]
        first, at = 0, place
        for number, following in borders:
            behind = next((n for n, said in enumerate(event.says) if said.id > number), len(event.says))
            if behind > first:
                entries[at, 1] = _Entry(event, event.says[first].start_ns, slice(first, behind))
                first = behind
            at = following
        if first < len(event.says) or first == 0:
            start_ns = event.says[first].start_ns if event.says else event.start_ns
            entries[at, 1] = _Entry(event, start_ns, slice(first, len(event.says)))
    return [entries[key] for key in sorted(entries)]

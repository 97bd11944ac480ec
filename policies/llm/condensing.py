"""Old turns told in short, so that a request stays within its budget and no outcome is lost. Pure and deterministic.

The two newest turns always stay as they are. Of older ones, as few as possible, four at a time (so that what a server
has read stays the same for several turns), are told in one note: what was asked, in some words of it, of the newest
`TOPICS` of them; and each call and motion with its id, name, arguments, status and result. If that is too long, fewer
questions are told, then long texts are shortened (`prompt`), then the outcomes lose arguments and results, and at last
they are counted by name and status. What the scene itself has forgotten is counted so in any case.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from typing import Literal, TypeAlias

from policies.llm.budget import MESSAGE, tokens
from policies.llm.history import Block, Limits, Piece, fact
from policies.llm.untrusted import plain, words
from policies.scene import Done, Snapshot

Style: TypeAlias = Literal["lines", "brief", "counted"]

NEWEST = 2
STEP = 4
TOPICS = 24
_TOPIC_WORDS = 6
_RESULT = 120
_WORD = re.compile(r"\w[\w'’-]*")


def condensed(
    history: Sequence[Block], snapshot: Snapshot, limits: Limits, room: int, styles: Collection[Style]
) -> list[Piece] | None:
    """The history within `room` tokens, in the first of `styles` that fits; None if none does.

    "lines": outcomes as they are;  "brief": without arguments and results
    "counted": the shortest there is, whether or not it fits
    """
    room -= MESSAGE + 14  # a message may have to come before what the agent said first
    costs = [sum(MESSAGE + tokens(piece.text) for piece in block.pieces) for block in history]
    behind = [*reversed(list(accumulate(reversed(costs)))), 0]  # tokens of the blocks from n on
    most = max(0, len(history) - NEWEST)
    steps = [*range(0, most, STEP), most]
    always = _note_cost([], snapshot) + MESSAGE + 20
    topics = [0, *accumulate(1 + tokens(_asked(block)) for block in history[:most])]
    short = limits._replace(result=min(limits.result, _RESULT), arguments=min(limits.arguments, 100))
    for style in [each for each in ("lines", "brief") if each in styles]:
        told = [_facts(block, short if style == "lines" else None) for block in history[:most]]
        facts = [0, *accumulate(sum(1 + tokens(line) for line in lines) for lines in told)]
        for topical in (TOPICS, TOPICS // 4, 0):
            for count in steps:
                asked = topics[count] - topics[max(0, count - topical)]
                if always * bool(count or snapshot.forgotten) + facts[count] + asked + behind[count] <= room:
                    lines = [*_topics(history[max(0, count - topical) : count]), *chain(*told[:count])]
                    return _with_note(lines, history[count:], snapshot)
    if "counted" not in styles:
        return None
    return _with_note([], history[most:], snapshot, [done for block in history[:most] for done in block.facts])


def _note_cost(lines: Sequence[str], snapshot: Snapshot) -> int:
    text = _note(lines, snapshot, ())
    return MESSAGE + tokens(text) if text else 0


def _with_note(
    lines: Sequence[str], rest: Sequence[Block], snapshot: Snapshot, counted: Sequence[Done] = ()
) -> list[Piece]:
    note = _note(lines, snapshot, counted)
    return [*([Piece("user", note)] if note else []), *(piece for block in rest for piece in block.pieces)]


def _note(lines: Sequence[str], snapshot: Snapshot, counted: Sequence[Done]) -> str:
    endings = Counter({(each.name, each.status): each.count for each in snapshot.forgotten})
    endings.update((done.name, done.status or "under way") for done in counted)
    ago = [
        f"{plain(name, 80)} {status} {count} {'time' if count == 1 else 'times'}"
        for (name, status), count in sorted(endings.items())
    ]
    parts = list(lines)
    parts += [f"Outcomes of long ago: {'; '.join(ago)}."] if ago else []
    if snapshot.turns_forgotten:
        parts.append(f"Before that, the person spoke {snapshot.turns_forgotten} times.")
    return "\n".join(["[Earlier, in short:", *parts]) + "]" if parts else ""


def _topics(history: Sequence[Block]) -> list[str]:
    return [_asked(block) for block in history if block.asked]


def _facts(block: Block, limits: Limits | None) -> list[str]:
    if limits is None:
        return [f"#{done.id} {plain(done.name, 80)} {done.status or 'under way'}" for done in block.facts]
    return [fact(done, limits)[1:-1] for done in block.facts]


def _asked(block: Block) -> str:
    """The words that tell most of what a turn was about: numbers and the longest ones, in their order."""
    return _topic(block.asked[:400])


@lru_cache(maxsize=1024)
def _topic(text: str) -> str:
    found = list(enumerate(_WORD.findall(words(text, 400))))
    most = sorted(found, key=lambda each: (not any(map(str.isdigit, each[1])), -len(each[1]), each[0]))
    topic = " ".join(word for _, word in sorted(most[:_TOPIC_WORDS]))
    return f"Asked: {words(topic, 80)}"

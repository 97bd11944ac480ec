"""When what is shown: what two people said, cut into cues that can be read. Pure.

Two lines of 42 characters, 17 to 20 characters a second, 0.8 to 7 s: the usual bounds of subtitling (BBC, Netflix).
"""

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from streams.clock import MS, SECOND

Who: TypeAlias = Literal["person", "agent"]

WIDTH, LINES = 42, 2
SLOW, FAST = 17.0, 20.0  # characters a second: comfortable, and the most
SHORTEST, LONGEST = 800 * MS, 7 * SECOND
APART = 80 * MS  # between two cues of one speaker, where there is room
JOIN = 700 * MS  # what one speaker says so soon after is shown as if it were one
SILENCE = 2 * SECOND  # no cue lasts over a silence of this length
CUT = "—"


class Token(NamedTuple):
    """A word as it is shown, punctuation included. blank: there is one before it"""

    text: str
    start_ns: int
    end_ns: int
    blank: bool = True


class Speech(NamedTuple):
    """What somebody said without a break, in order."""

    who: Who
    tokens: tuple[Token, ...]


class Cue(NamedTuple):
    """What is shown from `start_ms` to `end_ms` of session time, in at most two lines."""

    start_ms: int
    end_ms: int
    who: Who
    lines: tuple[str, ...]


def cues(said: Sequence[Speech], indent: dict[Who, int] | None = None) -> list[Cue]:
    """What is shown when, in order. Cues of one speaker never overlap; those of two do where they spoke at once.

    indent: characters that the format puts before the first line, by speaker
    Every cue lasts 0.8 to 7 s: one that would begin less than 0.8 s after the last of its speaker begins later. A
    word wider than a line is not divided.
    """
    shown: list[Cue] = []
    speakers: tuple[Who, Who] = ("person", "agent")
    for who in speakers:
        margin = (indent or {}).get(who, 0)
        joined = _joined([each.tokens for each in said if each.who == who])
        shown += _timed(who, [piece for tokens in joined for piece in _split(tokens, margin)], margin)
    return sorted(shown, key=lambda cue: (cue.start_ms, cue.end_ms, cue.who))


def _joined(said: Sequence[tuple[Token, ...]]) -> list[list[Token]]:
    """What follows at once is one. Within it, no word begins before the one before it."""
    joined: list[list[Token]] = []
    for tokens in said:
        last = joined[-1][-1] if joined else None
        if last is None or tokens[0].start_ns - last.end_ns >= JOIN:
            joined.append([])
        for token in tokens:
            start = max(token.start_ns, joined[-1][-1].start_ns if joined[-1] else 0)
            joined[-1].append(token._replace(start_ns=start, end_ns=max(start, token.end_ns)))
    return joined


def _split(tokens: Sequence[Token], margin: int) -> list[Sequence[Token]]:
    """The cheapest division into cues (dynamic programming): at sentences, then clauses, then pauses."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(tokens) + 1):
        choices = []
        for begin in range(end - 1, -1, -1):
            if begin < end - 1 and not _fits(tokens[begin:end], margin):
                break
            choices.append((best[begin][0] + _cost(tokens, begin, end), begin))
        best.append(min(choices))
    pieces: list[Sequence[Token]] = []
    end = len(tokens)
    while end:
        begin = best[end][1]
        pieces.append(tokens[begin:end])
        end = begin
    return pieces[::-1]


def _fits(tokens: Sequence[Token], margin: int) -> bool:
    """Whether these may be one cue, given that all but the first may."""
    if tokens[-1].end_ns - tokens[0].start_ns > LONGEST or tokens[1].start_ns - tokens[0].end_ns > SILENCE:
        return False
    whole = width(_text(tokens)) + margin
    if whole <= WIDTH or whole > LINES * WIDTH + 1:
        return whole <= WIDTH
    return all(width(line) + (0 if at else margin) <= WIDTH for at, line in enumerate(_lines(tokens, margin)))


def _cost(tokens: Sequence[Token], begin: int, end: int) -> float:
    """How much a cue of these words would disturb."""
    piece, whole = tokens[begin:end], end == len(tokens)
    until = piece[-1].end_ns + SECOND if whole else max(tokens[end].start_ns, piece[-1].start_ns)
    time = max(until - piece[0].start_ns, 1)
    pause = 0 if whole else max(0, tokens[end].start_ns - piece[-1].end_ns)
    cost = 0.5 if whole else (0.5, 1.2, 3.0)[_weight(piece[-1].text)] - min(1.5, 3 * pause / SECOND)
    cost += sum(3 * max(0, b.start_ns - a.end_ns) / SECOND + 0.2 * (_weight(a.text) == 0) for a, b in pairwise(piece))
    cost += max(0.0, width(_text(piece)) * SECOND / time - FAST) * 0.3
    return cost + 10 * (time < SHORTEST)


def _weight(text: str) -> int:
    """0 where a sentence ends, 1 where a clause does, else 2."""
    plain = text.rstrip("\"')]»”’")
    return (
        0
        if plain.endswith((".", "?", "!", "…", CUT, "。", "？", "！"))
        else 1
        if plain.endswith((",", ";", ":", "、"))
        else 2
    )


def _timed(who: Who, pieces: Sequence[Sequence[Token]], margin: int) -> list[Cue]:
    """Each begins with its first word and stays until it has been read, if nothing else of the speaker comes."""
    starts: list[int] = []
    for piece in pieces:
        starts.append(max(piece[0].start_ns, starts[-1] + SHORTEST if starts else 0))
    timed = []
    for at, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        lines = _lines(piece, margin)
        read = start + round(sum(map(width, lines)) / SLOW * SECOND)
        end = max(piece[-1].end_ns, read, start + SHORTEST)
        if at + 1 < len(pieces):
            following = starts[at + 1]
            end = min(end, max(following - APART, piece[-1].end_ns, start + SHORTEST), following)
        timed.append(Cue(start // MS, min(end, start + LONGEST) // MS, who, lines))
    return timed


def _lines(tokens: Sequence[Token], margin: int) -> tuple[str, ...]:
    """One line where it fits, else two: broken after a clause if one ends near the middle, else evenly."""
    whole = _text(tokens)
    if width(whole) + margin <= WIDTH or len(tokens) == 1:
        return (whole,)

    def worse(at: int) -> float:
        first, second = width(_text(tokens[:at])) + margin, width(_text(tokens[at:]))
        over = max(0, first - WIDTH) + max(0, second - WIDTH)
        return 1000 * over + abs(first - second) + 6 * _weight(tokens[at - 1].text)

    at = min(range(1, len(tokens)), key=worse)
    return _text(tokens[:at]), _text(tokens[at:])


def _text(tokens: Sequence[Token]) -> str:
    return "".join((" " if at and token.blank else "") + token.text for at, token in enumerate(tokens))


def width(text: str) -> int:
    """Characters as they are seen: those of East Asian scripts are twice as wide."""
    if text.isascii():
        return len(text)
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)

"""What was heard, to the word: the speaker's count of played samples set against the word marks of the voice.

A word is heard when its last sample has left the speaker. Pure: no clock, no bus; exact by counting.
"""

from bisect import bisect_left
from collections.abc import Sequence

from embodied.ports import Mark
from streams.clock import SECOND
from streams.types import Played

_SAME = 2_000  # ns: block times are rounded to whole ns, and a run may be many blocks long


class Playout:
    """When each sample left the speaker, learnt from its reports.

    `add(played, t)` says that the samples since the last report left without a pause and the last of them at `t` (ns).
    Reports that follow each other without a gap are kept as one run.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.played = 0
        self._firsts: list[int] = []  # first sample of each run
        self._lasts: list[int] = []  # sample after the last of each run
        self._times: list[int] = []  # when the last sample of each run left, ns

    def add(self, played: int, t: int) -> None:
        """`played` samples have left by `t`. Reports must not go back."""
        count = played - self.played
        if count <= 0:
            return
        if self._times and abs(t - self._times[-1] - self._span(count)) <= _SAME:
            self._lasts[-1], self._times[-1] = played, t
        else:
            self._firsts.append(self.played)
            self._lasts.append(played)
            self._times.append(t)
        self.played = played

    def left(self, count: int) -> int:
        """Session time (ns) at which `count` samples had left. `count` is in 1 to `played`, and not forgotten."""
        run = bisect_left(self._lasts, count)
        return self._times[run] - self._span(self._lasts[run] - count)

    def begun(self, index: int) -> int:
        """Session time (ns) at which sample `index` began to leave. `index` is below `played`, and not forgotten."""
        return self.left(index + 1) - self._span(1)

    def forget(self, count: int) -> None:
        """Samples before `count` will not be asked for again."""
        done = bisect_left(self._lasts, count + 1)
        del self._firsts[:done], self._lasts[:done], self._times[:done]

    def _span(self, samples: int) -> int:
        return round(samples * SECOND / self.rate)


class Account:
    """One `Say`: which of its words have been heard.

    base: count of the speaker at which its sound begins; None while none of it has been written
    limit: count of the speaker after which nothing of it will ever be heard (set by a cut); None without one
    """

    def __init__(self, turn: int, id: int) -> None:
        self.turn = turn
        self.id = id
        self.base: int | None = None
        self.limit: int | None = None
        self.marks: list[Mark] = []
        self.told = 0

    def heard(self, playout: Playout) -> list[Played]:
        """The words whose last sample has left since this was asked last, in order."""
        words: list[Played] = []
        base = self.base
        if base is None:
            return words
        reached = playout.played if self.limit is None else min(playout.played, self.limit)
        while self.told < len(self.marks) and base + max(1, (mark := self.marks[self.told]).end) <= reached:
            first = base + max(0, min(mark.start, mark.end - 1))  # a mark is at least one sample long
            words.append(
                Played(
                    turn=self.turn,
                    id=self.id,
                    index=self.told,
                    text=mark.text,
                    start_ns=playout.begun(first),
                    end_ns=playout.left(max(base + mark.end, first + 1)),
                    quality="exact" if mark.exact else "estimated",
                )
            )
            self.told += 1
        return words

    def words(self, count: int) -> list[str]:
        """The words that have been heard once the speaker has played `count` samples."""
        if self.base is None:
            return []
        if self.limit is not None:
            count = min(count, self.limit)
        return [mark.text for mark in self.marks if self.base + mark.end <= count]


def heard_text(text: str, words: Sequence[str]) -> str:
    """The part of `text` that ends with the last of `words`, as it was written.

    `words` are slices of `text` in order; if a voice gave others, they are joined by blanks.
    """
    place = 0
    for word in words:
        found = text.find(word, place)
        if found < 0:
            return " ".join(words)
        place = found + len(word)
    return text[:place]

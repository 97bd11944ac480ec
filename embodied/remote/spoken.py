"""One `Say` on its way through a robot's loudspeaker: which of its words have been said whole, and about when. Pure."""

from collections.abc import Iterator, Sequence

from embodied.remote.errands import Errand
from embodied.robot.reports import Status
from streams.types import Played, Say

PIECE = 300
"""Characters that a robot is given at once, about 20 s: its goals have a time within which they must be done."""


class Spoken:
    """words: of the text, as a robot counts them (parted by white space);  count: how many were said whole

    errand: the piece that the robot says now;  cut: nothing more of it is to be heard
    ended: why the robot ended it of its own accord;  failure: why it could not be said; "" otherwise
    asked: what was asked for last, "pause" or "resume", and when
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.words = say.text.split()
        self.count = 0
        self.errand: Errand | None = None
        self.cut = False
        self.ended = self.failure = ""
        self.asked = ("", 0)
        self._base = self._size = 0  # of the piece, in words
        self._began: int | None = None  # the first word
        self._since: int | None = None  # up to then (ns) it is known what was said

    def begin(self, errand: Errand, size: int) -> None:
        """The next `size` words are being sent."""
        self.errand, self._base, self._size = errand, self.count, size
        self._since = None

    def heard(self, status: Status, now: int) -> tuple[int | None, list[Played]]:
        """Take what the robot tells at `now` (ns): when speech began, if that is news, and the words that are."""
        begun: int | None = None
        told = _words(status)
        if status.state == "succeeded" and told is None:
            told = self._size
        fresh = min(told or 0, self._size) + self._base - self.count
        if status.state == "running" or fresh > 0:
            if self._since is None:
                self._since = now
            if self._began is None:
                self._began = begun = now
        if fresh <= 0:
            if status.state == "paused":
                self._since = None  # silence does not belong to the word that comes after it
            return begun, []
        return begun, self._played(fresh, now)

    def _played(self, fresh: int, now: int) -> list[Played]:
        """The next `fresh` words, with the time since the last report shared out by their length."""
        words = self.words[self.count : self.count + fresh]
        since = now if self._since is None else self._since
        shares = [len(word) + 1 for word in words]
        ends = [since + (now - since) * sum(shares[: n + 1]) // sum(shares) for n in range(fresh)]
        starts = [since, *ends[:-1]]
        say = self.say
        told = [
            Played(say.turn, say.id, self.count + n, word, starts[n], ends[n], "estimated")
            for n, word in enumerate(words)
        ]
        self.count += fresh
        self._since = now
        return told


def pieces(words: Sequence[str], most: int = PIECE) -> Iterator[list[str]]:
    """`words` in pieces of at most `most` characters (or one word), ending with a sentence where that is possible."""
    begin = 0
    while begin < len(words):
        end, size = begin + 1, len(words[begin])
        while end < len(words) and size + 1 + len(words[end]) <= most:
            size += 1 + len(words[end])
            end += 1
        if end < len(words):
            stops = [n for n in range(begin + 1, end + 1) if words[n - 1].rstrip("\"'”’)")[-1:] in ".!?…:;"]
            end = stops[-1] if stops and stops[-1] - begin > (end - begin) // 2 else end
        yield list(words[begin:end])
        begin = end


def _words(status: Status) -> int | None:
    """How many words the robot says it has said, if it does."""
    for told in (status.result, status.feedback):
        if isinstance(told, dict) and type(count := told.get("words")) is int:
            return max(0, count)
    return None

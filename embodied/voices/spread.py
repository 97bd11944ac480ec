"""Where the words of a text lie in a sound of it, by their letters: an estimate that needs nothing but the two.

Time is counted in frames with a voice in them, so that pauses are nobody's. Some servers tell a word when all of its
sound has been sent (ours does): then that is where it ends. Others are ahead with the text: then letters are spread at
a pace, and evenly over the rest once all is there. Pure: no I/O, no clock.
"""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embodied.ports import Mark
from embodied.voices.words import written_words
from streams.types import Samples

FRAME_S = 0.01
SILENT_DB = -50.0
"""Of full scale: a frame below it is a pause. Models speak into silence, at -20 dB or so."""
PACE = 7.5
"""Frames with a voice for each letter, until the speaker's own pace is known: 120 words a minute, a slow speaker."""
SLOWER = 1.08
"""By how much an estimate ahead of the end is slower than the speaker was before: who is wrong is wrong late."""
FASTEST = 3.5
"""Frames for each letter of the quickest speaker (260 words a minute): text that comes sooner is ahead of its sound."""
ENOUGH = 30
"""Letters of a text that is long enough to learn a pace from."""


class Spread:
    """Sound and text in, marks out. rate: Hertz;  pace: see `PACE`, None if it is not known

    learn: told the pace of a text that was whole
    """

    def __init__(
        self, rate: int, pace: float | None = None, learn: Callable[[float], None] = lambda pace: None
    ) -> None:
        self._rate, self._learn = rate, learn
        self._frame = max(1, round(rate * FRAME_S))
        self._pace = PACE if pace is None else pace * SLOWER
        self._rest: Samples = np.zeros(0, np.int16)
        self._voiced: list[int] = []  # numbers of the frames with a voice in them
        self._frames = 0
        self._samples = 0
        self._text = ""
        self._told = 0  # words
        self._anchor = (0, 0.0)  # letters and voiced frames, up to the last word that was told
        self._ended = False
        self._came: list[tuple[int, int]] = []  # length of the text, and frames with a voice, when a piece of it came
        self._ahead = False

    def hear(self, samples: Samples) -> None:
        """More sound, int16[samples]."""
        self._samples += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        count = len(self._rest) // self._frame
        frames: NDArray[np.float64] = self._rest[: count * self._frame].reshape(count, self._frame).astype(np.float64)
        power = np.mean(np.square(frames), axis=1) if count else np.zeros(0)
        loud = np.flatnonzero(power > (32768.0 * 10 ** (SILENT_DB / 20)) ** 2)
        self._voiced += (loud + self._frames).tolist()
        self._frames += count
        self._rest = self._rest[count * self._frame :]

    def say(self, text: str) -> None:
        """More text."""
        if not self._ended:
            self._text += text
            self._came.append((len(self._text), len(self._voiced)))
            self._ahead = self._ahead or len(self._voiced) < FASTEST * len(self._text.strip())

    def end(self) -> None:
        """Both are whole."""
        self._ended = True
        letters = sum(_weight(word.text) for word in written_words(self._text))
        if letters >= ENOUGH and self._voiced:
            self._learn(len(self._voiced) / letters)

    def marks(self, until: int) -> list[Mark]:
        """The words that have ended by sample `until`, in order, each once. Once all is there: all that are left."""
        words = written_words(self._text)
        if words and not self._ended and words[-1].end == len(self._text):
            words.pop()  # it may go on
        words = words[self._told :]
        marks = []
        letters, frames = self._anchor
        pace = self._pace
        if self._ended:
            pace = (len(self._voiced) - frames) / max(1, sum(_weight(word.text) for word in words))
        for word in words:
            letters += _weight(word.text)
            ended = frames + _weight(word.text) * pace if self._ahead else max(frames, float(self._known(word.end)))
            end = self._sample(ended)
            if not self._ended and (end is None or end > until):
                break
            begin = self._sample(frames, after=True)
            end = min(self._samples if end is None else end, self._samples)
            marks.append(Mark(word.text, min(end if begin is None else begin, end), end, exact=False))
            frames = ended
            self._anchor = (letters, frames)
            self._told += 1
        return marks

    def _known(self, length: int) -> int:
        """Frames with a voice that had come with so much of the text."""
        place = bisect_left(self._came, (length, -1))
        return self._came[min(place, len(self._came) - 1)][1]

    def _sample(self, voiced: float, *, after: bool = False) -> int | None:
        """The sample at which so many voiced frames are over (`after`: the next begins); None if they are not."""
        whole = int(voiced)
        if not after and whole and voiced == whole:
            return (self._voiced[whole - 1] + 1) * self._frame if whole <= len(self._voiced) else None
        if whole >= len(self._voiced):
            last = whole == len(self._voiced) and self._voiced and self._ended
            return (self._voiced[-1] + 1) * self._frame if last else None
        return round((self._voiced[whole] + voiced - whole) * self._frame)


def _weight(word: str) -> int:
    """Letters, and one for the gap: of simple weights the one with the least error against espeak-ng's own marks."""
    return len(word) + 1

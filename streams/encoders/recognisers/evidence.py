"""What two searches of the same sound say together: how likely is it that the grammar's sentence was really spoken?

The grammar's search explains the sound by words, with silence and noise between them; the phone loop can follow any
speech. How much worse the grammar does on average is the likelihood ratio against a background (Rose and Paul, ICASSP
1990). An average forgives: of "please do not turn left" the grammar explains all but "do not". So the evidence is
also looked at word by word and between the words. Figures: docs/decisions/0005-speech.md.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.encoders.recognisers import RATE, HeardWord

FRAME = RATE // 100  # samples per frame of the acoustic model


class Path(NamedTuple):
    """The best path of a search.

    score: its log likelihood;  words: without silence and noise;  frames: of the words
    scores: float64[frames of sound], the score of each part of the path spread evenly over its frames
    spoken: bool[frames of sound], true inside of words (of the phone loop: phones)
    """

    score: float
    words: list[HeardWord]
    frames: int
    scores: NDArray[np.float64]
    spoken: NDArray[np.bool_]


def path(search: Any) -> Path | None:
    """The best path of pocketsphinx's `search`, None if it has none."""
    hypothesis = search.hyp()
    if hypothesis is None or hypothesis.score <= 0:
        return None
    # The library gives exp(score / 1024): its scores are kept in steps of 2^10.
    parts = [
        (part.word, part.start_frame, part.end_frame, 1024 * math.log(max(part.prob, 1e-300))) for part in search.seg()
    ]
    count = max(last for _, _, last, _ in parts) + 1
    scores, spoken = np.zeros(count), np.zeros(count, np.bool_)
    words: list[HeardWord] = []
    for text, first, last, score in parts:
        if text[0] not in "<[(":
            words.append(HeardWord(re.sub(r"\(\d+\)$", "", text), first * FRAME, (last + 1) * FRAME))
            spoken[first : last + 1] = True
        if first <= last and text != "(NULL)":
            scores[first : last + 1] += score / (last + 1 - first)
    frames = sum(word.end - word.start for word in words) // FRAME
    return Path(1024 * math.log(hypothesis.score), words, frames, scores, spoken)


def confidence(grammar: Path, loop: Path | None) -> float:
    """Probability that the sentence was spoken, on the whole. Logistic regression on the likelihood ratio per frame.

    Short sentences fit by chance, so the length counts too. Right for unfinished speech.
    """
    ratio = (grammar.score - (loop.score if loop else 0.0)) / max(loop.frames if loop else grammar.frames, 20)
    return _probability(3.515 + 2.154 * ratio + 0.174 * min(1.0, grammar.frames / 60))


def explained(grammar: Path, loop: Path | None) -> float:
    """Probability that the sentence is all that was spoken: no speech between its words or instead of one.

    Logistic regression on the worst stretch without words and the worst word, by their log likelihood against the
    phone loop's, and on how long the loop hears speech where the grammar has no words. Speech that has ended.
    """
    if loop is None:
        return 1.0
    count = min(len(grammar.scores), len(loop.scores))
    worse = np.concatenate(([0.0], np.cumsum(loop.scores[:count] - grammar.scores[:count])))
    bounds = [(min(word.start // FRAME, count), min(word.end // FRAME, count)) for word in grammar.words]
    edges = [0, *(edge for bound in bounds for edge in bound), count]
    gap = max(worse[end] - worse[start] for start, end in zip(edges[::2], edges[1::2], strict=True))
    word = max((worse[end] - worse[start]) / max(1, end - start) for start, end in bounds)
    stray = int(np.count_nonzero(loop.spoken[:count] & ~grammar.spoken[:count]))
    return _probability(
        3.4 - 1.94 * max(0.0, gap - 10) / 30 - 0.586 * max(0.0, word - 2) - 0.282 * max(0, stray - 8) / 10
    )


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))

"""Grammar speech recognition with pocketsphinx: what can be understood is what a JSGF text says.

pocketsphinx (https://github.com/cmusphinx/pocketsphinx, BSD) carries its English acoustic model and the CMU
pronouncing dictionary in its wheel. JSGF: Java Speech Grammar Format 1.0, https://www.w3.org/TR/jsgf/.
"""

import math
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from streams.encoders.recognisers import RATE, GrammarInvalid, HeardWord, Hypothesis
from streams.errors import DependencyMissing
from streams.types import Samples

FRAME = RATE // 100  # samples per frame of pocketsphinx
SILENT = ("<s>", "</s>", "<sil>", "(NULL)", "[NOISE]")


class GrammarConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """accept: confidence below which speech is rejected as outside the grammar."""

    accept: float = 0.5


class GrammarModel:
    """A checked grammar and what pocketsphinx needs for it. Shared; decoders are made per session."""

    name = "pocketsphinx-grammar"

    def __init__(self, jsgf: str, config: GrammarConfig | None = None) -> None:
        self.config = config or GrammarConfig()
        self.jsgf = jsgf
        _pocketsphinx()

    def recogniser(self) -> "GrammarRecogniser":
        """A decoder of its own for one session (about 0.15 s)."""
        return GrammarRecogniser(self)


class GrammarRecogniser:
    """One session's stream."""

    feed_cost = 60_000_000
    finish_cost = 3_000_000
    joins = True

    def __init__(self, model: GrammarModel) -> None:
        self.model = model
        ps = _pocketsphinx()
        self._decoder = ps.Decoder(
            hmm=ps.get_model_path("en-us/en-us"),
            dict=ps.get_model_path("en-us/cmudict-en-us.dict"),
            lm=None,
            loglevel="FATAL",
            bestpath=False,
            compallsen=True,
        )
        self._decoder.add_jsgf_string("grammar", model.jsgf)
        self._decoder.activate_search("grammar")
        self._open = False

    def start(self) -> None:
        if self._open:
            self._decoder.end_utt()
        self._decoder.start_utt()
        self._open = True

    def feed(self, samples: Samples) -> None:
        self._decoder.process_raw(samples.tobytes(), False, False)

    def partial(self) -> Hypothesis:
        return self._hypothesis()

    def finish(self) -> Hypothesis:
        self._decoder.end_utt()
        self._open = False
        return self._hypothesis()

    def reset(self) -> None:
        if self._open:
            self._decoder.end_utt()
            self._open = False
        self._decoder.set_cmn("40,3,-1")

    def _hypothesis(self) -> Hypothesis:
        decoder = self._decoder
        hyp = decoder.hyp()
        if hyp is None or not hyp.hypstr:
            return Hypothesis()
        words, frames, total = [], 0, 0.0
        for seg in decoder.seg():
            if seg.word in SILENT:
                continue
            n = seg.end_frame - seg.start_frame + 1
            score = 1024 * math.log(max(seg.ascore, 1e-300))
            frames, total = frames + n, total + score
            words.append(
                HeardWord(
                    re.sub(r"\(\d+\)$", "", seg.word),
                    seg.start_frame * FRAME,
                    (seg.end_frame + 1) * FRAME,
                    math.exp(score / n / 10),
                )
            )
        confidence = 1 / (1 + math.exp(-(total / max(frames, 1) + 4.5) * 2))
        text = " ".join(word.text for word in words)
        if confidence < self.model.config.accept:
            return Hypothesis(confidence=confidence, guess=text)
        return Hypothesis(text, tuple(words), confidence, True)


@cache
def _pocketsphinx() -> Any:
    try:
        import pocketsphinx  # noqa: PLC0415 - optional
    except ImportError as error:
        raise DependencyMissing("pocketsphinx", "speech", "grammar speech recognition") from error
    return pocketsphinx

"""How long to wait in a person's silence before taking the turn. Pure functions of the evidence; no clock, no state.

Peers threshold once and choose between two constants. Here the evidence is fused into one probability that the turn is
over, and the wait is a falling, continuous function of it: a confident end is answered at once, a doubtful one waits
in proportion, and nothing waits longer than `max_wait_ms`. The judgement is made again whenever evidence changes.

Fusion is a sum of log-odds (naive Bayes): each piece of evidence adds what it is worth, and says so in the result.
"""

import math
from typing import TypeAlias

from msgspec import Struct

from policies import turn_model
from streams.clock import MS

Evidence: TypeAlias = dict[str, float | str]

# A phrase that ends in one of these is not finished: the speaker is looking for the next word.
# (A wait, not a rule: the list need not be complete.)
HOLD_WORDS: dict[str, str] = {
    "en": """a an and are as at because but by can could did do does for from if in into is like my of on or our please
        so than that the their then this to uh um er hmm was well were which who will with would your""",
    "de": """aber als am an auf aus bei bis da dass das dem den der die ein eine einen für im in ist mein mit nach oder
        und um von vor weil wenn wie zu zum zur äh ähm""",
    "fr": """à au aux avec car ce ces comme dans de des donc du en est et euh le la les leur mais mon ou où par pour que
        qui sa si son sur un une""",
    "es": """a al como con cuando de del el en es este la las los mi o para pero por porque que si sin su un una y""",
}


class EndpointingConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Bars and bounds of the wait. Milliseconds are counted from the end of the person's last voiced sound.

    min_wait_ms: wait at a confident end (the turn model has been heard by then);  max_wait_ms: wait at a certain hold
    confident: probability from which the wait is minimal;  curve: how fast the wait grows below it (1 = linearly)
    model_weight, model_neutral: how much of the turn model's log-odds counts, and the probability at which it says
        nothing: it calls most silences an end (docs/decisions/0004-turn-end.md)
    model_most: the most it may add or take, in log-odds: it is right about 3 times in 4, however sure it sounds
    fusion: file of a learnt fusion (`visavis tune turns`), which then takes the place of these three
    fusion_text: the content of that file, which is then not read: a recording keeps it here
    """

    min_wait_ms: int = 290
    max_wait_ms: int = 1600
    confident: float = 0.8
    curve: float = 1.3
    model_weight: float = 0.6
    model_neutral: float = 0.8
    model_most: float = 1.3
    fusion: str = ""
    fusion_text: str = ""

    def __post_init__(self) -> None:
        if self.min_wait_ms < 0:
            raise ValueError(f"min_wait_ms = {self.min_wait_ms}: a wait cannot be shorter than 0")
        if self.max_wait_ms < self.min_wait_ms:
            raise ValueError(f"max_wait_ms = {self.max_wait_ms} is below min_wait_ms = {self.min_wait_ms}")
        for name in ("confident", "model_neutral"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is no probability between 0 and 1")
        for name, most in (("curve", 10.0), ("model_weight", 10.0), ("model_most", 10.0)):
            if not 0 <= getattr(self, name) <= most:  # nor is a NaN
                raise ValueError(f"{name} = {getattr(self, name)}: it must lie between 0 and {most:g}")


class Judgement(Struct, frozen=True):
    """probability: that the turn is over;  wait_ns: silence to ask for;  evidence: what each part was worth."""

    probability: float
    wait_ns: int
    evidence: Evidence


def judge(
    config: EndpointingConfig,
    *,
    text: str,
    complete: bool,
    final: bool,
    model: float | None,
    asked: bool,
    language: str = "en",
    spoken_ns: int | None = None,
) -> Judgement:
    """Fuse the evidence on whether the turn is over.

    text: the words of the turn so far (partial or final);  complete: they are a whole sentence of the grammar
    final: the recogniser has finished with them;  model: P(end) of the acoustic turn model, None if not heard yet
    asked: the agent's last words were a question, so that a short answer is all there is to come
    language: of the words
    spoken_ns: how long the turn was spoken, silences left out; only a learnt fusion makes use of it
    Raises `FusionError` if `config.fusion_text` is no learnt fusion.
    """
    words = text.split()
    parts: dict[str, float] = {}
    hold_word = bool(words) and words[-1] in HOLD_WORDS.get(language, "").split() and not complete
    if config.fusion_text:
        fusion = turn_model.parse(config.fusion_text)
        count = len(words)
        values = turn_model.features(
            words=count,
            complete=complete,
            final=final,
            hold_word=hold_word,
            model=model,
            asked=asked,
            spoken_ns=spoken_ns,
        )
        return _judgement(config, fusion.probability(values), {"fusion": fusion.hash[:8]}, model, text)
    if model is not None:
        worth = config.model_weight * (_logit(model) - _logit(config.model_neutral))
        parts["model"] = max(-config.model_most, min(config.model_most, worth))
    if hold_word:
        parts["hold_word"] = -2.0
    elif complete:
        parts["sentence"] = 2.2 if final else 1.2
    elif final and words:
        parts["fragment"] = -0.4
    elif final:
        parts["no_words"] = -0.2
    if asked and complete and len(words) <= 3:
        parts["answer"] = 1.0
    evidence: Evidence = {name: round(value, 3) for name, value in parts.items()}
    return _judgement(config, _sigmoid(sum(parts.values())), evidence, model, text)


def _judgement(
    config: EndpointingConfig, probability: float, evidence: Evidence, model: float | None, text: str
) -> Judgement:
    if model is not None:
        evidence["p_model"] = round(model, 4)
    if text:
        evidence["text"] = text
    return Judgement(round(probability, 4), wait_ns(config, probability), evidence)


def wait_ns(config: EndpointingConfig, probability: float) -> int:
    """The wait that `probability` asks for: falls from max_wait_ms at 0 to min_wait_ms at `confident` and above."""
    doubt = min(1.0, max(0.0, (config.confident - probability) / config.confident))
    share: float = doubt**config.curve
    return round(config.min_wait_ms + (config.max_wait_ms - config.min_wait_ms) * share) * MS


def _logit(p: float) -> float:
    p = min(0.99, max(0.01, p))
    return math.log(p / (1 - p))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))

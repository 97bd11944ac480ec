"""A small learnt fusion of the evidence on whether a turn is over, for one household: weights in a JSON file.

`visavis tune turns` makes the file (docs/tuning.md); here it is read and evaluated, in plain Python and without any
package, so that a recording replays to the same probabilities. A multi-layer perceptron with one hidden layer of tanh,
calibrated by Platt's method (J. Platt, Probabilistic Outputs for Support Vector Machines, 1999).
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from policies.errors import PolicyError
from streams.clock import SECOND

FEATURES = (
    "model", "model_known", "final", "complete", "hold_word", "fragment", "asked", "words", "spoken", "rate",
)  # fmt: skip
MOST_HIDDEN = 64


class FusionError(PolicyError):
    """The file of a learnt fusion cannot be read, is damaged, or was made for other evidence."""


class Fusion(Struct, frozen=True, forbid_unknown_fields=True):
    """The weights. `probability` is sigmoid(slope * logit + offset) of the perceptron's logit.

    features: names, in order (`FEATURES`);  mean, scale: float[features], by which they are normalised
    hidden: float[units][features];  hidden_bias, output: float[units];  output_bias, slope, offset: calibration
    trained: facts of the training, for people;  hash: SHA-256 of all the rest
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    hidden_bias: tuple[float, ...]
    output: tuple[float, ...]
    output_bias: float
    slope: float = 1.0
    offset: float = 0.0
    kind: Literal["visavis-turn-fusion"] = "visavis-turn-fusion"
    format: Literal[1] = 1
    trained: dict[str, Any] = field(default_factory=dict)
    hash: str = ""

    def probability(self, values: Sequence[float | None]) -> float:
        """That the turn is over. values: [features], None for what is not known (it then says nothing)."""
        normal = [
            0.0 if value is None else (value - mean) / scale
            for value, mean, scale in zip(values, self.mean, self.scale, strict=True)
        ]
        logit = self.output_bias
        for weights, bias, out in zip(self.hidden, self.hidden_bias, self.output):
            logit += out * math.tanh(bias + sum(weight * value for weight, value in zip(weights, normal)))
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.slope * logit + self.offset))))

    def text(self) -> str:
        """As JSON, with its hash."""
        return msgspec.json.format(
            msgspec.json.encode(msgspec.structs.replace(self, hash=self.digest())), indent=1
        ).decode()

    def digest(self) -> str:
        """SHA-256 (hexadecimal) of everything but `hash`."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, hash=""), order="sorted")).hexdigest()


def features(
    *, words: int, complete: bool, final: bool, hold_word: bool, model: float | None, asked: bool, spoken_ns: int | None
) -> tuple[float | None, ...]:
    """The evidence as numbers, in the order of `FEATURES`.

    words: how many there are;  model: P(end) of the acoustic model, None if not heard yet
    spoken_ns: how long the turn was spoken, silences left out; None if not known
    """
    spoken_s = None if spoken_ns is None else max(0.0, spoken_ns / SECOND)
    rate = None if spoken_s is None else min(10.0, words / max(spoken_s, 0.2))
    heard = 0.5 if model is None else min(0.99, max(0.01, model))
    return (
        math.log(heard / (1 - heard)),
        float(model is not None),
        float(final),
        float(complete),
        float(hold_word),
        float(final and words > 0 and not complete and not hold_word),
        float(asked),
        math.log1p(words),
        None if spoken_s is None else math.log1p(spoken_s),
        rate,
    )


def read(path: Path) -> str:
    """The text of a fusion's file, seen to be whole. Raises `FusionError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "it is no text"
        raise FusionError(f"cannot read the turn model {path}: {why}.") from error
    try:
        parse(text)
    except FusionError as error:
        raise FusionError(f"{path}: {error}") from error
    return text


@lru_cache(maxsize=8)
def parse(text: str) -> Fusion:
    """A fusion of the text of its file. Raises `FusionError`."""
    try:
        fusion = msgspec.json.decode(text, type=Fusion)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FusionError(f"this is no turn model: {error}.") from error
    if fusion.features != FEATURES:
        raise FusionError("this turn model is for other evidence than this version has: fit it again.")
    sizes = {len(fusion.mean), len(fusion.scale), *map(len, fusion.hidden)}
    units = {len(fusion.hidden), len(fusion.hidden_bias), len(fusion.output)}
    numbers = [
        *fusion.mean,
        *fusion.scale,
        *fusion.hidden_bias,
        *fusion.output,
        *(w for row in fusion.hidden for w in row),
    ]
    numbers += [fusion.output_bias, fusion.slope, fusion.offset]
    if sizes != {len(FEATURES)} or len(units) != 1 or max(units) > MOST_HIDDEN:
        raise FusionError("this turn model is damaged: its weights do not fit together. Fit it again.")
    if not all(map(math.isfinite, numbers)) or min(fusion.scale) <= 0:
        raise FusionError("this turn model is damaged: some of its weights are no numbers. Fit it again.")
    if fusion.hash != fusion.digest():
        raise FusionError("this turn model was changed after it was made (its hash is wrong): fit it again.")
    return fusion

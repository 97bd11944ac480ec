"""When would the turn have been taken? The waits of many silences at once, with other settings.

The same rule as in `policies/turns.py`: each change of the evidence gives another wait; the turn is taken when the
newest has passed and the recogniser is done, or has been waited for long enough. Tests hold it against `judge` and
against what was recorded. NumPy only.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent.tuning.examples import Moment, Silence
from policies.endpointing import HOLD_WORDS, EndpointingConfig, judge
from policies.turn_model import features

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


class Table:
    """Silences as arrays: [silences, moments], padded behind.

    at, until: when a moment begins and ends, ms;  known: it is no padding;  final, logit (NaN: not heard), others: the
    evidence;  features: float64[silences, moments, features] (NaN: not known)
    gap: ms, infinite at an end;  hold: which silences are holds;  decided, patience, group: [silences]
    place: [silences], number of the group from 0;  sayings: how many groups there are
    """

    def __init__(self, silences: Sequence[Silence]) -> None:
        self.silences = tuple(silences)
        count, most = len(silences), max((len(each.moments) for each in silences), default=1)
        shape = (count, most)
        self.at, self.until = np.full(shape, np.inf), np.full(shape, np.inf)
        self.known, self.final = np.zeros(shape, bool), np.zeros(shape, bool)
        self.logit, self.others = np.full(shape, np.nan), np.zeros(shape)
        self.features = np.zeros((*shape, len(_features(_NOTHING, "en"))))
        self.gap = np.array([np.inf if each.gap_ms is None else each.gap_ms for each in silences])
        self.decided = np.array([each.decided_ms for each in silences])
        self.patience = np.array([each.patience for each in silences])
        self.group = np.array([each.group for each in silences], int)
        self.hold: Bools = np.isfinite(self.gap)
        groups, self.place = np.unique(self.group, return_inverse=True)
        self.sayings = len(groups)
        for row, silence in enumerate(silences):
            self._fill(row, silence)

    def _fill(self, row: int, silence: Silence) -> None:
        for column, moment in enumerate(silence.moments):
            self.known[row, column] = True
            self.at[row, column] = moment.after_ms
            if column:
                self.until[row, column - 1] = moment.after_ms
            self.final[row, column] = moment.final
            if moment.model is not None:
                heard = min(0.99, max(0.01, moment.model))
                self.logit[row, column] = np.log(heard / (1 - heard))
            self.others[row, column] = _others(moment, silence.language)
            self.features[row, column] = _features(moment, silence.language)

    def only(self, which: Bools) -> "Table":
        """The silences of `which`."""
        return Table([each for each, taken in zip(self.silences, which) if taken])

    def probability(self, config: EndpointingConfig) -> Floats:
        """[silences, moments]: that the turn is over, by the rules (no learnt fusion)."""
        neutral = np.log(config.model_neutral / (1 - config.model_neutral))
        worth = np.clip(config.model_weight * (self.logit - neutral), -config.model_most, config.model_most)
        result: Floats = 1 / (1 + np.exp(-(self.others + np.nan_to_num(worth))))
        return result

    def taken_ms(self, config: EndpointingConfig, grace_ms: float, probability: Floats | None = None) -> Floats:
        """[silences]: after how much silence the turn would be taken, ms, if nobody went on.

        probability: of a learnt fusion, in place of that by the rules
        """
        p = self.probability(config) if probability is None else probability
        doubt = np.clip((config.confident - p) / config.confident, 0, 1)
        span = config.max_wait_ms - config.min_wait_ms
        wait = np.round(config.min_wait_ms + span * doubt**config.curve) * self.patience[:, None]
        due = np.where(self.final, wait, np.maximum(wait, self.decided[:, None]) + grace_ms)
        taken = np.maximum(due, self.at)
        first = (self.known & (taken <= self.until)).argmax(axis=1)
        result: Floats = taken[np.arange(len(taken)), first]
        return result


def plain(config: EndpointingConfig) -> EndpointingConfig:
    """`config` by the rules, whatever kind of it it is and whatever learnt fusion it names."""
    values = {name: getattr(config, name) for name in EndpointingConfig.__struct_fields__}
    return EndpointingConfig(**{**values, "fusion": "", "fusion_text": ""})


_NOTHING = Moment(0.0, "", False, False, None, False, 0)
_RULES = EndpointingConfig()


def _others(moment: Moment, language: str) -> float:
    """What all but the turn model adds, in log-odds."""
    evidence = judge(
        _RULES,
        text=moment.text,
        complete=moment.complete,
        final=moment.final,
        model=None,
        asked=moment.asked,
        language=language,
    ).evidence
    return sum(value for value in evidence.values() if isinstance(value, float))


def _features(moment: Moment, language: str) -> list[float]:
    words = moment.text.split()
    hold_word = bool(words) and words[-1] in HOLD_WORDS.get(language, "").split() and not moment.complete
    found = features(
        words=len(words),
        complete=moment.complete,
        final=moment.final,
        hold_word=hold_word,
        model=moment.model,
        asked=moment.asked,
        spoken_ns=moment.spoken_ns,
    )
    return [np.nan if value is None else value for value in found]


def settings(config: EndpointingConfig) -> dict[str, float]:
    """What is fitted of it, by key of the configuration."""
    values: dict[str, float] = msgspec.to_builtins(plain(config))
    return {name: value for name, value in values.items() if not name.startswith("fusion")}

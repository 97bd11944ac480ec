"""Fitting the wait to recordings, from silences to verdict. Pure: reads and writes no file.

The newest part is held out and seen by nobody but the comparison; what is compared is what is exported.
"""

from typing import Any

import numpy as np
from msgspec import Struct

from agent.tuning.comparison import Change, Compared, Row, Verdict, enough, split, verdict
from agent.tuning.examples import Examples
from agent.tuning.fit import TARGET, figures, fit
from agent.tuning.learning import learn, predicted
from agent.tuning.waits import Floats, Table, plain
from policies.endpointing import EndpointingConfig
from policies.turn_model import Fusion, parse
from policies.turns import TurnConfig

NOW, FITTED, LEARNT = "now", "fitted settings", "learnt fusion"
LEAST = 20  # things said, below which nothing is even fitted


class Proposal(Struct, frozen=True):
    """One way to set the wait. config: its settings;  fusion: None by the rules;  row, change: on what was held out"""

    name: str
    config: EndpointingConfig
    fusion: Fusion | None
    row: Row
    change: Change
    verdict: Verdict


class Tuning(Struct, frozen=True):
    """What came of it. said, holds, ends: how many;  now: the figures of the settings that are, on what was held out

    untold: silences that were left out, by reason;  missing: "" or how much more is needed
    proposals: in order;  best: the one to take, None if none is recommended
    """

    said: int
    holds: int
    ends: int
    untold: dict[str, int]
    recordings: tuple[str, ...]
    held_out: int
    config: EndpointingConfig
    now: Row | None
    proposals: tuple[Proposal, ...]
    missing: str
    best: Proposal | None


def tune(
    examples: Examples,
    now: TurnConfig,
    *,
    held_out: float = 0.3,
    seed: int = 0,
    most: float = TARGET,
    model: bool = True,
) -> Tuning:
    """Fit the wait to `examples`, beginning from `now`. most: share of what is said that may be cut off

    model: also train the fusion, which needs torch. Raises `DependencyMissing`, and `FusionError` of a fusion in `now`.
    """
    table = Table(examples.silences)
    held = split(table, held_out) if len(table.silences) else np.zeros(0, bool)
    train, test = table.only(~held), table.only(held)
    grace_ms = float(now.final_grace_ms)
    missing = enough(table, held)
    said = examples.groups
    facts = (said, int(table.hold.sum()), int((~table.hold).sum()), examples.untold, examples.recordings)
    some = all(len(part.silences) and part.hold.any() and not part.hold.all() for part in (train, test))
    if said < LEAST or not some:
        missing = missing or "There is too little to judge by: pauses and ends are needed, early and late."
        return Tuning(*facts, 0, now, None, (), missing, None)

    def waits(part: Table) -> Floats:
        return part.taken_ms(now, grace_ms, predicted(parse(now.fusion_text), part) if now.fusion_text else None)

    compared, before = Compared(test, seed), waits(test)
    cut_now = figures(train, waits(train)).cut or 0.0
    over = cut_now > most
    row = compared.row(NOW, before)

    def proposal(name: str, config: EndpointingConfig, taken_ms: Floats, fusion: Fusion | None) -> Proposal:
        change = compared.change(before, taken_ms)
        judged = Verdict(False, missing) if missing else verdict(change, row.said, over)
        return Proposal(name, config, fusion, compared.row(name, taken_ms), change, judged)

    fitted = fit(train, now, grace_ms=grace_ms, seed=seed, target=most, allowed=cut_now)
    fitted_ms = test.taken_ms(fitted, grace_ms)
    proposals = [proposal(FITTED, fitted, fitted_ms, None)]
    best = proposals[0] if proposals[0].verdict.recommended else None
    if model:
        about: dict[str, Any] = {"said": len(np.unique(train.group)), "silences": len(train.silences)}
        learnt = learn(train, seed=seed, facts=about)
        config = fit(train, now, grace_ms=grace_ms, seed=seed, target=most, allowed=cut_now, probability=learnt.unseen)
        taken = test.taken_ms(config, grace_ms, predicted(learnt.fusion, test))
        proposals.append(proposal(LEARNT, config, taken, learnt.fusion))
        further = verdict(compared.change(fitted_ms, taken), row.said, over).recommended
        if proposals[1].verdict.recommended and (best is None or further):
            best = proposals[1]
    return Tuning(*facts, row.said, now, row, tuple(proposals), missing, best)


__all__ = ["FITTED", "LEARNT", "NOW", "Proposal", "Tuning", "plain", "tune"]

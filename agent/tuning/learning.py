"""Training the small fusion model: torch, on the processor, in seconds; the same seed gives the same weights.

One hidden layer, cross-entropy with class weights, weight decay, early stopping by four-fold cross-validation over
what was said (silences of one saying stay together). The predictions of the folds, of silences that their model has
not seen, give the calibration, and the probabilities with which the wait is fitted.
"""

from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from agent.tuning.waits import Bools, Floats, Table
from policies.turn_model import FEATURES, Fusion
from streams.errors import DependencyMissing

UNITS = 8
FOLDS = 4
EPOCHS, PATIENCE = 300, 30
RATE, DECAY = 0.05, 0.02


class Learnt(Struct, frozen=True):
    """fusion: trained on all;  unseen: float64[silences, moments], P(end) by models that had not seen that saying."""

    fusion: Fusion
    unseen: Floats


def torch() -> Any:
    """The package, imported when it is needed. Raises `DependencyMissing`."""
    try:
        import torch as package  # noqa: PLC0415 - two seconds, and only for training
    except ImportError as error:
        raise DependencyMissing("torch", "train", "fitting a turn model", "--no-model") from error
    return package


def learn(table: Table, *, seed: int, facts: dict[str, Any] | None = None) -> Learnt:
    """Train on `table`, which has ends and holds. facts: kept in the fusion. Raises `DependencyMissing`."""
    package = torch()
    rows, columns = np.nonzero(table.known)
    values = table.features[rows, columns]
    mean = np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    normal = np.nan_to_num((values - mean) / scale)
    label = (~table.hold[rows]).astype(float)
    each = 1 / table.known.sum(axis=1)[rows]  # a silence counts once, however often its evidence changed
    ends = float((each * label).sum())
    weight = each * np.where(label > 0, 0.5 / max(ends, 1e-9), 0.5 / max(float(each.sum()) - ends, 1e-9))

    groups = np.random.default_rng(seed).permutation(np.unique(table.group))
    fold = {int(group): place % FOLDS for place, group in enumerate(groups)}
    place = np.array([fold[int(group)] for group in table.group[rows]])
    logits = np.zeros(len(rows))
    epochs = []
    threads = package.get_num_threads()
    package.set_num_threads(1)  # sums in one order
    try:
        for number in range(FOLDS):
            out = place == number
            model, best = _train(package, normal, label, weight, ~out, out, seed + number)
            logits[out] = _logits(package, model, normal[out])
            epochs.append(best)
        everything = np.ones(len(rows), bool)
        model, _ = _train(package, normal, label, weight, everything, None, seed, round(float(np.median(epochs))))
    finally:
        package.set_num_threads(threads)
    slope, offset = _platt(logits, label, each)
    unseen = np.zeros(table.known.shape)
    unseen[rows, columns] = 1 / (1 + np.exp(-np.clip(slope * logits + offset, -50, 50)))
    first, last = model[0], model[2]
    fusion = Fusion(
        features=FEATURES,
        mean=tuple(map(float, mean)),
        scale=tuple(map(float, scale)),
        hidden=tuple(tuple(map(float, row)) for row in first.weight.detach().tolist()),
        hidden_bias=tuple(first.bias.detach().tolist()),
        output=tuple(last.weight.detach().tolist()[0]),
        output_bias=float(last.bias.detach().tolist()[0]),
        slope=slope,
        offset=offset,
        trained={**(facts or {}), "epochs": epochs, "seed": seed},
    )
    return Learnt(msgspec.structs.replace(fusion, hash=fusion.digest()), unseen)


def predicted(fusion: Fusion, table: Table) -> Floats:
    """[silences, moments]: what `fusion` says, as it would in a session."""
    result = np.zeros(table.known.shape)
    for row, column in zip(*np.nonzero(table.known)):
        values = [None if np.isnan(value) else float(value) for value in table.features[row, column]]
        result[row, column] = fusion.probability(values)
    return result


def _train(
    package: Any,
    values: Floats,
    label: Floats,
    weight: Floats,
    inside: Bools,
    outside: Bools | None,
    seed: int,
    epochs: int = EPOCHS,
) -> tuple[Any, int]:
    """A model of `inside`, and after how many epochs it was best on `outside` (without that: `epochs`)."""
    draw = package.Generator().manual_seed(seed)
    first, last = (package.nn.Linear(a, b, dtype=package.float64) for a, b in ((values.shape[1], UNITS), (UNITS, 1)))
    with package.no_grad():
        for layer in (first, last):
            bound = 1 / layer.in_features**0.5
            for parameter in (layer.weight, layer.bias):
                parameter.uniform_(-bound, bound, generator=draw)
    model = package.nn.Sequential(first, package.nn.Tanh(), last)
    steps = package.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    x, y, w = (package.from_numpy(np.ascontiguousarray(each)) for each in (values, label, weight))
    within = [each[package.from_numpy(inside)] for each in (x, y, w)]
    without = (
        [each[package.from_numpy(outside)] for each in (x, y, w)] if outside is not None and outside.any() else None
    )

    def loss(part: Any) -> Any:
        known, wanted, counts = part
        raw = package.nn.functional.binary_cross_entropy_with_logits(model(known)[:, 0], wanted, reduction="none")
        return (raw * counts).sum() / counts.sum()

    best, least, kept = 0, float("inf"), None
    for epoch in range(1, max(1, epochs) + 1):
        steps.zero_grad()
        loss(within).backward()
        steps.step()
        if without is None:
            continue
        with package.no_grad():
            now = float(loss(without))
        if now < least:
            best, least, kept = epoch, now, {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best > PATIENCE:
            break
    if kept is not None:
        model.load_state_dict(kept)
    return model, best or epochs


def _logits(package: Any, model: Any, values: Floats) -> Floats:
    with package.no_grad():
        result: Floats = model(package.from_numpy(np.ascontiguousarray(values)))[:, 0].numpy()
    return result


def _platt(logits: Floats, label: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and offset that make probabilities of logits, by Newton's method on the softened labels of Platt."""
    ends = float((weight * label).sum())
    holds = float(weight.sum()) - ends
    target = np.where(label > 0, (ends + 1) / (ends + 2), 1 / (holds + 2))
    slope, offset = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(slope * logits + offset, -50, 50)))
        error, curve = weight * (p - target), weight * np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([(error * logits).sum() + 1e-3 * (slope - 1), error.sum()])
        cross = (curve * logits).sum()
        matrix = np.array([[(curve * logits**2).sum() + 1e-3, cross], [cross, curve.sum() + 1e-9]])
        step = np.linalg.solve(matrix, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if float(np.abs(step).max()) < 1e-9:
            break
    return max(0.0, slope), offset

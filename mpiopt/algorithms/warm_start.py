"""A start near the optimum: the same algorithm on an eighth of the rows, and there on an eighth again.

The optimum on n rows is within its statistical error, about unknowns/n of the objective, of that on all rows
(H. Daneshmand, A. Lucchi, T. Hofmann, Starting small, ICML 2016; A. Mokhtari et al., Adaptive Newton method,
NeurIPS 2016). To come so near on a part of the rows costs a part of an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]


@dataclass(frozen=True)
class WarmStartTuning:
    """Constants of the start on a part of the rows, found by trial (docs/explanation/design.md)."""

    factor: int = 8  # rows for each row of the part
    least_rows: int = 20  # rows of the part for each unknown: with fewer its optimum is too far from that of all rows
    error: float = 0.1  # of the statistical error: a smaller gain between two exact values ends the work on the part
    surprise: float = 10.0  # times the statistical error: the largest relative loss on all rows that is accepted
    rounds: int = 30  # at most on the part
    near_gain: float = 0.003  # of the objective: a smaller gain between two exact values ends `approach`
    near_rounds: int = 200  # at most of `approach`


TUNING = WarmStartTuning()


class Start(NamedTuple):
    """A model to start from; where F is above `believed` there, 0 is the better start.

    The optimum of the part is then much worse on all rows than its statistical error allows: a few rows far from the
    others bend the objective, and a start among them costs more than it saves.
    """

    w: Model
    epochs: float  # that it cost
    believed: float


class EvaluatedStart(NamedTuple):
    """A model to start from, with the exact objective there."""

    w: Model
    exact: Evaluation
    epochs: float  # that it cost


def begin(algorithm: Algorithm[Any], objective: Objective, channel: Channel, on_part: bool = True) -> EvaluatedStart:
    """Return the optimum of a part of the rows, or the origin where F is lower there, evaluated; collective.

    A model that the run was given (`Objective.initial`) takes the place of the part's optimum. With `on_part` False
    the start is at the origin without one.
    """
    zero = objective.origin()
    if not on_part and objective.initial is None:
        return EvaluatedStart(zero, evaluate_exact(objective, zero, channel), 1.0)
    start = find(algorithm, objective, channel)
    exact = evaluate_exact(objective, start.w, channel)
    if start.epochs == 0.0 and objective.initial is None:
        return EvaluatedStart(start.w, exact, 1.0)
    at_zero = evaluate_exact(objective, zero, channel)  # kept from the start of a run: no pass over the rows
    if exact.value <= min(start.believed, at_zero.value):
        return EvaluatedStart(start.w, exact, start.epochs + 1.0)
    return EvaluatedStart(zero, at_zero, start.epochs + 2.0)


def find(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> Start:
    """Return nearly the optimum of a part of the rows; 0 where the rows are few; the model given; collective."""
    if objective.initial is not None:
        return Start(objective.beginning(), 0.0, evaluate_exact(objective, objective.origin(), channel).value)
    part = first_rows(objective, channel)
    unknowns = objective.outputs * (objective.shard.features + objective.shard.intercept)
    if part is None or part.shard.total < TUNING.least_rows * unknowns:
        return Start(objective.origin(), 0.0, np.inf)
    found = _run(algorithm, part, channel, TUNING.rounds, TUNING.error * unknowns / part.shard.total, 1.0)
    epochs = found.epochs * (part.shard.total / objective.shard.total)
    surprise = TUNING.surprise * unknowns / part.shard.total * abs(found.value)
    return Start(found.w, epochs, found.value + surprise)


def approach(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> Start:
    """Return a model near the optimum of all rows, by an algorithm that stops when it gains little; collective."""
    found = _run(algorithm, objective, channel, TUNING.near_rounds, TUNING.near_gain, 0.0)
    return Start(found.w, found.epochs, np.inf)


class _Ran(NamedTuple):
    """Where a run ended."""

    w: Model
    value: float  # F at the last exact evaluation
    epochs: float


def _run(
    algorithm: Algorithm[Any], objective: Objective, channel: Channel, rounds: int, gain: float, epochs: float
) -> _Ran:
    """Run until F falls by less than `gain` of itself between two exact values, after `epochs` before; collective."""
    state = algorithm.init(objective, channel)
    value = np.inf
    for k in range(rounds):
        info = algorithm.step(k, state, objective, channel)
        epochs += info.epochs
        if info.exact is not None:
            gained, value = value - info.exact.value, info.exact.value
            if gained <= gain * abs(value):
                break
    return _Ran(np.array(state.w), value, epochs)


def first_rows(objective: Objective, channel: Channel, factor: int = TUNING.factor) -> Objective | None:
    """Return the objective of the part of 1/factor of the rows; None if a rank would have none; collective.

    It has the same rows on any number of ranks, if the shard knows them: so the start leads to the same model.
    """
    shard = objective.shard
    known = shard.parts is not None and factor < len(shard.parts)
    count = int(shard.parts[factor]) if shard.parts is not None and known else len(shard) // factor
    total = channel.sum(float(count))[0]
    least = -channel.max(-float(count))[0]
    if least < 1:
        return None
    part = Shard(
        first_of(shard.rows, count), shard.label[:count], shard.weight[:count], np.arange(count), 0,
        int(total), shard.features, shard.intercept, shard.column_scale,
        parts=shard.parts[::factor] if shard.parts is not None else None,
    )  # fmt: skip
    return replace(objective, shard=part)


def first_of(rows: Rows, count: int) -> Rows:
    """Return the first `count` rows without a copy."""
    if isinstance(rows, DenseRows):
        return DenseRows(rows.values[:count])
    end = int(rows.indptr[count])
    return CsrRows(rows.indptr[: count + 1], rows.indices[:end], rows.values[:end], rows.width)

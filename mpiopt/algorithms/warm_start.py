"""A start near the optimum: the same algorithm on an eighth of each rank's rows, and there on an eighth again.

The optimum of n rows is within its statistical error, about unknowns/n of the objective, of that of all rows
(H. Daneshmand, A. Lucchi, T. Hofmann, Starting small, ICML 2016; A. Mokhtari et al., Adaptive Newton method,
NeurIPS 2016): to get so far on the rows of a part costs a part of an epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm
from mpiopt.compress.channel import Channel
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard
from mpiopt.objective.evaluation import Evaluation, evaluate_exact
from mpiopt.objective.objective import Objective

Model = NDArray[np.float64]

FACTOR = 8
FEWEST = 20  # rows for each unknown that a part must have
ERROR = 0.1  # of the statistical error, at which a part is left
SURPRISE = 10.0  # times unknowns/n: the largest relative loss from the part to all rows that is believed
MOST_ROUNDS = 30
LITTLE, MOST_ROUNDS_NEAR = 0.003, 200  # of the objective, gained between two exact values


class Start(NamedTuple):
    """A model to start from; where F is above `believed` there, 0 is the better start.

    The part's optimum is then much worse on all rows than statistics would have it: a few rows far from the others
    bend the objective, and a start among them costs more than it saves.
    """

    w: Model
    epochs: float  # that it cost
    believed: float


class Begun(NamedTuple):
    """Where an algorithm that knows exact values begins."""

    w: Model
    exact: Evaluation
    epochs: float


def begin(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> Begun:
    """Give the optimum of a part of the rows, or 0 where that is the better start, evaluated; collective."""
    start = find(algorithm, objective, channel)
    exact = evaluate_exact(objective, start.w, channel)
    if exact.value <= start.believed:
        return Begun(start.w, exact, start.epochs + 1.0)
    zero = objective.zeros()
    return Begun(zero, evaluate_exact(objective, zero, channel), start.epochs + 2.0)


def find(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> Start:
    """Give the optimum of a part of the rows, nearly; 0 where the rows are few; collective."""
    part = first_rows(objective, channel)
    used = objective.outputs * (objective.shard.features + objective.shard.intercept)
    if part is None or part.shard.total < FEWEST * used:
        return Start(objective.zeros(), 0.0, np.inf)
    state = algorithm.init(part, channel)
    epochs, value, allowed = 1.0, np.inf, ERROR * used / part.shard.total
    for k in range(MOST_ROUNDS):
        progress = algorithm.step(k, state, part, channel)
        epochs += progress.epochs
        if progress.exact is None:
            continue
        gain, value = value - progress.exact.value, progress.exact.value
        if gain <= allowed * abs(value):
            break
    epochs *= part.shard.total / objective.shard.total
    return Start(np.array(state.w), epochs, value + SURPRISE * used / part.shard.total * abs(value))


def approach(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> Start:
    """Give a model near the optimum of all rows, by an algorithm that is left when it gains little; collective."""
    state = algorithm.init(objective, channel)
    epochs, value = 0.0, np.inf
    for k in range(MOST_ROUNDS_NEAR):
        progress = algorithm.step(k, state, objective, channel)
        epochs += progress.epochs
        if progress.exact is not None:
            gain, value = value - progress.exact.value, progress.exact.value
            if gain <= LITTLE * abs(value):
                break
    return Start(np.array(state.w), epochs, np.inf)


def first_rows(objective: Objective, channel: Channel, factor: int = FACTOR) -> Objective | None:
    """Give the objective of the first n_k/factor rows of each rank in memory; None where a rank would have none."""
    shard = objective.shard
    count = len(shard) // factor
    total = channel.sum(float(count))[0]
    least = -channel.max(-float(count))[0]
    if least < 1:
        return None
    part = Shard(
        cut(shard.rows, count), shard.label[:count], shard.weight[:count], np.arange(count), 0,
        int(total), shard.features, shard.intercept,
    )  # fmt: skip
    return replace(objective, shard=part)


def cut(rows: Rows, count: int) -> Rows:
    """Give the first `count` rows without a copy."""
    if isinstance(rows, DenseRows):
        return DenseRows(rows.values[:count])
    end = int(rows.indptr[count])
    return CsrRows(rows.indptr[: count + 1], rows.indices[:end], rows.values[:end], rows.width)

"""A start near the optimum: the same algorithm on an eighth of each rank's rows, and there on an eighth again.

The optimum of n rows is within its statistical error, about unknowns/n of the objective, of that of all rows
(H. Daneshmand, A. Lucchi, T. Hofmann, Starting small, ICML 2016; A. Mokhtari et al., Adaptive Newton method,
NeurIPS 2016): to get so far on the rows of a part costs a part of an epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms import Algorithm
from mpiopt.channel import Channel
from mpiopt.objective import Objective
from mpiopt.shard import CsrRows, DenseRows, Rows, Shard

Model = NDArray[np.float64]

FACTOR = 8
FEWEST = 10  # rows for each unknown that a part must have
ERROR = 0.1  # of the statistical error, at which a part is left
MOST_ROUNDS = 30


def model(algorithm: Algorithm[Any], objective: Objective, channel: Channel) -> tuple[Model, float]:
    """Give a model to start from and the epochs that it cost; 0 and 0 where the rows are few; collective."""
    part = first_rows(objective, channel)
    used = objective.outputs * (objective.shard.features + objective.shard.intercept)
    if part is None or part.shard.total < FEWEST * used:
        return objective.zeros(), 0.0
    state = algorithm.init(part, channel)
    epochs, value, allowed = 1.0, np.inf, ERROR * used / part.shard.total
    for k in range(MOST_ROUNDS):
        progress = algorithm.step(k, state, part, channel)
        epochs += progress.epochs
        if progress.exact is None:
            continue
        if value - progress.exact.value <= allowed * abs(progress.exact.value):
            break
        value = progress.exact.value
    return np.array(state.w), epochs * part.shard.total / objective.shard.total


def first_rows(objective: Objective, channel: Channel) -> Objective | None:
    """Give the objective of the first eighth of each rank's rows in memory; None where a rank would have none."""
    shard = objective.shard
    count = len(shard) // FACTOR
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

"""Variance inflation: how much of each column the other columns explain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.inference.rows import WeightedRows

Vector = NDArray[np.float64]


def variance_inflation(rows: WeightedRows, columns: NDArray[np.int64]) -> Vector:
    """Return 1/(1 - R²) of each of these features, regressed on the others, without weights; collective.

    R² is about the mean with an intercept, else about 0 (D. Belsley, E. Kuh, R. Welsch 1980).
    """
    objective, d = rows.objective, rows.objective.shard.features
    used = np.append(columns, d) if objective.shard.intercept else columns
    share = objective.weighted_gram(np.ones(len(objective.shard)))[np.ix_(used, used)]
    gram = rows.channel.sum(share).reshape(share.shape) * objective.shard.total
    if objective.shard.intercept:  # take the means away: the Schur complement of the column of ones
        gram = gram[:-1, :-1] - np.outer(gram[:-1, -1], gram[-1, :-1]) / gram[-1, -1]
    size = np.sqrt(np.diag(gram))
    return np.asarray(np.diag(np.linalg.inv(gram / np.outer(size, size))))

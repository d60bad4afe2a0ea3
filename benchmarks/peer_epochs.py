"""Epochs of scikit-learn's SAGA at its default step, on our objective."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.data import Scale
from benchmarks.natural import LEVEL, RaceResult
from mpiopt.data.shard import CsrRows
from mpiopt.objective.objective import Objective


def sklearn_saga(objective: Objective, scale: Scale, cap: float) -> RaceResult:
    """Return the least max_iter that reaches the level, found by bisection; every fit starts from 0."""
    x, last = rows_of(objective), 1
    rest = rest_after(objective, scale, last, x)
    while rest > LEVEL and last < cap:
        last = min(2 * last, int(cap))
        rest = rest_after(objective, scale, last, x)
    if rest > LEVEL:
        return RaceResult(np.inf, rest)
    low = last // 2
    while last - low > 1:
        middle = (low + last) // 2
        found = rest_after(objective, scale, middle, x)
        last, rest, low = (middle, found, low) if found <= LEVEL else (last, rest, middle)
    return RaceResult(float(last), rest)


def rest_after(objective: Objective, scale: Scale, epochs: int, x: Any) -> float:
    """Return the suboptimality after so many epochs; the penalties are those of F: C = 1/(N λ), alpha = N λ."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    shard = objective.shard
    options = {"solver": "saga", "tol": 0.0, "max_iter": epochs, "fit_intercept": False, "random_state": 0}
    strength = float(objective.ridge.max() * shard.total)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        ridge = objective.loss.quadratic
        model = Ridge(alpha=strength, **options) if ridge else LogisticRegression(C=1 / strength, **options)
        try:
            coef = np.atleast_2d(model.fit(x, shard.label).coef_)
        except ValueError:  # the model is not finite
            return np.inf
        w = objective.zeros()
        w[:, : shard.features] = coef
        return scale.suboptimality(objective.evaluate(w)[0] + objective.penalty_value(w))


def rows_of(objective: Objective) -> Any:
    """Return the rows as scikit-learn takes them."""
    from scipy import sparse

    rows, d = objective.shard.rows, objective.shard.features
    if not isinstance(rows, CsrRows):
        return np.ascontiguousarray(rows.values[:, :d])
    indptr = rows.indptr.astype(np.int32)
    return sparse.csr_matrix((rows.values, rows.indices, indptr), (len(rows), rows.width))[:, :d]

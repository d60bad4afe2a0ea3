"""Whether an optimum exists: a loss without a bound below its infimum has none along a direction of recession.

Logistic loss has no optimum if some direction, in the columns that no penalty holds back, lowers no margin of a row's
own class and raises one: the classes are separable, or quasi-separable. Softmax, Poisson and its relatives, and
shares of 0 or 1 are alike. Gamma's loss rises to both sides, and the others are piecewise quadratic and bounded
below, so that they always have an optimum.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from tests.fuzz.reference import Exact, orthonormal

CLEAR = 0.5  # the linear program's optimum is 0, or at least 1
TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def has_optimum(problem: Exact) -> bool:
    """Return whether the infimum is attained; ArithmeticError if the linear program is not solved."""
    family = problem.loss.family
    basis = orthonormal(problem.free)
    basis = (basis * np.sqrt(len(basis))).astype(np.float64) if basis.size else basis
    y = problem.loss.y.astype(np.float64)
    if family == "logistic":
        return basis.size == 0 or not climbs(y[:, None] * basis, None)
    if family in ("poisson", "tweedie", "negative-binomial"):
        return basis.size == 0 or not climbs(-basis[y == 0], basis[y > 0])
    if family == "binomial":
        sided = np.where(y == 1.0, 1.0, -1.0)[:, None] * basis
        return basis.size == 0 or not climbs(sided[(y == 0.0) | (y == 1.0)], basis[(y > 0.0) & (y < 1.0)])
    if family == "softmax":
        return basis.size == 0 or not climbs(ahead(basis, y.astype(int), problem.loss.outputs), None)
    return True


def ahead(basis: np.ndarray, y: np.ndarray, outputs: int) -> np.ndarray:
    """Return rows for each other class c of each row: the margin of its own class minus that of c."""
    m = basis.shape[1]
    rows = []
    for c in range(outputs):
        mine = y != c
        part = np.zeros((int(mine.sum()), outputs, m))
        part[np.arange(len(part)), y[mine]] += basis[mine]
        part[:, c] -= basis[mine]
        rows.append(part.reshape(len(part), outputs * m))
    return np.vstack(rows)


def climbs(up: np.ndarray, level: np.ndarray | None) -> bool:
    """Return whether a direction p has up·p >= 0, not all 0, and level·p = 0."""
    if len(up) == 0:
        return False
    level = None if level is None or len(level) == 0 else level
    bounds_a, bounds_b = np.vstack([up, -up]), np.concatenate([np.ones(len(up)), np.zeros(len(up))])
    for method in ("highs", "highs-ds", "highs-ipm"):  # the first one gives up at times
        found = linprog(
            -up.sum(axis=0),
            A_ub=bounds_a,
            b_ub=bounds_b,
            A_eq=level,
            b_eq=None if level is None else np.zeros(len(level)),
            bounds=(None, None),
            method=method,
            options=TIGHT,
        )
        if found.status == 0:
            break
    if found.status != 0:
        raise ArithmeticError(f"the linear program ended with: {found.message}")
    return -found.fun > CLEAR

"""The optimum of a logistic problem, which measures runs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.data import Problem, Scale
from mpiopt.training.fit import fit

STORE = Path(".cache/bench")


def optimum(problem: Problem) -> Scale:
    """Return F(0) and F*, from a fit to the last digits that is stored for later runs.

    The error of F* is bounded by ‖∇F(w)‖²/(2λ), with a gradient computed by NumPy and SciPy alone.

    Raises
    ------
    RuntimeError
        If the bound is too large.
    """
    n, d = problem.x.shape
    stored = STORE / f"{problem.name}-{n}-{d}-{problem.y.sum():.0f}-{abs(problem.x).sum():.6e}.npy"
    if not stored.exists():
        algorithm = "newton" if d <= 2000 else "lbfgs"
        stored.parent.mkdir(parents=True, exist_ok=True)
        model = fit(problem.x, problem.y, intercept=False, algorithm=algorithm, tol=1e-13, max_epochs=4000)
        np.save(stored, model.coef.ravel())
    w = np.load(stored)
    gradient = problem.gradient(w)
    error = float(gradient @ gradient) / (2.0 * problem.ridge)
    start, value = problem.value(np.zeros(d)), problem.value(w)
    if error > 1e-11 * (start - value):
        raise RuntimeError(f"{problem.name}: F* is known only to {error:.1e}; delete {stored} and try again")
    return Scale(start, value)

"""Our fits with default options, from arrays in memory to the model, and the optimum that measures all fits."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.data import Problem, Scale, Vector
from benchmarks.peers import Solver
from mpiopt.training.fit import fit

TOLERANCES = [1e4, 1e3, 1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12]
STORE = Path(".cache/bench")


def solve(algorithm: str, problem: Problem, tolerance: float) -> Vector:
    """Fit to a certified tolerance."""
    return fit(problem.x, problem.y, intercept=False, algorithm=algorithm, tol=tolerance).coef.ravel()


def ours() -> list[Solver]:
    """Return the default algorithm and SAGA."""
    return [Solver(f"mpiopt {name}", partial(solve, name), TOLERANCES, ours=True) for name in ("auto", "saga")]


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

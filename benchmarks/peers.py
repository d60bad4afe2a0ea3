"""The peers: solvers of other libraries, with settings from coarse to fine; logistic, ridge, no intercept.

A solver is a function (problem, setting) -> w. A peer that is not installed is left out, and the table says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import Problem, Vector


@dataclass(frozen=True)
class Solver:
    """A solver and its settings from coarse to fine."""

    name: str
    solve: Callable[[Problem, float], Vector]
    ladder: Sequence[float]
    ours: bool = False
    prepare: Callable[[Problem], None] = lambda problem: None  # not timed: converts the data


EPOCHS = [5, 8, 12, 17, 24, 34, 48, 68, 96, 136, 190, 270, 380, 540, 760, 1000]
LBFGS = [8, 12, 16, 20, 26, 34, 44, 58, 75, 100, 130, 170, 220, 290, 380, 500, 700, 1000, 1500, 2500]
NEWTON = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30]
TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]


def sklearn(solver: str, problem: Problem, iterations: float) -> Vector:
    """Fit scikit-learn's LogisticRegression with so many iterations."""
    from sklearn.linear_model import LogisticRegression

    strength = 1.0 / (problem.ridge * len(problem.y))
    model = LogisticRegression(
        C=strength, solver=solver, tol=0, max_iter=int(iterations), fit_intercept=False, random_state=0
    )
    return np.asarray(model.fit(problem.x, problem.y).coef_.ravel())


def cyanure(problem: Problem, epochs: float) -> Vector:
    """Fit Cyanure's Classifier with its default solver on one thread, with so many epochs."""
    from cyanure.estimators import Classifier

    model = Classifier(
        loss="logistic",
        penalty="l2",
        lambda_1=problem.ridge,
        fit_intercept=False,
        tol=1e-14,
        max_iter=int(epochs),
        solver="auto",
        verbose=False,
        n_threads=1,
        random_state=0,
        duality_gap_interval=1_000_000,
        safe=False,
    )
    model.fit(problem.x, problem.y)
    return np.asarray(model.coef_ if hasattr(model, "coef_") else model.w_).ravel()


class Liblinear:
    """LIBLINEAR through its Python interface; the copy into its data structure is not timed."""

    def __init__(self, kind: int) -> None:
        self.kind, self.form = kind, None

    def prepare(self, problem: Problem) -> None:
        """Copy the rows into LIBLINEAR's data structure."""
        from liblinear.liblinearutil import problem as copied
        from scipy import sparse

        self.form = copied(problem.y, sparse.csr_matrix(problem.x))

    def __call__(self, problem: Problem, tolerance: float) -> Vector:
        """Train to a tolerance."""
        from liblinear.liblinearutil import parameter, train

        strength = 1.0 / (problem.ridge * len(problem.y))
        model = train(self.form, parameter(f"-s {self.kind} -c {strength} -e {tolerance} -q"))
        w = np.ctypeslib.as_array(model.w, (model.nr_feature,)).copy()
        return np.pad(w, (0, problem.x.shape[1] - len(w))) * (1.0 if model.label[0] == 1 else -1.0)


def lightning(problem: Problem, epochs: float) -> Vector:
    """Fit SAGA of sklearn-contrib-lightning."""
    from lightning.classification import SAGAClassifier

    model = SAGAClassifier(loss="log", alpha=problem.ridge, beta=0, max_iter=int(epochs), tol=0, random_state=0)
    return np.asarray(model.fit(problem.x, problem.y).coef_).ravel()


def peers(problem: Problem) -> tuple[list[Solver], list[str]]:
    """Return the peers that are installed and suit this set, and a line for each one that is not installed."""
    warnings.filterwarnings("ignore")  # fits are meant to reach their iteration limits
    found, missing = [], []
    for module, make in (("sklearn", of_sklearn), ("cyanure", of_cyanure), ("liblinear", of_liblinear), *LIGHTNING):
        try:
            __import__(module)
        except ImportError:
            missing.append(f"{module} is not installed: left out (pip install '.[bench]')")
        else:
            found += make(problem)
    return found, missing


def of_sklearn(problem: Problem) -> list[Solver]:
    """Return scikit-learn's solvers; newton-cholesky makes a d × d matrix."""
    ladders: dict[str, Sequence[float]] = {"saga": EPOCHS, "lbfgs": LBFGS, "newton-cg": NEWTON}
    if problem.x.shape[1] <= 2000:
        ladders["newton-cholesky"] = NEWTON
    return [Solver(f"sklearn {name}", partial(sklearn, name), ladder) for name, ladder in ladders.items()]


def of_cyanure(problem: Problem) -> list[Solver]:
    """Return cyanure."""
    return [Solver("cyanure", cyanure, EPOCHS)]


def of_liblinear(problem: Problem) -> list[Solver]:
    """Return the primal (-s 0) and the dual (-s 7) solver."""
    made: list[tuple[str, Any]] = [("liblinear -s0", Liblinear(0)), ("liblinear -s7", Liblinear(7))]
    return [Solver(name, solve, TOLERANCES, prepare=solve.prepare) for name, solve in made]


def of_lightning(problem: Problem) -> list[Solver]:
    """Return lightning's SAGA."""
    return [Solver("lightning saga", lightning, EPOCHS)]


LIGHTNING = [("lightning", of_lightning)]

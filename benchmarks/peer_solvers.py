"""Solvers of other libraries, each with settings from coarse to fine, as functions (problem, setting) -> (W, b).

The penalties are those of F (benchmarks/model_classes.py): C = 1/(N l2), alpha = N l2, and so on. A library is
imported by its solvers alone, so that this module can be read in every environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.model_classes import Matrix, ModelProblem, Vector

Model = tuple[Matrix, Vector]
TOLERANCES = [10.0**-k for k in range(1, 15)]
OURS = [10.0**-k for k in range(0, 13, 2)]
EPOCHS = [5, 8, 12, 17, 24, 34, 48, 68, 96, 136, 190, 270, 380, 540, 760, 1000, 2000]
LBFGS = [8, 12, 16, 20, 26, 34, 44, 58, 75, 100, 130, 170, 220, 290, 380, 500, 700, 1000, 1500, 2500]
NEWTON = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30]
MOST_EPOCHS = 5000  # of ours
MANY = 100_000  # iterations, where a tolerance ends the fit
LARGEST_MATRIX = 3000  # unknowns up to which solvers with a d × d matrix are raced


class Solver(NamedTuple):
    """A solver, what it can solve, and its settings from coarse to fine."""

    name: str
    fit: Callable[[ModelProblem, float], Model]
    ladder: Sequence[float]

    @property
    def library(self) -> str:
        """The name of its package."""
        return self.name.partition(" ")[0]


LIBRARIES = {
    "mpiopt": "",
    "scikit-learn": "scikit-learn==1.9.1",
    "glum": "glum==3.4.1",
    "skglm": "skglm==0.5",
    "celer": "celer==0.7.4",
    "liblinear": "liblinear-official==2.50.0",
    "cyanure": "cyanure==1.2.2",
    "adelie": "adelie==1.1.52",
    "snapml": "snapml==1.17.2",
}  # what pip is asked for


def solvers(problem: ModelProblem, libraries: Iterable[str]) -> list[Solver]:
    """Return the solvers of some libraries that can solve a problem."""
    return [solver for name in libraries for solver in FAMILIES[name](problem)]


def of_linear(model: Any, problem: ModelProblem) -> Model:
    """Return the coefficients of a fitted estimator in the form of scikit-learn's."""
    w = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    b = np.zeros(len(w)) + np.asarray(getattr(model, "intercept_", 0.0) if problem.intercept else 0.0)
    return w, b.ravel()


def of_mpiopt(problem: ModelProblem) -> list[Solver]:
    """Return our default."""

    def fit(problem: ModelProblem, tolerance: float) -> Model:
        import mpiopt

        rest = {"l1": problem.l1, "l2": problem.l2, "max_epochs": MOST_EPOCHS}
        model = mpiopt.fit(
            problem.x, problem.y, loss=problem.loss, intercept=problem.intercept, tol=tolerance, **rest
        )
        return model.coef, model.intercept

    return [Solver("mpiopt", fit, OURS)]


def of_sklearn(problem: ModelProblem) -> list[Solver]:
    """Return scikit-learn's solvers."""
    found, smooth, loss = [], not problem.l1, problem.loss
    small = problem.outputs * problem.x.shape[1] <= LARGEST_MATRIX

    def add(name: str, ladder: Sequence[float]) -> None:
        found.append(Solver(f"scikit-learn {name}", partial(sklearn_fit, name), ladder))

    if loss in ("logistic", "softmax") and problem.l2:
        add("saga", EPOCHS)
        if smooth:
            add("lbfgs", LBFGS)
            add("newton-cg", NEWTON)
        if smooth and small:
            add("newton-cholesky", NEWTON)
    elif loss in ("logistic", "softmax"):
        add("saga", EPOCHS)
    elif loss == "squared" and smooth:
        add("sparse_cg", TOLERANCES)
        if not (problem.sparse and problem.intercept):
            add("lsqr", TOLERANCES)
            if small or problem.x.shape[0] <= LARGEST_MATRIX:
                add("cholesky", [0.0])
    elif loss == "squared":
        add("coordinate-descent", TOLERANCES)
    elif loss == "poisson" and smooth:
        add("lbfgs", LBFGS)
        if small:
            add("newton-cholesky", NEWTON)
    return found


def sklearn_fit(solver: str, problem: ModelProblem, setting: float) -> Model:
    """Fit one of scikit-learn's estimators."""
    from sklearn import linear_model

    n, strength, common = len(problem.y), problem.l1 + problem.l2, {"fit_intercept": problem.intercept}
    steps = {"max_iter": int(setting), "tol": 1e-30}
    if problem.loss in ("logistic", "softmax"):
        options = {"C": 1.0 / (n * strength), "l1_ratio": problem.l1 / strength, "random_state": 0}
        model = linear_model.LogisticRegression(solver=solver, **options, **steps, **common)
    elif problem.loss == "poisson":
        model = linear_model.PoissonRegressor(alpha=problem.l2, solver=solver, **steps, **common)
    elif problem.l1:
        ratio = problem.l1 / strength
        model = linear_model.ElasticNet(alpha=strength, l1_ratio=ratio, tol=setting, max_iter=MANY, **common)
    else:
        steps = {} if solver == "cholesky" else {"tol": setting, "max_iter": MANY}
        model = linear_model.Ridge(alpha=n * problem.l2, solver=solver, **steps, **common)
    return of_linear(model.fit(problem.x, problem.y), problem)


def of_glum(problem: ModelProblem) -> list[Solver]:
    """Return glum's solvers."""
    families = {"squared": "normal", "poisson": "poisson", "logistic": "binomial"}
    if problem.loss not in families or problem.x.shape[1] > LARGEST_MATRIX:
        return []

    def fit(problem: ModelProblem, tolerance: float) -> Model:
        from glum import GeneralizedLinearRegressor

        strength = problem.l1 + problem.l2
        y = (problem.y > 0).astype(float) if problem.loss == "logistic" else problem.y
        model = GeneralizedLinearRegressor(
            family=families[problem.loss],
            alpha=strength,
            l1_ratio=problem.l1 / strength,
            fit_intercept=problem.intercept,
            gradient_tol=tolerance,
            max_iter=1000,
        )
        return of_linear(model.fit(problem.x, y), problem)

    return [Solver("glum", fit, TOLERANCES)]


def of_skglm(problem: ModelProblem) -> list[Solver]:
    """Return skglm's coordinate descent and proximal Newton."""
    solvers = {"squared": ["cd"], "huber": ["cd"], "logistic": ["cd", "newton"], "poisson": ["newton"]}
    if not problem.l1 or problem.loss not in solvers:
        return []
    return [Solver(f"skglm {name}", partial(skglm_fit, name), TOLERANCES) for name in solvers[problem.loss]]


def skglm_fit(solver: str, problem: ModelProblem, tolerance: float) -> Model:
    """Fit skglm's estimator."""
    from skglm import GeneralizedLinearEstimator, datafits, penalties
    from skglm.solvers import AndersonCD, ProxNewton

    strength, rest = problem.l1 + problem.l2, {"tol": tolerance, "fit_intercept": problem.intercept}
    datafit = {
        "squared": datafits.Quadratic,
        "huber": lambda: datafits.Huber(1.0),
        "logistic": datafits.Logistic,
        "poisson": datafits.Poisson,
    }[problem.loss]()
    pure = problem.penalty == "l1"
    penalty = penalties.L1(strength) if pure else penalties.L1_plus_L2(strength, problem.l1 / strength)
    chosen = AndersonCD(max_iter=500, **rest) if solver == "cd" else ProxNewton(max_iter=500, **rest)
    return of_linear(GeneralizedLinearEstimator(datafit, penalty, chosen).fit(problem.x, problem.y), problem)


def of_celer(problem: ModelProblem) -> list[Solver]:
    """Return celer."""
    logistic = problem.loss == "logistic" and problem.penalty == "l1" and not problem.intercept
    if not (logistic or (problem.loss == "squared" and problem.l1)):
        return []

    def fit(problem: ModelProblem, tolerance: float) -> Model:
        import celer

        strength = problem.l1 + problem.l2
        if problem.loss == "logistic":
            model = celer.LogisticRegression(C=1.0 / (len(problem.y) * strength), tol=tolerance, max_iter=500)
        else:
            rest = {"tol": tolerance, "fit_intercept": problem.intercept, "max_iter": 500}
            model = celer.ElasticNet(alpha=strength, l1_ratio=problem.l1 / strength, **rest)
        return of_linear(model.fit(problem.x, problem.y), problem)

    return [Solver("celer", fit, TOLERANCES)]


def of_liblinear(problem: ModelProblem) -> list[Solver]:
    """Return LIBLINEAR's primal and dual solvers; the copy into its data structure is timed, as ours is."""
    kinds = {
        ("logistic", "l2"): [0, 7],
        ("logistic", "l1"): [6],
        ("squared-hinge", "l2"): [2, 1],
        ("squared-hinge", "l1"): [5],
    }.get((problem.loss, problem.penalty), [])
    kinds = [kind for kind in kinds if not (problem.intercept and kind in (1, 7))]  # they penalise the intercept
    return [Solver(f"liblinear -s {kind}", partial(liblinear_fit, kind), TOLERANCES) for kind in kinds]


def liblinear_fit(kind: int, problem: ModelProblem, tolerance: float) -> Model:
    """Train LIBLINEAR, with an intercept that is not penalised where there is one."""
    from liblinear.liblinearutil import parameter, train
    from liblinear.liblinearutil import problem as copied
    from scipy import sparse

    strength = 1.0 / (len(problem.y) * (problem.l1 + problem.l2))
    form = copied(problem.y, sparse.csr_matrix(problem.x), 1 if problem.intercept else -1)
    model = train(form, parameter(f"-s {kind} -c {strength!r} -e {tolerance} -q{' -B 1 -R' * problem.intercept}"))
    d, sign = problem.x.shape[1], 1.0 if model.label[0] == 1 else -1.0
    w = sign * np.ctypeslib.as_array(model.w, (model.nr_feature + problem.intercept,)).copy()
    return np.pad(w[: model.nr_feature], (0, d - model.nr_feature))[None], w[-1:] * problem.intercept


def of_cyanure(problem: ModelProblem) -> list[Solver]:
    """Return cyanure's default solver."""
    names = {
        "logistic": "logistic",
        "softmax": "multiclass-logistic",
        "squared": "square",
        "squared-hinge": "sqhinge",
    }
    if problem.loss not in names:
        return []

    def fit(problem: ModelProblem, epochs: float) -> Model:
        from cyanure.estimators import Classifier, Regression

        half = 0.5 if problem.loss == "squared-hinge" else 1.0  # its loss is half of ours
        penalty = {"l2": "l2", "l1": "l1", "both": "elasticnet"}[problem.penalty]
        first = problem.l2 if problem.penalty == "l2" else problem.l1
        options = {
            "loss": names[problem.loss],
            "penalty": penalty,
            "lambda_1": half * first,
            "lambda_2": half * problem.l2,
            "fit_intercept": problem.intercept,
            "tol": 1e-14,
            "max_iter": int(epochs),
            "verbose": False,
            "n_threads": 1,
            "random_state": 0,
            "duality_gap_interval": 1_000_000,
            "safe": False,
        }
        model = Regression(**options) if problem.loss == "squared" else Classifier(**options)
        model.fit(problem.x, problem.y)
        w = np.asarray(model.coef_, dtype=np.float64)
        w = w.T if w.ndim == 2 and w.shape[0] == problem.x.shape[1] else np.atleast_2d(w)
        b = np.zeros(len(w)) + np.ravel(model.intercept_ if problem.intercept else 0.0)
        return w, b

    return [Solver("cyanure", fit, EPOCHS)]


def of_adelie(problem: ModelProblem) -> list[Solver]:
    """Return adelie's coordinate descent."""
    names = {"squared": "gaussian", "logistic": "binomial", "poisson": "poisson"}
    if problem.loss not in names:
        return []

    def fit(problem: ModelProblem, tolerance: float) -> Model:
        import adelie
        from scipy import sparse

        strength = problem.l1 + problem.l2
        y = (problem.y > 0).astype(float) if problem.loss == "logistic" else problem.y
        x = adelie.matrix.sparse(sparse.csc_matrix(problem.x)) if problem.sparse else np.asfortranarray(problem.x)
        state = adelie.grpnet(
            x,
            getattr(adelie.glm, names[problem.loss])(y),
            alpha=problem.l1 / strength,
            lmda_path=[strength],
            early_exit=False,
            intercept=problem.intercept,
            progress_bar=False,
            tol=tolerance,
            irls_tol=tolerance,
        )
        return state.betas[-1].toarray().reshape(1, -1), np.atleast_1d(state.intercepts[-1])

    return [Solver("adelie", fit, TOLERANCES)]


def of_snapml(problem: ModelProblem) -> list[Solver]:
    """Return snapml's coordinate descent; it would penalise an intercept."""
    if problem.loss not in ("logistic", "squared") or problem.penalty == "both" or problem.intercept:
        return []

    def fit(problem: ModelProblem, tolerance: float) -> Model:
        import snapml

        kind = snapml.LinearRegression if problem.loss == "squared" else snapml.LogisticRegression
        options = {"penalty": problem.penalty, "dual": not problem.l1, "tol": tolerance, "max_iter": 10_000}
        model = kind(regularizer=len(problem.y) * (problem.l1 + problem.l2), fit_intercept=False, **options)
        return of_linear(model.fit(problem.x, problem.y), problem)

    return [Solver("snapml", fit, TOLERANCES)]


FAMILIES: dict[str, Callable[[ModelProblem], list[Solver]]] = {
    "mpiopt": of_mpiopt,
    "scikit-learn": of_sklearn,
    "glum": of_glum,
    "skglm": of_skglm,
    "celer": of_celer,
    "liblinear": of_liblinear,
    "cyanure": of_cyanure,
    "adelie": of_adelie,
    "snapml": of_snapml,
}

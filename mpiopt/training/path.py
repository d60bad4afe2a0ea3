"""Paths of models over the strength of the penalty: certified points, each started from the one before.

The first strength is the least one at which all coefficients are 0: with the gradient g of the loss part at the best
constants, the largest |g_j| over l1_ratio (J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for
generalized linear models, 2010). The working set screens the columns of each point, and the certificate is over all
of them. The rows are read, scaled and moved once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.folds import check_score, refuse_beside_time, score_named
from mpiopt.core.config.job import GIVEN, Model, Stopping
from mpiopt.core.config.spec import PluginSpec, parse_spec
from mpiopt.inference.clusters import coded
from mpiopt.objective.objective import Objective
from mpiopt.training.coefficient_bounds import Pair, text_of
from mpiopt.training.cross_validation import CrossValidation, FoldModels, cross_validate, without_fold
from mpiopt.training.fit import COLUMN_SCALES
from mpiopt.training.folds import (
    Folds,
    check_count,
    given_folds,
    ordered_folds,
    repeated_folds,
    strata_of,
    times,
)
from mpiopt.training.lasso_groups import text_of_groups
from mpiopt.training.path_follow import (
    Follower,
    Found,
    Frame,
    PathOptions,
    PathPoint,
    Progress,
    Watch,
    first_strength,
)
from mpiopt.training.path_posed import posed_path, refuse_l1_beside_matrix
from mpiopt.training.posed_rows import Settings, order_of_rows, posed_rows
from mpiopt.training.problem import target_of
from mpiopt.training.python_call import called
from mpiopt.training.rates import as_rates

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Path:
    """The models of a path, from the strongest penalty to the weakest.

    Attributes
    ----------
    points : list of PathPoint
        One for each strength.
    names : list of str or None
        Titles of the columns.
    cross_validation : CrossValidation or None
        The scores of the strengths on rows that were held out, if there were folds.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> path = mpiopt.path(x, x[:, 0] - 2.0 * x[:, 3], loss="squared", options=mpiopt.PathOptions(points=4))
    >>> [point.nonzeros for point in path.points], path.coef.shape, path.certified
    ([0, 2, 2, 2], (4, 1, 5), True)
    """

    points: list[PathPoint]
    names: list[str] | None = None
    cross_validation: CrossValidation | None = None

    def __repr__(self) -> str:
        """Return one line, however many points and columns there are."""
        ends = f"λ = {self.points[0].strength:.3g} … {self.points[-1].strength:.3g}" if self.points else "none"
        word = "certified" if self.certified else "NOT certified"
        best = "" if self.cross_validation is None else f"; best λ = {self.best.strength:.3g}"
        return f"<Path of {len(self.points)} points, {ends}; {word}{best}>"

    @property
    def strengths(self) -> Vector:
        """The strengths λ, (points,)."""
        return np.array([point.strength for point in self.points])

    @property
    def coef(self) -> NDArray[np.float64]:
        """Coefficients, (points, outputs, d)."""
        return np.array([point.model.coef for point in self.points])

    @property
    def intercept(self) -> Matrix:
        """Constants, (points, outputs)."""
        return np.array([point.model.intercept for point in self.points])

    @property
    def certified(self) -> bool:
        """Whether every point is certified, those of the folds among them."""
        folds = self.cross_validation
        return all(point.certified for point in self.points) and (folds is None or folds.certified)

    @property
    def best(self) -> PathPoint:
        """The point over all rows with the best mean score of the folds; ValueError without folds."""
        return self.points[self._folds().best]

    @property
    def simplest(self) -> PathPoint:
        """The point with the largest strength that is within one standard error of the best one."""
        return self.points[self._folds().simplest]

    def _folds(self) -> CrossValidation:
        if self.cross_validation is None:
            raise ValueError("no point is the best one without folds: mpiopt.path(…, folds=5)")
        return self.cross_validation


def path(
    x: Any,
    y: ArrayLike,
    comm: Any = None,
    *,
    options: PathOptions | None = None,
    sample_weight: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    loss: str = "auto",
    nonnegative: bool = False,
    bounds: Mapping[str, Pair] | str | None = None,
    l1_groups: Sequence[Sequence[str]] | str | None = None,
    ridge_matrix: ArrayLike | str | None = None,
    ridge_strength: float = 1.0,
    intercept: bool = True,
    scale: str = "none",
    tol: float = 1e-6,
    max_epochs: float = 1000.0,
    seed: int = 0,
    folds: int | ArrayLike = 0,
    groups: ArrayLike | None = None,
    repeats: int = 1,
    time: ArrayLike | None = None,
    score: str = "deviance",
) -> Path:
    """Fit a path of models from all coefficients 0 to a weak penalty; collective over `comm`.

    Parameters
    ----------
    x, y, comm, sample_weight, exposure, offset, loss, l1_groups, intercept, scale, seed
        As of `mpiopt.fit`.
    nonnegative, bounds
        As of `mpiopt.fit`; every coefficient may be 0.
    ridge_matrix, ridge_strength
        As of `mpiopt.fit`, for options with l1_ratio 0: the penalty of a strength λ is
        (λ/2) (ridge_strength wᵀSw + ‖w‖²).
    options : PathOptions, optional
        The strengths.
    tol : float
        Tolerance of each point's certificate.
    max_epochs : float
        Budget of epochs of each point.
    folds : int or array of int, (n,)
        Number of folds for cross-validation, of which each has its share of every class; or the fold of each row,
        from 0, with -1 for rows that are never held out. 0: no cross-validation.
    groups : array, (n,), optional
        The group of each row, of any kind that sorts: the rows of a group are in one fold. They may span ranks.
    repeats : int
        How often the rows are dealt to folds, each time in another way.
    time : array, (n,), or "rows", optional
        When each row was seen, as numbers, dates or ISO 8601 texts: each fold is tested on rows that come after all
        rows that it trains on, as with scikit-learn's TimeSeriesSplit. "rows": the order of the rows, rank by rank.
    score : str
        What chooses the strength: "deviance" (for squared losses the mean squared error), or one of "log loss",
        "accuracy", "AUC", "average precision", "Brier", "RMSE", "MAE", "R²".

    Returns
    -------
    Path
        The models. Look at `certified`; with folds at `cross_validation`, `best` and `simplest`.

    Raises
    ------
    ValueError
        On all ranks: as `mpiopt.fit`, or labels with which all coefficients are 0 without any penalty.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> found = mpiopt.path(x, x[:, 1] > 0, options=mpiopt.PathOptions(l1_ratio=0.5, points=5))
    >>> found.points[0].nonzeros, found.points[-1].certified
    (0, True)
    """
    if scale not in COLUMN_SCALES:
        raise ValueError(f"scale must be one of {', '.join(COLUMN_SCALES)}; not {scale!r}")
    loss = "poisson" if loss == "auto" and exposure is not None else loss
    options = options or PathOptions()
    named = ridge_matrix if isinstance(ridge_matrix, str) else ("" if ridge_matrix is None else GIVEN)
    structure = nonnegative, text_of(bounds), text_of_groups(l1_groups), named, ridge_strength
    model = Model(parse_spec(loss), 0.0, 1.0, *structure)  # its l2 stands for any
    refuse_l1_beside_matrix(model, options.l1_ratio)
    score = score_named(score)
    check_score(score, target_of(model))
    settings = Settings(model, intercept, scale, "standardised")
    with called(comm) as ranks:
        order, parts = order_of_rows(x, y, seed, ranks)
        given = as_rates(y, sample_weight, exposure, offset, model, ranks)
        posed = posed_rows(x, given.y, given.sample_weight, settings, order, ranks, given.offset, parts)
        frame, stop = Frame(posed.mean, posed.scale, posed.coordinates, posed.classes), Stopping(tol, max_epochs)
        matrix = None if isinstance(ridge_matrix, str) else ridge_matrix
        problem = posed_path(posed.objective, model, frame, posed.names, options.l1_ratio, ranks, matrix)
        dealt = _folds_of_rows(folds, FoldRules(groups, repeats, time), order, posed.objective, seed, ranks)
        asked = Validation(dealt, score)
        found = find_path(problem.posed, problem.frame, options, stop, PluginSpec(), ranks, asked)
    validated = found.cross_validation
    if validated is not None:
        inverse, margins = np.argsort(order), validated.margins + posed.coordinates.label_origin
        margins = margins[inverse] if given.added is None else margins[inverse] + given.added[:, None]
        validated = replace(validated, folds=validated.folds.rows(inverse), margins=margins)
    return replace(found, names=posed.names, cross_validation=validated)


class Validation(NamedTuple):
    """What a cross-validation needs; no folds: none is wanted."""

    folds: Folds  # of the rows in the order of the memory
    score: str


class FoldRules(NamedTuple):
    """How the rows of `path` are divided into folds, as the caller gave it."""

    groups: ArrayLike | None
    repeats: int
    time: ArrayLike | None


class Watches(Protocol):
    """Sees a path and those of its folds."""

    def known(self, fold: int, follower: Follower) -> Progress:
        """Return how far a path has come already."""

    def of(self, fold: int, strengths: NDArray[np.float64]) -> Watch:
        """Return what sees a path."""


def find_path(
    objective: Objective,
    frame: Frame,
    options: PathOptions,
    stop: Stopping,
    algorithm: PluginSpec,
    comm: Comm,
    asked: Validation,
    watches: Watches | None = None,
    strengths: NDArray[np.float64] | None = None,
) -> Path:
    """Fit a path and those of its folds; collective.

    Parameters
    ----------
    objective, frame, options, stop, algorithm, comm
        As of `Follower`.
    asked : Validation
        The folds.
    watches : Watches, optional
        See the points; `fold` is -1 for the path over all rows.
    strengths : ndarray, shape (points,), optional
        λ; by default those of the options.

    Returns
    -------
    Path
        With rows in the order of the memory.
    """
    if objective.loss.own_parameters:
        raise ValueError("a path takes a theta that is given; estimate it by a fit at one strength, profile=true")
    if asked.folds.total:
        check_score(asked.score, objective.loss.target)

    def followed(number: int, posed: Objective) -> list[Found]:
        nonlocal strengths
        follower = Follower(posed, frame, options, stop, algorithm, comm)
        if strengths is None:
            strengths = options.strengths(first_strength(follower.start, follower.channel))
        if watches is None:
            return follower.follow(strengths)
        return follower.follow(strengths, watches.of(number, strengths), watches.known(number, follower))

    for number in range(asked.folds.total):  # what a fold lacks is said before the work
        without_fold(objective, asked.folds, number, comm)
    points = [one.point for one in followed(-1, objective)]
    if not asked.folds.total or strengths is None:
        return Path(points)
    validated = cross_validate(
        objective,
        asked.folds,
        strengths,
        asked.score,
        lambda number, posed: fold_models(followed(number, posed)),
        comm,
    )
    return Path(points, None, validated)


def fold_models(found: list[Found]) -> FoldModels:
    """Return the models of a fold's path."""
    certified = all(one.point.certified for one in found)
    return FoldModels.of([one.w for one in found], certified, sum(one.point.epochs for one in found))


def _folds_of_rows(
    folds: int | ArrayLike,
    rules: FoldRules,
    order: NDArray[np.int64],
    objective: Objective,
    seed: int,
    ranks: Comm,
) -> Folds:
    """Return the folds of the rows in the order of the memory; collective."""
    n, (groups, repeats, time) = len(objective.shard), rules
    for name, given in (("folds", folds), ("groups", groups), ("time", time)):
        single = (name == "folds" and np.ndim(given) == 0) or (name == "time" and isinstance(given, str))  # type: ignore[arg-type]
        wrong = not (given is None or single) and np.shape(given) != (n,)
        ranks.agree(ValueError(f"{name} must have one entry for each row of x") if wrong else None)
    for name, number in (("folds", folds), ("repeats", repeats)):
        if np.ndim(number) == 0 and not isinstance(number, int | np.integer):
            raise ValueError(f"{name} must be a whole number, not {number!r}")
    words = [name for name, given in (("groups", groups), ("time", time)) if given is not None]
    words += ["repeats"] if repeats != 1 else []
    if np.ndim(folds) == 1:
        if words:
            plural = "has" if words[0] == "time" else "have"
            raise ValueError(
                f"folds gives the fold of each row, so {words[0]} {plural} no effect; give the number of folds"
            )
        return given_folds(np.asarray(folds)[order], ranks)
    count = int(folds)  # type: ignore[arg-type]
    if words and not count:
        raise ValueError(
            f"{words[0]} {'is' if words[0] == 'time' else 'are'} for cross-validation: give the number of folds, too"
        )
    if not count:
        return Folds.none()
    check_count(count, objective.shard.total, repeats)
    if time is not None:
        refuse_beside_time(groups is not None, repeats)
        in_rows = isinstance(time, str)
        if in_rows and time != "rows":
            raise ValueError(f"time must be 'rows' or have one entry for each row of x, not {time!r}")
        place = objective.shard.start + np.arange(float(n)) if in_rows else times(np.asarray(time), ranks)
        return Folds(ordered_folds(place[order], count, ranks)[None], count, ordered=True)
    labels = None if groups is None else np.asarray(groups)[order]
    if labels is not None and labels.dtype == object:  # of several types, which do not sort
        labels = labels.astype(str)
    codes = None if labels is None else coded(labels, ranks)
    return repeated_folds(order, strata_of(objective), codes, count, repeats, seed, ranks)

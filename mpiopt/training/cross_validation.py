"""Cross-validation of a path: how well each strength of the penalty predicts rows that its models have not seen.

The rows are loaded once. In a fold's path the rows that it holds out have the weight 0; the strengths are those of
the path over all rows. The strength is chosen that has the best mean score over the folds, or the largest one whose
score is within one standard error of it (L. Breiman, J. Friedman, R. Olshen, C. Stone, Classification and regression
trees, 1984, section 3.4.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.folds import check_score
from mpiopt.data.offsets import labels_of
from mpiopt.data.row_formats import select
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.objective import passes
from mpiopt.objective.losses.base import Loss
from mpiopt.objective.metrics import deviance, metrics
from mpiopt.objective.objective import Objective
from mpiopt.results.fold_scores import LARGER_IS_BETTER
from mpiopt.results.path_table import standard_error
from mpiopt.training.folds import Folds

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Models = NDArray[np.float64]  # (points, outputs, width)

MOST_NUMBERS = 1 << 22  # of the margins of held-out rows at a time: 32 MiB
EQUAL = 1e-12  # difference of a weight from 1 that is rounding


class FoldPath(NamedTuple):
    """What a fold's path has found; equal on all ranks but for the rows."""

    scores: Vector  # (points,) of the rows held out
    columns: NDArray[np.int64]  # with a weight that is not 0 in some model, and the intercept
    models: Models  # (points, outputs, columns)
    certified: bool
    epochs: float


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Scores of a path on rows that its models have not seen.

    Attributes
    ----------
    score : str
        What `scores` are: "deviance" or a metric, as `mpiopt.objective.metrics` names them.
    strengths : ndarray, shape (points,)
        λ.
    scores : ndarray, shape (points, K)
        The score of each strength on the rows that each fold holds out, repeat by repeat.
    share : ndarray, shape (K,)
        Share of the weight that each fold holds out; equal shares where no weights were given.
    folds : Folds
        Which rows of this rank each fold holds out, in the order of the caller's rows.
    margins : ndarray, shape (n, outputs)
        The margins of this rank's rows, offsets included, by the models that have not seen them, at the best
        strength: their mean over the repeats, and nan for rows that are never held out.
    quality : dict of str to ndarray
        The metrics of the best strength, (K,) each.
    certified : bool
        Whether every point of every fold is certified.
    epochs : float
        Passes over all rows that the folds took.

    Examples
    --------
    >>> import numpy as np
    >>> import mpiopt
    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> y = x[:, 0] - 2.0 * x[:, 3] + np.random.default_rng(1).normal(size=100)
    >>> found = mpiopt.path(x, y, loss="squared", options=mpiopt.PathOptions(points=20), folds=5).cross_validation
    >>> found.scores.shape, found.best >= found.simplest, found.certified
    ((20, 5), True, True)
    """

    score: str
    strengths: Vector
    scores: Matrix
    share: Vector
    folds: Folds
    margins: Matrix
    quality: dict[str, Vector]
    certified: bool
    epochs: float

    @property
    def fold(self) -> NDArray[np.int64]:
        """The fold that holds out each row of this rank, (n,), or -1; with repeats (repeats, n)."""
        return self.folds.number if self.folds.repeats > 1 else self.folds.number[0]

    @property
    def mean(self) -> Vector:
        """The mean score of each strength over the folds, (points,)."""
        return np.asarray(self.scores @ self.share)

    @property
    def error(self) -> Vector:
        """The standard error of that mean, (points,).

        With repeats it is the root of the mean square over them: repeats score the same rows again, so they do not
        make it smaller.
        """
        return standard_error(self.scores, self.share, self.folds.repeats)

    @property
    def best(self) -> int:
        """The number of the strength with the best mean score; of equal ones the first."""
        return int(np.argmin(self._loss))

    @property
    def simplest(self) -> int:
        """The number of the largest strength whose mean score is within one standard error of the best one."""
        limit = self._loss[self.best] + self.error[self.best]
        return int(np.flatnonzero(self._loss <= limit)[0]) if np.isfinite(limit) else self.best

    @property
    def _loss(self) -> Vector:
        """The mean score with its sign such that less is better; inf where it is not a number."""
        signed = -self.mean if LARGER_IS_BETTER.get(self.score) else self.mean
        return np.where(np.isnan(signed), np.inf, signed)


class FoldModels(NamedTuple):
    """The models of a fold's path, without the columns in which they all are 0; equal on all ranks."""

    columns: NDArray[np.int64]
    weights: Models  # (points, outputs, columns)
    certified: bool
    epochs: float

    @classmethod
    def of(cls, models: list[NDArray[np.float64]], certified: bool, epochs: float) -> FoldModels:
        """Return the models (outputs, width) of the points, in the order of the strengths."""
        used = np.zeros(models[0].shape[1], dtype=bool)
        for w in models:
            used |= (w != 0.0).any(axis=0)
        columns = np.flatnonzero(used)
        return cls(columns, np.stack([w[:, columns] for w in models]), certified, epochs)


def without_fold(objective: Objective, folds: Folds, number: int, comm: Comm) -> Objective:
    """Return the objective in which the rows that a fold does not train on have the weight 0, the others the mean 1.

    Where a loss grows faster than a square, the rows are left out: at an outlier the loss may be infinite, and 0 · ∞
    is no number. Collective.

    Raises
    ------
    ValueError
        If the fold leaves no row, or no row of a class, to train on, or holds none out.
    """
    shard, trained = objective.shard, folds.trained(number)
    weight = np.where(trained, shard.weight, 0.0)
    whole = float(comm.sum(np.array([weight.sum()]))[0])
    held = bool(comm.max(np.array([(folds.held(number) & (shard.weight > 0.0)).any()]))[0])
    if not (whole > 0.0 and held):
        lacks = "trains on no row" if held else "holds out no row"
        raise ValueError(f"fold {number} {lacks} with a weight; use fewer folds")
    if objective.loss.target in ("binary", "multiclass"):
        classes = [-1.0, 1.0] if objective.loss.target == "binary" else list(range(objective.outputs))
        label = labels_of(shard.label)
        left = comm.sum(np.array([float(weight[label == c].sum()) for c in classes]))
        if not (left > 0.0).all():
            raise ValueError(f"fold {number} leaves no row of a class to train on; use fewer folds, or no groups")
    weight *= shard.total / whole
    if objective.loss.curvature_bound is not None:
        return replace(objective, shard=replace(shard, weight=weight))
    kept = np.flatnonzero(trained)
    rest = replace(
        shard,
        rows=_taken(shard.rows, kept),
        label=shard.label[kept],
        weight=weight[kept],
        order=shard.order[kept],
        parts=None,
    )
    return replace(objective, shard=rest)


def cross_validate(
    objective: Objective,
    folds: Folds,
    strengths: Vector,
    score: str,
    fit: Callable[[int, Objective], FoldModels],
    comm: Comm,
) -> CrossValidation:
    """Fit the path of each fold and score it on the rows that the fold holds out; collective.

    Parameters
    ----------
    objective : Objective
        Over all rows.
    folds : Folds
        Of the rows in the order of the memory.
    strengths : ndarray, shape (points,)
        λ.
    score : str
        "deviance" or the name of a metric.
    fit : callable
        Fits the path of a fold's number and objective.
    comm : Comm
        The ranks.

    Returns
    -------
    CrossValidation
        With rows in the order of the memory.
    """
    check_score(score, objective.loss.target)
    shard, outputs, every = objective.shard, objective.outputs, range(folds.total)
    found: list[FoldPath] = []
    for number in every:
        models = fit(number, without_fold(objective, folds, number, comm))
        scores = _scores(objective, folds.held(number), models, score, comm)
        if np.isnan(scores).all():
            raise ValueError(
                f"fold {number} has no {score}: its rows have one class, or infinite losses; use deviance"
            )
        found.append(FoldPath(scores, models.columns, models.weights, models.certified, models.epochs))
    equal = bool(comm.max(np.array([np.abs(shard.weight - 1.0).max(initial=0.0)]))[0] < EQUAL)
    held = comm.sum(np.array([shard.weight[folds.held(number)].sum() for number in every]))
    together = np.stack([path.scores for path in found], axis=1)
    share = np.full(folds.total, 1.0 / folds.total) if equal else held / held.sum()
    first = CrossValidation(score, strengths, together, share, folds, np.empty((0, outputs)), {}, True, 0.0)
    margins, quality = np.zeros((len(shard), outputs)), list[dict[str, float]]()
    margins[(folds.number < 0).all(axis=0)] = np.nan
    for number, path in enumerate(found):
        rows = np.flatnonzero(folds.held(number))
        w = np.zeros((outputs, objective.width))
        w[:, path.columns] = path.models[first.best]
        z = passes.margins(_taken(shard.rows, rows), w)
        margins[rows] += z / folds.repeats
        quality.append(metrics(objective.loss.target, z, shard.label[rows], shard.weight[rows], comm, objective.loss))
    return replace(
        first,
        margins=margins,
        quality={name: np.array([one[name] for one in quality]) for name in quality[0]},
        certified=all(path.certified for path in found),
        epochs=sum(path.epochs for path in found),
    )


def _scores(objective: Objective, held: NDArray[np.bool_], models: FoldModels, score: str, comm: Comm) -> Vector:
    """Return the score of each model on the rows that a fold holds out, (points,); collective."""
    shard, loss, outputs = objective.shard, objective.loss, objective.outputs
    index = np.flatnonzero(held)
    rows, y, s = _taken(shard.rows, index), shard.label[index], shard.weight[index]
    most = max(int(comm.max(np.array([float(len(index))]))[0]), 1)
    each, found = max(1, MOST_NUMBERS // (most * outputs)), list[float]()
    for begin in range(0, len(models.weights), each):
        part = models.weights[begin : begin + each]
        w = np.zeros((len(part) * outputs, objective.width))
        w[:, models.columns] = part.reshape(len(w), -1)
        z = passes.margins(rows, w)
        for k in range(len(part)):
            at = np.ascontiguousarray(z[:, k * outputs : (k + 1) * outputs])
            found.append(_score(score, loss, at, y, s, comm))
    return np.array(found)


def _score(score: str, loss: Loss, margins: Matrix, label: Vector, weight: Vector, comm: Comm) -> float:
    """Return one score; nan if it is not finite; collective."""
    if score == "deviance":
        value = deviance(loss, margins, label, weight, comm)
    else:
        value = metrics(loss.target, margins, label, weight, comm)[score]
    return value if math.isfinite(value) else math.nan


def _taken(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Copy some rows."""
    return select(rows, index) if isinstance(rows, CsrRows) else DenseRows(rows.values[index])

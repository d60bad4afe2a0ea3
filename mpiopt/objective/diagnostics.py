"""How well a model predicts, by bins of its predictions: what ROC curves, calibration and residuals are drawn from.

The bins hold about equally many rows. Their ends are quantiles of samples of all ranks, and their sums are exact, so
that the picture is the same however the rows are divided, up to the choice of the ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.offsets import apart
from mpiopt.objective.losses.base import Loss

Vector = NDArray[np.float64]
Margins = NDArray[np.float64]  # (n, outputs)
Table = NDArray[np.void]

SAMPLE = 4096  # margins of a rank from which the ends of the bins are taken
SCORE_BINS = 200  # of margins of two classes: a ROC curve with as many corners
MEAN_BINS = 20  # of expected targets
RESIDUAL_BINS = 60  # between -SPREAD and +SPREAD standard deviations; the outermost ones hold what is beyond
SPREAD = 6.0
MOST_CLASSES = 30  # for which a table of confusions can be read

CLASSES = np.dtype([("margin", "f8"), ("probability", "f8"), ("positive", "f8"), ("negative", "f8")])
MEANS = np.dtype([("predicted", "f8"), ("observed", "f8"), ("residual", "f8"), ("weight", "f8")])
RESIDUALS = np.dtype([("low", "f8"), ("high", "f8"), ("weight", "f8")])


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How well a model predicts on some rows; tables that do not fit the loss are None.

    Parameters
    ----------
    rows : str
        Which rows, in words.
    scores : structured array, optional
        Two classes: for each bin of the margin, from the smallest to the largest, the largest margin in it, the mean
        probability of the second class (NaN for a loss without probabilities), and the weights of both classes.
    means : structured array, optional
        Numbers: for each bin of the expected target, the means of expectation and target, the root mean square of
        target - expectation, and the weight.
    residuals : structured array, optional
        Numbers: weights of the rows by target - expectation.
    confusion : ndarray, (classes, classes), optional
        More classes: weights of the rows by their class and by the class of the largest margin.
    """

    rows: str
    scores: Table | None = None
    means: Table | None = None
    residuals: Table | None = None
    confusion: NDArray[np.float64] | None = None


def diagnose(loss: Loss, z: Margins, label: Vector, weight: Vector, rows: str, comm: Comm) -> Diagnostics | None:
    """Return how well margins predict labels; None where no table fits; collective.

    Parameters
    ----------
    loss : Loss
        The loss of the model.
    z : ndarray, (n, outputs)
        Margins of this rank's rows.
    label, weight : ndarray, (n,)
        Labels, as the loss takes them, and weights; a label may have an offset beside it.
    rows : str
        Which rows, in words.
    comm : Comm
        The ranks.
    """
    z, label = apart(z, label)
    if loss.target == "multiclass":
        found = _confusion(z, label, weight, comm) if z.shape[1] <= MOST_CLASSES else None
        return None if found is None else Diagnostics(rows, confusion=found)
    if loss.target == "binary":
        return Diagnostics(rows, scores=_scores(loss, z[:, 0], label, weight, comm))
    with np.errstate(over="ignore"):
        mean = np.asarray(loss.mean(z)).reshape(-1)
    finite = np.isfinite(mean)
    mean, label, weight = mean[finite], label[finite], weight[finite]
    means, spread = _means(mean, label, weight, comm)
    return Diagnostics(rows, means=means, residuals=_residuals(label - mean, weight, spread, comm))


def _scores(loss: Loss, z: Vector, label: Vector, weight: Vector, comm: Comm) -> Table:
    ends = _ends(z, SCORE_BINS, comm)
    with np.errstate(over="ignore"):
        probability = 1.0 / (1.0 + np.exp(-z)) if loss.name == "logistic" else np.full(len(z), math.nan)
    place, bins = np.searchsorted(ends, z), len(ends) + 1
    parts = [weight * (label > 0), weight * (label <= 0), weight * probability]
    positive, negative, chances = _sums(place, parts, bins, comm)
    found = np.zeros(bins, CLASSES)
    found["margin"], found["positive"], found["negative"] = [*ends, np.inf], positive, negative
    found["probability"] = chances / np.maximum(positive + negative, 1e-300)
    return np.asarray(found[positive + negative > 0.0])


def _means(mean: Vector, label: Vector, weight: Vector, comm: Comm) -> tuple[Table, float]:
    """Return the table of the bins, and the root mean square of all residuals."""
    ends = _ends(mean, MEAN_BINS, comm)
    parts = [weight, weight * mean, weight * label, weight * (label - mean) ** 2]
    whole, predicted, observed, squares = _sums(np.searchsorted(ends, mean), parts, len(ends) + 1, comm)
    kept = whole > 0.0
    found = np.zeros(int(kept.sum()), MEANS)
    found["weight"] = whole[kept]
    found["predicted"], found["observed"] = predicted[kept] / whole[kept], observed[kept] / whole[kept]
    found["residual"] = np.sqrt(squares[kept] / whole[kept])
    return found, math.sqrt(squares.sum() / max(whole.sum(), 1e-300))


def _residuals(residual: Vector, weight: Vector, spread: float, comm: Comm) -> Table:
    ends = np.linspace(-SPREAD * spread, SPREAD * spread, RESIDUAL_BINS + 1)
    place = np.clip(np.searchsorted(ends, residual) - 1, 0, RESIDUAL_BINS - 1)
    found = np.zeros(RESIDUAL_BINS, RESIDUALS)
    found["low"], found["high"] = ends[:-1], ends[1:]
    found["weight"] = _sums(place, [weight], RESIDUAL_BINS, comm)[0]
    return found


def _confusion(z: Margins, label: Vector, weight: Vector, comm: Comm) -> NDArray[np.float64]:
    classes = z.shape[1]
    place = label.astype(np.int64) * classes + z.argmax(axis=1)
    return np.asarray(_sums(place, [weight], classes * classes, comm)[0].reshape(classes, classes))


def _ends(values: Vector, bins: int, comm: Comm) -> Vector:
    """Return ascending numbers between bins that hold about equally many values of all ranks; collective."""
    ordered = np.sort(values)
    mine = ordered[np.linspace(0, len(ordered) - 1, min(SAMPLE, len(ordered))).astype(np.int64)]
    share = np.full(len(mine), len(values) / max(len(mine), 1))
    every, shares = (np.concatenate(comm.allgather(part)) for part in (mine, share))
    if not len(every):
        return every
    order = np.argsort(every, kind="stable")
    reached = np.cumsum(shares[order])
    places = np.searchsorted(reached, reached[-1] * np.arange(1, bins) / bins)
    return np.unique(every[order][np.minimum(places, len(every) - 1)])


def _sums(place: NDArray[np.int64], parts: list[Vector], bins: int, comm: Comm) -> NDArray[np.float64]:
    """Return the sums of each part in each bin over all ranks, (parts, bins); collective."""
    mine = np.concatenate([np.bincount(place, part, bins) for part in parts])
    mine = mine.astype(np.float64)  # of no rows numpy makes whole numbers
    return np.asarray(comm.sum(mine)).reshape(len(parts), bins)

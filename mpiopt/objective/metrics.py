"""Metrics of predictions on rows that are spread over ranks, as exact as on one rank.

All are weighted means over the rows of all ranks and need at least one row. All are collective: each rank passes
the margins, labels and weights of its own rows. Margins have the shape (n,) or (n, 1), for classes (n, C).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.offsets import apart
from mpiopt.data.shard import Vector
from mpiopt.objective.losses.base import Loss

Margins = NDArray[np.float64]  # (n,), (n, 1) or (n, C)

MOST_MARGIN = 700.0  # of a constant whose mean is 0 or 1: exp of more is inf
SAMPLES_PER_RANK = 16  # margins of a rank, for each rank, from which the ranges of the sample sort are taken


def metrics(
    target: str, margins: Margins, label: Vector, weight: Vector, comm: Comm, loss: Loss | None = None
) -> dict[str, float]:
    """Compute the metrics that belong to a loss's target; collective.

    Parameters
    ----------
    target : str
        "binary", "multiclass", "real", "count", "positive" or "rate", as `Loss.target`.
    margins : ndarray, shape (n,), (n, 1) or (n, C)
        Margins of this rank's rows.
    label, weight : ndarray, shape (n,)
        Labels and weights of this rank's rows; a label may have an offset beside it.
    comm : Comm
        The ranks.
    loss : Loss, optional
        With it the share of the deviance that is explained is among them, if the loss belongs to a distribution.

    Returns
    -------
    dict of str to float
        Binary: accuracy, log loss, AUC, average precision, Brier. Multiclass: accuracy, log loss, Brier. Else RMSE,
        MAE, R².

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.comm.threads import single
    >>> metrics("binary", np.array([2.0, -1.0, 0.5]), np.array([1.0, -1.0, -1.0]), np.ones(3), single())["AUC"]
    1.0
    """
    margins, label = apart(margins, label)
    if target in ("binary", "multiclass"):
        found = {
            "accuracy": accuracy(margins, label, weight, comm),
            "log loss": log_loss(margins, label, weight, comm),
        }
        if target == "binary":
            ranked = ranking(margins, label, weight, comm)
            found |= {"AUC": ranked.auc, "average precision": ranked.average_precision}
        found["Brier"] = brier(margins, label, weight, comm)
    else:
        z = margins.reshape(-1)
        with np.errstate(over="ignore"):  # a margin may be far out
            means = {"real": z, "rate": 1.0 / (1.0 + np.exp(-z))}
            predicted = means.get(target, np.exp(z))
        found = {
            "RMSE": rmse(predicted, label, weight, comm),
            "MAE": mae(predicted, label, weight, comm),
            "R²": r_squared(predicted, label, weight, comm),
        }
    if loss is not None and loss.family and not (loss.quadratic and loss.link == "identity"):
        found["deviance explained"] = deviance_explained(loss, margins, label, weight, comm)
    return found


def accuracy(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the share of rows whose class is right: the sign of the margin (0 is +1), or the largest margin."""
    if _has_one_output(margins):
        right = np.where(margins.reshape(-1) >= 0, 1.0, -1.0) == label
    else:
        right = np.argmax(margins, axis=1) == label
    return _mean(right.astype(np.float64), weight, comm)


def log_loss(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the mean of -log p(label), p the logistic function of the margin or the softmax of the margins."""
    if _has_one_output(margins):
        return _mean(np.logaddexp(0.0, -label * margins.reshape(-1)), weight, comm)
    top = margins.max(axis=1) if len(margins) else np.empty(0)
    total = top + np.log(np.exp(margins - top[:, None]).sum(axis=1))
    return _mean(total - margins[np.arange(len(label)), label.astype(np.int64)], weight, comm)


def rmse(predicted: Vector, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the root of the mean squared error."""
    return math.sqrt(_mean((predicted.reshape(-1) - label) ** 2, weight, comm))


def r_squared(predicted: Vector, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute 1 - Σ(y - p)² / Σ(y - ȳ)². If all labels are equal: 1 for exact predictions, else 0."""
    error = _mean((predicted.reshape(-1) - label) ** 2, weight, comm)
    centre = _mean(label, weight, comm)
    spread = _mean((label - centre) ** 2, weight, comm)
    if spread == 0:
        return 1.0 if error == 0 else 0.0
    return 1.0 - error / spread


def mae(predicted: Vector, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the mean absolute error."""
    return _mean(np.abs(predicted.reshape(-1) - label), weight, comm)


def brier(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the mean of (p - 1[label = +1])²; of several classes that of Σ_c (p_c - 1[label = c])², from 0 to 2."""
    if _has_one_output(margins):
        with np.errstate(over="ignore"):  # exp of a margin far out is inf, and the chance 0
            wrong = 1.0 / (1.0 + np.exp(label * margins.reshape(-1)))
        return _mean(wrong**2, weight, comm)
    p = np.exp(margins - margins.max(axis=1, keepdims=True)) if len(margins) else margins
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(label)), label.astype(np.int64)] -= 1.0
    return _mean((p**2).sum(axis=1), weight, comm)


def deviance(loss: Loss, margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the mean deviance of the rows; for the squared loss it is the mean squared error."""
    z = margins.reshape(-1, 1) if _has_one_output(margins) else margins
    return _mean(loss.deviance(z, label), weight, comm)


def deviance_explained(loss: Loss, margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute 1 - D/D₀, D₀ the deviance of the constant that is best on these rows; 0 if that is 0, 1 if both are."""
    if _has_one_output(margins):
        mean = _mean(loss.response(label), weight, comm)
        constant = np.full((len(label), 1), _margin_of(mean, loss.link))
    else:
        classes = np.arange(margins.shape[1])
        shares = comm.sum(np.array([(weight * (label == c)).sum() for c in classes]))
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(shares / shares.sum()), -MOST_MARGIN)
        constant = np.tile(logs, (len(label), 1))
    reached = deviance(loss, margins, label, weight, comm)
    least = deviance(loss, constant, label, weight, comm)
    if not least > 0.0:
        return 1.0 if reached == 0.0 else 0.0
    return 1.0 - reached / least


def _margin_of(mean: float, link: str) -> float:
    """Return the margin whose expected target is `mean`, at most `MOST_MARGIN` far out."""
    if link in ("identity", "inverse"):
        return mean if link == "identity" else 1.0 / mean
    rest = 1.0 - mean if link == "logit" else 1.0
    far = math.copysign(MOST_MARGIN, mean - rest)
    return float(np.clip(math.log(mean / rest), -MOST_MARGIN, MOST_MARGIN)) if mean > 0.0 < rest else far


class Ranking(NamedTuple):
    """What the order of the margins says about the labels; nan if all labels are equal."""

    auc: float  # area under the ROC curve
    average_precision: float  # Σ over the margins of the precision from there on, times the recall that they add


def ranking(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> Ranking:
    """Compute the area under the ROC curve and the average precision.

    The area is the probability that a row labelled +1 has a larger margin than one labelled -1; equal margins count
    ½. Equal margins are merged, the ranks exchange margins by ranges (a sample sort), and each counts its pairs.
    """
    scores, where = np.unique(margins.reshape(-1) + 0.0, return_inverse=True)
    sides = [_sum_by_place(where, weight * (label == side), len(scores)) for side in (1.0, -1.0)]
    scores, plus, minus = _sorted_by_range(scores, sides[0], sides[1], comm)
    totals = comm.allgather(np.array([[plus.sum(), minus.sum()]]))
    positive, negative = (float(sum(t[0, k] for t in totals)) for k in (0, 1))
    below = [float(sum(t[0, k] for t in totals[: comm.rank])) for k in (0, 1)]
    above = [float(sum(t[0, k] for t in totals[comm.rank + 1 :])) for k in (0, 1)]
    under = below[1] + np.cumsum(minus) - 0.5 * minus
    right = above[0] + np.cumsum(plus[::-1])[::-1]
    chosen = right + above[1] + np.cumsum(minus[::-1])[::-1]
    precision = np.divide(right, chosen, out=np.zeros_like(right), where=chosen > 0.0)
    pairs, precise = comm.sum(np.array([(plus * under).sum(), (plus * precision).sum()])).tolist()
    if not positive * negative > 0.0:
        return Ranking(math.nan, math.nan)
    return Ranking(pairs / (positive * negative), precise / positive)


def _sorted_by_range(scores: Vector, plus: Vector, minus: Vector, comm: Comm) -> tuple[Vector, Vector, Vector]:
    """Send every score to the rank of its range, equal scores to the same rank; merge equal ones."""
    sample = np.linspace(0, len(scores) - 1, min(len(scores), SAMPLES_PER_RANK * comm.size)).astype(np.int64)
    sampled = np.sort(np.concatenate(comm.allgather(scores[sample])))
    splitters = sampled[[len(sampled) * r // comm.size for r in range(1, comm.size)]] if len(sampled) else sampled
    ends = np.searchsorted(scores, splitters) if len(sampled) else np.zeros(comm.size - 1, np.int64)
    received = [np.concatenate(comm.alltoall(np.split(x, ends))) for x in (scores, plus, minus)]
    merged, where = np.unique(received[0], return_inverse=True)
    return merged, _sum_by_place(where, received[1], len(merged)), _sum_by_place(where, received[2], len(merged))


def _sum_by_place(where: NDArray[np.int64], x: Vector, n: int) -> Vector:
    return np.asarray(np.bincount(where, x, n), np.float64)


def _has_one_output(margins: Margins) -> bool:
    return margins.ndim == 1 or margins.shape[1] == 1


def _mean(x: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the weighted mean over the rows of all ranks."""
    total, whole = comm.sum(np.array([(x * weight).sum(), weight.sum()]))
    return float(total / whole)

"""Metrics of predictions on rows that are spread over ranks, as exact as on one rank.

All are weighted means over the rows of all ranks and need at least one row. All are collective: each rank passes
the margins, labels and weights of its own rows. Margins have the shape (n,) or (n, 1), for classes (n, C).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

Margins = NDArray[np.float64]  # (n,), (n, 1) or (n, C)

SAMPLES_PER_RANK = 16  # margins of a rank, for each rank, from which the ranges of the sample sort are taken


def metrics(target: str, margins: Margins, label: Vector, weight: Vector, comm: Comm) -> dict[str, float]:
    """Compute the metrics that belong to a loss's target; collective.

    Parameters
    ----------
    target : str
        "binary", "multiclass", "real" or "count", as `Loss.target`.
    margins : ndarray, shape (n,), (n, 1) or (n, C)
        Margins of this rank's rows.
    label, weight : ndarray, shape (n,)
        Labels and weights of this rank's rows.
    comm : Comm
        The ranks.

    Returns
    -------
    dict of str to float
        Binary: accuracy, log loss, AUC. Multiclass: accuracy, log loss. Else RMSE and R².

    Examples
    --------
    >>> import numpy as np
    >>> from mpiopt.comm.threads import single
    >>> metrics("binary", np.array([2.0, -1.0, 0.5]), np.array([1.0, -1.0, -1.0]), np.ones(3), single())["AUC"]
    1.0
    """
    if target in ("binary", "multiclass"):
        found = {
            "accuracy": accuracy(margins, label, weight, comm),
            "log loss": log_loss(margins, label, weight, comm),
        }
        return found | {"AUC": auc(margins, label, weight, comm)} if target == "binary" else found
    predicted = margins.reshape(-1) if target == "real" else np.exp(margins.reshape(-1))
    return {"RMSE": rmse(predicted, label, weight, comm), "R²": r_squared(predicted, label, weight, comm)}


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


def auc(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Compute the area under the ROC curve; nan if all labels are equal.

    It is the probability that a row labelled +1 has a larger margin than one labelled -1; equal margins count ½.
    Equal margins are merged, the ranks exchange margins by ranges (a sample sort), and each counts its pairs.
    """
    scores, where = np.unique(margins.reshape(-1) + 0.0, return_inverse=True)
    sides = [_sum_by_place(where, weight * (label == side), len(scores)) for side in (1.0, -1.0)]
    scores, plus, minus = _sorted_by_range(scores, sides[0], sides[1], comm)
    totals = comm.allgather(np.array([[plus.sum(), minus.sum()]]))
    below = float(sum(t[0, 1] for t in totals[: comm.rank]))
    under = below + np.cumsum(minus) - 0.5 * minus
    pairs = float(comm.sum(np.array([(plus * under).sum()]))[0])
    positive, negative = (float(sum(t[0, k] for t in totals)) for k in (0, 1))
    return pairs / (positive * negative) if positive * negative > 0 else math.nan


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

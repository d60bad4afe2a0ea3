"""Metrics of predictions on rows spread over ranks: exact, each rank giving its margins and labels.

All are weighted means over the rows of all ranks and need at least one row. Margins are (n,) or (n, 1), and
(n, C) for classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.data.shard import Vector

Margins = NDArray[np.float64]


def metrics(target: str, margins: Margins, label: Vector, weight: Vector, comm: Comm) -> dict[str, float]:
    """Give the metrics that belong to a loss's target, by name; collective."""
    if target == "binary":
        return {
            "accuracy": accuracy(margins, label, weight, comm),
            "log loss": log_loss(margins, label, weight, comm),
            "AUC": auc(margins, label, weight, comm),
        }
    if target == "multiclass":
        return {
            "accuracy": accuracy(margins, label, weight, comm),
            "log loss": log_loss(margins, label, weight, comm),
        }
    predicted = margins.reshape(-1) if target == "real" else np.exp(margins.reshape(-1))
    return {"RMSE": rmse(predicted, label, weight, comm), "R²": r_squared(predicted, label, weight, comm)}


def accuracy(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Give the share of rows whose predicted class is right: the sign (0 is +1) or the largest margin."""
    if _single(margins):
        right = np.where(margins.reshape(-1) >= 0, 1.0, -1.0) == label
    else:
        right = np.argmax(margins, axis=1) == label
    return _mean(right.astype(np.float64), weight, comm)


def log_loss(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Give the mean of -log p(label): p the logistic function of the margin, or the softmax of the margins."""
    if _single(margins):
        return _mean(np.logaddexp(0.0, -label * margins.reshape(-1)), weight, comm)
    top = margins.max(axis=1) if len(margins) else np.empty(0)
    total = top + np.log(np.exp(margins - top[:, None]).sum(axis=1))
    return _mean(total - margins[np.arange(len(label)), label.astype(np.int64)], weight, comm)


def rmse(predicted: Vector, label: Vector, weight: Vector, comm: Comm) -> float:
    """Give the root of the mean squared error."""
    return math.sqrt(_mean((predicted.reshape(-1) - label) ** 2, weight, comm))


def r_squared(predicted: Vector, label: Vector, weight: Vector, comm: Comm) -> float:
    """Give 1 - Σ(y - p)² / Σ(y - ȳ)²; for labels without spread 1 if all are met, else 0."""
    error = _mean((predicted.reshape(-1) - label) ** 2, weight, comm)
    centre = _mean(label, weight, comm)
    spread = _mean((label - centre) ** 2, weight, comm)
    if spread == 0:
        return 1.0 if error == 0 else 0.0
    return 1.0 - error / spread


def auc(margins: Margins, label: Vector, weight: Vector, comm: Comm) -> float:
    """Give the area under the ROC curve: P(margin of a + row > of a - row) + ½ P(equal); nan for a single class.

    Equal margins are united, the margins are dealt out by ranges (a sample sort), and each rank counts its pairs.
    """
    scores, where = np.unique(margins.reshape(-1) + 0.0, return_inverse=True)
    sides = [_sums(where, weight * (label == side), len(scores)) for side in (1.0, -1.0)]
    scores, plus, minus = _dealt(scores, sides[0], sides[1], comm)
    totals = comm.allgather(np.array([[plus.sum(), minus.sum()]]))
    below = float(sum(t[0, 1] for t in totals[: comm.rank]))
    under = below + np.cumsum(minus) - 0.5 * minus
    pairs = float(comm.sum(np.array([(plus * under).sum()]))[0])
    positive, negative = (float(sum(t[0, k] for t in totals)) for k in (0, 1))
    return pairs / (positive * negative) if positive * negative > 0 else math.nan


def _dealt(scores: Vector, plus: Vector, minus: Vector, comm: Comm) -> tuple[Vector, Vector, Vector]:
    """Send every score to the rank of its range, the same scores to the same rank; unite equal ones."""
    sample = np.linspace(0, len(scores) - 1, min(len(scores), 16 * comm.size)).astype(np.int64)
    sampled = np.sort(np.concatenate(comm.allgather(scores[sample])))
    splitters = sampled[[len(sampled) * r // comm.size for r in range(1, comm.size)]] if len(sampled) else sampled
    ends = np.searchsorted(scores, splitters) if len(sampled) else np.zeros(comm.size - 1, np.int64)
    came = [np.concatenate(comm.alltoall(np.split(x, ends))) for x in (scores, plus, minus)]
    united, where = np.unique(came[0], return_inverse=True)
    return united, _sums(where, came[1], len(united)), _sums(where, came[2], len(united))


def _sums(where: NDArray[np.int64], x: Vector, n: int) -> Vector:
    return np.asarray(np.bincount(where, x, n), np.float64)


def _single(margins: Margins) -> bool:
    return margins.ndim == 1 or margins.shape[1] == 1


def _mean(x: Vector, weight: Vector, comm: Comm) -> float:
    total, whole = comm.sum(np.array([(x * weight).sum(), weight.sum()]))
    return float(total / whole)


def told(found: dict[str, float]) -> str:
    """Give the metrics in one line."""
    return ", ".join(f"{name} {value:.6g}" for name, value in found.items())

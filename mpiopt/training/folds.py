"""Folds for cross-validation: every row belongs to one, whatever the number of ranks.

Rows are dealt in their order: each block of K rows of one class gets the K folds in a random order, so that the folds
differ by at most one row of each class (stratified folds: R. Kohavi, A study of cross-validation and bootstrap for
accuracy estimation and model selection, IJCAI 1995). Groups of rows stay together: the largest group goes to the fold
with the fewest rows so far.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.rng import generator
from mpiopt.inference.clusters import Clusters
from mpiopt.objective.objective import Objective

Folds = NDArray[np.int64]

STREAM = 104  # of randomness: which fold a row goes to


def dealt_folds(order: NDArray[np.int64], strata: NDArray[np.int64], count: int, seed: int, comm: Comm) -> Folds:
    """Return the fold of each row of this rank, in the order of the memory; collective.

    Parameters
    ----------
    order : ndarray of int64, shape (n,)
        A permutation: row j in memory is number order[j] of this rank's part of the sequence of all rows.
    strata : ndarray of int64, shape (n,)
        A number from 0 for each row; rows of one number are dealt evenly.
    count : int
        Number of folds, K.
    seed : int
        Seed of the dealing.
    comm : Comm
        The ranks.

    Returns
    -------
    ndarray of int64, shape (n,)
        Fold numbers from 0. They do not depend on the number of ranks, if the sequence of the rows does not.
    """
    in_sequence = np.argsort(order, kind="stable")
    most = int(comm.max(np.array([float(strata.max(initial=0))]))[0]) + 1
    mine = np.bincount(strata, minlength=most)
    before = sum(comm.allgather(mine)[: comm.rank], start=np.zeros(most, np.int64))
    found = np.empty(len(strata), np.int64)
    for stratum in range(most):
        rows = in_sequence[strata[in_sequence] == stratum]
        place = before[stratum] + np.arange(len(rows))
        found[rows] = _dealt(place, count, seed, stratum)
    return found


def _dealt(place: Folds, count: int, seed: int, stratum: int) -> Folds:
    """Return the folds of rows by their places in a stratum: a random order of all folds for each block of rows."""
    if not len(place):
        return place
    first, last = int(place[0]) // count, int(place[-1]) // count
    orders = [generator(seed, STREAM, block, stratum).permutation(count) for block in range(first, last + 1)]
    return np.concatenate(orders)[place - first * count].astype(np.int64)


def grouped_folds(groups: Clusters, count: int, comm: Comm) -> Folds:
    """Return the fold of each row of this rank where the rows of a group stay together; collective.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    if groups.count < count:
        raise ValueError(f"there are {groups.count} groups of rows, fewer than the {count} folds")
    sizes = comm.sum(np.bincount(groups.code, minlength=groups.count))
    fold_of, filled = np.empty(groups.count, np.int64), np.zeros(count, np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups.code]


def strata_of(objective: Objective) -> NDArray[np.int64]:
    """Return the class of each row as a number from 0; 0 for all rows of a loss that is not for classes."""
    label = objective.shard.label
    if objective.loss.target == "binary":
        return (label > 0).astype(np.int64)
    return label.astype(np.int64) if objective.loss.target == "multiclass" else np.zeros(len(label), np.int64)


def given_folds(folds: NDArray[np.int64], comm: Comm) -> tuple[Folds, int]:
    """Return folds that the caller has numbered, and how many there are; collective.

    Raises
    ------
    ValueError
        If a number is below -1, or there are fewer than two folds. A row with -1 is always trained on.
    """
    extent = comm.max(np.array([float(folds.max(initial=-1)), -float(folds.min(initial=0))]))
    if extent[1] > 1.0:
        raise ValueError(f"folds must be numbers from 0, or -1 for rows that are never held out; not {-extent[1]:g}")
    if extent[0] < 1.0:
        raise ValueError("there must be at least 2 folds")
    return folds.astype(np.int64), int(extent[0]) + 1


def check_count(count: int, total: int) -> None:
    """Raise ValueError unless rows can be divided into so many folds."""
    if not 2 <= count <= total:
        raise ValueError(f"folds must be at least 2 and at most the {total} rows, not {count}")

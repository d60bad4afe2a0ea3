"""Folds for cross-validation: which rows each one holds out, whatever the number of ranks.

Rows are dealt in their order: each block of K rows of one class gets the K folds in a random order, so that the folds
differ by at most one row of each class (stratified folds: R. Kohavi, A study of cross-validation and bootstrap for
accuracy estimation and model selection, IJCAI 1995). Groups of rows stay together: the largest group goes to the fold
with the fewest rows so far. Repeats deal again. Folds in an order test each block of rows on models of the rows
before it (R. Hyndman, G. Athanasopoulos, Forecasting: principles and practice, 2021, section 5.10).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.rng import generator
from mpiopt.data.offsets import labels_of
from mpiopt.inference.clusters import Clusters
from mpiopt.objective.objective import Objective

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

STREAM = 104  # of randomness: which fold a row goes to
GROUPS = 105  # of randomness: the order in which a repeat deals the groups
NO_ROWS, NUMBERS, DATES, DURATIONS, TEXTS = range(5)  # kinds of times
MOST_STRATA = 1 << 20  # in a number for the generator, beside the repeat


@dataclass(frozen=True, eq=False)
class Folds:
    """Which rows each fold holds out, and which ones it trains on.

    Attributes
    ----------
    number : ndarray of int64, shape (repeats, n)
        For each repeat the fold that holds out each row of this rank, from 0; -1: none does.
    count : int
        Folds of a repeat; 0: no cross-validation.
    ordered : bool
        Whether a fold trains on the rows of lower numbers only, and not on all others.

    Examples
    --------
    >>> import numpy as np
    >>> folds = Folds(np.array([[-1, 0, 1], [-1, 1, 0]]), 2)
    >>> folds.total, folds.held(3).tolist(), folds.trained(3).tolist()
    (4, [False, True, False], [True, False, True])
    """

    number: Numbers
    count: int
    ordered: bool = False

    @classmethod
    def none(cls) -> Folds:
        """Return no folds."""
        return cls(np.empty((1, 0), np.int64), 0)

    @property
    def repeats(self) -> int:
        """How often all rows are dealt."""
        return len(self.number)

    @property
    def total(self) -> int:
        """Number of folds of all repeats."""
        return self.count * self.repeats

    def held(self, fold: int) -> Mask:
        """Return which rows a fold, from 0 to `total` - 1, holds out."""
        return np.asarray(self.number[fold // self.count] == fold % self.count)

    def trained(self, fold: int) -> Mask:
        """Return which rows a fold trains on."""
        return np.asarray(self.number[fold // self.count] < fold % self.count) if self.ordered else ~self.held(fold)

    def rows(self, index: NDArray[np.int64]) -> Folds:
        """Return the folds of some rows of this rank."""
        return replace(self, number=self.number[:, index])


def dealt_folds(order: Numbers, strata: Numbers, count: int, seed: int, comm: Comm, repeat: int = 0) -> Numbers:
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
    repeat : int
        From 0; each deals in another way.

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
        found[rows] = _dealt(place, count, seed, repeat * MOST_STRATA + stratum)
    return found


def _dealt(place: Numbers, count: int, seed: int, stratum: int) -> Numbers:
    """Return the folds of rows by their places in a stratum: a random order of all folds for each block of rows."""
    if not len(place):
        return place
    first, last = int(place[0]) // count, int(place[-1]) // count
    orders = [generator(seed, STREAM, block, stratum).permutation(count) for block in range(first, last + 1)]
    return np.concatenate(orders)[place - first * count].astype(np.int64)


def grouped_folds(groups: Clusters, count: int, comm: Comm, seed: int = 0, repeat: int = 0) -> Numbers:
    """Return the fold of each row of this rank where the rows of a group stay together; collective.

    The largest group comes first; in repeats after the first one the groups come in a random order.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    if groups.count < count:
        raise ValueError(f"there are {groups.count} groups of rows, fewer than the {count} folds")
    sizes = comm.sum(np.bincount(groups.code, minlength=groups.count))
    fold_of, filled = np.empty(groups.count, np.int64), np.zeros(count, np.int64)
    sequence = (
        generator(seed, GROUPS, repeat, 0).permutation(groups.count) if repeat else np.argsort(-sizes, kind="stable")
    )
    for group in sequence:
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups.code]


def ordered_folds(place: NDArray[np.float64], count: int, comm: Comm) -> Numbers:
    """Return the fold of each row of this rank for tests on later rows only; collective.

    The rows are cut at K places of their order into K + 1 blocks, of which the last K are as long as each other. The
    first block is never held out; block k + 1 is tested by the model of the blocks before it. Rows with equal places
    stay together, in the later block.

    Parameters
    ----------
    place : ndarray, shape (n,)
        The place of each row in the order, for instance a time; finite.
    count : int
        Number of folds, K.
    comm : Comm
        The ranks.

    Returns
    -------
    ndarray of int64, shape (n,)
        Fold numbers from 0, and -1 in the first block.

    Raises
    ------
    ValueError
        If there are fewer than K + 1 rows.
    """
    key = np.sort(_sortable(place))
    total = int(comm.sum(np.array([float(len(key))]))[0])
    if total <= count:
        raise ValueError(f"{count} folds in an order need at least {count + 1} rows, not {total}")
    below = total - (total // (count + 1)) * np.arange(count, 0, -1)  # rows before each cut
    limits = np.iinfo(np.int64)
    low, high = np.full(count, limits.min), np.full(count, limits.max)
    for _ in range(64):  # the bits of a place: the least key that more rows than those before the cut do not exceed
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        reached = comm.sum(np.searchsorted(key, middle, side="right").astype(np.float64)) > below
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle + 1)
    return np.searchsorted(high, _sortable(place), side="right").astype(np.int64) - 1


def _sortable(values: NDArray[np.float64]) -> Numbers:
    """Return integers in the order of numbers: their bits, those of negative numbers turned over."""
    bits = np.ascontiguousarray(values + 0.0, np.float64).view(np.int64)
    return np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)


def repeated_folds(
    order: Numbers, strata: Numbers, groups: Clusters | None, count: int, repeats: int, seed: int, comm: Comm
) -> Folds:
    """Deal rows, or groups of rows, to folds again and again; collective; arguments as of `dealt_folds`."""
    if groups is not None:
        return Folds(np.stack([grouped_folds(groups, count, comm, seed, r) for r in range(repeats)]), count)
    return Folds(np.stack([dealt_folds(order, strata, count, seed, comm, r) for r in range(repeats)]), count)


def times(values: NDArray[Any], comm: Comm) -> NDArray[np.float64]:
    """Return times as numbers: numbers, dates of numpy, or texts with numbers or ISO 8601 dates; collective.

    All ranks read them alike: texts are numbers only if those of all ranks are.

    Raises
    ------
    ValueError
        On all ranks: if one is missing or is none of these, or ranks have different kinds.
    """
    kind = {"m": DURATIONS, "M": DATES, **dict.fromkeys("biuf", NUMBERS)}.get(values.dtype.kind, TEXTS)
    words: list[str] = []
    if kind == TEXTS:
        words = [str(value) for value in values.tolist()]
        kind = NUMBERS if all(_is_number(word) for word in words) else TEXTS
    known = [int(part[0]) for part in comm.allgather(np.array([kind if len(values) else NO_ROWS]))]
    found = {k for k in known if k != NO_ROWS}
    with comm.agree_on_errors():
        if len(found) > 1 and not (words and found <= {NUMBERS, TEXTS}):
            raise ValueError("the times of the ranks are of different kinds: numbers, dates, texts")
        if words:
            as_numbers = np.array([float(word) for word in words]) if found == {NUMBERS} else _dates_of_texts(words)
        elif kind in (DATES, DURATIONS):
            if np.isnat(values).any():
                raise ValueError("a time is missing")
            as_numbers = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64).astype(np.float64)
        else:
            as_numbers = values.astype(np.float64)
        if not np.isfinite(as_numbers).all():
            raise ValueError("a time is missing or infinite")
    return as_numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _dates_of_texts(texts: list[str]) -> NDArray[np.float64]:
    """Return the seconds of ISO dates; a date without a zone is in UTC."""
    found = []
    for text in texts:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"the time {text!r} is neither a number nor a date like 2024-03-31") from None
        found.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return np.array(found)


def strata_of(objective: Objective) -> NDArray[np.int64]:
    """Return the class of each row as a number from 0; 0 for all rows of a loss that is not for classes."""
    label = labels_of(objective.shard.label)
    if objective.loss.target == "binary":
        return (label > 0).astype(np.int64)
    return label.astype(np.int64) if objective.loss.target == "multiclass" else np.zeros(len(label), np.int64)


def given_folds(folds: NDArray[Any], comm: Comm) -> Folds:
    """Return folds that the caller has numbered; collective.

    Raises
    ------
    ValueError
        If a number is not whole or below -1, or there are fewer than two folds. A row with -1 is always trained on.
    """
    whole = folds.dtype.kind in "biuf" and bool((folds == np.floor(folds)).all())
    comm.agree(None if whole else ValueError("folds must be whole numbers from 0, or -1 for rows never held out"))
    extent = comm.max(np.array([float(folds.max(initial=-1)), -float(folds.min(initial=0))]))
    if extent[1] > 1.0:
        raise ValueError(f"folds must be numbers from 0, or -1 for rows that are never held out; not {-extent[1]:g}")
    if extent[0] < 1.0:
        raise ValueError("there must be at least 2 folds")
    return Folds(folds.astype(np.int64)[None], int(extent[0]) + 1)


def check_count(count: int, total: int, repeats: int = 1) -> None:
    """Raise ValueError unless rows can be divided into so many folds, so often."""
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    if not 2 <= count <= total:
        raise ValueError(f"folds must be at least 2 and at most the {total} rows, not {count}")

"""The part `/path` of a result file: the models of a path, and the scores of its folds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathTable:
    """The points of a path, from the strongest penalty to the weakest.

    The coefficients are those of the columns that some point uses: `coef[k, c, i]` is that of column `columns[i]` in
    output c of point k, in the units of the data file. Without folds `scores` has no columns.

    Examples
    --------
    >>> import numpy as np
    >>> one, coef = np.ones(2), np.array([[[0.0, 0.0]], [[0.0, 3.0]]])
    >>> made = PathTable.of(one, one, one, one, one, one > 0, one, coef, one[:, None])
    >>> made.columns.tolist(), made.coef.tolist(), made.nonzeros.tolist()
    ([1], [[[0.0]], [[3.0]]], [0, 1])
    """

    strength: Vector  # (points,)
    l1: Vector
    l2: Vector
    objective: Vector
    certificate: Vector  # the duality gap, relative
    certified: NDArray[np.bool_]
    epochs: Vector
    nonzeros: NDArray[np.int64]
    columns: NDArray[np.int64]  # (m,) from 0
    coef: NDArray[np.float64]  # (points, outputs, m)
    intercept: NDArray[np.float64]  # (points, outputs)
    scores: NDArray[np.float64]  # (points, K) on the rows that each fold holds out, repeat by repeat
    share: Vector  # (K,) weight of each fold
    score: str = ""  # what the scores are
    chosen: int = -1  # the point whose model the file has
    best: int = -1  # the point with the best mean score
    simplest: int = -1  # the first point within one standard error of it
    repeats: int = 1  # of the folds

    @classmethod
    def of(
        cls,
        strength: Vector,
        l1: Vector,
        l2: Vector,
        objective: Vector,
        certificate: Vector,
        certified: NDArray[np.bool_],
        epochs: Vector,
        coef: NDArray[np.float64],
        intercept: NDArray[np.float64],
    ) -> PathTable:
        """Return the table of points with all coefficients, (points, outputs, d), without folds."""
        used = np.flatnonzero((coef != 0.0).any(axis=(0, 1)))
        nonzeros = (coef != 0.0).any(axis=1).sum(axis=1).astype(np.int64)
        none = np.empty((len(strength), 0))
        return cls(
            *(strength, l1, l2, objective, certificate, np.asarray(certified, np.bool_), epochs, nonzeros),
            *(used, coef[:, :, used], intercept, none, np.empty(0)),
        )

    @property
    def mean(self) -> Vector:
        """The mean score of each point over the folds, (points,)."""
        return np.asarray(self.scores @ self.share)

    @property
    def error(self) -> Vector:
        """The standard error of that mean, (points,)."""
        return standard_error(self.scores, self.share, self.repeats)

    def write(self, group: Any) -> None:
        """Write the table into a group of a result file."""
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray):
                group.create_dataset(part.name, data=value)
            else:
                group.attrs[part.name] = value

    @classmethod
    def read(cls, group: Any) -> PathTable:
        """Read the table from a group of a result file."""
        found: dict[str, Any] = {}
        for part in dataclasses.fields(cls):
            if part.name not in group and part.name not in group.attrs:
                continue  # of a later version
            kept = group[part.name][()] if part.name in group else group.attrs[part.name]
            found[part.name] = kept.item() if isinstance(kept, np.generic) else kept
        return cls(**found)


def standard_error(scores: NDArray[np.float64], share: Vector, repeats: int) -> Vector:
    """Return the standard error of the mean score of each point, (points,), from scores (points, repeats · K)."""
    each = scores.reshape(len(scores), repeats, -1)
    part = share.reshape(repeats, -1)
    mean = (each * part).sum(axis=2) / part.sum(axis=1)
    spread = ((each - mean[:, :, None]) ** 2 * part).sum(axis=(1, 2))
    return np.asarray(np.sqrt(spread / (each.shape[2] - 1)))

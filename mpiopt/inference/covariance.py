"""Covariances of estimated coefficients: of the model, robust (HC0 to HC3), and clustered.

With M the curvature of loss and penalty at the optimum, H that of the loss alone and φ the dispersion, they are
φ M⁻¹ H M⁻¹ (without a penalty φ H⁻¹) and M⁻¹ S M⁻¹, S the sum of squares of the rows' or clusters' gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.inference.clusters import Clusters, cluster_squares
from mpiopt.inference.rows import WeightedRows

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

KINDS = ("model", "HC0", "HC1", "HC2", "HC3", "cluster")
SINGULAR = 1e-13  # eigenvalue, relative to the largest one of a curvature with diagonal 1, that is rounding alone
SHOWN = 0.1  # entries of a direction at least this large name the columns that depend on one another


@dataclass(frozen=True, eq=False)
class Curvature:
    """The curvature at the optimum, in the parameters that are estimated.

    Attributes
    ----------
    free : ndarray of int64, shape (k,)
        Numbers of these parameters among all of them.
    loss : ndarray, shape (k, k)
        H.
    inverse : ndarray, shape (k, k)
        M⁻¹.
    """

    free: NDArray[np.int64]
    loss: Matrix
    inverse: Matrix

    @property
    def freedom(self) -> float:
        """Effective number of parameters: the trace of M⁻¹ H; k without a penalty."""
        return float(np.trace(self.inverse @ self.loss))


class DependentColumns(ValueError):
    """Some columns depend on others, so that their coefficients are not determined."""

    def __init__(self, parameters: NDArray[np.int64]) -> None:
        super().__init__(f"the curvature is singular in the parameters {parameters.tolist()}")
        self.parameters = parameters


def inverted(loss: Matrix, ridge: Matrix, ignored: Matrix, free: NDArray[np.int64]) -> Curvature:
    """Return the curvature of the parameters `free` and its inverse.

    Parameters
    ----------
    loss : ndarray, shape (m, m)
        H of all parameters.
    ridge : ndarray, shape (m, m)
        What the penalty adds to it.
    ignored : ndarray, shape (m, m)
        Projection onto directions that change no prediction and no penalty; contrasts do not see them.
    free : ndarray of int64, shape (k,)
        The parameters that are estimated.

    Raises
    ------
    DependentColumns
        If the curvature is singular.
    """
    square = np.ix_(free, free)
    kept = loss[square]
    whole = kept + ridge[square]
    size = np.sqrt(np.maximum(np.diag(whole), np.finfo(np.float64).tiny))
    unit = whole / np.outer(size, size) + ignored[square]
    values, vectors = np.linalg.eigh(unit)
    if len(values) and not values[0] > SINGULAR * values[-1]:
        raise DependentColumns(free[np.flatnonzero(np.abs(vectors[:, 0]) >= SHOWN)])
    inverse = (vectors / values) @ vectors.T / np.outer(size, size)
    return Curvature(free, kept, inverse)


def covariance(
    kind: str,
    rows: WeightedRows,
    found: Curvature,
    dispersion: float,
    observations: float,
    clusters: Clusters | None,
) -> Matrix:
    """Return the covariance of the parameters that are estimated, (k, k); collective.

    Parameters
    ----------
    kind : str
        One of `KINDS`. HC1 is HC0 times n/(n - k); HC2 and HC3 divide the square of a row's gradient by 1 - h and
        (1 - h)², h its leverage; "cluster" has the factor G/(G - 1) · (n - 1)/(n - k) for G clusters.
    rows : WeightedRows
        The rows.
    found : Curvature
        The curvature.
    dispersion : float
        φ.
    observations : float
        n.
    clusters : Clusters or None
        For "cluster".
    """
    if kind == "model":
        return dispersion * found.inverse @ found.loss @ found.inverse
    residual, factor = observations - found.freedom, 1.0
    if kind == "cluster" and clusters is not None:
        squares = cluster_squares(rows, clusters)
        factor = clusters.count / (clusters.count - 1.0) * (observations - 1.0) / residual
    elif kind in ("HC2", "HC3"):
        squares = rows.score_squares(_leverage_factor(kind, rows, found))
    else:
        squares, factor = rows.score_squares(), observations / residual if kind == "HC1" else 1.0
    return factor * found.inverse @ squares[np.ix_(found.free, found.free)] @ found.inverse


def _leverage_factor(kind: str, rows: WeightedRows, found: Curvature) -> Vector:
    """Return 1/(1 - h) of each row for HC2, its square for HC3."""
    if rows.objective.outputs > 1:
        raise ValueError(f"{kind} takes losses with one output; take HC0, HC1 or cluster")
    inverse = np.zeros((rows.used, rows.used))
    inverse[np.ix_(found.free, found.free)] = found.inverse
    rest = 1.0 - rows.leverages(inverse)
    return np.asarray(1.0 / np.maximum(rest, np.finfo(np.float64).eps) ** (1 if kind == "HC2" else 2))

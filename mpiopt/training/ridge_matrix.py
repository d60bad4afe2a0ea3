"""A ridge with a matrix, (strength/2) βᵀSβ beside (l2/2) ‖β‖²: rows in a basis in which the sum of both is a ridge.

With A = strength S + l2 I = L Lᵀ, θ = Lᵀβ has the penalty ½ ‖θ‖², and the margins β·x are θ·(L⁻¹x). So every loss,
algorithm and certificate for a ridge is one for S as well. Columns of L⁻¹x get a typical size of 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.config.job import Model
from mpiopt.core.files import refuse_special
from mpiopt.data.row_formats import padded_width
from mpiopt.data.shard import CsrRows, DenseRows, Rows
from mpiopt.objective.objective import Objective
from mpiopt.objective.penalties.base import Penalty
from mpiopt.training.run_state import RunState

Matrix = NDArray[np.float64]

SPLINES = "splines"  # as a matrix: second differences of the coefficients of each spline
MOST_COLUMNS = 5000  # a matrix of that size takes 200 MB
ROWS = 4096  # that are turned at a time
ROUNDING = 1e-10  # of the largest element: so much may a matrix miss symmetry, and eigenvalues 0


@dataclass(frozen=True, eq=False)
class RidgeBasis:
    """The basis of a ridge with a matrix.

    Attributes
    ----------
    given : Objective
        In the columns as they came.
    turn : ndarray, shape (d, d)
        The columns of the basis are those that came times this matrix.
    back : ndarray, shape (d, d)
        Its inverse.
    posed : Objective
        The same function in the basis.
    """

    given: Objective
    turn: Matrix
    back: Matrix
    posed: Objective

    def in_given_columns(self, w: Matrix) -> Matrix:
        """Return a model of the basis, (outputs, width), as one of the columns that came."""
        found, d = self.given.zeros(), self.given.shard.features
        found[:, :d] = w[:, :d] @ self.turn.T
        if self.given.shard.intercept:
            found[:, d] = w[:, d]
        return found

    def ended(self, now: RunState) -> tuple[RunState, Objective]:
        """Return the end of a run in the basis, and its objective, in the columns that came."""
        now.state.w = self.in_given_columns(now.state.w)
        return now, replace(self.given, loss=now.certifier.objective.loss)


def ridge_basis(
    objective: Objective, model: Model, names: Sequence[str] | None, matrix: ArrayLike | None, comm: Comm
) -> RidgeBasis | None:
    """Return the basis in which a model's ridge with a matrix is a plain one, None without a matrix; collective.

    Parameters
    ----------
    objective : Objective
        With the plain ridge alone.
    model : Model
        As the user gave it.
    names : sequence of str, optional
        Of the columns.
    matrix : array, shape (d, d), optional
        In place of a file.
    comm : Comm
        The ranks.

    Raises
    ------
    ValueError
        On all ranks: the matrix is none for these columns, or something else takes none.
    """
    if not model.ridge_matrix:
        return None
    d = objective.shard.features
    with comm.agree_on_errors():
        if objective.bounds is not None or d > MOST_COLUMNS:
            lacks = (
                "no bounds or monotone splines" if objective.bounds is not None else f"at most {MOST_COLUMNS} columns"
            )
            raise ValueError(f"ridge_matrix takes {lacks}; leave out one of both")
        s = _given(model, d, names, matrix)
    rate = objective.rate[:d]
    a = rate[:, None] * (model.ridge_strength * s + objective.penalty.strengths[1] * np.eye(d)) * rate
    with comm.agree_on_errors():
        turn = _inverse_root(a, model.ridge_strength * float(np.abs(s).max(initial=0.0)) * d * ROUNDING)  # w = turn θ
    turn = comm.broadcast(np.ascontiguousarray(turn)).copy()  # machines may round in other ways
    rows = _turned(objective.shard.rows, turn)
    squares = comm.sum((rows.values[:, :d].astype(np.float64) ** 2 * objective.shard.weight[:, None]).sum(axis=0))
    size = np.sqrt(squares / objective.shard.total)
    size[size == 0.0] = 1.0
    turn /= size
    rows.values[:, :d] /= size
    if objective.shard.intercept:
        rows.values[:, d] = 1.0
    shard = replace(objective.shard, rows=rows, column_scale=size, far=None)
    posed = replace(objective, shard=shard, penalty=Penalty.make("ridge", {"l2": 1.0}))
    found = RidgeBasis(objective, turn, np.asarray(np.linalg.inv(turn), np.float64), posed)
    if objective.initial is None:
        return found
    first = posed.zeros()
    first[:, :d] = objective.initial[:, :d] @ found.back.T
    if objective.shard.intercept:
        first[:, d] = objective.initial[:, d]
    return replace(found, posed=replace(posed, initial=first))


def curvature_of_matrix(
    objective: Objective, model: Model, names: Sequence[str] | None, matrix: ArrayLike | None, comm: Comm
) -> Matrix | None:
    """Return the second derivatives of a model's ridge with a matrix in the columns that came, without l2, (d, d).

    Arguments are those of `ridge_basis`; None without a matrix; collective.
    """
    if not model.ridge_matrix:
        return None
    d = objective.shard.features
    with comm.agree_on_errors():
        s = _given(model, d, names, matrix)
    rate = objective.rate[:d]
    return np.asarray(model.ridge_strength * rate[:, None] * s * rate, np.float64)


def _given(model: Model, d: int, names: Sequence[str] | None, matrix: ArrayLike | None) -> Matrix:
    """Return the matrix of the caller, of a file or of splines; ValueError if it is none for d columns."""
    return _checked(_read(model.ridge_matrix, d, names) if matrix is None else np.asarray(matrix, np.float64), d)


def checksum(model: Model) -> str:
    """Return a checksum of the file of a model's matrix, "" without one: checkpoints are in its basis."""
    file = Path(model.ridge_matrix)
    return f"{zlib.crc32(file.read_bytes()):08x}" if model.ridge_matrix and file.is_file() else ""


def _inverse_root(a: Matrix, enough: float) -> Matrix:
    """Return L⁻ᵀ of L Lᵀ = a; ValueError if rounding hides the ridge, which it does not where l2 is `enough`."""
    try:
        return np.asarray(np.linalg.inv(np.linalg.cholesky(a)).T, np.float64)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"ridge_matrix has so large elements that rounding hides l2; set l2 to {enough:.1g}"
        ) from None


def _turned(rows: Rows, turn: Matrix) -> DenseRows:
    """Return this rank's rows times a matrix, dense, with zeros in place of the intercept."""
    d = len(turn)
    out = DenseRows(np.zeros((len(rows), padded_width(d + 1))))
    for begin in range(0, len(rows), ROWS):
        end = min(begin + ROWS, len(rows))
        out.values[begin:end, :d] = _dense(rows, begin, end, d) @ turn
    return out


def _dense(rows: Rows, begin: int, end: int, d: int) -> Matrix:
    """Return some rows as an array of their first d columns."""
    if not isinstance(rows, CsrRows):
        return rows.values[begin:end, :d].astype(np.float64)
    part = slice(int(rows.indptr[begin]), int(rows.indptr[end]))
    found = np.zeros((end - begin, rows.width))
    found[np.repeat(np.arange(end - begin), np.diff(rows.indptr[begin : end + 1])), rows.indices[part]] = rows.values[
        part
    ]
    return found[:, :d]


def _read(name: str, d: int, names: Sequence[str] | None) -> Matrix:
    """Return the matrix of a file, or that of the splines of a table."""
    if name == SPLINES:
        return _of_splines(d, names)
    refuse_special(name)
    try:
        if name.endswith(".npy"):
            found: Any = np.load(name)
        else:
            with open(name, encoding="utf-8") as file:
                lines = [line for line in file if line.strip()]
            found = np.loadtxt(lines or ["nothing"], delimiter="," * name.endswith(".csv") or None)
        if np.iscomplexobj(found):
            raise ValueError("its numbers are complex")
        return np.atleast_2d(np.asarray(found, np.float64))
    except FileNotFoundError:
        raise ValueError(f"ridge_matrix: {name}: no such file; give .npy, .csv, a text, or {SPLINES}") from None
    except (EOFError, OSError, ValueError) as fault:
        raise ValueError(f"ridge_matrix: {name}: holds no matrix of numbers ({fault})") from None


def _of_splines(d: int, names: Sequence[str] | None) -> Matrix:
    """Return the sum of squares of second differences of the coefficients of each spline, as a matrix.

    P. H. C. Eilers, B. D. Marx, Flexible smoothing with B-splines and penalties, Statistical Science 11 (1996). A
    first function that was left out has the coefficient 0.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for j, name in enumerate(names or ()):
        title, bracket, number = name.rpartition("[spline ")
        if bracket and number.removesuffix("]").isdigit() and ":" not in name:
            places.setdefault(title, []).append((int(number.removesuffix("]")), j))
    if not places:
        raise ValueError("ridge_matrix=splines: no column is encoded as a spline: --encode age=spline[knots=20]")
    s = np.zeros((d, d))
    for every in places.values():
        differences = np.diff(np.eye(max(number for number, _ in every)), 2, axis=0)[:, [n - 1 for n, _ in every]]
        columns = [j for _, j in every]
        s[np.ix_(columns, columns)] = differences.T @ differences
    return s


def _checked(s: Matrix, d: int) -> Matrix:
    """Return a matrix without the rounding of its two halves; ValueError unless it is one of a ridge."""
    if s.shape != (d, d):
        shape = " × ".join(map(str, s.shape))
        raise ValueError(f"ridge_matrix is {shape}; it must be {d} × {d}, a row and a column for each feature")
    largest = float(np.abs(s).max(initial=0.0))
    if not np.isfinite(largest) or np.abs(s - s.T).max(initial=0.0) > ROUNDING * largest:
        raise ValueError("ridge_matrix must be symmetric and finite; (S + Sᵀ)/2 is symmetric")
    s = 0.5 * (s + s.T)
    least = float(np.linalg.eigvalsh(s)[0]) if d else 0.0
    if least < -ROUNDING * largest * d:
        raise ValueError(f"ridge_matrix has the eigenvalue {least:.3g}; none may be below 0, or F has no least value")
    return s

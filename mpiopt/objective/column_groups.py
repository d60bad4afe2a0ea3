"""Groups of columns whose weights are 0 together: h(w) = l1 Σ_g √size_g ‖w_g‖₂ + (l2/2) ‖w‖² (the group lasso).

M. Yuan, Y. Lin, Model selection and estimation in regression with grouped variables, JRSS B 68 (2006). The group soft
threshold s_g = (1 − λ_g/‖v_g‖)₊ v_g/l2 takes on the conjugate, so that with λ_g = l1 √size_g

    h(w) + h*(v) − v·w = (l2/2) ‖w − s‖² + Σ_g λ_g ‖w_g‖ − (v − l2 s)_g·w_g,

a sum of terms that are not negative. Without l2 it is finite where all ‖v_g‖ <= λ_g.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpiopt.objective.bounds import BELOW_ONE

Vector = NDArray[np.float64]
Model = NDArray[np.float64]  # (1, width)

NONE = -1  # the group of columns that have no penalty: intercept and padding


@dataclass(frozen=True, eq=False)
class ColumnGroups:
    """The group of each column, in the columns of an objective with one output.

    Attributes
    ----------
    number : ndarray of int, shape (width,)
        The group of each column, from 0; NONE at the intercept and the padding.
    factor : ndarray, shape (groups,)
        λ_g over l1: the root of the number of columns.
    rate : ndarray, shape (width,)
        The factor with which the penalty sees a weight; 0 at the intercept and the padding.

    Examples
    --------
    >>> import numpy as np
    >>> groups = ColumnGroups.of(np.array([0, 0, 1]), np.array([1.0, 1.0, 1.0, 0.0]))
    >>> w = np.array([[3.0, 4.0, -1.0, 7.0]])
    >>> groups.value(w), groups.size
    (8.071..., 2)
    """

    number: NDArray[np.int64]
    factor: Vector
    rate: Vector

    @classmethod
    def of(cls, number: NDArray[np.int64], rate: Vector) -> ColumnGroups:
        """Return the groups of the first columns, (d,); the columns after them have none."""
        every = np.full(len(rate), NONE, np.int64)
        every[: len(number)] = number
        return cls(every, np.sqrt(np.bincount(number).astype(np.float64)), rate)

    @property
    def size(self) -> int:
        """Number of groups."""
        return len(self.factor)

    def of_columns(self, columns: NDArray[np.int64]) -> ColumnGroups:
        """Return the groups of some columns, which are whole groups."""
        return replace(self, number=self.number[columns], rate=self.rate[columns])

    def whole(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the chosen columns with all others of their groups, of the shape of `chosen`."""
        inside = np.zeros(self.size + 1, dtype=bool)  # the last one is for NONE
        inside[self.number[chosen.reshape(-1)]] = True
        inside[NONE] = False
        return np.asarray(chosen | inside[self.number].reshape(chosen.shape))

    def value(self, w: Model) -> float:
        """Compute Σ_g √size_g ‖w_g‖ of the weights as the penalty sees them."""
        return float(self.factor @ self._norms(self._seen(w)))

    def change(self, w: Model, p: Model) -> float:
        """Compute the value at w + p less that at w, exact where p is small."""
        u, q = self._seen(w), self._seen(p)
        both = self._norms(u) + self._norms(u + q)
        moved = self._sums((2.0 * u + q) * q)
        return float(self.factor @ np.divide(moved, both, out=np.zeros_like(moved), where=both > 0.0))

    def least_subgradient(self, w: Model, g: Model, l1: float) -> Model:
        """Return the subgradient of least norm in each group, of the shape of g, the gradient of the smooth part."""
        u, v = self._seen(w), self._slopes(g)
        norm, size = self._norms(u), self._norms(v)
        edge = l1 * self.factor
        at_zero = np.maximum(1.0 - np.divide(edge, size, out=np.ones_like(size), where=size > 0.0), 0.0)
        pull = np.divide(edge, norm, out=np.zeros_like(norm), where=norm > 0.0)
        found = np.where(self._spread(norm) > 0.0, v + self._spread(pull) * u, self._spread(at_zero) * v)
        return np.where(self.number == NONE, g, found * self.rate).reshape(np.shape(g))

    def excess(self, g: Model, l1: float) -> Vector:
        """Return ‖g_g‖/λ_g − 1 of the group of each column, (columns,); 0 for columns without one."""
        return np.where(
            self.number == NONE, 0.0, self._spread(self._norms(self._slopes(g)) / (l1 * self.factor)) - 1.0
        )

    def largest(self, g: Model) -> float:
        """Return the largest ‖g_g‖/√size_g: the least l1 at which the weights 0 are optimal if g is the gradient."""
        return float((self._norms(self._slopes(g)) / self.factor).max(initial=0.0))

    def scaling(self, v: Model, l1: float) -> float:
        """Return the largest α in [0, 1] with ‖α v_g‖ <= λ_g for all groups."""
        largest = self.largest(v)
        return 1.0 if largest <= l1 else l1 / largest * BELOW_ONE

    def gap(self, w: Model, v: Model, l1: float, l2: float) -> float:
        """Compute h(w) + h*(v) − v·w; without l2 only Σ λ_g ‖w_g‖ − v_g·w_g, of which terms may be below 0."""
        u, v = self._seen(w), self._slopes(v)
        edge, norm = l1 * self.factor, self._norms(u)
        if l2 == 0.0:
            return float((edge * norm - self._sums(v * u)).sum())
        size = self._norms(v)
        kept = np.maximum(1.0 - np.divide(edge, size, out=np.ones_like(size), where=size > 0.0), 0.0)
        s = self._spread(kept) * v / l2
        terms = np.maximum(edge * norm - self._sums((v - l2 * s) * u), 0.0)
        return float(0.5 * l2 * ((u - s) ** 2).sum() + terms.sum())

    def _seen(self, w: Model) -> Vector:
        """Return weights as the penalty sees them, (columns,)."""
        return np.asarray(w).reshape(-1) * self.rate

    def _slopes(self, g: Model) -> Vector:
        """Return slopes by the weights as the penalty sees them, (columns,); 0 for columns without a group."""
        flat = np.asarray(g).reshape(-1)
        return np.divide(flat, self.rate, out=np.zeros_like(flat), where=self.number != NONE)

    def _sums(self, each: Vector) -> Vector:
        """Return the sum over the columns of each group, (groups,)."""
        inside = self.number != NONE
        return np.bincount(self.number[inside], each[inside], self.size).astype(np.float64)

    def _norms(self, u: Vector) -> Vector:
        largest = float(np.abs(u).max(initial=0.0)) or 1.0  # squares of small numbers would be 0
        return np.asarray(largest * np.sqrt(self._sums((u / largest) ** 2)))

    def _spread(self, each: Vector) -> Vector:
        """Return the number of the group of each column, (columns,); 0 for columns without one."""
        return np.append(each, 0.0)[self.number]

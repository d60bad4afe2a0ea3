"""The minimum of a quadratic model with a penalty on groups: of g·p + ½ pᵀH p + Σ λ_g ‖(w + p)_g‖."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.second_order.l1_quadratic import SWEEPS, TRIES, DampedCholesky
from mpiopt.kernels.group_descent import descend_in_groups
from mpiopt.objective.column_groups import NONE, ColumnGroups
from mpiopt.objective.curvature import refuse_infinite

Vector = NDArray[np.float64]
HALVINGS = 12  # of a Newton step on the groups that are not 0
NEWTON_STEPS = 8  # between two calls of the descent
STALLED = 3  # tries that leave more than half of the violation: rounding allows no less
ROUNDING = 1e-15  # of the largest slope and the largest penalty: a violation that is none


class GroupQuadraticModel:
    """The model with one H for several g.

    Parameters
    ----------
    h
        Symmetric positive semidefinite matrix, shape (d, d). ValueError if it is not finite.
    groups
        Of the unknowns, which are whole groups.
    l1
        Strength of the penalty.
    """

    def __init__(self, h: Vector, groups: ColumnGroups, l1: float) -> None:
        refuse_infinite(h)
        self.h = h
        self.rate = np.where(groups.number == NONE, 1.0, groups.rate)
        self.seen = np.ascontiguousarray(
            h / np.outer(self.rate, self.rate)
        )  # by the weights as the penalty sees them
        single = groups.size + np.arange(len(h))  # an unknown without a group is a block by itself
        names, self.block = np.unique(np.where(groups.number == NONE, single, groups.number), return_inverse=True)
        self.member = np.argsort(self.block, kind="stable").astype(np.int64)
        self.begin = np.append(0, np.cumsum(np.bincount(self.block, minlength=len(names)))).astype(np.int64)
        self.edge = np.where(
            names < groups.size, l1 * np.append(groups.factor, 0.0)[np.minimum(names, groups.size)], 0.0
        )
        self.bend = np.array([self._largest(b) for b in range(len(names))])

    def _largest(self, block: int) -> float:
        """Return the largest curvature of a block."""
        inside = self.member[self.begin[block] : self.begin[block + 1]]
        return float(np.linalg.eigvalsh(self.seen[np.ix_(inside, inside)])[-1])

    def approach(self, g: Vector, w: Vector, part: float) -> Vector:
        """Return p that leaves at most `part` of the violation of the optimality conditions.

        Block coordinate descent finds which groups are 0; Newton's method then moves the others, where the penalty is
        smooth.

        Parameters
        ----------
        g, w
            Gradient of the smooth part, and the model, shape (d,).
        part
            Between 0 and 1.
        """
        return self._in_units(w, self._approach(g / self.rate, w * self.rate, part))

    def _in_units(self, w: Vector, q: Vector) -> Vector:
        """Return a step in the units of the unknowns; where it leads to 0, exactly to 0."""
        return np.where(w * self.rate + q == 0.0, -w, q / self.rate)

    def _approach(self, g: Vector, u: Vector, part: float) -> Vector:
        """Return the step in the weights as the penalty sees them."""
        q, hq = np.zeros_like(u), np.zeros_like(u)
        floor = ROUNDING * max(float(np.abs(g).max(initial=0.0)), float(self.edge.max(initial=0.0)))
        enough, least, stalled = max(part * self._violation(u, g), floor), np.inf, 0
        for _ in range(TRIES):
            descend_in_groups(self.seen, g, u, self.member, self.begin, self.edge, self.bend, q, hq, SWEEPS)
            for _ in range(NEWTON_STEPS):
                now = self._violation(u + q, g + hq)
                if now <= enough:
                    return q
                found = self._newton(g, u, q, hq)
                if found is None:
                    break
                q, hq = found, self.seen @ found
            stalled = 0 if now <= 0.5 * least else stalled + 1
            least = min(least, now)
            if stalled >= STALLED:
                break
        return q

    def _newton(self, g: Vector, u: Vector, q: Vector, hq: Vector) -> Vector | None:
        """Return where a Newton step on the groups that are not 0 leads; None if the model does not fall along it."""
        x, norm = u + q, self._norms(u + q)
        active = (self.edge[self.block] == 0.0) | (norm[self.block] > 0.0)
        size, edge = np.where(norm > 0.0, norm, 1.0)[self.block], self.edge[self.block]
        slope = (g + hq + edge * x / size)[active]
        direction = (x / size)[active]
        same = self.block[active][:, None] == self.block[active]
        bent = (edge / size)[active]
        hessian = self.seen[np.ix_(active, active)] - np.where(same, np.outer(bent * direction, direction), 0.0)
        hessian[np.diag_indices_from(hessian)] += bent
        step = np.zeros_like(q)
        step[active] = -DampedCholesky(hessian).solve(slope)
        before, size_before = self._value(g, u, q), self._violation(x, g + hq)
        for k in range(HALVINGS):
            tried = q + step * 0.5**k
            if self._value(g, u, tried) < before:
                return tried
            if k == 0 and self._violation(u + tried, g + self.seen @ tried) < 0.5 * size_before:
                return tried  # values differ by their rounding only
        return None

    def _norms(self, x: Vector) -> Vector:
        return np.sqrt(np.bincount(self.block, x * x, len(self.edge)))

    def _value(self, g: Vector, u: Vector, q: Vector) -> float:
        return float(g @ q + 0.5 * q @ (self.seen @ q) + self.edge @ self._norms(u + q))

    def _violation(self, x: Vector, gradient: Vector) -> float:
        """Return the largest part of the least subgradient."""
        norm, size = self._norms(x)[self.block], self._norms(gradient)[self.block]
        edge = self.edge[self.block]
        kept = np.maximum(1.0 - np.divide(edge, size, out=np.ones_like(size), where=size > 0.0), 0.0)
        pull = np.divide(edge, norm, out=np.zeros_like(norm), where=norm > 0.0)
        return float(np.abs(np.where(norm > 0.0, gradient + pull * x, kept * gradient)).max(initial=0.0))

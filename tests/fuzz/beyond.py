"""Whether a problem is beyond float64: no coefficients of float64 near its optimum reach the tolerance.

Without an intercept, a column at c = 1e12 makes a margin w c: the last bit of w moves the margins of all rows by
about 1e-4. Where F must be known better than that allows, no model of float64 is certified, whatever the algorithm.
This is decided without the package. The optimum in long double is rounded; then a column whose last bit moves the
margins little takes up what the others have left; then a search moves weights by some last bits as long as F falls.
F is computed in long double with Σ w_j c_j as an exact fraction. The problem is beyond float64 if the least F found
is still above the optimum by more than the tolerance. The search tries few roundings, so it may call a problem beyond
float64 that is not: the page counts these problems apart.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tests.fuzz.draw import Problem
from tests.fuzz.losses import LD, long_loss
from tests.fuzz.reference import FAR, Exact, Optimum, long_rows, strength

BITS = (1, -1, 2, -2, 4, -4, 16, -16)  # last bits by which a weight is moved
ROUNDS = 4  # of moves of all weights at most
MANY = 300  # weights: with more a search takes too long


def is_beyond(problem: Problem, long: Exact, best: Optimum) -> bool:
    """Return whether no rounding of the optimum that was tried reaches the tolerance."""
    x, s, used = long_rows(problem)
    c = np.where(FAR * (x.max(axis=0) - x.min(axis=0)) <= np.abs(x).max(axis=0), x.mean(axis=0).astype(np.float64), 0)
    far = np.flatnonzero((c != 0) & (x.max(axis=0) > x.min(axis=0)))
    if problem.intercept or not len(far) or best.weights.size > MANY:
        return False
    claim = LD(problem.tol) * long.scale(best.value)
    wanted = np.zeros((len(best.weights), x.shape[1]), LD)
    wanted[:, np.abs(x).max(axis=0) > 0] = best.weights
    rounding = Rounding(problem, x - c.astype(LD), s / s.sum(), used, c)
    return bool(rounding.search(wanted, far, best.value + claim) > best.value + claim)


class Rounding:
    """Weights of float64 near given ones."""

    def __init__(self, problem, rest, share, used, c):
        loss = long_loss(problem.loss, problem.y)
        self.problem, self.rest, self.share, self.c = problem, rest, share, c
        self.loss = type(loss)(loss.family, loss.y[used], loss.outputs, loss.delta, loss.option)
        self.exact_c = [Fraction(float(v)) for v in c]

    def common(self, w):
        """Return Σ w_j c_j of one output, rounded once."""
        total = sum((Fraction(float(a)) * b for a, b in zip(w, self.exact_c, strict=True) if b), Fraction(0))
        high = float(total)
        return LD(high) + LD(float(total - Fraction(high)))

    def value(self, w):
        """Return F."""
        z = self.rest @ w.astype(LD).T + np.array([self.common(one) for one in w])
        penalty = LD(self.problem.l1) * np.abs(w).sum() + strength(self.problem) * (w.astype(LD) ** 2).sum() / 2
        return (self.share * self.loss.values(z)).sum() + penalty

    def search(self, wanted, far, enough):
        """Return the least F that is found; the search ends where it is small enough."""
        w = wanted.astype(np.float64)
        least = self.value(w)
        for i in range(len(w)):
            bits = np.abs(np.spacing(w[i, far]) * self.c[far])
            for j in far[np.argsort(bits)][:3]:  # takes up what the others have left
                moved = w.copy()
                left = (wanted[i].astype(LD) * self.c).sum() - self.common(w[i])
                moved[i, j] = float(LD(w[i, j]) + left / self.c[j])
                w, least = min((w, least), (moved, self.value(moved)), key=lambda one: one[1])
        for _ in range(ROUNDS):
            before = least
            for i in range(len(w)):
                for j in far:
                    for bits in BITS:
                        if least <= enough:
                            return least
                        moved = w.copy()
                        moved[i, j] += bits * np.spacing(w[i, j])
                        w, least = min((w, least), (moved, self.value(moved)), key=lambda one: one[1])
            if not least < before:
                break
        return least

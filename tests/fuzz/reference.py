"""The optimum of a small problem in long double, by methods and code that the package does not share.

Columns are centred (where there is an intercept) and scaled by powers of two, which long double does exactly. A
smooth problem is then solved in the coordinates of a QR factorisation that finds the rank, by Newton's method with an
exact line search. With l1, |w| is replaced by its logarithmic barrier, whose weight falls until it no longer counts.

The value found is one of the problem at a point: it is never below the optimum, so that no right model is called
wrong. `left` estimates how far it may be above.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from tests.fuzz.draw import Problem
from tests.fuzz.losses import LD, LongLoss, long_loss

NONE = LD(0)
ROUNDING = LD(2) ** -60  # of a sum of products: eight units in the last place
SHIFT = LD(1e-15)  # of a Hessian's diagonal: keeps rounding out of steps along flat directions
RANK = LD(3e-17)  # of a column that is left of its norm, below which it depends on the others; long double has 1e-19
NEWTON = 60  # steps at most
BISECTIONS = 30  # of a line search, which begins with a factor of 4
STAGES = 40  # of the barrier's weight, each a 30th of the one before: 59 digits in all
FURTHEST = LD("1e90")  # or nearest point of a line search: a step along a flat direction may be of any size
EXACT = LD(1e-17)  # of the scale: Newton's decrement that ends a solve
TINY = LD("1e-2000")  # avoids a division by 0
FAR = 1000  # times its range: a column farther from 0 is centred by hand where no intercept does it
LEAST_SCALE = LD(1e-9)  # of F(0) − floor, below which no certificate is relative to F(w) − floor


@dataclass(frozen=True, eq=False)
class Exact:
    """A problem in long double: rows with weight, columns centred and scaled."""

    a: np.ndarray  # (n, k) columns that are not constant
    unit: np.ndarray  # (k,) of each column: w = v / unit
    s: np.ndarray  # (n,) weights with sum 1
    loss: LongLoss  # of the centred targets
    l1: np.longdouble
    l2: np.longdouble
    intercept: bool
    link: np.ndarray  # (k, k) v = link u: where columns lie far from 0 without an intercept, u has what centres them
    start: np.longdouble  # F(0)
    floor: np.longdouble  # Σ s_i min_z loss_i

    @property
    def free(self):
        """The columns that no penalty holds back, with the intercept's, (n, ·)."""
        one = [np.ones((len(self.s), 1), LD)] if self.intercept else []
        held = [] if self.l1 or self.l2 else [self.a]
        return np.hstack([*held, *one, np.empty((len(self.s), 0), LD)])

    def scale(self, value):
        """Return what a certificate is relative to."""
        return max(value - self.floor, LEAST_SCALE * (self.start - self.floor))


def exact(problem: Problem) -> Exact:
    """Return a problem in long double."""
    x, s, y = long_rows(problem)
    loss = long_loss(problem.loss, problem.y)
    loss = replace(loss, y=loss.y[y])
    share = s / s.sum()
    start = (share * loss.values(np.zeros((len(s), loss.outputs), LD))).sum()
    floor = (share * loss.lowest()).sum()
    if problem.intercept:
        x = x - middle(share, x)
        if loss.family in ("squared", "huber", "quantile"):
            loss = replace(loss, y=loss.y - middle(share, loss.y))
    largest = np.abs(x).max(axis=0)
    x, largest = x[:, largest > 0], largest[largest > 0]
    unit = 2 ** np.floor(np.log2(largest))
    l2 = strength(problem)
    a, link = (x / unit, np.eye(len(unit), dtype=LD)) if problem.intercept else centred(x / unit)
    return Exact(a, unit, share, loss, LD(problem.l1), l2, problem.intercept, link, start, floor)


def centred(a):
    """Return columns without what those far from 0 have in common, and the link to weights of the given ones.

    With a_j = c_j + δ_j the margin Σ v_j a_j is u + Σ v_j δ_j, u = Σ v_j c_j. So u takes the place of one weight v_k,
    and the column of another one is δ_j − δ_k c_j/c_k: nothing is left to cancel.
    """
    c = np.where(FAR * (a.max(axis=0) - a.min(axis=0)) <= np.abs(a).max(axis=0), a.mean(axis=0).astype(np.float64), 0)
    c, far = c.astype(LD), np.flatnonzero(c)
    link = np.eye(a.shape[1], dtype=LD)
    if not len(far):
        return a, link
    rest = a - c
    k = far[np.argmin(np.abs(rest[:, far]).max(axis=0))]
    ratio = c / c[k]
    columns = rest - rest[:, [k]] * ratio
    columns[:, k] = 1 + rest[:, k] / c[k]
    size = np.abs(columns).max(axis=0)
    size = np.where(size > 0, 2 ** np.floor(np.log2(np.where(size > 0, size, 1))), 1)
    link[k] = -ratio
    link[k, k] = 1 / c[k]
    return columns / size, link / size


def long_rows(problem):
    """Return rows, weights and numbers of the rows that have a weight."""
    x = problem.x.toarray() if sp.issparse(problem.x) else problem.x
    weight = np.ones(len(problem.y)) if problem.weight is None else problem.weight
    used = np.flatnonzero(weight > 0)
    return x[used].astype(LD), weight[used].astype(LD), used


def strength(problem):
    """Return l2 as a number."""
    if problem.l2 != "1/N":
        return LD(problem.l2)
    return 1 / (LD(len(problem.y)) if problem.weight is None else problem.weight.astype(LD).sum())


def middle(share, x):
    """Return means rounded to float64: their difference from stored numbers is exact in long double."""
    return (share @ x).astype(np.float64).astype(LD)


@dataclass(frozen=True)
class Optimum:
    """The value of a problem at the best point that was found, and estimates of how far it is from the optimum."""

    value: np.longdouble
    left: np.longdouble  # the point may be this far above the optimum
    rounding: np.longdouble  # what rounding in long double may change of the value
    margins: np.ndarray  # (n, outputs) of the rows with weight, without the centres of targets
    weights: np.ndarray  # (outputs, k) of the columns that are not 0 everywhere


@dataclass(frozen=True, eq=False)
class Composite:
    """Σ s_i loss_i(B u) + ½ ‖P u‖² + Σ_j ψ(u_j) over u (outputs, m): what Newton's method minimises.

    ψ is the barrier min_t λ t − μ log(t² − u²) of λ |u|, whose minimum in t is at λ t = μ + √(μ² + λ² u²).
    """

    loss: LongLoss
    s: np.ndarray
    b: np.ndarray  # (n, m)
    p: np.ndarray  # (·, m)
    l1: np.ndarray  # (k,) of the weights v = link u
    link: np.ndarray  # (k, m)
    mu: np.longdouble = NONE

    def value(self, u):
        """Return the value without the barrier."""
        smooth = (self.s * self.loss.values(self.b @ u.T)).sum()
        return smooth + ((self.p @ u.T) ** 2).sum() / 2 + (self.l1 * np.abs(u @ self.link.T)).sum()

    def _radius(self, v):
        return np.sqrt(self.mu**2 + (self.l1 * v) ** 2)

    def barrier_slope(self, u):
        """Return the slope of Σ ψ(v): λ² v / (μ + √…), by u."""
        v = u @ self.link.T
        return (self.l1**2 * v / np.maximum(self.mu + self._radius(v), TINY)) @ self.link

    def barrier_curvature(self, v):
        """Return ψ''(v)."""
        root = np.maximum(self._radius(v), TINY)
        return self.l1**2 * self.mu / ((self.mu + root) * root)

    def gradient(self, u):
        """Return the gradient with the barrier, (outputs, m)."""
        slopes = self.loss.slopes(self.b @ u.T)
        return (self.b.T @ (self.s[:, None] * slopes)).T + (u @ self.p.T) @ self.p + self.barrier_slope(u)

    def hessian(self, u):
        """Return the Hessian with the barrier, (outputs m, outputs m)."""
        c = self.loss.curvatures(self.b @ u.T) * self.s[:, None, None]
        outputs, m = u.shape
        h = np.zeros((outputs, m, outputs, m), LD)
        penalty = self.p.T @ self.p
        for i in range(outputs):
            for j in range(i + 1):
                h[i, :, j, :] = self.b.T @ (c[:, i, j, None] * self.b)
                h[j, :, i, :] = h[i, :, j, :].T
            bends = self.barrier_curvature(self.link @ u[i]) if self.mu > 0 else np.zeros(len(self.link), LD)
            h[i, :, i, :] += penalty + self.link.T @ (bends[:, None] * self.link)
        return h.reshape(outputs * m, outputs * m)

    def line_minimum(self, u, p):
        """Return the t > 0 that minimises the value along u + t p, by bisection on the slope."""
        z, dz, q, dq = self.b @ u.T, self.b @ p.T, self.p @ u.T, self.p @ p.T

        def slope(t):
            inner = (self.s[:, None] * self.loss.slopes(z + t * dz) * dz).sum() + ((q + t * dq) * dq).sum()
            return inner + (self.barrier_slope(u + t * p) * p).sum()

        high, flat = LD(1), 1e-3 * abs(slope(LD(0)))
        while slope(high) < -flat and high < FURTHEST:
            high = high * 4
        if abs(slope(high)) <= flat:
            return high
        while slope(high / 4) >= 0 and high > 1 / FURTHEST:
            high = high / 4
        low = high / 4
        for _ in range(BISECTIONS):
            centre = (low + high) / 2
            low, high = (centre, high) if slope(centre) < 0 else (low, centre)
            if high - low < 1e-4 * high:
                break
        return (low + high) / 2


def minimise(problem, u, scale):
    """Return u after Newton's method with an exact line search, and half of the last decrement."""
    left = LD(np.inf)
    for _ in range(NEWTON):
        g = problem.gradient(u)
        step = -solve(problem.hessian(u), g.ravel()).reshape(u.shape)
        left = -(g * step).sum() / 2
        if not left > EXACT * scale:
            break
        u = u + problem.line_minimum(u, step) * step
    return u, left


def solve(h, g):
    """Solve H x = g for a positive semidefinite H by Cholesky's method, with the least shift that it needs."""
    size = np.sqrt(np.maximum(np.diag(h), 0))
    size = np.where(size > 0, size, 1)
    unit = h / np.outer(size, size)
    shift = SHIFT
    while shift < 1:
        factor = cholesky(unit + shift * np.eye(len(h)))
        if factor is not None:
            return back(factor, g / size) / size
        shift *= 100
    raise ArithmeticError("the reference's Hessian is not finite")


def cholesky(h):
    """Return the lower factor; None if a pivot is not positive."""
    h = h.copy()
    for k in range(len(h)):
        if not h[k, k] > 0:
            return None
        h[k, k] = np.sqrt(h[k, k])
        h[k + 1 :, k] /= h[k, k]
        h[k + 1 :, k + 1 :] -= np.outer(h[k + 1 :, k], h[k + 1 :, k])
    return h


def back(factor, g):
    """Solve L Lᵀ x = g."""
    x = g.copy()
    for k in range(len(x)):
        x[k] = (x[k] - factor[k, :k] @ x[:k]) / factor[k, k]
    for k in reversed(range(len(x))):
        x[k] = (x[k] - factor[k + 1 :, k] @ x[k + 1 :]) / factor[k, k]
    return x


def orthonormal(m):
    """Return an orthonormal basis of the columns' span, (n, rank): Gram-Schmidt with pivots, each column twice."""
    norms = np.sqrt((m * m).sum(axis=0))
    rest, basis = m[:, norms > 0] / norms[norms > 0], []
    while rest.shape[1]:
        left = np.sqrt((rest * rest).sum(axis=0))
        best = int(np.argmax(left))
        if left[best] < RANK:
            break
        q = rest[:, best] / left[best]
        for _ in range(2):
            for other in basis:
                q = q - (other @ q) * other
            q = q / np.sqrt(q @ q)
        basis.append(q)
        rest = np.delete(rest, best, axis=1)
        rest = rest - np.outer(q, q @ rest)
    return np.array(basis, LD).reshape(len(basis), len(m)).T


def optimum(problem: Exact) -> Optimum:
    """Return the optimum of a problem that has one."""
    whole = np.hstack([problem.a, np.ones((len(problem.s), 1), LD)]) if problem.intercept else problem.a
    root = np.sqrt(problem.s)[:, None]
    link = problem.link
    if problem.intercept:
        link = np.hstack([link, np.zeros((len(link), 1), LD)])
    ridge = (np.sqrt(problem.l2) / problem.unit)[:, None] * link
    if problem.l1:
        composite = Composite(problem.loss, problem.s, whole, ridge, problem.l1 / problem.unit, link)
    else:
        q = orthonormal(np.vstack([root * whole, ridge]))
        n, none = len(problem.s), np.zeros((0, q.shape[1]), LD)
        composite = Composite(problem.loss, problem.s, q[:n] / root, q[n:], np.zeros(0, LD), none)
    u = np.zeros((problem.loss.outputs, composite.b.shape[1]), LD)
    scale = max(composite.value(u) - problem.floor, TINY)
    if problem.loss.family in ("huber", "quantile"):
        u = approached(composite, u, scale)
    if problem.loss.family == "squared-hinge" and not problem.l1:
        u, left = softened_path(problem, composite, u)
    elif not problem.l1:
        u, left = minimise(composite, u, problem.scale(problem.floor) or TINY)
    else:
        u, left = central_path(problem, composite, u, scale)
    z = composite.b @ u.T
    error = ROUNDING * (np.abs(composite.b) @ np.abs(u).T + np.abs(problem.loss.y)[:, None])
    value = composite.value(u)
    rounding = (problem.s[:, None] * np.abs(problem.loss.slopes(z)) * error).sum() + ROUNDING * abs(value)
    inner = u if problem.l1 else solved(np.vstack([root * whole, ridge]), np.vstack([root * z, q[n:] @ u.T])).T
    return Optimum(value, left, rounding, z, inner @ link.T / problem.unit)


def solved(m, b):
    """Return the least squares solution x of m x = b, refined twice."""
    size = np.sqrt((m * m).sum(axis=0))
    size = np.where(size > 0, size, 1)
    unit = m / size
    x = np.zeros((m.shape[1], b.shape[1]), LD)
    for _ in range(3):
        rest = unit.T @ (b - unit @ x)
        x = x + np.stack([solve(unit.T @ unit, column) for column in rest.T], axis=1)
    return x / size[:, None]


def approached(composite, u, scale):
    """Return a start for Huber's loss or a quantile's: delta falls from that of least squares."""
    mu = scale if composite.l1.any() else LD(0)
    delta = np.abs(composite.loss.y).max() * 4
    while delta > composite.loss.delta:
        wider = replace(composite, loss=replace(composite.loss, delta=delta), mu=mu)
        u, _ = minimise(wider, u, scale)
        delta = delta / 8
    return u


def softened_path(problem, composite, u):
    """Approach the optimum of the squared hinge by softer ones; return u and the bound on what is left.

    The softened slope is that of max_s s t − s²/4 + level log s, so the softened optimum is 2 level above at most.
    """
    level, best = LD(1), (u, LD(np.inf))
    for _ in range(STAGES):
        softer = replace(composite, loss=replace(composite.loss, soft=level))
        u, left = minimise(softer, u, max(level, TINY) * LD(1e-3) / EXACT)
        bound = 2 * level + abs(left)
        best = min(best, (u, bound), key=lambda one: one[1])
        scale = max(problem.scale(composite.value(u)), TINY)
        end, rest = minimise(composite, u, scale)
        if composite.value(end) <= composite.value(u) and 0 <= rest <= EXACT * scale:
            return end, rest
        if bound < LD(1e-14) * scale:
            return u, bound
        level = level / 30
    return best


def central_path(problem, composite, u, scale):
    """Follow the barrier's minimum until its weight no longer counts; return u and the bound on what is left."""
    terms = max(1, problem.a.shape[1] * len(u))
    mu = scale / terms
    for _ in range(STAGES):
        u, left = minimise(replace(composite, mu=mu), u, max(mu * terms, TINY) * 1e-3 / EXACT)
        bound = 2 * mu * terms + left
        if bound < LD(1e-14) * problem.scale(composite.value(u)):
            return u, bound
        mu = mu / 30
    raise ArithmeticError("the reference's path ends in rounding")

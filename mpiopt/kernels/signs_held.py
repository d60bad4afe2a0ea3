"""Kernel of a quadratic model with l1 in few unknowns: coordinate descent, and exact solutions with signs held."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.coordinate_descent import descend
from mpiopt.kernels.kernel_cache import njit

Vector = NDArray[np.float64]


class SignLimits(NamedTuple):
    """Where rounding begins, and how long it is tried.

    Attributes
    ----------
    sweeps, tries : int
        Sweeps of coordinate descent in a try, and tries.
    empty : float
        Part of the largest diagonal element below which an element is rounding.
    pivot, damping, growth : float
        Smallest pivot on a unit diagonal, first damping after none, and the factor from one to the next.
    slack : float
        Part of a threshold by which the gradient of a zero may exceed it.
    """

    sweeps: int
    tries: int
    empty: float
    pivot: float
    damping: float
    growth: float
    slack: float


@njit(cache=True, nogil=True)
def _factor(scaled: Vector, damping: float, smallest: float, u: Vector) -> bool:
    """Compute U with UᵀU = scaled + damping·I, in rows; return whether no pivot is below the smallest."""
    m = len(scaled)
    for i in range(m):
        for j in range(i, m):
            u[i, j] = scaled[i, j]
        u[i, i] += damping
    for k in range(m):
        if not u[k, k] >= smallest:
            return False
        root = np.sqrt(u[k, k])
        for j in range(k, m):
            u[k, j] /= root
        for i in range(k + 1, m):
            part = u[k, i]
            for j in range(i, m):
                u[i, j] -= part * u[k, j]
    return True


@njit(cache=True, nogil=True)
def _solve_held(
    h: Vector, g: Vector, w: Vector, threshold: Vector, p: Vector, exact: Vector, limits: SignLimits
) -> None:
    """Set `exact` to the minimum if the penalty were linear with the signs of w + p, and zeros stayed zeros."""
    d = len(w)
    free = np.flatnonzero((w + p != 0.0) | (threshold == 0.0))
    exact[:] = -w
    exact[free] = 0.0
    m = len(free)
    b, scale, largest = np.empty(m), np.empty(m), 0.0
    for i in range(m):
        largest = max(largest, h[free[i], free[i]])
    floor = limits.empty * (largest if largest > 0.0 else 1.0)
    for i in range(m):
        k = free[i]
        total = 0.0
        for j in range(d):
            total += h[k, j] * exact[j]
        scale[i] = 1.0 / np.sqrt(max(h[k, k], floor))
        b[i] = scale[i] * (g[k] + threshold[k] * np.sign(w[k] + p[k]) + total)
    scaled, u = np.empty((m, m)), np.empty((m, m))
    for i in range(m):
        for j in range(i, m):
            scaled[i, j] = h[free[i], free[j]] * scale[j] * scale[i]
    damping = 0.0
    while not _factor(scaled, damping, limits.pivot, u):
        damping = max(limits.growth * damping, limits.damping)
    for i in range(m):
        b[i] /= u[i, i]
        for j in range(i + 1, m):
            b[j] -= u[i, j] * b[i]
    for i in range(m - 1, -1, -1):
        for j in range(i + 1, m):
            b[i] -= u[i, j] * b[j]
        b[i] /= u[i, i]
    for i in range(m):
        exact[free[i]] = -scale[i] * b[i]


@njit(cache=True, nogil=True)
def _times(h: Vector, p: Vector, hp: Vector) -> None:
    """Set hp to h p, h symmetric."""
    hp[:] = 0.0
    for j in range(len(p)):
        if p[j] != 0.0:
            for i in range(len(p)):
                hp[i] += p[j] * h[j, i]


@njit(cache=True, nogil=True)
def _value(g: Vector, w: Vector, threshold: Vector, p: Vector, hp: Vector) -> float:
    """Return the model's value at p."""
    total = 0.0
    for j in range(len(p)):
        total += g[j] * p[j] + 0.5 * p[j] * hp[j] + threshold[j] * abs(w[j] + p[j])
    return total


@njit(cache=True, nogil=True)
def _violation(w: Vector, g: Vector, threshold: Vector, p: Vector, hp: Vector) -> float:
    """Return the largest part of the least subgradient at w + p."""
    largest = 0.0
    for j in range(len(p)):
        at, slope = w[j] + p[j], g[j] + hp[j]
        part = abs(slope + np.sign(at) * threshold[j]) if at != 0.0 else max(abs(slope) - threshold[j], 0.0)
        largest = max(largest, part)
    return largest


@njit(cache=True, nogil=True)
def approach_by_signs(
    h: Vector, g: Vector, w: Vector, threshold: Vector, start: Vector, part: float, limits: SignLimits
) -> Vector:
    """Return p that leaves at most `part` of the violation of the optimality conditions.

    Parameters
    ----------
    h
        Symmetric positive semidefinite, shape (d, d), C-contiguous, finite.
    g, w, threshold
        Gradient, model and l1 thresholds, shape (d,).
    start
        The p to begin with, shape (d,).
    part
        Of the violation at p = 0.
    limits
        Where it ends.

    Returns
    -------
    ndarray
        p, shape (d,).
    """
    d = len(w)
    p, hp, exact, hx = np.zeros(d), np.zeros(d), np.empty(d), np.empty(d)
    clipped, hc = np.empty(d), np.empty(d)
    enough = part * _violation(w, g, threshold, p, hp)
    p[:] = start
    _times(h, p, hp)
    for _ in range(limits.tries):
        descend(h, g, w, threshold, p, hp, limits.sweeps)
        _solve_held(h, g, w, threshold, p, exact, limits)
        _times(h, exact, hx)
        turned, outside, way = False, False, 1.0
        for j in range(d):
            sign = np.sign(w[j] + p[j])
            clipped[j] = exact[j]
            if sign != 0.0 and threshold[j] > 0.0 and np.sign(w[j] + exact[j]) != sign:
                turned = True
                clipped[j] = -w[j]
                way = min(way, (w[j] + p[j]) / (p[j] - exact[j]))
            elif sign == 0.0 and threshold[j] > 0.0:
                outside |= abs(g[j] + hx[j]) > threshold[j] * (1.0 + limits.slack)
        if not (turned or outside):
            return exact
        if not turned:
            p[:] = exact
            hp[:] = hx
        else:
            _times(h, clipped, hc)
            _times(h, p, hp)
            if _value(g, w, threshold, clipped, hc) < _value(g, w, threshold, p, hp):
                p[:] = clipped
                hp[:] = hc
            else:
                for j in range(d):
                    at = w[j] + p[j]
                    turns = at != 0.0 and threshold[j] > 0.0 and np.sign(w[j] + exact[j]) != np.sign(at)
                    if turns and at / (p[j] - exact[j]) == way:
                        p[j] = -w[j]
                    else:
                        p[j] += way * (exact[j] - p[j])
                _times(h, p, hp)
        if _violation(w, g, threshold, p, hp) <= enough:
            break
    return p


@njit(cache=True, nogil=True)
def approach_each_by_signs(
    h: Vector, ridge: Vector, g: Vector, w: Vector, threshold: Vector, part: float, limits: SignLimits
) -> Vector:
    """Do as `approach_by_signs` for neighbouring models (K, d), each begun where the one before has ended.

    Parameters
    ----------
    h
        Shape (K, d, d), or (1, d, d) if it is the same for all.
    ridge
        What is added to the diagonal, shape (K, d).
    g, w, threshold
        Shape (K, d).
    part, limits
        As of `approach_by_signs`.

    Returns
    -------
    ndarray
        The p, shape (K, d).
    """
    count, d = w.shape
    found, bent, start = np.zeros((count, d)), np.empty((d, d)), np.zeros(d)
    for k in range(count):
        bent[:] = h[min(k, len(h) - 1)]
        for j in range(d):
            bent[j, j] += ridge[k, j]
            if k > 0:
                start[j] = w[k - 1, j] + found[k - 1, j] - w[k, j]
        found[k] = approach_by_signs(bent, g[k], w[k], threshold[k], start, part, limits)
    return found

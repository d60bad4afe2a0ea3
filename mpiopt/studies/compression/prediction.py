"""Predict the excess risk of averaged compressed SGD from exact second moments of its linear recursion.

With the noise at w* alone the result for K steps is a closed form, in each eigen-direction (λ, c), e = γλ, ρ = 1 − e:

    excess = ½ Σ λ [c/(K λ)² Σ_{m=1}^{K} (1 − ρ^m)² + η₀² (ρ (1 − ρ^K)/(K e))²]  →  Tr(C_ania H⁻¹)/(2K)

Away from w* the residuals are larger. This multiplicative noise is linear in E ηηᵀ, η = w − w*; the recursion keeps
the diagonal of E ηηᵀ in the eigen-directions (`growth`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.kernels.averaged_sgd import MomentRecursion, second_moments
from mpiopt.studies.compression.clients import Clients
from mpiopt.studies.compression.methods import Matrix, Method, Moments

Vector = NDArray[np.float64]
GAUSSIANS = 4000  # draws for the moments of a compressor without a formula
ROUNDS = 40  # of the fixed point for the memory's noise; each divides the error by four or more
ROUNDS_QUANTISED = 8  # the same for the quantisation, whose moments take GAUSSIANS draws


@dataclass(frozen=True)
class Prediction:
    """The predicted excess risk of w̄ at each mark."""

    closed: Vector  # with the noise at w*
    grown: Vector  # with noise that grows with the distance from w*
    spread: float  # standard deviation of one run / its mean, at the last mark


def additive(clients: Clients, method: Method, memory: str, seed: int) -> Matrix:
    """Return c_i/N², shape (N, d, d); c_i is the covariance of what client i sends at w*, and C_ania = Σ_i c_i/N²."""
    g, plain = clients.gradients(), clients.covariances()
    shares: list[Matrix] = []
    for i in range(len(g)):
        if memory == "difference":
            shares.append(with_memory(method, plain[i], seed))
        else:
            shares.append(method.moment(clients.moments(i, seed)) - np.outer(g[i], g[i]))
    return np.asarray(np.stack(shares) / len(g) ** 2)


def with_memory(method: Method, plain: Matrix, seed: int) -> Matrix:
    """Return the covariance of C(g − h) + h at w*; the covariance V of the memory h solves 2 V = α C(Cov g + V)."""
    rate = 0.5 / (method.omega + 1.0)
    v = np.zeros_like(plain)
    if not plain.any():
        return v
    z = np.random.default_rng(seed).standard_normal((GAUSSIANS, len(plain)))
    for _ in range(ROUNDS if method.name != "quantised" else ROUNDS_QUANTISED):
        sent = second_moment_of(method, plain + v, z)
        v = 0.5 * rate * sent
    return second_moment_of(method, plain + v, z) - v


def second_moment_of(method: Method, m: Matrix, z: Matrix) -> Matrix:
    """Return E[C(g) C(g)ᵀ] for Gaussian g of covariance m; if there is no formula, from standard normal draws z."""
    values, vectors = np.linalg.eigh(m)
    sample = z @ (vectors * np.sqrt(np.maximum(values, 0.0))).T if method.name == "quantised" else z[:0]
    return method.moment(Moments(m, sample))


def predict(
    clients: Clients, method: Method, memory: str, gamma: float, marks: Sequence[int], seed: int
) -> Prediction:
    """Predict the excess risk of the average of the first k iterates from w = 0, for each k in `marks`."""
    noise = additive(clients, method, memory, seed)
    curve, axes = np.linalg.eigh(clients.hessian)
    curve, away = np.maximum(curve, 0.0), -clients.best @ axes
    c = np.einsum("aj,iab,bj->ij", axes, noise, axes)
    more = growth(clients, method, memory, axes, c, seed)
    closed, grown = (propagate(curve, c.sum(axis=0), g, away, gamma, marks) for g in (np.zeros_like(more), more))
    weight, last = 0.5 * curve / marks[-1] ** 2, grown[-1]
    start = (away * geometric_sum(gamma * curve, marks[-1])) ** 2
    varied = np.maximum(last - start, 0.0)
    spread = np.sqrt((weight**2 * (2.0 * varied**2 + 4.0 * start * varied)).sum()) / (weight * last).sum()
    k = np.array(marks, float)[:, None]
    first, second = ((0.5 * curve * squares / k**2).sum(axis=1) for squares in (closed, grown))
    return Prediction(first, second, float(spread))


def growth(clients: Clients, method: Method, memory: str, axes: Matrix, c: Matrix, seed: int) -> Matrix:
    """Return G with Var ξ_j = Σ_i c_ij + Σ_l G_jl E η_l², where j and l are eigen-directions of H.

    For one row of client i, E (x·η)² x xᵀ = Tr(H_i S) H_i + 2 H_i S H_i with S = E ηηᵀ. A batch of b rows has 1/b of
    it, plus (1 − 1/b) H_i S H_i from the square of the mean; H_i S H_i itself is not noise. A memory follows slow
    changes, so compression adds nothing.
    """
    g, count, batch = np.zeros_like(axes), len(c), clients.batch
    for i in range(count):
        h = clients.hessians[i]
        crossed = (axes.T @ h @ axes) ** 2
        if batch:
            g += np.outer(c[i], np.einsum("al,ab,bl->l", axes, h, axes)) / clients.residuals()[i]
        if memory == "none":
            twice = (1.0 + 1.0 / batch) if batch else 1.0
            g += (twice * spread_of(method, h @ axes, axes) - crossed) / count**2
        if method.name == "quantised" and batch == 1:
            x = clients.features(i, seed)
            away = (x @ axes) ** 2 - np.einsum("al,ab,bl->l", axes, h, axes)
            g += ((method.rounding(x) @ axes**2).T @ away) / len(x) / count**2
    return g


def spread_of(method: Method, u: Matrix, axes: Matrix) -> Matrix:
    """Return q_jᵀ E[C Cᵀ] q_j for vectors of second moment u_l u_lᵀ, shape (j, l)."""
    along, diagonal, round_ = method.parts
    return np.asarray(along * (axes.T @ u) ** 2 + diagonal * (axes**2).T @ u**2 + round_ * (u**2).sum(axis=0))


def propagate(curve: Vector, c: Vector, more: Matrix, away: Vector, gamma: float, marks: Sequence[int]) -> Matrix:
    """Return E A², A the sum of the distances, for each mark and direction."""
    state, now = np.zeros((3, len(curve))), np.zeros(len(curve))
    state[0] = away**2
    recursion, squares = MomentRecursion(gamma, curve, c, more), []
    for begin, end in itertools.pairwise([0, *marks]):
        second_moments(begin, end, recursion, state, now)
        squares.append(state[2].copy())
    return np.array(squares)


def geometric_sum(e: Vector, steps: int) -> Vector:
    """Return Σ_{k=1}^{K} (1 − e)^k."""
    small = e * steps < 1e-9
    safe = np.where(small, 1.0, e)
    series = (1.0 - safe) * (1.0 - (1.0 - safe) ** steps) / safe
    return np.where(small, float(steps), series)

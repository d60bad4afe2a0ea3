"""Clients with Gaussian features: y = x·w_i + ε, x ~ N(0, H_i), and their gradients at the common optimum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpiopt.studies.compression.job import Panel
from mpiopt.studies.compression.methods import Matrix, Moments

Vector = NDArray[np.float64]
SAMPLE = 20000  # draws for a covariance without a formula
TRUTH_SEED, SAMPLE_SEED, FEATURE_SEED = 7, 11, 19  # streams of random numbers
ROTATION_SEED = 5  # that of the authors
CONCEPT_SHIFT = 10.0  # standard deviation of the entries of w_i
DECAYS = (3, 4, 5, 6)  # decays of the clients under covariate shift


@dataclass(frozen=True, eq=False)
class GaussianClients:
    """F(w) = (1/N) Σ_i ½ E(x·w − y)², clients i with their own H_i and w_i."""

    roots: Matrix  # (N, d, d) x = z roots_i for standard normal z: H_i = roots_iᵀ roots_i
    truths: Matrix  # (N, d) w_i
    noise: float  # σ², the variance of ε
    batch: int  # rows of a gradient; 0: exact gradients

    @cached_property
    def hessians(self) -> Matrix:
        """H_i, shape (N, d, d)."""
        return np.asarray(self.roots.transpose(0, 2, 1) @ self.roots)

    @cached_property
    def hessian(self) -> Matrix:
        """H, the mean of H_i."""
        return np.asarray(self.hessians.mean(axis=0))

    @cached_property
    def best(self) -> Vector:
        """w*, where the mean of H_i (w* − w_i) is 0; shape (d,)."""
        pulled = np.einsum("iab,ib->a", self.hessians, self.truths) / len(self.truths)
        return np.asarray(np.linalg.solve(self.hessian, pulled))

    def gradients(self) -> Matrix:
        """∇F_i(w*), shape (N, d)."""
        return np.asarray(np.einsum("iab,ib->ia", self.hessians, self.best - self.truths))

    def residuals(self) -> Vector:
        """E(x·w* − y)² of each client, shape (N,)."""
        away = self.best - self.truths
        return np.asarray(np.einsum("ia,iab,ib->i", away, self.hessians, away) + self.noise)

    def covariances(self) -> Matrix:
        """Cov of a client's gradient at w*, shape (N, d, d): (v_i H_i + ∇F_i ∇F_iᵀ)/b by Isserlis' theorem."""
        if self.batch == 0:
            return np.zeros_like(self.roots)
        g = self.gradients()
        squares = self.residuals()[:, None, None] * self.hessians + g[:, :, None] * g[:, None, :]
        return np.asarray(squares / self.batch)

    def moments(self, client: int, seed: int) -> Moments:
        """Return the moments of the client's gradient at w* on which its compression depends."""
        g = self.gradients()[client]
        second = self.covariances()[client] + np.outer(g, g)
        if self.batch == 0:
            return Moments(second, g[None, :])
        rng = np.random.default_rng((seed, SAMPLE_SEED, client))
        return Moments(second, self.at(client, self.best, SAMPLE // self.batch, rng))

    def features(self, client: int, seed: int) -> Matrix:
        """Draw rows of a client, shape (SAMPLE, d)."""
        rng = np.random.default_rng((seed, FEATURE_SEED, client))
        return np.asarray(rng.standard_normal((SAMPLE, len(self.best))) @ self.roots[client])

    def at(self, client: int, w: Vector, count: int, rng: np.random.Generator) -> Matrix:
        """Draw gradients of batches at w, shape (count, d)."""
        x = rng.standard_normal((count, self.batch, len(w))) @ self.roots[client]
        r = x @ (w - self.truths[client]) - np.sqrt(self.noise) * rng.standard_normal((count, self.batch))
        return np.asarray(np.einsum("kb,kbd->kd", r, x) / self.batch)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Draw x (count, N, b, d) and y (count, N, b)."""
        clients, d = self.truths.shape
        shape = (count, clients, self.batch)
        z = rng.standard_normal((*shape, d))
        x, y = np.empty_like(z), np.sqrt(self.noise) * rng.standard_normal(shape)
        for i in range(clients):
            x[:, i] = (z[:, i].reshape(-1, d) @ self.roots[i]).reshape(count, self.batch, d)
            y[:, i] += x[:, i] @ self.truths[i]
        return x, y


def make(panel: Panel, seed: int) -> GaussianClients:
    """Make the clients of a panel; the rotation is the authors', the w_i depend on the job's seed."""
    rng = np.random.default_rng((seed, TRUTH_SEED))
    d, clients = panel.features, panel.clients
    if panel.shift == "covariate":
        decays = [DECAYS[i % len(DECAYS)] for i in range(clients)]
        roots = np.stack([root(d, decay, panel.basis, ROTATION_SEED + i) for i, decay in enumerate(decays)])
    else:
        roots = np.broadcast_to(root(d, panel.decay, panel.basis, ROTATION_SEED), (clients, d, d))
    truths = rng.normal(0.0, CONCEPT_SHIFT, (clients, d)) if panel.shift == "concept" else np.ones((clients, d))
    batch = 0 if panel.gradient == "whole" else panel.batch
    return GaussianClients(np.ascontiguousarray(roots), truths, float(clients), batch)


def root(d: int, decay: float, basis: str, seed: int) -> Matrix:
    """Return R with RᵀR = Q diag(i^−decay) Qᵀ, Q = I or Haar: the QR factor of a Gaussian matrix, signs fixed.

    The legacy generator gives the same rotation as the authors' library.
    """
    spread = np.arange(1, d + 1) ** (-decay / 2.0)
    if basis == "diagonal":
        return np.diag(spread)
    q, r = np.linalg.qr(np.random.RandomState(seed).normal(size=(d, d)))
    q *= np.sign(np.diag(r))
    return np.asarray(spread[:, None] * q.T)

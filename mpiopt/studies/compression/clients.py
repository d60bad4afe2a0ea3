"""The clients of a panel: with Gaussian features, or with the rows of a real data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.objective.passes import dense_block
from mpiopt.studies.compression.job import Panel
from mpiopt.studies.compression.methods import Matrix, Moments

Vector = NDArray[np.float64]
SAMPLE = 20000  # draws for a covariance without a formula
TRUTH_SEED, SAMPLE_SEED, FEATURE_SEED = 7, 11, 19  # streams of random numbers
ROTATION_SEED = 5  # that of the authors
CONCEPT_SHIFT = 10.0  # standard deviation of the entries of w_i
DECAYS = (3, 4, 5, 6)  # decays of the clients under covariate shift
FLAT = 1e-8  # times the largest eigenvalue: smaller eigenvalues count as 0


class Clients(ABC):
    """N clients with least-squares objectives F_i in d features; F is the mean of the F_i."""

    batch: int  # rows of a gradient; 0: exact gradients

    @property
    @abstractmethod
    def hessians(self) -> Matrix:
        """H_i, shape (N, d, d)."""

    @property
    @abstractmethod
    def best(self) -> Vector:
        """w*, the optimum of F, shape (d,)."""

    @cached_property
    def hessian(self) -> Matrix:
        """H, the mean of H_i."""
        return np.asarray(self.hessians.mean(axis=0))

    @abstractmethod
    def gradients(self) -> Matrix:
        """Return ∇F_i(w*), shape (N, d)."""

    @abstractmethod
    def residuals(self) -> Vector:
        """Return the mean of (x·w* − y)² of each client, shape (N,)."""

    @abstractmethod
    def covariances(self) -> Matrix:
        """Return the covariance of a client's gradient at w*, shape (N, d, d)."""

    @abstractmethod
    def moments(self, client: int, seed: int) -> Moments:
        """Return the moments of the client's gradient at w* on which its compression depends."""

    @abstractmethod
    def features(self, client: int, seed: int) -> Matrix:
        """Return rows of a client, shape (n, d)."""

    @abstractmethod
    def draw(self, count: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Draw x (count, N, b, d) and y (count, N, b)."""


@dataclass(frozen=True, eq=False)
class GaussianClients(Clients):
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


@dataclass(frozen=True, eq=False)
class RealClients(Clients):
    """F(w) = (1/(2 N n)) Σ (x·w − y)² over N clients of n rows each; rows are drawn with replacement."""

    x: Matrix  # (N, n, d)
    y: Matrix  # (N, n)
    batch: int

    @cached_property
    def hessians(self) -> Matrix:
        """H_i, shape (N, d, d)."""
        return np.asarray(self.x.transpose(0, 2, 1) @ self.x / self.x.shape[1])

    @cached_property
    def best(self) -> Vector:
        """w*, the least-squares solution of least norm; shape (d,)."""
        aim = np.einsum("ind,in->d", self.x, self.y) / self.y.size
        return np.asarray(np.linalg.pinv(self.hessian, FLAT, hermitian=True) @ aim)

    @cached_property
    def _row_gradients(self) -> Matrix:
        """Gradient of every row at w*, shape (N, n, d)."""
        return np.asarray((self.x @ self.best - self.y)[:, :, None] * self.x)

    def gradients(self) -> Matrix:
        """∇F_i(w*), shape (N, d)."""
        return np.asarray(self._row_gradients.mean(axis=1))

    def residuals(self) -> Vector:
        """The mean of (x·w* − y)² of each client, shape (N,)."""
        return np.asarray(((self.x @ self.best - self.y) ** 2).mean(axis=1))

    def covariances(self) -> Matrix:
        """Cov of a batch's gradient at w*, shape (N, d, d)."""
        away = self._row_gradients - self.gradients()[:, None, :]
        return np.asarray(away.transpose(0, 2, 1) @ away / (self.x.shape[1] * self.batch))

    def moments(self, client: int, seed: int) -> Moments:
        """Return the moments of the client's gradient at w* on which its compression depends."""
        g = self.gradients()[client]
        at = np.random.default_rng((seed, client)).integers(0, self.x.shape[1], (SAMPLE, self.batch))
        sample = np.zeros((SAMPLE, len(g)))
        for column in at.T:
            sample += self._row_gradients[client][column] / self.batch
        return Moments(self.covariances()[client] + np.outer(g, g), sample)

    def features(self, client: int, seed: int) -> Matrix:
        """Return rows of a client, at most SAMPLE."""
        return np.asarray(self.x[client][:SAMPLE])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Draw x (count, N, b, d) and y (count, N, b)."""
        clients, n, _ = self.x.shape
        at = rng.integers(0, n, (count, clients, self.batch))
        whose = np.arange(clients)[None, :, None]
        return self.x[whose, at], self.y[whose, at]


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


def read(panel: Panel, folder: str) -> RealClients:
    """Read the panel's file and deal its rows to the clients, in equal parts.

    Raises
    ------
    ValueError, OSError
        If the file cannot be read.
    """
    path = Path(folder) / panel.data
    if not path.is_file():
        raise OSError(f"{path}: no such file")
    options = DataOptions(scale="standard", shards="contiguous", coordinates="file")
    shard = prepare(str(path), "real", options, 0, single()).shard
    x, y = dense_block(shard.rows, slice(0, len(shard)), shard.features), shard.label
    x = np.ascontiguousarray(x[:, x.std(axis=0) > 0.0])
    order = np.argsort(y, kind="stable") if panel.order == "sorted-by-label" else shuffled(len(y))
    n = len(y) // panel.clients
    order = order[: n * panel.clients]
    y = (y - y.mean()) / y.std()
    return RealClients(x[order].reshape(panel.clients, n, -1), y[order].reshape(panel.clients, n), panel.batch)


def shuffled(n: int) -> NDArray[np.int64]:
    """Return a fixed permutation of 0 … n − 1."""
    return np.random.default_rng(0).permutation(n)

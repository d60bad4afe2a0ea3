"""Clients that draw from the rows of a real data set: standardised columns, numeric labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.objective.curvature import dense
from mpiopt.studies.compression.job import Panel
from mpiopt.studies.compression.methods import Matrix, Moments

Vector = NDArray[np.float64]
SAMPLE = 20000  # gradients of batches from which the rounding of a quantisation is estimated
FLAT = 1e-8  # times the largest eigenvalue: smaller eigenvalues count as 0


@dataclass(frozen=True, eq=False)
class RealClients:
    """F(w) = (1/(2 N n)) Σ (x·w − y)² over N clients of n rows each; rows are drawn with replacement."""

    x: Matrix  # (N, n, d)
    y: Matrix  # (N, n)
    batch: int

    @cached_property
    def hessians(self) -> Matrix:
        """H_i, shape (N, d, d)."""
        return np.asarray(self.x.transpose(0, 2, 1) @ self.x / self.x.shape[1])

    @cached_property
    def hessian(self) -> Matrix:
        """H, the mean of H_i."""
        return np.asarray(self.hessians.mean(axis=0))

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
    shard = prepare(str(path), "real", DataOptions(scale="standard", shards="contiguous"), 0, single()).shard
    x, y = dense(shard.rows, slice(0, len(shard)), shard.features), shard.label
    x = np.ascontiguousarray(x[:, x.std(axis=0) > 0.0])
    order = np.argsort(y, kind="stable") if panel.order == "sorted-by-label" else shuffled(len(y))
    n = len(y) // panel.clients
    order = order[: n * panel.clients]
    y = (y - y.mean()) / y.std()
    return RealClients(x[order].reshape(panel.clients, n, -1), y[order].reshape(panel.clients, n), panel.batch)


def shuffled(n: int) -> NDArray[np.int64]:
    """Return a fixed permutation of 0 … n − 1."""
    return np.random.default_rng(0).permutation(n)

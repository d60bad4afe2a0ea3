"""Clients that hold rows of a real data set and draw from them: standardised columns, the label as a number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.objective.passes import dense_block
from mpiopt.studies.compression.methods import Matrix, Moments
from mpiopt.studies.compression.panel import Panel

Vector = NDArray[np.float64]
SAMPLE = 20000  # gradients of batches from which a quantisation's rounding is taken
FLAT = 1e-8  # of the largest eigenvalue: below it a direction is none


@dataclass(frozen=True, eq=False)
class Rows:
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
        """w*, the least-squares solution of least norm."""
        aim = np.einsum("ind,in->d", self.x, self.y) / self.y.size
        return np.asarray(np.linalg.pinv(self.hessian, FLAT, hermitian=True) @ aim)

    @cached_property
    def _each(self) -> Matrix:
        return np.asarray((self.x @ self.best - self.y)[:, :, None] * self.x)

    def gradients(self) -> Matrix:
        """∇F_i(w*), shape (N, d)."""
        return np.asarray(self._each.mean(axis=1))

    def residuals(self) -> Vector:
        """The mean of (x·w* − y)² of each client, shape (N,)."""
        return np.asarray(((self.x @ self.best - self.y) ** 2).mean(axis=1))

    def covariances(self) -> Matrix:
        """Cov of a batch's gradient at w*, shape (N, d, d)."""
        away = self._each - self.gradients()[:, None, :]
        return np.asarray(away.transpose(0, 2, 1) @ away / (self.x.shape[1] * self.batch))

    def moments(self, client: int, seed: int) -> Moments:
        """Give what compressing the client's gradient at w* depends on."""
        g = self.gradients()[client]
        at = np.random.default_rng((seed, client)).integers(0, self.x.shape[1], (SAMPLE, self.batch))
        sample = np.zeros((SAMPLE, len(g)))
        for column in at.T:
            sample += self._each[client][column] / self.batch
        return Moments(self.covariances()[client] + np.outer(g, g), sample)

    def features(self, client: int, seed: int) -> Matrix:
        """Give rows of a client."""
        return np.asarray(self.x[client][:SAMPLE])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """Draw x (count, N, b, d) and y (count, N, b)."""
        clients, n, _ = self.x.shape
        at = rng.integers(0, n, (count, clients, self.batch))
        whose = np.arange(clients)[None, :, None]
        return self.x[whose, at], self.y[whose, at]


def read(panel: Panel, folder: str) -> Rows:
    """Read the panel's file and deal its rows to the clients, in equal parts.

    Raises
    ------
    ValueError, OSError
        If the file can not be read.
    """
    path = Path(folder) / panel.data
    if not path.is_file():
        raise OSError(f"{path} is not there")
    shard = prepare(str(path), "real", DataOptions(scale="standard", shards="contiguous"), 0, single()).shard
    x, y = dense_block(shard.rows, slice(0, len(shard)), shard.features), shard.label
    x = np.ascontiguousarray(x[:, x.std(axis=0) > 0.0])
    order = np.argsort(y, kind="stable") if panel.order == "sorted-by-label" else shuffled(len(y))
    n = len(y) // panel.clients
    order = order[: n * panel.clients]
    y = (y - y.mean()) / y.std()
    return Rows(x[order].reshape(panel.clients, n, -1), y[order].reshape(panel.clients, n), panel.batch)


def shuffled(n: int) -> NDArray[np.int64]:
    """Give a fixed permutation of 0 … n − 1."""
    return np.random.default_rng(0).permutation(n)

"""The data sets of the benchmarks: synthetic ones by recipe and real ones if they are there; logistic, λ = 1/N.

MPIOPT_DATA names the folder of the real sets; each set has a folder of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
REAL = {"a9a": "a9a/a9a", "mushrooms": "mushrooms/mushrooms", "rcv1": "rcv1_cocoa/small_train.dat"}


@dataclass(frozen=True)
class Scale:
    """F(0) and F*, which suboptimality is relative to."""

    start: float  # F(0)
    best: float  # F*

    def suboptimality(self, value: float) -> float:
        """Return (F − F*)/(F(0) − F*)."""
        return (value - self.best) / (self.start - self.best)


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows (an array or a SciPy CSR matrix) with labels -1 and +1."""

    name: str
    x: Any  # (n, d)
    y: Vector  # (n,)

    @property
    def sparse(self) -> bool:
        """Whether the rows are stored in CSR form."""
        return hasattr(self.x, "indptr")

    @property
    def ridge(self) -> float:
        """λ = 1/N."""
        return 1.0 / len(self.y)

    def value(self, w: Vector) -> float:
        """Return F(w), by NumPy and SciPy alone."""
        return float(np.logaddexp(0.0, -self.y * (self.x @ w)).mean() + 0.5 * self.ridge * (w @ w))

    def gradient(self, w: Vector) -> Vector:
        """Return ∇F(w), by NumPy and SciPy alone."""
        slope = -self.y * 0.5 * (1.0 - np.tanh(0.5 * self.y * (self.x @ w)))
        return np.asarray(self.x.T @ slope).ravel() / len(self.y) + self.ridge * w


def labels(margin: Vector, rng: np.random.Generator) -> Vector:
    """Draw labels from the logistic model."""
    return np.where(rng.random(len(margin)) < 1.0 / (1.0 + np.exp(-margin)), 1.0, -1.0)


def gaussian(n: int, d: int, condition: float, seed: int) -> tuple[Any, Vector]:
    """Draw rows whose covariance has eigenvalues from 1 down to 1/condition, in a random basis."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    x = rng.standard_normal((n, d)) * np.logspace(0, -0.5 * np.log10(condition), d) @ basis.T
    w = rng.standard_normal(d)
    return x, labels(2.0 * (x @ w) / np.std(x[:1000] @ w), rng)


def cover(n: int, seed: int) -> tuple[Any, Vector]:
    """Draw 54 columns as in Covertype: 10 correlated measurements, one of 4 areas, one of 40 soils with rare ones."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, 4)) @ rng.standard_normal((4, 10))
    x = np.zeros((n, 54))
    x[:, :10] = factors + 0.2 * rng.standard_normal((n, 10)) * np.logspace(0, -1.5, 10)
    x[:, :10] /= x[:, :10].std(axis=0)
    share = 1.0 / np.arange(1, 41) ** 1.7
    x[np.arange(n), 10 + rng.choice(4, n, p=[0.45, 0.05, 0.44, 0.06])] = 1.0
    x[np.arange(n), 14 + rng.choice(40, n, p=share / share.sum())] = 1.0
    w = rng.standard_normal(54) * np.where(np.arange(54) < 10, 0.5, 1.5)
    return x, labels(x @ w, rng)


def text(n: int, d: int, seed: int) -> tuple[Any, Vector]:
    """Draw rows of about 70 words, popular ones first (Zipf), tf-idf, unit length."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(4.35, 0.5, n), 5, 600).astype(np.int64)
    words = (d ** rng.random(lengths.sum())).astype(np.int32) - 1  # density 1/j: Zipf's law
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    x = sparse.csr_matrix((np.ones(len(words)), words, indptr), (n, d))
    x.sum_duplicates()
    idf = np.log(n / np.maximum(1, np.bincount(x.indices, minlength=d))) + 1.0
    x.data = (1.0 + np.log(x.data)) * idf[x.indices]
    row = np.repeat(np.arange(n), np.diff(x.indptr))
    x.data /= np.sqrt(np.bincount(row, x.data**2, n))[row]
    w = rng.standard_normal(d)
    margin = x @ w
    return x, labels(4.0 * margin / margin.std(), rng)


def uniform(n: int, d: int, seed: int) -> tuple[Any, Vector]:
    """Draw rows of 77 normal numbers in columns drawn evenly, unit length on average."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    columns = np.sort(rng.integers(0, d, (n, 77), dtype=np.int32), axis=1)
    values = rng.standard_normal(n * 77) / np.sqrt(77.0)
    x = sparse.csr_matrix((values, columns.reshape(-1), np.arange(0, 77 * n + 1, 77)), (n, d))
    x.sum_duplicates()
    margin = x @ rng.standard_normal(d)
    return x, labels(4.0 * margin / margin.std(), rng)


def real(pattern: str) -> tuple[Any, Vector]:
    """Read a real set with mpiopt's reader."""
    from scipy import sparse

    from mpiopt.comm.threads import single
    from mpiopt.core.config.job import DataOptions
    from mpiopt.data.dataset import prepare
    from mpiopt.data.shard import DenseRows

    folder = Path(os.environ.get("MPIOPT_DATA", "../../shared/data"))
    path = next(folder.glob(pattern))
    shard = prepare(str(path), "binary", DataOptions(), 0, single()).shard
    rows = shard.rows
    if isinstance(rows, DenseRows):
        x = sparse.csr_matrix(rows.values[:, : shard.features])
    else:
        x = sparse.csr_matrix((rows.values, rows.indices, rows.indptr.astype(np.int32)), (len(rows), rows.width))
    return x, np.array(shard.label)


def recipes(part: float) -> dict[str, Callable[[], tuple[Any, Vector]]]:
    """Return the recipes of the sets by name; `part` is the share of the full number of rows."""

    def rows(full: int) -> int:
        return max(400, int(part * full))

    made: dict[str, Callable[[], tuple[Any, Vector]]] = {
        "syn_c10": lambda: gaussian(rows(200_000), 100, 10.0, 1),
        "syn_c1e4": lambda: gaussian(rows(200_000), 100, 1e4, 2),
        "syn_wide": lambda: gaussian(rows(20_000), 1000, 100.0, 3),
        "cov_like": lambda: cover(rows(500_000), 4),
        "text": lambda: text(rows(200_000), 37_000, 5),
        "uniform": lambda: uniform(rows(200_000), 50_000, 6),
    }
    return made | {name: (lambda pattern=pattern: real(pattern)) for name, pattern in REAL.items()}


def load(name: str, part: float) -> Problem | None:
    """Make or read a set; None if its file is not there."""
    try:
        return Problem(name, *recipes(part)[name]())
    except StopIteration:
        return None

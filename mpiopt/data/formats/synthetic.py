"""Synthetic data: `generate:n=1e6,d=100,condition=1e4,…` instead of a file; each rank makes its own rows.

Row i depends on the seed and its number alone. With z standard normal (or sparse, normal where not zero) and h g_b
the shift of the row's block b, the row is x = Q S (z + h g_b), where S has singular values from 1 down to
1/√condition and Q is a product of reflections (sparse rows: the identity), and its margin is u·(z + h g_b), |u| = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.core.rng import generator
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, parse_options
from mpiopt.data.shard import CsrRows, Vector

PREFIX = "generate:"
TASKS = ("regression", "binary", "multiclass", "count")
_ROWS, _MODEL, _SHIFT = 104, 105, 106  # streams of randomness

LARGEST = 10**15  # limit of the whole-number options, far below the largest int64
BLOCK_ROWS, BLOCK_ENTRIES = 4096, 1 << 20  # limits of a block of rows, which is made at once


@dataclass(frozen=True)
class Generated(Reader):
    """Synthetic rows of a planted linear model, without a file: `generate:n=…,d=…,condition=…`."""

    name: ClassVar[str] = "generated"
    n: int = 1000
    d: int = 10
    condition: float = 1.0  # condition number of the second moment of the rows
    density: float = 1.0  # fraction of nonzeros; below 1 the rows are sparse
    heterogeneity: float = 0.0  # length of the shift of each of `blocks` stretches of rows, per column
    blocks: int = 16
    noise: float = 0.1
    task: str = "regression"  # regression | binary | multiclass | count
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"n": 1, "d": 1, "condition": 1, "heterogeneity": 0, "blocks": 1, "noise": 0, "classes": 2}
        for key, least in lowest.items():
            if not least <= getattr(self, key) < math.inf:
                raise ValueError(f"generate: {key} must be at least {least}, not {getattr(self, key)!r}")
            if isinstance(getattr(self, key), int) and getattr(self, key) > LARGEST:
                raise ValueError(f"generate: {key} must be at most 1e15, not {getattr(self, key):g}")
        if not 0 < self.density <= 1:
            raise ValueError(f"generate: density must be above 0 and at most 1, not {self.density!r}")
        if self.task not in TASKS:
            raise ValueError(f"generate: task must be one of {', '.join(TASKS)}; not {self.task!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the path has the prefix of a recipe."""
        return path.startswith(PREFIX) and not path.startswith(f"{PREFIX}criteo")

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the options in the path."""
        text = path.removeprefix(PREFIX)
        with comm.agree_on_errors():
            made = cast(Generated, Reader.make(self.name, parse_options(Reader, self.name, text))) if text else self
            check_width(path, made.d, features)
        return _Source(path, made.n, made.d, made.density < 1, None, 0, made, comm)


@dataclass(eq=False)
class _Source(Source):
    made: Generated
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        start, stop = block(self.total, self.comm.size, self.comm.rank)
        model = _Model(self.made)
        step = model.step
        for b in range(start // step, -(-stop // step) if stop > start else 0):
            first, last = max(start, b * step), min(stop, (b + 1) * step)
            rows, label = model.rows(b)
            here = slice(first - b * step, last - b * step)
            yield RawRows(_part(rows, here), label[here], None, first)


def _part(rows: NDArray[np.float64] | CsrRows, here: slice) -> NDArray[np.float64] | CsrRows:
    if not isinstance(rows, CsrRows):
        return np.ascontiguousarray(rows[here])
    ends = rows.indptr[here.start : here.stop + 1]
    kept = slice(int(ends[0]), int(ends[-1]))
    return CsrRows(ends - ends[0], rows.indices[kept], rows.values[kept], rows.width)


class _Model:
    """The planted model, which makes the rows block by block."""

    def __init__(self, made: Generated) -> None:
        self._made, rng, d = made, generator(made.seed, _MODEL, 0, 0), made.d
        self.stored = min(d, max(1, round(made.density * d)))
        self.step = max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // self.stored))
        outputs = made.classes if made.task == "multiclass" else 1
        planted = rng.normal(size=(outputs, d))
        self._planted = planted / np.linalg.norm(planted, axis=1, keepdims=True) * math.sqrt(d / self.stored)
        self._singular = np.geomspace(1.0, made.condition**-0.5, d)
        mirrors = rng.normal(size=(3, d))
        self._mirrors = mirrors / np.linalg.norm(mirrors, axis=1, keepdims=True)

    def rows(self, b: int) -> tuple[NDArray[np.float64] | CsrRows, Vector]:
        """Make the rows of block b and their labels."""
        made, d, k = self._made, self._made.d, self.stored
        rng = generator(made.seed, _ROWS, b, 0)
        numbers = np.minimum(np.arange(b * self.step, (b + 1) * self.step), made.n - 1)
        z = rng.normal(size=(self.step, k))
        if made.density < 1:
            bounds = np.arange(k + 1) * d // k  # one column of each range, so that none comes twice in a row
            columns = bounds[:-1] + (rng.random((self.step, k)) * np.diff(bounds)).astype(np.int64)
            which, shifts = self._shifts(numbers)
            z += shifts[which[:, None], columns]
            margins = np.stack([(z * u[columns]).sum(axis=1) for u in self._planted], axis=1)
            z *= self._singular[columns]
            indptr = np.arange(self.step + 1, dtype=np.int64) * k
            return CsrRows(indptr, columns.ravel().astype(np.int32), z.ravel(), d), self._labels(margins, rng)
        which, shifts = self._shifts(numbers)
        z += shifts[which]
        margins = np.stack([(z * u).sum(axis=1) for u in self._planted], axis=1)
        z *= self._singular
        if made.condition > 1:
            for v in self._mirrors:
                z -= 2.0 * (z * v).sum(axis=1)[:, None] * v
        return z, self._labels(margins, rng)

    def _shifts(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return for each row the number of its shift, and the shifts."""
        made = self._made
        which, place = np.unique(numbers * made.blocks // made.n, return_inverse=True)
        shifts = np.array([generator(made.seed, _SHIFT, int(w), 0).normal(size=made.d) for w in which])
        return place, np.asarray(made.heterogeneity * shifts)

    def _labels(self, margins: NDArray[np.float64], rng: np.random.Generator) -> Vector:
        task, noise = self._made.task, self._made.noise
        if task == "multiclass":
            return np.asarray(np.argmax(margins + noise * rng.gumbel(size=margins.shape), axis=1), np.float64)
        margin = margins[:, 0]
        if task == "count":
            return np.asarray(rng.poisson(np.exp(np.clip(margin, -5, 5))), np.float64)
        if task == "binary":
            return np.asarray(np.where(margin + noise * rng.logistic(size=len(margin)) > 0, 1.0, -1.0))
        return np.asarray(margin + noise * rng.normal(size=len(margin)))

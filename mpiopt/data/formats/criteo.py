"""Made-up clicks: `generate:criteo,n=…,d=…`, rows with the shape of the public Criteo set, but not its content.

A row has 13 counts, as log(1 + count) in columns 0 … 12, and 26 categories, each a 1 in a column that a hash of the
category chooses among the others. Each of the 26 has as many levels as in the set of Criteo's display advertising
challenge (2014). What is made up: level r of a category comes with a frequency in proportion to 1/r, the counts are
rounded log-normal numbers from 1 on, all features are independent, and the label is that of a planted logistic model
whose weights are normal, with about a quarter of clicks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.core.rng import generator
from mpiopt.data.formats.base import PIECE, RawRows, Reader, Source, check_width, parse_options
from mpiopt.data.shard import CsrRows, Vector

PREFIX = "generate:criteo"
LEVELS = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652,
    2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
COUNTS = 13
FEATURES = COUNTS + len(LEVELS)  # of a row
SPREAD = 1.5  # standard deviation of the logarithm of a count
SIGNAL = 0.35  # standard deviation of a planted weight: the margins then spread by 2 or so
CLICKS = -2.2  # intercept: a quarter of the labels is +1
BLOCK = 8192  # rows that are made at once
LARGEST = 10**15
_ROWS, _MODEL = 107, 108  # streams of randomness
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Criteo(Reader):
    """Made-up rows with 13 counts and 26 hashed categories, as many levels as in Criteo's: `generate:criteo,n=…`."""

    name: ClassVar[str] = "criteo"
    n: int = 100_000
    d: int = 1 << 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= LARGEST:
            raise ValueError(f"criteo: n must be at least 1 and at most 1e15, not {self.n!r}")
        if not FEATURES <= self.d < 1 << 31:
            raise ValueError(f"criteo: d must be at least {FEATURES} and below 2^31, not {self.d!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the path is this recipe."""
        return path == PREFIX or path.startswith(f"{PREFIX},")

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Read the options in the path."""
        text = path.removeprefix(PREFIX).removeprefix(",")
        with comm.agree_on_errors():
            made = cast(Criteo, Reader.make(self.name, parse_options(Reader, self.name, text))) if text else self
            check_width(path, made.d, features)
        return _Source(path, made.n, made.d, True, None, 0, made, comm)


@dataclass(eq=False)
class _Source(Source):
    made: Criteo
    comm: Comm

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        start, stop = block(self.total, self.comm.size, self.comm.rank)
        model = _planted(self.made)
        for b in range(start // BLOCK, -(-stop // BLOCK) if stop > start else 0):
            first, last = max(start, b * BLOCK), min(stop, (b + 1) * BLOCK)
            rows, label = _made_rows(self.made, model, b)
            ends = rows.indptr[first - b * BLOCK : last - b * BLOCK + 1]
            kept = slice(int(ends[0]), int(ends[-1]))
            part = CsrRows(ends - ends[0], rows.indices[kept], rows.values[kept], rows.width)
            yield RawRows(part, label[first - b * BLOCK : last - b * BLOCK], None, first)


def _planted(made: Criteo) -> Vector:
    """Return the weights of the planted model."""
    weights = generator(made.seed, _MODEL, 0, 0).normal(size=made.d) * SIGNAL
    weights[:COUNTS] -= weights[:COUNTS].mean()  # so that the share of clicks hardly depends on the seed
    return weights


def _made_rows(made: Criteo, planted: Vector, b: int) -> tuple[CsrRows, Vector]:
    """Make the rows of block b, and their labels."""
    rng = generator(made.seed, _ROWS, b, 0)
    columns, values = np.empty((BLOCK, FEATURES), np.int64), np.ones((BLOCK, FEATURES))
    columns[:, :COUNTS] = np.arange(COUNTS)
    values[:, :COUNTS] = np.log1p(np.ceil(np.exp(1.0 + SPREAD * rng.normal(size=(BLOCK, COUNTS)))))
    for c, levels in enumerate(LEVELS):
        level = np.floor(np.exp(rng.random(BLOCK) * math.log(levels + 1.0))).astype(
            np.uint64
        )  # 1 … levels, as 1/level
        columns[:, COUNTS + c] = COUNTS + _hashed(c, level) % np.uint64(made.d - COUNTS)
    margin = (values * planted[columns]).sum(axis=1) + CLICKS
    label = np.where(margin + rng.logistic(size=BLOCK) > 0.0, 1.0, -1.0)
    return _in_order(columns, values, made.d), label


def _hashed(category: int, level: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each level of a category (splitmix64)."""
    x = (level * np.uint64(len(LEVELS)) + np.uint64(category)) * _ODD
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _in_order(columns: NDArray[Any], values: Vector, width: int) -> CsrRows:
    """Return rows with ascending columns; categories that fall into one column add up."""
    order = np.argsort(columns, axis=1, kind="stable")
    columns, values = np.take_along_axis(columns, order, 1), np.take_along_axis(values, order, 1)
    first = np.ones(columns.shape, np.bool_)
    first[:, 1:] = columns[:, 1:] != columns[:, :-1]
    summed = np.add.reduceat(values.reshape(-1), np.flatnonzero(first))
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int64)
    return CsrRows(indptr, columns[first].astype(np.int32), summed, width)

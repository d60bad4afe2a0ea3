"""Training and test rows, kept small in memory: every worker can draw any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.threads import single
from mpiopt.core.rng import generator
from mpiopt.data import labels
from mpiopt.data.formats.base import RawRows, find_reader
from mpiopt.data.shard import CsrRows
from mpiopt.studies.parameter_server.networks.base import Array, Labels, Shape

IMAGES, SPLIT = 103, 104  # streams of random numbers
SIDE, CLASSES = 8, 10  # of synthetic images: pixels along a side, classes
CONTRAST = 0.35  # of the pattern of a class, in standard deviations of the noise
MIN_ROWS = 8  # of a file


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows in memory; a network is given (x − shift) · scale in float32."""

    x: NDArray[Any]  # (n, d) uint8 for pixels, else float32
    y: Labels  # (n,) class numbers, or targets
    classes: int  # 0: a real target
    shift: Array  # (d,)
    scale: Array  # (d,)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> Shape:
        """Features and classes."""
        return Shape(self.x.shape[1], self.classes)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Array, Labels]:
        """Return rows as a network takes them: x (n, d) float32, y (n,)."""
        return (self.x[rows] - self.shift) * self.scale, self.y[rows]

    def all(self) -> tuple[Array, Labels]:
        """Return all rows as a network takes them."""
        return self.batch(np.arange(len(self)))


class DenseTable(NamedTuple):
    """Dense rows of a file."""

    x: NDArray[np.float32]  # (n, d)
    y: Labels  # as in the file


class Sets(NamedTuple):
    """Training and test rows."""

    train: Examples
    test: Examples


def load(data: str, test: str, rows: int, test_rows: int, seed: int) -> Sets:
    """Read that many rows of the two files; without a test file, test rows are drawn at random from the first.

    `data` "made-up" stands for synthetic noisy images of ten patterns. Pixels, whole numbers from 0 to 255, become
    (x/255 − ½)/½ as in the paper; other columns are standardised.

    Raises
    ------
    ValueError, OSError
        If a file cannot be read; the message is one line.
    """
    if data == "made-up":
        table = synthetic_images(rows + test_rows, seed)
    else:
        table = read(data, rows if test else rows + test_rows, None)
    if test:
        other = read(test, test_rows, table.x.shape[1])
    else:
        order = generator(seed, SPLIT, 0, 0).permutation(len(table.y))
        apart, rest = np.split(order, [min(test_rows, len(order) // 4)])
        table, other = DenseTable(table.x[rest], table.y[rest]), DenseTable(table.x[apart], table.y[apart])
    return scaled(table, other, data, test or data)


def scaled(table: DenseTable, other: DenseTable, name: str, other_name: str) -> Sets:
    """Map the labels, take the scale from the first table, and keep pixels as bytes."""
    values = np.unique(table.y)
    target = labels.guess_target(values)
    known = None if target == "real" else values
    pixels = bool(table.x.min() >= 0 and table.x.max() == 255 and (table.x == np.floor(table.x)).all())
    if pixels:
        shift = scale = np.full(table.x.shape[1], 127.5, np.float32)
    else:
        shift, scale = table.x.mean(axis=0), table.x.std(axis=0)
    factor = (1.0 / np.where(scale > 0, scale, 1.0)).astype(np.float32)

    def kept(part: DenseTable, path: str) -> Examples:
        y = part.y if known is None else labels.map_labels(part.y, known, "multiclass")
        if np.isnan(y).any():
            raise ValueError(f"{path}: label {part.y[np.isnan(y)][0]:g} is not a class of the training data")
        x = part.x.astype(np.uint8) if pixels else part.x
        return Examples(x, y, 0 if known is None else len(known), shift, factor)

    return Sets(kept(table, name), kept(other, other_name))


def read(path: str, rows: int, features: int | None) -> DenseTable:
    """Read the first rows of a file; `features` is the number of columns if it is known."""
    source = find_reader(path).open(path, single(), features)
    pieces: list[RawRows] = []
    for piece in source.pieces():
        pieces.append(piece)
        if sum(map(len, pieces)) >= rows:
            break
    width = features or source.features or max(width_of(piece.rows) for piece in pieces)
    x = np.concatenate([dense(piece.rows, width) for piece in pieces])[:rows]
    y = np.concatenate([piece.label for piece in pieces])[:rows]
    if len(y) < MIN_ROWS or np.isnan(y).any():
        raise ValueError(
            f"{path}: has {len(y)} rows here, some without a label; at least {MIN_ROWS} with labels are needed"
        )
    return DenseTable(x, y)


def width_of(rows: NDArray[np.float64] | CsrRows) -> int:
    """Return the number of columns."""
    return rows.width if isinstance(rows, CsrRows) else int(rows.shape[1])


def dense(rows: NDArray[np.float64] | CsrRows, width: int) -> NDArray[np.float32]:
    """Return rows as an array (n, width)."""
    x = np.zeros((len(rows), width), np.float32)
    if isinstance(rows, CsrRows):
        x[np.repeat(np.arange(len(rows)), np.diff(rows.indptr)), rows.indices] = rows.values
    else:
        x[:, : rows.shape[1]] = rows
    return x


def synthetic_images(rows: int, seed: int) -> DenseTable:
    """Make images: the pattern of one of ten classes in noise."""
    draw = generator(seed, IMAGES, 0, 0)
    patterns = draw.standard_normal((CLASSES, SIDE * SIDE))
    y = draw.integers(0, CLASSES, rows)
    x = CONTRAST * patterns[y] + draw.standard_normal((rows, SIDE * SIDE))
    return DenseTable(x.astype(np.float32), y.astype(np.float64))

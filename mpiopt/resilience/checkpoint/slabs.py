"""One rank's part of a field as a slab of its dataset: its place, its rows in the order of the file, a checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.files import PlainFile
from mpiopt.core.state import Layout, NamedVector, layouts
from mpiopt.data.shard import Shard

PIECE_NBYTES = 1 << 22  # bytes copied at a time: with the inverse order, the only extra memory of a save


@dataclass(frozen=True, eq=False)
class Slab:
    """This rank's part of one dataset: positions `start … start + len(rows)` of axis 0.

    Row j of `rows` lies at position `start + order[j]`. `inverse` is the inverse of the permutation `order`; None
    stands for the identity. `rows` is a view into the state: to fill it fills the state.
    """

    name: str
    layout: Layout
    rows: NDArray[Any]
    shape: tuple[int, ...]  # of the whole dataset
    start: int
    inverse: NDArray[np.integer] | None = None

    @property
    def stop(self) -> int:
        """One past the last position."""
        return self.start + len(self.rows)

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row in the file."""
        return _row_nbytes(self.rows)

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first position within the slab, rows in the order of the file), a few MB at a time."""
        for a, b in cuts(self.rows):
            # take: four times as fast as indexing where a row has several columns
            chosen = self.rows[a:b] if self.inverse is None else np.take(self.rows, self.inverse[a:b], axis=0)
            yield a, np.ascontiguousarray(chosen)

    def fill(self, dataset: h5py.Dataset) -> None:
        """Read the rows, in place, from their positions in the dataset."""
        rows = self.rows[: len(dataset)] if self.may_grow else self.rows
        for a, b in cuts(rows):
            place: Any = slice(a, b) if self.inverse is None else self.inverse[a:b]
            rows[place] = dataset[self.start + a : self.start + b]

    @property
    def may_grow(self) -> bool:
        """Whether a checkpoint of an earlier version may have fewer numbers, of which the others stay as they are."""
        return self.layout is Layout.REPLICATED and isinstance(self.rows, NamedVector)


def slabs(state: object, shard: Shard, comm: Comm, inverse: NDArray[np.integer] | None) -> list[Slab]:
    """Return the slabs of all stored fields; only rank 0 has rows of replicated ones.

    `inverse` is the inverse of `shard.order`, as `inverted` returns it.
    """
    return [
        _slab(name, layout, getattr(state, name), shard, comm, inverse) for name, layout in layouts(state).items()
    ]


def _slab(
    name: str, layout: Layout, array: NDArray[Any], shard: Shard, comm: Comm, inverse: NDArray[np.integer] | None
) -> Slab:
    if layout is Layout.SHARDED:
        if len(array) != len(shard):
            raise RuntimeError(f"sharded field {name} has {len(array)} rows, but the shard has {len(shard)}")
        return Slab(name, layout, array, (shard.total, *array.shape[1:]), shard.start, inverse)
    if layout is Layout.PER_RANK:
        return Slab(name, layout, array[np.newaxis], (comm.size, *array.shape), comm.rank)
    rows = array.reshape(1) if array.ndim == 0 else array
    return Slab(name, layout, rows if comm.rank == 0 else rows[:0], rows.shape, 0)


def inverted(order: NDArray[np.int64]) -> NDArray[np.integer] | None:
    """Return the inverse permutation in the narrowest type; None for the identity."""
    n = len(order)
    kind = np.dtype(np.int32 if n < 2**31 else np.int64)
    if all(np.array_equal(order[a:b], np.arange(a, b)) for a, b in cuts(order)):
        return None
    inverse: NDArray[np.integer] = np.empty(n, kind)
    inverse[order] = np.arange(n, dtype=kind)
    return inverse


def cuts(rows: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield ranges of axis 0 that hold about PIECE_NBYTES each."""
    step = max(1, PIECE_NBYTES // max(1, _row_nbytes(rows)))
    for a in range(0, len(rows), step):
        yield a, min(a + step, len(rows))


def write(file: PlainFile, slab: Slab, start: int) -> int:
    """Write the slab from byte `start` of a file on; return the CRC-32 of its bytes."""
    crc = 0
    for a, piece in slab.pieces():
        content = _bytes(piece)
        file.write_at(start + a * slab.row_nbytes, content)
        crc = zlib.crc32(content, crc)
    return crc


def checksum(dataset: h5py.Dataset, start: int, stop: int) -> int:
    """Return the CRC-32 of the dataset's bytes at these positions."""
    shape = (stop - start, *dataset.shape[1:])
    crc = 0
    for a, b in cuts(np.broadcast_to(np.empty((), dataset.dtype), shape)):
        crc = zlib.crc32(_bytes(dataset[start + a : start + b]), crc)
    return crc


def _row_nbytes(rows: NDArray[Any]) -> int:
    return rows.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))


def _bytes(piece: NDArray[Any]) -> memoryview:
    return piece.reshape(-1).view(np.uint8).data

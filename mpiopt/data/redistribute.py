"""Send rows from the rank that read them to the rank that owns them, in bounded pieces, and assemble them there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Array, Comm
from mpiopt.core.partition import block
from mpiopt.data.formats.base import RawRows
from mpiopt.data.row_formats import (
    MEMORY,
    NO_ROWS,
    aligned_zeros,
    empty_csr,
    padded_width,
    row_pointer,
    select,
    to_csr,
)
from mpiopt.data.row_order import Move
from mpiopt.data.row_storage import BufferFactory, RowStorage
from mpiopt.data.shard import CsrRows, DenseRows, Indices, Rows, Vector
from mpiopt.kernels.row_moves import gather, scatter, spread

BANDS = 16  # of the memory of sparse rows, filled one after the other
BANDS_OF_FILE = 64  # of rows in a file: one of them is in memory at a time


@dataclass(eq=False)
class LoadedRows:
    """Rows in their places, as read: not yet scaled, labels as in the file, an intercept's column of zeros."""

    rows: Rows
    label: Vector
    weight: Vector
    order: Indices  # row j in memory has the position start + order[j]
    start: int
    total: int
    features: int
    offset: Vector | None = None  # what stays beside the labels
    parts: Indices | None = None  # as in `Shard`


class DenseAssembler:
    """Write dense rows of `columns` columns into their final array of `width` columns."""

    def __init__(self, n: int, columns: int, width: int, dtype: type[np.floating]) -> None:
        self._values, self.columns = aligned_zeros(n, width, dtype), columns

    def add(self, places: Indices, parts: Sequence[Array]) -> None:
        """Write received rows to their places in memory."""
        (rows,) = parts
        scatter(rows, places, self._values)

    def finish(self, features: int, spare: int, dense: bool) -> Rows:
        """Return the rows, with `spare` columns more than features."""
        return DenseRows(self._values) if dense else to_csr(self._values[:, :features], spare)


class FiledDenseAssembler:
    """Keep dense rows as they come, in a file, and put them in order at the end, one band of rows after the other.

    Rows come in any order: written at once to their places, each would move a page of the disk.
    """

    def __init__(self, n: int, columns: int, width: int, dtype: type[np.floating], storage: RowStorage) -> None:
        self._n, self._width, self._dtype, self._storage, self.columns = n, width, dtype, storage, columns
        self._step = max(1, -(-n // BANDS_OF_FILE))
        made = storage.buffers()
        self._places: list[list[Indices]] = [[] for _ in range(-(-n // self._step))]
        self._bands = [made.make(np.float64) for _ in self._places]

    def add(self, places: Indices, parts: Sequence[Array]) -> None:
        """Keep received rows and their places."""
        (rows,) = parts
        order = np.argsort(places // self._step, kind="stable")
        rows, places = rows[order], places[order]
        cuts = np.searchsorted(places // self._step, np.arange(len(self._bands) + 1))
        for known, band, a, b in zip(self._places, self._bands, cuts[:-1], cuts[1:], strict=True):
            known.append(places[a:b])
            band.append(rows[a:b])

    def finish(self, features: int, spare: int, dense: bool) -> Rows:
        """Return the rows, with `spare` columns more than features."""
        values = aligned_zeros(self._n, self._width, self._dtype, self._storage)
        for k, band in enumerate(self._bands):
            places = np.concatenate([np.empty(0, np.int64), *self._places[k]])
            with band.taken() as rows:
                scatter(rows.reshape(len(places), self.columns), places, values)
            self._places[k] = []
        return DenseRows(values) if dense else to_csr(values[:, :features], spare)


class CsrAssembler:
    """Keep CSR rows as they come and put them in order at the end, one band of memory after the other.

    The memory of a band is returned to the system when its rows are in place: all rows are never in memory twice.
    """

    def __init__(self, n: int, dtype: type[np.floating], storage: RowStorage = MEMORY) -> None:
        self._n, self._dtype, self._storage = n, dtype, storage
        self._step = max(1, -(-n // (BANDS_OF_FILE if storage.folder else BANDS)))
        self._lengths = np.zeros(n, np.int64)
        made = storage.buffers()
        self._bands = [_Band(dtype, made) for _ in range(-(-n // self._step))]

    def add(self, places: Indices, parts: Sequence[Array]) -> None:
        """Keep received rows: their places in memory, lengths, indices and values."""
        lengths, indices, values = parts
        self._lengths[places] = lengths
        order = np.argsort(places // self._step, kind="stable")
        rows, places = select(CsrRows(row_pointer(lengths), indices, values, 0), order), places[order]
        cuts = np.searchsorted(places // self._step, np.arange(len(self._bands) + 1))
        for band, a, b in zip(self._bands, cuts[:-1], cuts[1:], strict=True):
            band.add(places[a:b], rows, int(a), int(b))

    def finish(self, features: int, spare: int, dense: bool) -> Rows:
        """Return the rows in the order of memory, with `spare` columns more than features."""
        return self._dense(padded_width(features + spare)) if dense else self._csr(features + spare, spare)

    def _csr(self, width: int, spare: int) -> CsrRows:
        rows = empty_csr(self._lengths + spare, width, self._dtype, self._storage)
        for a, b, band in self._in_order():
            band.write(a, self._lengths[a:b], rows.indptr[a:b], rows)
        return rows

    def _dense(self, width: int) -> DenseRows:
        values = aligned_zeros(self._n, width, self._dtype, self._storage)
        for a, b, band in self._in_order():
            rows = empty_csr(self._lengths[a:b], width, self._dtype)
            band.write(a, self._lengths[a:b], rows.indptr[:-1], rows)
            spread(rows.indptr, rows.indices, rows.values, values[a:b])
        return DenseRows(values)

    def _in_order(self) -> Iterator[tuple[int, int, _Band]]:
        for k, band in enumerate(self._bands):
            yield k * self._step, min((k + 1) * self._step, self._n), band


class _Band:
    """The rows of one range of memory, in the order in which they came."""

    def __init__(self, dtype: type[np.floating], made: BufferFactory) -> None:
        self._places = [np.empty(0, np.int64)]
        self._indices, self._values = made.make(np.int32), made.make(dtype)

    def add(self, places: Indices, rows: CsrRows, a: int, b: int) -> None:
        """Take rows a … b - 1."""
        first, last = rows.indptr[a], rows.indptr[b]
        self._places.append(places)
        self._indices.append(rows.indices[first:last])
        self._values.append(rows.values[first:last])

    def write(self, start: int, lengths: Indices, begins: Indices, out: CsrRows) -> None:
        """Write the rows of memory from `start` on to where each begins in `out`, and free this band."""
        places = np.concatenate(self._places) - start
        received = row_pointer(lengths[places])
        order = np.empty_like(places)
        order[places] = np.arange(len(places))
        with self._indices.taken() as indices, self._values.taken() as values:
            gather(order, received, indices, values, begins, out.indices, out.values)
        self._places = []


Assembler = DenseAssembler | FiledDenseAssembler | CsrAssembler


class Destination:
    """This rank's block of a sequence of `total` rows while it is filled; memory is in the order `order`.

    With `offsets` each row has an offset that stays beside its label.
    """

    def __init__(
        self,
        total: int,
        comm: Comm,
        assembler: Assembler,
        order: Indices,
        parts: Indices | None,
        offsets: bool = False,
    ) -> None:
        self._parts = parts
        self._total, self._assembler, self._order, self._comm = total, assembler, order, comm
        self._start, stop = block(total, comm.size, comm.rank)
        n = stop - self._start
        self._label, self._weight = np.empty(n), np.empty(n)
        self._offset = np.empty(n) if offsets else None
        self._places = np.empty(n, np.int64)
        self._places[order] = np.arange(n)
        self._starts = np.array([block(total, comm.size, r)[0] for r in range(comm.size)])

    def deliver(self, piece: RawRows | None, move: Move) -> None:
        """Send rows of this rank's piece to their positions and receive those that belong here; collective."""
        owners = np.searchsorted(self._starts, move.positions, side="right") - 1
        mine = np.argsort(owners, kind="stable")
        ends = np.cumsum(np.bincount(owners, minlength=self._comm.size))[:-1]
        chosen, positions = move.rows[mine], move.positions[mine]
        places = self._places[self._swap(positions, ends) - self._start]
        self._label[places] = self._swap(piece.label[chosen] if piece else np.empty(0), ends)
        self._weight[places] = self._swap(_weights(piece, chosen), ends)
        if self._offset is not None:
            self._offset[places] = self._swap(_offsets(piece, chosen), ends)
        if isinstance(self._assembler, CsrAssembler):
            self._assembler.add(places, self._swap_csr(piece, chosen, ends))
        else:
            self._assembler.add(places, [self._swap(_dense(piece, chosen, self._assembler.columns), ends)])

    def assemble(self, features: int, dense: bool, intercept: bool) -> LoadedRows:
        """Return the rows, dense or CSR, with a column of zeros for the intercept if `intercept`."""
        rows = self._assembler.finish(features, int(intercept), dense)
        if isinstance(rows, CsrRows) and intercept:
            last = rows.indptr[1:] - 1
            rows.indices[last], rows.values[last] = features, 0
        return LoadedRows(
            rows,
            self._label,
            self._weight,
            self._order,
            self._start,
            self._total,
            features,
            self._offset,
            self._parts,
        )

    def _swap(self, x: Array, ends: Indices) -> Array:
        return np.concatenate(self._comm.alltoall(np.split(x, ends)))

    def _swap_csr(self, piece: RawRows | None, chosen: Indices, ends: Indices) -> list[Array]:
        rows = select(piece.rows, chosen) if piece and isinstance(piece.rows, CsrRows) else NO_ROWS
        stops = rows.indptr[ends] if len(rows) else np.zeros(len(ends), np.int64)
        return [
            self._swap(np.diff(rows.indptr), ends),
            self._swap(rows.indices, stops),
            self._swap(rows.values, stops),
        ]


def _weights(piece: RawRows | None, chosen: Indices) -> Vector:
    if piece is None or piece.weight is None:
        return np.ones(len(chosen))
    return piece.weight[chosen]


def _offsets(piece: RawRows | None, chosen: Indices) -> Vector:
    return np.zeros(len(chosen)) if piece is None or piece.offset is None else piece.offset[chosen]


def _dense(piece: RawRows | None, chosen: Indices, columns: int) -> NDArray[np.float64]:
    if piece is None or isinstance(piece.rows, CsrRows):
        return np.empty((0, columns))
    return piece.rows[chosen]

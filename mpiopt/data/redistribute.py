"""Rows on their way from the rank that read them to the rank that owns them, in bounded pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Array, Comm
from mpiopt.core.partition import block
from mpiopt.data.formats.base import RawRows
from mpiopt.data.growable_buffer import Pile
from mpiopt.data.row_formats import NO_ROWS, Numbers, aligned, take
from mpiopt.data.shard import CsrRows, Vector
from mpiopt.kernels.row_moves import gather, scatter, spread

BANDS = 16  # of the memory of sparse rows, filled one after the other


class DenseSink:
    """Takes dense rows of `columns` columns into the final array, which has `width`."""

    def __init__(self, n: int, columns: int, width: int, dtype: type[np.floating]) -> None:
        self.values, self.columns = aligned(n, width, dtype), columns

    def add(self, memory: Numbers, parts: Sequence[Array]) -> None:
        """Write received rows to their places."""
        (rows,) = parts
        scatter(rows, memory, self.values)


class CsrSink:
    """Takes CSR rows as they come and puts them in order at the end, one band of memory after the other.

    What a band has taken is given back when its rows are in their place: all rows are never in memory twice.
    """

    def __init__(self, n: int, dtype: type[np.floating]) -> None:
        self._n, self._dtype = n, dtype
        self._step = max(1, -(-n // BANDS))
        self._lengths = np.zeros(n, np.int64)
        self._bands = [Band(dtype) for _ in range(-(-n // self._step))]

    def add(self, memory: Numbers, parts: Sequence[Array]) -> None:
        """Keep received rows: their places, lengths, indices and values."""
        lengths, indices, values = parts
        self._lengths[memory] = lengths
        order = np.argsort(memory // self._step, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows, memory = take(CsrRows(indptr, indices, values, 0), order), memory[order]
        cuts = np.searchsorted(memory // self._step, np.arange(len(self._bands) + 1))
        for band, a, b in zip(self._bands, cuts[:-1], cuts[1:], strict=True):
            band.add(memory[a:b], rows, int(a), int(b))

    def finish(self, width: int, spare: int) -> CsrRows:
        """Give the rows in the order of memory, with room for `spare` more values at the end of each row."""
        indptr = np.concatenate([[0], np.cumsum(self._lengths + spare)]).astype(np.int64)
        rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], self._dtype), width)
        for a, b, band in self._in_order():
            band.put(a, self._lengths[a:b], indptr[a:b], rows.indices, rows.values)
        return rows

    def spread(self, width: int) -> NDArray[np.floating]:
        """Give the rows as a dense array of `width` columns, in the order of memory."""
        values = aligned(self._n, width, self._dtype)
        for a, b, band in self._in_order():
            indptr = np.concatenate([[0], np.cumsum(self._lengths[a:b])]).astype(np.int64)
            rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], self._dtype), width)
            band.put(a, self._lengths[a:b], indptr[:-1], rows.indices, rows.values)
            spread(rows.indptr, rows.indices, rows.values, values[a:b])
        return values

    def _in_order(self) -> Iterator[tuple[int, int, Band]]:
        for k, band in enumerate(self._bands):
            yield k * self._step, min((k + 1) * self._step, self._n), band


class Band:
    """The rows of one stretch of memory, in the order in which they came."""

    def __init__(self, dtype: type[np.floating]) -> None:
        self._memory = [np.empty(0, np.int64)]
        self._indices, self._values = Pile(np.int32), Pile(dtype)

    def add(self, memory: Numbers, rows: CsrRows, a: int, b: int) -> None:
        """Take rows a … b - 1."""
        first, last = rows.indptr[a], rows.indptr[b]
        self._memory.append(memory)
        self._indices.add(rows.indices[first:last])
        self._values.add(rows.values[first:last])

    def put(self, start: int, lengths: Numbers, places: Numbers, indices: Array, values: Array) -> None:
        """Write the rows of memory from `start` on to their places, and give the memory of this band back."""
        memory = np.concatenate(self._memory) - start
        came = np.concatenate([[0], np.cumsum(lengths[memory])]).astype(np.int64)
        order = np.empty_like(memory)
        order[memory] = np.arange(len(memory))
        with self._indices.taken() as theirs, self._values.taken() as numbers:
            gather(order, came, theirs, numbers, places, indices, values)
        self._memory = []


class Destination:
    """This rank's block of a sequence of `total` rows being filled, memory in the order `order`."""

    def __init__(self, total: int, comm: Comm, sink: DenseSink | CsrSink, order: Numbers) -> None:
        self.total, self.sink, self.order, self._comm = total, sink, order, comm
        self.start, stop = block(total, comm.size, comm.rank)
        n = stop - self.start
        self.label, self.weight = np.empty(n), np.empty(n)
        self._memory = np.empty(n, np.int64)
        self._memory[order] = np.arange(n)
        self._starts = np.array([block(total, comm.size, r)[0] for r in range(comm.size)])

    def deliver(self, piece: RawRows | None, chosen: Numbers, positions: Numbers) -> None:
        """Send rows `chosen` of a piece to their positions and take what comes here; collective."""
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        mine = np.argsort(owners, kind="stable")
        ends = np.cumsum(np.bincount(owners, minlength=self._comm.size))[:-1]
        chosen, positions = chosen[mine], positions[mine]
        memory = self._memory[self._swap(positions, ends) - self.start]
        self.label[memory] = self._swap(piece.label[chosen] if piece else np.empty(0), ends)
        self.weight[memory] = self._swap(_weights(piece, chosen), ends)
        if isinstance(self.sink, DenseSink):
            self.sink.add(memory, [self._swap(_dense(piece, chosen, self.sink.columns), ends)])
        else:
            self.sink.add(memory, self._swap_csr(piece, chosen, ends))

    def _swap(self, x: Array, ends: Numbers) -> Array:
        return np.concatenate(self._comm.alltoall(np.split(x, ends)))

    def _swap_csr(self, piece: RawRows | None, chosen: Numbers, ends: Numbers) -> list[Array]:
        rows = take(piece.rows, chosen) if piece and isinstance(piece.rows, CsrRows) else NO_ROWS
        stops = rows.indptr[ends] if len(rows) else np.zeros(len(ends), np.int64)
        return [
            self._swap(np.diff(rows.indptr), ends),
            self._swap(rows.indices, stops),
            self._swap(rows.values, stops),
        ]


def _weights(piece: RawRows | None, chosen: Numbers) -> Vector:
    if piece is None or piece.weight is None:
        return np.ones(len(chosen))
    return piece.weight[chosen]


def _dense(piece: RawRows | None, chosen: Numbers, columns: int) -> NDArray[np.float64]:
    if piece is None or isinstance(piece.rows, CsrRows):
        return np.empty((0, columns))
    return piece.rows[chosen]

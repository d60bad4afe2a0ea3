"""Rows on their way from the rank that read them to the rank that owns them, in bounded pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm import Array, Comm
from mpiopt.datasets import RawRows
from mpiopt.kernels.moving import gather, scatter
from mpiopt.shaping import NO_ROWS, Numbers, aligned, take
from mpiopt.shard import CsrRows, Vector, block

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
    """Takes CSR rows as they come and puts them in order at the end."""

    def __init__(self, n: int) -> None:
        self._memory: list[Numbers] = [np.empty(0, np.int64)]
        self._parts: list[Sequence[Array]] = []
        self._n = n

    def add(self, memory: Numbers, parts: Sequence[Array]) -> None:
        """Keep received rows: their places, lengths, indices and values."""
        self._memory.append(memory)
        self._parts.append(parts)

    def finish(self, width: int, spare: int, dtype: type[np.floating]) -> CsrRows:
        """Give the rows in the order of memory, with room for `spare` more values at the end of each row."""
        place = np.concatenate(self._memory)
        lengths, indices, values = (
            np.concatenate([part[k] for part in self._parts] or [np.empty(0, kind)])
            for k, kind in enumerate((np.int64, np.int32, np.float64))
        )
        self._memory, self._parts = [], []
        came = np.concatenate([[0], np.cumsum(lengths)])
        order = np.empty(self._n, np.int64)
        order[place] = np.arange(self._n)
        indptr = np.concatenate([[0], np.cumsum(lengths[order] + spare)]).astype(np.int64)
        rows = CsrRows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], dtype), width)
        gather(order, came, indices, values, indptr[:-1], rows.indices, rows.values)
        return rows


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

"""One pass over a source: read the rows, send each to the rank that owns it, and assemble them there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core import memory
from mpiopt.core.partition import block
from mpiopt.data.formats.base import Source
from mpiopt.data.redistribute import CsrAssembler, DenseAssembler, Destination, FiledDenseAssembler, LoadedRows
from mpiopt.data.row_checks import FileStatistics, check_pieces
from mpiopt.data.row_formats import MEMORY, padded_width
from mpiopt.data.row_order import Partition, drawn_order
from mpiopt.data.row_storage import RowStorage

LEAST_VECTORS = 8  # of the length of the model in each rank: means, scales, model, gradient, trial, ridge …


@dataclass(frozen=True)
class RowLayout:
    """How rows are to lie in memory."""

    intercept: bool = False
    dtype: type[np.floating] = np.float64
    features: int | None = None  # None: as the source has
    dense: bool | None = None  # None: by the fraction of nonzeros
    shuffled: bool = False  # whether the rows of a rank lie in a random order in its memory
    fits: type[np.floating] = np.float64  # numbers of the file must be finite in this type
    storage: RowStorage = MEMORY


def load(
    source: Source, partition: Partition, layout: RowLayout, seed: int, comm: Comm
) -> tuple[list[LoadedRows], FileStatistics]:
    """Read the rows of a source and bring them to their positions; return those of each sequence; collective."""
    with comm.agree_on_errors():
        targets = [_destination(total, source, layout, seed, comm) for total in partition.totals]
    found = _read_and_send(source, partition, targets, layout.fits, comm)
    d = layout.features if layout.features is not None else source.features or found.features
    if d == 0:
        raise ValueError(f"{source.path}: no row has a feature")
    dense = found.prefers_dense(d, source.total) if layout.dense is None else layout.dense
    with comm.agree_on_errors():
        _refuse_wide(source.path, d)
        return [target.assemble(d, dense, layout.intercept) for target in targets], found


def _refuse_wide(path: str, d: int) -> None:
    """Raise ValueError if a few vectors of d numbers, which every algorithm has, exceed the memory."""
    needed, free = 8.0 * LEAST_VECTORS * d, min(memory.available())
    if needed > free:
        found = f"{needed / 1e9:.3g} GB for {LEAST_VECTORS} vectors, and {free / 1e9:.3g} GB are available"
        raise ValueError(f"{path}: a model of {d:,} features needs {found}; is the largest index right?")


def _destination(total: int, source: Source, layout: RowLayout, seed: int, comm: Comm) -> Destination:
    start, stop = block(total, comm.size, comm.rank)
    n = stop - start
    order, parts = drawn_order(start, n, seed) if layout.shuffled else (np.arange(n), None)
    if source.sparse:
        csr = CsrAssembler(n, layout.dtype, layout.storage)
        return Destination(total, comm, csr, order, parts, source.offsets_stay)
    columns = source.features or 0
    width = padded_width((layout.features or columns) + layout.intercept)
    if layout.storage.folder:
        filed = FiledDenseAssembler(n, columns, width, layout.dtype, layout.storage)
        return Destination(total, comm, filed, order, parts, source.offsets_stay)
    dense = DenseAssembler(n, columns, width, layout.dtype)
    return Destination(total, comm, dense, order, parts, source.offsets_stay)


def _read_and_send(
    source: Source,
    partition: Partition,
    targets: list[Destination],
    dtype: type[np.floating],
    comm: Comm,
) -> FileStatistics:
    pieces = check_pieces(source, dtype=dtype)
    found = FileStatistics(features=source.features or 0)
    fault: ValueError | None = None
    while True:
        with comm.agree_on_errors():
            if fault is not None:
                raise fault
            piece = next(pieces, None)
        if not comm.max(np.array([piece is not None]))[0]:
            return found.over_ranks(comm)
        if piece is not None:
            piece = found.add(piece)
        for target, move in zip(targets, partition.moves(piece), strict=True):
            try:
                target.deliver(piece, move)
            except ValueError as error:  # after its exchanges, on a full disk; the other ranks hear of it next
                fault = error

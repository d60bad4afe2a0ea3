"""One pass over a source: every row to the rank that owns it, and what is learnt of the whole on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.partition import block
from mpiopt.core.rng import generator
from mpiopt.data.formats.base import PIECE, RawRows, Source
from mpiopt.data.redistribute import CsrSink, DenseSink, Destination
from mpiopt.data.row_formats import Numbers, compressed, padded, without_zeros
from mpiopt.data.row_order import Holdout, Order
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Vector
from mpiopt.kernels import row_moves as kernels

DENSE = 0.25  # rows are stored dense if this fraction of their entries, or more, are nonzero
SHORT, SHORT_DENSE = 128, 0.08  # and this for so few columns: the dense kernels win on short rows
_MEMORY = 103  # stream of randomness


def dense_from(columns: int) -> float:
    """Give the fraction of nonzeros from which on rows are stored dense."""
    return SHORT_DENSE if columns <= SHORT else DENSE


@dataclass(frozen=True)
class RowLayout:
    """How rows are to lie in memory."""

    intercept: bool = False
    dtype: type[np.floating] = np.float64
    features: int | None = None  # None: what the source has
    dense: bool | None = None  # None: the density decides
    shuffled: bool = False  # whether memory is shuffled within the rank


@dataclass(eq=False)
class LoadedRows:
    """Rows in their places, as read: neither scaled nor mapped. An intercept's column exists and is zero."""

    rows: Rows
    label: Vector
    weight: Vector
    order: Numbers
    start: int
    total: int
    features: int


@dataclass(eq=False)
class PassStatistics:
    """What a pass learns of the whole file."""

    checksum: int = 0
    features: int = 0
    nonzeros: int = 0
    weighted: bool = False
    unlabelled: bool = False


def load(
    path: str, source: Source, arrangement: RowLayout, order: Order, holdout: Holdout, seed: int, comm: Comm
) -> tuple[LoadedRows, LoadedRows | None, PassStatistics]:
    """Bring the kept rows to their positions by `order`, the held ones to theirs; collective."""
    kept = source.total - holdout.held
    with comm.agree_on_errors():
        targets = [_destination(n, source, arrangement, seed, comm) for n in (kept, holdout.held)]
    seen = _travel(path, source, order, holdout, targets, comm)
    d = arrangement.features if arrangement.features is not None else source.features or seen.features
    if d == 0:
        raise ValueError(f"{path}: no row has a feature")
    dense = seen.nonzeros >= dense_from(d) * d * source.total if arrangement.dense is None else arrangement.dense
    with comm.agree_on_errors():
        main, held = [_finish(t, d, dense, arrangement) for t in targets]
    return main, held if holdout.held else None, seen


def checked(path: str, pieces: Iterator[RawRows]) -> Iterator[RawRows]:
    """Pass pieces on, refusing what is not finite and weights below zero."""
    for piece in pieces:
        values = piece.rows.values if isinstance(piece.rows, CsrRows) else piece.rows
        if not np.isfinite(values).all():
            raise ValueError(_not_finite(path, piece))
        for what, numbers in (("label", piece.label), ("weight", piece.weight)):
            _refuse(path, what, numbers, piece.start)
        yield piece


def _refuse(path: str, what: str, numbers: Vector | None, start: int) -> None:
    if numbers is None:
        return
    wrong = ~np.isfinite(numbers) | ((numbers < 0) & (what == "weight"))
    if what == "label" and np.isnan(numbers).all():
        return
    if wrong.any():
        i = int(np.argmax(wrong))
        allowed = "finite numbers" + (" of at least 0" if what == "weight" else "")
        raise ValueError(f"{path}, row {start + i + 1}: {what} {numbers[i]:g}; {allowed} are allowed")


def _not_finite(path: str, piece: RawRows) -> str:
    if isinstance(piece.rows, CsrRows):
        q = int(np.argmax(~np.isfinite(piece.rows.values)))
        i = int(np.searchsorted(piece.rows.indptr, q, side="right")) - 1
        column, value = int(piece.rows.indices[q]), piece.rows.values[q]
    else:
        i, column = (int(x) for x in np.argwhere(~np.isfinite(piece.rows))[0])
        value = piece.rows[i, column]
    return f"{path}, row {piece.start + i + 1}, feature {column + 1}: found {value:g}; finite numbers are allowed"


def _destination(total: int, source: Source, arrangement: RowLayout, seed: int, comm: Comm) -> Destination:
    start, stop = block(total, comm.size, comm.rank)
    n = stop - start
    order = generator(seed, _MEMORY, 0, comm.rank).permutation(n) if arrangement.shuffled else np.arange(n)
    if source.sparse:
        return Destination(total, comm, CsrSink(n, arrangement.dtype), order)
    width = padded((arrangement.features or source.features or 0) + arrangement.intercept)
    return Destination(total, comm, DenseSink(n, source.features or 0, width, arrangement.dtype), order)


def _travel(
    path: str, source: Source, order: Order, holdout: Holdout, targets: list[Destination], comm: Comm
) -> PassStatistics:
    pieces = checked(path, source.pieces(PIECE))
    seen = PassStatistics(features=source.features or 0)
    while True:
        with comm.agree_on_errors():
            piece = next(pieces, None)
        if not comm.max(np.array([piece is not None]))[0]:
            return of_all(seen, comm)
        if piece is not None:
            piece = note(piece, seen)
        _deliver(piece, order, holdout, targets)


def _deliver(piece: RawRows | None, order: Order, holdout: Holdout, targets: list[Destination]) -> None:
    mask, number = holdout.split(piece.start, len(piece)) if piece else (np.zeros(0, np.bool_), np.zeros(0, np.int64))
    rows = np.flatnonzero(~mask)
    targets[0].deliver(piece, rows, order(number[rows]))
    if holdout.held:
        rows = np.flatnonzero(mask)
        targets[1].deliver(piece, rows, number[rows])


def note(piece: RawRows, seen: PassStatistics) -> RawRows:
    """Add a piece to what is seen; give it without stored zeros."""
    label_bits = (piece.label + 0.0).view(np.uint64)
    weight = np.ones(len(piece)) if piece.weight is None else piece.weight + 0.0
    seen.weighted |= piece.weight is not None
    seen.unlabelled |= bool(np.isnan(piece.label).any())
    bits = weight.view(np.uint64)
    if isinstance(piece.rows, CsrRows):
        seen.features = max(seen.features, piece.rows.width)
        rows = without_zeros(piece.rows)
        seen.nonzeros += len(rows.values)
        part = kernels.checksum_csr(
            piece.start, label_bits, bits, rows.indptr, rows.indices, rows.values.view(np.uint64)
        )
        piece = RawRows(rows, piece.label, piece.weight, piece.start)
    else:
        seen.nonzeros += int(kernels.count_nonzeros(piece.rows).sum())
        part = kernels.checksum_dense(piece.start, label_bits, bits, np.ascontiguousarray(piece.rows).view(np.uint64))
    seen.checksum = (seen.checksum + int(part)) % 2**64
    return piece


def of_all(seen: PassStatistics, comm: Comm) -> PassStatistics:
    """Unite what the ranks saw; collective."""
    checksum = comm.sum(np.array([seen.checksum], np.uint64))[0]
    features, weighted, unlabelled = comm.max(np.array([seen.features, seen.weighted, seen.unlabelled], np.int64))
    nonzeros = comm.sum(np.array([seen.nonzeros]))[0]
    return PassStatistics(int(checksum), int(features), int(nonzeros), bool(weighted), bool(unlabelled))


def _finish(target: Destination, d: int, dense: bool, arrangement: RowLayout) -> LoadedRows:
    sink, spare = target.sink, int(arrangement.intercept)
    rows: Rows
    if isinstance(sink, CsrSink) and dense:
        rows = DenseRows(sink.spread(padded(d + spare)))
    elif isinstance(sink, CsrSink):
        rows = sink.finish(d + spare, spare)
    else:
        rows = DenseRows(sink.values) if dense else compressed(sink.values[:, :d], spare)
    if isinstance(rows, CsrRows) and spare:
        last = rows.indptr[1:] - 1
        rows.indices[last], rows.values[last] = d, 0
    return LoadedRows(rows, target.label, target.weight, target.order, target.start, target.total, d)

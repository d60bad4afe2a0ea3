"""A sample of the rows of a data set, large enough to time the work of a rank, and the total number of rows.

Only the head of a text file is read, and its rows are estimated from the file's size. Other formats store their
shape.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpiopt.comm.threads import single
from mpiopt.core.config.job import DataOptions
from mpiopt.core.partition import block
from mpiopt.data.dataset import Dataset, prepare_source
from mpiopt.data.formats.base import PIECE, RawRows, Source, find_reader
from mpiopt.data.formats.compressed_stream import read_head, without_packing
from mpiopt.data.given_offsets import linked
from mpiopt.data.row_checks import check_pieces
from mpiopt.data.row_formats import gathered
from mpiopt.data.shard import CsrRows, DenseRows, Rows, Shard
from mpiopt.data.tables.files import find_table
from mpiopt.data.tables.source import open_table
from mpiopt.objective.losses.base import loss_targets

HEAD = 16 << 20  # bytes of a text file that are read: about a second
NBYTES = 128 << 20  # bytes of the sample's rows: more than the caches of a processor


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows in a random order, as the shard of one rank, and the total number of rows."""

    data: Dataset
    rows: int  # N, to train on
    source: str  # where N comes from: given, read or estimated

    def shares(self, ranks: int) -> list[Shard]:
        """Return the rows of two ranks (or the only one) of `ranks`, as far as the sample has them.

        If it has all rows, they are those that these ranks of a run have, in the same order.
        """
        shard, count = self.data.shard, min(2, ranks)
        if len(shard) == self.rows == shard.total:
            return [shard] if ranks == 1 else [own(shard, which, ranks, count) for which in range(count)]
        n = max(1, min(self.rows_of_rank(ranks), len(shard) // count))
        return [part(shard, which * n, n, n * count) for which in range(count)]

    def rows_of_rank(self, ranks: int) -> int:
        """Return the rows of the rank with the most, out of `ranks`."""
        return -(-self.rows // ranks)


def part(shard: Shard, start: int, n: int, total: int) -> Shard:
    """Return rows start … start + n of a rank's memory as a shard of `total` rows, without a copy."""
    rows = shard.rows
    if isinstance(rows, CsrRows):
        first = int(rows.indptr[start])
        stored = slice(first, int(rows.indptr[start + n]))
        ends = rows.indptr[start : start + n + 1] - first
        cut: Rows = CsrRows(ends, rows.indices[stored], rows.values[stored], rows.width)
    else:
        cut = DenseRows(rows.values[start : start + n])
    label, weight = shard.label[start : start + n], shard.weight[start : start + n]
    return replace(
        shard,
        rows=cut,
        label=label,
        weight=weight,
        order=np.arange(n, dtype=np.int64),
        start=start,
        total=total,
        parts=None,
    )


def own(shard: Shard, which: int, ranks: int, count: int) -> Shard:
    """Return a copy of the rows that a rank of `ranks` has of the only rank's shard; `count` ranks have the total."""
    start, stop = block(shard.total, ranks, which)
    kept = np.flatnonzero((shard.order >= start) & (shard.order < stop))
    rows: Rows = gathered(shard.rows, kept) if isinstance(shard.rows, CsrRows) else DenseRows(shard.rows.values[kept])
    return replace(
        shard,
        rows=rows,
        label=shard.label[kept],
        weight=shard.weight[kept],
        order=shard.order[kept] - start,
        start=start,
        total=block(shard.total, ranks, count - 1)[1],
        parts=None if shard.parts is None else np.searchsorted(kept, shard.parts),
    )


@dataclass(eq=False)
class _PiecesInMemory(Source):
    taken: Sequence[RawRows]

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        return iter(self.taken)


def take(
    path: str, target: str, options: DataOptions, rows: int | None, seed: int, most: int = NBYTES, link: str = ""
) -> Sample:
    """Read up to `most` bytes of rows; `rows` is the total number, None to take it from the data; local.

    `link` is how the loss takes offsets, as for `dataset.prepare`.

    Raises
    ------
    ValueError
        As `dataset.prepare`.
    """
    table = find_table(path, options.format, options.columns.names_any)
    if table is not None:
        source = open_table(table, options, target, link, single())
        return _sample(*_taken(source, target, options, seed, most), 1.0, rows, options.holdout)
    reader = find_reader(path, options.format)
    with tempfile.TemporaryDirectory() as folder:
        name, part = path, 1.0
        if reader.lines and os.path.getsize(path) > HEAD:
            name, part = _write_head(path, folder)
        try:
            source = linked(reader.open(name, single(), options.features), link)
            data, total = _taken(source, target, options, seed, most)
        except ValueError as error:
            raise ValueError(str(error).replace(name, path)) from None
    return _sample(data, total, part, rows, options.holdout)


def _sample(data: Dataset, total: int, part: float, rows: int | None, holdout: float) -> Sample:
    """Return a sample of `total` rows, which are a part of the file; `rows` is their number, if it is given."""
    origin = "given" if rows else ("estimated" if part < 1.0 else "read")
    every = rows or max(1, round(total / part))
    return Sample(data, max(1, round(every * (1.0 - holdout))), origin)


def _write_head(path: str, folder: str) -> tuple[str, float]:
    """Write the head of a text file into `folder`; return its path and its part of the whole file."""
    text, part = read_head(path, HEAD)
    plain = Path(without_packing(path)).name
    name = str(Path(folder, plain))
    Path(name).write_bytes(text)
    return name, part


def _taken(source: Source, target: str, options: DataOptions, seed: int, most: int) -> tuple[Dataset, int]:
    taken: list[RawRows] = []
    nbytes = 0
    for piece in check_pieces(source):
        taken.append(_copied(piece))
        nbytes += piece.rows.nbytes
        if nbytes >= most:
            break
    if not taken:
        raise ValueError(f"{source.path}: there are no rows")
    held = _PiecesInMemory(
        source.path,
        sum(map(len, taken)),
        source.features,
        source.sparse,
        source.names,
        0,
        taken,
        offsets_stay=source.offsets_stay,
    )
    alike = replace(options, shards="shuffled", holdout=0.0, test="")
    return prepare_source(held, target, alike, seed, single(), loss_targets()), source.total


def _copied(piece: RawRows) -> RawRows:
    """Return a copy of a piece, which may be a view of its reader's buffer."""
    weight = None if piece.weight is None else np.array(piece.weight)
    rows = piece.rows
    if isinstance(rows, CsrRows):
        kept = CsrRows(np.array(rows.indptr), np.array(rows.indices), np.array(rows.values), rows.width)
        return replace(piece, rows=kept, label=np.array(piece.label), weight=weight)
    return replace(piece, rows=np.array(rows), label=np.array(piece.label), weight=weight)

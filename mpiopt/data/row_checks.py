"""Check the rows of a file while they are read, and collect what one pass learns of the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.seal import DamagedFile
from mpiopt.data.formats.base import PIECE, RawRows, Source
from mpiopt.data.row_formats import without_zeros
from mpiopt.data.shard import CsrRows, Rows, Vector
from mpiopt.kernels import row_moves

# Rows are stored dense if this fraction of their entries, or more, is nonzero. On short rows, of few columns, the
# dense kernels win earlier (measured).
DENSE, DENSE_SHORT = 0.25, 0.08
SHORT = 128  # columns
FLOAT32_LIMIT = float(
    np.nextafter(float(np.finfo(np.float32).max) * (1.0 + 2.0**-25), 0.0)
)  # the last to be rounded down
OF_OFFSET = 0x9E3779B97F4A7C15  # odd: what the bits of an offset are multiplied by beside those of the weight
OF_EXPOSURE = 0xC2B2AE3D27D4EB4F  # odd, too
BEYOND_FLOAT32 = "float32 holds numbers up to 3.4e+38: leave out --float32, or divide the column"


@dataclass(eq=False)
class FileStatistics:
    """What one pass learns of a file: of this rank's rows, or after `over_ranks` of all."""

    checksum: int = 0  # the same on any number of ranks and in any format
    features: int = 0
    nonzeros: int = 0
    weighted: bool = False
    unlabelled: bool = False

    def add(self, piece: RawRows) -> RawRows:
        """Add a piece; return it without stored zeros."""
        label = (piece.label + 0.0).view(np.uint64)
        weight = np.ones(len(piece)) if piece.weight is None else piece.weight + 0.0
        self.weighted |= piece.weight is not None
        self.unlabelled |= bool(np.isnan(piece.label).any())
        bits = weight.view(np.uint64)
        if piece.offset_stays and piece.offset is not None:
            bits = bits + (piece.offset + 0.0).view(np.uint64) * np.uint64(OF_OFFSET)
        if piece.exposure is not None:
            bits = bits + (piece.exposure + 0.0).view(np.uint64) * np.uint64(OF_EXPOSURE)
        if isinstance(piece.rows, CsrRows):
            self.features = max(self.features, piece.rows.width)
            rows = without_zeros(piece.rows)
            self.nonzeros += len(rows.values)
            part = row_moves.checksum_csr(
                piece.start, label, bits, rows.indptr, rows.indices, rows.values.view(np.uint64)
            )
            piece = replace(piece, rows=rows)
        else:
            self.nonzeros += int(row_moves.count_nonzeros(piece.rows).sum())
            part = row_moves.checksum_dense(
                piece.start, label, bits, np.ascontiguousarray(piece.rows).view(np.uint64)
            )
        self.checksum = (self.checksum + int(part)) % 2**64
        return piece

    def over_ranks(self, comm: Comm) -> FileStatistics:
        """Return the statistics of all ranks' rows; collective."""
        checksum = comm.sum(np.array([self.checksum], np.uint64))[0]
        features, weighted, unlabelled = comm.max(np.array([self.features, self.weighted, self.unlabelled], np.int64))
        nonzeros = comm.sum(np.array([self.nonzeros]))[0]
        return FileStatistics(int(checksum), int(features), int(nonzeros), bool(weighted), bool(unlabelled))

    def prefers_dense(self, columns: int, total: int) -> bool:
        """Return whether `total` rows of `columns` features are faster in dense form."""
        return self.nonzeros >= (DENSE_SHORT if columns <= SHORT else DENSE) * columns * total


def check_pieces(source: Source, nbytes: int = PIECE, dtype: type[np.floating] = np.float64) -> Iterator[RawRows]:
    """Yield the pieces; raise ValueError at a number that is not finite in `dtype` or a negative weight."""
    path, limit = source.path, FLOAT32_LIMIT if dtype == np.float32 else np.inf
    for piece in source.pieces(nbytes):
        values = piece.rows.values if isinstance(piece.rows, CsrRows) else piece.rows
        if not np.isfinite(values).all():
            raise ValueError(_describe(path, piece, ~np.isfinite(values)) + "; finite numbers are allowed")
        if limit < max(values.max(initial=0.0), -values.min(initial=0.0)):
            raise ValueError(f"{_describe(path, piece, np.abs(values) > limit)}; {BEYOND_FLOAT32}")
        if not np.isnan(piece.label).all():  # the file has labels
            _check_numbers(path, "label", piece.label, piece.start, -np.inf)
        if piece.weight is not None:
            _check_numbers(path, "weight", piece.weight, piece.start, 0)
        yield piece


def refuse_changed(path: str, stated: str | None, found: FileStatistics) -> None:
    """Raise ValueError if the content of all ranks' rows has not the checksum that the file states, if it does."""
    checksum = f"{found.checksum:016x}"
    if stated not in (None, checksum):
        raise DamagedFile(f"{path}: is damaged: its content has checksum {checksum}; the file states {stated}")


def rounded(pieces: Iterator[RawRows], dtype: type[np.floating]) -> Iterator[RawRows]:
    """Yield the pieces with their values as a file of this type holds them."""
    for piece in pieces:
        if dtype == np.float64:
            yield piece
        elif isinstance(piece.rows, CsrRows):
            values = piece.rows.values.astype(dtype).astype(np.float64)
            yield replace(piece, rows=replace(piece.rows, values=values))
        else:
            yield replace(piece, rows=piece.rows.astype(dtype).astype(np.float64))


def refuse_beyond_float32(rows: Rows) -> None:
    """Raise ValueError, without the file's name, at a number, scaled already, that does not fit float32."""
    values = rows.values
    if values.dtype == np.float32 or max(values.max(initial=0.0), -values.min(initial=0.0)) <= FLOAT32_LIMIT:
        return
    at = int(np.argmax(np.abs(values) > FLOAT32_LIMIT))
    column = rows.indices[at] if isinstance(rows, CsrRows) else at % rows.width
    raise ValueError(f"feature {column + 1}: found {values.flat[at]:g} when scaled; {BEYOND_FLOAT32}")


def _check_numbers(path: str, what: str, numbers: Vector, start: int, least: float) -> None:
    wrong = ~np.isfinite(numbers) | (numbers < least)
    if wrong.any():
        i = int(np.argmax(wrong))
        allowed = "finite numbers" + (f" of at least {least}" if least == 0 else "")
        raise ValueError(f"{path}, row {start + i + 1}: {what} {numbers[i]:g}; {allowed} are allowed")


def _describe(path: str, piece: RawRows, wrong: NDArray[np.bool_]) -> str:
    """Return the place and the value of the first number that is wrong."""
    if isinstance(piece.rows, CsrRows):
        q = int(np.argmax(wrong))
        i = int(np.searchsorted(piece.rows.indptr, q, side="right")) - 1
        column, value = int(piece.rows.indices[q]), piece.rows.values[q]
    else:
        i, column = (int(x) for x in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        value = piece.rows[i, column]
    return f"{path}, row {piece.start + i + 1}, feature {column + 1}: found {value:g}"

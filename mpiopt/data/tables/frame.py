"""Frames in memory as tables: pandas, Polars and Arrow, each rank with its own rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.comm.threads import single
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.data.shard import CsrRows, Vector
from mpiopt.data.tables import arrow
from mpiopt.data.tables.column import Column
from mpiopt.data.tables.columns import columns_of
from mpiopt.data.tables.encode import Encoder
from mpiopt.data.tables.report import fit_lines
from mpiopt.data.tables.source import refuse_other_columns_than
from mpiopt.data.tables.survey import Survey, batches_kept, survey
from mpiopt.data.tables.table import ROWS, Batch, Table, agreed_kinds, agreed_orders, refuse_twice

NAME = "x"  # what messages call a frame
PLAIN = "biuf"  # numbers, in numpy's letters


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """Rows in the form that `mpiopt.fit` takes, with the names that scipy gives the parts of a CSR matrix."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: Vector
    shape: tuple[int, int]
    has_canonical_format: bool = True

    ndim = 2

    @property
    def dtype(self) -> Any:
        """The type of the entries."""
        return self.data.dtype

    def tocsr(self) -> SparseMatrix:
        """Return the matrix itself."""
        return self


Matrix = NDArray[np.float64] | SparseMatrix


class EncodedFrame(NamedTuple):
    """The features of a frame, and the columns that they come from."""

    matrix: Matrix
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return Encoder(self.columns).names


class FrameTable(Table):
    """A frame of which each rank has its own rows."""

    form = "frame"

    def __init__(self, frame: Any, comm: Comm) -> None:
        with comm.agree_on_errors():
            self._rows = as_arrow(frame)
            refuse_twice(NAME, self._rows.column_names)
            mine = {
                field.name: arrow.kind_of(field.type, f"{NAME}: column {field.name!r}") for field in self._rows.schema
            }
        own = {
            field.name: arrow.order_in([self._rows.column(field.name)])
            for field in self._rows.schema
            if arrow.has_order(field.type)
        }
        every = allgather_json(comm, [mine, self._rows.num_rows])
        self.orders = agreed_orders(NAME, allgather_json(comm, own))
        if any({*kinds} != {*mine} for kinds, _ in every):
            raise ValueError("the frames of the ranks have different feature names")
        kinds = {title: agreed_kinds([kinds[title] for kinds, _ in every]) for title in mine}
        different = next((title for title, kind in kinds.items() if not kind), None)
        if different is not None:
            raise ValueError(f"{NAME}: column {different!r} has different types on different ranks")
        self._start = sum(rows for _, rows in every[: comm.rank])
        super().__init__(NAME, kinds, sum(rows for _, rows in every), 0)

    def batches(self, kinds: Mapping[str, str]) -> Iterator[Batch]:
        """Read some columns of this rank's rows."""
        for start in range(0, self._rows.num_rows, ROWS):
            part = self._rows.slice(start, ROWS).combine_chunks()
            cells = {title: _array(part.column(title)) for title in kinds}
            yield Batch(cells, part.num_rows, self._start + start, NAME, start)


def _array(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def is_frame(x: Any) -> bool:
    """Return whether rows are a frame whose columns must be encoded: one of them holds no plain numbers."""
    kind = type(x).__module__.partition(".")[0]
    if kind == "pyarrow":
        return hasattr(x, "column_names")
    dtypes = getattr(x, "dtypes", None)
    if dtypes is None or not hasattr(x, "columns"):
        return False
    if kind == "polars":
        return not all(dtype.is_numeric() for dtype in dtypes)
    return any(getattr(dtype, "kind", "O") not in PLAIN for dtype in dtypes)


def as_arrow(frame: Any) -> Any:
    """Return a frame as a table of Arrow, without a copy where its owner allows it.

    Raises
    ------
    ValueError
        If a column holds values of several types, or the titles are no text.
    """
    pa = arrow.load()
    if isinstance(frame, pa.Table):
        return frame
    titles = list(getattr(frame, "columns", []))
    if not all(isinstance(title, str) for title in titles):
        raise ValueError("the columns of a frame with words need titles of text: frame.columns = [...]")
    try:
        if type(frame).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(frame, preserve_index=False)
        return pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as error:
        raise ValueError(f"the frame cannot be read by columns: {' '.join(str(error).split())}") from None


def encode_frame(frame: Any, options: ColumnOptions, comm: Comm) -> EncodedFrame:
    """Return the features of this rank's rows, with levels and fills of the rows of all ranks; collective.

    Raises
    ------
    ValueError
        On all ranks: gaps that are refused, too many levels, columns of other types than words, numbers and dates.
    """
    table = FrameTable(frame, comm)
    planned = columns_of(table, options)
    if any(column.gaps == "drop" for column in planned):
        raise ValueError("gaps='drop' is not for frames, whose labels are apart: leave out the rows of both")
    known = survey(table, planned, options.max_levels, comm)
    return EncodedFrame(_encoded(table, known, Encoder(known.columns)), known.columns)


def apply_to_frame(frame: Any, trained: Sequence[Column]) -> tuple[Matrix, list[str]]:
    """Return the features of a frame for a model, and lines about levels and gaps that the training had not; local.

    Raises
    ------
    ValueError
        If a column is missing, or has another type, or gaps or levels that the model refuses.
    """
    comm = single()
    table = FrameTable(frame, comm)
    refuse_other_columns_than(table, trained)
    applied = tuple(replace(column) for column in trained)
    notes = fit_lines(table, applied, comm, only_new=True)
    starts = {start: start for start in range(0, table.total, ROWS)}
    return _encoded(table, Survey(applied, table.total, starts, 0), Encoder(applied)), notes


def _encoded(table: Table, known: Survey, encoder: Encoder) -> Matrix:
    parts = [encoder.rows(cells, start).rows for _, cells, start in batches_kept(table, known.columns, known.starts)]
    if not encoder.sparse:
        return np.concatenate([np.empty((0, encoder.features)), *(p for p in parts if isinstance(p, np.ndarray))])
    sparse = [part for part in parts if isinstance(part, CsrRows)]
    lengths = [np.diff(part.indptr) for part in sparse]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, np.int64), *lengths]))]).astype(np.int64)
    indices = np.concatenate([np.empty(0, np.int32), *(part.indices for part in sparse)])
    values = np.concatenate([np.empty(0), *(part.values for part in sparse)])
    return SparseMatrix(indptr, indices, values, (len(indptr) - 1, encoder.features))

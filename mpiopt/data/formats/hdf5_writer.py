"""The writer of `mpiopt convert`.

The file has `/X` (n, d), or `/indptr` (n + 1), `/indices`, `/data`; `/y` (n,), `/weight` (n,) if there are weights,
`/offset` and `/exposure` (n,) of a table that has them, `/names` and `/classes` if known, `/schema` of a table of
columns; attributes `format`, `version`, `shape` and `checksum`; and a seal at its end. HDF5 lays it out in memory,
and the ranks write their rows with plain system calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.core.files import PlainFile
from mpiopt.core.hdf5_skeleton import Skeleton
from mpiopt.data.formats.hdf5 import FORMAT, VERSION
from mpiopt.data.shard import Vector


@dataclass(frozen=True)
class WritePlan:
    """The content of a file to write: datasets with shape and type, attributes, and what rank 0 writes alone."""

    datasets: dict[str, tuple[tuple[int, ...], Any]]
    attributes: dict[str, Any]
    names: list[str] | None
    classes: Vector | None
    schema: bytes = b""  # of a table, as JSON


class RowSlab(NamedTuple):
    """Rows for a dataset."""

    dataset: str
    start: int  # first row there
    rows: Array


def write(path: str, plan: WritePlan, next_slabs: Callable[[], Sequence[RowSlab] | None], comm: Comm) -> None:
    """Write what `next_slabs` returns, call after call, until it returns None on every rank; collective.

    Every rank writes its rows at their places in one new file, which lies on the disk at the end. `next_slabs` must
    not raise except by `Comm.agree`.
    """
    skeleton, offsets = None, np.zeros(len(plan.datasets), np.int64)
    with comm.agree_on_errors():
        if comm.rank == 0:
            with PlainFile(Path(path)):
                skeleton = Skeleton()
            offsets[:] = [skeleton.reserve(name, shape, dtype) for name, (shape, dtype) in plan.datasets.items()]
            _describe(skeleton.file, plan)
    places = dict(zip(plan.datasets, comm.broadcast(offsets).tolist(), strict=True))
    error: Exception | None = None
    try:
        with PlainFile(Path(path), new=False) as file:
            error = _write_all(file, plan, places, next_slabs, comm)
            if error is None and skeleton is not None:
                for part in skeleton.close().all_parts:
                    file.write_at(part.start, part.content)
    except OSError as failure:
        error = error or failure
    comm.agree(error)


def _describe(file: h5py.File, plan: WritePlan) -> None:
    """Add what is small: the names, the classes, the attributes."""
    if plan.names:
        file.create_dataset("names", data=np.array([n.encode() for n in plan.names]))
    if plan.classes is not None:
        file.create_dataset("classes", data=plan.classes)
    if plan.schema:
        file.create_dataset("schema", data=np.bytes_(plan.schema))
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    for name, value in plan.attributes.items():
        file.attrs[name] = value


def _write_all(
    file: PlainFile,
    plan: WritePlan,
    places: Mapping[str, int],
    next_slabs: Callable[[], Sequence[RowSlab] | None],
    comm: Comm,
) -> Exception | None:
    """Write until there is nothing more, or until a rank fails; return this rank's error."""
    error: Exception | None = None
    while True:
        mine = next_slabs()
        more, failed = comm.max(np.array([mine is not None, error is not None]))
        if failed or not more:
            return error
        try:
            for name, start, rows in mine or []:
                shape, dtype = plan.datasets[name]
                content = np.ascontiguousarray(rows, dtype).reshape(-1).view(np.uint8)
                row_nbytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64))
                file.write_at(places[name] + start * row_nbytes, content.data)
        except OSError as failure:
            error = failure

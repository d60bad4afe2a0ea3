"""What the HDF5 readers share, and the writer of `mpiopt convert`.

The file written has `/X` (n, d), or `/indptr` (n + 1), `/indices`, `/data`; `/y` (n,), `/weight` (n,) if there are
weights, `/names` and `/classes` if known; attributes `format`, `version`, `shape`, `checksum`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.data.shard import Vector

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMAT, VERSION = "mpiopt-data", 1


class Stated(NamedTuple):
    """What a file says of its rows besides the rows themselves."""

    nbytes: int  # of the file, for each rank
    names: list[str] | None  # of the features
    features: int | None
    checksum: str | None  # written by `mpiopt convert`


def open_data(path: str) -> h5py.File:
    """Open a data file to read; one that is cut off, not HDF5, or of an unknown version is a ValueError."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"{path}: is not a whole HDF5 file: {error}") from None
    form, version = file.attrs.get("format", FORMAT), file.attrs.get("version", VERSION)
    kind = str(file.attrs.get("kind", f"HDF5 file of format {form}"))
    if form == FORMAT and version == VERSION:
        return file
    file.close()
    if form != FORMAT:
        raise ValueError(f"{path}: expected a data set, found an {kind}; give the file that holds the rows")
    raise ValueError(f"{path}: has version {version}; this program reads version {VERSION}")


def is_csr(path: str) -> bool:
    """Return whether the file holds rows in CSR form; False if it cannot be opened."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return all(isinstance(file.get(name), h5py.Dataset) for name in ("indptr", "indices", "data"))
    except OSError:
        return False


def dataset(path: str, file: h5py.File, name: str, axes: int, length: int | None) -> h5py.Dataset:
    """Return the dataset `name`; ValueError if it is missing, has other axes or length, or no real numbers."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        known: list[str] = []
        file.visititems(lambda n, item: known.append(n) if isinstance(item, h5py.Dataset) else None)
        raise ValueError(f"{path}: has no dataset {name!r}; it has: {', '.join(known[:20]) or 'none'}")
    if found.ndim != axes or found.dtype.kind not in "biuf" or (length is not None and len(found) != length):
        wanted = f"{axes} axes of real numbers" + (f", length {length}" if length is not None else "")
        raise ValueError(f"{path}: dataset {name!r} has shape {found.shape}, type {found.dtype}; needed: {wanted}")
    return found


def read_slice(path: str, file: h5py.File, name: str, start: int, stop: int, dtype: Any) -> Array:
    """Read rows start … stop-1 of a dataset."""
    try:
        return np.ascontiguousarray(file[name][start:stop], dtype)
    except OSError as error:
        raise ValueError(f"{path}: dataset {name!r} cannot be read: {error}") from None


def check_vectors(path: str, file: h5py.File, names: Sequence[str], n: int) -> None:
    """Raise ValueError unless those of the datasets `names` that exist are n real numbers."""
    for name in names:
        if name in file:
            dataset(path, file, name, 1, n)


def read_vectors(path: str, file: h5py.File, names: Sequence[str], start: int, stop: int) -> list[Array | None]:
    """Read entries start … stop-1 of the datasets `names`; None for one that does not exist."""
    return [read_slice(path, file, name, start, stop, np.float64) if name in file else None for name in names]


def stated(path: str, file: h5py.File, ranks: int) -> Stated:
    """Read what a file says of its rows; `ranks` share the reading."""
    names = [n.decode() for n in file["names"][:]] if "names" in file else None
    shape, checksum = file.attrs.get("shape"), file.attrs.get("checksum")
    return Stated(
        os.path.getsize(path) // ranks,
        names,
        None if shape is None else int(shape[1]),
        checksum.decode() if isinstance(checksum, bytes) else None,
    )


@dataclass(frozen=True)
class WritePlan:
    """The content of a file to write: datasets with shape and type, attributes, and what rank 0 writes alone."""

    datasets: dict[str, tuple[tuple[int, ...], Any]]
    attributes: dict[str, Any]
    names: list[str] | None
    classes: Vector | None


class RowSlab(NamedTuple):
    """Rows for a dataset."""

    dataset: str
    start: int  # first row there
    rows: Array


def write(path: str, plan: WritePlan, next_slabs: Callable[[], Sequence[RowSlab] | None], comm: Comm) -> None:
    """Write what `next_slabs` returns, call after call, until it returns None on every rank; collective.

    All ranks write in parallel if h5py has MPI and `comm` an MPI communicator `raw`; else rank 0 writes for all,
    piece by piece. `next_slabs` must not raise except by `Comm.agree`.
    """
    raw = comm.raw if h5py.get_config().mpi else None
    file = None
    with comm.agree_on_errors():
        if raw is not None:
            file = h5py.File(path, "w", driver="mpio", comm=raw)
        elif comm.rank == 0:
            file = h5py.File(path, "w")
        _create(file, plan)
    error = _write_all(file, next_slabs, comm, on_root=raw is None)
    try:
        if file is not None:
            _finish(file, plan, comm.rank)
            file.close()
    except (OSError, RuntimeError) as failure:
        error = error or OSError(str(failure))
    comm.agree(error)


def _create(file: h5py.File | None, plan: WritePlan) -> None:
    if file is None:
        return
    for name, (shape, dtype) in plan.datasets.items():  # not chunked, so that reading and writing copy nothing
        file.create_dataset(name, shape, dtype)
    if plan.names:
        file.create_dataset("names", (len(plan.names),), f"S{max(len(n.encode()) for n in plan.names)}")
    if plan.classes is not None:
        file.create_dataset("classes", plan.classes.shape, np.float64)
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    for name, value in plan.attributes.items():
        file.attrs[name] = value


def _finish(file: h5py.File, plan: WritePlan, rank: int) -> None:
    if rank == 0 and plan.names:
        file["names"][:] = [n.encode() for n in plan.names]
    if rank == 0 and plan.classes is not None:
        file["classes"][:] = plan.classes


def _write_all(
    file: h5py.File | None, next_slabs: Callable[[], Sequence[RowSlab] | None], comm: Comm, on_root: bool
) -> Exception | None:
    error: Exception | None = None
    while True:
        mine = next_slabs()
        if not comm.max(np.array([mine is not None]))[0]:
            return error
        for batch in _gather_on_root(mine or [], comm) if on_root else [mine or []]:
            try:
                for name, start, rows in batch:
                    if file is not None and len(rows) and error is None:
                        file[name][start : start + len(rows)] = rows
            except (OSError, RuntimeError) as failure:
                error = OSError(str(failure))


def _gather_on_root(mine: Sequence[RowSlab], comm: Comm) -> list[Sequence[RowSlab]]:
    """Send the slabs of all ranks to rank 0, which returns them."""
    nothing = np.empty(0, np.uint8)
    packed = np.frombuffer(pickle.dumps(list(mine)), np.uint8)
    received = comm.alltoall([packed if r == 0 else nothing for r in range(comm.size)])
    return [pickle.loads(c.tobytes()) if len(c) else [] for c in received]

"""What the HDF5 readers share, and the writer of `mpiopt convert`.

The form written: `/X` (n, d), or `/indptr` (n + 1), `/indices`, `/data`; `/y` (n,), `/weight` (n,) if there are
weights, `/names` and `/classes` where known; attributes `format`, `version`, `shape`, `checksum`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from mpiopt.comm.base import Array, Comm
from mpiopt.data.shard import Vector

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMAT, VERSION = "mpiopt-data", 1


def opened(path: str) -> h5py.File:
    """Open a file to read.

    Raises
    ------
    ValueError
        If it is cut off, no HDF5, or of an unknown version.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"{path}: is not a whole HDF5 file: {error}") from None
    form, version = file.attrs.get("format", FORMAT), file.attrs.get("version", VERSION)
    if form == FORMAT and version == VERSION:
        return file
    file.close()
    if form != FORMAT:
        raise ValueError(f"{path}: is a file of format {form!r}; a data set is needed")
    raise ValueError(f"{path}: has version {version}; this program reads version {VERSION}")


def is_csr(path: str) -> bool:
    """Say whether the file holds rows in CSR form; one that cannot be opened does not."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return all(isinstance(file.get(name), h5py.Dataset) for name in ("indptr", "indices", "data"))
    except OSError:
        return False


def dataset(path: str, file: h5py.File, name: str, axes: int, length: int | None) -> h5py.Dataset:
    """Give the dataset `name` after checking its shape and type.

    Raises
    ------
    ValueError
        If it is missing, holds no real numbers, or has other axes or another length.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        known: list[str] = []
        file.visititems(lambda n, item: known.append(n) if isinstance(item, h5py.Dataset) else None)
        raise ValueError(f"{path}: has no dataset {name!r}; it has: {', '.join(known[:20]) or 'none'}")
    if found.ndim != axes or found.dtype.kind not in "biuf" or (length is not None and len(found) != length):
        wanted = f"{axes} axes of real numbers" + (f", length {length}" if length is not None else "")
        raise ValueError(f"{path}: dataset {name!r} has shape {found.shape}, type {found.dtype}; needed: {wanted}")
    return found


def slice_of(path: str, file: h5py.File, name: str, start: int, stop: int, dtype: Any) -> Array:
    """Read rows start … stop-1 of a dataset."""
    try:
        return np.ascontiguousarray(file[name][start:stop], dtype)
    except OSError as error:
        raise ValueError(f"{path}: dataset {name!r} cannot be read: {error}") from None


def names_of(file: h5py.File) -> list[str] | None:
    """Give the names of the features, where the file has them."""
    return [n.decode() for n in file["names"][:]] if "names" in file else None


def stated_checksum(file: h5py.File) -> str | None:
    """Give the checksum that `mpiopt convert` wrote, if any."""
    found = file.attrs.get("checksum")
    return found.decode() if isinstance(found, bytes) else None


def attribute(file: h5py.File, name: str) -> Any:
    """Give an attribute, or None."""
    return file.attrs.get(name)


@dataclass(frozen=True)
class WritePlan:
    """What is to be written: the datasets with shape and type, and small things that rank 0 writes."""

    datasets: dict[str, tuple[tuple[int, ...], Any]]
    attributes: dict[str, Any]
    names: list[str] | None
    classes: Vector | None


Part = tuple[str, int, Array]  # dataset, first row, rows


def write(path: str, plan: WritePlan, parts: Callable[[], Sequence[Part] | None], comm: Comm) -> None:
    """Write what `parts` gives, call after call, on every rank until it gives None everywhere; collective.

    In parallel where h5py has MPI and `comm` has a communicator `raw`; else through rank 0, piece by piece.
    `parts` must not raise except by `Comm.agree`.
    """
    raw = getattr(comm, "raw", None) if h5py.get_config().mpi else None
    file = None
    error: Exception | None = None
    try:
        if raw is not None:
            file = h5py.File(path, "w", driver="mpio", comm=raw)
        elif comm.rank == 0:
            file = h5py.File(path, "w")
        _create(file, plan)
    except OSError as failure:
        error = failure
    comm.agree(error)
    error = _write_all(file, parts, comm, together=raw is None)
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
    for name, (shape, dtype) in plan.datasets.items():  # contiguous: read and written without a second copy
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
    file: h5py.File | None, parts: Callable[[], Sequence[Part] | None], comm: Comm, together: bool
) -> Exception | None:
    error: Exception | None = None
    while True:
        mine = parts()
        if not comm.max(np.array([mine is not None]))[0]:
            return error
        for batch in _gathered(mine or [], comm) if together else [mine or []]:
            try:
                for name, start, rows in batch:
                    if file is not None and len(rows) and error is None:
                        file[name][start : start + len(rows)] = rows
            except (OSError, RuntimeError) as failure:
                error = OSError(str(failure))


def _gathered(mine: Sequence[Part], comm: Comm) -> list[Sequence[Part]]:
    """Bring the parts of all ranks to rank 0."""
    import pickle

    nothing = np.empty(0, np.uint8)
    packed = np.frombuffer(pickle.dumps(list(mine)), np.uint8)
    came = comm.alltoall([packed if r == 0 else nothing for r in range(comm.size)])
    return [pickle.loads(c.tobytes()) if len(c) else [] for c in came]

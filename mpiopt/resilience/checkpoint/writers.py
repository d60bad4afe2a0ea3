"""The two forms of a checkpoint: one shared file through parallel HDF5, or one file a rank and a manifest.

To a reader they look the same: the manifest shows the shards as one file by virtual datasets. Both give their files
for the caller to put in place; until then nothing of before has been touched.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.files import cause, sync
from mpiopt.core.hdf5 import LIBVER, ErrorKeepingFile
from mpiopt.core.state import Layout
from mpiopt.resilience.checkpoint.header import Field, Head, Meta, write_head
from mpiopt.resilience.checkpoint.slabs import Slab, write

FAILURES = (OSError, RuntimeError, ValueError)  # what h5py raises when a write fails


def write_parallel(
    path: Path, k: int, slabs: list[Slab], total: int, meta: Meta, comm: Comm, hints: Mapping[str, str] | None = None
) -> None:
    """Write `path`.partial, all ranks into one file; collective. `hints` are for MPI-IO."""
    partial = f"{path}.partial"
    f, error = _try(path, lambda: h5py.File(partial, "w", libver=LIBVER, **shared(comm, hints or {})))
    comm.agree(error)
    # With the file open nothing is raised: whatever fails, and on whichever rank, all ranks close it together.
    datasets, error = _try(path, lambda: [f.create_dataset(f"state/{s.name}", s.shape, s.rows.dtype) for s in slabs])
    if not _any(error, comm):
        checksums, error = _try(path, lambda: [write(d, s, s.start) for d, s in zip(datasets, slabs, strict=True)])
    if not _any(error, comm):
        head = _head(k, slabs, checksums, [], total, meta, comm)
        _, error = _try(path, lambda: write_head(f, head, comm.rank))
    _, late = _try(path, f.close)
    if not (error or late):
        _, late = _try(path, lambda: sync(Path(partial)))
    comm.agree(error or late)


def shared(comm: Comm, hints: Mapping[str, str]) -> dict[str, Any]:
    """Give what h5py needs to open one file on all ranks."""
    options: dict[str, Any] = {"driver": "mpio", "comm": comm.raw}
    return options | {"info": comm.info(hints)} if hints else options  # type: ignore[attr-defined]


def write_sharded(path: Path, k: int, slabs: list[Slab], total: int, meta: Meta, comm: Comm) -> None:
    """Write one file for each rank, beside `path`, and the manifest `path`.partial; collective."""
    names = shard_names(path, comm.size)
    mine = path.with_name(names[comm.rank])
    checksums, error = _try(mine, lambda: write_shard(mine, slabs))
    comm.agree(error)
    head = _head(k, slabs, checksums, names, total, meta, comm)
    error = None
    if comm.rank == 0:
        _, error = _try(path, lambda: Path(f"{path}.partial").write_bytes(manifest(head)))
    comm.agree(error)


def shard_names(path: Path, size: int) -> list[str]:
    """Give the files of the ranks, which lie beside `path`."""
    return [f"{path.stem}.shard-{rank}-of-{size}.h5" for rank in range(size)]


def write_shard(path: Path, slabs: list[Slab]) -> list[int]:
    """Write one rank's file, to the disk; give the CRC-32 of each slab."""
    with ErrorKeepingFile(path) as out:
        with h5py.File(out, "w", libver=LIBVER) as f:
            datasets = [f.create_dataset(f"state/{s.name}", s.rows.shape, s.rows.dtype) for s in slabs]
            checksums = [write(d, s, 0) for d, s in zip(datasets, slabs, strict=True)]
        out.check()
    sync(path)
    return checksums


def _try(path: Path, work: Callable[[], Any]) -> tuple[Any, OSError | None]:
    try:
        return work(), None
    except FAILURES as failure:
        return None, OSError(f"cannot write {path}: {cause(failure)}")


def _any(error: Exception | None, comm: Comm) -> bool:
    return bool(comm.max(np.array([error is not None], np.int64))[0])


def _head(
    k: int, slabs: list[Slab], checksums: list[int], files: list[str], total: int, meta: Meta, comm: Comm
) -> Head:
    mine = [[s.start, s.stop, crc] for s, crc in zip(slabs, checksums, strict=True)]
    every = np.array(comm.allgather(np.array([mine], np.int64).reshape(1, len(slabs), 3)))[:, 0]
    return head_of(k, slabs, every, files, total, meta)


def head_of(k: int, slabs: list[Slab], every: NDArray[np.int64], files: list[str], total: int, meta: Meta) -> Head:
    """Make the head; `every` has start, stop and CRC-32 of each rank's slabs, shape (ranks, slabs, 3)."""
    fields = {
        s.name: Field(s.layout.name, s.rows.dtype.str, list(s.shape), *every[:, i].T.tolist())
        for i, s in enumerate(slabs)
    }
    return Head(k, len(every), total, files, meta, fields)


def manifest(head: Head) -> bytes:
    """Give the file that shows the ranks' files as one."""
    # Not HDF5's own memory image: 1.10 leaves a wrong superblock checksum in it.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        for name, field in head.fields.items():
            f.create_virtual_dataset(f"state/{name}", _virtual(f"state/{name}", field, head.files))
        write_head(f, head, 0)
    return image.getvalue()


def _virtual(name: str, field: Field, files: list[str]) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout(tuple(field.shape), np.dtype(field.dtype))
    for file, start, stop in zip(files, field.starts, field.stops, strict=True):
        if stop > start and Layout[field.layout] is not Layout.DERIVED:
            layout[start:stop] = h5py.VirtualSource(
                file, name, (stop - start, *field.shape[1:]), np.dtype(field.dtype)
            )
    return layout

"""The two forms of a checkpoint: one shared file through parallel HDF5, or one file for each rank and a manifest.

A reader sees no difference: the manifest shows the shard files as one file through virtual datasets. Both writers
leave `path`.partial for the caller to rename; until then no earlier file has been touched.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.files import cause, sync
from mpiopt.core.hdf5 import LIBVER, ErrorKeepingFile
from mpiopt.core.state import Layout
from mpiopt.resilience.checkpoint.base import Meta
from mpiopt.resilience.checkpoint.header import Field, Head, write_head
from mpiopt.resilience.checkpoint.slabs import Slab, write

FAILURES = (OSError, RuntimeError, ValueError)  # what h5py raises when a write fails
EXTENT = np.dtype([("start", np.int64), ("stop", np.int64), ("checksum", np.int64)])  # of one rank's slab


class SavePoint(NamedTuple):
    """What a checkpoint says besides its fields."""

    k: int  # the next round
    total: int  # rows of all ranks
    meta: Meta


def write_parallel(
    path: Path, point: SavePoint, slabs: list[Slab], comm: Comm, hints: Mapping[str, str] | None = None
) -> None:
    """Write `path`.partial, all ranks into one file; collective. `hints` are for MPI-IO."""
    partial = f"{path}.partial"
    f, error = _try(path, lambda: h5py.File(partial, "w", libver=LIBVER, **_shared(comm, hints or {})))
    comm.agree(error)
    # While the file is open no rank raises: after any failure, on any rank, all ranks close the file together.
    datasets, error = _try(path, lambda: [f.create_dataset(f"state/{s.name}", s.shape, s.rows.dtype) for s in slabs])
    if not _any(error, comm):
        checksums, error = _try(path, lambda: [write(d, s, s.start) for d, s in zip(datasets, slabs, strict=True)])
    if not _any(error, comm):
        head = _gathered_head(point, slabs, checksums, [], comm)
        _, error = _try(path, lambda: write_head(f, head, comm.rank))
    _, late = _try(path, f.close)
    if not (error or late):
        _, late = _try(path, lambda: sync(Path(partial)))
    comm.agree(error or late)


def _shared(comm: Comm, hints: Mapping[str, str]) -> dict[str, Any]:
    """Return the options with which h5py opens one file on all ranks."""
    options: dict[str, Any] = {"driver": "mpio", "comm": comm.raw}
    return options | {"info": comm.info(hints)} if hints else options  # type: ignore[attr-defined]


def write_sharded(path: Path, point: SavePoint, slabs: list[Slab], comm: Comm) -> None:
    """Write one file for each rank, beside `path`, and the manifest `path`.partial; collective."""
    names = shard_names(path, comm.size)
    mine = path.with_name(names[comm.rank])
    checksums, error = _try(mine, lambda: write_shard(mine, slabs))
    comm.agree(error)
    head = _gathered_head(point, slabs, checksums, names, comm)
    error = None
    if comm.rank == 0:
        _, error = _try(path, lambda: Path(f"{path}.partial").write_bytes(manifest(head)))
    comm.agree(error)


def shard_names(path: Path, size: int) -> list[str]:
    """Return the names of the ranks' files, which lie beside `path`."""
    return [f"{path.stem}.shard-{rank}-of-{size}.h5" for rank in range(size)]


def write_shard(path: Path, slabs: list[Slab]) -> list[int]:
    """Write one rank's file to the disk; return the CRC-32 of each slab."""
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


def _gathered_head(point: SavePoint, slabs: list[Slab], checksums: list[int], files: list[str], comm: Comm) -> Head:
    mine = np.array([(s.start, s.stop, crc) for s, crc in zip(slabs, checksums, strict=True)], EXTENT)
    every = comm.allgather(mine.view(np.int64).reshape(1, len(slabs), len(EXTENT.names or ())))
    return make_head(point, slabs, np.concatenate(every).reshape(comm.size, -1).view(EXTENT), files)


def make_head(point: SavePoint, slabs: list[Slab], extents: NDArray[np.void], files: list[str]) -> Head:
    """Return the header; `extents` (ranks, slabs) holds an EXTENT for each slab of each rank."""
    fields = {
        s.name: Field(
            layout=s.layout.name,
            dtype=s.rows.dtype.str,
            shape=list(s.shape),
            starts=extents["start"][:, i].tolist(),
            stops=extents["stop"][:, i].tolist(),
            checksums=extents["checksum"][:, i].tolist(),
        )
        for i, s in enumerate(slabs)
    }
    return Head(point.k, len(extents), point.total, files, point.meta, fields)


def manifest(head: Head) -> bytes:
    """Return the content of the file that shows the ranks' files as one."""
    # Not HDF5's own memory image: HDF5 1.10 writes a wrong checksum of the superblock into it.
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

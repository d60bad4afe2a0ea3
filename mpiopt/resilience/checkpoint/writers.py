"""The two forms of a checkpoint: one file that all ranks share, or one file for each rank and a manifest.

HDF5 lays out a file in memory, and the ranks write with plain system calls (`mpiopt.core.hdf5_skeleton`): an error of
one rank is an OSError on all of them, and nothing else. A reader sees no difference between the forms: the manifest
shows the ranks' files as one through virtual datasets. Both writers leave `path`.partial, which the caller has made,
whole and on the disk for the caller to rename; until then no earlier file has been touched.
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
from mpiopt.comm.collective_io import run_on_root
from mpiopt.core.files import PlainFile, cause
from mpiopt.core.hdf5 import LIBVER, SEALED
from mpiopt.core.hdf5_skeleton import Skeleton
from mpiopt.core.seal import sealed
from mpiopt.core.state import Layout
from mpiopt.resilience.checkpoint.base import Meta
from mpiopt.resilience.checkpoint.header import Field, Head, write_head
from mpiopt.resilience.checkpoint.slabs import Slab, write

FAILURES = (OSError, RuntimeError, ValueError)  # what h5py and the system raise when a write fails
EXTENT = np.dtype([("start", np.int64), ("stop", np.int64), ("checksum", np.int64)])  # of one rank's slab


class SavePoint(NamedTuple):
    """What a checkpoint says besides its fields."""

    k: int  # the next round
    total: int  # rows of all ranks
    meta: Meta


def write_shared(
    path: Path, point: SavePoint, slabs: list[Slab], comm: Comm, hints: Mapping[str, str] | None = None
) -> None:
    """Write `path`.partial, all ranks into one file; collective. `hints`: MPI-IO makes the file."""
    partial = Path(f"{path}.partial")
    if hints:  # a file that is there already keeps its stripes
        run_on_root(comm, partial.unlink)
        comm.create_file(str(partial), hints)  # type: ignore[attr-defined]
    skeleton = Skeleton() if comm.rank == 0 else None
    try:
        offsets = np.zeros(len(slabs), np.int64)
        if skeleton is not None:
            offsets[:] = [skeleton.reserve(f"state/{s.name}", s.shape, s.rows.dtype) for s in slabs]
        offsets = comm.broadcast(offsets)
        checksums, error = _try(path, lambda: _write_slabs(partial, slabs, offsets.tolist()))
        comm.agree(error)
        head = _gathered_head(point, slabs, checksums, [], comm)
        if skeleton is not None:
            _, error = _try(path, lambda: _write_skeleton(partial, skeleton, head))
        comm.agree(error)
    finally:
        if skeleton is not None:
            skeleton.file.close()


def _write_slabs(partial: Path, slabs: list[Slab], offsets: list[int]) -> list[int]:
    with PlainFile(partial, new=False) as file:
        return [write(file, s, at + s.start * s.row_nbytes) for s, at in zip(slabs, offsets, strict=True)]


def _write_skeleton(partial: Path, skeleton: Skeleton, head: Head) -> None:
    write_head(skeleton.file, head)
    with PlainFile(partial, new=False) as file:
        for part in skeleton.close().all_parts:
            file.write_at(part.start, part.content)


def write_sharded(path: Path, point: SavePoint, slabs: list[Slab], comm: Comm) -> None:
    """Write one file for each rank, beside `path`, and the manifest `path`.partial; collective."""
    names = shard_names(path, comm.size)
    mine = path.with_name(names[comm.rank])
    checksums, error = _try(mine, lambda: write_shard(mine, slabs))
    comm.agree(error)
    head = _gathered_head(point, slabs, checksums, names, comm)
    with comm.agree_on_errors():
        if comm.rank == 0:
            write_manifest(path, head)


def write_manifest(path: Path, head: Head) -> None:
    """Write the manifest into `path`.partial, which is there already, and onto the disk."""
    try:
        with PlainFile(Path(f"{path}.partial"), new=False) as out:
            out.write_at(0, manifest(head))
    except FAILURES as failure:
        raise OSError(f"cannot write {path}: {cause(failure)}") from None


def shard_names(path: Path, size: int) -> list[str]:
    """Return the names of the ranks' files, which lie beside `path`."""
    return [f"{path.stem}.shard-{rank}-of-{size}.h5" for rank in range(size)]


def write_shard(path: Path, slabs: list[Slab]) -> list[int]:
    """Write one rank's file to the disk; return the CRC-32 of each slab."""
    skeleton = Skeleton()
    offsets = [skeleton.reserve(f"state/{s.name}", s.rows.shape, s.rows.dtype) for s in slabs]
    layout = skeleton.close()
    with PlainFile(path) as file:
        checksums = [write(file, s, at) for s, at in zip(slabs, offsets, strict=True)]
        for part in layout.all_parts:
            file.write_at(part.start, part.content)
    return checksums


def _try(path: Path, work: Callable[[], Any]) -> tuple[Any, OSError | None]:
    try:
        return work(), None
    except FAILURES as failure:
        return None, OSError(f"cannot write {path}: {cause(failure)}")


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
    """Return the content of the file that shows the ranks' files as one, with its seal."""
    # Not HDF5's own memory image: HDF5 1.10 writes a wrong checksum of the superblock into it.
    image = io.BytesIO()
    with h5py.File(image, "w", libver=LIBVER) as f:
        f.attrs[SEALED] = 1
        for name, field in head.fields.items():
            f.create_virtual_dataset(f"state/{name}", _virtual(f"state/{name}", field, head.files))
        write_head(f, head)
    return sealed(image.getvalue())


def _virtual(name: str, field: Field, files: list[str]) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout(tuple(field.shape), np.dtype(field.dtype))
    for file, start, stop in zip(files, field.starts, field.stops, strict=True):
        if stop > start and Layout[field.layout] is not Layout.DERIVED:
            layout[start:stop] = h5py.VirtualSource(
                file, name, (stop - start, *field.shape[1:]), np.dtype(field.dtype)
            )
    return layout

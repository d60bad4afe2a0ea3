"""Does HDF5 write from all ranks into one file and read it back? For `mpiopt doctor`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiopt.comm.base import Comm


def described() -> tuple[str, bool]:
    """Give the versions and whether h5py has MPI."""
    return f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}", bool(h5py.get_config().mpi)


def write_and_read(path: Path, comm: Comm) -> str:
    """Write one row a rank into `path` and read all rows back, in the form this h5py allows; collective.

    Returns
    -------
    str
        What is wrong on this rank, nothing where all is well.
    """
    raw = comm.raw
    if raw is not None and h5py.get_config().mpi:
        return _through_one_file(path, comm, {"driver": "mpio", "comm": raw})
    return _through_one_file(path.with_name(f"{path.name}.{comm.rank}"), comm, {})


def _through_one_file(path: Path, comm: Comm, how: dict[str, Any]) -> str:
    try:
        with h5py.File(path, "w", **how) as file:
            rows = file.create_dataset("rows", (comm.size, 4), "f8")
            first, last = (comm.rank, comm.rank + 1) if how else (0, comm.size)
            with rows.collective if how else nullcontext():
                rows[first:last] = np.arange(first, last)[:, None]
        with h5py.File(path, "r", **how) as file:
            got = file["rows"][:]
    except (OSError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    right = np.array_equal(got, np.arange(comm.size)[:, None] * np.ones(4))
    return "" if right else "what was read is not what was written"

"""The checks of `mpiopt doctor` that need HDF5: its versions, and a file written by all ranks and read back."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiopt.comm.base import Comm


def versions() -> str:
    """Return the versions of h5py and HDF5."""
    return f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"


def supports_mpi() -> bool:
    """Return whether h5py was built with MPI."""
    return bool(h5py.get_config().mpi)


def try_file(path: Path, comm: Comm) -> str:
    """Write one row a rank into `path` and read all rows back, collectively if this h5py can.

    Returns
    -------
    str
        The problem on this rank; "" if there is none.
    """
    raw = getattr(comm, "raw", None)
    if raw is not None and supports_mpi():
        return _write_and_read(path, comm, {"driver": "mpio", "comm": raw})
    return _write_and_read(path.with_name(f"{path.name}.{comm.rank}"), comm, {})


def _write_and_read(path: Path, comm: Comm, options: dict[str, Any]) -> str:
    try:
        with h5py.File(path, "w", **options) as file:
            rows = file.create_dataset("rows", (comm.size, 4), "f8")
            first, last = (comm.rank, comm.rank + 1) if options else (0, comm.size)
            with rows.collective if options else nullcontext():
                rows[first:last] = np.arange(first, last)[:, None]
        with h5py.File(path, "r", **options) as file:
            got = file["rows"][:]
    except (OSError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    equal = np.array_equal(got, np.arange(comm.size)[:, None] * np.ones(4))
    return "" if equal else "the rows that were read differ from those that were written"

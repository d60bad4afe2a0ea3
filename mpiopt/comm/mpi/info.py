"""The version and abilities of the MPI library, for `mpiopt doctor`."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import NamedTuple

from mpi4py import MPI

_LEVELS = {
    MPI.THREAD_SINGLE: "single",
    MPI.THREAD_FUNNELED: "funneled",
    MPI.THREAD_SERIALIZED: "serialized",
    MPI.THREAD_MULTIPLE: "multiple",
}


class MpiLibrary(NamedTuple):
    """The MPI library of this process."""

    version: str  # the first words of its own description
    standard: str  # "3.1"
    threads: str  # single | funneled | serialized | multiple
    ulfm: bool  # has the calls of user-level failure mitigation


def library() -> MpiLibrary:
    """Return what the MPI library says of itself; importing this module initialises MPI."""
    major, minor = MPI.Get_version()
    described = MPI.Get_library_version().strip("\x00 \n").splitlines()[0]
    return MpiLibrary(described.split(", package")[0], f"{major}.{minor}", _LEVELS[MPI.Query_thread()], _ulfm())


def _ulfm() -> bool:
    # mpi4py has substitutes for calls that the library lacks, so look into the loaded library itself.
    maps = Path("/proc/self/maps")
    loaded = re.findall(r"(/\S*/libmpi(?:ch)?\.so\S*)", maps.read_text()) if maps.exists() else []
    return any(hasattr(ctypes.CDLL(path), "MPIX_Comm_revoke") for path in set(loaded))

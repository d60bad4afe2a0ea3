"""The checks of `mpiopt doctor` of what a job may use: cores, memory, and the folder in which it runs."""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mpiopt.cli.finding import Finding
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json, text_from_root
from mpiopt.comm.oversubscription import Placement, describe_worst, placements, usable_cores
from mpiopt.core.memory import available, read_text
from mpiopt.results.summary import size

LEAST_NBYTES = 400e6  # of memory for a rank: the program alone takes half of it
PIECE, PIECES = 4 << 20, 16  # bytes and number of what is written to measure a file system
MOST_SECONDS = 2.0  # of writing
SLOW = 20e6  # bytes in a second: below, a checkpoint of 1 GB takes a minute
LEAST_FREE = 1e9  # bytes
SEEN_SECONDS = 3.0  # until a file of rank 0 must be seen on other nodes


def threads(comm: Comm) -> Finding:
    """Compare the threads of all ranks on this host with the cores that they may use."""
    every = placements(comm)
    here = [one for one in every if one.host == platform.node()]
    return load(here, os.cpu_count() or 1)


def load(here: Sequence[Placement], cores: int) -> Finding:
    """Compare the threads of the ranks of one host with the cores that affinity and control groups allow them."""
    usable, each = usable_cores(here), max(one.threads for one in here)
    limited = f"{usable:.3g} of {cores}" if usable < cores else f"{cores}"
    found = f"{len(here)} rank{'s' * (len(here) > 1)} × {each} on {limited} core{'s' * (cores > 1)}"
    worst = describe_worst(here)
    if not worst:
        return Finding("threads", found)
    if each > 1:
        advice = "set OMP_NUM_THREADS=1"
    elif usable < min(cores, len(here)):
        advice = (
            "affinity or a control group allows no more: ask for more cores (--cpus-per-task, --ntasks), "
            "or try mpirun --bind-to none"
        )
    elif len(here) <= usable:
        advice = "ranks are bound to the same cores: try mpirun --bind-to core, or --bind-to none"
    else:
        advice = "more ranks than cores: results are correct, but slow"
    return Finding("threads", f"{found}, {worst}", advice)


def memory(comm: Comm) -> Finding:
    """Report the memory that the ranks of this host may still take, by the system, control groups and ulimit."""
    here = allgather_json(comm, platform.node()).count(platform.node())
    left = available()
    return enough(left.shared, left.own, here)


def enough(shared: float, own: float, ranks_here: int) -> Finding:
    """Compare memory in bytes with what ranks need: `shared` by all of them, `own` of each."""
    each = min(shared / ranks_here, own)
    if each == float("inf"):
        return Finding("memory", "unknown on this system")
    by = " (by ulimit -v or -d)" if own < shared / ranks_here else ""
    found = f"{size(each)} for each of {ranks_here} rank{'s' * (ranks_here > 1)}{by}"
    if each >= LEAST_NBYTES:
        return Finding("memory", found)
    return Finding(
        "memory", found, f"a rank needs {size(LEAST_NBYTES)} and its rows: ask for more (--mem), or fewer ranks"
    )


class FolderSpeed(NamedTuple):
    """Bytes in a second that a folder takes and gives."""

    write: float
    read: float


def run_folder(comm: Comm) -> Finding:
    """Check this folder: shared by all ranks, file locks, room, speed."""
    token = text_from_root(comm, lambda: secrets.token_hex(8))
    folder = Path(text_from_root(comm, lambda: tempfile.mkdtemp(prefix="mpiopt-doctor-", dir=".")))
    speed, wrong = None, ""
    if comm.rank == 0:  # an error of one rank must not keep it from the next barrier
        try:
            (folder / "token").write_text(token)
            speed = _measure(folder / "data")
        except OSError as error:
            wrong = f"writing fails ({error.strerror})"
    comm.barrier()
    seen = bool(wrong) or _appears(folder / "token", token)
    locks = wrong or (_locks(folder) if seen else "")
    comm.barrier()
    if comm.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return describe_folder(file_system(Path.cwd()), seen, locks, speed, shutil.disk_usage(".").free)


def describe_folder(kind: str, seen: bool, locks: str, speed: FolderSpeed | None, free: float) -> Finding:
    """Return what was found about the run folder on this rank, and what to do if it is not fit."""
    how = "" if speed is None else f", writes {size(speed.write)}/s, reads {size(speed.read)}/s"
    found = f"{kind}, {size(free)} free{how}, file locks {locks or 'work'}"
    advice = ""
    if not seen:
        found, advice = f"{kind}; this rank does not see what rank 0 writes", "run in a folder that all nodes share"
    elif locks and os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() != "FALSE":
        advice = "set HDF5_USE_FILE_LOCKING=FALSE"
    elif free < LEAST_FREE:
        advice = "make room: results and checkpoints go here"
    elif speed is not None and speed.write < SLOW:
        advice = "checkpoints will be slow: run in a faster folder (scratch), or raise --checkpoint-every"
    return Finding("run folder", found, advice)


def file_system(folder: Path) -> str:
    """Return the kind of file system of a folder, such as ext4, nfs4 or lustre."""
    best, kind = -1, "unknown file system"
    for line in read_text(Path("/proc/self/mounts")).splitlines():
        words = line.split()
        where = Path(words[1].replace("\\040", " ")) if len(words) > 2 else None
        if where is not None and (folder == where or where in folder.parents) and len(where.parts) >= best:
            best, kind = len(where.parts), words[2]
    return kind


def _appears(file: Path, content: str) -> bool:
    """Return whether a file of another node is seen here within some seconds."""
    late = time.monotonic() + SEEN_SECONDS
    while read_text(file) != content:
        if time.monotonic() > late:
            return False
        time.sleep(0.05)
    return True


def _locks(folder: Path) -> str:
    """Take a lock of each kind on a file of this process; return why that failed, "" if it did not."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # what HDF5 takes
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # what MPI-IO takes
    except OSError as error:
        return f"fail ({error.strerror})"
    return ""


def _measure(file: Path) -> FolderSpeed:
    """Write some megabytes to the disk and read them back."""
    piece = os.urandom(PIECE)
    began, written = time.perf_counter(), 0
    with open(file, "wb") as out:
        while written < PIECES * PIECE and time.perf_counter() - began < MOST_SECONDS:
            written += out.write(piece)
            out.flush()
            os.fsync(out.fileno())
    middle = time.perf_counter()
    with open(file, "rb") as source:
        while source.read(PIECE):
            pass
    tiny = 1e-9
    return FolderSpeed(written / max(middle - began, tiny), written / max(time.perf_counter() - middle, tiny))

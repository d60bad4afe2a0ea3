"""Where a result comes from: all that a reader needs to repeat the run, or to judge it."""

from __future__ import annotations

import platform
import re
import shlex
import socket
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mpiopt
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json, text_from_root

PACKAGES = ("numpy", "mpi4py", "h5py", "numba")


@dataclass(frozen=True)
class Provenance:
    """The origin of a result; each field becomes an attribute of `/provenance`, and `job` the dataset `/job`."""

    job: str  # the job's text
    seed: int
    ranks: int = 0
    hosts: str = ""  # "node1*2 node2*2": the hosts with their numbers of ranks
    command: str = ""
    data: str = ""  # the file, as the command names it
    data_checksum: str = ""
    objective: str = ""  # the formula
    loss: str = ""
    penalty: str = ""
    compression: str = "none"  # the compressor with its options, the error compensation, the directions
    mpi: str = ""  # the version of the MPI library
    git_revision: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""  # ISO 8601, UTC
    exit_status: int = 0
    ending: str = ""  # "certified", "budget", "signal" or "no optimum"
    reason: str = ""  # why the run ended, in words
    certificate_kind: str = ""
    certificate: float = float("nan")
    verified: str = ""  # what was checked once more at the certificate: rows, model, evaluation, file
    run_id: str = ""  # made at the first start and kept over requeues; `new_run_id`


def gather(comm: Comm, known: Provenance) -> Provenance:
    """Return `known` with ranks, hosts, command, versions and time added; collective, equal on all ranks."""
    return replace(
        known,
        ranks=comm.size,
        hosts=_hosts(comm),
        command=shlex.join(sys.argv),
        mpi=" ".join(comm.library.replace("\0", "").split()),
        git_revision=git_revision(Path(__file__).resolve().parents[2]),
        versions=versions(),
        run_id=known.run_id or new_run_id(comm),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


ID_TIME = "%Y%m%dT%H%M%SZ"  # of a run id: the time of the first start, UTC; ids then sort as the runs began

ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}", re.ASCII)  # a run id


def new_run_id(comm: Comm) -> str:
    """Return an id for a run that starts now: the time and 48 random bits; collective, equal on all ranks."""
    return text_from_root(comm, lambda: f"{datetime.now(UTC):{ID_TIME}}-{uuid.uuid4().hex[:12]}")


def first_start(run_id: str) -> datetime:
    """Return when the run with this id was first started; ValueError if it is no such id."""
    return datetime.strptime(run_id.partition("-")[0], ID_TIME).replace(tzinfo=UTC)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, without importing them."""
    return {
        "mpiopt": mpiopt.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def git_revision(checkout: Path) -> str:
    """Return the commit that is checked out, "" for none. It reads files, because MPI may not survive a fork."""
    try:
        git = checkout / ".git"
        if git.is_file():  # a linked worktree
            git = checkout / git.read_text().removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text().strip()
        return _resolve(git, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except OSError:
        return ""


def _resolve(git: Path, ref: str) -> str:
    common = git / "commondir"
    home = git / common.read_text().strip() if common.is_file() else git
    for place in (git / ref, home / ref):
        if place.is_file():
            return place.read_text().strip()
    packed = (line.split(" ") for line in (home / "packed-refs").read_text().splitlines())
    return next((line[0] for line in packed if line[1:] == [ref]), "")


def _hosts(comm: Comm) -> str:
    counts = Counter(allgather_json(comm, socket.gethostname()))
    return " ".join(f"{host}*{ranks}" for host, ranks in counts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

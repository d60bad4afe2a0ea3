"""Where a result comes from: all that a reader needs to repeat the run, or to judge it."""

from __future__ import annotations

import platform
import shlex
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mpiopt
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import allgather_json

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
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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

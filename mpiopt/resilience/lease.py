"""The lease of a run's folder: one process may write there, and an earlier start of the job never after a later one.

Slurm may requeue a job whose ranks still run, if only the node's slurmd has died. So the file `owner` names the start
of the run that has claimed the folder last. A process that is not named there writes nothing more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_type_hints

from mpiopt.core import slurm_query
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.resilience.deadline import remove_stale_halt

CONTINUED = (75, 130, 143)  # exit codes after which a run may go on: saved near the time limit, Ctrl-C, SIGTERM
JOB = re.compile(r"\d*", re.ASCII)  # Slurm's number of a job, or none
PATIENCE = 10.0  # seconds to wait for an earlier run on this host that is ending: a save and a result take less
POLL = 0.2  # seconds between two checks whether that run has ended


@dataclass(frozen=True)
class Lease:
    """One start of a run, as the file `owner` holds it; the field names are its JSON keys."""

    token: str
    host: str
    pid: int  # of rank 0
    born: int  # when that process was started, in the kernel's ticks: process numbers are used again
    job: str = ""  # Slurm's number of the job, if there is one
    cluster: str = ""
    restart: int = 0  # how often Slurm has restarted the job
    step: int = 0  # Slurm's index of the srun within the job
    number: int = 1  # 1 for the first start of the run
    ended: str = ""  # how the run ended; "" while it runs, and after a kill

    def order(self) -> tuple[int, int]:
        """Return a key that grows from start to start of one job."""
        return self.restart, self.step

    def same_job(self, other: Lease) -> bool:
        """Return whether both are starts of one Slurm job."""
        return bool(self.job) and (self.job, self.cluster) == (other.job, other.cluster)


KINDS = get_type_hints(Lease)


def new_lease(environment: Mapping[str, str]) -> Lease:
    """Return a lease for this process."""
    job, cluster = (environment.get(f"SLURM_{name}", "") for name in ("JOB_ID", "CLUSTER_NAME"))
    counts = [environment.get(f"SLURM_{name}", "") for name in ("RESTART_COUNT", "STEP_ID")]
    restart, step = (int(text) if text.isdigit() and job else 0 for text in counts)
    pid, host = os.getpid(), socket.gethostname()
    return Lease(secrets.token_hex(16), host, pid, start_ticks(pid), job, cluster, restart, step)


def start_ticks(pid: int) -> int:
    """Return when a process of this host was started, in ticks; 0 if it does not run, or without /proc."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(rest[18])


def read_lease(folder: Path) -> Lease | None:
    """Return the lease that was written last; None if there is none, or if it cannot be read."""
    owner = folder / "owner"
    try:
        found = Lease(**json.loads(owner.read_text() if owner.is_file() else ""))  # a pipe would be waited for
    except (OSError, ValueError, TypeError):
        return None
    sound = all(type(value) is KINDS[name] for name, value in asdict(found).items())
    # The number of a job goes to commands of Slurm, where another word may mean all jobs of the user.
    return found if sound and JOB.fullmatch(found.job) else None


def is_running(lease: Lease) -> bool | None:
    """Return whether the run still runs; None if this host cannot tell."""
    if lease.ended:
        return False
    if lease.job:
        state = slurm_query.states([lease.job]).get(lease.job)
        return None if state is None else state in slurm_query.RUNNING | slurm_query.WAITING
    if lease.host != socket.gethostname() or lease.born == 0:
        return None
    return start_ticks(lease.pid) == lease.born


class FolderLease:
    """This process's lease of a folder; only rank 0 calls the methods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: Lease | None = None

    def claim(self, wait: Callable[[float], None] = time.sleep) -> None:
        """Take the lease, unless this process has it.

        Raises
        ------
        OSError
            If a later start of this job has the lease, or another run writes in the folder; one line.
        """
        if self._held is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        mine, last = new_lease(os.environ), read_lease(self.folder)
        if last is not None:
            refuse_held(mine, last, wait)
            mine = replace(mine, number=last.number + 1)
            if not mine.same_job(last):
                remove_stale_halt(self.folder, float(os.environ.get(LAUNCHED, "inf")), time.time())
        self._write(mine)
        self._held = mine

    def check(self) -> None:
        """Raise OSError if the lease has been lost."""
        last = read_lease(self.folder)
        if self._held is None or last is None or last.token != self._held.token:
            raise OSError(f"another run has taken over {self.folder}; this one stops writing there")

    def release(self, ending: str, code: int = 0) -> None:
        """Release the lease and note how the run ended; a folder without checkpoints is removed.

        A halt file stays only if the exit code means that the run may be started again.
        """
        self.check()
        if code not in CONTINUED:
            (self.folder / "halt").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # on a full disk; the run has its result
            if self._held is not None:
                self._write(replace(self._held, ended=ending))
            if os.listdir(self.folder) == ["owner"]:
                (self.folder / "owner").unlink()
                self.folder.rmdir()
        self._held = None

    def _write(self, lease: Lease) -> None:
        fresh = self.folder / f"owner.{lease.token[:8]}.partial"  # of this start alone: another may write now, too
        try:
            fresh.write_text(json.dumps(asdict(lease)))
            os.replace(fresh, self.folder / "owner")
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def refuse_held(mine: Lease, last: Lease, wait: Callable[[float], None]) -> None:
    """Raise OSError if the run of `last` may still write in the folder that `mine` wants."""
    if mine.same_job(last):
        if last.order() > mine.order():
            raise OSError(
                f"restart {last.restart} of job {last.job} has taken it over; this is restart {mine.restart}"
            )
        return  # an earlier start of this job: Slurm has given it up
    if (last.host, last.pid) == (mine.host, mine.pid):
        return
    left = PATIENCE
    while is_running(last) and left > 0 and not last.job:
        wait(POLL)
        left -= POLL
    if is_running(last):
        where = f"job {last.job}" if last.job else f"process {last.pid} on {last.host}"
        raise OSError(f"{where} is writing there; stop it (mpiopt halt), or choose another --out")

"""Who may write in the folder of a run: one life of it at a time, and never an older one after a newer one.

A requeued job may start while ranks of its former life still run (only their node's slurmd had died). So the file
`owner` names the last life that has claimed the folder; who is not named there writes nothing any more.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mpiopt.core import slurm_query
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.resilience.deadline import forget_past

CONTINUED = (75, 130, 143)  # exit codes after which a run may go on: saved near the time limit, Ctrl-C, SIGTERM
PATIENCE = 10.0  # seconds to wait for a former life on this host that is ending


@dataclass(frozen=True)
class Lease:
    """One start of a run, as the file `owner` tells of it."""

    token: str
    host: str
    pid: int  # of rank 0
    born: int  # when that process was started, in the kernel's ticks: numbers of processes are used again
    job: str = ""  # Slurm's, if there is one
    cluster: str = ""
    restart: int = 0  # how often Slurm has started the job again
    step: int = 0  # the job's how many-th srun
    number: int = 1  # the run's how many-th life
    ended: str = ""  # how; "" while it runs, and where it was killed

    def order(self) -> tuple[int, int]:
        """Give what grows from life to life of one job."""
        return self.restart, self.step


def this_life(environment: Mapping[str, str]) -> Lease:
    """Describe this process."""
    told = {name: environment.get(f"SLURM_{name}", "") for name in ("JOB_ID", "CLUSTER_NAME")}
    counts = [environment.get(f"SLURM_{name}", "") for name in ("RESTART_COUNT", "STEP_ID")]
    restart, step = (int(text) if text.isdigit() and told["JOB_ID"] else 0 for text in counts)
    pid = os.getpid()
    return Lease(
        secrets.token_hex(16),
        socket.gethostname(),
        pid,
        born(pid),
        told["JOB_ID"],
        told["CLUSTER_NAME"],
        restart,
        step,
    )


def born(pid: int) -> int:
    """Give when a process of this host was started; 0 where there is none, or no /proc."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(rest[18])


def read(folder: Path) -> Lease | None:
    """Give the last life that has claimed the folder; None where nobody has."""
    try:
        return Lease(**json.loads((folder / "owner").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def runs(life: Lease) -> bool | None:
    """Say whether a life still runs; None where that cannot be known from here."""
    if life.ended:
        return False
    if life.job:
        state = slurm_query.states([life.job]).get(life.job)
        return None if state is None else state in slurm_query.RUNNING | slurm_query.WAITING
    if life.host != socket.gethostname() or life.born == 0:
        return None
    return born(life.pid) == life.born


class Owner:
    """This process's claim to a folder; methods are rank 0's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._life: Lease | None = None

    def claim(self, wait: Callable[[float], None] = time.sleep) -> None:
        """Make the folder this life's, once.

        Raises
        ------
        OSError
            If a newer life of this job has claimed it, or another run is writing there; one line.
        """
        if self._life is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        mine, last = this_life(os.environ), read(self.folder)
        if last is not None:
            refuse(mine, last, wait)
            mine = replace(mine, number=last.number + 1)
            if not (mine.job and (mine.job, mine.cluster) == (last.job, last.cluster)):
                forget_past(self.folder, float(os.environ.get(LAUNCHED, "inf")), time.time())
        self._write(mine)
        self._life = mine

    def check(self) -> None:
        """Return if the folder is still this life's; OSError if not."""
        last = read(self.folder)
        if self._life is None or last is None or last.token != self._life.token:
            raise OSError(f"another run has taken over {self.folder}; this one stops writing there")

    def release(self, ending: str, code: int = 0) -> None:
        """Say that nothing more will be written, and how the run ended; a folder without checkpoints goes.

        A halt that is still to come stays where the run may be started again, as its exit code says.
        """
        self.check()
        if code not in CONTINUED:
            (self.folder / "halt").unlink(missing_ok=True)
        if self._life is not None:
            self._write(replace(self._life, ended=ending))
        self._life = None
        if os.listdir(self.folder) == ["owner"]:
            (self.folder / "owner").unlink()
            self.folder.rmdir()

    def _write(self, life: Lease) -> None:
        fresh = self.folder / "owner.partial"
        fresh.write_text(json.dumps(asdict(life)))
        os.replace(fresh, self.folder / "owner")


def refuse(mine: Lease, last: Lease, wait: Callable[[float], None]) -> None:
    """Raise OSError where `last` may still write in the folder that `mine` wants to claim."""
    if mine.job and (mine.job, mine.cluster) == (last.job, last.cluster):
        if last.order() > mine.order():
            raise OSError(
                f"restart {last.restart} of job {last.job} has taken it over; this is restart {mine.restart}"
            )
        return  # a former life of this job: Slurm has given it up
    if (last.host, last.pid) == (mine.host, mine.pid):
        return
    left = PATIENCE
    while runs(last) and left > 0 and not last.job:
        wait(0.2)
        left -= 0.2
    if runs(last):
        where = f"job {last.job}" if last.job else f"process {last.pid} on {last.host}"
        raise OSError(f"{where} is writing there; stop it (mpiopt halt), or choose another --out")

"""The command `resize`: let a running job go on with another number of ranks, from a checkpoint that it saves now."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mpiopt.cluster.halt import checkpoint_folder
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.core.files import write_whole
from mpiopt.resilience import lease
from mpiopt.resilience.lease import Lease
from mpiopt.resilience.signals import StopSignal

USAGE = "resize RUN.h5 --ranks N"
LAUNCH = " -m mpiopt launch "  # stands in the script of a job under `mpiopt launch`
NUMBER = re.compile(r"[1-9]\d{0,7}", re.ASCII)  # of ranks
RESIZE = "RESIZE="  # begins the line of a script that can change its ranks, with the path of the file below


def resize(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the number of ranks where the launcher, or the script of the job, reads it."""
    positional, settings = parse(words, {"ranks": True})
    text = dict(settings).get("ranks", "")
    if len(positional) != 1 or not text:
        raise ValueError(f"resize needs one run and a number of ranks: mpiopt {USAGE}")
    if not NUMBER.fullmatch(text):
        raise ValueError(f"--ranks must be a whole number of at least 1, not {text!r}")
    folder = checkpoint_folder(positional[0])
    last = running(folder)
    script = folder.with_suffix(".sbatch")
    refuse_fixed(last, script)
    write_whole(folder.with_suffix(".ranks"), f"{text}\n".encode())
    if last.job and LAUNCH not in script.read_text():  # launch signals the ranks when it has read the file
        signal_ranks(last.job)
    print_on_root(comm, f"{folder}: will save, and go on with {text} rank{'s' * (int(text) > 1)}")
    return 0


def running(folder: Path) -> Lease:
    """Return the lease of the run that writes in a folder; ValueError if it has ended."""
    last = lease.read_lease(folder)
    if last is None or lease.is_running(last) is False:
        ended = (last.ended if last else "") or "it was killed"
        raise ValueError(f"{folder}: the run has ended ({ended}); start it again with the ranks that you want")
    return last


def refuse_fixed(last: Lease, script: Path) -> None:
    """Raise ValueError for a run whose ranks cannot change: no launcher, and no elastic script, reads the file."""
    if last.job:
        text = script.read_text() if script.is_file() else ""
        if f"\n{RESIZE}" not in text:
            raise ValueError(
                f"{script}: job {last.job} has a fixed number of ranks; `mpiopt submit --elastic` or "
                "`--launcher launch` starts one that can be changed"
            )
        return
    try:
        variables = Path(f"/proc/{last.pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another host, or another user's process: it cannot be seen
        return
    if not any(each.startswith(f"{LAUNCHED}=".encode()) for each in variables):
        raise ValueError(
            f"{script.with_suffix('.h5')}: the run was not started by mpiopt launch, so its ranks are fixed; end it "
            "with mpiopt halt, and start it again with --resume auto on other ranks"
        )


def signal_ranks(job: str) -> None:
    """Let the ranks of a Slurm job save and end; its script goes on with the new number.

    Raises
    ------
    OSError
        If Slurm refuses; one line.
    """
    done = subprocess.run(
        ["scancel", "-s", "USR1", job], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise OSError(f"scancel refuses to signal job {job}: {' '.join(done.stderr.split())}")

"""The command `status`: a table of the runs of a folder, read from their files and from Slurm's queue.

A run is a result RUN.h5, the folder RUN.ckpt of its checkpoints, a submitted script RUN.sbatch, or several of these.
The run itself is not contacted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpiopt.cluster.slurm.submit import SUBMITTED
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core import slurm_query
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse
from mpiopt.core.config.registry import nearest
from mpiopt.core.durations import duration
from mpiopt.core.history import HistoryRow, rows_from_text
from mpiopt.core.seal import DamagedFile
from mpiopt.resilience import lease
from mpiopt.resilience.checkpoint.header import Head
from mpiopt.resilience.lease import Lease
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.contents import read_head
from mpiopt.results.inspect import columns
from mpiopt.results.result_file import Result, read_result

HEADINGS = ("run", "state", "certificate", "tol", "epoch", "round", "saved", "restarts", "job")
FAILED = "failed"  # begins the ending of a run that an error has ended
SUFFIXES = (".h5", ".ckpt", ".sbatch")


@dataclass(frozen=True)
class RunView:
    """The state of a run as its files show it."""

    name: str
    last: Lease | None = None  # of the last start of the run
    script_job: str = ""  # Slurm's number of the job as which the script was submitted
    head: Head | None = None  # of the newest readable checkpoint
    saved: float = 0.0  # time of that checkpoint, seconds since 1970
    result: Result | None = None
    written: float = 0.0  # time of the result, seconds since 1970

    @property
    def job(self) -> str:
        """Slurm's number of the newest job: that of the script or of the last start; "" if there is none."""
        if self.last is None:
            return self.script_job
        numbers = [job for job in (self.script_job, self.last.job) if job.isdigit()]
        return max(numbers, key=int) if len(numbers) == 2 else self.last.job


def status(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print one line for each run."""
    positional, _ = parse(words, {})
    if len(positional) > 1:
        raise ValueError("status takes at most one folder: mpiopt status [FOLDER]")
    folder = Path(positional[0] if positional else ".")
    if not folder.is_dir():
        raise ValueError(f"{folder}: {_no_folder(folder)}")
    faults: list[str] = []
    views = [view_of(folder, name, faults) for name in run_names(folder)]
    states = slurm_query.states(view.job for view in views if view.job)
    lines = [line(view, states, time.time()) for view in views if view != RunView(view.name)]
    print_on_root(comm, columns(HEADINGS, lines) if lines else f"{folder}: no runs")
    if faults:
        raise ValueError("; ".join(faults))
    return 0


def _no_folder(place: Path) -> str:
    """Return why a path is no folder of runs, and what to give."""
    if place.exists():
        return f"is a file; status takes the folder of the runs: mpiopt status {place.parent}"
    beside = [each.name for each in place.parent.iterdir() if each.is_dir()] if place.parent.is_dir() else []
    return f"no such folder{nearest(place.name, beside)}; no run has been written there"


def run_names(folder: Path) -> list[str]:
    """Return the paths, relative to `folder` and without suffix, of all files that may belong to a run."""
    return sorted({str(path.relative_to(folder).with_suffix("")) for path in _run_files(folder)})


def _run_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        visible = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in visible if not name.endswith(".ckpt")]
        checkpoints = [name for name in visible if name.endswith(".ckpt")]
        yield from (Path(place, name) for name in [*files, *checkpoints] if name.endswith(SUFFIXES))


def view_of(folder: Path, name: str, faults: list[str]) -> RunView:
    """Read the files of one run; a damaged file counts as absent, and a line is added to `faults`."""
    checkpoints, out, script = (Path(f"{folder / name}{suffix}") for suffix in (".ckpt", ".h5", ".sbatch"))
    head, saved = newest_checkpoint(checkpoints, faults)
    result = readable_result(out, faults)
    return RunView(
        name=name,
        last=lease.read_lease(checkpoints),
        script_job=submitted_job(script),
        head=head,
        saved=saved,
        result=result,
        written=out.stat().st_mtime if result else 0.0,
    )


def readable_result(path: Path, faults: list[str]) -> Result | None:
    """Read a result; return None if the file is not a result, or if it is damaged."""
    try:
        return read_result(path)
    except DamagedFile as fault:
        faults.append(str(fault))
    except (ValueError, OSError):
        pass
    return None


def newest_checkpoint(folder: Path, faults: list[str]) -> tuple[Head | None, float]:
    """Return the header of the newest readable checkpoint and the time of its file, in seconds since 1970."""
    for path in sorted(folder.glob("[0-9]*[0-9].h5"), reverse=True):
        try:
            return read_head(path), path.stat().st_mtime
        except DamagedFile as fault:
            faults.append(str(fault))
        except (ValueError, OSError):
            continue
    return None, 0.0


def submitted_job(script: Path) -> str:
    """Return Slurm's number of the job as which a script was submitted last; "" if it was not."""
    try:
        text = script.read_text(errors="replace") if script.is_file() else ""  # a pipe would be waited for
    except OSError:
        return ""
    numbers = re.findall(rf"^{SUBMITTED}([0-9]+) ", text, re.MULTILINE)
    return numbers[-1] if numbers else ""


def line(view: RunView, states: Mapping[str, str], now: float) -> tuple[str, ...]:
    """Return the cells of one run, in the order of HEADINGS; `states` are Slurm's, by job."""
    row = last_row(view)
    return (
        view.name,
        state(view, states.get(view.job, "")),
        f"{row.certificate:.1e}" if row else "-",
        tolerance(view),
        f"{row.epoch:.4g}" if row else "-",
        str(row.round) if row else "-",
        f"{duration(max(0.0, now - view.saved))} ago" if view.saved else "-",
        str(view.last.number - 1) if view.last else "-",
        view.job or "-",
    )


def state(view: RunView, slurm: str) -> str:
    """Return the state in words; `slurm` is Slurm's state of the run's job, "" if unknown."""
    last = view.last
    if slurm in slurm_query.WAITING:
        return "waiting"
    if slurm in slurm_query.RUNNING:
        return "running" if last and last.job == view.job and not last.ended else "starting or ending"
    if last is not None and not last.ended:
        running = False if slurm and last.job else lease.is_running(last)
        if running is None:
            return f"unknown, was on {last.host}"
        reason = f" ({slurm})" if slurm not in ("", "COMPLETED", "FAILED") else ""
        return "running" if running else f"died{reason}"
    if view.result is not None:
        return view.result.ending.state
    if last is not None and last.ended.startswith(FAILED):
        return FAILED
    return f"ended ({slurm})" if slurm else "ended"


def last_row(view: RunView) -> HistoryRow | None:
    """Return the last evaluation on disk: that of the result, or that of a newer checkpoint."""
    if view.result is not None and view.written >= view.saved and len(view.result.history):
        return HistoryRow(*view.result.history[-1].tolist())
    try:
        rows = rows_from_text(str(view.head.meta.get("history", "[]"))) if view.head is not None else []
    except (ValueError, TypeError):  # of another program
        return None
    return rows[-1] if rows else None


def tolerance(view: RunView) -> str:
    """Return the tolerance in the result, else in the checkpoint; "-" if it is not known."""
    tol = view.head.meta.get("tol") if view.head is not None else None  # older checkpoints do not store it
    try:
        if view.result is not None:
            return f"{job_file.read(view.result.job).stop.tol:g}"
        return "-" if tol is None else f"{float(tol):g}"
    except ValueError:  # a job of another version
        return "-"

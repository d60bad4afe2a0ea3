"""The command `status`: the runs of a folder, from their files, from Slurm's queue where there is one.

A run is a result RUN.h5, the folder RUN.ckpt of its checkpoints, a script RUN.sbatch that was submitted, or several
of these. Nothing is asked of the run itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpiopt.cluster.slurm.submit import SUBMITTED
from mpiopt.comm.base import Comm
from mpiopt.core import slurm_query
from mpiopt.core.config.flags import parse
from mpiopt.core.history import HistoryRow, duration, rows_from_text
from mpiopt.resilience import lease
from mpiopt.resilience.checkpoint.header import Head
from mpiopt.resilience.lease import Lease
from mpiopt.resilience.signals import NAMES, StopLevel, StopSignal
from mpiopt.results.contents import read_head
from mpiopt.results.inspect import columns
from mpiopt.results.result_file import Result, read_result

ENDED = {0: "certified", 2: "failed", 3: "budget spent", 75: "to be continued", 130: "stopped", 143: "stopped"}
HEADS = ("run", "state", "certificate", "tol", "epoch", "round", "saved", "restarts", "job")


@dataclass(frozen=True)
class RunView:
    """What the files of a run say."""

    name: str
    life: Lease | None = None
    script: str = ""  # the job that its script was submitted as
    head: Head | None = None  # of the newest checkpoint that can be read
    saved: float = 0.0  # when that was written, seconds since 1970
    result: Result | None = None
    written: float = 0.0  # when that was

    @property
    def job(self) -> str:
        """Slurm's number, of the last life or of the script; "" where there is none."""
        newer = self.life is None or (self.script.isdigit() and self.life.job.isdigit()
                                      and int(self.script) > int(self.life.job))  # fmt: skip
        return self.script if newer else self.life.job if self.life else ""


def status(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Print one line for each run."""
    positional, _ = parse(words, {})
    if len(positional) > 1:
        raise ValueError("status [FOLDER]")
    folder = Path(positional[0] if positional else ".")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    seen = [look(folder, name) for name in names(folder)]
    states = slurm_query.states(one.job for one in seen if one.job)
    lines = [line(one, states, time.time()) for one in seen if one != RunView(one.name)]
    print(columns(HEADS, lines) if lines else f"{folder}: no runs")
    return 0


def names(folder: Path) -> list[str]:
    """Give the stems, below `folder`, of all that may belong to a run."""
    found = set()
    for place, folders, files in os.walk(folder):
        kept = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in kept if not name.endswith(".ckpt")]
        for name in [*files, *(name for name in kept if name.endswith(".ckpt"))]:
            if name.endswith((".h5", ".ckpt", ".sbatch")):
                found.add(str((Path(place) / name).relative_to(folder).with_suffix("")))
    return sorted(found)


def look(folder: Path, name: str) -> RunView:
    """Read what there is of one run; files that cannot be read count as absent."""
    checkpoints = Path(f"{folder / name}.ckpt")
    head, saved = newest(checkpoints)
    found = Path(f"{folder / name}.h5")
    made = result(found)
    return RunView(
        name, lease.read_lease(checkpoints), submitted(Path(f"{folder / name}.sbatch")), head, saved,
        made, found.stat().st_mtime if made else 0.0,
    )  # fmt: skip


def result(path: Path) -> Result | None:
    """Read a result, if it is one."""
    try:
        return read_result(path)
    except (ValueError, OSError):
        return None


def newest(folder: Path) -> tuple[Head | None, float]:
    """Give what the newest readable checkpoint says of itself, and when it was written."""
    for path in sorted(folder.glob("[0-9]*[0-9].h5"), reverse=True):
        try:
            return read_head(path), path.stat().st_mtime
        except (ValueError, OSError):
            continue
    return None, 0.0


def submitted(script: Path) -> str:
    """Give the job that a script was submitted as last."""
    try:
        lines = [text for text in script.read_text().splitlines() if text.startswith(SUBMITTED)]
    except (OSError, UnicodeDecodeError):
        return ""
    return lines[-1].removeprefix(SUBMITTED).split()[0] if lines else ""


def line(one: RunView, states: Mapping[str, str], now: float) -> tuple[str, ...]:
    """Give the cells of one run."""
    row = progress(one)
    certificate, epoch, k = (f"{row.certificate:.1e}", f"{row.epoch:.4g}", str(row.round)) if row else ("-", "-", "-")
    saved = f"{duration(max(0.0, now - one.saved))} ago" if one.saved else "-"
    lives = str(one.life.number - 1) if one.life else "-"
    return one.name, state(one, states), certificate, tolerance(one), epoch, k, saved, lives, one.job or "-"


def state(one: RunView, states: Mapping[str, str]) -> str:
    """Give the state in words: what runs or waits now, else how the last life ended."""
    told = states.get(one.job, "")
    if told in slurm_query.WAITING:
        return "waiting"
    if told in slurm_query.RUNNING:
        return "running" if one.life and one.life.job == one.job and not one.life.ended else "starting or ending"
    life = one.life
    if life is not None and not life.ended:
        alive = runs(life, told)
        return f"unknown, was on {life.host}" if alive is None else "running" if alive else f"died{cause(told)}"
    if one.result is not None:
        code = int(one.result.provenance["exit_status"])
        if code == 3 and life is not None and life.ended.endswith(NAMES[StopLevel.HALT]):
            return "halted"
        return ENDED.get(code, "failed")
    return f"ended ({told})" if told else "ended"


def runs(life: Lease, told: str) -> bool | None:
    """Say whether a life that has not said its end still runs; `told` is what Slurm says of its job."""
    return False if told and life.job else lease.is_running(life)


def cause(told: str) -> str:
    """Give Slurm's word for an end, where it says more than that."""
    return f" ({told})" if told not in ("", "COMPLETED", "FAILED") else ""


def progress(one: RunView) -> HistoryRow | None:
    """Give the last evaluation that is on the disk: of the result, or of a checkpoint that is newer."""
    if one.result is not None and one.written >= one.saved and len(one.result.history):
        return HistoryRow(*one.result.history[-1].tolist())
    rows = rows_from_text(str(one.head.meta.get("history", "[]"))) if one.head is not None else []
    return rows[-1] if rows else None


def tolerance(one: RunView) -> str:
    """Give the tolerance, as the result says it, or the checkpoint."""
    from mpiopt.core.config.job_file import read

    if one.result is not None:
        return f"{read(one.result.job).stop.tol:g}"
    told = one.head.meta.get("tol") if one.head is not None else None  # older checkpoints do not say it
    return "-" if told is None else f"{float(told):g}"

"""The command `halt`: ask a run to end, with a checkpoint and a result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config.flags import parse
from mpiopt.resilience import lease
from mpiopt.resilience.deadline import Halt
from mpiopt.resilience.signals import StopSignal

USAGE = "halt RUN.h5 [--after-checkpoint | --at 18:00 | --cancel]"


def halt(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the halt file of a run, or remove it."""
    positional, settings = parse(words, {"after-checkpoint": False, "at": True, "cancel": False})
    given = dict(settings)
    if len(positional) != 1 or len(given) > 1:
        raise ValueError(f"halt needs one run and takes at most one flag: mpiopt {USAGE}")
    at = read_time(given["at"], datetime.now()).timestamp() if "at" in given else 0.0
    folder = checkpoint_folder(positional[0])
    if "cancel" in given:
        (folder / "halt").unlink(missing_ok=True)
        print_on_root(comm, f"{folder}: the request to halt is cancelled")
        return 0
    refuse_ended(folder)
    Halt(at, "after-checkpoint" in given).write(folder)
    when = f"at {datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" if at else "now"
    print_on_root(comm, f"{folder}: will halt {'after its next checkpoint' if 'after-checkpoint' in given else when}")
    return 0


def checkpoint_folder(run: str) -> Path:
    """Return the folder of a run's checkpoints; ValueError if there is none."""
    path = Path(run.rstrip("/"))
    folder = path if path.suffix == ".ckpt" else path.with_suffix(".ckpt")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; {run} is not running here")
    return folder


def refuse_ended(folder: Path) -> None:
    """Raise ValueError for a run that has ended: its next start would obey the halt file at once."""
    last = lease.read_lease(folder)
    if last is not None and lease.is_running(last) is False:
        raise ValueError(f"{folder}: the run has ended ({last.ended or 'it was killed'}); there is nothing to halt")


def read_time(text: str, now: datetime) -> datetime:
    """Read a time of day, which is the next one after `now`, or a date with a time.

    Raises
    ------
    ValueError
        If the text is neither, or the date is not in the future.
    """
    try:
        clock = time.strptime(text, "%H:%M")
    except ValueError:
        return _read_date(text, now)
    today = now.replace(hour=clock.tm_hour, minute=clock.tm_min, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _read_date(text: str, now: datetime) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--at must be like 18:00 or 2026-12-24T18:00, not {text!r}") from None
    if date.replace(tzinfo=None) <= now:
        raise ValueError(f"--at {text} is in the past; give a future time")
    return date

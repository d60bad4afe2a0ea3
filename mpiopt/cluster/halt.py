"""The command `halt`: end a run from outside, with a checkpoint and a result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from mpiopt.comm.base import Comm
from mpiopt.core.config.flags import parse
from mpiopt.resilience import lease
from mpiopt.resilience.deadline import Halt
from mpiopt.resilience.signals import StopSignal

USAGE = "halt RUN.h5 [--after-checkpoint | --at 18:00 | --cancel]"


def halt(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the halt file of a run, or take it back."""
    positional, settings = parse(words, {"after-checkpoint": False, "at": True, "cancel": False})
    asked = dict(settings)
    if len(positional) != 1 or len(asked) > 1:
        raise ValueError(USAGE)
    at = moment(asked["at"], datetime.now()).timestamp() if "at" in asked else 0.0
    folder = checkpoints(positional[0])
    if "cancel" in asked:
        (folder / "halt").unlink(missing_ok=True)
        print(f"{folder}: no halt is asked for any more")
        return 0
    refuse_ended(folder)
    Halt(at, "after-checkpoint" in asked).write(folder)
    when = f"at {datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" if at else "now"
    print(f"{folder}: asked to end {'after its next checkpoint' if 'after-checkpoint' in asked else when}")
    return 0


def checkpoints(run: str) -> Path:
    """Give the folder of a run's checkpoints; ValueError if there is none."""
    folder = Path(run.rstrip("/")) if run.rstrip("/").endswith(".ckpt") else Path(run).with_suffix(".ckpt")
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder, so no run {run} is on its way")
    return folder


def refuse_ended(folder: Path) -> None:
    """Refuse to stop what does not run: the next start would end at once."""
    life = lease.read_lease(folder)
    if life is not None and lease.is_running(life) is False:
        raise ValueError(f"{folder}: nothing runs there ({life.ended or 'it was killed'})")


def moment(text: str, now: datetime) -> datetime:
    """Read 18:00, the next one there is, or 2026-12-24T18:00.

    Raises
    ------
    ValueError
        If it is neither, or past.
    """
    try:
        clock = time.strptime(text, "%H:%M")
    except ValueError:
        return dated(text, now)
    today = now.replace(hour=clock.tm_hour, minute=clock.tm_min, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def dated(text: str, now: datetime) -> datetime:
    """Read a date with a time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--at is like 18:00 or 2026-12-24T18:00, not {text!r}") from None
    if found.replace(tzinfo=None) <= now:
        raise ValueError(f"--at {text} is past")
    return found

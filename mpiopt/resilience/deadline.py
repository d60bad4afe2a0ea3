"""The time limit of a job, and the halt file: reasons to end a run besides its stopping rules and signals.

The run ends early enough for what comes after the last round; a checkpoint is counted as long as the longest one so
far. `mpiopt halt RUN` writes the halt file into the folder of the checkpoints. The run removes the file when it obeys
it, or when it ends for good before the file's time. The file stays if the job is to be started again (exit codes 75,
130 and 143).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mpiopt.core import slurm_query
from mpiopt.core.files import write_whole
from mpiopt.resilience.signals import StopLevel

RESERVE = 30.0  # seconds for the result, the tables and the end of MPI, which follow the last checkpoint
RESERVED_SHARE = 0.25  # of the time that is left at the start: more than this is never reserved for the end
CHECK_EVERY = 1.0  # seconds between two checks for a halt file: one check costs a call to the file system


@dataclass(frozen=True)
class Halt:
    """Content of a halt file."""

    at: float = 0.0  # seconds since 1970; 0: at once
    after_checkpoint: bool = False

    def write(self, folder: Path) -> None:
        """Write the file, all or nothing."""
        write_whole(folder / "halt", json.dumps(asdict(self)).encode())


def read_halt(folder: Path) -> Halt | None:
    """Return the content of the halt file, None without one; a file in another form (`touch halt`) means at once."""
    file = folder / "halt"
    if not file.exists():
        return None
    try:
        text = file.read_text(errors="replace") if file.is_file() else ""  # a pipe would be waited for
    except OSError:
        return None
    try:
        found = Halt(**json.loads(text))
        return Halt(float(found.at), bool(found.after_checkpoint))
    except (ValueError, TypeError):
        return Halt()


def remove_stale_halt(folder: Path, launched: float, now: float) -> None:
    """Remove a halt file whose time has passed: it was meant for an earlier run, which was killed first.

    A file that is newer than `launched`, the start of this run's launcher, is meant for this run. Both times are in
    seconds since 1970.
    """
    halt = read_halt(folder)
    if halt is not None and halt.at <= now and (folder / "halt").stat().st_mtime < launched:
        (folder / "halt").unlink()


class Deadline:
    """The time limit and the halt file, as rank 0 sees them; `StopSignal.agreed` asks it for a level."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        now: Callable[[], float] = time.time,
        end: Callable[[Mapping[str, str]], float] = slurm_query.end,
        asked_end: Callable[[Mapping[str, str]], float] = slurm_query.asked_end,
    ) -> None:
        self._folder, self._environment = folder, environment
        self._now, self._asked_end = now, asked_end
        self.end = end(environment)
        self._reserve = min(RESERVE, RESERVED_SHARE * max(0.0, self.end - now()))
        self._longest_save, self._saved_at = 0.0, -math.inf
        self._checked_at, self._halt_seen_at = -math.inf, -math.inf
        self._halt: Halt | None = None

    def reserve(self, round_seconds: float) -> float:
        """Return how many seconds before the end to stop, if the next decision comes after `round_seconds`."""
        return self._reserve + 2.0 * self._longest_save + 2.0 * round_seconds

    def level(self, round_seconds: float) -> StopLevel:
        """Return HALT, DEADLINE or NONE for this moment."""
        now = self._now()
        if self._halted(now):
            (self._folder / "halt").unlink(missing_ok=True)
            return StopLevel.HALT
        if now < self.end - self.reserve(round_seconds):
            return StopLevel.NONE
        later = self._asked_end(self._environment)  # the time limit may have been extended
        if math.isfinite(later):
            self.end = later
        return StopLevel.NONE if now < self.end - self.reserve(round_seconds) else StopLevel.DEADLINE

    def saved(self, seconds: float) -> None:
        """Take note of a checkpoint that took `seconds`."""
        self._longest_save, self._saved_at = max(self._longest_save, seconds), self._now()
        self._checked_at = -math.inf

    def _halted(self, now: float) -> bool:
        if now >= self._checked_at + CHECK_EVERY:
            halt = read_halt(self._folder)
            if halt != self._halt:
                self._halt, self._halt_seen_at = halt, now
            self._checked_at = now
        if self._halt is None or now < self._halt.at:
            return False
        return not self._halt.after_checkpoint or self._saved_at >= max(self._halt_seen_at, self._halt.at)

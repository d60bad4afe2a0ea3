"""What ends a run besides its own stopping rules and signals: the end of the job's time, and a halt file.

Time is kept back for what there is to do at the end, as long as the longest checkpoint so far has taken.
`mpiopt halt RUN` writes the halt file, in the folder of the checkpoints; the run removes it when it obeys, or when it
ends for good before that time. It stays for the next start of a job that is to go on (exit codes 75, 130, 143).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mpiopt.core import slurm_query
from mpiopt.resilience.signals import StopLevel

AT_THE_END = (
    30.0  # seconds for what is not a checkpoint: the result, the tables, MPI's end; or a quarter of what is left
)
EVERY = 1.0  # seconds between two looks for a halt file


@dataclass(frozen=True)
class Halt:
    """What the halt file says."""

    at: float = 0.0  # seconds since 1970; 0: at once
    after_checkpoint: bool = False

    def write(self, folder: Path) -> None:
        """Put the file in place."""
        partial = folder / "halt.partial"
        partial.write_text(json.dumps(asdict(self)))
        os.replace(partial, folder / "halt")


def read_halt(folder: Path) -> Halt | None:
    """Give what the halt file says; one that cannot be understood (`touch halt`) means at once."""
    try:
        text = (folder / "halt").read_text()
    except OSError:
        return None
    try:
        return Halt(**json.loads(text))
    except (ValueError, TypeError):
        return Halt()


def forget_past(folder: Path, launched: float, now: float) -> None:
    """Remove a halt whose time is past, or that was asked for at once: another run did not live to obey it.

    One that is younger than `launched`, when the launcher of this life began, is for this run.
    """
    found = read_halt(folder)
    if found is not None and found.at <= now and (folder / "halt").stat().st_mtime < launched:
        (folder / "halt").unlink()


class Deadline:
    """What rank 0 knows of the end; given to `mpiopt.resilience.signals.StopSignal` as `outside`."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        now: Callable[[], float] = time.time,
        end: Callable[[Mapping[str, str]], float] = slurm_query.end,
        again: Callable[[Mapping[str, str]], float] = slurm_query.asked_end,
    ) -> None:
        self._folder, self._environment = folder, environment
        self._now, self._again = now, again
        self.end = end(environment)
        self._kept = min(AT_THE_END, 0.25 * max(0.0, self.end - now()))
        self._longest, self._saved = 0.0, -math.inf
        self._look, self._asked = -math.inf, -math.inf
        self._halt: Halt | None = None

    def kept(self, round_seconds: float) -> float:
        """Give how many seconds before the end to stop, when the next look is a round later."""
        return self._kept + 2.0 * self._longest + 2.0 * round_seconds

    def level(self, round_seconds: float) -> StopLevel:
        """Say what is asked for now."""
        now = self._now()
        if self._halted(now):
            (self._folder / "halt").unlink(missing_ok=True)
            return StopLevel.HALT
        if now < self.end - self.kept(round_seconds):
            return StopLevel.NONE
        later = self._again(self._environment)
        if math.isfinite(later):
            self.end = later
        return StopLevel.NONE if now < self.end - self.kept(round_seconds) else StopLevel.DEADLINE

    def saved(self, seconds: float) -> None:
        """Take note of a checkpoint."""
        self._longest, self._saved = max(self._longest, seconds), self._now()
        self._look = -math.inf

    def _halted(self, now: float) -> bool:
        if now >= self._look + EVERY:
            found = read_halt(self._folder)
            if found != self._halt:
                self._halt, self._asked = found, now
            self._look = now
        if self._halt is None or now < self._halt.at:
            return False
        return not self._halt.after_checkpoint or self._saved >= max(self._asked, self._halt.at)
